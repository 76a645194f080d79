//! Runs blocking work off the asynchronous threads; removes folders of one attempt.

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

/// Removes a staging folder. If that fails, it costs only space, and the next attempt replaces it.
pub async fn discard(staging: &Path) {
    if let Err(error) = tokio::fs::remove_dir_all(staging).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %staging.display(), %error, "a staging folder stays behind");
    }
}
