//! Small files in the workspace's own folder, replaced whole.

use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// When a small file is to survive a power cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durable {
    /// Once it was written.
    Now,
    /// A little later: losing it costs nothing that counts.
    Soon,
}

/// Replaces a small file, whole or not at all, and makes its folder if needed.
pub(crate) fn write(path: &Path, bytes: &[u8], durable: Durable) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut folder = std::fs::DirBuilder::new();
    folder.recursive(true).mode(0o700).create(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    if durable == Durable::Soon {
        return file.persist(path).map(drop).map_err(|error| error.error);
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(dir)?.sync_all()
}

/// Removes a file; succeeds if it is gone already.
pub(crate) fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
