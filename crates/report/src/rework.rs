//! The cost of an interruption: which steps ran once, which were complete, continued or redone, and the bytes
//! that nobody had to write again.
//!
//! It reads records in the order of their numbers; clocks decide nothing.

use std::collections::BTreeMap;

use rekindle_model::event::{Event, Verdict, Worker};
use rekindle_model::id::StepId;
use rekindle_model::step::StepState;
use rekindle_model::time::Stamp;
use serde::Serialize;
use serde_json::Value;

use crate::evidence::Evidence;

/// The cost of all interruptions of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rework {
    /// Each time that a process took the run over from a dead one.
    pub interruptions: Vec<Interruption>,
    /// Steps that came through in one attempt.
    pub ran_once: Vec<StepId>,
    /// Steps whose attempt was cut off, one entry for each cut.
    pub cut_off: Vec<CutOff>,
    /// Steps that failed and were tried again.
    pub retried: Vec<StepId>,
    /// Steps that had succeeded before the newest interruption and did not run again after it.
    pub kept: usize,
    /// Bytes of the cut-off steps that the attempt after the cut found whole and left alone.
    pub bytes_not_redone: u64,
    /// Bytes that all steps wrote which succeeded after the newest interruption.
    pub bytes_written_after_resume: u64,
}

/// The end of one process's work and the beginning of the next one's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Interruption {
    /// The last record before it.
    pub after_seq: u64,
    /// When that record was written.
    pub last_sign_of_life: Stamp,
    /// When the next process took over.
    pub resumed: Stamp,
    /// The epoch that began.
    pub epoch: u64,
    /// The process that took over.
    pub worker: Worker,
    /// Why.
    pub why: String,
}

/// An attempt that was cut off, and the fate of its work.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CutOff {
    /// The step.
    pub step: StepId,
    /// The attempt that was cut off.
    pub attempt: u32,
    /// The action's decision after it examined the world.
    pub verdict: Verdict,
    /// The evidence for the verdict.
    pub evidence: Value,
    /// How many checkpoints the attempt had left.
    pub checkpoints: usize,
    /// The newest of them.
    pub checkpoint: Value,
    /// Bytes that the finishing attempt found whole, if it measured them.
    pub bytes_kept: Option<u64>,
    /// Bytes that the finishing attempt wrote, if it measured them.
    pub bytes_written: Option<u64>,
    /// Bytes of the whole step, if measured.
    pub bytes_total: Option<u64>,
}

/// Returns the cost of a run's interruptions.
pub fn rework(evidence: &Evidence) -> Rework {
    let mut interruptions = Vec::new();
    let mut cut_off: Vec<CutOff> = Vec::new();
    let mut checkpoints: BTreeMap<&StepId, (usize, Value)> = BTreeMap::new();
    let mut previous: Option<&rekindle_model::event::Record> = None;
    // A run that was over and is opened again was not interrupted.
    let mut reopened = false;
    for record in &evidence.records {
        match &record.event {
            Event::RunReopened { .. } => reopened = true,
            Event::RunAdopted { .. } if reopened => reopened = false,
            Event::RunAdopted {
                epoch, worker, why, ..
            } => {
                if let Some(last) = previous {
                    interruptions.push(Interruption {
                        after_seq: last.seq,
                        last_sign_of_life: last.time,
                        resumed: record.time,
                        epoch: *epoch,
                        worker: worker.clone(),
                        why: why.clone(),
                    });
                }
            }
            Event::StepStarted { step, .. } => {
                checkpoints.insert(step, (0, Value::Null));
            }
            Event::StepCheckpoint { step, progress, .. } => {
                let count = checkpoints.get(step).map_or(0, |(count, _)| *count);
                checkpoints.insert(step, (count + 1, evidence.resolve(progress)));
            }
            Event::StepReconciled {
                step,
                attempt,
                verdict,
                evidence: found,
            } => {
                // If a crash follows the verdict before its consequence, the action is asked again: the
                // newest answer counts.
                cut_off.retain(|cut| !(cut.step == *step && cut.attempt == *attempt));
                let (count, checkpoint) = checkpoints.get(step).cloned().unwrap_or((0, Value::Null));
                cut_off.push(CutOff {
                    step: step.clone(),
                    attempt: *attempt,
                    verdict: *verdict,
                    evidence: found.clone(),
                    checkpoints: count,
                    checkpoint,
                    bytes_kept: None,
                    bytes_written: None,
                    bytes_total: None,
                });
            }
            _ => {}
        }
        previous = Some(record);
    }
    for cut in &mut cut_off {
        if let StepState::Succeeded { measures, .. } = evidence.state.step(&cut.step).state {
            let whole = |name: &str| measures.get(name).map(|value| bytes(*value));
            cut.bytes_kept = whole("bytes_kept");
            cut.bytes_written = whole("bytes_written");
            cut.bytes_total = whole("bytes_total");
        }
    }
    let steps = &evidence.state.steps;
    let succeeded =
        |record: &rekindle_model::step::StepRecord| matches!(record.state, StepState::Succeeded { .. });
    let newest_cut = interruptions
        .last()
        .map_or(0, |interruption: &Interruption| interruption.after_seq);
    let final_before: usize = evidence
        .records
        .iter()
        .filter(|record| record.seq <= newest_cut)
        .filter_map(|record| match &record.event {
            Event::StepSucceeded { step, .. } => Some(step),
            _ => None,
        })
        .filter(|step| !started_after(evidence, step, newest_cut))
        .count();
    let after = evidence
        .records
        .iter()
        .filter(|record| newest_cut > 0 && record.seq > newest_cut);
    let bytes_written_after_resume = after
        .filter_map(|record| match &record.event {
            Event::StepSucceeded { measures, .. } => measures.get("bytes_written").map(|value| bytes(*value)),
            _ => None,
        })
        .sum();
    // A step that was cut off twice has one finishing attempt: its bytes count once.
    let finished: BTreeMap<&StepId, &CutOff> = cut_off.iter().map(|cut| (&cut.step, cut)).collect();
    Rework {
        ran_once: steps
            .iter()
            .filter(|(_, record)| record.attempts == 1 && record.reconciled == 0 && succeeded(record))
            .map(|(step, _)| step.clone())
            .collect(),
        retried: steps
            .iter()
            .filter(|(_, r)| r.failures > 0 && r.attempts > 1)
            .map(|(s, _)| s.clone())
            .collect(),
        kept: final_before,
        bytes_not_redone: finished.values().filter_map(|cut| cut.bytes_kept).sum(),
        bytes_written_after_resume,
        interruptions,
        cut_off,
    }
}

fn started_after(evidence: &Evidence, step: &StepId, seq: u64) -> bool {
    evidence.records.iter().any(|record| {
        record.seq > seq
            && matches!(&record.event, Event::StepStarted { step: started, .. } if started == step)
    })
}

/// A measure counts bytes in a float; a value that is no count becomes none.
pub(crate) fn bytes(value: f64) -> u64 {
    if value.is_finite() && value > 0.0 {
        value.round() as u64
    } else {
        0
    }
}
