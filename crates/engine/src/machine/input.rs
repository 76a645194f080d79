//! The inputs of a driven run, and the effects that can follow.

use std::time::Duration;

use rekindle_model::event::{Event, Measures, Payload, Waits};
use rekindle_model::failure::Failure;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::process::Child;
use serde_json::Value;

use crate::context::Note;

/// An event that the machine must respond to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// Driving begins, for a new run or a resumed one.
    Begin,
    /// An attempt ended.
    Ended {
        step: StepId,
        attempt: u32,
        ending: Ending,
    },
    /// An attempt asks for a record. It is granted where an append follows.
    Noted { step: StepId, attempt: u32, note: Note },
    /// The reconciliation of a cut-off attempt ended.
    Reconciled { step: StepId, found: Found },
    /// The recheck of a succeeded step ended.
    Rechecked { step: StepId, gone: Option<String> },
    /// An attempt to undo a step ended.
    Undone {
        step: StepId,
        attempt: u32,
        ending: Undone,
    },
    /// This run has taken the lock of its group.
    LockTaken,
    /// Another run has the lock, or is next.
    LockHeldBy(RunId),
    /// This run never gets its lock. These runs wait for each other, and this one, the first, must give way.
    Deadlock(Vec<Waits>),
    /// The time of the last [`Effect::ArmTimer`] has come, or a permit has become free.
    Wake,
    /// The driver must stop gracefully, so that the run can be resumed.
    Stop,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ending {
    Succeeded {
        output: Payload,
        value: Value,
        measures: Measures,
    },
    Failed(Failure),
    /// It did not end when asked to, and was dropped.
    Dropped,
}

/// The result of a reconciliation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    Complete {
        output: Payload,
        value: Value,
        measures: Measures,
        evidence: Value,
    },
    Continue {
        evidence: Value,
    },
    Redo {
        evidence: Value,
    },
    /// The action could not find out.
    Failed(Failure),
    /// It did not end when asked to, and was dropped.
    Dropped,
}

/// How an attempt to undo a step ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Undone {
    Succeeded,
    Failed(Failure),
    /// It did not end when asked to, and was dropped.
    Dropped,
}

/// An act that the driver must perform.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Journal these events, all or none, before anything else.
    Append(Vec<Event>),
    /// Begin an attempt, once the programs of earlier ones are gone.
    StartStep {
        step: StepId,
        attempt: u32,
        with: Value,
        checkpoint: Option<Payload>,
        children: Vec<Child>,
    },
    /// Reconcile an attempt that was cut off, once the programs that it had started are gone.
    Reconcile {
        step: StepId,
        attempt: u32,
        with: Value,
        checkpoint: Option<Payload>,
        children: Vec<Child>,
    },
    /// Check whether a succeeded step's artefact is still there.
    Recheck {
        step: StepId,
        attempt: u32,
        with: Value,
        output: Value,
    },
    /// Begin an attempt to undo a step, once the programs of its attempts are gone.
    StartUndo {
        step: StepId,
        attempt: u32,
        with: Value,
        children: Vec<Child>,
    },
    /// Ask the work on the step to end. Its end is reported as usual. `for_good`: no later attempt continues it.
    CancelStep { step: StepId, for_good: bool },
    /// Wake up after this time, because of this step. Replaces every earlier timer.
    ArmTimer { step: StepId, after: Duration },
    /// The run is over.
    Finish,
    /// No work is at hand any more, and the run can be resumed.
    Interrupt,
}
