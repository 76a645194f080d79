//! `seal-set`: seals the recovery set of a run, and removes from the spool what every due tier holds.
//!
//! If a component failed in this run, or was not part of it, the set inherits it from the set before, with its age. If
//! a component has never been stored, the set lacks it. A set that lacks a component is never recovery-ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::{Event, Measures, Payload};
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::{SetId, SnapshotId};
use rekindle_model::system::Prove;
use rekindle_model::time::Stamp;
use rekindle_plan::Problem;
use rekindle_sources::discard;
use rekindle_vault::{
    CatalogCheck, Catalogs, Member, ProgressSink, Proof, RecoverySet, Tier, VaultError, VerifyLevel,
    catalogs, lacking,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::compose::{self, Composed, Found};
use crate::failures;
use crate::findings;
use crate::params;
use crate::rule::{self, Bounds};
use crate::site::Site;
use crate::views::{self, Fared};

/// See the module's documentation.
pub(crate) struct SealSet(pub(crate) Arc<Site>);

/// The default rule for a set, if the system states none: every attempted component is stored and verified in every due
/// tier, and no stored copy is faulty. The step's output says which tiers hold the whole set (`stored_in`).
const DEFAULT_RULE: &str = "backup.success_rate == 1 and integrity.all_verified";

/// The set's name is chosen once and recorded. So a set that was stored before a crash is recognised after it.
#[derive(Serialize, Deserialize)]
struct Progress {
    set: SetId,
    created: Stamp,
    /// The tiers that will get the set; empty until the set is composed.
    tiers: Vec<String>,
}

/// Returns the recovery set that a run was sealing, if an event names it. Only the tiers show whether the run sealed
/// it.
pub fn sealed_set(event: &Event) -> Option<SetId> {
    match event {
        Event::StepCheckpoint {
            progress: Payload::Inline(progress),
            ..
        } => Progress::deserialize(progress).ok().map(|progress| progress.set),
        _ => None,
    }
}

#[async_trait]
impl Action for SealSet {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, &[])
    }

    async fn reconcile(&self, _cx: &StepContext, checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        let Some(progress) = checkpoint.and_then(|value| Progress::deserialize(value).ok()) else {
            return Ok(Reconciled::redo("no set was begun"));
        };
        let mut stored_in = Vec::new();
        let mut set = None;
        for tier in self.0.tiers_that_answer(&progress.tiers).await {
            if let Some(found) = set_in(&tier, progress.set).await? {
                stored_in.push(tier.name().to_owned());
                set = Some(found);
            }
        }
        let evidence = json!({ "set": progress.set, "stored_in": stored_in, "due_in": progress.tiers });
        match set {
            Some(set) if stored_in.len() == progress.tiers.len() => Ok(Reconciled::Complete {
                output: output(&set, &stored_in),
                evidence,
            }),
            _ => Ok(Reconciled::Continue { evidence }),
        }
    }

    async fn run(&self, cx: &StepContext, checkpoint: Option<Value>) -> Result<Output, Failure> {
        let sealed = self.seal(cx, checkpoint).await;
        // The proofs are over. No plain data may stay, also if the set could not be sealed.
        if let Some(sandbox) = self.0.sandbox() {
            discard(sandbox).await;
        }
        sealed
    }

    async fn recheck(&self, _cx: &StepContext, output: &Value) -> Result<Option<String>, Failure> {
        set_gone(&self.0, output, "stored_in").await
    }
}

impl SealSet {
    async fn seal(&self, cx: &StepContext, checkpoint: Option<Value>) -> Result<Output, Failure> {
        let begun = checkpoint.and_then(|value| Progress::deserialize(value).ok());
        let mut progress = match begun {
            Some(begun) => begun,
            None => {
                let now = self.0.clock().now();
                let progress = Progress {
                    set: SetId::new(&now),
                    created: now,
                    tiers: Vec::new(),
                };
                cx.checkpoint(json!(progress)).await?;
                progress
            }
        };
        let answer = self.0.tiers_that_answer(&self.0.tiers_hot_first()).await;
        let mut found = catalogs(&answer).await;
        let lost = lacking(&answer, &found, CatalogCheck::Newest).await;
        // A tier whose folders cannot be read gets no set. The others get theirs all the same.
        let mut unsealed = std::mem::take(&mut found.unread)
            .into_iter()
            .map(|(tier, error)| (tier, error.to_string()))
            .collect::<BTreeMap<_, _>>();
        let mut tiers = Vec::new();
        for tier in answer {
            if unsealed.contains_key(tier.name()) {
                continue;
            }
            match tier.sets().await.and(tier.snapshots().await) {
                Ok(_) => tiers.push(tier),
                Err(error) => {
                    unsealed.insert(tier.name().to_owned(), error.to_string());
                }
            }
        }
        let set = match already_sealed(&tiers, progress.set).await? {
            Some(set) => set,
            None => self.compose(cx, &progress, &tiers, &found).await?,
        };
        let names: Vec<String> = tiers.iter().map(|tier| tier.name().to_owned()).collect();
        progress.tiers = compose::common_tiers(&set.members, &names);
        if progress.tiers.is_empty() {
            return Err(no_common_tier(&set));
        }
        cx.checkpoint(json!(progress)).await?;
        // A set counts only once the run's replicas record it. A workspace that has lost the run must not seal one.
        cx.barrier().await;
        let due = tiers
            .iter()
            .filter(|tier| progress.tiers.iter().any(|name| name == tier.name()));
        let mut failed = None;
        for tier in due {
            let now = self.0.clock().now();
            if let Err(error) = tier.put_set(&set, &found, &now).await {
                unsealed.insert(tier.name().to_owned(), error.to_string());
                failed.get_or_insert(error);
            }
        }
        progress.tiers.retain(|tier| !unsealed.contains_key(tier));
        if let (true, Some(error)) = (progress.tiers.is_empty(), failed) {
            return Err(failures::vault(error));
        }
        remove_abandoned(&tiers).await;
        self.clean_spool(cx).await?;
        let mut output = output(&set, &progress.tiers);
        output.value["lost"] = json!(findings::sentences(&lost));
        output.value["lost_total"] = json!(lost.len());
        output.value["unsealed"] = json!(unsealed);
        Ok(output)
    }
}

/// Returns a reason if the set that an output names is gone from all the tiers in the output's `key`. If one of these
/// tiers does not answer, returns none, since that tier may have it.
pub(crate) async fn set_gone(site: &Site, output: &Value, key: &str) -> Result<Option<String>, Failure> {
    let Some(set) = output
        .get("set")
        .and_then(Value::as_str)
        .and_then(|text| text.parse().ok())
    else {
        return Ok(None);
    };
    let named: Vec<String> = Vec::deserialize(&output[key]).unwrap_or_default();
    let tiers = site.tiers_that_answer(&named).await;
    for tier in &tiers {
        if set_in(tier, set).await?.is_some() {
            return Ok(None);
        }
    }
    let all_answered = tiers.len() == named.len();
    Ok(all_answered.then(|| format!("recovery set {set} is in none of its tiers")))
}

impl SealSet {
    /// Composes the set from the results of the run's steps and from the set before.
    async fn compose(
        &self,
        cx: &StepContext,
        progress: &Progress,
        tiers: &[Arc<Tier>],
        known: &Catalogs,
    ) -> Result<RecoverySet, Failure> {
        let system = self.0.system();
        let wanted: Vec<&str> = system
            .components
            .iter()
            .filter(|(_, component)| component.source.is_some())
            .map(|(name, _)| name.as_str())
            .collect();
        let fresh = found_in_run(cx, tiers).await?;
        let before = newest_set(tiers).await?;
        let held = held_by(tiers, before.as_ref()).await?;
        let newer = of_unread_sets(cx, tiers, known, before.as_ref()).await?;
        let Composed { members, missing } = compose::compose(&wanted, fresh, before.as_ref(), &held, newer);
        if members.is_empty() {
            return Err(Failure::permanent(
                "nothing_to_seal",
                "no component has a verified copy in any tier",
            )
            .with_hint("see why the steps of this run failed"));
        }
        let skew_ms = compose::skew_ms(&members);
        let fared = views::stored_well(&cx.steps, wanted.iter().copied());
        let attempted = fared.keys().cloned().collect();
        let success_rate = views::success_rate(&fared);
        let recoverable_rate = compose::recoverable_rate(&attempted, &members);
        let all_verified = views::all_stored_are_verified(&cx.steps);
        let rates = |rate: f64| json!({ "backup": { "success_rate": rate } });
        let bounds = Bounds {
            worst: rates(0.0),
            best: rates(1.0),
        };
        let rule = |success_rate: Option<f64>, all_verified: bool| {
            let inputs = json!({
                "backup": {
                    "success_rate": success_rate,
                    "attempted": attempted.len(),
                    "inherited": members.values().filter(|member| member.inherited).count(),
                    "missing": missing.len(),
                    "skew_ms": skew_ms,
                },
                "integrity": { "all_verified": all_verified },
            });
            rule::evaluate(system, "recovery_ready", DEFAULT_RULE, &inputs, &bounds)
        };
        let ruled = rule(success_rate, all_verified)?;
        // The set goes only to tiers in which each member was verified.
        let recoverable = rule(recoverable_rate, members.values().all(|member| member.verified))?;
        let incomplete = compose::incomplete(system, &members);
        let (proofs, unproven) = self.proofs(cx, &members, before.as_ref());
        let summary = json!({
            "run": cx.run,
            "incomplete": incomplete,
            "unproven": unproven,
            "success_rate": success_rate,
            "all_verified": all_verified,
            "rule": ruled.account,
            "recoverable_rule": recoverable.account,
        });
        let whole = missing.is_empty() && incomplete.is_empty() && unproven.is_empty();
        Ok(RecoverySet {
            id: progress.set,
            created: progress.created,
            system: system.system.clone(),
            recovery_ready: whole && ruled.holds == Some(true),
            recoverable: whole && recoverable.holds == Some(true),
            members,
            missing,
            skew_ms,
            summary,
            system_definition: self.0.system_yaml().to_vec(),
            predecessor: before.map(|set| set.id),
            proofs,
        })
    }

    /// Returns the newest proof of each component, and the components that keep the set from being ready: the newest proof
    /// of the very snapshot in the set, by this run or an earlier one, did not find them valid.
    fn proofs(
        &self,
        cx: &StepContext,
        members: &BTreeMap<String, Member>,
        before: Option<&RecoverySet>,
    ) -> (BTreeMap<String, Proof>, Vec<String>) {
        let system = self.0.system();
        let mut proofs = before.map_or_else(BTreeMap::new, |set| set.proofs.clone());
        // What was found of a snapshot stays true; a component without data is judged only as long as that is wanted.
        proofs.retain(|name, _| {
            let component = system.components.get(name);
            component.is_some_and(|component| component.source.is_some() || component.prove != Prove::Never)
        });
        let at = self.0.clock().now();
        for (name, proved) in views::proved(&cx.steps) {
            let captured = views::captured(&cx.steps, &name);
            let restored = views::restored(&cx.steps, &name).and_then(|restored| restored.snapshot);
            let proof = Proof {
                snapshot: restored.or_else(|| captured.as_ref().and_then(|captured| captured.snapshot)),
                at,
                valid: proved.valid,
                why: proved.why,
                living: captured.and_then(|captured| captured.living()),
            };
            proofs.insert(name, proof);
        }
        let own = |name: &String| members.get(name).map(|member| member.snapshot);
        let unproven = proofs
            .iter()
            .filter(|(name, proof)| proof.snapshot == own(name) && proof.valid != Some(true));
        let unproven: BTreeSet<String> = unproven.map(|(name, _)| name.clone()).collect();
        (proofs, unproven.into_iter().collect())
    }

    /// Removes from the spool everything that no due tier lacks. These are the snapshots of each component whose
    /// copies were all stored and verified, and the component's older snapshots.
    async fn clean_spool(&self, cx: &StepContext) -> Result<(), Failure> {
        let spool = self.0.spool().await?;
        spool.abandoned(true).await.map_err(failures::vault)?;
        let fared = views::stored_well(&cx.steps, self.0.system().components.keys());
        let well = views::those(&fared, Fared::Well);
        for (component, (newest, _)) in views::verified_copies(&cx.steps) {
            if !well.contains(component.as_str()) {
                continue;
            }
            for id in spool.snapshots().await.map_err(failures::vault)? {
                let there = spool.snapshot(id).await.map_err(failures::vault)?;
                if there.is_some_and(|there| there.component == component && there.id <= newest) {
                    spool.remove(id).await.map_err(failures::vault)?;
                }
            }
        }
        Ok(())
    }
}

/// Returns what this run has captured and verified, with the tiers that hold each.
async fn found_in_run(cx: &StepContext, tiers: &[Arc<Tier>]) -> Result<BTreeMap<String, Found>, Failure> {
    let mut found = BTreeMap::new();
    for (component, (snapshot, verified_in)) in views::verified_copies(&cx.steps) {
        // A tier that does not answer any more takes no part in the new set.
        let Some(tier) = tiers
            .iter()
            .find(|tier| verified_in.iter().any(|name| name == tier.name()))
        else {
            continue;
        };
        let snapshot = tier.snapshot(snapshot).await.map_err(failures::vault)?;
        found.insert(
            component,
            Found {
                snapshot,
                tiers: verified_in,
            },
        );
    }
    Ok(found)
}

/// Returns the tiers that hold each member of the set before.
async fn held_by(
    tiers: &[Arc<Tier>],
    before: Option<&RecoverySet>,
) -> Result<BTreeMap<SnapshotId, Vec<String>>, Failure> {
    let mut held: BTreeMap<SnapshotId, Vec<String>> = BTreeMap::new();
    for tier in tiers {
        let there: BTreeSet<SnapshotId> = tier
            .snapshots()
            .await
            .map_err(failures::vault)?
            .into_iter()
            .collect();
        for member in before.iter().flat_map(|set| set.members.values()) {
            // Only a verified copy counts, and the set names the tiers of such copies.
            if there.contains(&member.snapshot) && member.tiers.iter().any(|name| name == tier.name()) {
                held.entry(member.snapshot)
                    .or_default()
                    .push(tier.name().to_owned());
            }
        }
    }
    Ok(held)
}

/// Returns the set of that name, if a tier holds it. It was composed before a crash, and the step continues with it.
async fn already_sealed(tiers: &[Arc<Tier>], id: SetId) -> Result<Option<RecoverySet>, Failure> {
    for tier in tiers {
        if let Some(set) = set_in(tier, id).await? {
            return Ok(Some(set));
        }
    }
    Ok(None)
}

async fn set_in(tier: &Tier, id: SetId) -> Result<Option<RecoverySet>, Failure> {
    match tier.set(id).await {
        Ok(set) => Ok(Some(set)),
        Err(VaultError::UnknownSet(_)) => Ok(None),
        Err(error) => Err(failures::vault(error)),
    }
}

/// Removes what killed writes left in the tiers. A later backup does it where this one cannot.
async fn remove_abandoned(tiers: &[Arc<Tier>]) {
    for tier in tiers {
        match tier.abandoned(true).await {
            Ok(left) if left.is_empty() => {}
            Ok(left) => tracing::info!(
                tier = tier.name(),
                files = left.len(),
                "removed what killed writes left"
            ),
            Err(error) => tracing::warn!(tier = tier.name(), %error, "what killed writes left stays"),
        }
    }
}

/// Returns the newest whole snapshots of sets that are newer than `before` and that no tier gives. The heads still name
/// what such a set needs. A set was sealed only where each of its snapshots was verified.
async fn of_unread_sets(
    cx: &StepContext,
    tiers: &[Arc<Tier>],
    known: &Catalogs,
    before: Option<&RecoverySet>,
) -> Result<BTreeMap<String, Found>, Failure> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for tier in tiers {
        let catalogs = known.by_tier.get(tier.name()).into_iter().flatten();
        let sets = catalogs.flat_map(|catalog| &catalog.sets);
        let newer = sets.filter(|(set, _)| before.is_none_or(|before| **set > before.id));
        let snapshots: BTreeSet<SnapshotId> = newer.flat_map(|(_, needs)| needs).copied().collect();
        for id in snapshots.into_iter().rev() {
            let Ok(snapshot) = tier.snapshot(id).await else {
                continue;
            };
            let component = snapshot.component.clone();
            if found.get(&component).is_some_and(|there| there.snapshot.id > id) {
                continue;
            }
            let (sink, level) = (ProgressSink::none(), VerifyLevel::Exists);
            match rekindle_vault::verify(tier, id, level, &sink, &cx.stop).await {
                Ok(report) if report.faults.is_empty() => {}
                Err(VaultError::Interrupted) => return Err(failures::interrupted()),
                _ => continue,
            }
            let tiers = match found.remove(&component) {
                Some(there) if there.snapshot.id == id => there.tiers,
                _ => Vec::new(),
            };
            let mut one = Found { snapshot, tiers };
            one.tiers.push(tier.name().to_owned());
            found.insert(component, one);
        }
    }
    Ok(found)
}

pub(crate) async fn newest_set(tiers: &[Arc<Tier>]) -> Result<Option<RecoverySet>, Failure> {
    let mut newest: Option<RecoverySet> = None;
    for tier in tiers {
        for id in tier.sets().await.map_err(failures::vault)? {
            if newest.as_ref().is_some_and(|newest| newest.id >= id) {
                break;
            }
            match tier.set(id).await {
                Ok(set) => {
                    newest = Some(set);
                    break;
                }
                // One damaged document must not prevent a new set.
                Err(error @ VaultError::Object { .. }) => {
                    tracing::warn!(tier = tier.name(), set = %id, %error, "a recovery set cannot be read");
                }
                Err(error) => return Err(failures::vault(error)),
            }
        }
    }
    Ok(newest)
}

fn no_common_tier(set: &RecoverySet) -> Failure {
    let held: Vec<String> = set
        .members
        .iter()
        .map(|(name, member)| format!("{name} in {}", member.tiers.join(", ")))
        .collect();
    Failure::transient(
        code::TIER_UNAVAILABLE,
        "no tier that answers holds every member of the set",
    )
    .with_hint(format!(
        "make the tiers available again and run the backup again; stored so far: {}",
        held.join("; ")
    ))
}

fn output(set: &RecoverySet, stored_in: &[String]) -> Output {
    let components: serde_json::Map<String, Value> = set
        .members
        .iter()
        .map(|(name, member)| {
            let value = json!({
                "snapshot": member.snapshot,
                "consistency_point": member.consistency_point.utc,
                "inherited": member.inherited,
                "age_s": set.created.since(&member.consistency_point).duration.as_secs(),
                "bytes": member.bytes,
                "tiers": member.tiers,
            });
            (name.clone(), value)
        })
        .collect();
    let value = json!({
        "set": set.id,
        "recovery_ready": set.recovery_ready,
        "recoverable": set.recoverable,
        "success_rate": set.summary["success_rate"],
        "all_verified": set.summary["all_verified"],
        "components": components,
        "missing": set.missing,
        "incomplete": set.summary["incomplete"],
        "unproven": set.summary["unproven"],
        "proofs": set.proofs,
        "skew_ms": set.skew_ms,
        "rule": set.summary["rule"],
        "stored_in": stored_in,
        "predecessor": set.predecessor,
    });
    let measures = Measures::from([("skew_ms".to_owned(), crate::measure::number(set.skew_ms))]);
    Output { value, measures }
}
