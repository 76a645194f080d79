//! A process that appends to a journal and tells its parent, line by line, what it is about to append and what was
//! acknowledged; or reads all that a journal holds (see `rekindle_tests::chaos`).
//!
//! ```text
//! append DIR TASKS SEGMENT_BYTES APPENDS SEED     opened · try RUN SEQ · ack RUN SEQ HASH · stale-accepted RUN
//! read DIR                                        damage N · rebuilt N · replayed N · torn N ·
//!                                                 record RUN SEQ HASH · refused RUN WHY · end
//! ```
//! HASH is of the record as JSON. Exit codes: `rekindle_tests::chaos::writer::code`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rekindle_journal::contract::{append_to, checkpoint, created, finished, started, succeeded};
use rekindle_journal::{Append, Journal, JournalError, RunFilter};
use rekindle_journal_local::{LocalJournal, OpenOptions};
use rekindle_model::event::{Event, Outcome, Record, Worker};
use rekindle_model::id::RunId;
use rekindle_model::time::{Clock, SystemClock};
use rekindle_tests::chaos::writer::code;
use serde_json::json;

/// Writes a line with one call: whole or cut off, never mixed. Ends the process if nobody reads.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if out
        .write_all(format!("{line}\n").as_bytes())
        .and_then(|()| out.flush())
        .is_err()
    {
        std::process::exit(i32::from(code::DEAF));
    }
}

fn complain(error: &dyn std::fmt::Display) {
    // If nobody reads, the exit code still tells.
    let _ = writeln!(std::io::stderr(), "failed to {error}");
}

fn hash(record: &Record) -> String {
    let json = serde_json::to_vec(record).unwrap_or_default();
    blake3::hash(&json).to_hex()[..16].to_owned()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    // Two workers: an append commits on its own thread only if the runtime has another one.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("start: {error}"));
            return ExitCode::from(code::CLOSED);
        }
    };
    let number = |text: &str| text.parse::<u64>().unwrap_or(1);
    let code = match words[..] {
        ["append", dir, tasks, segment_bytes, appends, seed] => {
            let options = OpenOptions {
                segment_bytes: number(segment_bytes),
                ..OpenOptions::default()
            };
            let left = Arc::new(AtomicU64::new(number(appends)));
            runtime.block_on(append(dir.as_ref(), options, number(tasks), left, number(seed)))
        }
        ["read", dir] => runtime.block_on(read(dir.as_ref())),
        _ => {
            complain(&"understand its command line");
            2
        }
    };
    ExitCode::from(code)
}

async fn open(
    dir: &Path,
    options: OpenOptions,
) -> Result<(LocalJournal, rekindle_journal_local::OpenReport), u8> {
    LocalJournal::open(dir, options).await.map_err(|error| {
        complain(&error);
        code::CLOSED
    })
}

async fn read(dir: &Path) -> u8 {
    let (journal, report) = match open(dir, OpenOptions::default()).await {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    for damage in &report.damage {
        // For a person who examines a violation.
        let _ = writeln!(std::io::stderr(), "{damage:?}");
    }
    let mut lines = vec![
        format!("damage {}", report.damage.len()),
        format!("rebuilt {}", report.rebuilt.len()),
        format!("replayed {}", report.replayed),
        format!("torn {}", report.torn_bytes),
    ];
    let runs = match journal.runs(&RunFilter::default()).await {
        Ok(runs) => runs,
        Err(error) => {
            complain(&error);
            return code::REFUSED;
        }
    };
    for summary in runs {
        let run = summary.run;
        match journal.read(run).await {
            Ok(records) => lines.extend(
                records
                    .iter()
                    .map(|record| format!("record {run} {} {}", record.seq, hash(record))),
            ),
            Err(error) => lines.push(format!("refused {run} {error}").replace('\n', " ")),
        }
    }
    journal.close().await;
    lines.push("end".to_owned());
    say(&lines.join("\n"));
    code::DONE
}

async fn append(dir: &Path, options: OpenOptions, tasks: u64, left: Arc<AtomicU64>, seed: u64) -> u8 {
    let journal = match open(dir, options).await {
        Ok((journal, _)) => Arc::new(journal),
        Err(code) => return code,
    };
    say("opened");
    let unfinished = RunFilter {
        finished: Some(false),
        limit: Some(usize::try_from(tasks / 2).unwrap_or(0)),
        ..RunFilter::default()
    };
    let unfinished = match journal.runs(&unfinished).await {
        Ok(runs) => runs,
        Err(error) => {
            complain(&error);
            return code::REFUSED;
        }
    };
    let mut to_adopt = unfinished.into_iter().map(|run| (run.run, run.seq, run.epoch));
    let mut at_work = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let mut worker = Appender {
            journal: Arc::clone(&journal),
            left: Arc::clone(&left),
            turn: seed.wrapping_add(task),
        };
        let adopted = to_adopt.next();
        at_work.spawn(async move { worker.work(adopted).await });
    }
    drop(journal);
    let mut code = code::DONE;
    while let Some(ended) = at_work.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                complain(&error);
                code = code::REFUSED;
            }
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "{error}");
                return 101;
            }
        }
    }
    code
}

/// One task: it begins, continues and ends runs.
struct Appender {
    journal: Arc<LocalJournal>,
    left: Arc<AtomicU64>,
    turn: u64,
}

impl Appender {
    async fn work(&mut self, adopted: Option<(RunId, u64, u64)>) -> Result<(), JournalError> {
        let mut going_on = adopted;
        while self.left.load(Ordering::Relaxed) > 0 {
            let (run, mut seq, epoch) = match going_on.take() {
                Some((run, seq, epoch)) => self.adopt(run, seq, epoch).await?,
                None => {
                    let run = RunId::new(&SystemClock.now());
                    let first = vec![created("chaos"), started("s", 1)];
                    (run, self.append(append_to(run, 0, 1, first)).await?, 1)
                }
            };
            for at in 0..8 + self.turn % 23 {
                self.turn += 1;
                let text = "x".repeat((self.turn * 37 % 1200) as usize);
                let progress = checkpoint("s", json!({ "at": at, "text": text }));
                seq = self.append(append_to(run, seq, epoch, vec![progress])).await?;
                if self.left.load(Ordering::Relaxed) == 0 {
                    return Ok(());
                }
            }
            let end = vec![succeeded("s"), finished(Outcome::Succeeded)];
            self.append(append_to(run, seq, epoch, end)).await?;
        }
        Ok(())
    }

    /// Takes a run over, and sees that its epoch before is over.
    async fn adopt(&self, run: RunId, seq: u64, epoch: u64) -> Result<(RunId, u64, u64), JournalError> {
        let adopted = Event::RunAdopted {
            epoch: epoch + 1,
            worker: Worker {
                host: "here".into(),
                pid: std::process::id(),
                version: "0".into(),
            },
            why: "its writer was killed".into(),
            workspace: None,
        };
        let seq = self.append(append_to(run, seq, epoch + 1, vec![adopted])).await?;
        let stale = append_to(run, seq, epoch, vec![checkpoint("s", json!("stale"))]);
        match self.journal.append(stale).await {
            Ok(_) => say(&format!("stale-accepted {run}")),
            Err(JournalError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok((run, seq, epoch + 1))
    }

    /// Appends, with a word before and after. Returns the number of the last record.
    async fn append(&self, append: Append) -> Result<u64, JournalError> {
        let asked = append.expected_seq + append.events.len() as u64;
        say(&format!("try {} {asked}", append.run));
        let records = self.journal.append(append).await?;
        let lines: Vec<String> = records
            .iter()
            .map(|record| format!("ack {} {} {}", record.run, record.seq, hash(record)))
            .collect();
        say(&lines.join("\n"));
        let before = self.left.load(Ordering::Relaxed);
        self.left.store(before.saturating_sub(1), Ordering::Relaxed);
        Ok(asked)
    }
}
