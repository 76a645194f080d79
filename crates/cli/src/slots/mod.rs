//! A run's journal in every tier: copied there while the run is driven, gone on with from there by another workspace,
//! mended from there where it is damaged here.
//!
//! ```text
//! driver ─► journal (durable here) ─► Copier ─► a Spot for each location ─► journal/<run>/<n>, created exclusively
//!    ▲                                              │
//!    └── stops: the run was taken over ◄────────────┘ the next slot is somebody else's
//!
//! adopt:  slots of one location ─► gather, checked ─► this journal ─► run_adopted ─► the next slot ─► drive
//! repair: quarantined run ─► gather, checked ─► the records that are lost here
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`copier`] | copies the journal of the runs that this process drives, and finds out who else goes on with them |
//! | `spot` | one location, and how far its chain of one run has come |
//! | `end` | where a chain ends, and whether it agrees with the journal here |
//! | [`gather`] | a run put together from what locations have of it |
//! | [`fenced`] | that a run was taken over, noted in this workspace |
//! | `owed`, [`seen`] | which runs a location lacks slots of; which slots this workspace has seen last |
//! | [`check`] | slots, read and compared with the journal |
//! | [`prune`] | which slots go, and when |
//! | [`repair`] | quarantined runs, mended |
//! | [`writer`] | who writes slots: the workspace and the host |

pub(crate) mod check;
pub(crate) mod copier;
mod end;
pub(crate) mod fenced;
pub(crate) mod gather;
pub(crate) mod owed;
pub(crate) mod prune;
pub(crate) mod repair;
pub(crate) mod seen;
mod spot;
pub(crate) mod writer;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rekindle_vault::{Remembered, SegmentStore, Tier, TierError, TierMode};

use crate::error::CliError;
use crate::exit::Exit;
use crate::keys::OpenKey;
use crate::workspace::Workspace;

/// How long a location may take to open before it counts as one that does not answer.
pub(crate) const OPENS_WITHIN: Duration = Duration::from_secs(10);
/// How long one may take to give all the slots of a run, or the last ones of all runs.
pub(crate) const READS_WITHIN: Duration = Duration::from_secs(30);

/// Opens a tier at those of its locations; none where it has not answered in time.
pub(crate) async fn open(
    workspace: &Workspace,
    key: &OpenKey,
    tier: &str,
    urls: Vec<String>,
) -> Option<Result<Tier, TierError>> {
    let (name, base, state) = (tier.to_owned(), workspace.system_dir(), workspace.state.clone());
    let (keyring, wrapped) = (Arc::clone(&key.keyring), key.wrapped.clone());
    // A task of its own: what hangs in the operating system must not take the one that waits along.
    let opening = tokio::spawn(async move {
        let (mode, remembered) = (TierMode::Existing, Remembered::of(&state));
        Tier::open_known(&name, &urls, &base, keyring, &wrapped, mode, &remembered).await
    });
    tokio::time::timeout(OPENS_WITHIN, opening).await.ok()?.ok()
}

/// Returns the error of a command that waits for a location no longer.
pub(crate) fn unanswered(url: &str, waited: Duration) -> CliError {
    CliError::new(
        Exit::Failed,
        "tier_unavailable",
        format!("{url} has not answered within {waited:?}"),
    )
    .with_hint("nothing was changed; mount it, or see that it can be reached, then run this again")
}

/// Tells of a location that is waited for no longer.
pub(crate) fn silent(place: &SegmentStore) -> String {
    let (tier, url) = (place.tier(), place.url());
    format!("tier {tier}: {url} has not answered within {READS_WITHIN:?}")
}

/// When a small file is to survive a power cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durable {
    /// Once it was written.
    Now,
    /// A little later: losing it costs nothing that counts.
    Soon,
}

/// Writes a small file whole and durably in the place of what stood there; its folder is made where there is none.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    put(path, bytes, Durable::Now)
}

fn put(path: &Path, bytes: &[u8], durable: Durable) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    if durable == Durable::Soon {
        return file.persist(path).map(drop).map_err(|error| error.error);
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
