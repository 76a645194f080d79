//! What sled 0.34.7 can be left in by a crash or a disk costs a rebuild, never a record; and what else can
//! be wrong with a workspace when it is opened.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::{by_run, copy, expect, fill, len, next, open, open_with, read_all, segments};
use rekindle_journal::contract::{append_to, checkpoint, created, finished, reopened, stamp, succeeded};
use rekindle_journal::{Journal, JournalError, RunFilter};
use rekindle_journal_local::{LocalJournal, OpenError, OpenOptions};
use rekindle_model::event::Outcome;
use rekindle_model::id::RunId;
use serde_json::json;

/// Fills a journal, hurts its sled, and expects every record back. Returns whether sled was set aside.
async fn hurt(case: &str, hurt: impl Fn(&Path)) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let acknowledged = by_run(&fill(dir.path(), 3, 40, OpenOptions::default()).await);
    hurt(&dir.path().join("journal"));
    let (journal, report) = open(dir.path()).await;
    assert_eq!(report.damage, [], "{case}");
    expect(&journal, &acknowledged, case).await;
    journal.close().await;
    let (_, again) = open(dir.path()).await;
    assert_eq!(again.rebuilt, Vec::<String>::new(), "{case}: rebuilt twice");
    assert_eq!(
        report.set_aside.iter().filter(|path| path.exists()).count(),
        report.set_aside.len(),
        "{case}"
    );
    !report.set_aside.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_conf_costs_a_rebuild() {
    assert!(
        hurt("garbage", |sled| fs::write(sled.join("conf"), b"\xff\x00garbage")
            .unwrap())
        .await
    );
    // sled takes an empty one for a new one.
    hurt("empty", |sled| fs::write(sled.join("conf"), b"").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_snapshot_costs_a_rebuild() {
    assert!(
        hurt("empty", |sled| fs::write(
            sled.join("snap.0000000000000000.generating"),
            b""
        )
        .unwrap())
        .await
    );
}

/// Fills a journal, hurts its sled, and opens it with little patience. Expects every record back, by a rebuild.
async fn impatient(case: &str, hurt: impl Fn(&Path) -> Option<fs::File>) {
    let dir = tempfile::tempdir().unwrap();
    let acknowledged = by_run(&fill(dir.path(), 2, 20, OpenOptions::default()).await);
    let held = hurt(&dir.path().join("journal"));
    let options = OpenOptions {
        sled_timeout: Duration::from_millis(400),
        ..OpenOptions::default()
    };
    let (journal, report) = open_with(dir.path(), options).await;
    assert_eq!(
        (report.rebuilt.len(), report.set_aside.len()),
        (1, 1),
        "{case}: {report:?}"
    );
    expect(&journal, &acknowledged, case).await;
    drop(held);
}

/// Opening a pipe that nobody writes to never returns.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_that_hangs_costs_a_rebuild() {
    impatient("hangs", |sled| {
        let conf = sled.join("conf");
        fs::remove_file(&conf).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &conf, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        None
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_sleds_own_that_is_never_let_go_of_costs_a_rebuild() {
    impatient("held", |sled| {
        let held = fs::File::open(sled.join("db")).unwrap();
        rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
        Some(held)
    })
    .await;
}

/// Values of more than some 128 KiB go into files that sled does not sync. Ours never do.
#[tokio::test(flavor = "multi_thread")]
async fn no_value_becomes_a_file_of_sleds_own() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunId::new(&stamp(0));
    let (journal, _) = open(dir.path()).await;
    journal.append(crate::support::next(run, 0)).await.unwrap();
    let large = |len| vec![checkpoint("s", json!({ "large": "x".repeat(len) }))];
    journal.append(append_to(run, 2, 1, large(3800))).await.unwrap();
    let refused = journal
        .append(append_to(run, 3, 1, large(200_000)))
        .await
        .unwrap_err();
    assert!(matches!(refused, JournalError::TooLarge { .. }), "{refused}");
    journal.put_blob(vec![7; 300_000]).await.unwrap();
    journal.close().await;
    let files = fs::read_dir(dir.path().join("journal/blobs")).map_or(0, Iterator::count);
    assert_eq!(files, 0);
}

/// Its flush is no fsync, and can hang: nothing waits for it, and nothing needs it.
#[test]
fn sled_is_never_asked_to_flush_and_its_cache_is_small() {
    let sled = include_str!("../../src/store.rs");
    assert!(sled.contains("sled::Config"), "sled is named elsewhere");
    for asked in [".flush()", ".flush_async("] {
        assert!(!sled.contains(asked), "{asked}");
    }
    assert_eq!(OpenOptions::default().cache_bytes, 64 << 20);
}

/// What sled had not written out by itself is gone after a power cut: its folder is as it was a while ago.
#[tokio::test(flavor = "multi_thread")]
async fn a_sled_that_went_back_in_time_costs_a_replay() {
    let dir = tempfile::tempdir().unwrap();
    let then = tempfile::tempdir().unwrap();
    fill(dir.path(), 2, 10, OpenOptions::default()).await;
    crate::support::copy_dir(&dir.path().join("journal"), &then.path().join("journal"));
    let (journal, _) = open(dir.path()).await;
    for (run, records) in read_all(&journal).await {
        let seq = records.unwrap().len() as u64;
        journal.append(crate::support::next(run, seq)).await.unwrap();
    }
    let acknowledged = read_all(&journal).await;
    let acknowledged = acknowledged
        .into_iter()
        .map(|(run, records)| (run, records.unwrap()))
        .collect();
    journal.close().await;
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    crate::support::copy_dir(&then.path().join("journal"), &dir.path().join("journal"));
    let (journal, report) = open(dir.path()).await;
    assert_eq!(
        (report.replayed, report.rebuilt.len(), report.damage.len()),
        (2, 0, 0)
    );
    expect(&journal, &acknowledged, "went back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_folder_costs_a_replay() {
    hurt("deleted", |sled| fs::remove_dir_all(sled).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reopened_run_is_listed_so_also_when_the_list_is_made_again_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (open_again, over_again) = (RunId::new(&stamp(0)), RunId::new(&stamp(1)));
    let (journal, _) = open(dir.path()).await;
    for run in [open_again, over_again] {
        for (seq, event) in (0..).zip([created("a"), finished(Outcome::Failed), reopened()]) {
            journal.append(append_to(run, seq, 1, vec![event])).await.unwrap();
        }
    }
    let ended = vec![finished(Outcome::Succeeded)];
    journal.append(append_to(over_again, 3, 1, ended)).await.unwrap();
    journal.close().await;
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let (journal, report) = open(dir.path()).await;
    assert!(report.replayed > 0, "the list was made again");
    let listed = journal.runs(&RunFilter::default()).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|run| (run.run, run.outcome)).collect();
    assert_eq!(
        listed,
        [(over_again, Some(Outcome::Succeeded)), (open_again, None)]
    );
    // What is open again takes what a run that is under way takes.
    let ended = vec![finished(Outcome::Succeeded)];
    journal.append(append_to(open_again, 3, 1, ended)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_costs_no_record() {
    hurt("snapshots", |sled| {
        for entry in fs::read_dir(sled).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.file_name().unwrap().to_string_lossy().starts_with("snap.") {
                fs::write(entry, b"\x01\x02\x03").unwrap();
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_a_file_costs_a_rebuild() {
    assert!(
        hurt("file", |sled| {
            fs::remove_dir_all(sled).unwrap();
            fs::write(sled, b"not a folder").unwrap();
        })
        .await
    );
}

/// Cut and overwritten at several places: sled goes back in time, refuses, or panics; the records stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_or_overwritten_db_file_costs_no_record() {
    for share in [0, 1, 2, 3, 5, 7] {
        hurt(&format!("cut to {share}/8"), |sled| {
            let db = sled.join("db");
            fs::OpenOptions::new()
                .write(true)
                .open(&db)
                .unwrap()
                .set_len(len(&db) * share / 8)
                .unwrap();
        })
        .await;
        hurt(&format!("zeros at {share}/8"), |sled| {
            let db = sled.join("db");
            let mut bytes = fs::read(&db).unwrap();
            let at = bytes.len() * share as usize / 8;
            let end = bytes.len().min(at + 3000);
            bytes[at..end].fill(0);
            fs::write(&db, bytes).unwrap();
        })
        .await;
        hurt(&format!("flips from {share}"), |sled| {
            let db = sled.join("db");
            let mut bytes = fs::read(&db).unwrap();
            let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
            bytes
                .iter_mut()
                .take(used)
                .skip(share as usize * 11)
                .step_by(97)
                .for_each(|byte| *byte ^= 4);
            fs::write(&db, bytes).unwrap();
        })
        .await;
    }
}

/// First creation, cut off after each of its steps, as files show it.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_creation_cut_off_anywhere_can_be_gone_on_with() {
    let header = {
        let whole = tempfile::tempdir().unwrap();
        fill(whole.path(), 1, 1, OpenOptions::default()).await;
        fs::read(&segments(whole.path())[0]).unwrap()[..64].to_vec()
    };
    type Make<'a> = &'a dyn Fn(&Path);
    let cases: &[(&str, Make<'_>)] = &[
        ("no folder", &|_| {}),
        ("a folder", &|dir| fs::create_dir(dir).unwrap()),
        ("a lock", &|dir| {
            fs::create_dir(dir).unwrap();
            fs::write(dir.join("lock"), b"").unwrap();
        }),
        ("a log", &|dir| fs::create_dir_all(dir.join("log")).unwrap()),
        ("an empty sled", &|dir| {
            fs::create_dir_all(dir.join("journal")).unwrap()
        }),
        ("an empty conf", &|dir| {
            fs::create_dir_all(dir.join("journal")).unwrap();
            fs::write(dir.join("journal/conf"), b"").unwrap();
            fs::write(dir.join("journal/db"), b"").unwrap();
        }),
    ];
    let temp = tempfile::tempdir().unwrap();
    for (n, (case, make)) in cases.iter().enumerate() {
        let dir = temp.path().join(n.to_string());
        make(&dir);
        usable(&dir, case).await;
    }
    for cut in [0, 1, 8, 63, 64] {
        let dir = temp.path().join(format!("header-{cut}"));
        fs::create_dir_all(dir.join("log")).unwrap();
        fs::write(dir.join("log/0000000001"), &header[..cut]).unwrap();
        usable(&dir, &format!("{cut} bytes of a segment's header")).await;
    }
    let dir = temp.path().join("zeros");
    fs::create_dir_all(dir.join("log")).unwrap();
    fs::write(dir.join("log/0000000001"), [0; 64]).unwrap();
    usable(&dir, "a segment's header of zeros").await;
}

async fn usable(dir: &Path, case: &str) {
    let run = RunId::new(&stamp(0));
    let (journal, report) = open(dir).await;
    assert_eq!((report.commit, report.damage.len()), (0, 0), "{case}");
    let records = journal
        .append(append_to(run, 0, 1, vec![created("a")]))
        .await
        .unwrap();
    journal.close().await;
    let (journal, report) = open(dir).await;
    assert_eq!((report.commit, report.damage.len()), (1, 0), "{case}");
    assert_eq!(*journal.read(run).await.unwrap(), records, "{case}");
}

/// A power cut can leave blocks of the last write as zeros. Nobody was told of it, so it is cut off.
#[tokio::test(flavor = "multi_thread")]
async fn a_last_frame_with_blocks_of_zeros_is_torn_and_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let filled = fill(dir.path(), 1, 6, OpenOptions::default()).await;
    let path = segments(dir.path())[0].clone();
    let ends: Vec<u64> = filled.iter().map(|(_, lens)| lens[0]).collect();
    let bytes = fs::read(&path).unwrap();
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let mut torn = bytes;
    torn[ends[4] as usize + 99] = 1;
    torn[ends[4] as usize + 100..].fill(0);
    torn.extend([0; 5000]);
    fs::write(&path, torn).unwrap();
    // A write that was cut off was not noted either.
    fs::remove_file(dir.path().join("head")).unwrap();
    let (journal, report) = open(dir.path()).await;
    assert_eq!((report.damage.len(), report.torn_bytes), (0, 100));
    expect(&journal, &by_run(&filled[..5]), "zeros").await;
    journal.close().await;
    // What was appended since is shorter than what was cut off: nothing of that may show behind it.
    let (_, report) = open(dir.path()).await;
    assert_eq!((report.damage.len(), report.torn_bytes), (0, 0));
}

/// A sync that need not make a new length durable is a third faster: so the file is longer than what it holds, as
/// long as it is written to.
#[tokio::test(flavor = "multi_thread")]
async fn room_is_reserved_while_a_segment_is_written_to_and_given_back_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path()).await;
    let run = RunId::new(&stamp(0));
    let mut lens = Vec::new();
    for seq in [0, 2, 3] {
        journal.append(next(run, seq)).await.unwrap();
        lens.push(fs::metadata(&segments(dir.path())[0]).unwrap().len());
    }
    assert!(lens[0] > 256 << 10 && lens[0] == lens[2], "{lens:?}");
    // As a kill leaves it.
    let killed = tempfile::tempdir().unwrap();
    copy(dir.path(), killed.path(), false);
    journal.close().await;
    assert!(fs::metadata(&segments(dir.path())[0]).unwrap().len() < 4096);
    let records = 4;
    for dir in [dir.path(), killed.path()] {
        let (journal, report) = open(dir).await;
        assert_eq!((report.damage.len(), report.torn_bytes), (0, 0));
        assert_eq!(journal.read(run).await.unwrap().len(), records);
        journal.append(next(run, records as u64)).await.unwrap();
        journal.close().await;
        let (_, report) = open(dir).await;
        assert_eq!((report.damage.len(), report.torn_bytes), (0, 0));
    }
}

/// Dropped or closed, the same process can open the journal again at once, and sled needs no rebuild.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_journal_can_be_opened_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunId::new(&stamp(0));
    for turn in 0..30_u64 {
        let (journal, report) = open(dir.path()).await;
        assert_eq!(
            (report.rebuilt.len(), report.damage.len(), report.torn_bytes),
            (0, 0, 0),
            "turn {turn}"
        );
        let seq = if turn == 0 { 0 } else { turn + 1 };
        assert_eq!(
            journal.append(crate::support::next(run, seq)).await.unwrap()[0].seq,
            seq + 1
        );
        match turn % 2 {
            0 => journal.close().await,
            _ => drop(journal),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_owner_is_told_who_holds_the_workspace() {
    let dir = tempfile::tempdir().unwrap();
    let (_journal, _) = open(dir.path()).await;
    let error = LocalJournal::open(dir.path(), OpenOptions::default())
        .await
        .unwrap_err();
    let own = std::process::id();
    assert!(
        matches!(error, OpenError::Held { pid: Some(pid), .. } if pid == own),
        "{error}"
    );
    assert!(error.to_string().contains(&own.to_string()), "{error}");
}

/// The log's folder is taken away, so that the next segment cannot be made: that append fails, nothing is
/// acknowledged from there on, and what was acknowledged before is there again once the cause is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_poisons_the_journal_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = OpenOptions {
        segment_bytes: 1,
        ..OpenOptions::default()
    };
    let (journal, _) = crate::support::open_with(dir.path(), options).await;
    let run = RunId::new(&stamp(0));
    let mut acknowledged = journal.append(crate::support::next(run, 0)).await.unwrap();
    acknowledged.extend(journal.append(crate::support::next(run, 2)).await.unwrap());
    let (log, away) = (dir.path().join("log"), dir.path().join("away"));
    fs::rename(&log, &away).unwrap();
    let error = journal.append(crate::support::next(run, 3)).await.unwrap_err();
    assert!(matches!(error, JournalError::Io { .. }), "{error}");
    fs::rename(&away, &log).unwrap();
    for other in [run, RunId::new(&stamp(1))] {
        let error = journal.append(crate::support::next(other, 0)).await.unwrap_err();
        assert!(matches!(error, JournalError::Poisoned { .. }), "{error}");
    }
    let error = journal.put_blob(vec![1]).await.unwrap_err();
    assert!(matches!(error, JournalError::Poisoned { .. }), "{error}");
    journal.close().await;
    let (journal, report) = open(dir.path()).await;
    assert_eq!((report.commit, report.damage.len()), (2, 0));
    expect(&journal, &[(run, acknowledged)].into(), "after the failure").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_blob_is_named_and_an_unfinished_one_is_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path()).await;
    let hash = journal.put_blob(b"definition".to_vec()).await.unwrap();
    let path = dir.path().join("blobs").join(hash.to_string());
    fs::write(&path, b"definitiom").unwrap();
    let error = journal.blob(hash).await.unwrap_err();
    assert!(
        matches!(error, JournalError::BlobCorrupt { expected, .. } if expected == hash),
        "{error}"
    );
    assert_eq!(journal.put_blob(b"definition".to_vec()).await.unwrap(), hash);
    assert_eq!(journal.blob(hash).await.unwrap(), b"definition");
    journal.close().await;
    let unfinished = dir.path().join("blobs/tmp-half");
    fs::write(&unfinished, b"def").unwrap();
    drop(open(dir.path()).await);
    assert!(!unfinished.exists());
}

/// Several tasks at once share syncs, and each run is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_of_128_tasks_share_commits() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path()).await;
    let journal = std::sync::Arc::new(journal);
    let tasks: Vec<_> = (0..128)
        .map(|at| {
            let journal = std::sync::Arc::clone(&journal);
            tokio::spawn(async move {
                let run = RunId::new(&stamp(at));
                let mut records = Vec::new();
                for _ in 0..8 {
                    records.extend(
                        journal
                            .append(crate::support::next(run, records.len() as u64))
                            .await
                            .unwrap(),
                    );
                }
                let last = append_to(
                    run,
                    records.len() as u64,
                    1,
                    vec![succeeded("s"), finished(Outcome::Cancelled)],
                );
                records.extend(journal.append(last).await.unwrap());
                (run, records)
            })
        })
        .collect();
    let mut acknowledged = crate::support::Acknowledged::new();
    for task in tasks {
        acknowledged.extend([task.await.unwrap()]);
    }
    let stats = journal.stats();
    assert_eq!((stats.appends, stats.records), (128 * 9, 128 * 11));
    assert!(
        stats.largest_group > 1 && stats.commits < stats.appends,
        "{stats:?}"
    );
    assert_eq!(
        journal
            .runs(&RunFilter {
                finished: Some(true),
                ..Default::default()
            })
            .await
            .unwrap()
            .len(),
        128
    );
    drop(journal);
    let (journal, _) = open(dir.path()).await;
    for (run, records) in read_all(&journal).await {
        assert_eq!(records.unwrap(), acknowledged[&run]);
    }
}
