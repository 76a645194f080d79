//! The run that was read last.

use std::sync::{Arc, Mutex, PoisonError};

use rekindle_model::event::Record;
use rekindle_model::id::{Hash32, RunId};

/// The checked records of the run that was read last. A process that resumes a run reads it several times,
/// with few new records in between.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Option<Checked>>);

/// The first records of a run, without a gap.
#[derive(Debug)]
pub(crate) struct Checked {
    run: RunId,
    pub(crate) records: Arc<Vec<Record>>,
    /// The hash of the last one.
    pub(crate) hash: Hash32,
}

impl Recent {
    /// Takes the checked records of a run; none if another run was read last.
    pub(crate) fn take(&self, run: RunId) -> Checked {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        recent.filter(|known| known.run == run).unwrap_or(Checked {
            run,
            records: Arc::default(),
            hash: Hash32::ZERO,
        })
    }

    pub(crate) fn keep(&self, checked: Checked) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(checked);
    }
}
