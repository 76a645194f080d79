//! One stored copy: a component's snapshot in one tier. `store` and `verify` work on such copies.

use std::collections::BTreeSet;

use rekindle_engine::{StepContext, Unit};
use rekindle_model::failure::Failure;
use rekindle_model::id::{SetId, SnapshotId};
use rekindle_model::next_action::Action;
use rekindle_vault::{ProgressSink, Snapshot, Tier, TierMode, VaultError};
use serde::Deserialize;

use crate::failures;
use crate::params::{self, BAD_PARAMETER, Field, Kind};
use crate::site::Site;
use crate::views;

/// The parameters that name the copy. By default, the loop names component and tier, and the snapshot is the run's
/// own.
pub(crate) const FIELDS: &[Field] = &[
    Field::optional("component", Kind::Text),
    Field::optional("tier", Kind::Text),
    Field::optional("snapshot", Kind::Text),
];

#[derive(Deserialize)]
struct Params {
    component: Option<String>,
    tier: Option<String>,
    snapshot: Option<String>,
}

/// A component's snapshot in one tier.
pub(crate) struct Copy {
    pub(crate) component: String,
    pub(crate) tier: String,
    /// None for a component without data.
    pub(crate) snapshot: Option<SnapshotId>,
}

impl Copy {
    /// Returns the copy that a step works on. Its snapshot is the one that the step names, else the one that this run
    /// took, else the component's newest in the tier.
    pub(crate) async fn read(site: &Site, cx: &StepContext) -> Result<Self, Failure> {
        let params: Params = params::read(&cx.with)?;
        let (component, spec) = site.component(&views::looped(cx, "component", params.component)?)?;
        let tier = views::looped(cx, "tier", params.tier)?;
        let component = component.to_owned();
        if let Some(text) = params.snapshot.filter(|text| !text.is_empty()) {
            let snapshot = text.parse().map_err(|_| {
                Failure::permanent(BAD_PARAMETER, format!("{text:?} is not the id of a snapshot"))
                    .with_next(Action::ListSnapshots, "lists them")
            })?;
            return Ok(Self {
                component,
                tier,
                snapshot: Some(snapshot),
            });
        }
        if let Some(captured) = views::captured(&cx.steps, &component) {
            return Ok(Self {
                component,
                tier,
                snapshot: captured.snapshot,
            });
        }
        if spec.source.is_none() {
            return Ok(Self {
                component,
                tier,
                snapshot: None,
            });
        }
        let opened = site.tier(&tier, TierMode::Existing).await?;
        let listed = newest_of(&opened, &component).await?.map(|snapshot| snapshot.id);
        let stated = newest_stated(site, &opened, &component).await;
        match listed.max(stated) {
            Some(newest) => Ok(Self {
                component,
                tier,
                snapshot: Some(newest),
            }),
            None => Err(Failure::permanent(
                views::NOTHING_TO_WORK_ON,
                format!("tier {tier} holds no snapshot of {component}"),
            )
            .with_next(Action::Backup, "makes the first one")),
        }
    }
}

/// Returns the component's newest snapshot in the tier.
pub(crate) async fn newest_of(tier: &Tier, component: &str) -> Result<Option<Snapshot>, Failure> {
    // The tier lists the newest first.
    for id in tier.snapshots().await.map_err(failures::vault)? {
        match tier.snapshot(id).await {
            Ok(snapshot) if snapshot.component == component => return Ok(Some(snapshot)),
            Ok(_) => {}
            // A damaged document, perhaps of another component, must not prevent a new backup.
            Err(error @ VaultError::Object { .. }) => {
                tracing::warn!(tier = tier.name(), snapshot = %id, %error, "a snapshot cannot be read");
            }
            Err(error) => return Err(failures::vault(error)),
        }
    }
    Ok(None)
}

/// How many of the newest sets are searched for a component. A component that was ever stored is in each set since.
const SEARCHED: usize = 100;

/// Returns the component's snapshot in the newest recovery set that the tier must hold, and that names one. The tier
/// may have lost the set or the snapshot: then another tier's copy of the set names it.
async fn newest_stated(site: &Site, tier: &Tier, component: &str) -> Option<SnapshotId> {
    let tiers = site.tiers_that_answer(&site.tiers_hot_first()).await;
    let stated = site.stated().await.by_tier.get(tier.name())?;
    let sets: BTreeSet<SetId> = stated
        .iter()
        .flat_map(|catalog| catalog.sets.keys().copied())
        .collect();
    for id in sets.into_iter().rev().take(SEARCHED) {
        for other in &tiers {
            let Ok(set) = other.set(id).await else { continue };
            match set.members.get(component) {
                Some(member) => return Some(member.snapshot),
                None => break,
            }
        }
    }
    None
}

/// Returns whether the tier holds the snapshot. If the tier cannot be asked, that is an error, not a "no".
pub(crate) async fn holds(tier: &Tier, snapshot: SnapshotId) -> Result<bool, Failure> {
    match tier.snapshot(snapshot).await {
        Ok(_) => Ok(true),
        Err(VaultError::UnknownSnapshot(_)) => Ok(false),
        Err(error) => Err(failures::vault(error)),
    }
}

/// Returns why a copy that a step stored is no longer in its tier. If the tier does not answer, returns none.
pub(crate) async fn gone(site: &Site, output: &serde_json::Value) -> Option<String> {
    let tier = output.get("tier")?.as_str()?;
    let snapshot: SnapshotId = output.get("snapshot")?.as_str()?.parse().ok()?;
    let opened = site.tier(tier, TierMode::Existing).await.ok()?;
    let held = holds(&opened, snapshot).await.ok()?;
    (!held).then(|| format!("tier {tier} no longer holds snapshot {snapshot}"))
}

/// Returns a sink that shows a step's bytes on its progress bar.
pub(crate) fn progress(cx: &StepContext) -> ProgressSink {
    let cx = cx.clone();
    ProgressSink::new(move |done, total| cx.progress(done, total, Unit::Bytes))
}
