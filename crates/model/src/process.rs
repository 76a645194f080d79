//! Processes that a step has started, named so that no later one can be taken for them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A process, and not another one of its boot that got its number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did: field 22 of `/proc/<pid>/stat`.
    pub start_ticks: u64,
}

/// A program that an attempt has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// The program, which leads a process group of its own.
    pub program: ProcessId,
    /// What ends the program and all that it starts once nobody owns it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<ProcessId>,
    /// The boot that both belong to; after another one neither is there (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: Uuid,
}
