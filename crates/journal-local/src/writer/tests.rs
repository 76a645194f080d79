//! The writer forgets ended runs.

use rekindle_journal::contract::{append_to, created, finished, reopened};
use rekindle_journal::{Journal, RunFilter};
use rekindle_model::event::Outcome;
use uuid::Uuid;

use super::*;
use crate::journal::LocalJournal;
use crate::open::OpenOptions;

#[tokio::test]
async fn the_writer_lets_go_of_runs_that_are_over_once_sled_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = LocalJournal::open(dir.path(), OpenOptions::default())
        .await
        .unwrap();
    let run = |number| RunId(Uuid::from_u128(number));
    let append = async |number, seq, events| {
        let appended = journal.append(append_to(run(number), seq, 1, events)).await;
        appended.unwrap();
    };
    append(1, 0, vec![created("lives")]).await;
    for number in 2..10 {
        append(number, 0, vec![created("ends"), finished(Outcome::Failed)]).await;
        let folds = journal.queue.writer();
        let over = folds.runs.get(&run(number));
        assert!(
            over.is_none_or(|over| over.state.is_none()),
            "the fold of a run that is over"
        );
    }
    // One of them is reopened; another is reopened and ends again.
    append(2, 2, vec![reopened()]).await;
    append(3, 2, vec![reopened(), finished(Outcome::Succeeded)]).await;
    // Listing the runs waits until sled has them all.
    journal.runs(&RunFilter::default()).await.unwrap();
    append(10, 0, vec![created("lives")]).await;
    {
        let writer = journal.queue.writer();
        let mut known: Vec<RunId> = writer.runs.keys().copied().collect();
        known.sort();
        assert_eq!(known, [1, 2, 10].map(run));
        assert!(writer.ended.is_empty(), "{:?}", writer.ended);
    }
    append(4, 2, vec![reopened(), finished(Outcome::Succeeded)]).await;
}
