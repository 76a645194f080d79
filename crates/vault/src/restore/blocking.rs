//! File work, off the asynchronous threads.

use super::error::RestoreError;

/// Runs file work where blocking is allowed.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RestoreError> + Send + 'static,
) -> Result<T, RestoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|why| RestoreError::Broken(why.to_string()))?
}
