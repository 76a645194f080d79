//! Work that blocks, off the asynchronous threads; and folders that only an attempt needed.

use std::path::Path;

use rekindle_model::failure::{Failure, code};

/// Runs what blocks where that is allowed.
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

/// Removes a staging folder. One that stays costs space and nothing else, and the next attempt replaces it.
pub async fn discard(staging: &Path) {
    if let Err(error) = tokio::fs::remove_dir_all(staging).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %staging.display(), %error, "a staging folder stays behind");
    }
}
