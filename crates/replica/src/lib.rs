//! Journal replicas: a run's journal in every tier, so that another workspace can continue the run.
//!
//! A replica is a chain of segments (`rekindle_vault::segment`) in one location. A process creates the next
//! segment only if none exists. If two workspaces continue one run, the one that finds the segment taken is
//! fenced.
//!
//! ```text
//! driver ─► journal (durable here) ─► Replicator ─► one ReplicaLocation each ─► journal/<run>/<n>, created exclusively
//!    ▲                                                │
//!    └── stops: the run was taken over ◄──────────────┘ the next segment is another workspace's
//!
//! adopt:  segments of one location ─► fetch, checked ─► this journal ─► run_adopted ─► the next segment ─► drive
//! repair: quarantined run ─► fetch, checked ─► the records that are lost here
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`replicator`] | replicates the journal of the runs that this process drives; fences them; catches up earlier ones |
//! | `location` | one location of one run, and the lag of its replica |
//! | `chain_end` | the end of a replica, and whether it agrees with the journal here |
//! | `primary` | the journal that is replicated; why a location could not catch up with it |
//! | [`fence`] | `fenced/`: runs that another workspace has taken over |
//! | [`lag`] | `owed/`: replicas that lack segments |
//! | [`last_seen`] | `seen/`: the last segments that this workspace has written or read |
//! | [`fetch`] | a run read from the locations; the most advanced one counts |
//! | [`check`] | every segment, read and compared with the journal here |
//! | [`prune`] | which segments are removed, and when |
//! | [`repair`] | quarantined runs, repaired from their replicas |
//! | [`writer`] | the writer of segments: the workspace's id and the host |
//! | [`open`] | tiers, opened with a time limit |
//!
//! The crate takes a journal, a keyring, a folder and a clock. It prints nothing: it returns
//! [`ReplicaError`]s and [`Notice`]s, and its caller renders them.

mod chain_end;
pub mod check;
mod error;
pub mod fence;
pub mod fetch;
pub mod lag;
pub mod last_seen;
mod location;
mod notice;
pub mod open;
mod primary;
pub mod prune;
pub mod repair;
pub mod replicator;
mod state_file;
pub mod writer;

pub use error::ReplicaError;
pub use notice::{Notice, Notify};
pub use replicator::{REPLICATE_EVERY, Replication, Replicator};
pub use writer::Writer;

#[cfg(test)]
mod tests;
