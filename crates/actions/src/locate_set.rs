//! `locate-set`: chooses the recovery set to recover from, and the tiers to read it from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::Failure;
use rekindle_model::id::SnapshotId;
use rekindle_plan::Problem;
use rekindle_vault::RecoverySet;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::choose::{self, From};
use crate::params::{self, Field, Kind, Names};
use crate::search;
use crate::site::Site;

/// See the module's documentation.
pub(crate) struct LocateSet(pub(crate) Arc<Site>);

pub(crate) const FIELDS: &[Field] = &[
    Field::optional("from", Kind::Text),
    Field::optional("tier", Kind::Text),
    Field::optional("components", Kind::Names),
    Field::optional("accept_older", Kind::Flag),
    Field::optional("distrust", Kind::Names),
];

#[derive(Deserialize)]
struct Params {
    #[serde(default)]
    from: String,
    #[serde(default)]
    tier: String,
    #[serde(default)]
    components: Names,
    #[serde(default)]
    accept_older: bool,
    #[serde(default)]
    distrust: Vec<SnapshotId>,
}

/// The recovery set that a recovery would use, and the tiers that serve it.
pub struct FoundSet {
    /// The set.
    pub set: RecoverySet,
    /// The tiers that hold it, in the order in which they are asked.
    pub tiers: Vec<String>,
    /// Why other tiers do not answer.
    pub silent: BTreeMap<String, String>,
    /// Newer sets that are known and that no tier gives, as sentences.
    pub newer_lost: Vec<String>,
    /// Newer sets that are not ready for a recovery, as sentences.
    pub passed_over: Vec<String>,
}

/// Returns the recovery set that a recovery would use, before a run for it exists.
///
/// # Errors
/// No tier gives such a set, or a newer one is known and `accept_older` is false.
pub async fn find_set(
    site: &Arc<Site>,
    from: &str,
    tier: &str,
    disaster_at: Option<DateTime<Utc>>,
    accept_older: bool,
    distrust: &BTreeSet<SnapshotId>,
) -> Result<FoundSet, Failure> {
    let from = From::read(from)?;
    let found = search::sets(site, tier, false).await?;
    let chosen = found.choose(&from, disaster_at, distrust)?;
    if !accept_older {
        chosen.refuse_older()?;
    }
    Ok(FoundSet {
        set: chosen.set.clone(),
        tiers: found.holders(chosen.set.id),
        newer_lost: chosen.newer_lost.iter().map(ToString::to_string).collect(),
        passed_over: chosen.passed_over,
        silent: found.silent,
    })
}

#[async_trait]
impl Action for LocateSet {
    fn check(&self, with: &Value) -> Vec<Problem> {
        let mut problems = params::check(with, FIELDS);
        if let Some(from) = with
            .get("from")
            .and_then(Value::as_str)
            .filter(|from| !from.contains("${{"))
            && let Err(failure) = From::read(from)
        {
            problems.push(Problem {
                at: vec!["from".to_owned()],
                message: failure.message,
                help: failure.hint,
            });
        }
        problems
    }

    async fn reconcile(&self, _cx: &StepContext, _checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        Ok(Reconciled::redo("looking for a set changes nothing"))
    }

    async fn recheck(&self, _cx: &StepContext, output: &Value) -> Result<Option<String>, Failure> {
        crate::seal_set::set_gone(&self.0, output, "tier_order").await
    }

    async fn run(&self, cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        let Params {
            from,
            tier,
            components,
            accept_older,
            distrust,
        } = params::read(&cx.with)?;
        let from = From::read(&from)?;
        let found = search::sets(&self.0, &tier, true).await?;
        let distrust = distrust.into_iter().collect();
        let chosen = found.choose(&from, cx.disaster_at, &distrust)?;
        if !accept_older {
            chosen.refuse_older()?;
        }
        let set = chosen.set;

        let with_data = |name: &&String| {
            self.0
                .component(name)
                .is_ok_and(|(_, component)| component.source.is_some())
        };
        let wanted: Vec<String> = match components {
            Names::All => self.0.system().components.keys().cloned().collect(),
            Names::These(names) => {
                let named = names
                    .iter()
                    .map(|name| self.0.component(name).map(|(own, _)| own.to_owned()));
                named.collect::<Result<_, _>>()?
            }
        };
        let without_data: Vec<&String> = wanted
            .iter()
            .filter(with_data)
            .filter(|name| !set.members.contains_key(*name))
            .collect();
        if !without_data.is_empty() && without_data.len() == wanted.iter().filter(with_data).count() {
            return Err(Failure::permanent(
                choose::NO_SET,
                format!("recovery set {} holds none of {}", set.id, wanted.join(", ")),
            )
            .with_hint("choose another recovery set"));
        }
        let mut warnings: Vec<String> = Vec::new();
        warnings.extend(found.forgotten.iter().map(|why| {
            format!("{why}; so this workspace cannot tell whether a tier was put back to an earlier state")
        }));
        let invalid: Vec<&str> = choose::distrusted(set, &distrust).collect();
        if !invalid.is_empty() {
            let names = invalid.join(", ");
            warnings.push(format!(
                "a validation has found {names} of this set invalid, and no set is better"
            ));
        }
        let components: serde_json::Map<String, Value> = set
            .members
            .iter()
            .map(|(name, member)| {
                let value = json!({
                    "snapshot": member.snapshot,
                    "consistency_point": member.consistency_point.utc,
                    "bytes": member.bytes,
                    "inherited": member.inherited,
                });
                (name.clone(), value)
            })
            .collect();
        let value = json!({
            "set": set.id,
            "created": set.created.utc,
            "recovery_ready": set.recovery_ready,
            "recoverable": set.recoverable,
            "skew_ms": set.skew_ms,
            // Newer sets that no tier gives; a person accepted to do without them.
            "newer_lost": chosen.newer_lost.iter().map(ToString::to_string).collect::<Vec<_>>(),
            // Newer sets that were not taken.
            "passed_over": chosen.passed_over,
            // Whether anything outside of the tiers' own listings says that this is the newest set.
            "confirmed": found.confirms(set.id),
            "warnings": warnings,
            "tier_order": found.order(set.id),
            "tiers_silent": found.silent,
            "components": components,
            "without_data": without_data,
        });
        Ok(Output {
            value,
            measures: Measures::from([("skew_ms".to_owned(), crate::measure::number(set.skew_ms))]),
        })
    }
}
