//! What is cut off or flipped in the log, with sled beside it and without.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::{Acknowledged, by_run, copy, expect, fill, len, open, open_with, read_all, segments};
use proptest::prelude::*;
use rekindle_journal::contract::stamp;
use rekindle_journal::{Journal, JournalError, codec};
use rekindle_journal_local::{LocalJournal, LogView, OpenError, OpenOptions};
use rekindle_model::id::RunId;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Cut anywhere, in the last of several segments, the log alone gives back each append acknowledged
    /// before the cut, whole, and nothing else.
    #[test]
    fn a_log_cut_anywhere_recovers_the_appends_before_the_cut(
        runs in 1_u64..4, appends in 1_u64..30, segment_bytes in 300_u64..4000, cut in 0.0_f64..=1.0,
    ) {
        runtime().block_on(async {
            let (dir, cut_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let options = OpenOptions { segment_bytes, ..OpenOptions::default() };
            let acknowledged = fill(dir.path(), runs, appends, options.clone()).await;
            copy(dir.path(), cut_dir.path(), false);
            let all = segments(cut_dir.path());
            let last = all.last().unwrap();
            let at = (len(last) as f64 * cut) as u64;
            fs::OpenOptions::new().write(true).open(last).unwrap().set_len(at).unwrap();

            let before = |lens: &[u64]| lens.len() < all.len() || lens[all.len() - 1] <= at;
            let survives = acknowledged.iter().take_while(|(_, lens)| before(lens));
            let (journal, report) = open_with(cut_dir.path(), options.clone()).await;
            assert_eq!(report.damage, [], "a torn tail is no damage");
            expect(&journal, &by_run(survives), &format!("cut at {at}")).await;
            // What was appended after the cut is there when the journal is opened again.
            let grown = read_all(&journal).await.into_iter().map(|(run, records)| (run, records.unwrap())).collect();
            journal.close().await;
            let (journal, report) = open_with(cut_dir.path(), options).await;
            assert_eq!((report.damage, report.rebuilt), (vec![], vec![]));
            expect(&journal, &grown, "opened again").await;
        });
    }
}

/// With sled beside it, a log that lost its end is made whole again from sled, for a third open without it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_cut_log_has_lost_is_logged_again_from_sled() {
    let dir = tempfile::tempdir().unwrap();
    let acknowledged = fill(dir.path(), 2, 12, OpenOptions::default()).await;
    let whole = len(&segments(dir.path())[0]);
    for at in [0, 30, 64, 100, whole / 2, whole - 1] {
        let cut = tempfile::tempdir().unwrap();
        copy(dir.path(), cut.path(), true);
        fs::OpenOptions::new()
            .write(true)
            .open(&segments(cut.path())[0])
            .unwrap()
            .set_len(at)
            .unwrap();
        let (journal, report) = open(cut.path()).await;
        assert!(report.relogged > 0, "cut at {at}: {report:?}");
        journal.close().await;
        fs::remove_dir_all(cut.path().join("journal")).unwrap();
        let (journal, _) = open(cut.path()).await;
        expect(&journal, &by_run(&acknowledged), &format!("cut at {at}")).await;
    }
}

/// Every byte, one bit of it. Beside sled nothing is lost; from the log alone each run is whole, or refused by
/// name, or shorter with the damage named: never anything that was not written.
#[test]
fn a_flipped_byte_is_repaired_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let acknowledged = by_run(&runtime().block_on(fill(dir.path(), 2, 4, OpenOptions::default())));
    let bytes = len(&segments(dir.path())[0]) as usize;
    // Opening waits for the disk most of the time.
    const THREADS: usize = 8;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (dir, acknowledged) = (dir.path(), &acknowledged);
            scope.spawn(move || {
                let flip = async || {
                    for at in (thread..bytes).step_by(THREADS) {
                        flip_with_log_alone(dir, at, acknowledged).await;
                        // Beside sled a sample does: the scan is the same.
                        if at % 7 == 0 {
                            flip_beside_sled(dir, at, acknowledged).await;
                        }
                    }
                };
                runtime().block_on(flip());
            });
        }
    });
}

fn flipped_copy(dir: &Path, at: usize, with_sled: bool) -> tempfile::TempDir {
    let flipped = tempfile::tempdir().unwrap();
    copy(dir, flipped.path(), with_sled);
    let path = &segments(flipped.path())[0];
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1 << (at % 8);
    fs::write(path, bytes).unwrap();
    flipped
}

async fn flip_beside_sled(dir: &Path, at: usize, acknowledged: &Acknowledged) {
    let flipped = flipped_copy(dir, at, true);
    let (journal, report) = open(flipped.path()).await;
    assert!(!report.damage.is_empty(), "byte {at}: unnoticed, {report:?}");
    expect(&journal, acknowledged, &format!("byte {at}, beside sled")).await;
}

async fn flip_with_log_alone(dir: &Path, at: usize, acknowledged: &Acknowledged) {
    let flipped = flipped_copy(dir, at, false);
    let (journal, report) = open(flipped.path()).await;
    assert!(!report.damage.is_empty(), "byte {at}: unnoticed, {report:?}");
    for (run, records) in read_all(&journal).await {
        match records {
            Ok(records) => assert!(acknowledged[&run].starts_with(&records), "byte {at}: {records:?}"),
            Err(JournalError::Quarantined { .. }) => {
                assert!(
                    report.quarantined.iter().any(|(named, _)| *named == run),
                    "byte {at}: {report:?}"
                );
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
}

/// Opens sled. The threads of one that was closed hold its lock a moment longer.
async fn open_sled(dir: &Path) -> sled::Db {
    for _ in 0..500 {
        if let Ok(db) = sled::open(dir) {
            return db;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sled::open(dir).unwrap()
}

/// Expects that a run is neither read nor continued, and that another is whole.
async fn expect_quarantined(journal: &LocalJournal, acknowledged: &Acknowledged, hurt: RunId, whole: RunId) {
    let next = crate::support::next(hurt, acknowledged[&hurt].len() as u64);
    for refused in [
        journal.read(hurt).await.map(drop),
        journal.append(next).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        assert!(
            matches!(&error, JournalError::Quarantined { run, .. } if *run == hurt),
            "{error}"
        );
    }
    assert_eq!(*journal.read(whole).await.unwrap(), acknowledged[&whole]);
}

/// A record lost in the middle of one run, in the log and in sled, stops that run and no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_lost_a_record_is_quarantined_and_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let filled = fill(dir.path(), 2, 8, OpenOptions::default()).await;
    let acknowledged = by_run(&filled);
    let (hurt, whole) = (filled[4].0[0].run, filled[5].0[0].run);
    // The byte before the end mark of the fifth append's frame: the end of a value of the first run.
    let path = &segments(dir.path())[0];
    let mut bytes = fs::read(path).unwrap();
    bytes[filled[4].1[0] as usize - 2] ^= 0x10;
    fs::write(path, bytes).unwrap();
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    for _ in 0..2 {
        let (journal, report) = open(dir.path()).await;
        assert_eq!(report.damage.len(), 1);
        assert_eq!(report.damage[0].offset, filled[3].1[0]);
        assert_eq!(
            report.quarantined.iter().map(|(run, _)| *run).collect::<Vec<_>>(),
            [hurt]
        );
        expect_quarantined(&journal, &acknowledged, hurt, whole).await;
        journal.close().await;
    }
}

/// Returns the key under which sled holds a record.
fn sled_key(run: RunId, seq: u64) -> Vec<u8> {
    [b"e".as_slice(), &codec::key(run, seq)].concat()
}

/// Records changed, dropped, or exchanged for others that check, under sled's own checksums.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_fails_in_sled_is_taken_from_the_log_and_put_back() {
    type Hurt<'a> = &'a dyn Fn(&sled::Db, RunId);
    let cases: &[(&str, Hurt<'_>)] = &[
        ("changed", &|db, run| {
            let mut value = db.get(sled_key(run, 3)).unwrap().unwrap().to_vec();
            value[90] ^= 1;
            db.insert(sled_key(run, 3), value).unwrap();
        }),
        ("first dropped", &|db, run| {
            drop(db.remove(sled_key(run, 1)).unwrap())
        }),
        ("last dropped", &|db, run| {
            drop(db.remove(sled_key(run, 9)).unwrap())
        }),
        ("all dropped", &|db, run| {
            (1..=9).for_each(|seq| drop(db.remove(sled_key(run, seq)).unwrap()))
        }),
        ("exchanged", &|db, run| {
            let mut other =
                codec::decode(&codec::key(run, 4), &db.get(sled_key(run, 4)).unwrap().unwrap()).unwrap();
            other.time = stamp(99);
            db.insert(sled_key(run, 4), codec::encode(&other).unwrap())
                .unwrap();
        }),
    ];
    for (case, hurt) in cases {
        let dir = tempfile::tempdir().unwrap();
        let acknowledged = by_run(&fill(dir.path(), 1, 8, OpenOptions::default()).await);
        let run = *acknowledged.keys().next().unwrap();
        let db = open_sled(&dir.path().join("journal")).await;
        hurt(&db, run);
        drop(db);
        let (journal, report) = open(dir.path()).await;
        assert_eq!(report.rebuilt, Vec::<String>::new(), "{case}");
        assert_eq!(*journal.read(run).await.unwrap(), acknowledged[&run], "{case}");
        // Put back: the log is not needed for it any more.
        fs::rename(dir.path().join("log"), dir.path().join("away")).unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        assert_eq!(
            *journal.read(run).await.unwrap(),
            acknowledged[&run],
            "{case}, put back"
        );
    }
}

/// sled's commit number says that it has everything; where a run stands says otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_sled_has_forgotten_or_remembers_as_it_was_costs_a_rebuild() {
    for forgotten in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId::new(&stamp(0));
        let key = [b"r".as_slice(), run.as_bytes()].concat();
        let sled = dir.path().join("journal");
        let (journal, _) = open(dir.path()).await;
        let mut records = journal.append(crate::support::next(run, 0)).await.unwrap();
        journal.close().await;
        let stale = open_sled(&sled).await.get(&key).unwrap().unwrap();
        let (journal, _) = open(dir.path()).await;
        records.extend(journal.append(crate::support::next(run, 2)).await.unwrap());
        journal.close().await;
        let db = open_sled(&sled).await;
        match forgotten {
            true => drop(db.remove(&key).unwrap()),
            false => drop(db.insert(&key, stale).unwrap()),
        }
        drop(db);
        let (journal, report) = open(dir.path()).await;
        assert_eq!(
            (report.rebuilt.len(), report.set_aside.len()),
            (1, 1),
            "{report:?}"
        );
        expect(&journal, &[(run, records)].into(), "rebuilt").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_fails_in_sled_and_in_the_log_quarantines_its_run_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let filled = fill(dir.path(), 2, 8, OpenOptions::default()).await;
    let acknowledged = by_run(&filled);
    let (hurt, whole) = (filled[4].0[0].run, filled[5].0[0].run);
    let db = open_sled(&dir.path().join("journal")).await;
    db.remove(sled_key(hurt, filled[4].0[0].seq)).unwrap();
    drop(db);
    let path = &segments(dir.path())[0];
    let mut bytes = fs::read(path).unwrap();
    bytes[filled[4].1[0] as usize - 2] ^= 0x10;
    fs::write(path, bytes).unwrap();
    let (journal, report) = open(dir.path()).await;
    assert_eq!(report.damage.len(), 1);
    expect_quarantined(&journal, &acknowledged, hurt, whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_a_newer_or_an_older_format_is_refused_and_left_as_it_is() {
    for found in [9, 2] {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), 1, 2, OpenOptions::default()).await;
        let path = &segments(dir.path())[0];
        let mut bytes = fs::read(path).unwrap();
        bytes[11] = found;
        let crc = crc32c::crc32c(&bytes[..60]).to_be_bytes();
        bytes[60..64].copy_from_slice(&crc);
        fs::write(path, &bytes).unwrap();
        let error = LocalJournal::open(dir.path(), OpenOptions::default())
            .await
            .unwrap_err();
        let named = match &error {
            OpenError::NewerFormat { found, supported, .. } => (*found, *supported),
            OpenError::OlderFormat { found, supported, .. } => (*found, *supported),
            other => panic!("{other}"),
        };
        assert_eq!(named, if found == 9 { (9, 4) } else { (2, 3) }, "{error}");
        assert_eq!(fs::read(path).unwrap(), bytes);
    }
}

/// Cut between two commits, nothing in the log itself is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_has_lost_whole_commits_at_its_end_is_noticed_with_sled_and_without() {
    for with_sled in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let filled = fill(dir.path(), 1, 6, OpenOptions::default()).await;
        let run = filled[0].0[0].run;
        let path = &segments(dir.path())[0];
        fs::OpenOptions::new()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(filled[3].1[0])
            .unwrap();
        if !with_sled {
            fs::remove_dir_all(dir.path().join("journal")).unwrap();
        }
        let (_, viewed) = LogView::open(dir.path()).await.unwrap();
        let survives = if with_sled { &filled[..] } else { &filled[..4] };
        let records = &by_run(survives)[&run];
        let (journal, report) = open(dir.path()).await;
        assert!(
            report.damage[0].what.contains("commit 6 was acknowledged"),
            "{report:?}"
        );
        assert_eq!(viewed.damage, report.damage);
        assert_eq!(report.relogged, if with_sled { 2 } else { 0 });
        assert_eq!(&*journal.read(run).await.unwrap(), records);
        journal
            .append(crate::support::next(run, records.len() as u64))
            .await
            .unwrap();
        let told = journal.head().commit;
        assert!(
            told > 6,
            "commit {told} has been told to somebody already, as another one"
        );
        journal.close().await;
        let (_, report) = open(dir.path()).await;
        assert!(!report.damage.is_empty(), "it passes for a whole one: {report:?}");
    }
}
