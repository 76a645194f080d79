//! Histories of a step that are legal, that are not, and what is kept across them.

use chrono::{DateTime, Utc};

use super::*;
use crate::event::Measures;
use crate::id::StepId;
use crate::process::ProcessId;
use crate::time::{Clock, SystemClock};

fn started(attempt: u32) -> Event {
    Event::StepStarted {
        step: StepId::plain("s"),
        attempt,
    }
}
fn checkpoint(attempt: u32, progress: i64) -> Event {
    Event::StepCheckpoint {
        step: StepId::plain("s"),
        attempt,
        progress: Payload::Inline(progress.into()),
    }
}
fn child(attempt: u32, pid: i32) -> Event {
    let program = ProcessId { pid, start_ticks: 5 };
    Event::ChildStarted {
        step: StepId::plain("s"),
        attempt,
        child: Child {
            program,
            supervisor: None,
            boot_id: uuid::Uuid::nil(),
        },
    }
}
fn reconciled(attempt: u32, verdict: Verdict) -> Event {
    Event::StepReconciled {
        step: StepId::plain("s"),
        attempt,
        verdict,
        evidence: serde_json::Value::Null,
    }
}
fn succeeded(attempt: u32) -> Event {
    Event::StepSucceeded {
        step: StepId::plain("s"),
        attempt,
        output: Payload::NONE,
        measures: Measures::default(),
    }
}
fn failed(attempt: u32, retry_at: Option<DateTime<Utc>>) -> Event {
    let error = Failure::transient("x", "y");
    Event::StepFailed {
        step: StepId::plain("s"),
        attempt,
        error,
        retry_at,
        measures: Measures::default(),
    }
}
fn skipped() -> Event {
    Event::StepSkipped {
        step: StepId::plain("s"),
        why: SkipReason::Cancelled,
    }
}
fn invalidated() -> Event {
    Event::StepInvalidated {
        step: StepId::plain("s"),
        why: "gone".into(),
    }
}

fn asked(attempt: u32) -> Event {
    Event::ApprovalRequested {
        step: StepId::plain("s"),
        attempt,
        prompt: "sure?".into(),
    }
}
fn approved(attempt: u32) -> Event {
    Event::Approved {
        step: StepId::plain("s"),
        attempt,
        by: "ann".into(),
        note: None,
    }
}
fn rejected(attempt: u32) -> Event {
    Event::Rejected {
        step: StepId::plain("s"),
        attempt,
        by: "ann".into(),
        note: Some("no".into()),
    }
}
fn retry() -> Event {
    Event::RetryRequested {
        step: StepId::plain("s"),
        by: "ann".into(),
        why: None,
    }
}
fn skipped_by_request() -> Event {
    let (by, why) = ("ann".into(), "known".into());
    Event::StepSkipped {
        step: StepId::plain("s"),
        why: SkipReason::Requested { by, why },
    }
}

/// Applies a history and returns the final state's name, or the name of the first refused event.
fn run(history: &[Event]) -> Result<StepRecord, &'static str> {
    let mut record = StepRecord::default();
    for event in history {
        let before = record.clone();
        if record.apply(event, &SystemClock.now()).is_err() {
            assert_eq!(record, before, "a refused event must change nothing");
            return Err(event.name());
        }
    }
    Ok(record)
}

#[test]
fn legal_histories_end_where_the_table_says() {
    let soon = DateTime::from_timestamp(1_800_000_000, 0);
    for (history, expect) in [
        (vec![started(1), checkpoint(1, 7), succeeded(1)], "succeeded"),
        (
            vec![started(1), failed(1, soon), started(2), succeeded(2)],
            "succeeded",
        ),
        (vec![started(1), failed(1, None)], "failed"),
        (
            vec![started(1), reconciled(1, Verdict::Complete), succeeded(1)],
            "succeeded",
        ),
        (
            vec![
                started(1),
                reconciled(1, Verdict::Redo),
                reconciled(1, Verdict::Redo),
                started(2),
            ],
            "running",
        ),
        (vec![skipped()], "skipped"),
        (
            vec![started(1), succeeded(1), invalidated(), started(2)],
            "running",
        ),
        (vec![started(1), asked(1), approved(1), succeeded(1)], "succeeded"),
        (vec![started(1), asked(1), rejected(1), failed(1, None)], "failed"),
        (vec![started(1), asked(1), failed(1, None)], "failed"),
        (vec![started(1), asked(1), skipped_by_request()], "skipped"),
        (vec![started(1), asked(1), skipped()], "skipped"),
        (
            vec![started(1), asked(1), invalidated(), started(2), asked(2)],
            "running",
        ),
        (vec![started(1), failed(1, soon), retry(), started(2)], "running"),
        (vec![started(1), failed(1, soon), retry()], "pending"),
        (vec![started(1), failed(1, soon), invalidated()], "pending"),
        (vec![started(1), failed(1, None), retry()], "failed"),
        (
            vec![started(1), failed(1, None), retry(), invalidated()],
            "pending",
        ),
        (
            vec![started(1), succeeded(1), retry(), invalidated(), started(2)],
            "running",
        ),
        (vec![started(1), failed(1, None), skipped_by_request()], "skipped"),
        (
            vec![skipped(), skipped_by_request(), retry(), invalidated()],
            "pending",
        ),
        (vec![started(1), failed(1, soon), skipped_by_request()], "skipped"),
    ] {
        assert_eq!(run(&history).unwrap().state.name(), expect, "{history:?}");
    }
}

#[test]
fn illegal_histories_are_refused_at_the_event_that_does_not_fit() {
    for (history, refused) in [
        (vec![succeeded(1)], "step_succeeded"),
        (vec![started(2)], "step_started"),
        (vec![started(1), started(2)], "step_started"),
        (vec![started(1), succeeded(1), started(2)], "step_started"),
        (vec![started(1), succeeded(1), succeeded(1)], "step_succeeded"),
        (vec![started(1), succeeded(2)], "step_succeeded"),
        (
            vec![started(1), reconciled(1, Verdict::Complete), started(2)],
            "step_started",
        ),
        (
            vec![started(1), reconciled(1, Verdict::Redo), succeeded(1)],
            "step_succeeded",
        ),
        (vec![checkpoint(1, 0)], "step_checkpoint"),
        (vec![child(1, 7)], "child_started"),
        (vec![started(1), child(2, 7)], "child_started"),
        (
            vec![started(1), reconciled(1, Verdict::Redo), child(1, 7)],
            "child_started",
        ),
        (vec![started(1), asked(1), child(1, 7)], "child_started"),
        (vec![started(1), skipped()], "step_skipped"),
        (vec![invalidated()], "step_invalidated"),
        (vec![asked(1)], "approval_requested"),
        (vec![started(1), asked(2)], "approval_requested"),
        (vec![started(1), asked(1), asked(1)], "approval_requested"),
        (vec![started(1), approved(1)], "approved"),
        (vec![started(1), asked(1), approved(2)], "approved"),
        (vec![started(1), asked(1), approved(1), rejected(1)], "rejected"),
        (vec![started(1), asked(1), rejected(1), approved(1)], "approved"),
        (vec![started(1), asked(1), succeeded(1)], "step_succeeded"),
        (
            vec![started(1), asked(1), rejected(1), succeeded(1)],
            "step_succeeded",
        ),
        (
            vec![started(1), asked(1), failed(1, None), approved(1)],
            "approved",
        ),
        (vec![started(1), asked(1), approved(1), skipped()], "step_skipped"),
        (
            vec![started(1), asked(1), approved(1), invalidated()],
            "step_invalidated",
        ),
        (vec![retry()], "retry_requested"),
        (vec![started(1), retry()], "retry_requested"),
        (vec![started(1), skipped_by_request()], "step_skipped"),
        (vec![started(1), invalidated()], "step_invalidated"),
        (
            vec![started(1), succeeded(1), skipped_by_request()],
            "step_skipped",
        ),
        (vec![started(1), failed(1, None), skipped()], "step_skipped"),
        (vec![skipped_by_request(), skipped_by_request()], "step_skipped"),
    ] {
        assert_eq!(run(&history).unwrap_err(), refused, "{history:?}");
    }
}

#[test]
fn continue_keeps_the_checkpoint_and_redo_drops_it() {
    let cut = [started(1), checkpoint(1, 42)];
    let next = |verdict| {
        let mut history = cut.to_vec();
        history.extend([reconciled(1, verdict), started(2)]);
        run(&history).unwrap().checkpoint
    };
    assert_eq!(next(Verdict::Continue), Some(Payload::Inline(42.into())));
    assert_eq!(next(Verdict::Redo), None);
}

fn undo(event: &str, attempt: u32) -> Event {
    let error = Failure::transient("x", "y");
    let value = serde_json::json!({
        "event": event, "step": "s", "attempt": attempt, "error": error, "retry_at": "2027-01-15T08:00:00Z",
    });
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_step_owes_an_undo_from_its_start_until_it_is_undone() {
    let owes = |more: &[Event]| {
        let record = run(&[&[started(1)], more].concat()).unwrap();
        (record.acted, record.undo.map(|undo| undo.state))
    };
    assert_eq!(owes(&[succeeded(1)]), (true, None));
    let begun = [succeeded(1), undo("undo_started", 1)];
    assert_eq!(owes(&begun), (true, Some(UndoState::Running)));
    let done = [&begun[..], &[undo("undo_succeeded", 1)]].concat();
    assert_eq!(owes(&done), (false, Some(UndoState::Done)));
    let again = [&done[..], &[invalidated(), started(2)]].concat();
    assert_eq!(owes(&again), (true, None));
    // What is invalidated was done all the same.
    assert_eq!(owes(&[succeeded(1), invalidated()]), (true, None));
    let stuck = [failed(1, None), undo("undo_started", 1), undo("undo_stuck", 1)];
    let record = run(&[&[started(1)], &stuck[..]].concat()).unwrap();
    assert_eq!(record.stuck().unwrap().code, "x");
    let due = [&stuck[..], &[retry()]].concat();
    assert_eq!(owes(&due), (true, Some(UndoState::Due)));
    let second = [&due[..], &[undo("undo_started", 2), undo("undo_succeeded", 2)]].concat();
    assert_eq!(owes(&second), (false, Some(UndoState::Done)));
}

#[test]
fn an_undo_that_does_not_fit_is_refused() {
    let begun = || vec![started(1), succeeded(1), undo("undo_started", 1)];
    let after = |more: Vec<Event>| [begun(), more].concat();
    for (history, refused) in [
        (vec![undo("undo_started", 1)], "undo_started"),
        (vec![skipped(), undo("undo_started", 1)], "undo_started"),
        (vec![started(1), undo("undo_started", 1)], "undo_started"),
        (
            vec![started(1), succeeded(1), undo("undo_started", 2)],
            "undo_started",
        ),
        (
            vec![started(1), succeeded(1), undo("undo_succeeded", 1)],
            "undo_succeeded",
        ),
        (after(vec![undo("undo_failed", 2)]), "undo_failed"),
        (
            after(vec![undo("undo_succeeded", 1), undo("undo_started", 2)]),
            "undo_started",
        ),
        (
            after(vec![undo("undo_stuck", 1), undo("undo_started", 2)]),
            "undo_started",
        ),
        (
            after(vec![undo("undo_failed", 1), undo("undo_succeeded", 1)]),
            "undo_succeeded",
        ),
    ] {
        assert_eq!(run(&history).unwrap_err(), refused, "{history:?}");
    }
    let cut_off = after(vec![undo("undo_started", 2)]);
    assert_eq!(
        run(&cut_off).unwrap().undo.unwrap().attempts,
        2,
        "it may be cut off and begun again"
    );
}

#[test]
fn an_attempts_programs_are_known_until_the_next_attempt_starts() {
    let programs = |more: &[Event]| {
        let mut history = vec![started(1), child(1, 7), child(1, 8)];
        history.extend_from_slice(more);
        let found = run(&history).unwrap().children;
        found.iter().map(|child| child.program.pid).collect::<Vec<_>>()
    };
    assert_eq!(programs(&[]), [7, 8]);
    let soon = DateTime::from_timestamp(1_800_000_000, 0);
    for left in [
        vec![reconciled(1, Verdict::Continue)],
        vec![failed(1, soon)],
        vec![failed(1, None), retry(), invalidated()],
    ] {
        assert_eq!(programs(&left), [7, 8], "{left:?}");
        let next = [&left[..], &[started(2)]].concat();
        assert!(programs(&next).is_empty(), "{next:?}");
    }
}

#[test]
fn a_crash_uses_up_no_attempt_of_the_retry_policy() {
    let record = run(&[
        started(1),
        reconciled(1, Verdict::Redo),
        started(2),
        failed(2, None),
    ])
    .unwrap();
    assert_eq!((record.attempts, record.failures), (2, 1));
}

#[test]
fn a_retry_that_was_asked_for_keeps_the_checkpoint_of_a_wait_and_counts_failures_and_time_anew() {
    let soon = DateTime::from_timestamp(1_800_000_000, 0);
    let waited = run(&[started(1), checkpoint(1, 42), failed(1, soon), retry()]).unwrap();
    assert_eq!(waited.checkpoint, Some(Payload::Inline(42.into())));
    assert_eq!((waited.attempts, waited.failures), (1, 0));
    assert!(waited.first_started.is_some() && waited.timed_from.is_none());
    let ended = run(&[started(1), failed(1, None), retry(), invalidated()]).unwrap();
    assert_eq!((ended.attempts, ended.failures), (1, 0));
}

#[test]
fn a_next_attempt_asks_anew() {
    let soon = DateTime::from_timestamp(1_800_000_000, 0);
    let record = run(&[started(1), asked(1), failed(1, soon), started(2)]).unwrap();
    assert_eq!(record.approval, None);
    let record = run(&[started(1), asked(1), rejected(1)]).unwrap();
    let approval = record.approval.as_ref().unwrap();
    assert!(record.awaits().is_none() && !approval.is_granted());
    let decision = approval.decision.as_ref().unwrap();
    assert_eq!(
        (decision.by.as_str(), decision.note.as_deref()),
        ("ann", Some("no"))
    );
}
