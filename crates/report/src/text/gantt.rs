//! Draws a run's steps over time as bars: parallel work, interruptions, and waiting for a person.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use rekindle_model::event::{Event, Verdict};
use rekindle_model::id::StepId;
use rekindle_model::time::Stamp;
use rekindle_plan::Plan;

use super::duration;
use crate::evidence::Evidence;
use crate::rework::rework;
use crate::steps::timeline;

/// How many characters the whole run takes.
const WIDTH: usize = 56;

/// The characters for the kinds of time.
const DONE: char = '█';
const FAILED: char = '▓';
const CUT_OFF: char = '░';
const ASKED: char = '·';
/// Another process took the run over.
const TAKEN_OVER: char = '╎';

/// A stretch of a step's time, from one character's place to another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bar {
    from: usize,
    to: usize,
    drawn: char,
}

/// Returns one line for each step that has begun, in the order of the plan, under a scale; empty if none has
/// begun. A run at work lasts until `now`. A run with many steps shows only the remarkable ones.
pub fn gantt(evidence: &Evidence, plan: Option<&Plan>, now: Option<&Stamp>) -> String {
    let state = &evidence.state;
    let until = now.unwrap_or(&state.updated);
    let whole = until.since(&state.created).duration;
    let mut bars = bars(evidence, whole, now);
    let all = timeline(evidence, plan);
    let rows: Vec<(StepId, Vec<Bar>)> = super::shown(&all)
        .0
        .into_iter()
        .filter_map(|row| Some((row.step.clone(), bars.remove(&row.step)?)))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let width = rows.iter().map(|(step, _)| step.as_str().chars().count()).max();
    let width = width.unwrap_or(0);
    // The adoption of a reopened run takes it from no other process.
    let adopted: Vec<usize> = rework(evidence)
        .interruptions
        .iter()
        .map(|taken| place(&taken.resumed, &state.created, whole))
        .collect();
    let mut text = format!(
        "{:width$}  0{:>end$}   {DONE} ran  {FAILED} failed  {CUT_OFF} cut off  {ASKED} asked a person  {TAKEN_OVER} taken over\n",
        "",
        duration(whole),
        end = WIDTH - 1,
    );
    for (step, bars) in rows {
        let mut line = [' '; WIDTH];
        for &at in &adopted {
            line[at] = TAKEN_OVER;
        }
        for bar in bars {
            line[bar.from..=bar.to].fill(bar.drawn);
        }
        let line: String = line.iter().collect();
        let _ = writeln!(text, "{:width$}  {}", step.as_str(), line.trim_end());
    }
    text
}

/// Returns the character's place of an instant.
fn place(at: &Stamp, begun: &Stamp, whole: Duration) -> usize {
    let share = at.since(begun).duration.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE);
    // In bounds for any clock.
    ((share * WIDTH as f64) as usize).min(WIDTH - 1)
}

fn bars(evidence: &Evidence, whole: Duration, now: Option<&Stamp>) -> BTreeMap<StepId, Vec<Bar>> {
    let created = &evidence.state.created;
    let mut begun: BTreeMap<&StepId, (Stamp, bool)> = BTreeMap::new();
    let mut bars: BTreeMap<StepId, Vec<Bar>> = BTreeMap::new();
    let mut end = |step: &StepId, (from, asked): (Stamp, bool), to: &Stamp, drawn: char| {
        bars.entry(step.clone()).or_default().push(Bar {
            from: place(&from, created, whole),
            to: place(to, created, whole),
            drawn: if asked { ASKED } else { drawn },
        });
    };
    // When the process died that drove the run before: its last record is its last sign of life.
    let (mut last, mut died) = (created, created);
    for record in &evidence.records {
        let at = &record.time;
        match &record.event {
            Event::StepStarted { step, .. } => drop(begun.insert(step, (*at, false))),
            Event::ApprovalRequested { step, .. } => drop(begun.insert(step, (*at, true))),
            Event::StepSucceeded { step, .. } => {
                if let Some(from) = begun.remove(step) {
                    end(step, from, at, DONE);
                }
            }
            Event::StepFailed { step, .. } => {
                if let Some(from) = begun.remove(step) {
                    end(step, from, at, FAILED);
                }
            }
            // If an attempt turns out to be complete, its work until the process died counts.
            Event::StepReconciled { step, verdict, .. } => {
                if let Some(from) = begun.remove(step) {
                    let drawn = if *verdict == Verdict::Complete {
                        DONE
                    } else {
                        CUT_OFF
                    };
                    end(step, from, died, drawn);
                }
            }
            Event::RunAdopted { .. } => died = last,
            _ => {}
        }
        last = at;
    }
    for (step, from) in begun {
        match now {
            Some(now) => end(step, from, now, DONE),
            None => end(step, from, &evidence.state.updated, CUT_OFF),
        }
    }
    bars
}
