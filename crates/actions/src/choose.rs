//! Which recovery set to come back from. Pure.

use chrono::{DateTime, Utc};
use rekindle_model::failure::Failure;
use rekindle_model::id::SetId;
use rekindle_vault::RecoverySet;

use crate::params::BAD_PARAMETER;

/// How a set is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The newest recovery-ready one from before the disaster.
    Latest,
    /// The newest recovery-ready one from before this instant.
    Time(DateTime<Utc>),
    /// The one whose id begins so.
    Id(String),
}

impl From {
    /// Reads `latest`, an RFC 3339 time, or the beginning of a set's id.
    pub(crate) fn read(text: &str) -> Result<Self, Failure> {
        let text = text.trim();
        if text.is_empty() || text == "latest" {
            return Ok(Self::Latest);
        }
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::Time(time.to_utc()));
        }
        if text.len() >= 4 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
            return Ok(Self::Id(text.to_ascii_lowercase()));
        }
        Err(Failure::permanent(BAD_PARAMETER, format!("{text:?} names no recovery set"))
            .with_hint("write latest, a time such as 2026-11-23T10:00:00Z, or at least 4 digits of a set's id"))
    }
}

/// How many known sets a refusal lists; the newest come first.
const LISTED: usize = 10;

/// Returns the set that is asked for, among `sets` in any order.
///
/// `latest` and a time take only sets that are recovery-ready and whose consistency points all lie at or
/// before `disaster_at` or that time: what was captured later may hold the disaster already. A set asked for
/// by name is taken as it is.
pub(crate) fn choose<'a>(
    sets: &'a [RecoverySet],
    from: &From,
    disaster_at: Option<DateTime<Utc>>,
) -> Result<&'a RecoverySet, Failure> {
    let newest_before = |limit: Option<DateTime<Utc>>| {
        let fits = |set: &&RecoverySet| {
            set.recovery_ready
                && set.members.values().all(|member| limit.is_none_or(|limit| member.consistency_point.utc <= limit))
        };
        sets.iter().filter(fits).max_by_key(|set| set.id)
    };
    let (found, wanted) = match from {
        From::Latest => {
            let wanted = match disaster_at {
                Some(at) => format!("no recovery-ready set from before the disaster at {at:?}"),
                None => "no recovery-ready set".to_owned(),
            };
            (newest_before(disaster_at), wanted)
        }
        From::Time(time) => (newest_before(Some(*time)), format!("no recovery-ready set from before {time:?}")),
        From::Id(prefix) => {
            let of_that_name: Vec<&RecoverySet> =
                sets.iter().filter(|set| set.id.to_string().starts_with(prefix.as_str())).collect();
            match of_that_name.as_slice() {
                [one] => (Some(*one), String::new()),
                [] => (None, format!("no recovery set whose id begins with {prefix}")),
                several => {
                    let ids: Vec<SetId> = several.iter().map(|set| set.id).collect();
                    return Err(Failure::permanent(
                        "ambiguous_set",
                        format!("{} recovery sets begin with {prefix}", ids.len()),
                    )
                    .with_hint(format!("write more of it: {}", list(several))));
                }
            }
        }
    };
    found.ok_or_else(|| {
        let failure = Failure::permanent("no_recovery_set", wanted);
        let mut known: Vec<&RecoverySet> = sets.iter().collect();
        known.sort_by_key(|set| std::cmp::Reverse(set.id));
        match known.as_slice() {
            [] => failure.with_hint("the tiers that answer hold no recovery set; back up first: `rekindle backup`"),
            known => failure.with_hint(format!("choose one with --from: {}", list(known))),
        }
    })
}

fn list(sets: &[&RecoverySet]) -> String {
    let shown = sets.iter().take(LISTED).map(|set| {
        let ready = if set.recovery_ready { "ready" } else { "not ready" };
        format!("{} ({}, {ready})", set.id, set.created.utc.format("%Y-%m-%dT%H:%M:%SZ"))
    });
    let mut listed = shown.collect::<Vec<_>>().join(", ");
    if sets.len() > LISTED {
        listed.push_str(&format!(" and {} older ones", sets.len() - LISTED));
    }
    listed
}
