//! Capturing: a tree is read once, and what not every due tier holds is written to the spool.
//!
//! An entry that the parent snapshot knows (same size, mtime, ctime and inode, and ctime not within 2 s of the
//! parent's consistency point or later) takes the parent's chunk list without being read. Both streams are in
//! the order of paths, so comparing them is one merge.
//!
//! Memory: one pack that is filled and one that is being written, for content and for the entry stream each
//! (at most 4 × 36 MiB), the chunker's 8 MiB twice, one record, and the indexes of spool and due tiers
//! (about 70 bytes for each chunk they know). It does not grow with the number of files.

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
    /// The snapshot to compare with. One that cannot be read is done without.
    pub parent: Option<SnapshotId>,
    /// The tree.
    pub source: Box<dyn TreeSource>,
    /// The instant whose content the source shows, not later than its first read.
    pub consistency_point: Stamp,
    /// Who captures, for people.
    pub captured_by: String,
    /// What the source says of itself.
    pub metadata: Value,
    /// The due tiers: what all of them hold already is not written again. One that does not answer counts
    /// as holding nothing.
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
/// A snapshot that the spool holds already is returned as it is. After an interruption, a full disk or a kill, the
/// same call (with the source opened again) writes only what is not there yet: it finds complete packs again by their
/// own tables. Progress counts bytes of content, those unread included.
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
    // After the parent: what was found damaged there does not count as held.
    let held = session::Held::read(spool, &request.tiers).await?;
    let location = Arc::clone(spool.location());
    let session = session::Session::new(
        Arc::clone(&location),
        held,
        parent,
        progress.clone(),
        stop.clone(),
    );
    // The source blocks, hashing and compressing keep a core busy: all of it runs off the async threads, and
    // enters the runtime only to write objects and to read the parent.
    let runtime = tokio::runtime::Handle::current();
    let snapshot = blocking(move || session.run(request, &runtime)).await??;
    location
        .put_document(ObjectName::Snapshot(snapshot.id), &snapshot)
        .await?;
    Ok(snapshot)
}

/// Opens the parent, and reads its entries through once: an unchanged tree has the same entries again, and where their
/// packs are damaged everywhere, storing the new snapshot would find nothing to read.
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
