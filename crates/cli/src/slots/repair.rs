//! Quarantined runs, mended by the slots that the tiers have of them.
//!
//! What a slot says counts only as the whole chain of its location checks: seals, numbers, hashes, then CRC, chain and
//! history of the records, as for any archive. It fills in what is lost here and adds nothing beyond; where it says
//! something else than what is intact here, the run stays quarantined.

use std::time::Duration;

use rekindle_journal::archive::Import;
use rekindle_journal_local::{OpenOptions, Upkeep};
use rekindle_model::id::RunId;

use super::gather::{Gathered, gather, places};
use crate::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::keys::{self, UnlockBy};
use crate::pinned;
use crate::workspace::Workspace;

/// How long the tiers may take: whoever opens the workspace does not wait for one that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A run that was quarantined and is whole again.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Mended {
    /// The run.
    pub(crate) run: RunId,
    /// How many records it has.
    pub(crate) records: u64,
    /// The tier that had them.
    pub(crate) tier: String,
    /// Where it is.
    pub(crate) url: String,
}

/// Copies of quarantined runs, found in the tiers.
pub(crate) struct Copies(Vec<(RunId, Vec<Gathered>)>);

/// Looks in the tiers for copies of quarantined runs. Nothing is asked of a person: a key that is opened by a passphrase
/// which is not at hand opens nothing.
pub(crate) async fn look(app: &App, workspace: &Workspace, quarantined: &[(RunId, String)]) -> Copies {
    let mut copies = Vec::new();
    if quarantined.is_empty() || !keys::exists(workspace) {
        return Copies(copies);
    }
    let at_hand = std::env::var_os(keys::PASSPHRASE_VAR).is_some();
    let by_passphrase = |pinned: keys::Pinned| pinned.unlock == UnlockBy::Passphrase;
    if !at_hand && keys::pinned(workspace).is_ok_and(by_passphrase) {
        app.printer.warn(format!(
            "the tiers may have what is lost; with {} set, `rekindle journal rebuild` looks there",
            keys::PASSPHRASE_VAR
        ));
        return Copies(copies);
    }
    let (system, key) = match (pinned::system(app, workspace), keys::open(workspace)) {
        (Ok((system, _)), Ok(key)) => (system, key),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "the tiers are not asked for what is lost");
            return Copies(copies);
        }
    };
    let looking = async {
        let (places, silent) = places(workspace, &system, &key).await;
        for why in silent {
            tracing::info!(why, "a tier is not asked for what is lost");
        }
        for (run, _) in quarantined {
            let sought = gather(&places, *run).await;
            sought.faults.iter().for_each(|fault| app.printer.warn(fault));
            if !sought.found.is_empty() {
                copies.push((*run, sought.found));
            }
        }
    };
    if tokio::time::timeout(PATIENCE, looking).await.is_err() {
        app.printer.warn(format!(
            "the tiers were asked for what is lost, and have not answered within {PATIENCE:?}; it is left as it is"
        ));
    }
    Copies(copies)
}

impl Copies {
    /// Returns whether there is nothing to mend anything by.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Mends the journal of a workspace, which nobody has open, and tells what was mended and what was not.
    pub(crate) async fn mend(self, app: &App, workspace: &Workspace) -> Result<Vec<Mended>, CliError> {
        let state = workspace.state.clone();
        let done = tokio::task::spawn_blocking(move || {
            let (mut upkeep, _) = Upkeep::open(&state, &OpenOptions::default())?;
            let (mut mended, mut told) = (Vec::new(), Vec::new());
            for (run, copies) in self.0 {
                for copy in copies {
                    match upkeep.mend(run, &copy.bundle, copy.source()) {
                        Ok(0) => break,
                        Ok(records) => {
                            mended.push(Mended {
                                run,
                                records,
                                tier: copy.tier,
                                url: copy.url,
                            });
                            break;
                        }
                        Err(error) => told.push(format!("tier {}: {}: cannot {error}", copy.tier, copy.url)),
                    }
                }
            }
            Ok::<_, CliError>((mended, told))
        });
        let (mended, told) = done
            .await
            .map_err(|error| CliError::new(Exit::Failed, "internal", error.to_string()))??;
        told.iter().for_each(|told| app.printer.warn(told));
        for Mended {
            run,
            records,
            tier,
            url,
        } in &mended
        {
            app.printer.warn(format!(
                "run {run} had lost records and is whole again, {records} of them, by its slots in tier {tier} ({url})"
            ));
        }
        Ok(mended)
    }
}
