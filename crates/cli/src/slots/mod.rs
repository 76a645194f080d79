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
//! | [`gather`] | a run put together from what locations have of it |
//! | [`fenced`] | that a run was taken over, noted in this workspace |
//! | `owed` | which runs a location lacks slots of |
//! | [`repair`] | quarantined runs, mended |
//! | [`writer`] | who writes slots: the workspace and the host |

pub(crate) mod copier;
pub(crate) mod fenced;
pub(crate) mod gather;
mod owed;
pub(crate) mod repair;
mod spot;
pub(crate) mod writer;

use std::io::Write;
use std::path::Path;

/// Writes a small file whole and durably in the place of what stood there; its folder is made where there is none.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
