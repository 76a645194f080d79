//! Composes a recovery set. Pure.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_model::id::SnapshotId;
use rekindle_model::system::{System, WhenUnreadable};
use rekindle_vault::{Member, RecoverySet, Snapshot};

/// A component that this run has captured and verified.
pub(crate) struct Found {
    pub(crate) snapshot: Snapshot,
    /// The tiers whose copy was read back and found whole.
    pub(crate) tiers: Vec<String>,
}

/// The members of a set, and the components that it lacks.
pub(crate) struct Composed {
    pub(crate) members: BTreeMap<String, Member>,
    pub(crate) missing: Vec<String>,
}

/// Takes each wanted component from this run. If this run lacks it, takes its newest snapshot: that of the set before, if
/// a tier still holds it, or one of `newer`, which are of newer sets that cannot be read.
pub(crate) fn compose(
    wanted: &[&str],
    mut fresh: BTreeMap<String, Found>,
    before: Option<&RecoverySet>,
    held: &BTreeMap<SnapshotId, Vec<String>>,
    mut newer: BTreeMap<String, Found>,
) -> Composed {
    let mut composed = Composed {
        members: BTreeMap::new(),
        missing: Vec::new(),
    };
    for name in wanted {
        let of_set = || {
            let inherited = before?.members.get(*name)?;
            let tiers = held.get(&inherited.snapshot).filter(|tiers| !tiers.is_empty())?;
            Some(Member {
                inherited: true,
                tiers: tiers.clone(),
                ..inherited.clone()
            })
        };
        let member = fresh.remove(*name).map(member_of).or_else(|| {
            let newer = newer.remove(*name).map(|found| Member {
                inherited: true,
                ..member_of(found)
            });
            newer
                .into_iter()
                .chain(of_set())
                .max_by_key(|member| member.snapshot)
        });
        match member {
            Some(member) => {
                composed.members.insert((*name).to_owned(), member);
            }
            None => composed.missing.push((*name).to_owned()),
        }
    }
    composed
}

fn member_of(found: Found) -> Member {
    Member {
        snapshot: found.snapshot.id,
        consistency_point: found.snapshot.consistency_point,
        inherited: false,
        verified: true,
        bytes: found.snapshot.bytes,
        files: found.snapshot.files,
        unreadable: found.snapshot.unreadable.count,
        content_digest: found.snapshot.content_digest,
        tiers: found.tiers,
    }
}

/// Returns the members with paths that could not be read, without those whose component accepts that.
pub(crate) fn incomplete(system: &System, members: &BTreeMap<String, Member>) -> Vec<String> {
    let accepts = |name: &str| {
        let component = system.components.get(name);
        component.is_some_and(|component| component.unreadable == WhenUnreadable::Accept)
    };
    let incomplete = members
        .iter()
        .filter(|(name, member)| member.unreadable > 0 && !accepts(name));
    incomplete.map(|(name, _)| name.clone()).collect()
}

/// Returns the time between the oldest and the newest consistency point, in milliseconds.
pub(crate) fn skew_ms(members: &BTreeMap<String, Member>) -> u64 {
    let points = || members.values().map(|member| member.consistency_point.utc);
    match (points().min(), points().max()) {
        (Some(oldest), Some(newest)) => u64::try_from((newest - oldest).num_milliseconds()).unwrap_or(0),
        _ => 0,
    }
}

/// Returns the tiers, among those given, that hold every member.
pub(crate) fn common_tiers(members: &BTreeMap<String, Member>, tiers: &[String]) -> Vec<String> {
    let holds_all = |tier: &&String| members.values().all(|member| member.tiers.contains(tier));
    tiers.iter().filter(holds_all).cloned().collect()
}

/// Returns the share of the attempted components whose member in the set was captured by this run. Returns none if no
/// component was attempted.
///
/// A tier that was down does not lower the share, since the set goes only to tiers that hold all of it.
#[expect(
    clippy::cast_precision_loss,
    reason = "a system has far fewer than 2^52 components"
)]
pub(crate) fn recoverable_rate(
    attempted: &BTreeSet<String>,
    members: &BTreeMap<String, Member>,
) -> Option<f64> {
    let fresh = |name: &&String| members.get(*name).is_some_and(|member| !member.inherited);
    let share = || attempted.iter().filter(fresh).count() as f64 / attempted.len() as f64;
    (!attempted.is_empty()).then(share)
}

#[cfg(test)]
mod tests {
    use rekindle_model::id::{Hash32, SetId};
    use rekindle_model::time::{Clock, ManualClock, Stamp};
    use serde_json::Value;

    use super::*;

    fn stamp(seconds: i64) -> Stamp {
        ManualClock::at(chrono::DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()).now()
    }

    fn member(at: i64, tiers: &[&str]) -> Member {
        Member {
            snapshot: SnapshotId::new(&stamp(at)),
            consistency_point: stamp(at),
            inherited: false,
            verified: true,
            bytes: 1,
            files: 1,
            unreadable: 0,
            content_digest: Hash32::ZERO,
            tiers: tiers.iter().map(|tier| (*tier).to_owned()).collect(),
        }
    }

    fn set(members: &[(&str, Member)]) -> RecoverySet {
        RecoverySet {
            id: SetId::new(&stamp(0)),
            created: stamp(0),
            system: "s".to_owned(),
            members: members
                .iter()
                .map(|(name, member)| ((*name).to_owned(), member.clone()))
                .collect(),
            missing: Vec::new(),
            recovery_ready: true,
            recoverable: true,
            skew_ms: 0,
            summary: Value::Null,
            system_definition: Vec::new(),
            predecessor: None,
            proofs: BTreeMap::new(),
        }
    }

    #[test]
    fn what_this_run_did_not_bring_is_inherited_as_far_as_a_tier_still_holds_it() {
        let (kept, pruned) = (member(1, &["hot", "cold"]), member(2, &["hot"]));
        let before = set(&[("a", kept.clone()), ("b", pruned.clone())]);
        let held = BTreeMap::from([
            (kept.snapshot, vec!["cold".to_owned()]),
            (pruned.snapshot, vec![]),
        ]);
        let composed = compose(
            &["a", "b", "c"],
            BTreeMap::new(),
            Some(&before),
            &held,
            BTreeMap::new(),
        );
        assert_eq!(composed.members.keys().collect::<Vec<_>>(), ["a"]);
        let a = &composed.members["a"];
        assert!(a.inherited);
        assert_eq!(
            (a.consistency_point, a.tiers.as_slice()),
            (stamp(1), ["cold".to_owned()].as_slice())
        );
        assert_eq!(composed.missing, ["b", "c"]);
    }

    #[test]
    fn a_set_goes_only_where_all_of_it_is() {
        let members = set(&[("a", member(1, &["hot", "cold"])), ("b", member(61, &["hot"]))]).members;
        let tiers = ["hot", "warm", "cold"].map(str::to_owned);
        assert_eq!(common_tiers(&members, &tiers), ["hot"]);
        assert_eq!(skew_ms(&members), 60_000);
    }

    #[test]
    fn the_success_rate_counts_what_was_attempted_and_not_what_was_inherited() {
        let mut members = set(&[("a", member(1, &["hot"])), ("b", member(1, &["hot"]))]).members;
        members.get_mut("b").unwrap().inherited = true;
        let attempted = ["a", "b"].map(str::to_owned).into();
        assert_eq!(recoverable_rate(&attempted, &members), Some(0.5));
        assert_eq!(recoverable_rate(&["a".to_owned()].into(), &members), Some(1.0));
        assert_eq!(recoverable_rate(&BTreeSet::new(), &members), None);
    }
}
