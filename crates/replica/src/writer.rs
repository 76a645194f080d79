//! The writer of segments: this workspace, by its permanent id, on this host.

use rekindle_vault::regular;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::ReplicaError;
use crate::state_file::{self, Durable};

/// The file in the workspace's own folder.
const FILE: &str = "workspace.json";

/// Its content.
#[derive(Serialize, Deserialize)]
struct Kept {
    id: Uuid,
}

/// A workspace on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The workspace's id.
    pub workspace: Uuid,
    /// The host's name.
    pub host: String,
}

impl Writer {
    /// Returns the writer for the workspace whose state folder is `state`. If its id cannot be stored (a full
    /// disk), uses a temporary one, since that is no reason to stop working.
    pub fn of(state: &Path) -> Self {
        Self::kept(state).unwrap_or_else(|error| {
            tracing::warn!(%error, "the workspace goes by another id until its own can be kept");
            Self {
                workspace: Uuid::new_v4(),
                host: host(),
            }
        })
    }

    /// Returns the writer for the workspace whose state folder is `state`. Creates a missing id, so call it
    /// under the workspace's lock.
    ///
    /// # Errors
    /// The id cannot be read or written.
    ///
    /// The id serves messages. A copy of a workspace has the same one. If both continue one run, their
    /// records show it, and not the id.
    pub fn kept(state: &Path) -> Result<Self, ReplicaError> {
        let path = state.join(FILE);
        let host = host();
        let failed = |doing, path, source| ReplicaError::File { doing, path, source };
        match regular::read(&path, regular::SMALL) {
            Ok(bytes) => {
                let kept: Kept = serde_json::from_slice(&bytes)
                    .map_err(|source| ReplicaError::WorkspaceIdUnreadable { path, source })?;
                Ok(Self {
                    workspace: kept.id,
                    host,
                })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let workspace = Uuid::new_v4();
                let text = serde_json::to_vec(&Kept { id: workspace }).unwrap_or_default();
                state_file::write(&path, &text, Durable::Now)
                    .map_err(|error| failed("write", path, error))?;
                Ok(Self { workspace, host })
            }
            Err(error) => Err(failed("read", path, error)),
        }
    }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_keeps_its_id_and_says_where_it_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let first = Writer::of(dir.path());
        assert_eq!(Writer::kept(dir.path()).unwrap(), first);
        std::fs::write(dir.path().join(FILE), "torn").unwrap();
        let error = Writer::kept(dir.path()).unwrap_err();
        assert!(error.to_string().contains("workspace.json"), "{error}");
        assert_ne!(Writer::of(dir.path()).workspace, first.workspace);
    }
}
