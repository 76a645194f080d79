//! The trait of every type of source, and the context of its calls.
//!
//! | step | what it asks of a source |
//! |---|---|
//! | `snapshot` | [`capture`](ComponentSource::capture): a tree that the vault reads |
//! | `set-aside` | [`existing`](ComponentSource::existing): the files that a recovery in place moves out of the way |
//! | `restore` | [`restore_plan`](ComponentSource::restore_plan): where the vault writes the tree, and the last part |
//!
//! No component is ever in memory as a whole: the vault reads the tree entry by entry, and a dump goes
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
    /// Returns a noun phrase for people, such as "the SQLite database shop.db".
    fn describe(&self) -> String;

    /// Returns the component's files; none if the data are no files there, and only a
    /// program or a server knows them.
    fn claim(&self) -> Option<Claim>;

    /// Returns risks of settings that are valid.
    fn cautions(&self) -> Vec<Caution> {
        Vec::new()
    }

    /// Returns the programs that it runs on this host. A person agrees to them.
    fn programs(&self) -> Programs {
        Programs::default()
    }

    /// Returns whether a capture may leave out something that the settings ask for. It notes what it leaves
    /// out.
    fn may_leave_out(&self) -> bool {
        false
    }

    /// Opens the data for capturing. The consistency point is not earlier than the call.
    ///
    /// # Errors
    /// The reason why there is nothing whole to capture. The caller then empties the staging folder.
    async fn capture(&self, cx: &SourceContext<'_>) -> Result<Captured, Failure>;

    /// Returns the component's files that exist below `root`. It does not look at the paths in `never`. It
    /// blocks.
    fn existing(&self, root: &Path, never: &[PathBuf]) -> Result<Existing, Failure>;

    /// Returns how the vault's tree becomes the component's data again.
    fn restore_plan(&self) -> RestorePlan<'_>;
}

/// The context of a source's work. Paths are absolute.
#[derive(Clone, Copy)]
pub struct SourceContext<'a> {
    /// The component's name.
    pub component: &'a str,
    /// The number of the step's attempt. An earlier attempt may still be writing to its file.
    pub attempt: u32,
    /// The folder that the source's paths are relative to: the living system's root for a capture, the folder
    /// of the recovery for a restore.
    pub root: &'a Path,
    /// A folder of the workspace for this component in this run. It may not exist yet; the caller removes it.
    pub staging: &'a Path,
    /// Paths that are never captured: the workspace, and the tiers on this machine.
    pub never: &'a [PathBuf],
    /// A request to stop.
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
    /// Its purpose, for messages: `dump`, `restore`.
    pub purpose: &'a str,
    /// Its name and its arguments; expressions in them are evaluated.
    pub words: &'a [String],
    /// Variables beside the inherited ones. The log hides the values of names that look secret.
    pub env: &'a BTreeMap<String, String>,
    /// The folder that it runs in.
    pub folder: &'a Path,
    /// The file for its stdin; none gives it an empty stdin.
    pub stdin: Option<&'a Path>,
    /// The file for its stdout if that is data; without one, stdout goes to the step's log.
    pub stdout: Option<StdoutFile<'a>>,
}

/// A file that receives a program's stdout.
#[derive(Clone, Copy)]
pub struct StdoutFile<'a> {
    /// It must not exist yet.
    pub file: &'a Path,
    /// A program that prints more bytes is ended.
    pub max_bytes: u64,
}

/// A risk of valid settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caution {
    /// Its key in the settings.
    pub key: &'static str,
    /// What may go wrong.
    pub message: &'static str,
    /// The remedy.
    pub help: &'static str,
}

/// The programs that a source runs, each with its arguments; empty if it runs none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    /// The program of a capture.
    pub capture: Vec<String>,
    /// The program of a restore.
    pub restore: Vec<String>,
}

/// A source that is ready to be captured.
pub struct Captured {
    /// The entries and the contents of its files.
    pub tree: Box<dyn TreeSource>,
    /// Whether it is a folder or one file; the snapshot's metadata keep it.
    pub shape: Shape,
    /// Further facts for the snapshot's metadata.
    pub facts: Map<String, Value>,
    /// The entries that the capture left out; complete once the tree was read.
    pub notes: Option<Notes>,
}

/// The fact that lists what a person should look at, as sentences: the capture is whole, and may not be what the
/// person wants.
const WARNINGS: &str = "warnings";

impl Captured {
    /// Adds a warning to the facts.
    #[must_use]
    pub fn with_warning(mut self, warning: &str) -> Self {
        let warnings = self
            .facts
            .entry(WARNINGS)
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(warnings) = warnings {
            warnings.push(Value::from(warning));
        }
        self
    }

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

/// The files that exist at a component's target, as paths below the root.
#[derive(Debug, Default)]
pub struct Existing {
    /// Files and links.
    pub files: Vec<PathBuf>,
    /// Folders, each before its content.
    pub folders: Vec<PathBuf>,
}

impl Existing {
    /// Returns every path that could be moved; never the root itself.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let all = self.folders.iter().chain(&self.files).map(PathBuf::as_path);
        all.filter(|path| !path.as_os_str().is_empty())
    }
}

/// How the vault's tree becomes the component's data again.
pub enum RestorePlan<'a> {
    /// The vault writes the tree to its place, file by file.
    AtPlace,
    /// The vault writes the tree to a folder beside its place, on the same file system. The source then puts
    /// it in place.
    Beside(&'a dyn PutInPlace),
    /// The vault writes the tree to the staging folder in the workspace. The source then gives it to the
    /// program or server that owns the data. Nobody can compare the result with the snapshot.
    HandOver(&'a dyn HandOver),
}

/// The last part of a restore of files that change places as a whole.
pub trait PutInPlace: Send + Sync {
    /// Returns whether a file of earlier data at `place` would spoil the restored data, or shows that
    /// somebody has the data open.
    fn is_disturbed(&self, place: &Path) -> bool;

    /// Moves the restored data from the folder `staged` to `place`, and older data from there to the folder
    /// `aside`. If interrupted, it is called again. It blocks.
    fn put(&self, staged: &Path, place: &Path, aside: &Path) -> Result<(), Failure>;
}

/// The last part of a restore that hands the data over.
#[async_trait]
pub trait HandOver: Send + Sync {
    /// Hands over the data in the staging folder. If interrupted, it is called again.
    async fn give(&self, cx: &SourceContext<'_>) -> Result<(), Failure>;
}
