//! `locate-set`: chooses the recovery set to recover from, and the tiers to read it from.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::SetId;
use rekindle_plan::Problem;
use rekindle_vault::{RecoverySet, Tier, TierMode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::choose::{self, From};
use crate::failures;
use crate::params::{self, Field, Kind, Names};
use crate::site::Site;

/// See the module's documentation.
pub(crate) struct LocateSet(pub(crate) Arc<Site>);

pub(crate) const FIELDS: &[Field] = &[
    Field::optional("from", Kind::Text),
    Field::optional("tier", Kind::Text),
    Field::optional("components", Kind::Names),
];

#[derive(Deserialize)]
struct Params {
    #[serde(default)]
    from: String,
    #[serde(default)]
    tier: String,
    #[serde(default)]
    components: Names,
}

/// Returns the recovery set that a recovery would use, before a run for it exists.
pub async fn find_set(
    site: &Arc<Site>,
    from: &str,
    tier: &str,
    disaster_at: Option<DateTime<Utc>>,
) -> Result<SetId, Failure> {
    let from = From::read(from)?;
    let Sets { sets, held, .. } = LocateSet(Arc::clone(site)).gather(tier).await?;
    let all: Vec<RecoverySet> = sets.into_values().collect();
    let chosen = choose::choose(&all, &from, disaster_at);
    Ok(chosen.map_err(|failure| lacking(failure, tier, &held))?.id)
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
        } = params::read(&cx.with)?;
        let from = From::read(&from)?;
        let Sets { sets, held, silent } = self.gather(&tier).await?;
        let all: Vec<RecoverySet> = sets.into_values().collect();
        let set = choose::choose(&all, &from, cx.disaster_at);
        let set = set.map_err(|failure| lacking(failure, &tier, &held))?;

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
            "skew_ms": set.skew_ms,
            "tier_order": order(&tier, &held, set.id),
            "tiers_silent": silent,
            "components": components,
            "without_data": without_data,
        });
        Ok(Output {
            value,
            measures: Measures::from([("skew_ms".to_owned(), crate::measure::number(set.skew_ms))]),
        })
    }
}

/// The recovery sets in the tiers.
struct Sets {
    sets: BTreeMap<SetId, RecoverySet>,
    /// The tiers that answer, the fastest first, with the sets that each holds.
    held: Vec<(String, Vec<SetId>)>,
    /// Why the others do not.
    silent: BTreeMap<String, String>,
}

impl LocateSet {
    /// Asks every tier for its sets. If the caller names a tier, takes only that tier's sets, though the others may
    /// still help with content. If a tier does not answer, another one is enough.
    async fn gather(&self, named: &str) -> Result<Sets, Failure> {
        let mut gathered = Sets {
            sets: BTreeMap::new(),
            held: Vec::new(),
            silent: BTreeMap::new(),
        };
        let mut first = None;
        let mut others = Vec::new();
        for name in self.0.tiers_hot_first() {
            let asked = async {
                let tier = self.0.tier(&name, TierMode::Existing).await?;
                let ids = tier.sets().await.map_err(failures::vault)?;
                if named.is_empty() || named == name {
                    read_sets(&tier, &ids, &mut gathered.sets).await?;
                } else {
                    others.push(tier);
                }
                Ok::<_, Failure>(ids)
            };
            match asked.await {
                Ok(ids) => gathered.held.push((name, ids)),
                Err(failure) if name == named => return Err(failure),
                Err(failure) => {
                    gathered.silent.insert(name, failure.message.clone());
                    first.get_or_insert(failure);
                }
            }
        }
        if !named.is_empty() && !self.0.system().tiers.contains_key(named) {
            // This request fails with the reason that the tier is unknown, and with the known ones.
            self.0.tier(named, TierMode::Existing).await?;
        }
        // If a set's document is damaged in the named tier, any other tier's copy of it is the same set.
        let own = gathered.held.iter().find(|(name, _)| name == named);
        for id in own.map_or(&[][..], |(_, ids)| ids) {
            for tier in &others {
                if !gathered.sets.contains_key(id) && tier.sets().await.is_ok_and(|ids| ids.contains(id)) {
                    read_sets(tier, std::slice::from_ref(id), &mut gathered.sets).await?;
                }
            }
        }
        match first {
            Some(failure) if gathered.held.is_empty() => {
                let message = format!("no tier answers; the first says: {}", failure.message);
                Err(Failure {
                    message,
                    code: code::TIER_UNAVAILABLE.to_owned(),
                    ..failure
                })
            }
            _ => Ok(gathered),
        }
    }
}

async fn read_sets(
    tier: &Tier,
    ids: &[SetId],
    sets: &mut BTreeMap<SetId, RecoverySet>,
) -> Result<(), Failure> {
    for id in ids {
        if sets.contains_key(id) {
            continue;
        }
        match tier.set(*id).await {
            Ok(set) => {
                sets.insert(*id, set);
            }
            // One damaged document must not hide the other sets; another tier may have an intact copy.
            Err(error) => {
                tracing::warn!(tier = tier.name(), set = %id, %error, "a recovery set cannot be read")
            }
        }
    }
    Ok(())
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
