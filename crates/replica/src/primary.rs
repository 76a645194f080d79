//! The journal that is replicated, and the reasons why a location could not catch up with it.

use std::path::PathBuf;
use std::sync::Arc;

use rekindle_engine::TakenOver;
use rekindle_journal::{Journal, JournalError};
use rekindle_model::time::Clock;
use rekindle_vault::SegmentError;

use crate::writer::Writer;

/// The journal whose records are replicated, and their writer.
pub(crate) struct Primary {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) writer: Writer,
    /// The workspace's own folder.
    pub(crate) state: PathBuf,
    /// Whether the runs are driven here. If not, their replicas are only caught up.
    pub(crate) drives: bool,
}

/// Why a location could not be brought up to the journal.
pub(crate) enum Fault {
    TakenOver(Box<TakenOver>),
    Down(String),
    /// A segment there cannot be read and may be another workspace's. A person decides whose it is.
    Unknown(String),
    /// There is no vault, and this workspace has never stored in one there.
    Absent,
    /// Somebody has created a segment since the end of the chain was read.
    Moved,
}

impl From<SegmentError> for Fault {
    fn from(error: SegmentError) -> Self {
        Self::Down(error.to_string())
    }
}

impl From<JournalError> for Fault {
    fn from(error: JournalError) -> Self {
        Self::Down(format!("cannot {error}"))
    }
}
