//! The application as a face sets it up: the workspace, the person who asks, and the listener of notices.

use std::path::PathBuf;
use std::sync::Arc;

use rekindle_model::time::Clock;
use tokio_util::sync::CancellationToken;

use crate::hooks::Hooks;
use crate::keys::Unlocker;
use crate::layout::Selection;
use crate::notice::Notices;

/// The parts that every operation gets from its face. Clones share everything.
#[derive(Clone)]
pub struct Application {
    /// The workspace that the person means.
    pub selection: Selection,
    /// Who asks, as the journal names them: a user and a host.
    pub asker: String,
    /// The program that runs the supervisor of a step's programs and `${{ rekindle }}`.
    pub executable: PathBuf,
    /// What tests plant.
    pub hooks: Hooks,
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
    /// Cancelled when the person wants a graceful stop.
    pub stop: CancellationToken,
    /// The listener of notices.
    pub notices: Notices,
    /// How this user opens keys.
    pub unlocker: Unlocker,
}
