//! What is read beside one run: the list of runs, the stream of records, blobs.

use rekindle_model::event::{Outcome, Record};
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::origin::{RunKind, Trigger};

use super::fixture::{append_to, created, finished, stamp, started, succeeded};
use super::{err, ok};
use crate::api::{Append, Journal, RunFilter};
use crate::codec;
use crate::error::JournalError;

pub(super) async fn runs_are_listed_newest_first_and_filtered(journal: &impl Journal) {
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

pub(super) async fn subscribers_see_every_record_in_order(journal: &impl Journal) {
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

pub(super) async fn blobs_are_kept_by_their_hash(journal: &impl Journal) {
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
