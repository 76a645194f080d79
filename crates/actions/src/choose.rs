//! Chooses the recovery set that a recovery restores. Pure.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rekindle_model::failure::Failure;
use rekindle_model::id::{SetId, SnapshotId, is_named};
use rekindle_vault::RecoverySet;

use crate::params::BAD_PARAMETER;

/// How a set is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The newest recoverable one from before the disaster.
    Latest,
    /// The newest recoverable one from before this instant.
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
        Err(
            Failure::permanent(BAD_PARAMETER, format!("{text:?} names no recovery set")).with_hint(
                "write latest, a time such as 2026-11-23T10:00:00Z, or at least 4 digits of the beginning or end of a set's id",
            ),
        )
    }
}

/// The code of a search that finds no set.
pub(crate) const NO_SET: &str = "no_recovery_set";

/// How many known sets a refusal lists; the newest come first.
const LISTED: usize = 10;

/// Returns the requested set among `sets`, which are in any order.
///
/// `latest` and a time take only sets that are recoverable and whose consistency points all lie at or before
/// `disaster_at` or that time. Data that was captured later may hold the disaster already. They prefer a set without any
/// snapshot of `distrust`. A set that is requested by its id is taken without these conditions.
pub(crate) fn choose<'a>(
    sets: &'a [RecoverySet],
    from: &From,
    disaster_at: Option<DateTime<Utc>>,
    distrust: &BTreeSet<SnapshotId>,
) -> Result<&'a RecoverySet, Failure> {
    let newest_before = |limit: Option<DateTime<Utc>>| {
        let trusted = |set: &&RecoverySet| distrusted(set, distrust).next().is_none();
        let fits = |set: &&RecoverySet| {
            set.recoverable
                && set
                    .members
                    .values()
                    .all(|member| limit.is_none_or(|limit| member.consistency_point.utc <= limit))
        };
        let ready = || sets.iter().filter(fits);
        // The validation itself may have been at fault: better such a set than none.
        let best = ready().filter(trusted).max_by_key(|set| set.id);
        best.or_else(|| ready().max_by_key(|set| set.id))
    };
    let (found, wanted) = match from {
        From::Latest => {
            let wanted = match disaster_at {
                Some(at) => format!("no recoverable set from before the disaster at {at:?}"),
                None => "no recoverable set".to_owned(),
            };
            (newest_before(disaster_at), wanted)
        }
        From::Time(time) => (
            newest_before(Some(*time)),
            format!("no recoverable set from before {time:?}"),
        ),
        From::Id(word) => {
            let of_that_name: Vec<&RecoverySet> = sets.iter().filter(|set| is_named(&set.id, word)).collect();
            match of_that_name.as_slice() {
                [one] => (Some(*one), String::new()),
                [] => (None, format!("no recovery set {word}")),
                several => {
                    let ids: Vec<SetId> = several.iter().map(|set| set.id).collect();
                    return Err(Failure::permanent(
                        "ambiguous_set",
                        format!("{word} names {} recovery sets", ids.len()),
                    )
                    .with_hint(format!("write more of it: {}", list(several))));
                }
            }
        }
    };
    found.ok_or_else(|| {
        let failure = Failure::permanent(NO_SET, wanted);
        let mut known: Vec<&RecoverySet> = sets.iter().collect();
        known.sort_by_key(|set| std::cmp::Reverse(set.id));
        let limit = match from {
            From::Latest => disaster_at,
            From::Time(time) => Some(*time),
            From::Id(_) => None,
        };
        let later = |set: &&RecoverySet| {
            let mut points = set.members.values().map(|member| member.consistency_point.utc);
            limit.is_some_and(|limit| points.any(|point| point > limit))
        };
        match known.as_slice() {
            all @ [_, ..] if all.iter().all(later) => failure.with_hint(format!(
                "each was made later than that, or by a clock that was ahead of this machine's; \
                 name one of these: {}",
                list(all)
            )),
            [] => failure.with_hint("the tiers that answer hold no recovery set; back up first"),
            known => failure.with_hint(format!("name one of these: {}", list(known))),
        }
    })
}

/// Returns the components of a set whose snapshot a validation found invalid.
pub(crate) fn distrusted<'s>(
    set: &'s RecoverySet,
    distrust: &'s BTreeSet<SnapshotId>,
) -> impl Iterator<Item = &'s str> {
    let members = set.members.iter();
    members
        .filter(|(_, member)| distrust.contains(&member.snapshot))
        .map(|(name, _)| name.as_str())
}

fn list(sets: &[&RecoverySet]) -> String {
    let shown = sets.iter().take(LISTED).map(|set| {
        let ready = if set.recoverable {
            "recoverable"
        } else {
            "not recoverable"
        };
        format!(
            "{} ({}, {ready})",
            set.id,
            set.created.utc.format("%Y-%m-%dT%H:%M:%SZ")
        )
    });
    let mut listed = shown.collect::<Vec<_>>().join(", ");
    if sets.len() > LISTED {
        listed.push_str(&format!(" and {} older ones", sets.len() - LISTED));
    }
    listed
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rekindle_model::id::{Hash32, SnapshotId};
    use rekindle_model::time::{Clock, ManualClock, Stamp};
    use rekindle_vault::Member;
    use serde_json::Value;

    use super::*;

    const NOON: i64 = 1_800_000_000;

    fn stamp(minutes: i64) -> Stamp {
        ManualClock::at(DateTime::from_timestamp(NOON + 60 * minutes, 0).unwrap()).now()
    }

    /// A set that is sealed some minutes after noon, with one component that was captured a minute earlier.
    fn set(minutes: i64, recoverable: bool) -> RecoverySet {
        let member = Member {
            snapshot: SnapshotId::new(&stamp(minutes - 1)),
            consistency_point: stamp(minutes - 1),
            inherited: false,
            verified: true,
            bytes: 0,
            files: 0,
            unreadable: 0,
            content_digest: Hash32::ZERO,
            tiers: vec!["hot".to_owned()],
        };
        RecoverySet {
            id: SetId::new(&stamp(minutes)),
            created: stamp(minutes),
            system: "s".to_owned(),
            members: BTreeMap::from([("a".to_owned(), member)]),
            missing: Vec::new(),
            recovery_ready: recoverable,
            recoverable,
            skew_ms: 0,
            summary: Value::Null,
            system_definition: Vec::new(),
            predecessor: None,
            proofs: BTreeMap::new(),
        }
    }

    fn chosen(sets: &[RecoverySet], from: &str, disaster: Option<i64>) -> Result<i64, Failure> {
        let disaster = disaster.map(|minutes| stamp(minutes).utc);
        let set = choose(sets, &From::read(from)?, disaster, &BTreeSet::new())?;
        Ok((set.created.utc.timestamp() - NOON) / 60)
    }

    #[test]
    fn latest_is_the_newest_ready_set_that_the_disaster_cannot_be_in() {
        let sets = [set(10, true), set(30, true), set(20, true), set(40, false)];
        for (from, disaster, minutes) in [
            ("latest", None, 30),
            ("", Some(100), 30),
            // The set of minute 30 was captured at 29: a disaster at 28 may be in it.
            ("latest", Some(28), 20),
            ("latest", Some(29), 30),
            ("2027-01-15T08:15:00Z", None, 10),
            ("2027-01-15T09:15:00+01:00", Some(100), 10),
        ] {
            assert_eq!(
                chosen(&sets, from, disaster).unwrap(),
                minutes,
                "{from:?}, disaster at {disaster:?}"
            );
        }
    }

    #[test]
    fn a_set_that_was_found_invalid_is_taken_by_its_name_or_if_no_other_is_better() {
        let sets = [set(10, true), set(30, true)];
        let distrust = BTreeSet::from([sets[1].members["a"].snapshot]);
        let of = |from| {
            choose(&sets, &From::read(from).unwrap(), None, &distrust)
                .unwrap()
                .id
        };
        assert_eq!(of("latest"), sets[0].id);
        assert_eq!(of(&sets[1].id.to_string()), sets[1].id);
        let all = sets.iter().map(|set| set.members["a"].snapshot).collect();
        let of_all = choose(&sets, &From::Latest, None, &all).unwrap();
        assert_eq!(of_all.id, sets[1].id, "no set is better, so the newest is taken");
    }

    #[test]
    fn a_set_asked_for_by_name_is_taken_as_it_is() {
        let sets = [set(10, true), set(40_000, false)];
        let name = sets[1].id.to_string();
        assert_eq!(chosen(&sets, &name[..8], Some(5)).unwrap(), 40_000);
        assert_eq!(chosen(&sets, &name.to_uppercase(), None).unwrap(), 40_000);
    }

    #[test]
    fn what_cannot_be_found_is_answered_with_what_there_is() {
        let sets = [set(10, false), set(20, false)];
        let refused = chosen(&sets, "latest", Some(0)).unwrap_err();
        assert_eq!(refused.code, "no_recovery_set");
        let hint = refused.hint.unwrap();
        assert!(hint.contains("a clock that was ahead"), "both are later: {hint}");
        let one_is_earlier = chosen(&sets, "latest", Some(15)).unwrap_err().hint.unwrap();
        assert!(!one_is_earlier.contains("clock"), "{one_is_earlier}");
        let (newer, older) = (
            hint.find(&sets[1].id.to_string()),
            hint.find(&sets[0].id.to_string()),
        );
        assert!(newer.is_some() && newer < older, "the newest comes first: {hint}");
        assert_eq!(chosen(&sets, "ffff", None).unwrap_err().code, "no_recovery_set");
        assert_eq!(
            chosen(&sets, &sets[0].id.to_string()[..4], None)
                .unwrap_err()
                .code,
            "ambiguous_set"
        );
        assert_eq!(chosen(&sets, "yesterday", None).unwrap_err().code, BAD_PARAMETER);
        assert!(
            chosen(&[], "latest", None)
                .unwrap_err()
                .hint
                .unwrap()
                .contains("back up first")
        );
    }
}
