//! What becomes of an append: it is numbered, chained, fenced, and taken whole or not at all.

use std::sync::Arc;

use rekindle_model::event::{Event, Outcome};
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::run::RunState;
use serde_json::{Value, json};

use super::fixture::{
    adopted, append_to, checkpoint, created, finished, stamp, started, succeeded, turn_awaited,
};
use super::{err, ok};
use crate::api::Journal;
use crate::codec;
use crate::error::JournalError;

pub(super) async fn what_is_appended_is_read(journal: &impl Journal) {
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

pub(super) async fn values_are_the_bytes_of_the_records<J: Journal>(journal: &J) {
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

pub(super) async fn records_are_numbered_chained_and_anchored(journal: &impl Journal) {
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

pub(super) async fn a_stale_position_is_a_conflict(journal: &impl Journal) {
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

pub(super) async fn an_adoption_fences_the_epoch_before_it(journal: &impl Journal) {
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

pub(super) async fn an_append_is_taken_whole_or_not_at_all(journal: &impl Journal) {
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
    // Each goes wrong at its last event; what came before must leave no trace in the fold either.
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

pub(super) async fn an_event_that_does_not_fit_a_record_is_refused(journal: &impl Journal) {
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

pub(super) async fn of_concurrent_appends_at_one_position_one_wins<J: Journal + 'static>(journal: Arc<J>) {
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
