//! A workspace with its journal and key: what operations, guards and the owner work with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rekindle_journal::{Journal, RunFilter, RunSummary};
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::time::Clock;
use rekindle_report::{Evidence, blobs_of};
use serde_json::Value;

use crate::error::Error;
use crate::hooks::Hooks;
use crate::keys::{self, OpenKey, Unlocker};
use crate::layout::Layout;
use crate::lookup;
use crate::notice::Notices;
use rekindle_model::problem::ProblemKind;

/// A workspace with its journal, to be driven or only read. Clones are the same context.
#[derive(Clone)]
pub struct WorkspaceContext {
    /// Where its files are.
    pub layout: Layout,
    /// The journal, with the hooks around it.
    pub journal: Arc<dyn Journal>,
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
    /// What tests plant.
    pub hooks: Hooks,
    /// How this user opens keys.
    pub unlocker: Unlocker,
    /// The program that runs the supervisor of a step's programs.
    pub executable: PathBuf,
    /// The listener of notices.
    pub notices: Notices,
    /// The workspace's key, once an operation has needed it.
    pub key: Arc<OnceLock<Arc<OpenKey>>>,
}

impl WorkspaceContext {
    /// Opens the workspace's key, once for all runs: a person gives a passphrase at most once.
    pub fn key(&self) -> Result<Arc<OpenKey>, Error> {
        if let Some(key) = self.key.get() {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(keys::open(&self.layout, &self.unlocker)?);
        Ok(Arc::clone(self.key.get_or_init(|| key)))
    }

    /// Returns the run that `word` means.
    pub async fn run(&self, word: &str) -> Result<RunId, Error> {
        lookup::run(&*self.journal, word).await
    }

    /// Returns the runs without an end, newest first.
    pub async fn interrupted(&self) -> Result<Vec<RunSummary>, Error> {
        let filter = RunFilter {
            finished: Some(false),
            ..RunFilter::default()
        };
        Ok(self.journal.runs(&filter).await?)
    }

    /// Reads all that the journal proves about a run.
    pub async fn evidence(&self, run: RunId) -> Result<Evidence, Error> {
        let records = self.journal.read(run).await?;
        let mut blobs: BTreeMap<Hash32, Value> = BTreeMap::new();
        for hash in blobs_of(&records) {
            let bytes = self.journal.blob(hash).await?;
            let value = serde_json::from_slice(&bytes).map_err(|error| {
                Error::new(
                    ProblemKind::DataLost,
                    "corrupt_blob",
                    format!("blob {hash} of run {run} is no JSON: {error}"),
                )
            })?;
            blobs.insert(hash, value);
        }
        Ok(Evidence::new(Arc::unwrap_or_clone(records), blobs)?)
    }
}
