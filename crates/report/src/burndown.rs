//! How a recovery at work stands against its RTOs: the time that is used, and when each component will be restored.
//!
//! The forecast follows from this run's own pace ([`rekindle_model::burndown`]). Before it has one, earlier recoveries tell.

use std::time::Duration;

use rekindle_model::burndown::{Pace, Part, Restoring, forecast};
use rekindle_model::event::{Event, Record};
use rekindle_model::id::StepId;
use rekindle_model::step::StepState;
use rekindle_model::system::System;
use rekindle_model::time::Stamp;
use rekindle_plan::Plan;
use serde::Serialize;
use serde_json::Value;

use crate::evidence::Evidence;
use crate::forecast::Took;

/// How an unfinished recovery stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Burndown {
    /// The time since the disaster, in seconds.
    #[serde(with = "crate::seconds", rename = "elapsed_seconds")]
    pub elapsed: Option<Duration>,
    /// Each component that has data, in the order in which they are restored.
    pub components: Vec<BurndownRow>,
    /// All of it.
    pub whole: BurndownRow,
}

/// How a component, or the whole, stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BurndownRow {
    /// The component; none for the whole.
    pub component: Option<String>,
    /// How far its restore is.
    pub state: RestoreState,
    /// The bytes of its snapshot.
    pub bytes: u64,
    /// The bytes that are still to restore.
    pub bytes_left: u64,
    /// When it will be restored, in seconds since the disaster; none if nothing tells.
    #[serde(with = "crate::seconds", rename = "forecast_seconds")]
    pub forecast: Option<Duration>,
    /// Its RTO, in seconds.
    #[serde(with = "crate::seconds", rename = "target_seconds")]
    pub target: Option<Duration>,
}

/// How far a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoreState {
    /// It has not begun.
    Waits,
    /// It is at work.
    Runs,
    /// It is restored.
    Restored,
    /// It was not restored.
    Failed,
}

impl BurndownRow {
    /// Returns whether its RTO counts down.
    pub fn is_open(&self) -> bool {
        matches!(self.state, RestoreState::Waits | RestoreState::Runs)
    }
}

impl Burndown {
    /// Returns the component whose RTO is nearest to its forecast, or to now; none if none counts down.
    pub fn tightest(&self) -> Option<&BurndownRow> {
        let slack = |row: &&BurndownRow| {
            let until = row.forecast.max(self.elapsed).unwrap_or_default();
            row.target
                .map(|target| target.as_secs_f64() - until.as_secs_f64())
        };
        let open = self.components.iter().filter(|row| row.is_open());
        open.filter(|row| row.target.is_some()).min_by(|one, other| {
            slack(one)
                .partial_cmp(&slack(other))
                .unwrap_or(std::cmp::Ordering::Equal)
        })
    }
}

/// One restore, as the journal has it.
struct Restore<'a> {
    component: &'a str,
    part: Part,
    state: RestoreState,
    /// The bytes that this run has restored.
    done: u64,
    began: Option<Stamp>,
}

/// Returns how a recovery stands at `now`. `before` is what earlier ones took.
pub fn burndown(evidence: &Evidence, plan: &Plan, system: &System, before: &Took, now: &Stamp) -> Burndown {
    let located = plan.steps.iter().find(|step| step.uses == "locate-set");
    let located = located.map_or(&Value::Null, |step| &evidence.output(&step.id)["components"]);
    let restores = plan.steps.iter().filter(|step| step.uses == "restore");
    let restores: Vec<Restore<'_>> = restores
        .filter_map(|step| {
            let component = step.each.get("component")?;
            let bytes = located[component]["bytes"].as_u64()?;
            Some(restore(evidence, &step.id, component, bytes, now))
        })
        .collect();
    let created = &evidence.state.created;
    let struck = evidence.state.disaster_at.unwrap_or(created.utc);
    let run = now.since(created).duration;
    let elapsed = run.saturating_add((created.utc - struck).to_std().unwrap_or_default());
    let began = restores.iter().filter_map(|it| it.began);
    let pace = Pace {
        bytes: restores.iter().map(|it| it.done).fold(0, u64::saturating_add),
        took: began
            .map(|began| now.since(&began).duration)
            .max()
            .unwrap_or_default(),
    };
    let parts: Vec<Part> = restores.iter().map(|it| it.part.clone()).collect();
    let own = forecast(&parts, elapsed, pace);
    let rto = |name: &str| system.rto(system.components.get(name)?);
    let is_open = |it: &Restore<'_>| !matches!(it.part.restoring, Restoring::Over);
    let after = |usual: Duration| elapsed.saturating_add(usual);
    let components: Vec<BurndownRow> = restores
        .iter()
        .zip(&own.components)
        .map(|(it, own)| BurndownRow {
            component: Some(it.component.to_owned()),
            state: it.state,
            bytes: it.part.bytes,
            bytes_left: it.left(),
            forecast: own.or_else(|| {
                let usual = before.component(it.component, it.part.bytes);
                usual.filter(|_| is_open(it)).map(after)
            }),
            target: rto(it.component),
        })
        .collect();
    let sum = |of: fn(&Restore<'_>) -> u64| restores.iter().map(of).fold(0, u64::saturating_add);
    let recovered = plan.steps.iter().filter_map(|step| step.each.get("component"));
    let open = restores.iter().any(is_open) || restores.is_empty();
    let whole = BurndownRow {
        component: None,
        state: match open {
            true => RestoreState::Runs,
            false if restores.iter().all(|it| it.state == RestoreState::Restored) => RestoreState::Restored,
            false => RestoreState::Failed,
        },
        bytes: sum(|it| it.part.bytes),
        bytes_left: sum(|it| it.left()),
        forecast: own.whole.or_else(|| {
            let usual = before.whole(sum(|it| it.part.bytes));
            // It counts from the start of the run.
            usual
                .filter(|_| open)
                .map(|usual| elapsed.max(after(usual).saturating_sub(run)))
        }),
        target: system.rto_of_all(
            evidence
                .param("scenario")
                .as_str()
                .filter(|name| !name.is_empty()),
            recovered.map(String::as_str),
        ),
    };
    Burndown {
        elapsed: Some(elapsed),
        components,
        whole,
    }
}

impl Restore<'_> {
    fn left(&self) -> u64 {
        match self.part.restoring {
            Restoring::Waits => self.part.bytes,
            Restoring::Runs { left, .. } => left,
            Restoring::Over => 0,
        }
    }
}

fn restore<'a>(
    evidence: &Evidence,
    step: &StepId,
    component: &'a str,
    bytes: u64,
    now: &Stamp,
) -> Restore<'a> {
    let record = evidence.state.step(step);
    let state = match record.state {
        StepState::Succeeded { .. } => RestoreState::Restored,
        StepState::Failed { .. } | StepState::Skipped { .. } => RestoreState::Failed,
        _ if record.last_started.is_some() => RestoreState::Runs,
        _ => RestoreState::Waits,
    };
    let (at_start, done) = bytes_done(evidence, step);
    let (restoring, done) = match state {
        RestoreState::Waits => (Restoring::Waits, 0),
        RestoreState::Restored => (Restoring::Over, bytes),
        RestoreState::Failed => (Restoring::Over, done),
        RestoreState::Runs => {
            let since = record.last_started.map(|began| now.since(&began).duration);
            let pace = Pace {
                bytes: done.saturating_sub(at_start),
                took: since.unwrap_or_default(),
            };
            let left = bytes.saturating_sub(done);
            (Restoring::Runs { left, pace }, done)
        }
    };
    Restore {
        component,
        part: Part {
            component: component.to_owned(),
            bytes,
            restoring,
        },
        state,
        done,
        began: record.first_started,
    }
}

/// Returns the bytes that a step had restored when its newest attempt began, and those that it has restored by its newest
/// checkpoint.
fn bytes_done(evidence: &Evidence, step: &StepId) -> (u64, u64) {
    let (mut at_start, mut done) = (0, 0);
    let own = |record: &&Record| record.event.step() == Some(step);
    for record in evidence.records.iter().filter(own) {
        match &record.event {
            Event::StepStarted { .. } => at_start = done,
            Event::StepCheckpoint { progress, .. } => {
                let restored = &evidence.resolve(progress)["restored"]["bytes_done"];
                done = restored.as_u64().unwrap_or(done);
            }
            _ => {}
        }
    }
    (at_start, done)
}
