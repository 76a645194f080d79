//! Runs blocking work off the asynchronous threads; removes folders of one attempt.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rekindle_model::failure::{Failure, code};

/// Runs blocking work on a thread that may block.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::permanent(
            code::INTERNAL,
            format!("a task broke: {error}; this is a defect of Rekindle"),
        )),
    }
}

/// Removes a folder with everything in it, also folders that their owner may not write.
///
/// # Errors
/// Something of it stays.
pub fn remove_tree(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            open_up(folder)?;
            std::fs::remove_dir_all(folder)
        }
        other => other,
    }
}

/// Lets the owner read and write a folder and all folders in it. Follows no link.
fn open_up(folder: &Path) -> std::io::Result<()> {
    let mut mode = std::fs::symlink_metadata(folder)?.permissions();
    mode.set_mode(mode.mode() | 0o700);
    std::fs::set_permissions(folder, mode)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a staging folder. If that fails, it costs only space, and the next attempt replaces it.
pub async fn discard(staging: &Path) {
    let folder = staging.to_owned();
    let removed = tokio::task::spawn_blocking(move || remove_tree(&folder)).await;
    if let Ok(Err(error)) = removed
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %staging.display(), %error, "a staging folder stays behind");
    }
}
