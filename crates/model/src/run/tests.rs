//! What the fold takes from a history, and what it refuses.

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::time::{Clock, ManualClock};

/// Folds a run with these events after its creation. On an illegal one, returns what does not fit.
fn run(events: &[Event]) -> Result<RunState, HistoryFault> {
    let created = Event::RunCreated {
        workflow: "test".into(),
        definition: Hash32::ZERO,
        system: None,
        inputs: Payload::NONE,
        kind: None,
        trigger: Trigger::command("a test"),
        disaster_at: None,
        disaster_at_told: false,
        old_parent: None,
    };
    let clock = ManualClock::at(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
    let mut epoch = 1;
    let records = std::iter::once(&created)
        .chain(events)
        .zip(1..)
        .map(|(event, seq)| {
            epoch += u64::from(matches!(event, Event::RunAdopted { .. }));
            Record {
                run: RunId(Uuid::from_u128(1)),
                seq,
                epoch,
                time: clock.now(),
                prev: Hash32::ZERO,
                head: None,
                event: event.clone(),
            }
        });
    let records: Vec<Record> = records.collect();
    let mut state = RunState::created(&records[0]).unwrap();
    for record in &records[1..] {
        let before = state.clone();
        if let Err(illegal) = state.fold(record) {
            assert_eq!(state, before, "a refused record must change nothing");
            return Err(illegal.fault);
        }
    }
    Ok(state)
}

fn asked(event: &str) -> Event {
    serde_json::from_value(json!({ "event": event, "by": "ann", "why": "lunch" })).unwrap()
}

fn finished() -> Event {
    let summary = json!({ "steps": 0 });
    Event::RunFinished {
        outcome: Outcome::Cancelled,
        summary,
    }
}

#[test]
fn a_run_is_paused_until_it_is_unpaused() {
    let paused = run(&[asked("pause_requested")]).unwrap().paused.unwrap();
    assert_eq!(
        (paused.by.as_str(), paused.why.as_deref()),
        ("ann", Some("lunch"))
    );
    let both = [asked("pause_requested"), asked("run_unpaused")];
    assert_eq!(run(&both).unwrap().paused, None);
}

#[test]
fn a_reopened_run_is_neither_over_nor_cancelled_nor_paused() {
    let state = run(&[
        asked("pause_requested"),
        asked("cancel_requested"),
        finished(),
        asked("run_reopened"),
    ])
    .unwrap();
    assert_eq!(
        (state.outcome, state.cancel, state.paused, state.summary),
        (None, None, None, Value::Null)
    );
    let again = [
        finished(),
        asked("run_reopened"),
        finished(),
        asked("run_reopened"),
    ];
    assert_eq!(run(&again).unwrap().outcome, None);
}

fn lock(event: &str) -> Event {
    let holder = RunId(Uuid::from_u128(9));
    serde_json::from_value(json!({ "event": event, "group": "nightly", "holder": holder })).unwrap()
}

#[test]
fn a_run_waits_for_its_lock_until_it_takes_it_is_adopted_or_ends() {
    let waits = run(&[lock("turn_awaited")]).unwrap().awaits_lock.unwrap();
    assert_eq!(waits.group, "nightly");
    let adopted = serde_json::from_value(json!({
        "event": "run_adopted", "epoch": 2, "why": "", "worker": { "host": "h", "pid": 1, "version": "0" },
    }));
    for ends in [lock("turn_taken"), adopted.unwrap(), finished()] {
        let state = run(&[lock("turn_awaited"), ends.clone()]).unwrap();
        assert_eq!(state.awaits_lock, None, "{ends:?}");
    }
}

fn of_step(event: &str, attempt: u32) -> Event {
    let error = crate::failure::Failure::permanent("x", "y");
    let why = json!({ "reason": "cancelled" });
    serde_json::from_value(json!({
        "event": event, "step": "s", "attempt": attempt, "error": error, "output": Payload::NONE,
        "retry_at": "2027-01-15T08:00:00Z", "verdict": "redo", "evidence": null, "why": why,
    }))
    .unwrap()
}

#[test]
fn a_run_does_not_end_before_what_it_has_begun() {
    let started = || of_step("step_started", 1);
    let undoing = || {
        vec![
            started(),
            of_step("step_succeeded", 1),
            of_step("undo_started", 1),
        ]
    };
    for (history, state) in [
        (vec![started()], "running"),
        (vec![started(), of_step("step_reconciled", 1)], "reconciled"),
        (vec![started(), of_step("step_failed", 1)], "backoff"),
        (undoing(), "being undone"),
    ] {
        let fault = run(&[history.clone(), vec![finished()]].concat()).unwrap_err();
        let step = StepId::plain("s");
        assert_eq!(fault, HistoryFault::Unfinished { step, state }, "{history:?}");
    }
    let ended = [
        vec![started(), of_step("step_succeeded", 1)],
        vec![of_step("step_skipped", 1)],
        [undoing(), vec![of_step("undo_stuck", 1)]].concat(),
    ];
    for history in ended {
        assert!(
            run(&[history.clone(), vec![finished()]].concat()).is_ok(),
            "{history:?}"
        );
    }
}

#[test]
fn what_does_not_fit_a_run_is_refused() {
    let pause = |event, paused| HistoryFault::Pause { event, paused };
    for (events, fault) in [
        (
            vec![asked("run_reopened")],
            HistoryFault::BeforeEnd("run_reopened"),
        ),
        (
            vec![finished(), asked("pause_requested")],
            HistoryFault::AfterEnd("pause_requested"),
        ),
        (
            vec![finished(), asked("cancel_requested")],
            HistoryFault::AfterEnd("cancel_requested"),
        ),
        (
            vec![finished(), finished()],
            HistoryFault::AfterEnd("run_finished"),
        ),
        (vec![asked("run_unpaused")], pause("run_unpaused", false)),
        (
            vec![lock("turn_taken")],
            HistoryFault::GroupLock {
                event: "turn_taken",
                waits: false,
            },
        ),
        (
            vec![lock("turn_awaited"), lock("turn_awaited")],
            HistoryFault::GroupLock {
                event: "turn_awaited",
                waits: true,
            },
        ),
        (
            vec![asked("pause_requested"), asked("pause_requested")],
            pause("pause_requested", true),
        ),
    ] {
        assert_eq!(run(&events).unwrap_err(), fault, "{events:?}");
    }
    assert_eq!(
        pause("run_unpaused", false).to_string(),
        "run_unpaused in a run that is not paused"
    );
}

/// Two first records as they were journaled before runs had kinds: of `rekindle backup --accept x`, and of a nested
/// run. Each as MessagePack in hexadecimal, and as `rekindle history --json` printed it.
const WITHOUT_KIND: [(&str, &str); 2] = [
    (
        "88a56576656e74ab72756e5f63726561746564a8776f726b666c6f77a66261636b7570aa646566696e6974696f6ed940303730373037\
 303730373037303730373037303730373037303730373037303730373037303730373037303730373037303730373037303730373037\
 30373037a673797374656dd9403038303830383038303830383038303830383038303830383038303830383038303830383038303830\
 3830383038303830383038303830383038303830383038a6696e7075747381a6696e6c696e6582a56c6f6f707381a47469657291a46e\
 656172a6706172616d7381a6616363657074a0a774726967676572ba72656b696e646c65206261636b7570202d2d6163636570742078\
 ab64697361737465725f6174be323032372d30312d31355430383a30303a30302e3030303030303030375ab064697361737465725f61\
 745f746f6c64c2",
        r#"{"run":"01990000-0000-7000-8000-000000000001","seq":1,"epoch":1,"utc":"2027-01-15T08:00:00.000000007Z","boot_ns":42,"boot_id":"00000000-0000-0000-0000-000000000005","prev":"0000000000000000000000000000000000000000000000000000000000000000","head":{"commit":3,"hash":"0909090909090909090909090909090909090909090909090909090909090909"},"event":"run_created","workflow":"backup","definition":"0707070707070707070707070707070707070707070707070707070707070707","system":"0808080808080808080808080808080808080808080808080808080808080808","inputs":{"inline":{"loops":{"tier":["near"]},"params":{"accept":""}}},"trigger":"rekindle backup --accept x","disaster_at":"2027-01-15T08:00:00.000000007Z","disaster_at_told":false}"#,
    ),
    (
        "89a56576656e74ab72756e5f63726561746564a8776f726b666c6f77a76e696768746c79aa646566696e6974696f6ed9403037303730\
 373037303730373037303730373037303730373037303730373037303730373037303730373037303730373037303730373037303730\
 3730373037a673797374656dd94030383038303830383038303830383038303830383038303830383038303830383038303830383038\
 303830383038303830383038303830383038303830383038a6696e7075747381a6696e6c696e6582a56c6f6f707381a47469657291a4\
 6e656172a6706172616d7381a6616363657074a0a774726967676572d92d72756e2030313939303030302d303030302d373030302d38\
 3030302d3030303030303030303030312f63616c6cab64697361737465725f6174be323032372d30312d31355430383a30303a30302e\
 3030303030303030375ab064697361737465725f61745f746f6c64c2a6706172656e7482a372756ec410019900000000700080000000\
 00000001a473746570a463616c6c",
        r#"{"run":"01990000-0000-7000-8000-000000000002","seq":1,"epoch":1,"utc":"2027-01-15T08:00:00.000000007Z","boot_ns":42,"boot_id":"00000000-0000-0000-0000-000000000005","prev":"0000000000000000000000000000000000000000000000000000000000000000","head":{"commit":3,"hash":"0909090909090909090909090909090909090909090909090909090909090909"},"event":"run_created","workflow":"nightly","definition":"0707070707070707070707070707070707070707070707070707070707070707","system":"0808080808080808080808080808080808080808080808080808080808080808","inputs":{"inline":{"loops":{"tier":["near"]},"params":{"accept":""}}},"trigger":"run 01990000-0000-7000-8000-000000000001/call","disaster_at":"2027-01-15T08:00:00.000000007Z","disaster_at_told":false,"parent":{"run":"01990000-0000-7000-8000-000000000001","step":"call"}}"#,
    ),
];

#[test]
fn a_history_from_before_runs_had_kinds_still_folds_and_is_written_again_byte_for_byte() {
    let nested_in = Parent {
        run: "01990000-0000-7000-8000-000000000001".parse().unwrap(),
        step: StepId::plain("call"),
    };
    let origins = [
        (RunKind::Backup, Trigger::command("rekindle backup --accept x")),
        (RunKind::Custom, Trigger::Parent(nested_in)),
    ];
    for ((hex, json), (kind, trigger)) in WITHOUT_KIND.into_iter().zip(origins) {
        let packed: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        let event: Event = rmp_serde::from_slice(&packed).unwrap();
        assert_eq!(rmp_serde::to_vec_named(&event).unwrap(), packed);
        let record: Record = serde_json::from_str(json).unwrap();
        assert_eq!(record.event, event);
        assert_eq!(serde_json::to_string(&record).unwrap(), json);

        let state = RunState::created(&record).unwrap();
        assert_eq!((state.kind, &state.trigger), (kind, &trigger));
        assert_eq!(event.origin(), Some(Origin { kind, trigger }));
    }
}
