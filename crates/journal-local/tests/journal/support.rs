//! Small journals on disk, and what was acknowledged of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rekindle_journal::contract::{append_to, checkpoint, created, stamp, started};
use rekindle_journal::{Append, Journal, JournalError, RunFilter};
use rekindle_journal_local::{LocalJournal, OpenOptions, OpenReport};
use rekindle_model::event::Record;
use rekindle_model::id::RunId;
use serde_json::json;

/// What was acknowledged, by run.
pub(crate) type Acknowledged = BTreeMap<RunId, Vec<Record>>;

pub(crate) async fn open(dir: &Path) -> (LocalJournal, OpenReport) {
    open_with(dir, OpenOptions::default()).await
}

pub(crate) async fn open_with(dir: &Path, options: OpenOptions) -> (LocalJournal, OpenReport) {
    LocalJournal::open(dir, options)
        .await
        .unwrap_or_else(|error| panic!("failed to {error}"))
}

/// Returns the append that continues a run: its creation first, then one checkpoint after another.
pub(crate) fn next(run: RunId, seq: u64) -> Append {
    match seq {
        0 => append_to(run, 0, 1, vec![created("backup"), started("s", 1)]),
        _ => append_to(run, seq, 1, vec![checkpoint("s", json!({ "at": seq }))]),
    }
}

/// Appends `appends` times, in turn to `runs` runs. Returns what was acknowledged, in order, each with the
/// log's segments and where their last frame ended then.
pub(crate) async fn fill(
    dir: &Path,
    runs: u64,
    appends: u64,
    options: OpenOptions,
) -> Vec<(Vec<Record>, Vec<u64>)> {
    let (journal, _) = open_with(dir, options).await;
    journal.put_blob(b"backup".to_vec()).await.unwrap();
    let runs: Vec<RunId> = (0..runs).map(|at| RunId::new(&stamp(at))).collect();
    let mut seqs = BTreeMap::new();
    let mut acknowledged = Vec::new();
    for run in runs.iter().cycle().take(appends as usize) {
        let seq = seqs.entry(*run).or_insert(0);
        let records = journal.append(next(*run, *seq)).await.unwrap();
        *seq += records.len() as u64;
        acknowledged.push((records, segments(dir).iter().map(|path| ends(path)).collect()));
    }
    journal.close().await;
    acknowledged
}

pub(crate) fn by_run<'a>(appends: impl IntoIterator<Item = &'a (Vec<Record>, Vec<u64>)>) -> Acknowledged {
    let mut runs = Acknowledged::new();
    for record in appends.into_iter().flat_map(|(records, _)| records) {
        runs.entry(record.run).or_default().push(record.clone());
    }
    runs
}

/// Reads every run that the journal lists.
pub(crate) async fn read_all(journal: &LocalJournal) -> BTreeMap<RunId, Result<Vec<Record>, JournalError>> {
    let mut runs = BTreeMap::new();
    for summary in journal.runs(&RunFilter::default()).await.unwrap() {
        let read = journal.read(summary.run).await;
        runs.insert(summary.run, read.map(std::sync::Arc::unwrap_or_clone));
    }
    runs
}

/// Checks that the journal holds exactly what was acknowledged, and can continue.
pub(crate) async fn expect(journal: &LocalJournal, acknowledged: &Acknowledged, case: &str) {
    let found: Acknowledged = read_all(journal)
        .await
        .into_iter()
        .map(|(run, records)| {
            (
                run,
                records.unwrap_or_else(|error| panic!("{case}: failed to {error}")),
            )
        })
        .collect();
    assert_eq!(&found, acknowledged, "{case}");
    for (run, records) in acknowledged {
        journal
            .append(next(*run, records.len() as u64))
            .await
            .unwrap_or_else(|error| panic!("{case}: {error}"));
    }
}

pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

pub(crate) fn len(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// Returns where the last frame of a segment ends: while it is written to, reserved room follows.
fn ends(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    let mut at = 64;
    while bytes.get(at..at + 4) == Some(b"RKFR".as_slice()) {
        let body: [u8; 4] = bytes[at + 4..at + 8].try_into().unwrap();
        at += 60 + u32::from_be_bytes(body) as usize;
    }
    at as u64
}

/// Copies a workspace, or only its log.
pub(crate) fn copy(from: &Path, to: &Path, with_sled: bool) {
    let parts: &[&str] = if with_sled { &["log", "journal"] } else { &["log"] };
    for part in parts {
        copy_dir(&from.join(part), &to.join(part));
    }
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}
