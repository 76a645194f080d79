//! Calls tiers and locations with a time limit, so that a hanging one does not block a command for good.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rekindle_model::system::System;
use rekindle_vault::{SegmentStore, Tier, TierAccess, TierMode};

use crate::error::ReplicaError;
use crate::notice::Notice;

/// How long a location may take to open.
const OPENS_WITHIN: Duration = Duration::from_secs(10);
/// How long one may take to give all segments of a run, or the last ones of all runs.
const READS_WITHIN: Duration = Duration::from_secs(30);

/// Opens a tier at those of its locations that answer.
///
/// # Errors
/// [`ReplicaError::Tier`], [`ReplicaError::Unanswered`].
pub async fn tier(access: &Arc<TierAccess>, tier: &str, urls: Vec<String>) -> Result<Tier, ReplicaError> {
    let (access, name, location) = (Arc::clone(access), tier.to_owned(), urls.join(", "));
    // Use a task of its own: a call that hangs in the operating system must not block the waiting caller.
    let opening = tokio::spawn(async move { access.open(&name, &urls, TierMode::Existing).await });
    match tokio::time::timeout(OPENS_WITHIN, opening).await {
        Ok(Ok(opened)) => Ok(opened?),
        Ok(Err(_)) | Err(_) => Err(ReplicaError::Unanswered {
            location,
            waited: OPENS_WITHIN,
        }),
    }
}

/// Opens the locations of a system's tiers that answer, and says which are left out.
pub async fn locations(access: &Arc<TierAccess>, system: &System) -> (Vec<SegmentStore>, Vec<Notice>) {
    let (mut stores, mut left_out) = (Vec::new(), Vec::new());
    for (name, spec) in &system.tiers {
        let urls: Vec<String> = spec.locations().into_iter().map(str::to_owned).collect();
        match tier(access, name, urls).await {
            Ok(tier) => {
                let down = tier.down().iter().map(|(url, why)| Notice::LeftOut {
                    tier: name.clone(),
                    url: Some(url.clone()),
                    why: why.clone(),
                });
                left_out.extend(down);
                stores.extend(tier.segment_stores());
            }
            Err(error) => {
                let why = error.to_string();
                // A tier's error names the tier itself.
                let why = why.strip_prefix(&format!("tier {name}: ")).unwrap_or(&why);
                left_out.push(Notice::LeftOut {
                    tier: name.clone(),
                    url: None,
                    why: why.to_owned(),
                });
            }
        }
    }
    (stores, left_out)
}

/// Waits for a location's answer.
///
/// # Errors
/// [`ReplicaError::Unanswered`].
pub async fn answer<T>(store: &SegmentStore, asked: impl Future<Output = T>) -> Result<T, ReplicaError> {
    tokio::time::timeout(READS_WITHIN, asked)
        .await
        .map_err(|_| ReplicaError::Unanswered {
            location: store.url().to_owned(),
            waited: READS_WITHIN,
        })
}
