//! Failures of the operating system: a code, the path, and what to do.

use std::io;
use std::path::Path;

use rekindle_model::failure::{Failure, code};

/// Code of a failure: a file changed or vanished while it was read. Another attempt may succeed.
pub(crate) const SOURCE_CHANGED: &str = "source_changed";

/// Code of a failure: a component's place is a symbolic link.
pub const PLACE_IS_LINK: &str = "place_is_link";

/// Returns the failure of an action on a path: `read`, `list`, ….
pub(crate) fn unreadable(action: &str, path: &Path, why: &io::Error) -> Failure {
    let message = format!("could not {action} {}: {why}", path.display());
    let hint = match why.kind() {
        io::ErrorKind::NotFound => "check the source's `path` in system.yaml",
        io::ErrorKind::PermissionDenied => "run as a user who may read it, or leave it out with `exclude`",
        _ => "check the disk and the file, or leave it out with `exclude`",
    };
    let failure = match why.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
            Failure::permanent(code::SOURCE_UNREADABLE, message)
        }
        _ => Failure::transient(code::SOURCE_UNREADABLE, message),
    };
    failure.with_hint(hint)
}

/// Returns the failure for an error of the operating system outside a source.
pub fn io(what: &str, error: &io::Error) -> Failure {
    use io::ErrorKind as Kind;
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

/// Returns the failure for a file that changed a moment ago.
pub(crate) fn changed(path: &Path, how: &str) -> Failure {
    Failure::transient(
        SOURCE_CHANGED,
        format!("{} {how} while it was captured", path.display()),
    )
    .with_hint("capture it when it is quiet, or dump it first with a `command` source")
}

/// Refuses to recover over a link. A restore would put a folder in its place, or write where the link leads, which
/// nobody named.
pub(crate) fn place_is_link(place: &Path) -> Failure {
    let leads_to = std::fs::read_link(place).unwrap_or_default();
    let (place, leads_to) = (place.display(), leads_to.display());
    Failure::permanent(
        PLACE_IS_LINK,
        format!("{place} is a link to {leads_to}, and a recovery does not decide which of the two to replace"),
    )
    .with_hint(format!(
        "to have the data at {place} itself, remove the link and recover again; to keep the link, recover with \
         `--to DIR` and move the data to {leads_to}"
    ))
}
