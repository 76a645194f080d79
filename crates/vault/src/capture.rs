//! Captures a tree: reads it once, and writes to the spool what some due tier lacks.
//!
//! If the parent snapshot has an entry with the same size, mtime, ctime and inode, the capture takes the
//! parent's chunk list and does not read the file. It reads the file if its ctime is within 2 s of the
//! parent's consistency point, or later. Both streams are sorted by path, so comparing them is one merge.
//!
//! Memory: one pack that is filled and one that is being written, for content and for the entry stream each
//! (at most 4 × 36 MiB), the chunker's 8 MiB twice, one record, and the indexes of spool and due tiers (about
//! 70 bytes for each chunk they know). It does not grow with the number of files.

mod session;

use std::sync::Arc;

use rekindle_model::entry::TreeSource;
use rekindle_model::id::SnapshotId;
use rekindle_model::time::Stamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::error::VaultError;
use crate::location::{Location, blocking};
use crate::object::ObjectName;
use crate::progress::ProgressSink;
use crate::reader::SnapshotReader;
use crate::snapshot::Snapshot;
use crate::spool::Spool;
use crate::tier::Tier;

/// What to capture.
pub struct CaptureRequest {
    /// The snapshot's name, chosen and recorded by the caller, so that a retry is recognised.
    pub snapshot: SnapshotId,
    /// The component that is captured.
    pub component: String,
    /// The snapshot to compare with. If it cannot be read, the capture reads every file.
    pub parent: Option<SnapshotId>,
    /// The tree.
    pub source: Box<dyn TreeSource>,
    /// The instant whose content the source shows; at the latest its first read.
    pub consistency_point: Stamp,
    /// A name for people: the host or the process that captures.
    pub captured_by: String,
    /// The source's own description, kept in the document.
    pub metadata: Value,
    /// The due tiers. The capture skips a chunk that all of them hold. A tier that does not answer counts as
    /// empty.
    pub tiers: Vec<Arc<Tier>>,
}

impl std::fmt::Debug for CaptureRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureRequest")
            .field("snapshot", &self.snapshot)
            .field("component", &self.component)
            .field("parent", &self.parent)
            .finish_non_exhaustive()
    }
}

/// Captures a tree into the spool and returns the snapshot's document, which is written last.
///
/// If the spool holds the snapshot already, this returns it unchanged. After an interruption, a full disk or
/// a kill, call it again with the source opened again: it finds complete packs by their own tables and writes
/// only the rest. Progress counts bytes of content, unread ones included.
pub async fn capture(
    spool: &Spool,
    request: CaptureRequest,
    progress: &ProgressSink,
    stop: &CancellationToken,
) -> Result<Snapshot, VaultError> {
    if let Some(there) = spool.snapshot(request.snapshot).await? {
        return Ok(there);
    }
    let parent = match request.parent {
        Some(id) => parent(spool, &request.tiers, id).await,
        None => None,
    };
    // The parent is read first: chunks found damaged there do not count as held.
    let held = session::Held::read(spool, &request.tiers).await?;
    let location = Arc::clone(spool.location());
    let session = session::Session::new(
        Arc::clone(&location),
        held,
        parent,
        progress.clone(),
        stop.clone(),
    );
    // The source blocks, and hashing keeps a core busy. So all of it runs off the async threads, and enters
    // the runtime only to write objects and to read the parent.
    let runtime = tokio::runtime::Handle::current();
    let snapshot = blocking(move || session.run(request, &runtime)).await??;
    location
        .put_document(ObjectName::Snapshot(snapshot.id), &snapshot)
        .await?;
    Ok(snapshot)
}

/// Opens the parent and reads all its entries. An unchanged tree has the same entries; if their packs are
/// damaged everywhere, `store` could not copy them for the new snapshot.
async fn parent(spool: &Spool, tiers: &[Arc<Tier>], id: SnapshotId) -> Option<SnapshotReader> {
    let tiers = tiers.iter().flat_map(|tier| tier.locations());
    let locations: Vec<Arc<Location>> = std::iter::once(spool.location()).chain(tiers).cloned().collect();
    let reader = match SnapshotReader::open_marking(locations, id).await {
        Ok(reader) => reader,
        Err(error) => {
            tracing::warn!(parent = %id, %error, "the parent cannot be read; everything is read again");
            return None;
        }
    };
    for chunk in &reader.snapshot().tree {
        // If a chunk is lost, the capture reports it when it reaches the chunk.
        let _ = reader.chunk(chunk).await;
    }
    Some(reader)
}
