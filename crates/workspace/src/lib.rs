//! The application below its faces: it opens workspaces, guards production, and runs every operation that a face asks
//! for. It knows no command line, no terminal, no exit code and no environment variable.
//!
//! ```text
//! face ─► request ─► operations ─► guards ─► RunSpec ─► open workspace ─► server (owner) ─► RunFactory ─► Engine
//!      ◄─ result, notices, questions ◄─┘
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`application`] | what a face gives every operation: which workspace, who asks, who listens |
//! | [`layout`] | where `system.yaml` and `.rekindle` are |
//! | [`context`] | a workspace with its journal, to be driven or read |
//! | [`open`] | a workspace, opened to change it or only to read it |
//! | [`keys`] | where keys are, the recovery kit, the key that a tier holds |
//! | [`run_spec`] | what a run is pinned to, and the plan that follows from it |
//! | [`run_factory`] | how the owner in this process builds the runs that it drives |
//! | [`guards`] | what must hold before a run touches production |
//! | [`operations`] | one file for each operation: its request, its result |
//! | [`replica`] | the replicas of runs' journals, opened with the workspace's key |
//! | [`staging`] | the plain copies that a killed step leaves |
//! | [`tiers`] | the tiers, opened for reading |
//! | [`trust`] | refuses workspaces and files that other users can change |
//! | [`files`], [`yaml_file`] | files, read and written durably; the YAML files that people name |
//! | [`lookup`], [`names`] | run ids and names as people type them, with the nearest known one |
//! | [`hooks`] | where tests plant kill points; the product plants nothing |
//! | [`error`], [`notice`] | what went wrong, with what to do next; what a person should see meanwhile |

pub mod application;
pub mod context;
pub mod error;
pub mod files;
pub mod guards;
pub mod hooks;
pub mod keys;
pub mod layout;
pub mod lookup;
pub mod names;
pub mod notice;
pub mod open;
pub mod operations;
mod read_run;
pub mod replica;
pub mod run_factory;
pub mod run_spec;
pub mod staging;
pub mod tiers;
pub mod trust;
pub mod yaml_file;

use rekindle_model::system::{System, SystemKinds};
use rekindle_plan::{Diagnostics, Loaded};

/// The sources and tiers that a system may name: those that this program can open.
pub const SYSTEM_KINDS: SystemKinds = SystemKinds {
    sources: rekindle_sources::KEYS,
    tier_urls: rekindle_vault::store::TIER_URLS,
};

/// The formats of what this program writes, each with its newest version. An older program refuses a newer one.
pub const FORMATS: [(&str, u32); 4] = [
    ("journal record", rekindle_journal::codec::RECORD_FORMAT as u32),
    ("journal log", rekindle_journal_local::LOG_FORMAT),
    ("journal archive", rekindle_journal::archive::ARCHIVE_FORMAT),
    ("vault", rekindle_vault::object::FORMAT_VERSION),
];

/// Reads a system whose sources and tiers this program knows; `name` is the file's, for diagnostics.
///
/// # Errors
/// All faults of the file at once, each with its place.
pub fn load_system(name: &str, text: &str) -> Result<Loaded<System>, Diagnostics> {
    rekindle_plan::load_system(name, text, SYSTEM_KINDS)
}

pub use application::Application;
pub use context::WorkspaceContext;
pub use error::Error;
pub use hooks::Hooks;
pub use layout::Layout;
pub use notice::{Notice, Notices};
/// Opens small files that may have been replaced by something else.
pub use rekindle_vault::regular;

pub use open::{OwnerLifetime, ReadOnlyWorkspace, ReadWriteWorkspace};
