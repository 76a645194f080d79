//! What a verification says of a whole journal and of each kind of damage, and that it changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{fill, len, open, segments};
use rekindle_journal_local::OpenOptions;
use rekindle_journal_local::verify::{Cost, Verification, verify};

/// Every file below a folder, with its bytes.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => files.extend(tree(&entry)),
            false => drop(files.insert(entry.clone(), fs::read(&entry).unwrap())),
        }
    }
    files
}

fn verified(dir: &Path, case: &str) -> Verification {
    let before = tree(dir);
    let verified = verify(dir).unwrap_or_else(|error| panic!("{case}: failed to {error}"));
    assert!(before == tree(dir), "{case}: something was changed");
    verified
}

/// Three runs in several segments.
async fn journal() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let options = OpenOptions {
        segment_bytes: 2000,
        ..OpenOptions::default()
    };
    fill(dir.path(), 3, 30, options).await;
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_journal_has_no_findings_alone_and_beside_its_owner() {
    let dir = journal().await;
    let alone = verified(dir.path(), "alone");
    assert_eq!(alone.findings, []);
    assert_eq!((alone.runs, alone.records, alone.commits), (3, 33, 30));
    assert_eq!((alone.heads, alone.blobs, alone.without_sled), (3, 1, None));
    assert!(alone.segments > 2, "{}", alone.segments);
    let (owner, _) = open(dir.path()).await;
    let beside = verify(dir.path()).unwrap();
    assert_eq!((beside.findings.as_slice(), beside.records), ([].as_slice(), 33));
    assert!(
        beside
            .without_sled
            .is_some_and(|why| why.contains("another process"))
    );
    owner.close().await;
    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(verified(nothing.path(), "nothing").records, 0);
}

fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at as usize] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn without_sled(dir: &Path) {
    fs::remove_dir_all(dir.join("journal")).unwrap();
}

/// What is done to a journal, what that costs, and what is said of it.
type Case = (&'static str, fn(&Path), Cost, &'static str);

const CASES: &[Case] = &[
    (
        "a record flipped in the log",
        |dir| flip(&segments(dir)[1], 400),
        Cost::Repairable,
        "does not check",
    ),
    (
        "a record flipped in the log, without an index",
        |dir| {
            flip(&segments(dir)[1], 400);
            without_sled(dir);
        },
        Cost::Lost,
        "no other copy",
    ),
    (
        "a segment's header flipped",
        |dir| flip(&segments(dir)[1], 20),
        Cost::Repairable,
        "header does not check",
    ),
    (
        "a segment deleted",
        |dir| fs::remove_file(&segments(dir)[1]).unwrap(),
        Cost::Repairable,
        "missing",
    ),
    (
        "a segment deleted, without an index",
        |dir| {
            fs::remove_file(&segments(dir)[1]).unwrap();
            without_sled(dir);
        },
        Cost::Lost,
        "neither in the log nor in the index",
    ),
    (
        "the first segment deleted, without an index",
        |dir| {
            fs::remove_file(&segments(dir)[0]).unwrap();
            without_sled(dir);
        },
        Cost::Lost,
        "segments 1 to 1 are missing",
    ),
    (
        "the log's last segment gone, without an index",
        |dir| {
            fs::remove_file(segments(dir).last().unwrap()).unwrap();
            without_sled(dir);
        },
        Cost::Lost,
        "was acknowledged",
    ),
    (
        "a write cut off",
        |dir| {
            let path = segments(dir).pop().unwrap();
            let mut bytes = fs::read(&path).unwrap();
            bytes.extend([b'R', b'K']);
            fs::write(path, bytes).unwrap();
        },
        Cost::Repairable,
        "cut off",
    ),
    (
        "no index",
        without_sled,
        Cost::Repairable,
        "the index cannot be read",
    ),
    (
        "an index that cannot be opened",
        |dir| fs::write(dir.join("journal/conf"), b"\xff\x00garbage").unwrap(),
        Cost::Repairable,
        "the index cannot be read",
    ),
    (
        "an index cut short",
        |dir| {
            let db = dir.join("journal/db");
            let file = fs::OpenOptions::new().write(true).open(&db).unwrap();
            file.set_len(len(&db) / 8).unwrap();
        },
        Cost::Repairable,
        "the index",
    ),
    (
        "a blob changed",
        |dir| {
            let blob = fs::read_dir(dir.join("blobs")).unwrap().next().unwrap().unwrap();
            fs::write(blob.path(), b"backuq").unwrap();
        },
        Cost::Lost,
        "its bytes hash to",
    ),
    (
        "a blob deleted",
        |dir| {
            let blob = fs::read_dir(dir.join("blobs")).unwrap().next().unwrap().unwrap();
            fs::remove_file(blob.path()).unwrap();
        },
        Cost::Lost,
        "find blob",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_damage_is_named_with_what_it_costs_and_nothing_is_changed() {
    for (case, hurt, cost, says) in CASES {
        let dir = journal().await;
        hurt(dir.path());
        let found = verified(dir.path(), case);
        assert_eq!(found.worst(), Some(*cost), "{case}: {:#?}", found.findings);
        let said = found.findings.iter().find(|finding| finding.what.contains(says));
        assert!(
            said.is_some_and(|finding| !finding.next.is_empty()),
            "{case}: {:#?}",
            found.findings
        );
        if *cost == Cost::Repairable {
            // What is said to be repaired by itself is.
            open(dir.path()).await.0.close().await;
            let again = verified(dir.path(), case);
            assert_eq!(again.records, 33, "{case}");
            assert!(
                again.worst() <= Some(Cost::Repairable),
                "{case}: {:#?}",
                again.findings
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_record_is_named_with_its_run_number_and_place() {
    let dir = journal().await;
    let segment = segments(dir.path())[1].clone();
    flip(&segment, 400);
    without_sled(dir.path());
    let found = verified(dir.path(), "flipped");
    let lost: Vec<_> = found
        .findings
        .iter()
        .filter(|finding| finding.seq.is_some())
        .collect();
    assert_eq!(lost.len(), 1, "{lost:#?}");
    assert_eq!(lost[0].file, segment);
    assert!(
        lost[0].run.is_some() && lost[0].offset.is_some_and(|at| at <= 400),
        "{lost:#?}"
    );
}

/// An index that was made from a log without a segment holds all that the log holds, and proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_made_from_a_log_that_had_lost_something_vouches_for_nothing() {
    let dir = journal().await;
    fs::remove_file(&segments(dir.path())[1]).unwrap();
    without_sled(dir.path());
    open(dir.path()).await.0.close().await;
    let found = verified(dir.path(), "rebuilt");
    let missing = found
        .findings
        .iter()
        .find(|finding| finding.what.contains("are missing"));
    assert_eq!(
        missing.map(|finding| finding.cost),
        Some(Cost::Lost),
        "{:#?}",
        found.findings
    );
}
