//! The owner of a workspace: the one process that drives its runs, and the socket on which others talk to it.
//!
//! | module | what it is |
//! |---|---|
//! | [`api`] | the messages on the socket: submissions, run updates, problems |
//! | [`run_service`] | the requests of a command to the owner, in this process or behind the socket |
//! | [`owner`] | drives the runs that clients submit |
//! | [`socket`] | `control.sock`: bound under the workspace's lock, for the same user only |
//! | `http` | the owner's routes |
//! | [`client`] | a client of another process's owner, through its socket |
//!
//! ```text
//!  command ─► RunService ─┬─ Owner ─► Engine ─► journal          (this process holds the lock)
//!                         └─ Client ─► control.sock ─► Owner      (another one does)
//! ```
//! The socket speaks JSON over HTTP/1.1. Only the user who owns the workspace can reach it, so the owner
//! trusts definitions from it as it trusts the command line.

pub mod api;
pub mod client;
mod http;
pub mod owner;
pub mod run_service;
pub mod socket;

pub use api::{End, OwnerInfo, RunUpdate, Submission};
pub use client::Client;
pub use owner::{Owner, Pace, Purpose, Ready, RunFactory, RunSpec, Sweeper};
pub use run_service::RunService;
pub use socket::{ControlSocket, Unreachable};
