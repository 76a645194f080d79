//! What a disaster now would cost, and how old the newest sets are.
//!
//! A component loses what was written since its newest copy that can be brought back. That copy may be in an older set.
//! A data class loses the most that one of its components loses.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_model::id::{RunId, SetId};
use serde::Serialize;

use super::set_health::can_come_back;
use super::{Answer, Findings, Proven, Verdict, no_data};
use crate::backup::{BackupTable, Member};
use crate::units;

/// The loss of one component.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComponentLoss {
    /// The component.
    pub component: String,
    /// The instant that it would be back at; none if it has no copy.
    pub point: Option<DateTime<Utc>>,
    /// How much would be lost, in seconds; none if all of it, or if the clock that made the copy is ahead of this one.
    #[serde(with = "crate::seconds", rename = "loss_seconds")]
    pub loss: Option<Duration>,
    /// The backup that made the copy, or that failed to make one.
    pub run: Option<RunId>,
    /// Why the newest backup has no copy that can be brought back.
    pub newest_failed: Option<String>,
}

/// The loss of one data class, against its objective.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassLoss {
    /// The class.
    pub class: String,
    /// The components that carry it and have data of their own.
    pub components: Vec<String>,
    /// How much of it may be lost, in seconds.
    #[serde(with = "crate::seconds", rename = "rpo_seconds")]
    pub rpo: Option<Duration>,
    /// How much would be lost, in seconds; none if a component that carries it has no copy, or none carries it.
    #[serde(with = "crate::seconds", rename = "loss_seconds")]
    pub loss: Option<Duration>,
    /// Whether its objective would hold; none if no component carries it, or if its loss is not known.
    pub met: Option<bool>,
}

/// The age of a tier's newest recoverable set, against the interval in which sets are due.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TierAge {
    /// The tier.
    pub tier: String,
    /// When its newest recoverable set was sealed; none if this workspace knows of none.
    pub newest: Option<DateTime<Utc>>,
    /// How old that is, in seconds.
    #[serde(with = "crate::seconds", rename = "age_seconds")]
    pub age: Option<Duration>,
    /// How often a set is due, in seconds; none if the system does not say.
    #[serde(with = "crate::seconds", rename = "every_seconds")]
    pub every: Option<Duration>,
    /// Whether a set is overdue.
    pub overdue: bool,
    /// Why the tier does not answer now, or what it has lost; none if it is well.
    pub fault: Option<String>,
}

/// A set is overdue a tenth of the interval after it was due: backups do not all take the same time.
const GRACE: u32 = 10;

/// Returns when a set was sealed: its id says so.
fn sealed(set: Option<&str>) -> Option<DateTime<Utc>> {
    set?.parse::<SetId>().ok()?.created()
}

/// Returns the loss of each component with data of its own, in the order of their priority.
pub(super) fn components(findings: &Findings<'_>) -> Vec<ComponentLoss> {
    let names = findings.system.components_by_priority().into_iter();
    names
        .filter(|name| {
            findings
                .system
                .components
                .get(*name)
                .is_some_and(|component| component.source.is_some())
        })
        .map(|name| component(findings, name))
        .collect()
}

fn component(findings: &Findings<'_>, name: &str) -> ComponentLoss {
    let copy = findings.backups.iter().find_map(|backup| {
        let member = backup.table.members.get(name)?;
        let whole = member.snapshot.is_some() && can_come_back(findings, backup, name, member);
        whole.then_some((backup, member))
    });
    let newest = findings.backups.first();
    let attempt = newest.and_then(|backup| {
        let mut rows = backup.table.components.iter();
        Some((backup.run, rows.find(|row| row.component == name)?))
    });
    let newest_failed = attempt.and_then(|(run, row)| {
        // A set names an older snapshot where the newest failed.
        let of_newest = |(backup, member): (&Proven<BackupTable>, &Member)| {
            backup.run == run && member.snapshot == row.snapshot
        };
        let has_copy = copy.is_some_and(of_newest);
        match (&row.error, &row.snapshot) {
            (Some(error), _) if !has_copy => Some(error.clone()),
            (None, None) => Some("it was not captured".to_owned()),
            // It was stored. If there is no copy now, it was lost since then.
            _ => None,
        }
    });
    let point = copy.map(|(backup, member)| member.point.unwrap_or(backup.at));
    ComponentLoss {
        component: name.to_owned(),
        point,
        loss: point.and_then(|point| (findings.now - point).to_std().ok()),
        run: copy.map(|(backup, _)| backup.run).or(attempt.map(|(run, _)| run)),
        newest_failed,
    }
}

/// Returns the loss of each data class.
pub(super) fn classes(findings: &Findings<'_>, losses: &[ComponentLoss]) -> Vec<ClassLoss> {
    let system = findings.system;
    let carries = |component: &str, class: &String| {
        let component = system.components.get(component);
        component.is_some_and(|component| component.classes.contains(class))
    };
    let of_class = |(name, class): (&String, &rekindle_model::system::DataClass)| {
        let carried: Vec<&ComponentLoss> = losses
            .iter()
            .filter(|loss| carries(&loss.component, name))
            .collect();
        // A copy of a clock that is ahead, or a workspace that knows of no backup, is no measurement.
        let known = !findings.backups.is_empty()
            && !carried.is_empty()
            && carried
                .iter()
                .all(|one| one.point.is_none() || one.loss.is_some());
        let all: Option<Vec<Duration>> = carried.iter().map(|one| one.loss).collect();
        let loss = all.and_then(|all| all.into_iter().max());
        ClassLoss {
            class: name.clone(),
            components: carried.iter().map(|one| one.component.clone()).collect(),
            rpo: Some(class.rpo.0),
            loss,
            met: known.then(|| loss.is_some_and(|loss| loss <= class.rpo.0)),
        }
    };
    system.data_classes.iter().map(of_class).collect()
}

/// Returns the age of each tier's newest recoverable set, the tier with the shortest interval first.
pub(super) fn tiers(findings: &Findings<'_>) -> Vec<TierAge> {
    let mut found: Vec<TierAge> = findings
        .system
        .tiers
        .iter()
        .map(|(name, tier)| {
            let mut ready = findings
                .backups
                .iter()
                .filter(|backup| backup.table.recoverable == Some(true));
            let newest = ready
                .find(|backup| backup.table.stored_in.contains(name))
                .map(|backup| sealed(backup.table.set.as_deref()).unwrap_or(backup.at));
            let silent = findings.tiers.get(name).and_then(Clone::clone);
            let lost = findings.lost.iter().find(|lost| lost.tier == *name);
            let age = newest.and_then(|newest| (findings.now - newest).to_std().ok());
            let every = tier.every.map(|every| every.0);
            TierAge {
                tier: name.clone(),
                newest,
                age,
                every,
                overdue: every.is_some_and(|every| {
                    newest.is_none() || age.is_some_and(|age| age > every + every / GRACE)
                }),
                fault: silent
                    .map(|why| format!("does not answer ({why})"))
                    .or_else(|| lost.map(|lost| lost.text.clone())),
            }
        })
        .collect();
    found.sort_by_key(|tier| (tier.every.is_none(), tier.every, tier.tier.clone()));
    found
}

/// Returns how much a disaster now would cost, with the components that it would cost more than the others.
pub(super) fn how_much(findings: &Findings<'_>, losses: &[ComponentLoss], classes: &[ClassLoss]) -> Answer {
    if findings.backups.is_empty() {
        return no_data("this workspace has no evidence of a backup");
    }
    if losses
        .iter()
        .any(|loss| loss.point.is_some() && loss.loss.is_none())
    {
        // A loss of zero would be a figure without a measurement.
        return no_data("clock uncertain: the newest copy was made by a clock that is ahead of this one");
    }
    let newest = findings.backups.first().map(|backup| backup.run);
    let (fresh, older): (Vec<_>, Vec<_>) = losses
        .iter()
        .partition(|one| one.loss.is_some() && one.run == newest && one.newest_failed.is_none());
    let (older, gone): (Vec<_>, Vec<_>) = older.into_iter().partition(|one| one.loss.is_some());
    let most = |of: &[&ComponentLoss]| of.iter().filter_map(|one| one.loss).max();
    let mut said = Vec::new();
    if let Some(loss) = most(&fresh) {
        said.push(format!("the data written in the last {}", units::duration(loss)));
    }
    let mut by_loss: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for one in &older {
        let loss = units::duration(one.loss.unwrap_or_default());
        by_loss.entry(loss).or_default().push(&one.component);
    }
    for (loss, names) in &by_loss {
        said.push(match fresh.is_empty() && by_loss.len() == 1 && gone.is_empty() {
            true => format!("the data written in the last {loss}"),
            false => format!("of {} the data of the last {loss}", named(names)),
        });
    }
    if !gone.is_empty() {
        let names: Vec<&str> = gone.iter().map(|one| one.component.as_str()).collect();
        said.push(match gone.len() == losses.len() {
            true => "everything: no component has a copy that can be brought back".to_owned(),
            false => format!("all of {}", named(&names)),
        });
    }
    let judged: Vec<&ClassLoss> = classes.iter().filter(|class| class.met.is_some()).collect();
    let missed: Vec<&str> = judged
        .iter()
        .filter(|class| class.met == Some(false))
        .map(|class| class.class.as_str())
        .collect();
    let against = match (judged.len(), missed.len()) {
        (0, _) => String::new(),
        (all, 0) => format!("; within the RPO of all {all} data classes"),
        (all, late) => format!(
            "; beyond the RPO of {late} of {all} data classes ({})",
            missed.join(", ")
        ),
    };
    let worst = gone
        .first()
        .or(older.iter().max_by_key(|one| one.loss))
        .or(fresh.first());
    Answer {
        verdict: match missed.is_empty() && gone.is_empty() {
            true => Verdict::Good,
            false => Verdict::Bad,
        },
        text: format!("{}{against}", said.join("; ")),
        run: worst.and_then(|one| one.run),
        figure: match gone.is_empty() {
            true => losses.iter().filter_map(|one| one.loss).max(),
            false => None,
        },
    }
}

/// Returns names as a person lists them, the first few.
pub(super) fn named(names: &[&str]) -> String {
    /// A person reads no more of them.
    const NAMED: usize = 5;
    match names.len().saturating_sub(NAMED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..NAMED].join(", ")),
    }
}
