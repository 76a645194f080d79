//! A run put together from what locations have of it: each chain is checked as a whole, and the one that is furthest
//! counts.

use rekindle_engine::TakenOver;
use rekindle_journal::archive::Bundle;
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::system::System;
use rekindle_vault::SegmentStore;
use rekindle_vault::segment::{Chain, Link};

use super::{OPENS_WITHIN, READS_WITHIN, silent};
use crate::keys::OpenKey;
use crate::workspace::Workspace;

/// A run as one location has it.
pub(crate) struct Gathered {
    /// Its records, and the blobs that they refer to.
    pub(crate) bundle: Bundle,
    /// The last slot.
    pub(crate) tail: Link,
    /// The tier.
    pub(crate) tier: String,
    /// The location.
    pub(crate) url: String,
    /// How many records there are.
    records: usize,
}

/// What locations have of a run.
#[derive(Default)]
pub(crate) struct Sought {
    /// Each whole chain, the one that is furthest first: by epoch, then by records.
    pub(crate) found: Vec<Gathered>,
    /// What is wrong with the others.
    pub(crate) faults: Vec<String>,
}

/// Reads a run from locations.
pub(crate) async fn gather(places: &[SegmentStore], run: RunId) -> Sought {
    let mut sought = Sought::default();
    for place in places {
        let Ok(chain) = tokio::time::timeout(READS_WITHIN, place.chain(run)).await else {
            sought.faults.push(silent(place));
            continue;
        };
        match chain {
            Ok(Chain {
                values,
                blobs,
                tail: Some(tail),
            }) => {
                let records = values.len();
                match Bundle::gather(run, values, blobs) {
                    Ok(bundle) => sought.found.push(Gathered {
                        bundle,
                        tail,
                        tier: place.tier().to_owned(),
                        url: place.url().to_owned(),
                        records,
                    }),
                    Err(error) => sought.faults.push(format!(
                        "tier {}: {}: the slots of run {run}: {error}",
                        place.tier(),
                        place.url()
                    )),
                }
            }
            Ok(_) => {}
            Err(error) => sought.faults.push(format!("tier {}: {error}", place.tier())),
        }
    }
    sought
        .found
        .sort_by_key(|found| std::cmp::Reverse((found.tail.head.epoch, found.records)));
    sought
}

impl Gathered {
    /// Returns what the journal notes as the source of the records.
    pub(crate) fn source(&self) -> Hash32 {
        self.tail.hash
    }

    /// Returns who has the run, as its last slot tells.
    pub(crate) fn holder(&self) -> TakenOver {
        let head = &self.tail.head;
        TakenOver {
            run: head.run,
            host: head.host.as_str().into(),
            workspace: head.workspace,
            at: head.at,
            epoch: head.epoch,
            tier: self.tier.as_str().into(),
            url: self.url.as_str().into(),
        }
    }
}

/// Opens the locations of a system's tiers, as far as they answer; what does not is said.
pub(crate) async fn places(
    workspace: &Workspace,
    system: &System,
    key: &OpenKey,
) -> (Vec<SegmentStore>, Vec<String>) {
    let (mut places, mut silent) = (Vec::new(), Vec::new());
    for (name, tier) in &system.tiers {
        let urls: Vec<String> = tier.locations().into_iter().map(str::to_owned).collect();
        match super::open(workspace, key, name, urls).await {
            Some(Ok(tier)) => {
                let down = tier
                    .down()
                    .iter()
                    .map(|(url, why)| format!("tier {name}: {url}: {why}"));
                silent.extend(down);
                places.extend(tier.segment_stores());
            }
            Some(Err(error)) => silent.push(error.to_string()),
            None => silent.push(format!("tier {name} has not answered within {OPENS_WITHIN:?}")),
        }
    }
    (places, silent)
}
