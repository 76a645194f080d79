//! What every type of source can do, and what it is given to do it.
//!
//! | step | what it asks of a source |
//! |---|---|
//! | `snapshot` | [`capture`](ComponentSource::capture): a tree that the vault reads |
//! | `set-aside` | [`existing`](ComponentSource::existing): what a recovery in place moves out of the way |
//! | `restore` | [`restore_plan`](ComponentSource::restore_plan): where the vault writes the tree, and the last part |
//!
//! Nothing of a component is held in memory as a whole: the vault reads the tree entry by entry, and a dump goes
//! through a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rekindle_model::entry::TreeSource;
use rekindle_model::failure::Failure;
use rekindle_model::source::Claim;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::files::Notes;
use crate::shape::Shape;

/// One component's source, its settings read.
#[async_trait]
pub trait ComponentSource: Send + Sync {
    /// Returns what is captured, for people: a noun phrase such as "the SQLite database shop.db".
    fn describe(&self) -> String;

    /// Returns the files below the system's root that belong to the component; none where the data are no files
    /// there, so that only a program or a server knows them.
    fn claim(&self) -> Option<Claim>;

    /// Returns what to mind about the settings, though each of them is as it should be.
    fn cautions(&self) -> Vec<Caution> {
        Vec::new()
    }

    /// Returns the programs that it runs on this host, for a person to agree to.
    fn programs(&self) -> Programs {
        Programs::default()
    }

    /// Returns whether a capture may leave out something that the settings ask for; it notes that.
    fn may_leave_out(&self) -> bool {
        false
    }

    /// Opens what is to be captured. The consistency point is not earlier than the call.
    ///
    /// # Errors
    /// Why there is nothing whole to capture. What is in the staging folder then, the caller removes.
    async fn capture(&self, cx: &SourceContext<'_>) -> Result<Captured, Failure>;

    /// Returns the files of the component that exist below `root`; nothing where `root` holds none of them. `never`
    /// are paths that are not looked at. It blocks.
    fn existing(&self, root: &Path, never: &[PathBuf]) -> Result<Existing, Failure>;

    /// Returns how a tree from the vault becomes the component's data again.
    fn restore_plan(&self) -> RestorePlan<'_>;
}

/// What a source works with. Paths are absolute.
#[derive(Clone, Copy)]
pub struct SourceContext<'a> {
    /// The component's name.
    pub component: &'a str,
    /// The number of the step's attempt. An earlier attempt may still be writing to a file that it began.
    pub attempt: u32,
    /// The folder that the source's paths are relative to: the living system's root for a capture, the folder that
    /// is recovered into for a restore.
    pub root: &'a Path,
    /// A folder of the workspace for this component in this run. It may not exist yet; the caller removes it.
    pub staging: &'a Path,
    /// What is never captured: the workspace, and the tiers on this machine.
    pub never: &'a [PathBuf],
    /// How the source learns that it should stop.
    pub stop: &'a CancellationToken,
    /// Runs programs.
    pub programs: &'a dyn ProgramRunner,
}

/// Runs programs on behalf of a source, under the supervisor: none outlives its step.
#[async_trait]
pub trait ProgramRunner: Send + Sync {
    /// Runs a program to its end.
    ///
    /// # Errors
    /// The program could not be started, was stopped, or ended with another status than 0.
    async fn run(&self, program: &Program<'_>) -> Result<(), Failure>;
}

/// A program that a source runs.
#[derive(Clone, Copy)]
pub struct Program<'a> {
    /// What it does for the component, for messages: `dump`, `restore`.
    pub purpose: &'a str,
    /// Its name and its arguments; expressions in them are evaluated.
    pub words: &'a [String],
    /// Variables beside those that it inherits. Values of names that look secret are taken out of what is logged.
    pub env: &'a BTreeMap<String, String>,
    /// The folder that it runs in.
    pub folder: &'a Path,
    /// The file that it gets as its stdin; nothing without one.
    pub stdin: Option<&'a Path>,
    /// The file that takes its stdout where that is data; without one it goes to the step's log.
    pub stdout: Option<StdoutFile<'a>>,
}

/// A file that takes a program's stdout.
#[derive(Clone, Copy)]
pub struct StdoutFile<'a> {
    /// It must not exist yet.
    pub file: &'a Path,
    /// A program that prints more is ended.
    pub max_bytes: u64,
}

/// Something to mind about the settings of a source that works all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caution {
    /// The key that it is about.
    pub key: &'static str,
    /// What may go wrong.
    pub message: &'static str,
    /// What to do about it.
    pub help: &'static str,
}

/// The programs that a source runs, each with its arguments; empty where it runs none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    /// The one that a capture runs.
    pub capture: Vec<String>,
    /// The one that a restore runs.
    pub restore: Vec<String>,
}

/// What is about to be captured.
pub struct Captured {
    /// The entries and the contents of its files.
    pub tree: Box<dyn TreeSource>,
    /// Whether it is a folder or one file; the snapshot's metadata keep it.
    pub shape: Shape,
    /// What else the snapshot's metadata keep.
    pub facts: Map<String, Value>,
    /// What the capture left out; complete once the tree was read.
    pub notes: Option<Notes>,
}

impl Captured {
    /// Returns a capture without facts and notes.
    pub fn new(tree: impl TreeSource + 'static, shape: Shape) -> Self {
        Self {
            tree: Box::new(tree),
            shape,
            facts: Map::new(),
            notes: None,
        }
    }
}

/// What exists at a component's target, as paths below the root.
#[derive(Debug, Default)]
pub struct Existing {
    /// Files and links.
    pub files: Vec<PathBuf>,
    /// Folders, each before what is in it.
    pub folders: Vec<PathBuf>,
}

impl Existing {
    /// Returns all of it that could be moved: the root itself never is.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let all = self.folders.iter().chain(&self.files).map(PathBuf::as_path);
        all.filter(|path| !path.as_os_str().is_empty())
    }
}

/// How a tree from the vault becomes the component's data again.
pub enum RestorePlan<'a> {
    /// The vault writes the tree to its place, file by file.
    AtPlace,
    /// The vault writes the tree to a folder beside its place, on the same file system; the source puts it there.
    Beside(&'a dyn PutInPlace),
    /// The vault writes the tree to the staging folder in the workspace; the source gives it to the program or the
    /// server whose data it is. Nobody can compare what comes of it with the snapshot.
    HandOver(&'a dyn HandOver),
}

/// The last part of a restore of files that change places as a whole.
pub trait PutInPlace: Send + Sync {
    /// Returns whether a file that belongs to earlier data exists at `place`, which would spoil what is put there, or
    /// which shows that somebody has the data open.
    fn is_disturbed(&self, place: &Path) -> bool;

    /// Puts what was restored into the folder `staged` at `place`. What exists there goes to the folder `aside`.
    /// A call that was cut off is made again. It blocks.
    fn put(&self, staged: &Path, place: &Path, aside: &Path) -> Result<(), Failure>;
}

/// The last part of a restore of data that are given away.
#[async_trait]
pub trait HandOver: Send + Sync {
    /// Gives away what was restored into the staging folder. A call that was cut off is made again.
    async fn give(&self, cx: &SourceContext<'_>) -> Result<(), Failure>;
}
