//! What goes wrong below, said once for all actions: a stable code, and what to do next.

use rekindle_model::failure::{Failure, code};

/// The code of a step that was asked to stop and did; its next attempt continues.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// A stop was asked for.
pub(crate) fn interrupted() -> Failure {
    Failure::transient(INTERRUPTED, "a stop was asked for").with_hint("resume the run to go on")
}

/// An error of the operating system about `what`.
pub(crate) fn io(what: &str, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind as Kind;
    let message = format!("{what}: {error}");
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded => {
            Failure::transient(code::DISK_FULL, message).with_hint("free some space, then resume the run")
        }
        Kind::PermissionDenied => Failure::permanent("permission_denied", message)
            .with_hint("run as a user who may read and write there"),
        Kind::ReadOnlyFilesystem => Failure::permanent("permission_denied", message)
            .with_hint("the file system is mounted read-only; remount it, then resume the run"),
        _ => Failure::transient("io", message),
    }
}
