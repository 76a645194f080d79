//! What commands and the owner of a workspace stand on: where it is, its journal, the process's surroundings.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use rekindle_journal::{Journal, RunFilter, RunSummary};
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::time::Clock;
use rekindle_report::{Evidence, blobs_of};
use serde_json::Value;

use crate::error::CliError;
use crate::exit::Exit;
use crate::hooks::Hooks;
use crate::keys::{self, OpenKey};
use crate::lookup;
use crate::printer::Printer;
use crate::workspace::Workspace;

/// A workspace with its journal, to be driven or only looked at. Clones are the same ground.
#[derive(Clone)]
pub struct Ground {
    /// Where it stands.
    pub workspace: Workspace,
    /// The journal, with the hooks around it.
    pub journal: Arc<dyn Journal>,
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
    /// What tests plant.
    pub hooks: Hooks,
    /// How it speaks.
    pub printer: Printer,
    /// The workspace's key, once somebody needed it.
    pub(crate) key: Arc<OnceLock<Arc<OpenKey>>>,
}

impl Ground {
    /// Opens the workspace's key, once for the whole process: a passphrase is asked for at the command's own terminal,
    /// and not again for each run.
    pub(crate) fn key(&self) -> Result<Arc<OpenKey>, CliError> {
        if let Some(key) = self.key.get() {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(keys::open(&self.workspace)?);
        Ok(Arc::clone(self.key.get_or_init(|| key)))
    }

    /// Returns the run that `word` means.
    pub async fn run(&self, word: &str) -> Result<RunId, CliError> {
        lookup::run(&*self.journal, word).await
    }

    /// Returns the runs without an end, newest first.
    pub async fn interrupted(&self) -> Result<Vec<RunSummary>, CliError> {
        let filter = RunFilter {
            finished: Some(false),
            ..RunFilter::default()
        };
        Ok(self.journal.runs(&filter).await?)
    }

    /// Reads all that the journal proves about a run.
    pub async fn evidence(&self, run: RunId) -> Result<Evidence, CliError> {
        let records = self.journal.read(run).await?;
        let mut blobs: BTreeMap<Hash32, Value> = BTreeMap::new();
        for hash in blobs_of(&records) {
            let bytes = self.journal.blob(hash).await?;
            let value = serde_json::from_slice(&bytes).map_err(|error| {
                CliError::new(
                    Exit::DataLost,
                    "corrupt_blob",
                    format!("blob {hash} of run {run} is no JSON: {error}"),
                )
            })?;
            blobs.insert(hash, value);
        }
        Ok(Evidence::new(Arc::unwrap_or_clone(records), blobs)?)
    }
}
