//! One location of a tier as a store of segments.

use std::collections::BTreeMap;
use std::sync::Arc;

use rekindle_model::id::{Hash32, RunId};

use super::chain::{Chain, Link};
use super::walk::{Walk, Walked};
use super::{SEGMENT_MAX, Segment, SegmentError, hash, open, seal};
use crate::error::ObjectFault;
use crate::location::{Location, blocking};
use crate::object::{JOURNAL, ObjectName};
use crate::store::StoreError;
use crate::tier::Tier;

/// How often a run's segments are listed anew before a listed segment that is gone counts as missing. A prune
/// explains one such loss, since it removes a run's segments once.
const LISTINGS: usize = 3;

/// Clones are the same location.
#[derive(Clone, Debug)]
pub struct SegmentStore {
    tier: String,
    pub(super) location: Arc<Location>,
}

/// The result of creating a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was created; the hash of its stored bytes.
    Here(Hash32),
    /// The number is taken: another process continues the run, or an earlier attempt of this process wrote the
    /// segment.
    Taken,
}

impl Tier {
    /// Returns the open locations; each has its own chain of every run.
    pub fn segment_stores(&self) -> Vec<SegmentStore> {
        let places = self.locations().iter().map(|location| SegmentStore {
            tier: self.name().to_owned(),
            location: Arc::clone(location),
        });
        places.collect()
    }
}

impl SegmentStore {
    /// Returns the tier's name.
    pub fn tier(&self) -> &str {
        &self.tier
    }

    /// Returns the location's URL.
    pub fn url(&self) -> &str {
        &self.location.url
    }

    /// Returns the runs that have segments here, oldest first.
    ///
    /// # Errors
    /// [`SegmentError::Store`].
    pub async fn runs(&self) -> Result<Vec<RunId>, SegmentError> {
        let names = self.location.store.folders(JOURNAL).await?;
        let mut runs: Vec<RunId> = names.iter().filter_map(|name| name.parse().ok()).collect();
        runs.sort_unstable();
        Ok(runs)
    }

    /// Returns a run's last segment; none where it has no segment here.
    ///
    /// # Errors
    /// That it is damaged, or that one is missing before it in the chain.
    pub async fn tail(&self, run: RunId) -> Result<Option<Link>, SegmentError> {
        let numbers = self.numbers(run).await?;
        let Some(last) = numbers.last().copied() else {
            return Ok(None);
        };
        if last > numbers.len() as u64 {
            // A missing segment may be retired: then the chain begins after it.
            let walked = self.walk(run).await?;
            return walked.faults.into_iter().next().map_or(Ok(walked.tail), Err);
        }
        let (segment, hash) = self.read(run, last).await?;
        Ok(Some(Link {
            head: segment.head,
            hash,
        }))
    }

    /// Returns the content of all segments of a run; no records if it has no segment here.
    ///
    /// # Errors
    /// The first segment that is missing, damaged, or does not follow the one before it;
    /// [`SegmentError::Removed`].
    pub async fn chain(&self, run: RunId) -> Result<Chain, SegmentError> {
        let (mut chain, mut building) = (Chain::default(), BTreeMap::new());
        let walked = self
            .pass(run, |segment| {
                let begins = segment.head.begins();
                chain.take(segment, begins, &mut building);
            })
            .await?;
        if let Some(fault) = walked.faults.into_iter().next() {
            return Err(fault);
        }
        if walked.closed {
            return Err(SegmentError::Removed {
                location: self.location.url.clone(),
                run,
            });
        }
        chain.tail = walked.tail;
        Ok(chain)
    }

    /// Reads every segment of a run, one at a time, and returns the faults since its chain began.
    ///
    /// # Errors
    /// [`SegmentError::Store`]: the location could not be read.
    pub async fn walk(&self, run: RunId) -> Result<Walked, SegmentError> {
        self.pass(run, |_| {}).await
    }

    /// Reads every segment of a run, and passes each that is in order to `each`. If a prune has removed a listed
    /// segment, it starts again with the first: then the segments that it passes begin the chain again.
    ///
    /// # Errors
    /// [`SegmentError::Store`]: the location could not be read.
    pub async fn pass(&self, run: RunId, mut each: impl FnMut(Segment)) -> Result<Walked, SegmentError> {
        let mut numbers = self.numbers(run).await?;
        for _ in 1..LISTINGS {
            let walked = self.pass_these(run, &numbers, &mut each).await?;
            let gone = |fault: &SegmentError| matches!(fault, SegmentError::Missing { n, .. } if numbers.contains(n));
            if !walked.faults.iter().any(gone) {
                return Ok(walked);
            }
            let listed = self.numbers(run).await?;
            if listed == numbers {
                return Ok(walked);
            }
            numbers = listed;
        }
        self.pass_these(run, &numbers, &mut each).await
    }

    /// Reads the segments of a run with these numbers.
    async fn pass_these(
        &self,
        run: RunId,
        numbers: &[u64],
        each: &mut impl FnMut(Segment),
    ) -> Result<Walked, SegmentError> {
        let (mut walk, mut faults, mut segments) = (Walk::default(), Vec::new(), 0);
        let (mut expected, mut last) = (1, 0);
        for n in numbers.iter().copied() {
            if n > expected {
                faults.push(SegmentError::Missing {
                    location: self.location.url.clone(),
                    run,
                    n: expected,
                    to: n - 1,
                });
            }
            (expected, last) = (n + 1, n);
            let (segment, hash) = match self.read(run, n).await {
                Ok(read) => read,
                Err(fault) if fault.segment().is_some() => {
                    faults.push(fault);
                    continue;
                }
                Err(error) => return Err(error),
            };
            segments += 1;
            // Once a segment begins the chain, faults of the segments before it do not count.
            if segment.head.begins() {
                faults.clear();
            }
            if !faults.is_empty() {
                walk.pass_over(&segment, hash);
                continue;
            }
            match walk.add(&segment, hash) {
                Ok(()) => each(segment),
                Err(why) => {
                    faults.push(SegmentError::Unchained {
                        location: self.location.url.clone(),
                        run,
                        n,
                        why,
                    });
                    walk.pass_over(&segment, hash);
                }
            }
        }
        Ok(Walked {
            last,
            faults,
            segments,
            ..walk.end()
        })
    }

    /// Creates a segment if its number is free. If the location cannot do that exclusively
    /// ([`SegmentStore::is_exclusive`]), it looks first and then writes.
    ///
    /// # Errors
    /// [`SegmentError::Store`]; the segment may be there all the same.
    pub async fn create(&self, segment: &Segment) -> Result<Created, SegmentError> {
        let (run, n) = (segment.head.run, segment.head.n);
        let (keyring, sealed) = (Arc::clone(&self.location.keyring), segment.clone());
        let bytes = blocking(move || seal(&keyring, &sealed)).await;
        let bytes = bytes.unwrap_or_else(|error| {
            Err(ObjectFault::Malformed {
                why: error.to_string(),
            })
        });
        let bytes = bytes.map_err(|fault| self.damaged(run, n, fault))?;
        let (path, hash) = (ObjectName::Segment(run, n).path(), hash(&bytes));
        let store = &self.location.store;
        let created = match store.create(&path, bytes.clone().into()).await {
            Err(StoreError::NotExclusive { .. }) if store.len(&path).await?.is_none() => {
                store.put(&path, bytes.into()).await?;
                true
            }
            Err(StoreError::NotExclusive { .. }) => false,
            created => created?,
        };
        Ok(match created {
            true => Created::Here(hash),
            false => Created::Taken,
        })
    }

    /// Returns whether there is a segment under that number.
    ///
    /// # Errors
    /// [`SegmentError::Store`].
    pub async fn is_taken(&self, run: RunId, n: u64) -> Result<bool, SegmentError> {
        let path = ObjectName::Segment(run, n).path();
        match self.location.store.len(&path).await {
            Err(StoreError::NotAFile { .. }) => Ok(true),
            len => Ok(len?.is_some()),
        }
    }

    /// Returns whether the location lets only one of several processes create an object. It tries this out now.
    ///
    /// # Errors
    /// [`SegmentError::Store`]: the trial failed.
    pub async fn is_exclusive(&self) -> Result<bool, SegmentError> {
        match crate::probe::exclusive(self.location.store.as_ref()).await {
            Ok(exclusive) => Ok(exclusive),
            Err(StoreError::NotExclusive { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the numbers of a run's segments, ascending; some may be missing.
    pub(super) async fn numbers(&self, run: RunId) -> Result<Vec<u64>, SegmentError> {
        let listed = match self.location.store.list(&format!("{JOURNAL}/{run}")).await {
            Err(StoreError::NotFound { .. }) => Vec::new(),
            listed => listed?,
        };
        let mut numbers: Vec<u64> = listed
            .iter()
            .filter_map(|(path, _)| match ObjectName::from_path(path) {
                Some(ObjectName::Segment(of, n)) if of == run => Some(n),
                _ => None,
            })
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(super) async fn read(&self, run: RunId, n: u64) -> Result<(Segment, Hash32), SegmentError> {
        let path = ObjectName::Segment(run, n).path();
        let bytes = match self.location.store.get(&path, SEGMENT_MAX).await {
            Err(StoreError::NotFound { .. }) => {
                return Err(SegmentError::Missing {
                    location: self.location.url.clone(),
                    run,
                    n,
                    to: n,
                });
            }
            Err(error) => {
                return Err(match ObjectFault::of(&error) {
                    Some(fault) => self.damaged(run, n, fault),
                    None => error.into(),
                });
            }
            Ok(bytes) => bytes,
        };
        let segment = open(&self.location.keyring, run, n, &bytes);
        let segment = segment.map_err(|fault| self.damaged(run, n, fault))?;
        Ok((segment, hash(&bytes)))
    }

    fn damaged(&self, run: RunId, n: u64, fault: ObjectFault) -> SegmentError {
        SegmentError::Damaged {
            location: self.location.url.clone(),
            run,
            n,
            fault,
        }
    }
}
