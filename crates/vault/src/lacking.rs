//! Gathers what tiers should hold and do not, for everyone who names it.

use std::fmt;
use std::sync::Arc;

use crate::catalog::CatalogCheck;
use crate::object::ObjectName;
use crate::tier::{Catalogs, Tier};

/// Something that a tier should hold and does not, or that is unknown of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// The tier.
    pub tier: String,
    /// The location; none if it is about the tier.
    pub location: Option<String>,
    /// The object; none if what the tier must hold is unknown.
    pub object: Option<ObjectName>,
    /// What is wrong, as a sentence without the tier's name.
    pub text: String,
}

impl Lacking {
    fn unknown(tier: &str, why: &impl fmt::Display) -> Self {
        Self {
            tier: tier.to_owned(),
            location: None,
            object: None,
            text: format!("what it must hold is not known: {why}"),
        }
    }

    /// Returns a location whose marker or key file is damaged, so that nothing in it was read.
    pub fn unopened(tier: &str, location: Option<&str>, fault: &str) -> Self {
        let bare = fault.strip_prefix(&format!("tier {tier}: ")).unwrap_or(fault);
        Self {
            tier: tier.to_owned(),
            location: location.map(str::to_owned),
            object: Some(ObjectName::Marker),
            text: bare.to_owned(),
        }
    }
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.location {
            Some(_) => f.write_str(&self.text),
            None => write!(f, "tier {}: {}", self.tier, self.text),
        }
    }
}

/// Returns what the tiers should hold and do not, and what is unknown of it. `found` are the catalogs of these tiers.
pub async fn lacking(tiers: &[Arc<Tier>], found: &Catalogs, check: CatalogCheck) -> Vec<Lacking> {
    let mut lacking = Vec::new();
    for tier in tiers {
        let name = tier.name();
        if let Some(error) = &found.forgotten {
            lacking.push(Lacking::unknown(name, error));
        }
        let damaged = tier.damaged().iter();
        lacking.extend(damaged.map(|(url, fault)| Lacking::unopened(name, Some(url), fault)));
        if let Some(error) = found.unread.get(name) {
            lacking.push(Lacking::unknown(name, error));
        }
        let Some(catalogs) = found.by_tier.get(name) else {
            continue;
        };
        match tier.missing(catalogs, check).await {
            Ok(faults) => lacking.extend(faults.into_iter().map(|fault| Lacking {
                tier: name.to_owned(),
                text: fault.to_string(),
                location: Some(fault.location),
                object: Some(fault.object),
            })),
            Err(error) => lacking.push(Lacking::unknown(name, &error)),
        }
    }
    lacking
}
