//! Large journals and large plans. Each part runs in a process of its own, so that its time counts from the start of
//! that process and its memory is its own.
//!
//! The journals are made by appending, not by driving, which is quicker and leaves the same bytes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use clap::Subcommand;
use rekindle_engine::{Action, Control, Output, Reconciled, Registry, StepContext};
use rekindle_journal::{Append, Journal, RunFilter};
use rekindle_journal_local::{LocalJournal, OpenOptions};
use rekindle_model::event::{Event, Measures, Outcome as RunOutcome, Payload, Record};
use rekindle_model::failure::Failure;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::time::{Clock, Stamp, SystemClock};
use rekindle_plan::{Inputs, Problem};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::Outcome;
use crate::figure::{Scaled, print};
use crate::steps::{Noop, chain, engine, looped_chain, new_run, plan, shards};

/// The steps of the run that is resumed; half of them are done.
const RESUMED_STEPS: u32 = 10_000;
/// The runs that are listed.
const LISTED_RUNS: u32 = 10_000;
/// The records of the journal that is opened: runs of [`RECORDS_OF_RUN`] each.
const OPENED_RECORDS: u32 = 1_000_000;
/// The records of each run in it: created, a start and a success per step, finished.
const RECORDS_OF_RUN: u32 = 1000;
/// The steps of the workflow that plans are made from, by a loop: as large plans come about.
const CHAIN: u32 = 100;
/// The sizes of plans, in steps.
const PLANS: [u32; 3] = [1000, 10_000, 100_000];

/// What is measured in a process of its own.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Part {
    /// sled alone opens the journal's folder
    Sled { journal: PathBuf },
    /// The journal opens
    Open { journal: PathBuf },
    /// All runs are listed
    Runs { journal: PathBuf },
    /// A half-done run is adopted and driven to the start of its next step
    Resume { journal: PathBuf },
    /// A workflow of so many steps is read, expanded, and its run begun
    Plan { journal: PathBuf, steps: u32 },
}

/// What a part says of itself.
#[derive(Serialize, Deserialize)]
struct Told {
    /// From the start of the process, or of what is measured.
    ms: f64,
    peak_bytes: u64,
}

/// Measures everything that is large.
pub(crate) fn measure(dir: &Path) -> Outcome<()> {
    let runtime = Runtime::new()?;

    let journal = dir.join("half-done");
    runtime.block_on(half_done(&journal))?;
    told("resume of 10,000 steps, half done", &journal, "resume")?;

    let journal = dir.join("finished");
    runtime.block_on(runs_of(&journal, LISTED_RUNS, 4))?;
    told("runs over 10,000 finished runs", &journal, "runs")?;

    let journal = dir.join("million");
    runtime.block_on(runs_of(&journal, OPENED_RECORDS / RECORDS_OF_RUN, RECORDS_OF_RUN))?;
    told("open of 1,000,000 records", &journal, "open")?;

    for steps in PLANS {
        let journal = dir.join(format!("plan-{steps}"));
        let told = in_own_process(&["plan", &journal.to_string_lossy(), &steps.to_string()])?;
        print(&Scaled {
            what: format!("plan of {steps} steps: lint, expand, start"),
            ms: told.ms,
            sled_ms: None,
            peak_bytes: Some(told.peak_bytes),
        })?;
    }
    Ok(())
}

/// Measures a part, and sled's own open of the same folder.
fn told(what: &str, journal: &Path, part: &str) -> Outcome<()> {
    let path = journal.to_string_lossy();
    // The first open after the writing may still have work to do, so do it before the measurement.
    in_own_process(&["sled", &path])?;
    let sled = in_own_process(&["sled", &path])?;
    let told = in_own_process(&[part, &path])?;
    print(&Scaled {
        what: what.to_owned(),
        ms: told.ms,
        sled_ms: Some(sled.ms),
        peak_bytes: Some(told.peak_bytes),
    })?;
    Ok(std::fs::remove_dir_all(journal)?)
}

fn in_own_process(part: &[&str]) -> Outcome<Told> {
    let began = SystemClock.now().boot_ns;
    let output = Command::new(std::env::current_exe()?)
        .arg("part")
        .args(part)
        .env(BEGAN, began.to_string())
        .output()?;
    if !output.status.success() {
        return Err(format!("{part:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// When the process was told to start, in nanoseconds of CLOCK_BOOTTIME.
const BEGAN: &str = "REKINDLE_BENCH_BEGAN";

/// Does a part and says how long it took.
pub(crate) fn part(part: Part) -> Outcome<()> {
    let began: u64 = std::env::var(BEGAN)?.parse()?;
    let runtime = Runtime::new()?;
    let ms = match part {
        Part::Sled { journal } => {
            let db = sled::Config::new()
                .path(journal.join("journal"))
                .cache_capacity(64 << 20)
                .open()?;
            let ms = since(began);
            drop(db);
            Some(ms)
        }
        Part::Open { journal } => {
            let (journal, _) = runtime.block_on(LocalJournal::open(&journal, OpenOptions::default()))?;
            let ms = since(began);
            drop(journal);
            Some(ms)
        }
        Part::Runs { journal } => {
            let (journal, _) = runtime.block_on(LocalJournal::open(&journal, OpenOptions::default()))?;
            let listed = runtime.block_on(journal.runs(&RunFilter::default()))?.len();
            let ms = since(began);
            if listed != LISTED_RUNS as usize {
                return Err(format!("{listed} runs are listed").into());
            }
            Some(ms)
        }
        Part::Resume { journal } => runtime.block_on(runtime.spawn(resume(journal, began)))??,
        Part::Plan { journal, steps } => runtime.block_on(runtime.spawn(begin(journal, steps)))??,
    };
    let ms = ms.ok_or("the step that was waited for never started")?;
    print(&Told {
        ms,
        peak_bytes: peak_bytes()?,
    })
}

/// Resumes the only run of the journal; returns when the first step started.
async fn resume(path: PathBuf, began: u64) -> Outcome<Option<f64>> {
    let (journal, _) = LocalJournal::open(&path, OpenOptions::default()).await?;
    let journal: Arc<dyn Journal> = Arc::new(journal);
    let run = journal.runs(&RunFilter::default()).await?[0].run;
    let records = journal.read(run).await?;
    let Some(Event::RunCreated { definition, .. }) = records.first().map(|record| &record.event) else {
        return Err("the run has no beginning".into());
    };
    let definition = String::from_utf8(journal.blob(*definition).await?)?;
    drop(records);
    let stopping = Control::default();
    let first = First::new(began, &stopping.stop);
    let at = Arc::clone(&first.at);
    let registry = Registry::new().with("noop", first);
    let plan = Arc::new(plan(&definition, &Inputs::default(), &registry)?);
    let engine = engine(journal, registry);
    engine.adopt(run, "bench").await?;
    engine.drive(run, plan, json!({}), &stopping).await?;
    Ok(*at.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Reads, expands and begins a workflow; returns how long it took until the first step started, from when the text
/// was there.
async fn begin(path: PathBuf, steps: u32) -> Outcome<Option<f64>> {
    let (journal, _) = LocalJournal::open(&path, OpenOptions::default()).await?;
    let definition = looped_chain(CHAIN);
    let inputs = shards(steps / CHAIN);
    let stopping = Control::default();
    let first = First::new(SystemClock.now().boot_ns, &stopping.stop);
    let at = Arc::clone(&first.at);
    let registry = Registry::new().with("noop", first);
    let plan = Arc::new(plan(&definition, &inputs, &registry)?);
    let engine = engine(Arc::new(journal), registry);
    let run = engine.create(new_run(definition, inputs)).await?;
    engine.drive(run, plan, json!({}), &stopping).await?;
    std::fs::remove_dir_all(path)?;
    Ok(*at.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Remembers when a step first started, and stops the run then.
struct First {
    began: u64,
    at: Arc<Mutex<Option<f64>>>,
    stop: CancellationToken,
}

impl First {
    fn new(began: u64, stop: &CancellationToken) -> Self {
        Self {
            began,
            at: Arc::default(),
            stop: stop.clone(),
        }
    }
}

#[async_trait]
impl Action for First {
    fn check(&self, _with: &Value) -> Vec<Problem> {
        Vec::new()
    }

    fn can_be_gone(&self) -> bool {
        false
    }

    async fn reconcile(&self, _: &StepContext, _: Option<&Value>) -> Result<Reconciled, Failure> {
        Ok(Reconciled::redo("it leaves nothing behind"))
    }

    async fn run(&self, _: &StepContext, _: Option<Value>) -> Result<Output, Failure> {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.get_or_insert_with(|| since(self.began));
        self.stop.cancel();
        Ok(Output::default())
    }
}

/// Makes a journal with one run of a long chain, half of which is done.
async fn half_done(path: &Path) -> Outcome<()> {
    let (journal, _) = LocalJournal::open(path, OpenOptions::default()).await?;
    let journal: Arc<dyn Journal> = Arc::new(journal);
    let definition = chain(RESUMED_STEPS);
    let engine = engine(
        Arc::clone(&journal),
        Registry::new().with("noop", Noop::default()),
    );
    let run = engine.create(new_run(definition, Inputs::default())).await?;
    let seq = journal.read(run).await?.len() as u64;
    grow(&*journal, run, seq, RESUMED_STEPS / 2).await?;
    Ok(())
}

/// Makes a journal of so many finished runs, each of so many records.
async fn runs_of(path: &Path, runs: u32, records: u32) -> Outcome<()> {
    let (journal, _) = LocalJournal::open(path, OpenOptions::default()).await?;
    let journal: Arc<dyn Journal> = Arc::new(journal);
    let steps = (records - 2) / 2;
    let definition = chain(steps);
    let engine = engine(
        Arc::clone(&journal),
        Registry::new().with("noop", Noop::default()),
    );
    // Many at once, so that they share commits; what is measured is the reading.
    for made in 0..runs.div_ceil(AT_ONCE) {
        let mut makers = Vec::new();
        for _ in (made * AT_ONCE)..((made + 1) * AT_ONCE).min(runs) {
            let (engine, journal, definition) = (engine.clone(), Arc::clone(&journal), definition.clone());
            makers.push(tokio::spawn(async move {
                let run = engine.create(new_run(definition, Inputs::default())).await?;
                let seq = grow(&*journal, run, 1, steps).await?;
                let finished = Event::RunFinished {
                    outcome: RunOutcome::Succeeded,
                    summary: Value::Null,
                };
                append(&*journal, run, seq, vec![finished]).await
            }));
        }
        for maker in makers {
            maker.await??;
        }
    }
    Ok(())
}

/// How many runs are made at once.
const AT_ONCE: u32 = 256;
/// How many records an append of the making has at most.
const BATCH: usize = 500;

/// Appends the success of so many steps of a chain; returns the run's seq after it.
async fn grow(journal: &dyn Journal, run: RunId, mut seq: u64, steps: u32) -> Outcome<u64> {
    let events: Vec<Event> = (0..steps)
        .flat_map(|step| {
            let step = StepId::from(format!("s{step}").as_str());
            [
                Event::StepStarted {
                    step: step.clone(),
                    attempt: 1,
                },
                Event::StepSucceeded {
                    step,
                    attempt: 1,
                    output: Payload::NONE,
                    measures: Measures::new(),
                },
            ]
        })
        .collect();
    for batch in events.chunks(BATCH) {
        seq = append(journal, run, seq, batch.to_vec())
            .await?
            .last()
            .map_or(seq, |record| record.seq);
    }
    Ok(seq)
}

async fn append(journal: &dyn Journal, run: RunId, seq: u64, events: Vec<Event>) -> Outcome<Vec<Record>> {
    let now: Stamp = SystemClock.now();
    let append = Append {
        run,
        expected_seq: seq,
        epoch: 1,
        events,
        now,
    };
    Ok(journal.append(append).await?)
}

/// Returns the milliseconds since `began`, in nanoseconds of CLOCK_BOOTTIME.
fn since(began: u64) -> f64 {
    let elapsed = SystemClock.now().boot_ns.saturating_sub(began);
    Duration::from_nanos(elapsed).as_secs_f64() * 1e3
}

/// Returns the most memory that this process had resident, from `VmHWM` in /proc/self/status.
fn peak_bytes() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .and_then(|line| line.trim().strip_suffix("kB"))
        .ok_or("VmHWM is missing in /proc/self/status")?
        .trim()
        .parse()?;
    Ok(kib * 1024)
}
