//! Events and appends for the claims.

use chrono::DateTime;
use rekindle_model::event::{Event, Measures, Outcome, Payload, SkipReason, Worker};
use rekindle_model::id::{Hash32, RunId, StepId};
use rekindle_model::origin::{RunKind, Trigger};
use rekindle_model::time::Stamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::Append;

/// Returns a stamp `seconds` after a fixed instant.
pub fn stamp(seconds: u64) -> Stamp {
    let utc = i64::try_from(1_800_000_000 + seconds)
        .ok()
        .and_then(|at| DateTime::from_timestamp(at, 7));
    Stamp {
        utc: utc.unwrap_or_default(),
        boot_ns: seconds * 1_000_000_000,
        boot_id: Uuid::from_u128(5),
    }
}

/// Returns the event that begins a run of `workflow`.
pub fn created(workflow: &str) -> Event {
    Event::RunCreated {
        workflow: workflow.to_owned(),
        definition: Hash32(*blake3::hash(workflow.as_bytes()).as_bytes()),
        system: None,
        inputs: Payload::Inline(json!({"params": {"keep": 7}, "loops": {"component": ["a", "b"]}})),
        kind: Some(RunKind::of_workflow(workflow)),
        trigger: Trigger::command("contract"),
        disaster_at: None,
        disaster_at_told: false,
        old_parent: None,
    }
}

/// Returns the event that begins attempt `attempt` of step `step`.
pub fn started(step: &str, attempt: u32) -> Event {
    Event::StepStarted {
        step: StepId::from(step),
        attempt,
    }
}

/// Returns a checkpoint of attempt 1 of step `step`.
pub fn checkpoint(step: &str, progress: Value) -> Event {
    Event::StepCheckpoint {
        step: StepId::from(step),
        attempt: 1,
        progress: Payload::Inline(progress),
    }
}

/// Returns the success of attempt 1 of step `step`.
pub fn succeeded(step: &str) -> Event {
    let measures = Measures::from([("bytes_read".to_owned(), 12.5)]);
    let output = Payload::Inline(json!({"ok": true, "n": -3, "x": 0.25, "list": [null, "ü"]}));
    Event::StepSucceeded {
        step: StepId::from(step),
        attempt: 1,
        output,
        measures,
    }
}

/// Returns the end of a run.
pub fn finished(outcome: Outcome) -> Event {
    Event::RunFinished {
        outcome,
        summary: json!({"steps": 2}),
    }
}

/// Returns the event that opens a finished run again.
pub fn reopened() -> Event {
    Event::RunReopened {
        by: "ann".to_owned(),
        why: Some("the disk is back".to_owned()),
    }
}

/// Returns an append to `run` by the holder of `epoch`.
pub fn append_to(run: RunId, expected_seq: u64, epoch: u64, events: Vec<Event>) -> Append {
    Append {
        run,
        expected_seq,
        epoch,
        events,
        now: stamp(expected_seq),
    }
}

/// Returns the event by which a process adopts a run.
pub fn adopted(epoch: u64) -> Event {
    let worker = Worker {
        host: "h".into(),
        pid: 7,
        version: "0".into(),
    };
    Event::RunAdopted {
        epoch,
        worker,
        why: "its owner died".into(),
        workspace: None,
    }
}

/// Returns a skip of step `step`.
pub(crate) fn skipped(step: &str) -> Event {
    Event::StepSkipped {
        step: StepId::from(step),
        why: SkipReason::Cancelled,
    }
}

/// Returns a wait for the lock of a group.
pub(crate) fn turn_awaited() -> Event {
    Event::GroupLockAwaited {
        group: "nightly".to_owned(),
        holder: RunId::new(&stamp(9)),
    }
}
