//! What can happen to a run while it is driven, and what can follow from it.

use std::time::Duration;

use rekindle_model::event::{Event, Measures, Payload, Waits};
use rekindle_model::failure::Failure;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::process::Child;
use serde_json::Value;

use crate::context::Note;

/// Something happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// Driving begins, for a new run as for a resumed one.
    Begin,
    /// An attempt ended.
    Ended {
        step: StepId,
        attempt: u32,
        ending: Ending,
    },
    /// An attempt asks for a record. It is granted where an append follows.
    Noted { step: StepId, attempt: u32, note: Note },
    /// A cut-off attempt was looked into.
    Reconciled { step: StepId, found: Found },
    /// A succeeded step's artefact was looked for.
    Rechecked { step: StepId, gone: Option<String> },
    /// An attempt to undo a step ended.
    Undone {
        step: StepId,
        attempt: u32,
        ending: Undone,
    },
    /// It is the turn of this run in its group.
    Turn,
    /// It is another run's turn.
    TurnOf(RunId),
    /// It will never be this run's turn: these runs wait for each other, and this one, the first, is to give way.
    Deadlock(Vec<Waits>),
    /// The time of the last [`Effect::ArmTimer`] has come, or a permit has become free.
    Wake,
    /// The run is to end gracefully, to be resumed.
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
    /// It was told to end, did not, and was dropped.
    Dropped,
}

/// What was found of an attempt that had been cut off.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    Adopt {
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
    /// It could not be told.
    Failed(Failure),
    /// It was told to end, did not, and was dropped.
    Dropped,
}

/// How an attempt to undo a step ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Undone {
    Succeeded,
    Failed(Failure),
    /// It was told to end, did not, and was dropped.
    Dropped,
}

/// Something is to be done.
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
    /// Look into an attempt that was cut off, once the programs that it had started are gone.
    Reconcile {
        step: StepId,
        attempt: u32,
        with: Value,
        checkpoint: Option<Payload>,
        children: Vec<Child>,
    },
    /// Look whether a succeeded step's artefact is still there.
    Recheck {
        step: StepId,
        attempt: u32,
        with: Value,
        output: Value,
    },
    /// Take back what a step did, once the programs of its attempts are gone.
    StartUndo {
        step: StepId,
        attempt: u32,
        with: Value,
        children: Vec<Child>,
    },
    /// Tell whatever is at work on the step to end; its end is reported as usual. `for_good`: it is not continued.
    CancelStep { step: StepId, for_good: bool },
    /// Wake up after this time, because of this step. Replaces every earlier timer.
    ArmTimer { step: StepId, after: Duration },
    /// The run is over.
    Finish,
    /// Nothing is at work any more, and the run can be resumed.
    Interrupt,
}
