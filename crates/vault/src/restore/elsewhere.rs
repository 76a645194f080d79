//! Records what a restore took from another tier than the preferred one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rekindle_model::entry::TreePath;
use serde::{Deserialize, Serialize};

use crate::reader::Fetched;

/// How many files are named; the others are counted.
const NAMED: usize = 20;

/// The content that one tier gave in place of the preferred one.
///
/// It is part of the checkpoint, so it covers only what the checkpoint covers. If a killed call restored more
/// after its last recorded checkpoint, the next call finds that right, and neither call reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The tier that served.
    pub tier: String,
    /// Files with some content from it.
    pub files: u64,
    /// Bytes of content from it.
    pub bytes: u64,
    /// Whether it gave the snapshot's document or a part of the entries.
    pub list: bool,
    /// The first of those files, at most 20.
    pub named: Vec<TreePath>,
    /// The last of those files: a large file continues in the next window, and counts once.
    last: Option<TreePath>,
    /// The answers of the locations that were asked before it, for its first chunk.
    pub why: String,
}

/// The counts of one window, before it is complete.
#[derive(Debug)]
pub(super) struct Tally {
    prefer: Option<String>,
    tiers: BTreeMap<Arc<str>, OfTier>,
}

#[derive(Debug, Default)]
struct OfTier {
    files: BTreeSet<TreePath>,
    bytes: u64,
    why: Option<String>,
}

impl Tally {
    pub(super) fn new(prefer: Option<String>) -> Self {
        Self {
            prefer,
            tiers: BTreeMap::new(),
        }
    }

    /// Notes a chunk for those files.
    pub(super) fn note<'a>(&mut self, fetched: &Fetched, files: impl Iterator<Item = &'a TreePath>) {
        if !self.is_elsewhere(&fetched.tier) {
            return;
        }
        let of_tier = self.tiers.entry(Arc::clone(&fetched.tier)).or_default();
        of_tier.why.get_or_insert_with(|| fetched.missed.join("; "));
        for file in files {
            of_tier.bytes += fetched.bytes.len() as u64;
            if !of_tier.files.contains(file) {
                of_tier.files.insert(file.clone());
            }
        }
    }

    fn is_elsewhere(&self, tier: &str) -> bool {
        self.prefer.as_deref().is_some_and(|prefer| prefer != tier)
    }

    /// Adds the window's counts to `sum`; `listed` are the tiers that gave the entries.
    pub(super) fn add_to(self, sum: &mut Vec<Elsewhere>, listed: &BTreeMap<Arc<str>, Vec<String>>) {
        for (tier, missed) in listed.iter().filter(|(tier, _)| self.is_elsewhere(tier)) {
            let one = entry(sum, tier, || missed.join("; "));
            one.list = true;
        }
        for (tier, of_tier) in self.tiers {
            let one = entry(sum, &tier, || of_tier.why.clone().unwrap_or_default());
            one.bytes += of_tier.bytes;
            let goes_on = one.last.as_ref().is_some_and(|last| of_tier.files.contains(last));
            one.files += of_tier.files.len() as u64 - u64::from(goes_on);
            let room = NAMED.saturating_sub(one.named.len());
            let new = of_tier
                .files
                .iter()
                .filter(|file| one.last.as_ref() != Some(*file));
            one.named.extend(new.take(room).cloned());
            one.last = of_tier.files.last().cloned();
        }
    }
}

fn entry<'a>(sum: &'a mut Vec<Elsewhere>, tier: &str, why: impl FnOnce() -> String) -> &'a mut Elsewhere {
    let at = sum.iter().position(|one| one.tier == tier).unwrap_or_else(|| {
        sum.push(Elsewhere {
            tier: tier.to_owned(),
            files: 0,
            bytes: 0,
            list: false,
            named: Vec::new(),
            last: None,
            why: why(),
        });
        sum.len() - 1
    });
    &mut sum[at]
}
