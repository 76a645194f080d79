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

/// How many characters a line takes, with the name of a step and its bar.
const LINE: usize = 79;
/// How many characters the whole run takes: what the longest name of a step leaves, within these bounds.
const WIDTH: std::ops::RangeInclusive<usize> = 24..=56;

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
    let all = timeline(evidence, plan);
    let mut rows = super::shown(&all).0;
    rows.retain(|row| row.started.is_some());
    let longest = rows.iter().map(|row| row.step.as_str().chars().count()).max();
    let Some(width) = longest else {
        return String::new();
    };
    let room = LINE.saturating_sub(width + 2).clamp(*WIDTH.start(), *WIDTH.end());
    let scale = Scale {
        begun: &state.created,
        whole,
        room,
    };
    let mut bars = bars(evidence, &scale, now);
    // The adoption of a reopened run takes it from no other process.
    let adopted: Vec<usize> = rework(evidence)
        .interruptions
        .iter()
        .map(|taken| scale.place(&taken.resumed))
        .collect();
    let mut text = format!(
        "{DONE} ran  {FAILED} failed  {CUT_OFF} cut off  {ASKED} asked a person  {TAKEN_OVER} taken over\n\
         {:width$}  0{:>end$}\n",
        "",
        duration(whole),
        end = room - 1,
    );
    for row in rows {
        let Some(bars) = bars.remove(&row.step) else {
            continue;
        };
        let mut line = vec![' '; room];
        for &at in &adopted {
            line[at] = TAKEN_OVER;
        }
        for bar in bars {
            line[bar.from..=bar.to].fill(bar.drawn);
        }
        let line: String = line.iter().collect();
        let _ = writeln!(text, "{:width$}  {}", row.step.as_str(), line.trim_end());
    }
    text
}

/// Where an instant of the run is drawn.
struct Scale<'a> {
    begun: &'a Stamp,
    whole: Duration,
    /// How many characters the whole run takes.
    room: usize,
}

impl Scale<'_> {
    /// Returns the character's place of an instant.
    fn place(&self, at: &Stamp) -> usize {
        let share =
            at.since(self.begun).duration.as_secs_f64() / self.whole.as_secs_f64().max(f64::MIN_POSITIVE);
        // In bounds for any clock.
        ((share * self.room as f64) as usize).min(self.room - 1)
    }
}

fn bars(evidence: &Evidence, scale: &Scale<'_>, now: Option<&Stamp>) -> BTreeMap<StepId, Vec<Bar>> {
    let created = &evidence.state.created;
    let mut begun: BTreeMap<&StepId, (Stamp, bool)> = BTreeMap::new();
    let mut bars: BTreeMap<StepId, Vec<Bar>> = BTreeMap::new();
    let mut end = |step: &StepId, (from, asked): (Stamp, bool), to: &Stamp, drawn: char| {
        bars.entry(step.clone()).or_default().push(Bar {
            from: scale.place(&from),
            to: scale.place(to),
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
