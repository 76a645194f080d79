//! Searches the tiers for recovery sets, and knows which sets they should hold.
//!
//! A tier may have lost its newest set, or may have been put back to an earlier state. Then the newest set that is left
//! is not the latest. The catalogs of the tiers, the workspace and the other tiers say what should be there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::{SetId, SnapshotId};
use rekindle_model::planted;
use rekindle_model::time;
use rekindle_vault::{Catalogs, RecoverySet, Tier, TierMode, VaultError, catalogs};

use crate::choose::{self, From};
use crate::failures;
use crate::site::Site;

/// The recovery sets in the tiers.
pub(crate) struct Sets {
    /// The sets that can be read and that the named tier holds or should hold; of all tiers if none is named.
    sets: Vec<RecoverySet>,
    /// The sets that are known, and that no tier gives.
    lost: BTreeMap<SetId, Vec<String>>,
    /// The tier that the caller named; empty for none.
    named: String,
    /// The tiers that answer, the fastest first, with the sets that each holds.
    held: Vec<(String, Vec<SetId>)>,
    /// Why the others do not.
    pub(crate) silent: BTreeMap<String, String>,
    /// Why the workspace does not know the newest heads any more, if it does not.
    pub(crate) forgotten: Option<String>,
    /// Locations that hold each set, and whether something outside of a location says that it is up to date.
    stated: Vec<(BTreeSet<SetId>, bool)>,
}

/// The set to recover from.
pub(crate) struct Chosen<'a> {
    pub(crate) set: &'a RecoverySet,
    /// Sets that are newer, should be there, and cannot be read; the newest last.
    pub(crate) newer_lost: Vec<LostSet>,
    /// Sets that are newer and were not taken, as sentences that say why; the newest last.
    pub(crate) passed_over: Vec<String>,
}

/// A set that is known, and that no tier gives.
pub(crate) struct LostSet {
    id: SetId,
    /// What each place answered.
    answers: Vec<String>,
}

impl fmt::Display for LostSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "recovery set {}", self.id)?;
        if let Some(at) = self.id.created() {
            write!(f, " of {}", time::show(at))?;
        }
        write!(f, " ({})", self.answers.join("; "))
    }
}

/// Asks every tier for its sets. If the caller names a tier, takes only sets that this tier holds or should hold; the
/// other tiers may still give their content. If a tier does not answer, another one is enough. With `note`, the
/// workspace notes the newest heads that it saw.
pub(crate) async fn sets(site: &Arc<Site>, named: &str, note: bool) -> Result<Sets, Failure> {
    let mut open = Vec::new();
    let mut silent = BTreeMap::new();
    let mut first = None;
    for name in site.tiers_hot_first() {
        match site.tier(&name, TierMode::Existing).await {
            Ok(tier) => open.push(tier),
            Err(failure) if name == named => return Err(failure),
            Err(failure) => {
                silent.insert(name, failure.message.clone());
                first.get_or_insert(failure);
            }
        }
    }
    if !named.is_empty() && !site.system().tiers.contains_key(named) {
        // This request fails with the reason that the tier is unknown, and with the known ones.
        site.tier(named, TierMode::Existing).await?;
    }
    let mut known = catalogs(&open).await;
    for (tier, error) in std::mem::take(&mut known.unread) {
        silent.insert(tier, format!("what it must hold cannot be read: {error}"));
    }
    if note {
        site.note_heads(&known, &open).await;
    }
    let mut held = Vec::new();
    let mut read = Reading::default();
    for tier in &open {
        let ids = match tier.sets().await.map_err(failures::vault) {
            Ok(ids) => ids,
            Err(failure) if tier.name() == named => return Err(failure),
            Err(failure) => {
                silent.insert(tier.name().to_owned(), failure.message.clone());
                first.get_or_insert(failure);
                continue;
            }
        };
        let expected = known.by_tier.get(tier.name()).into_iter().flatten();
        let expected = expected.flat_map(|catalog| catalog.sets.keys().copied());
        let ids: BTreeSet<SetId> = ids.into_iter().collect();
        read.sets(tier, &expected.chain(ids.iter().copied()).collect(), &ids)
            .await;
        held.push((tier.name().to_owned(), ids.into_iter().rev().collect()));
    }
    if let (Some(failure), true) = (first, held.is_empty()) {
        let message = format!("no tier answers; the first says: {}", failure.message);
        // A tier that answers and is damaged is not worth waiting for.
        let code = match failure.code.as_str() {
            code::DATA_LOST => failure.code.clone(),
            _ => code::TIER_UNAVAILABLE.to_owned(),
        };
        return Err(Failure {
            message,
            code,
            ..failure
        });
    }
    read.heads(&known, &silent);
    Ok(read.of(named, held, silent, &known))
}

/// The documents of sets, as far as any tier gives them.
#[derive(Default)]
struct Reading {
    sets: BTreeMap<SetId, RecoverySet>,
    /// Sets that a tier should have and does not give: the tier, and its answer.
    missed: BTreeMap<SetId, Vec<(String, String)>>,
    /// The sets that each tier has or should have.
    of_tier: BTreeMap<String, BTreeSet<SetId>>,
}

impl Reading {
    /// Reads the documents of those sets, each from the first tier that gives it.
    async fn sets(&mut self, tier: &Tier, expected: &BTreeSet<SetId>, there: &BTreeSet<SetId>) {
        for id in expected {
            self.of_tier
                .entry(tier.name().to_owned())
                .or_default()
                .insert(*id);
            if self.sets.contains_key(id) {
                continue;
            }
            let answer = match tier.set(*id).await {
                Ok(set) => {
                    self.sets.insert(*id, set);
                    continue;
                }
                Err(VaultError::UnknownSet(_)) if !there.contains(id) => {
                    format!("tier {} should hold it, and it is missing there", tier.name())
                }
                // One damaged document must not hide the other sets; another tier may have an intact copy.
                Err(error) => error.to_string(),
            };
            let answer = (tier.name().to_owned(), answer);
            self.missed.entry(*id).or_default().push(answer);
        }
    }

    /// Adds the newest sets of locations that do not answer, or that were put back to an earlier state.
    fn heads(&mut self, known: &Catalogs, silent: &BTreeMap<String, String>) {
        for head in &known.known {
            let Some(set) = head.set else { continue };
            self.of_tier.entry(head.tier.clone()).or_default().insert(set);
            let answer = match silent.get(&head.tier) {
                Some(why) => format!("tier {} held it, and does not answer: {why}", head.tier),
                None => format!("tier {} held it", head.tier),
            };
            let missed = self.missed.entry(set).or_default();
            if missed.iter().all(|(tier, _)| *tier != head.tier) {
                missed.push((head.tier.clone(), answer));
            }
        }
    }

    fn of(
        self,
        named: &str,
        held: Vec<(String, Vec<SetId>)>,
        silent: BTreeMap<String, String>,
        known: &Catalogs,
    ) -> Sets {
        let own = self.of_tier.get(named);
        let is_own = |id: &SetId| named.is_empty() || own.is_some_and(|own| own.contains(id));
        // A set is sealed into each tier that holds all its members.
        let names_it = |set: &RecoverySet| {
            let mut members = set.members.values();
            members.all(|member| member.tiers.iter().any(|tier| tier == named))
        };
        let lost = self
            .missed
            .into_iter()
            .filter(|(id, _)| is_own(id) && !self.sets.contains_key(id));
        let lost = lost
            .map(|(id, missed)| (id, missed.into_iter().map(|(_, answer)| answer).collect()))
            .collect();
        let sets = self.sets.into_values();
        Sets {
            lost,
            sets: sets.filter(|set| is_own(&set.id) || names_it(set)).collect(),
            named: named.to_owned(),
            held,
            silent,
            forgotten: known.forgotten.as_ref().map(ToString::to_string),
            stated: known
                .by_tier
                .values()
                .flatten()
                .map(|catalog| (catalog.sets.keys().copied().collect(), catalog.confirmed))
                .collect(),
        }
    }
}

impl Sets {
    /// Returns the set that is asked for, with the newer ones that are lost.
    pub(crate) fn choose(
        &self,
        from: &From,
        disaster_at: Option<DateTime<Utc>>,
        distrust: &BTreeSet<SnapshotId>,
    ) -> Result<Chosen<'_>, Failure> {
        let limit = match from {
            From::Latest => disaster_at,
            From::Time(time) => Some(*time),
            From::Id(_) => None,
        };
        let before = |id: &SetId| limit.is_none_or(|limit| id.created().is_none_or(|at| at <= limit));
        let lost = |after: Option<SetId>| {
            let newer = self
                .lost
                .iter()
                .filter(|(id, _)| after.is_none_or(|after| **id > after) && before(id));
            let newer = newer.map(|(id, answers)| LostSet {
                id: *id,
                answers: answers.clone(),
            });
            newer.collect::<Vec<_>>()
        };
        match choose::choose(&self.sets, from, disaster_at, distrust) {
            Ok(set) => Ok(Chosen {
                set,
                passed_over: match from {
                    From::Id(_) => Vec::new(),
                    From::Latest | From::Time(_) => self.passed_over(set.id, &before, distrust),
                },
                newer_lost: match from {
                    From::Id(_) => Vec::new(),
                    From::Latest | From::Time(_) => lost(Some(set.id)),
                },
            }),
            Err(failure) => {
                let mut failure = lacking(failure, &self.named, &self.held);
                if let Some(newest) = lost(None).last() {
                    failure.message = format!("{}; known and lost: {newest}", failure.message);
                }
                Err(failure)
            }
        }
    }

    /// Returns why sets that are newer than the chosen one were not taken, though they are from before the limit.
    fn passed_over(
        &self,
        chosen: SetId,
        before: &dyn Fn(&SetId) -> bool,
        distrust: &BTreeSet<SnapshotId>,
    ) -> Vec<String> {
        let newer = |set: &&RecoverySet| set.id > chosen && before(&set.id);
        let mut newer: Vec<&RecoverySet> = self.sets.iter().filter(newer).collect();
        newer.sort_by_key(|set| set.id);
        newer
            .into_iter()
            .filter_map(|set| why_not(set, distrust))
            .collect()
    }

    /// Returns whether more than one place says that this is the newest set: two locations, or one and the memory of
    /// the workspace, the kit or another location.
    pub(crate) fn confirms(&self, set: SetId) -> bool {
        let holders: Vec<bool> = self
            .stated
            .iter()
            .filter(|(sets, _)| sets.contains(&set))
            .map(|(_, confirmed)| *confirmed)
            .collect();
        holders.len() > 1 || holders.contains(&true)
    }

    /// Returns the tiers to read the set from.
    pub(crate) fn order(&self, set: SetId) -> Vec<String> {
        order(&self.named, &self.held, set)
    }

    /// Returns the tiers that hold a set, in that order.
    pub(crate) fn holders(&self, set: SetId) -> Vec<String> {
        let holds = |tier: &String| {
            self.held
                .iter()
                .any(|(name, sets)| name == tier && sets.contains(&set))
        };
        self.order(set).into_iter().filter(holds).collect()
    }
}

/// Returns why a set is not taken; none if it could be.
fn why_not(set: &RecoverySet, distrust: &BTreeSet<SnapshotId>) -> Option<String> {
    if !set.recoverable {
        return Some(why_not_recoverable(set));
    }
    let found: Vec<&str> = choose::distrusted(set, distrust).collect();
    let (names, of) = (found.join(", "), time::show(set.created.utc));
    (!found.is_empty()).then(|| {
        format!(
            "recovery set {} of {of}: a validation found {names} invalid",
            set.id
        )
    })
}

/// Returns why a set is not recoverable as a whole.
fn why_not_recoverable(set: &RecoverySet) -> String {
    let listed = |key: &str| {
        let names = set.summary[key].as_array().into_iter().flatten();
        names
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let unproven = listed("unproven")
        .into_iter()
        .map(|name| match set.proofs.get(&name) {
            Some(proof) if proof.valid == Some(false) => format!("{name} is invalid: {}", proof.why),
            Some(proof) => format!("{name} is not proven: {}", proof.why),
            None => format!("{name} is not proven"),
        });
    let missing = set.missing.iter().map(|name| format!("it lacks {name}"));
    let incomplete = listed("incomplete")
        .into_iter()
        .map(|name| format!("{name} is incomplete"));
    let mut why: Vec<String> = unproven.chain(missing).chain(incomplete).collect();
    if set.summary["recoverable_rule"]["holds"] != true {
        why.push("the rule recovery_ready does not hold".to_owned());
    }
    let of = time::show(set.created.utc);
    format!(
        "recovery set {} of {of} is not recoverable as a whole: {}",
        set.id,
        why.join("; ")
    )
}

impl Chosen<'_> {
    /// Refuses to take an older set for the latest.
    pub(crate) fn refuse_older(&self) -> Result<(), Failure> {
        let Some(newest) = self.newer_lost.last() else {
            return Ok(());
        };
        if planted::is(planted::Fault::NewestSetIgnored) {
            return Ok(());
        }
        let (older, of) = (self.set.id, time::show(self.set.created.utc));
        Err(Failure::permanent(
            code::NEWER_SET_LOST,
            format!("{newest} is the latest that is known, and no tier gives it; the newest that can be read is {older} of {of}"),
        )
        .with_hint(format!(
            "mount or mend the tier that had it; or accept that what came after {of} is lost, and choose set {older}"
        )))
    }
}

/// Adds to the failure of a search in one tier that only this tier was asked, and which others hold sets.
fn lacking(failure: Failure, named: &str, held: &[(String, Vec<SetId>)]) -> Failure {
    if named.is_empty() || failure.code != choose::NO_SET {
        return failure;
    }
    let others: Vec<String> = held
        .iter()
        .filter(|(name, sets)| name != named && !sets.is_empty())
        .map(|(name, sets)| format!("tier {name} holds {}", sets.len()))
        .collect();
    let own = held.iter().any(|(name, sets)| name == named && !sets.is_empty());
    let message = format!("tier {named} has {}", failure.message);
    let hint = match (others.is_empty(), own) {
        (true, _) => failure.hint.unwrap_or_default(),
        (false, true) => format!(
            "{}; or recover from another tier: {}",
            failure.hint.unwrap_or_default(),
            others.join(", ")
        ),
        (false, false) => format!("name another tier, or none: {}", others.join(", ")),
    };
    Failure::permanent(choose::NO_SET, message).with_hint(hint)
}

/// Returns the tiers to read from: the named one, then those that hold the set, then the rest, since they may still
/// have a chunk that the others lost. Among equals, the fastest is first.
fn order(named: &str, held: &[(String, Vec<SetId>)], set: SetId) -> Vec<String> {
    let mut order: Vec<&(String, Vec<SetId>)> = held.iter().collect();
    order.sort_by_key(|(name, sets)| (name != named, !sets.contains(&set)));
    order.into_iter().map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use rekindle_model::time::{Clock, SystemClock};

    use super::*;

    #[test]
    fn the_named_tier_comes_first_then_those_that_hold_the_set() {
        let now = SystemClock.now();
        let (set, other) = (SetId::new(&now), SetId::new(&now));
        let held = [
            ("hot", vec![other]),
            ("warm", vec![set, other]),
            ("cold", vec![set]),
        ]
        .map(|(n, s)| (n.to_owned(), s));
        assert_eq!(order("", &held, set), ["warm", "cold", "hot"]);
        assert_eq!(order("cold", &held, set), ["cold", "warm", "hot"]);
        assert_eq!(order("hot", &held, set), ["hot", "warm", "cold"]);
    }
}
