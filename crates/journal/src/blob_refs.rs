//! Finds the blobs that a record refers to.

use rekindle_model::event::{Event, Payload};
use rekindle_model::id::Hash32;

/// Returns the blobs that an event refers to.
pub fn blobs_of(event: &Event) -> Vec<Hash32> {
    let of = |payload: &Payload| match payload {
        Payload::Blob(hash) => Some(*hash),
        Payload::Inline(_) => None,
    };
    match event {
        Event::RunCreated {
            definition,
            system,
            inputs,
            ..
        } => std::iter::once(*definition)
            .chain(*system)
            .chain(of(inputs))
            .collect(),
        Event::StepCheckpoint { progress, .. } => of(progress).into_iter().collect(),
        Event::StepSucceeded { output, .. } => of(output).into_iter().collect(),
        Event::RunAdopted { .. }
        | Event::StepStarted { .. }
        | Event::ChildStarted { .. }
        | Event::StepReconciled { .. }
        | Event::StepFailed { .. }
        | Event::StepSkipped { .. }
        | Event::StepInvalidated { .. }
        | Event::UndoStarted { .. }
        | Event::UndoSucceeded { .. }
        | Event::UndoFailed { .. }
        | Event::UndoStuck { .. }
        | Event::ApprovalRequested { .. }
        | Event::Approved { .. }
        | Event::Rejected { .. }
        | Event::RetryRequested { .. }
        | Event::PauseRequested { .. }
        | Event::RunUnpaused { .. }
        | Event::RunReopened { .. }
        | Event::CancelRequested { .. }
        | Event::DeadlinePassed
        | Event::GroupLockAwaited { .. }
        | Event::GroupLockTaken { .. }
        | Event::Deadlocked { .. }
        | Event::RunFinished { .. } => Vec::new(),
    }
}
