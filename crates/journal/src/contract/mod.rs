//! The claims that every backend must fulfil. Each backend runs this suite, which panics at the first claim
//! that fails.
//!
//! [`suite`] takes a factory that returns a new, empty journal on each call.

pub(crate) mod fixture;

use std::fmt::{Debug, Display};
use std::future::Future;
use std::sync::Arc;

use rekindle_model::event::{Event, Outcome, Record, SkipReason};
use rekindle_model::id::{Hash32, RunId, StepId};
use rekindle_model::origin::{RunKind, Trigger};
use rekindle_model::run::RunState;
use serde_json::{Value, json};

pub use self::fixture::{
    adopted, append_to, checkpoint, created, finished, reopened, stamp, started, succeeded,
};
use crate::api::{Append, Journal, RunFilter};
use crate::codec;
use crate::error::JournalError;

/// Runs every claim against a journal of its own.
pub async fn suite<J, F>(mut fresh: impl FnMut() -> F)
where
    J: Journal + 'static,
    F: Future<Output = J>,
{
    what_is_appended_is_read(&fresh().await).await;
    values_are_the_bytes_of_the_records(&fresh().await).await;
    records_are_numbered_chained_and_anchored(&fresh().await).await;
    a_stale_position_is_a_conflict(&fresh().await).await;
    an_adoption_fences_the_epoch_before_it(&fresh().await).await;
    an_append_is_taken_whole_or_not_at_all(&fresh().await).await;
    what_a_person_asks_is_kept_and_checked(&fresh().await).await;
    a_finished_run_takes_nothing_but_its_reopening(&fresh().await).await;
    a_run_may_end_and_be_reopened_without_a_pause(&fresh().await).await;
    an_event_that_does_not_fit_a_record_is_refused(&fresh().await).await;
    runs_are_listed_newest_first_and_filtered(&fresh().await).await;
    subscribers_see_every_record_in_order(&fresh().await).await;
    blobs_are_kept_by_their_hash(&fresh().await).await;
    of_concurrent_appends_at_one_position_one_wins(Arc::new(fresh().await)).await;
}

fn ok<T, E: Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("expected success, failed to {error}"),
    }
}

fn err<T: Debug, E>(result: Result<T, E>) -> E {
    match result {
        Err(error) => error,
        Ok(value) => panic!("expected an error, found {value:?}"),
    }
}

async fn what_is_appended_is_read(journal: &impl Journal) {
    let run = RunId::new(&stamp(0));
    let mut expected = ok(journal
        .append(append_to(run, 0, 1, vec![created("backup"), started("a", 1)]))
        .await);
    expected.extend(ok(journal
        .append(append_to(run, 2, 1, vec![checkpoint("a", json!({"done": 3}))]))
        .await));
    let last = vec![succeeded("a"), finished(Outcome::Succeeded)];
    expected.extend(ok(journal.append(append_to(run, 3, 1, last)).await));
    assert_eq!(
        *ok(journal.read(run).await),
        expected,
        "read differs from what append returned"
    );
    assert_eq!(
        ok(RunState::from_records(&expected)).outcome,
        Some(Outcome::Succeeded)
    );
    let unknown = RunId::new(&stamp(9));
    assert!(matches!(err(journal.read(unknown).await), JournalError::UnknownRun(run) if run == unknown));
}

async fn records_are_numbered_chained_and_anchored(journal: &impl Journal) {
    let (one, two) = (RunId::new(&stamp(0)), RunId::new(&stamp(1)));
    ok(journal
        .append(append_to(one, 0, 1, vec![created("a"), started("s", 1)]))
        .await);
    ok(journal.append(append_to(two, 0, 1, vec![created("b")])).await);
    ok(journal
        .append(append_to(
            one,
            2,
            1,
            vec![succeeded("s"), finished(Outcome::Succeeded)],
        ))
        .await);
    let records = ok(journal.read(one).await);
    assert!(
        records.iter().map(|record| record.seq).eq(1..=4),
        "numbers have gaps"
    );
    let mut prev = Hash32::ZERO;
    for record in &*records {
        assert_eq!(
            record.prev, prev,
            "record {} does not follow the one before it",
            record.seq
        );
        prev = codec::hash(&ok(codec::encode(record)));
    }
    let commits: Vec<_> = records
        .iter()
        .map(|record| record.head.map(|head| head.commit))
        .collect();
    assert_eq!(
        commits,
        [Some(0), None, None, Some(2)],
        "the journal's head is not on the first and last record"
    );
    let other = ok(journal.read(two).await);
    assert_eq!(other[0].head.map(|head| head.commit), Some(1));
    assert_ne!(other[0].head.map(|head| head.hash), Some(Hash32::ZERO));
}

async fn a_stale_position_is_a_conflict(journal: &impl Journal) {
    let run = RunId::new(&stamp(0));
    ok(journal
        .append(append_to(run, 0, 1, vec![created("a"), started("s", 1)]))
        .await);
    for (seq, epoch) in [(0, 1), (1, 1), (3, 1), (2, 0), (2, 2)] {
        let error = err(journal
            .append(append_to(run, seq, epoch, vec![succeeded("s")]))
            .await);
        let conflict = matches!(
            error,
            JournalError::Conflict {
                found_seq: 2,
                found_epoch: 1,
                ..
            }
        );
        assert!(conflict, "position ({seq}, {epoch}): {error}");
    }
    let unknown = err(journal
        .append(append_to(RunId::new(&stamp(1)), 3, 1, vec![started("s", 1)]))
        .await);
    assert!(matches!(unknown, JournalError::UnknownRun(_)), "{unknown}");
    let early = err(journal
        .append(append_to(RunId::new(&stamp(2)), 0, 2, vec![created("a")]))
        .await);
    assert!(
        matches!(
            early,
            JournalError::Conflict {
                found_seq: 0,
                found_epoch: 0,
                ..
            }
        ),
        "{early}"
    );
    assert_eq!(ok(journal.read(run).await).len(), 2);
}

async fn an_adoption_fences_the_epoch_before_it(journal: &impl Journal) {
    let run = RunId::new(&stamp(0));
    ok(journal
        .append(append_to(run, 0, 1, vec![created("a"), started("s", 1)]))
        .await);
    for (epoch, event) in [(1, 1), (3, 3)] {
        let skipped = err(journal
            .append(append_to(run, 2, epoch, vec![adopted(event)]))
            .await);
        assert!(matches!(skipped, JournalError::Conflict { .. }), "{skipped}");
    }
    let lying = err(journal.append(append_to(run, 2, 2, vec![adopted(3)])).await);
    assert!(matches!(lying, JournalError::Illegal(_)), "{lying}");
    ok(journal
        .append(append_to(run, 2, 2, vec![adopted(2), checkpoint("s", json!(1))]))
        .await);
    let fenced = err(journal.append(append_to(run, 4, 1, vec![succeeded("s")])).await);
    assert!(
        matches!(fenced, JournalError::Conflict { found_epoch: 2, .. }),
        "{fenced}"
    );
    ok(journal.append(append_to(run, 4, 2, vec![succeeded("s")])).await);
    let epochs: Vec<_> = ok(journal.read(run).await)
        .iter()
        .map(|record| record.epoch)
        .collect();
    assert_eq!(epochs, [1, 1, 2, 2, 2]);
}

async fn an_append_is_taken_whole_or_not_at_all(journal: &impl Journal) {
    let run = RunId::new(&stamp(0));
    let illegal = |error: JournalError| assert!(matches!(error, JournalError::Illegal(_)), "{error}");
    illegal(err(journal
        .append(append_to(run, 0, 1, vec![started("s", 1)]))
        .await));
    illegal(err(journal
        .append(append_to(run, 0, 1, vec![created("a"), succeeded("s")]))
        .await));
    assert!(
        matches!(err(journal.read(run).await), JournalError::UnknownRun(_)),
        "half of a new run was kept"
    );
    ok(journal
        .append(append_to(run, 0, 1, vec![created("a"), started("s", 1)]))
        .await);
    // Each append fails at its last event; its earlier events must leave no trace in the fold.
    let cancel = Event::CancelRequested {
        by: "p".into(),
        why: None,
    };
    for events in [
        vec![succeeded("s"), started("t", 1), started("t", 1)],
        vec![cancel, started("s", 2)],
        vec![turn_awaited(), started("s", 2)],
        vec![turn_awaited(), finished(Outcome::Failed)],
        vec![succeeded("s"), finished(Outcome::Failed), started("t", 1)],
    ] {
        illegal(err(journal.append(append_to(run, 2, 1, events)).await));
    }
    illegal(err(journal
        .append(append_to(run, 2, 2, vec![adopted(2), started("s", 1)]))
        .await));
    let nothing = err(journal.append(append_to(run, 2, 1, Vec::new())).await);
    assert!(matches!(nothing, JournalError::Empty(_)), "{nothing}");
    ok(journal
        .append(append_to(
            run,
            2,
            1,
            vec![turn_awaited(), succeeded("s"), started("t", 1)],
        ))
        .await);
    ok(journal
        .append(append_to(
            run,
            5,
            1,
            vec![succeeded("t"), finished(Outcome::Failed)],
        ))
        .await);
    illegal(err(journal
        .append(append_to(run, 7, 1, vec![started("u", 1)]))
        .await));
    illegal(err(journal.append(append_to(run, 7, 2, vec![adopted(2)])).await));
    let records = ok(journal.read(run).await);
    assert_eq!(ok(RunState::from_records(&records)).cancel, None);
    assert_eq!(records.len(), 7);
}

fn skipped(step: &str) -> Event {
    Event::StepSkipped {
        step: StepId::from(step),
        why: SkipReason::Cancelled,
    }
}

fn turn_awaited() -> Event {
    Event::TurnAwaited {
        group: "nightly".to_owned(),
        holder: RunId::new(&stamp(9)),
    }
}

async fn what_a_person_asks_is_kept_and_checked(journal: &impl Journal) {
    let run = RunId::new(&stamp(0));
    let illegal = |error: JournalError| assert!(matches!(error, JournalError::Illegal(_)), "{error}");
    let (by, why) = (|| "ann".to_owned(), || None);
    let step = || StepId::from("s");
    let asked = Event::ApprovalRequested {
        step: step(),
        attempt: 1,
        prompt: "sure?".to_owned(),
    };
    let approved = || Event::Approved {
        step: step(),
        attempt: 1,
        by: by(),
        note: None,
    };
    let paused = || Event::PauseRequested { by: by(), why: why() };
    let unpaused = || Event::RunUnpaused { by: by(), why: why() };
    let mut expected = ok(journal
        .append(append_to(run, 0, 1, vec![created("a"), started("s", 1), asked]))
        .await);
    for events in [
        vec![succeeded("s")],
        vec![approved(), approved()],
        vec![unpaused()],
        vec![paused(), paused()],
        vec![paused(), unpaused(), reopened()],
    ] {
        illegal(err(journal.append(append_to(run, 3, 1, events)).await));
    }
    expected.extend(ok(journal
        .append(append_to(run, 3, 1, vec![paused(), approved()]))
        .await));
    let retry = Event::RetryRequested {
        step: step(),
        by: by(),
        why: why(),
    };
    expected.extend(ok(journal
        .append(append_to(run, 5, 1, vec![succeeded("s"), retry, unpaused()]))
        .await));
    assert_eq!(*ok(journal.read(run).await), expected);
    let state = ok(RunState::from_records(&expected));
    assert_eq!(state.paused, None);
    assert!(
        state
            .step(&step())
            .approval
            .is_some_and(|approval| approval.is_granted())
    );
}

async fn a_finished_run_takes_nothing_but_its_reopening(journal: &impl Journal) {
    let run = RunId::new(&stamp(0));
    let illegal = |error: JournalError| assert!(matches!(error, JournalError::Illegal(_)), "{error}");
    let outcome = async || ok(journal.runs(&RunFilter::default()).await)[0].outcome;
    ok(journal
        .append(append_to(
            run,
            0,
            1,
            vec![created("a"), skipped("s"), finished(Outcome::Failed)],
        ))
        .await);
    // If an append fails after the event that reopens the run, the run stays over.
    for events in [
        vec![checkpoint("s", json!(1))],
        vec![finished(Outcome::Succeeded)],
        vec![reopened(), skipped("s")],
        vec![reopened(), reopened()],
    ] {
        illegal(err(journal.append(append_to(run, 3, 1, events)).await));
    }
    illegal(err(journal.append(append_to(run, 3, 2, vec![adopted(2)])).await));
    assert_eq!(outcome().await, Some(Outcome::Failed));
    ok(journal.append(append_to(run, 3, 1, vec![reopened()])).await);
    assert_eq!(outcome().await, None, "a reopened run is listed as over");
    illegal(err(journal.append(append_to(run, 4, 1, vec![reopened()])).await));
    ok(journal
        .append(append_to(run, 4, 2, vec![adopted(2), skipped("t")]))
        .await);
    ok(journal
        .append(append_to(run, 6, 2, vec![finished(Outcome::Succeeded)]))
        .await);
    assert_eq!(outcome().await, Some(Outcome::Succeeded));
    assert_eq!(ok(journal.read(run).await).len(), 7);
}

async fn a_run_may_end_and_be_reopened_without_a_pause(journal: &impl Journal) {
    let run = RunId::new(&stamp(0));
    ok(journal.append(append_to(run, 0, 1, vec![created("a")])).await);
    // Both may share one commit: then the writer decides on the second before the first can be read.
    for seq in (1..60).step_by(2) {
        let (ended, opened) = tokio::join!(
            journal.append(append_to(run, seq, 1, vec![finished(Outcome::Failed)])),
            journal.append(append_to(run, seq + 1, 1, vec![reopened()])),
        );
        ok(ended);
        ok(opened);
    }
    assert_eq!(ok(journal.read(run).await).len(), 61);
}

async fn an_event_that_does_not_fit_a_record_is_refused(journal: &impl Journal) {
    let run = RunId::new(&stamp(0));
    ok(journal
        .append(append_to(run, 0, 1, vec![created("a"), started("s", 1)]))
        .await);
    let large = "x".repeat(codec::MAX_RECORD);
    let error = err(journal
        .append(append_to(run, 2, 1, vec![checkpoint("s", json!(large))]))
        .await);
    let named =
        matches!(error, JournalError::TooLarge { event: "step_checkpoint", bytes, .. } if bytes > 4096);
    assert!(named, "{error}");
    let deep = (0..1500).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let error = err(journal
        .append(append_to(run, 2, 1, vec![checkpoint("s", deep)]))
        .await);
    assert!(matches!(error, JournalError::Unencodable { .. }), "{error}");
    ok(journal
        .append(append_to(
            run,
            2,
            1,
            vec![checkpoint("s", json!("x".repeat(3000)))],
        ))
        .await);
    assert_eq!(ok(journal.read(run).await).len(), 3);
}

async fn runs_are_listed_newest_first_and_filtered(journal: &impl Journal) {
    let mut runs = Vec::new();
    for at in 0..6 {
        let run = RunId::new(&stamp(at));
        let workflow = if at % 2 == 0 { "backup" } else { "recover" };
        let append = Append {
            now: stamp(at),
            ..append_to(run, 0, 1, vec![created(workflow)])
        };
        ok(journal.append(append).await);
        runs.push(run);
    }
    ok(journal
        .append(append_to(runs[1], 1, 1, vec![finished(Outcome::Partial)]))
        .await);
    runs.reverse();
    let list = async |filter: RunFilter| -> Vec<RunId> {
        ok(journal.runs(&filter).await)
            .iter()
            .map(|summary| summary.run)
            .collect()
    };
    assert_eq!(list(RunFilter::default()).await, runs);
    let all = RunFilter::default;
    assert_eq!(
        list(RunFilter {
            limit: Some(2),
            ..all()
        })
        .await,
        runs[..2]
    );
    assert_eq!(
        list(RunFilter {
            finished: Some(true),
            ..all()
        })
        .await,
        [runs[4]]
    );
    assert_eq!(
        list(RunFilter {
            outcome: Some(Outcome::Partial),
            ..all()
        })
        .await,
        [runs[4]]
    );
    assert_eq!(
        list(RunFilter {
            finished: Some(false),
            ..all()
        })
        .await
        .len(),
        5
    );
    assert_eq!(
        list(RunFilter {
            since: Some(stamp(4).utc),
            ..all()
        })
        .await,
        runs[..2]
    );
    let backups = RunFilter {
        workflow: Some("backup".into()),
        limit: Some(2),
        ..all()
    };
    assert_eq!(list(backups).await, [runs[1], runs[3]]);
    let recoveries = RunFilter {
        kind: Some(RunKind::Recover),
        ..all()
    };
    assert_eq!(list(recoveries).await, [runs[0], runs[2], runs[4]]);
    let summary = &ok(journal
        .runs(&RunFilter {
            finished: Some(true),
            ..all()
        })
        .await)[0];
    assert_eq!(
        (summary.seq, summary.epoch, &summary.trigger),
        (2, 1, &Trigger::command("contract"))
    );
    assert_eq!(
        (summary.created, summary.workflow.as_str()),
        (stamp(4 - 3), "recover")
    );
}

async fn subscribers_see_every_record_in_order(journal: &impl Journal) {
    let mut receiver = journal.subscribe();
    let run = RunId::new(&stamp(0));
    let mut sent = ok(journal
        .append(append_to(run, 0, 1, vec![created("a"), started("s", 1)]))
        .await);
    err(journal.append(append_to(run, 0, 1, vec![created("a")])).await);
    sent.extend(ok(journal
        .append(append_to(run, 2, 1, vec![succeeded("s")]))
        .await));
    let seen: Vec<Record> = std::iter::from_fn(|| receiver.try_recv().ok())
        .map(|record| (*record).clone())
        .collect();
    assert_eq!(seen, sent);
}

async fn blobs_are_kept_by_their_hash(journal: &impl Journal) {
    for bytes in [Vec::new(), vec![7; 200_000]] {
        let hash = ok(journal.put_blob(bytes.clone()).await);
        assert_eq!(hash, codec::hash(&bytes));
        assert_eq!(
            ok(journal.put_blob(bytes.clone()).await),
            hash,
            "storing twice is one blob"
        );
        assert_eq!(ok(journal.blob(hash).await), bytes);
    }
    let unknown = err(journal.blob(Hash32::ZERO).await);
    assert!(
        matches!(unknown, JournalError::UnknownBlob(Hash32::ZERO)),
        "{unknown}"
    );
}

async fn values_are_the_bytes_of_the_records<J: Journal>(journal: &J) {
    let run = RunId::new(&stamp(0));
    ok(journal
        .append(append_to(run, 0, 1, vec![created("a"), started("s", 1)]))
        .await);
    ok(journal
        .append(append_to(run, 2, 1, vec![checkpoint("s", json!(1))]))
        .await);
    let records = ok(journal.read(run).await);
    for after in 0..5 {
        let values = ok(journal.values(run, after).await);
        assert_eq!(values.len() as u64, 3_u64.saturating_sub(after));
        for (seq, value) in (after + 1..).zip(&values) {
            let record = ok(codec::decode(&codec::key(run, seq), value));
            assert_eq!(Some(&record), records.get(seq as usize - 1));
        }
    }
    let unknown = journal.values(RunId::new(&stamp(9)), 0).await;
    assert!(matches!(unknown, Err(JournalError::UnknownRun(_))), "{unknown:?}");
}

async fn of_concurrent_appends_at_one_position_one_wins<J: Journal + 'static>(journal: Arc<J>) {
    let run = RunId::new(&stamp(0));
    ok(journal
        .append(append_to(run, 0, 1, vec![created("a"), started("s", 1)]))
        .await);
    let tasks: Vec<_> = (0..32)
        .map(|n| {
            let journal = Arc::clone(&journal);
            let append = append_to(run, 2, 1, vec![checkpoint("s", json!(n))]);
            tokio::spawn(async move { journal.append(append).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match ok(task.await) {
            Ok(_) => won += 1,
            Err(JournalError::Conflict { .. }) => {}
            Err(other) => panic!("expected a conflict, found {other}"),
        }
    }
    assert_eq!(won, 1, "appends at one position that were taken");
    assert_eq!(ok(journal.read(run).await).len(), 3);
}
