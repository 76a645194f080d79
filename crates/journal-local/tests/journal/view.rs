//! The log, looked at beside its owner and after a crash.

use std::fs;

use crate::support::{by_run, copy, fill, len, next, open, segments};
use rekindle_journal::contract::stamp;
use rekindle_journal::{Journal, JournalError, RunFilter, codec};
use rekindle_journal_local::{LogView, OpenOptions};
use rekindle_model::id::RunId;

#[tokio::test(flavor = "multi_thread")]
async fn a_view_beside_the_owner_shows_what_was_acknowledged_and_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path()).await;
    let run = RunId::new(&stamp(0));
    let mut records = Vec::new();
    for _ in 0..4 {
        let append = next(run, records.len() as u64);
        records.extend(journal.append(append).await.unwrap());
        let hash = journal.put_blob(b"large".to_vec()).await.unwrap();
        let (view, report) = LogView::open(dir.path()).await.unwrap();
        assert_eq!((report.damage, report.runs), (vec![], 1));
        assert_eq!(*view.read(run).await.unwrap(), records);
        assert_eq!(view.blob(hash).await.unwrap(), b"large");
        let all = RunFilter::default();
        assert_eq!(view.runs(&all).await.unwrap(), journal.runs(&all).await.unwrap());
        let refused = view.append(next(run, records.len() as u64)).await.unwrap_err();
        assert!(matches!(refused, JournalError::ReadOnly { .. }), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_of_a_log_cut_anywhere_shows_its_whole_part_and_leaves_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let filled = fill(dir.path(), 2, 6, OpenOptions::default()).await;
    let whole = len(&segments(dir.path())[0]);
    for at in (0..=whole).step_by(23) {
        let cut = tempfile::tempdir().unwrap();
        copy(dir.path(), cut.path(), false);
        let path = &segments(cut.path())[0];
        fs::OpenOptions::new()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(at)
            .unwrap();
        let (view, report) = LogView::open(cut.path()).await.unwrap();
        assert_eq!(report.damage, [], "cut at {at}: a torn tail is no damage");
        let expect = by_run(filled.iter().take_while(|(_, lens)| lens[0] <= at));
        assert_eq!(report.runs, expect.len(), "cut at {at}");
        for (run, records) in &expect {
            assert_eq!(&*view.read(*run).await.unwrap(), records, "cut at {at}");
        }
        assert_eq!(len(path), at, "a view has cut it off");
        let names: Vec<_> = fs::read_dir(cut.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["log"], "a view has made something");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_lost_a_record_is_listed_as_quarantined_by_a_view_and_by_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let filled = fill(dir.path(), 2, 8, OpenOptions::default()).await;
    let (hurt, whole) = (filled[4].0[0].run, filled[5].0[0].run);
    let path = &segments(dir.path())[0];
    let mut bytes = fs::read(path).unwrap();
    // A record in the middle, and then the first one too, so that nothing of the run is left to be named by.
    let first = 64 + 60 + codec::KEY_LEN + 4;
    for (at, workflow) in [(filled[4].1[0] as usize - 2, "backup"), (first, "?")] {
        bytes[at] ^= 0x10;
        fs::write(path, &bytes).unwrap();
        let _ = fs::remove_dir_all(dir.path().join("journal"));
        let (view, _) = LogView::open(dir.path()).await.unwrap();
        let (journal, _) = open(dir.path()).await;
        for journal in [&view as &dyn Journal, &journal] {
            let runs = journal.runs(&RunFilter::default()).await.unwrap();
            let listed = runs.iter().find(|run| run.run == hurt).unwrap();
            assert!(listed.quarantined.is_some(), "{listed:?}");
            assert_eq!(listed.workflow, workflow);
            let filter = RunFilter {
                finished: Some(false),
                ..RunFilter::default()
            };
            let resumable: Vec<RunId> = journal
                .runs(&filter)
                .await
                .unwrap()
                .iter()
                .map(|run| run.run)
                .collect();
            assert_eq!(resumable, [whole]);
        }
        journal.close().await;
    }
}
