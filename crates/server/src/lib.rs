//! The owner of a workspace: the one process that drives its runs, and the socket on which others talk to it.
//!
//! | module | what it is |
//! |---|---|
//! | [`api`] | what goes over the socket: submissions, what is told of a run, problems |
//! | [`desk`] | what a command asks for, whoever answers: the owner in this process or the one behind the socket |
//! | [`owner`] | drives the runs that are submitted to it |
//! | [`socket`] | `control.sock`: bound under the workspace's lock, for the same user only |
//! | `http` | the owner's routes |
//! | [`client`] | another process's owner, by its socket |
//!
//! ```text
//!  command ─► Desk ─┬─ Owner ─► Engine ─► journal          (this process holds the lock)
//!                   └─ Client ─► control.sock ─► Owner      (another one does)
//! ```
//! The socket speaks JSON over HTTP/1.1. It is reachable by the user who owns the workspace and by nobody else, so it
//! takes definitions as the command line does.

pub mod api;
pub mod client;
pub mod desk;
mod http;
pub mod owner;
pub mod socket;

pub use api::{End, OwnerInfo, Problem, Submission, Told};
pub use client::Client;
pub use desk::Desk;
pub use owner::{Owner, Pace, Parts, Purpose, Ready, Sweeper, Workshop};
pub use socket::{ControlSocket, Unreachable};
