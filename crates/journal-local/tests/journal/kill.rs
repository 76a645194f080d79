//! A process that appends is killed, again and again, at whatever it is doing: opening, appending, closing.
//!
//! This binary runs itself as a child, with the test's name as a filter and the workspace in the
//! environment. The child appends from several tasks and prints `run seq` once an append is acknowledged.
//! The parent kills it after some number of lines, reads what else had reached the pipe, opens the journal
//! in its own process and looks for every acknowledged record. Where the kill falls depends on the machine;
//! the number of lines before it is spread over the turns, so that opening and creation are hit too.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::support::{open, open_with, read_all};
use rekindle_journal::Journal;
use rekindle_journal::contract::stamp;
use rekindle_journal_local::OpenOptions;
use rekindle_model::id::RunId;

const WORKSPACE: &str = "REKINDLE_TEST_WORKSPACE";
const TURN: &str = "REKINDLE_TEST_TURN";
const TURNS: u64 = 30;

/// Small segments, so that kills also fall on their creation.
fn options() -> OpenOptions {
    OpenOptions {
        segment_bytes: 8 << 10,
        ..OpenOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_record_survives_sigkill() {
    if let Some(dir) = std::env::var_os(WORKSPACE) {
        return append_until_killed(dir.as_ref()).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<RunId, u64> = BTreeMap::new();
    let (mut lines, mut torn) = (0, 0);
    for turn in 0..TURNS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "kill::every_acknowledged_record_survives_sigkill",
                "--exact",
                "--nocapture",
            ])
            .env(WORKSPACE, dir.path())
            .env(TURN, turn.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        // From none (while it opens) to some hundred.
        let before_kill = (turn * turn) % 211;
        let mut note = |line: String| {
            let mut words = line.split(' ');
            if let ("ack", Some(run), Some(seq)) = (words.next().unwrap(), words.next(), words.next()) {
                let newest = acknowledged.entry(run.parse().unwrap()).or_default();
                *newest = (*newest).max(seq.parse().unwrap());
                lines += 1;
            }
        };
        output.by_ref().take(before_kill as usize).for_each(&mut note);
        child.kill().unwrap();
        output.for_each(&mut note);
        child.wait().unwrap();

        let (journal, report) = open(dir.path()).await;
        assert_eq!(
            (report.damage, report.quarantined),
            (vec![], vec![]),
            "turn {turn}"
        );
        torn += u64::from(report.torn_bytes > 0);
        let runs = read_all(&journal).await;
        for (run, seq) in &acknowledged {
            let found = runs
                .get(run)
                .unwrap_or_else(|| panic!("turn {turn}: run {run} is gone"));
            let found = found.as_ref().unwrap().len() as u64;
            assert!(
                found >= *seq,
                "turn {turn}: run {run} has {found} records, {seq} were acknowledged"
            );
        }
        journal.close().await;
    }
    assert!(lines > 500, "only {lines} appends were acknowledged");
    println!("{TURNS} kills, {lines} acknowledged appends, {torn} torn tails, nothing lost");
}

async fn append_until_killed(dir: &std::path::Path) {
    let turn: u64 = std::env::var(TURN).unwrap().parse().unwrap();
    let (journal, _) = open_with(dir, options()).await;
    let journal = Arc::new(journal);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..6 {
        let journal = Arc::clone(&journal);
        tasks.spawn(async move {
            let run = RunId::new(&stamp(turn * 10 + task));
            let mut seq = 0;
            while let Ok(records) = journal.append(crate::support::next(run, seq)).await {
                seq += records.len() as u64;
                let mut out = std::io::stdout().lock();
                writeln!(out, "\nack {run} {seq}")
                    .and_then(|()| out.flush())
                    .unwrap();
            }
        });
    }
    tasks.join_all().await;
}
