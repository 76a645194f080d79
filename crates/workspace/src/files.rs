//! Work with files: beside everything else, and durably.

use std::io::Write;
use std::path::Path;

use rekindle_model::problem::ProblemKind;

use crate::error::Error;

/// Runs work that reads or writes many files, beside the rest of the process.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(ProblemKind::Failed, "internal", error.to_string()))
}

/// Writes a new file that others cannot read, durably, whole or not at all.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error: &std::io::Error| Error::io(format_args!("write {}", path.display()), error);
    let dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(|error| failed(&error))?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .map_err(|error| failed(&error))?;
    file.persist_noclobber(path)
        .map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Error::usage(format!("{} is there already", path.display())).with_advice("name a new file")
            }
            _ => failed(&error.error),
        })?;
    std::fs::File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| failed(&error))
}
