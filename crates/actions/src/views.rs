//! The outputs of the run's earlier steps. They are found by their shape and not by a step's name, since a workflow
//! may choose its steps' names.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_engine::{EndedSteps, StepContext, StepView};
use rekindle_model::event::SkipReason;
use rekindle_model::failure::Failure;
use rekindle_model::id::{SetId, SnapshotId, StepId};
use rekindle_model::step::StepState;
use rekindle_model::system::{After, System};
use rekindle_plan::workflow::RECOVERY;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::checks::Numbers;
use crate::params::BAD_PARAMETER;

/// The finished steps of the run.
pub(crate) type Views = EndedSteps;

/// The code of a step that lacks the output of an earlier step.
pub(crate) const NOTHING_TO_WORK_ON: &str = "nothing_to_work_on";

/// The output of `snapshot` for one component.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Captured {
    pub(crate) component: String,
    /// None for a component without data.
    pub(crate) snapshot: Option<SnapshotId>,
    /// Only the output of `snapshot` has this field; it distinguishes that output from those about copies.
    #[expect(dead_code, reason = "its presence is what matters")]
    captured_by: String,
    /// How the living system met its validations.
    #[serde(default)]
    living: Vec<LivingCheck>,
}

#[derive(Clone, Debug, Deserialize)]
struct LivingCheck {
    ok: Option<bool>,
}

impl Captured {
    /// Returns whether the living system passed its validations at the capture; none if nothing was measured.
    pub(crate) fn living(&self) -> Option<bool> {
        match () {
            () if self.living.iter().any(|check| check.ok == Some(false)) => Some(false),
            () if self.living.is_empty() || self.living.iter().any(|check| check.ok.is_none()) => None,
            () => Some(true),
        }
    }
}

/// The output of `verify` for one copy.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Verified {
    pub(crate) component: String,
    pub(crate) tier: String,
    pub(crate) snapshot: Option<SnapshotId>,
    pub(crate) verified: bool,
}

/// The output of `store` for one copy.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Stored {
    pub(crate) component: String,
    pub(crate) tier: String,
    pub(crate) snapshot: Option<SnapshotId>,
    /// Only the output of `store` has this field; it distinguishes that output from that of `verify`.
    #[expect(dead_code, reason = "its presence is what matters")]
    objects_stored: u64,
}

/// The output of `locate-set`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Located {
    pub(crate) set: SetId,
    pub(crate) tier_order: Vec<String>,
    pub(crate) components: BTreeMap<String, LocatedMember>,
    pub(crate) skew_ms: u64,
}

/// One component of the located set.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LocatedMember {
    pub(crate) snapshot: SnapshotId,
    #[serde(default)]
    pub(crate) bytes: u64,
}

/// The output of `restore` for one component.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Restored {
    component_restored: String,
    pub(crate) snapshot: Option<SnapshotId>,
    /// The numbers of the living system, as its capture measured them.
    #[serde(default)]
    pub(crate) baseline: Numbers,
}

/// Returns the components that the run has restored, for checks of what is there.
pub(crate) fn restored_components(views: &Views) -> BTreeMap<String, Fared> {
    let restored = outputs::<Restored>(views).into_iter();
    restored
        .map(|restored| (restored.component_restored, Fared::Well))
        .collect()
}

/// The output of `load`.
#[derive(Clone, Debug, Deserialize)]
struct Loaded {
    load: Numbers,
}

/// Returns what a load has measured before; none if none was there yet.
pub(crate) fn load(views: &Views) -> Option<Numbers> {
    let first = outputs::<Loaded>(views).into_iter().next();
    first.map(|loaded| loaded.load)
}

/// Returns the output of the run's restore of `component`.
pub(crate) fn restored(views: &Views, component: &str) -> Option<Restored> {
    outputs::<Restored>(views)
        .into_iter()
        .find(|restored| restored.component_restored == component)
}

/// What the run proved about one component.
pub(crate) struct Proved {
    /// Whether its validations found it valid; none if something was not measured.
    pub(crate) valid: Option<bool>,
    /// Why not; empty if it is.
    pub(crate) why: String,
}

/// Returns what the run has proved about components by recovering them.
pub(crate) fn proved(views: &Views) -> BTreeMap<String, Proved> {
    let validations = views.iter().filter(|(_, view)| view.uses == "validate");
    let proved = validations.filter_map(|(id, view)| {
        let component = (*id.keys().first()?).to_owned();
        let (valid, why) = match &view.state.state {
            StepState::Succeeded { .. } => {
                let valid = view.output["valid"].as_bool();
                let why = match valid {
                    Some(true) => String::new(),
                    _ => "no validation measured the restored data".to_owned(),
                };
                (valid, why)
            }
            // A probe that fails or hangs on the restored data has found it unusable.
            StepState::Failed { error } => (Some(false), error.message.clone()),
            _ => (None, restore_failure(views, &component)),
        };
        Some((component, Proved { valid, why }))
    });
    proved.collect()
}

/// Returns why a component was not restored, so that nothing could be validated.
fn restore_failure(views: &Views, component: &str) -> String {
    let failed = views.iter().find_map(|(id, view)| match &view.state.state {
        StepState::Failed { error } if id.keys().contains(&component) => Some(format!("{id}: {error}")),
        _ => None,
    });
    failed.unwrap_or_else(|| "the proof was skipped".to_owned())
}

/// Returns every output of the requested shape.
fn outputs<T: DeserializeOwned>(views: &Views) -> Vec<T> {
    views
        .iter()
        .map(|(_, view)| view)
        .filter(|view| succeeded(view))
        .filter_map(|view| T::deserialize(&view.output).ok())
        .collect()
}

/// Returns whether a program of the system's own has run and ended in this run, other than right before the step, and may
/// have changed the restored data of `component`. A component's recovery steps may change its own data and that of the
/// components that it comes after; other programs may change any.
pub(crate) fn ran_a_command(cx: &StepContext, system: &System, component: &str) -> bool {
    let may_change = |id: &StepId| match (id.template(), id.keys().first()) {
        (RECOVERY, Some(owner)) => system.component(owner).is_none_or(|(own, spec)| {
            let before = |after: &After| {
                system
                    .component(after.component())
                    .is_some_and(|(name, _)| name == component)
            };
            own == component || spec.after.iter().any(before)
        }),
        _ => true,
    };
    cx.steps.iter().any(|(id, view)| {
        let ran = !matches!(view.state.state, StepState::Skipped { .. });
        ran && view.uses == crate::COMMAND && !cx.step.needs.contains(id) && may_change(id)
    })
}

/// Returns the output of the run's snapshot of `component`.
pub(crate) fn captured(views: &Views, component: &str) -> Option<Captured> {
    outputs::<Captured>(views)
        .into_iter()
        .find(|captured| captured.component == component)
}

/// Returns whether a step of the run captures `component`, however it ended.
pub(crate) fn captures(cx: &StepContext, component: &str) -> bool {
    let mut snapshots = cx.steps.iter().filter(|(_, view)| view.uses == "snapshot");
    snapshots.any(|(id, _)| id.keys().contains(&component))
}

/// Returns each component that the run has captured, with its snapshot and the tiers whose copy was read back and
/// found whole; at least one.
pub(crate) fn verified_copies(views: &Views) -> BTreeMap<String, (SnapshotId, Vec<String>)> {
    let verified: Vec<Verified> = outputs(views);
    let mut copies = BTreeMap::new();
    for captured in outputs::<Captured>(views) {
        let Some(snapshot) = captured.snapshot else {
            continue;
        };
        let whole = |copy: &&Verified| {
            copy.verified && copy.component == captured.component && copy.snapshot == Some(snapshot)
        };
        let tiers: Vec<String> = verified
            .iter()
            .filter(whole)
            .map(|copy| copy.tier.clone())
            .collect();
        if !tiers.is_empty() {
            copies.insert(captured.component, (snapshot, tiers));
        }
    }
    copies
}

/// Returns whether each copy that the run has stored was read back and found whole.
pub(crate) fn all_stored_are_verified(views: &Views) -> bool {
    let verified: Vec<Verified> = outputs(views);
    outputs::<Stored>(views)
        .iter()
        .filter(|stored| stored.snapshot.is_some())
        .all(|stored| {
            verified.iter().any(|copy| {
                copy.verified
                    && (&copy.component, &copy.tier, copy.snapshot)
                        == (&stored.component, &stored.tier, stored.snapshot)
            })
        })
}

/// Returns the output of the run's `locate-set`.
pub(crate) fn located(views: &Views) -> Option<Located> {
    outputs(views).into_iter().next()
}

/// Returns the loop value under `key`, unless a parameter gives another.
pub(crate) fn looped(cx: &StepContext, key: &str, given: Option<String>) -> Result<String, Failure> {
    given.or_else(|| cx.step.each.get(key).cloned()).ok_or_else(|| {
        Failure::permanent(
            BAD_PARAMETER,
            format!("the step does not say which {key} it is about"),
        )
        .with_hint(format!("add `for_each: {key}` or the parameter {key:?}"))
    })
}

/// The result of one component in the run so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fared {
    /// All its steps succeeded, and its probes, if it has any, found it valid.
    Well,
    /// A step of it failed, or was skipped because another had failed.
    Badly,
    /// Its steps succeeded, but a number that would prove it valid was not measured.
    NoData,
}

/// Returns the result of each of `components`, by the steps that name it and have ended.
pub(crate) fn fared<'a>(
    views: &Views,
    components: impl Iterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>,
) -> BTreeMap<String, Fared> {
    fared_in(views, components, |_, _| true)
}

/// Returns how the capture of each of `components` and its copies fared, without their proofs.
pub(crate) fn stored_well<'a>(
    views: &Views,
    components: impl Iterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>,
) -> BTreeMap<String, Fared> {
    let of_proof = ["restore", "validate"];
    fared_in(views, components, |id, view| {
        id.template() != RECOVERY && !of_proof.contains(&view.uses.as_str())
    })
}

fn fared_in<'a>(
    views: &Views,
    components: impl Iterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>,
    counts: impl Fn(&StepId, &StepView) -> bool,
) -> BTreeMap<String, Fared> {
    let mut all = BTreeMap::new();
    for component in components.map(AsRef::as_ref) {
        let own: Vec<&StepView> = views
            .iter()
            .filter(|(id, view)| id.keys().contains(&component) && counts(id, view))
            .map(|(_, view)| view)
            .collect();
        if own.is_empty() {
            continue;
        }
        let unproven = own
            .iter()
            .any(|view| view.output.get("valid").is_some_and(Value::is_null));
        let fared = match () {
            () if own.iter().any(|view| fell_through(view)) => Fared::Badly,
            () if unproven => Fared::NoData,
            () => Fared::Well,
        };
        all.insert(component.to_owned(), fared);
    }
    all
}

/// Returns the share of good results among the components that are decided; none if none is decided.
#[expect(
    clippy::cast_precision_loss,
    reason = "a system has far fewer than 2^52 components"
)]
pub(crate) fn success_rate(fared: &BTreeMap<String, Fared>) -> Option<f64> {
    let count = |wanted| fared.values().filter(|fared| **fared == wanted).count();
    let (well, badly) = (count(Fared::Well), count(Fared::Badly));
    (well + badly > 0).then(|| well as f64 / (well + badly) as f64)
}

/// Returns the share of good results among all components twice: as if those without data were bad, and as if they were
/// good.
#[expect(
    clippy::cast_precision_loss,
    reason = "a system has far fewer than 2^52 components"
)]
pub(crate) fn success_bounds(fared: &BTreeMap<String, Fared>) -> (f64, f64) {
    let all = fared.len().max(1) as f64;
    let well = those(fared, Fared::Well).len();
    let open = those(fared, Fared::NoData).len();
    (well as f64 / all, (well + open) as f64 / all)
}

/// Returns the names of the components with that result.
pub(crate) fn those(fared: &BTreeMap<String, Fared>, wanted: Fared) -> BTreeSet<&str> {
    fared
        .iter()
        .filter(|(_, fared)| **fared == wanted)
        .map(|(name, _)| name.as_str())
        .collect()
}

fn succeeded(view: &StepView) -> bool {
    matches!(view.state.state, StepState::Succeeded { .. })
}

fn fell_through(view: &StepView) -> bool {
    matches!(
        view.state.state,
        StepState::Failed { .. }
            | StepState::Skipped {
                why: SkipReason::Needs { .. } | SkipReason::Cancelled
            }
    )
}
