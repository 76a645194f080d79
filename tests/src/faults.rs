//! The product's journal and actions, wrapped. The wrappers kill the process with SIGKILL where the
//! environment asks for it, count the places where they could, and log every effect to a file.
//!
//! | variable | meaning |
//! |---|---|
//! | `REKINDLE_TEST_KILL` | `before-append:N`, `after-append:N` or `after-act:N`: die at the N-th such place, from 1 |
//! | `REKINDLE_TEST_COUNT` | a file: each place passed is one line in it |
//! | `REKINDLE_TEST_EFFECTS` | a file: `begin RUN STEP ATTEMPT` before each act, `end …` after it |

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use rekindle_cli::Hooks;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_journal::{Append, Journal, JournalError, RunFilter, RunSummary};
use rekindle_model::event::Record;
use rekindle_model::failure::Failure;
use rekindle_model::id::{Hash32, RunId};
use rekindle_plan::Problem;
use serde_json::Value;
use tokio::sync::broadcast;

/// The variable that names the place to die at.
pub const KILL: &str = "REKINDLE_TEST_KILL";
/// The variable that names the file in which places are counted.
pub const COUNT: &str = "REKINDLE_TEST_COUNT";
/// The variable that names the effect log.
pub const EFFECTS: &str = "REKINDLE_TEST_EFFECTS";

/// A kind of place in the life of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Before an append: its content is decided or done, and not durable.
    BeforeAppend,
    /// After an append: it is durable, its caller does not know yet, and nothing that it allows has happened.
    AfterAppend,
    /// An action has ended and its outcome is not yet on its way to the journal.
    AfterAct,
}

impl Place {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::BeforeAppend, Self::AfterAppend, Self::AfterAct];

    /// Returns the name that the variable uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeAppend => "before-append",
            Self::AfterAppend => "after-append",
            Self::AfterAct => "after-act",
        }
    }
}

#[derive(Debug, Default)]
struct Faults {
    kill: Option<(String, u64)>,
    count: Option<PathBuf>,
    effects: Option<PathBuf>,
    passed: [AtomicU64; 3],
}

/// Returns the hooks that the environment asks for.
pub fn hooks_from_env() -> Hooks {
    let path = |name| std::env::var_os(name).map(PathBuf::from);
    let kill = std::env::var(KILL).ok().and_then(|text| {
        let (place, number) = text.split_once(':')?;
        Some((place.to_owned(), number.parse().ok()?))
    });
    let faults = Arc::new(Faults {
        kill,
        count: path(COUNT),
        effects: path(EFFECTS),
        ..Faults::default()
    });
    let for_actions = Arc::clone(&faults);
    Hooks {
        journal: Arc::new(move |inner| {
            Arc::new(FaultyJournal {
                inner,
                faults: Arc::clone(&faults),
            })
        }),
        registry: Arc::new(move |registry| {
            let faults = Arc::clone(&for_actions);
            registry.map(|_, inner| {
                Arc::new(FaultyAction {
                    inner,
                    faults: Arc::clone(&faults),
                })
            })
        }),
    }
}

impl Faults {
    fn pass(&self, place: Place) {
        let number = self.passed[place as usize].fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(file) = &self.count {
            line(file, place.name());
        }
        if self
            .kill
            .as_ref()
            .is_some_and(|(name, at)| name == place.name() && *at == number)
        {
            // A process cannot catch or delay SIGKILL, as it cannot a power button.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            std::process::abort();
        }
    }

    fn effect(&self, what: &str, cx: &StepContext) {
        if let Some(file) = &self.effects {
            line(file, &format!("{what} {} {} {}", cx.run, cx.step.id, cx.attempt));
        }
    }
}

/// Appends a line in one write, so that it is whole or absent whatever happens to the process.
fn line(file: &Path, text: &str) {
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(file) {
        let _ = file.write_all(format!("{text}\n").as_bytes());
    }
}

struct FaultyJournal {
    inner: Arc<dyn Journal>,
    faults: Arc<Faults>,
}

#[async_trait]
impl Journal for FaultyJournal {
    async fn append(&self, append: Append) -> Result<Vec<Record>, JournalError> {
        self.faults.pass(Place::BeforeAppend);
        let records = self.inner.append(append).await?;
        self.faults.pass(Place::AfterAppend);
        Ok(records)
    }

    async fn read(&self, run: RunId) -> Result<Arc<Vec<Record>>, JournalError> {
        self.inner.read(run).await
    }

    async fn values(&self, run: RunId, after: u64) -> Result<Vec<Vec<u8>>, JournalError> {
        self.inner.values(run, after).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        self.inner.runs(filter).await
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<Record>> {
        self.inner.subscribe()
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash32, JournalError> {
        self.inner.put_blob(bytes).await
    }

    async fn blob(&self, hash: Hash32) -> Result<Vec<u8>, JournalError> {
        self.inner.blob(hash).await
    }
}

struct FaultyAction {
    inner: Arc<dyn Action>,
    faults: Arc<Faults>,
}

#[async_trait]
impl Action for FaultyAction {
    fn check(&self, with: &Value) -> Vec<Problem> {
        self.inner.check(with)
    }

    fn can_be_gone(&self) -> bool {
        self.inner.can_be_gone()
    }

    async fn reconcile(&self, cx: &StepContext, checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        self.inner.reconcile(cx, checkpoint).await
    }

    async fn recheck(&self, cx: &StepContext, output: &Value) -> Result<Option<String>, Failure> {
        self.inner.recheck(cx, output).await
    }

    async fn run(&self, cx: &StepContext, checkpoint: Option<Value>) -> Result<Output, Failure> {
        self.faults.effect("begin", cx);
        let ended = self.inner.run(cx, checkpoint).await;
        self.faults.effect("end", cx);
        self.faults.pass(Place::AfterAct);
        ended
    }
}
