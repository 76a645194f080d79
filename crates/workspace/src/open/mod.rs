//! A workspace in use: opened to change it, or only to read it.
//!
//! [`ReadWriteWorkspace`] is for operations that change something. The process that gets the lock is the workspace's
//! owner until the operation ends, and serves others on the control socket. A process that does not get it talks to the
//! owner instead. No operation knows which: it asks the [`RunService`](rekindle_server::RunService).
//!
//! [`ReadOnlyWorkspace`] is for operations that only read. It disturbs no other process: if the lock is held, it reads
//! the journal's log as it is.

mod damage;
mod log_of_another;
mod read_only;
mod read_write;
mod refusals;

use std::sync::Arc;
use std::time::Duration;

use rekindle_journal::{Journal, JournalError};

use crate::Application;
use crate::context::WorkspaceContext;
use crate::layout::Layout;

pub use read_only::ReadOnlyWorkspace;
pub use read_write::{OwnerLifetime, ReadWriteWorkspace};
pub use refusals::{answers_nobody, interrupted, unreachable};

/// How long an operation waits for a process that holds the workspace and answers nobody (design: 5 s).
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks again.
pub const KNOCK: Duration = Duration::from_millis(100);

fn context(app: &Application, layout: Layout, journal: Arc<dyn Journal>) -> WorkspaceContext {
    WorkspaceContext {
        layout,
        journal: (app.hooks.journal)(journal),
        clock: Arc::clone(&app.clock),
        hooks: app.hooks.clone(),
        unlocker: app.unlocker.clone(),
        executable: app.executable.clone(),
        notices: app.notices.clone(),
        key: Arc::default(),
    }
}

/// Returns whether this user may not write in the workspace.
fn may_not_write(error: &JournalError) -> bool {
    use std::io::ErrorKind as Kind;
    match error {
        JournalError::Io { source, .. } => {
            matches!(source.kind(), Kind::ReadOnlyFilesystem | Kind::PermissionDenied)
        }
        _ => false,
    }
}
