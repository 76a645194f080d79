//! Repairs quarantined runs from their replicas in the tiers.
//!
//! A replica counts only if its whole chain is valid: seals, numbers, hashes, then CRC, chain and history of
//! the records, as for any archive. It restores the lost records and adds nothing beyond. If it differs from
//! a record that is intact here, the run stays quarantined.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use rekindle_journal::archive::Bundle;
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::system::System;
use rekindle_vault::TierAccess;
use serde::Serialize;

use crate::fetch::{FetchedReplica, fetch};
use crate::notice::Notice;
use crate::open;

/// How long the tiers may take: a command that opens the workspace does not wait for a tier that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A run that was quarantined and is whole again.
#[derive(Clone, Debug, Serialize)]
pub struct Repaired {
    /// The run.
    pub run: RunId,
    /// How many records it has.
    pub records: u64,
    /// The tier that had them.
    pub tier: String,
    /// The location.
    pub url: String,
}

/// The replicas of quarantined runs that were found in the tiers.
#[derive(Default)]
pub struct RepairSources(Vec<(RunId, Vec<FetchedReplica>)>);

impl RepairSources {
    /// Looks in the tiers for replicas of quarantined runs, for half a minute at most.
    pub async fn find(
        access: &Arc<TierAccess>,
        system: &System,
        quarantined: impl IntoIterator<Item = RunId>,
    ) -> (Self, Vec<Notice>) {
        let (mut sources, mut notices) = (Vec::new(), Vec::new());
        let looking = async {
            let (stores, left_out) = open::locations(access, system).await;
            for why in left_out {
                tracing::info!(%why, "a tier cannot be asked for lost records");
            }
            for run in quarantined {
                let fetched = fetch(&stores, run).await;
                notices.extend(fetched.faults);
                if !fetched.found.is_empty() {
                    sources.push((run, fetched.found));
                }
            }
        };
        if tokio::time::timeout(PATIENCE, looking).await.is_err() {
            notices.push(Notice::NotRepaired { waited: PATIENCE });
        }
        (Self(sources), notices)
    }

    /// Returns whether no location is available for repairs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Repairs runs: `mend` puts the lost records of a run into the journal, from a bundle and the hash that the journal
    /// notes as their source, and returns how many the run has then; 0 if none was lost. It blocks.
    pub fn repair<E: Display>(
        self,
        mut mend: impl FnMut(RunId, &Bundle, Hash32) -> Result<u64, E>,
    ) -> (Vec<Repaired>, Vec<Notice>) {
        let (mut repaired, mut notices) = (Vec::new(), Vec::new());
        for (run, replicas) in self.0 {
            for replica in replicas {
                match mend(run, &replica.bundle, replica.source()) {
                    Ok(0) => break,
                    Ok(records) => {
                        repaired.push(Repaired {
                            run,
                            records,
                            tier: replica.tier,
                            url: replica.url,
                        });
                        break;
                    }
                    Err(error) => notices.push(Notice::Unusable {
                        tier: replica.tier,
                        why: format!("{}: cannot {error}", replica.url),
                    }),
                }
            }
        }
        (repaired, notices)
    }
}
