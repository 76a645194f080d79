//! The processes that a step started. Their names are unique, so that no later process can be taken for one of them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One process of a boot. Its start time distinguishes it from a later process with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: i32,
    /// When it started, in clock ticks since the boot: field 22 of `/proc/<pid>/stat`.
    pub start_ticks: u64,
}

/// A program that an attempt has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// The program, which leads a process group of its own.
    pub program: ProcessId,
    /// The supervisor: it ends the program and its descendants when their owner is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<ProcessId>,
    /// The boot that both belong to (`/proc/sys/kernel/random/boot_id`). Neither survives a reboot.
    pub boot_id: Uuid,
}
