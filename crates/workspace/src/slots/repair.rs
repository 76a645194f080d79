//! Quarantined runs, mended by the slots that the tiers have of them.
//!
//! What a slot says counts only as the whole chain of its location checks: seals, numbers, hashes, then CRC, chain and
//! history of the records, as for any archive. It fills in what is lost here and adds nothing beyond; where it says
//! something else than what is intact here, the run stays quarantined.

use std::time::Duration;

use rekindle_journal::{OpenOptions, Upkeep};
use rekindle_model::id::RunId;

use super::gather::{Gathered, gather, places};
use crate::Application;
use crate::error::Error;
use crate::keys::{self, UnlockBy};
use crate::layout::Layout;
use crate::run_spec;
use rekindle_model::problem::ProblemKind;

/// How long the tiers may take: whoever opens the workspace does not wait for one that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A run that was quarantined and is whole again.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Mended {
    /// The run.
    pub run: RunId,
    /// How many records it has.
    pub records: u64,
    /// The tier that had them.
    pub tier: String,
    /// Where it is.
    pub url: String,
}

/// Copies of quarantined runs, found in the tiers.
pub struct Copies(Vec<(RunId, Vec<Gathered>)>);

/// Looks in the tiers for copies of quarantined runs. Nothing is asked of a person: a key that is opened by a passphrase
/// which is not at hand opens nothing.
pub async fn look(app: &Application, layout: &Layout, quarantined: &[(RunId, String)]) -> Copies {
    let mut copies = Vec::new();
    if quarantined.is_empty() || !keys::exists(layout) {
        return Copies(copies);
    }
    let at_hand = app.unlocker.passphrase_at_hand;
    let by_passphrase = |pinned: keys::PinnedKey| pinned.unlock == UnlockBy::Passphrase;
    if !at_hand && keys::pinned(layout).is_ok_and(by_passphrase) {
        app.notices.warn(format!(
            "the tiers may have what is lost; with {} set, `rekindle journal rebuild` looks there",
            "REKINDLE_PASSPHRASE"
        ));
        return Copies(copies);
    }
    let (system, key) = match (run_spec::system(layout), keys::open(layout, &app.unlocker)) {
        (Ok((system, _)), Ok(key)) => (system, key),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "the tiers are not asked for what is lost");
            return Copies(copies);
        }
    };
    let looking = async {
        let (places, silent) = places(layout, &system, &key).await;
        for why in silent {
            tracing::info!(why, "a tier is not asked for what is lost");
        }
        for (run, _) in quarantined {
            let sought = gather(&places, *run).await;
            sought.faults.iter().for_each(|fault| app.notices.warn(fault));
            if !sought.found.is_empty() {
                copies.push((*run, sought.found));
            }
        }
    };
    if tokio::time::timeout(PATIENCE, looking).await.is_err() {
        app.notices.warn(format!(
            "the tiers were asked for what is lost, and have not answered within {PATIENCE:?}; it is left as it is"
        ));
    }
    Copies(copies)
}

impl Copies {
    /// Returns whether there is nothing to mend anything by.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Mends the journal of a workspace, which nobody has open, and tells what was mended and what was not.
    pub async fn mend(self, app: &Application, layout: &Layout) -> Result<Vec<Mended>, Error> {
        let state = layout.state.clone();
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
            Ok::<_, Error>((mended, told))
        });
        let (mended, told) = done
            .await
            .map_err(|error| Error::new(ProblemKind::Failed, "internal", error.to_string()))??;
        told.iter().for_each(|told| app.notices.warn(told));
        for Mended {
            run,
            records,
            tier,
            url,
        } in &mended
        {
            app.notices.warn(format!(
                "run {run} had lost records and is whole again, {records} of them, by its slots in tier {tier} ({url})"
            ));
        }
        Ok(mended)
    }
}
