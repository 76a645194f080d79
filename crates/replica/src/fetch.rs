//! Reads a run from the locations that have a replica of it. Checks each replica as a whole, and prefers the
//! most advanced one.

use rekindle_engine::TakenOver;
use rekindle_journal::archive::Bundle;
use rekindle_model::id::{Hash32, RunId};
use rekindle_vault::SegmentStore;
use rekindle_vault::segment::{Chain, Link};

use crate::notice::Notice;
use crate::open;

/// A run as one location has it.
pub struct FetchedReplica {
    /// Its records, and the blobs that they refer to.
    pub bundle: Bundle,
    /// The last segment.
    pub tail: Link,
    /// The tier.
    pub tier: String,
    /// The location.
    pub url: String,
    /// How many records there are.
    records: usize,
}

/// The replicas of a run in all locations.
#[derive(Default)]
pub struct Fetched {
    /// Each whole chain, the most advanced first: by epoch, then by records.
    pub found: Vec<FetchedReplica>,
    /// The faults of the others.
    pub faults: Vec<Notice>,
}

/// Reads a run from locations.
pub async fn fetch(stores: &[SegmentStore], run: RunId) -> Fetched {
    let mut fetched = Fetched::default();
    for store in stores {
        let unusable = |why: String| Notice::Unusable {
            tier: store.tier().to_owned(),
            why,
        };
        let chain = match open::answer(store, store.chain(run)).await {
            Ok(chain) => chain,
            Err(error) => {
                fetched.faults.push(unusable(error.to_string()));
                continue;
            }
        };
        match chain {
            Ok(Chain {
                values,
                blobs,
                tail: Some(tail),
            }) => {
                let records = values.len();
                match Bundle::gather(run, values, blobs) {
                    Ok(bundle) => fetched.found.push(FetchedReplica {
                        bundle,
                        tail,
                        tier: store.tier().to_owned(),
                        url: store.url().to_owned(),
                        records,
                    }),
                    Err(error) => {
                        let why = format!("{}: the segments of run {run}: {error}", store.url());
                        fetched.faults.push(unusable(why));
                    }
                }
            }
            Ok(_) => {}
            Err(error) => fetched.faults.push(unusable(error.to_string())),
        }
    }
    fetched
        .found
        .sort_by_key(|found| std::cmp::Reverse((found.tail.head.epoch, found.records)));
    fetched
}

impl FetchedReplica {
    /// Returns the hash that the journal notes as the source of the records.
    pub fn source(&self) -> Hash32 {
        self.tail.hash
    }

    /// Returns the workspace that has the run, according to its last segment.
    pub fn holder(&self) -> TakenOver {
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
