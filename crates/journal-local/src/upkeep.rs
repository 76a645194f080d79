//! The journal, open for its upkeep: no appends meanwhile, and each function returns when its work is done.

use std::path::Path;
use std::sync::PoisonError;

use rekindle_journal::JournalError;
use rekindle_journal::codec::Key;
use rekindle_model::event::JournalHead;

use crate::error::OpenError;
use crate::log::Log;
use crate::open::{self, OpenOptions};
use crate::report::OpenReport;
use crate::shared::Shared;
use crate::store;

/// A workspace's journal, open for its upkeep. Its functions block.
#[derive(Debug)]
pub struct Upkeep {
    pub(crate) shared: Shared,
    pub(crate) log: Log,
}

impl Upkeep {
    /// Opens the journal in a workspace's folder, repairs included, as every open does.
    ///
    /// # Errors
    /// [`OpenError::Held`] when another process owns it.
    pub fn open(dir: &Path, options: &OpenOptions) -> Result<(Self, OpenReport), OpenError> {
        let (shared, log, report) = open::parts(dir, options)?;
        Ok((Self { shared, log }, report))
    }

    /// Sets sled's folder aside and rebuilds it from the log. Records that only sled still has are logged first.
    ///
    /// # Errors
    /// As [`Upkeep::open`].
    pub fn rebuild(dir: &Path, options: &OpenOptions) -> Result<OpenReport, OpenError> {
        let (upkeep, mut first) = Self::open(dir, options)?;
        if !first.rebuilt.is_empty() {
            return Ok(first);
        }
        let incomplete = upkeep.shared.store.is_incomplete()?;
        let Self { shared, log, .. } = upkeep;
        drop(log);
        // The lock is released last.
        let Shared {
            store: sled, lock, ..
        } = shared;
        drop(sled);
        let aside = store::set_aside(&dir.join("journal"))?;
        drop(lock);
        let (upkeep, mut report) = Self::open(dir, options)?;
        if incomplete {
            upkeep.shared.store.note_incomplete()?;
        }
        report.set_aside.splice(0..0, aside);
        report.relogged += first.relogged;
        report.torn_bytes += first.torn_bytes;
        report.rebuilt.insert(0, "it was asked for".to_owned());
        first.damage.retain(|damage| !report.damage.contains(damage));
        report.damage.append(&mut first.damage);
        Ok(report)
    }

    /// Makes a commit with marks durable. The caller applies it to sled.
    pub(crate) fn append_marked(&mut self, entries: &[(Key, Vec<u8>)]) -> Result<JournalHead, JournalError> {
        let head = self.log.append_marked(entries)?;
        *self.shared.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{self, Lock};

    #[test]
    fn the_lock_is_held_until_the_log_is_closed_whatever_else_went_before() {
        let dir = tempfile::tempdir().unwrap();
        let (Upkeep { shared, log }, _) = Upkeep::open(dir.path(), &OpenOptions::default()).unwrap();
        let take = || Lock::take(&dir.path().join(lock::NAME));
        drop(shared);
        assert!(matches!(take(), Err(OpenError::Held { .. })), "the log is open");
        drop(log);
        take().unwrap();
    }
}
