//! `inject-faults`: proves that a verification of a tier notices damage. It verifies the tier once more, but reads damaged
//! copies of some objects. Every damaged one must be named, and no other. The tier itself is only read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::Failure;
use rekindle_model::id::SnapshotId;
use rekindle_plan::Problem;
use rekindle_vault::{FaultyStore, Injected, ObjectName, Tier, TierMode, VerifyLevel};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::copy;
use crate::damage::{fresh_seed, scenario};
use crate::failures;
use crate::measure::number;
use crate::params::{self, Field, Kind};
use crate::site::Site;
use crate::views;

/// The action's name.
pub const INJECT_FAULTS: &str = "inject-faults";

/// The code of a damage that the verification did not notice.
const UNDETECTED: &str = "undetected";

/// See the module's documentation.
pub(crate) struct InjectFaults(pub(crate) Arc<Site>);

pub(crate) const FIELDS: &[Field] = &[Field::optional("tier", Kind::Text)];

#[derive(Deserialize)]
struct Params {
    tier: Option<String>,
}

/// A damaged copy of an object in a location.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Named {
    location: String,
    object: String,
}

#[async_trait]
impl Action for InjectFaults {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, FIELDS)
    }

    fn can_be_gone(&self) -> bool {
        false
    }

    async fn reconcile(&self, _cx: &StepContext, _checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        Ok(Reconciled::redo("a verification that was cut off proves nothing"))
    }

    async fn run(&self, cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        let Params { tier } = params::read(&cx.with)?;
        let name = views::looped(cx, "tier", tier)?;
        let wanted = scenario(&self.0)?.inject.unwrap_or_default();
        let seed = wanted.seed.unwrap_or_else(|| fresh_seed(cx));
        let located = views::located(&cx.steps);
        let snapshots: Vec<SnapshotId> = located
            .iter()
            .flat_map(|set| set.components.values().map(|member| member.snapshot))
            .collect();
        if located.is_some_and(|set| !set.tier_order.contains(&name)) {
            let why = format!("tier {name} does not hold the set");
            return Ok(Output {
                value: json!({ "tier": name, "skipped": why }),
                measures: Measures::new(),
            });
        }
        let tier = self.0.tier(&name, TierMode::Existing).await?;
        // Reading must not change the tier, so its marks of damaged packs stay as they are.
        let whole = self.open(&tier, &BTreeMap::new()).await?;
        let packs = needed(cx, &whole, &snapshots).await?;
        if packs.is_empty() {
            return Err(Failure::permanent(
                views::NOTHING_TO_WORK_ON,
                format!("tier {name} holds no content of the set"),
            )
            .with_hint("choose a recovery set that this tier holds"));
        }
        let mut ranked: Vec<ObjectName> = packs.into_iter().collect();
        ranked.sort_by_key(|object| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&seed.to_le_bytes());
            hasher.update(object.path().as_bytes());
            *hasher.finalize().as_bytes()
        });
        let count = usize::try_from(wanted.count.unwrap_or(DEFAULT_COUNT)).unwrap_or(usize::MAX);
        let faults: BTreeMap<String, (ObjectName, Injected)> = ranked
            .into_iter()
            .take(count)
            .zip(Injected::ALL.into_iter().cycle())
            .map(|(object, injected)| (object.path(), (object, injected)))
            .collect();
        let damaged = self.open(&tier, &faults).await?;
        let mut found = BTreeSet::new();
        for snapshot in &snapshots {
            let level = VerifyLevel::Read { share: 1.0 };
            let report =
                rekindle_vault::verify(&damaged, *snapshot, level, &copy::progress(cx), &cx.stop).await;
            let report = report.map_err(failures::vault)?;
            let named = report.faults.iter().chain(&report.healed);
            found.extend(named.map(|fault| Named {
                location: fault.location.clone(),
                object: fault.object.to_string(),
            }));
        }
        let injected: BTreeSet<Named> = tier
            .urls()
            .iter()
            .flat_map(|url| {
                faults.values().map(|(object, _)| Named {
                    location: (*url).to_owned(),
                    object: object.to_string(),
                })
            })
            .collect();
        let missed: Vec<&Named> = injected.difference(&found).collect();
        let false_alarms: Vec<&Named> = found.difference(&injected).collect();
        let detected = injected.len() - missed.len();
        let kinds: Vec<Value> = faults
            .values()
            .map(|(object, injected)| json!({ "object": object.to_string(), "how": injected }))
            .collect();
        let value = json!({
            "tier": name, "seed": seed, "injected": injected.len(), "detected": detected,
            "faults": kinds, "missed": missed, "false_alarms": false_alarms,
        });
        if !missed.is_empty() || !false_alarms.is_empty() {
            let message = format!(
                "a verification of tier {name} named {detected} of {} damaged objects, and {} that this drill did not damage",
                injected.len(),
                false_alarms.len()
            );
            cx.checkpoint(value).await?;
            return Err(Failure::permanent(UNDETECTED, message)
                .with_hint("the objects are in the step's last checkpoint, in the run's history"));
        }
        let measures = Measures::from([
            ("injected".to_owned(), number(injected.len() as u64)),
            ("detected".to_owned(), number(detected as u64)),
        ]);
        Ok(Output { value, measures })
    }
}

/// How many objects are damaged if the scenario does not say it.
const DEFAULT_COUNT: u32 = 6;

impl InjectFaults {
    /// Opens the tier so that its readers get damaged copies.
    async fn open(
        &self,
        tier: &Tier,
        faults: &BTreeMap<String, (ObjectName, Injected)>,
    ) -> Result<Tier, Failure> {
        let faults: BTreeMap<String, Injected> = faults
            .iter()
            .map(|(path, (_, injected))| (path.clone(), *injected))
            .collect();
        let faulty =
            |store| Arc::new(FaultyStore::new(store, faults.clone())) as Arc<dyn rekindle_vault::Store>;
        let stores = tier.stores().map(|(url, store)| (url.to_owned(), faulty(store)));
        let opened = Tier::open_stores(
            tier.name(),
            stores.collect(),
            self.0.keyring(),
            self.0.wrapped_key(),
            TierMode::Existing,
        );
        opened.await.map_err(|error| failures::tier(&error))
    }
}

/// Returns the packs with the content of these snapshots; those with the lists of their files are left out, since nothing
/// can be read on without them.
async fn needed(
    cx: &StepContext,
    tier: &Tier,
    snapshots: &[SnapshotId],
) -> Result<BTreeSet<ObjectName>, Failure> {
    let mut packs = BTreeSet::new();
    for snapshot in snapshots {
        let level = VerifyLevel::Exists;
        let report = rekindle_vault::verify(tier, *snapshot, level, &copy::progress(cx), &cx.stop).await;
        let report = report.map_err(failures::vault)?;
        if let Some(fault) = report.faults.first() {
            return Err(Failure::permanent(
                rekindle_model::failure::code::DATA_LOST,
                format!("tier {} is damaged already: {fault}", tier.name()),
            )
            .with_hint("verify the tier, and back up again"));
        }
        packs.extend(report.content.into_iter().map(ObjectName::Pack));
    }
    Ok(packs)
}
