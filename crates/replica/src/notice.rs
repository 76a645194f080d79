//! Facts about replicas that a user should know and that are no errors: returned, or passed to [`Notify`].
//! The caller renders them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rekindle_model::id::RunId;

/// Takes the notices of a replicator, which works while a run is driven.
pub type Notify = Arc<dyn Fn(Notice) + Send + Sync>;

/// Something that a user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A location's replica lacks part of a run's journal.
    Behind {
        /// The run.
        run: RunId,
        /// The location's tier.
        tier: String,
        /// The location.
        url: String,
        /// Why it lags.
        why: String,
        /// Whether it may be another workspace's, so that a person decides by adopting the run; else it catches up once
        /// the tier is back.
        asks: bool,
    },
    /// A location, or a whole tier, cannot be used and is left out.
    LeftOut {
        /// The tier.
        tier: String,
        /// The location; none for the whole tier.
        url: Option<String>,
        /// Why.
        why: String,
    },
    /// A location's replica of a run cannot be used.
    Unusable {
        /// The tier.
        tier: String,
        /// The reason.
        why: String,
    },
    /// The tiers have not answered in time, and a quarantined run stays as it is.
    NotRepaired {
        /// How long they were waited for.
        waited: Duration,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind {
                run,
                tier,
                url,
                why,
                asks,
            } => {
                // The reason may name the tier and its location itself.
                let why = why.strip_prefix(&format!("tier {tier}: ")).unwrap_or(why);
                let at = match why.starts_with(url.as_str()) {
                    true => String::new(),
                    false => format!("{url}: "),
                };
                write!(f, "tier {tier} lacks part of the journal of run {run}: {at}{why}")?;
                match asks {
                    true => Ok(()),
                    false => f.write_str("; it is copied there once the tier is back"),
                }
            }
            Self::LeftOut {
                tier,
                url: Some(url),
                why,
            } => write!(f, "tier {tier}: {url}: {why}"),
            Self::LeftOut { tier, url: None, why } => write!(f, "tier {tier}: {why}"),
            Self::Unusable { tier, why } => write!(f, "tier {tier}: {why}"),
            Self::NotRepaired { waited } => write!(
                f,
                "the tiers did not answer within {waited:?} about the lost records; the run stays as it is"
            ),
        }
    }
}
