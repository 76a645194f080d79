//! What every backend must do, as a suite that each of them runs. It panics at the first claim that fails.
//!
//! [`suite`] takes a factory that returns a new, empty journal each time it is called.

mod appends;
pub(crate) mod fixture;
mod reads;
mod requests;

use std::fmt::{Debug, Display};
use std::future::Future;
use std::sync::Arc;

pub use self::fixture::{
    adopted, append_to, checkpoint, created, finished, reopened, stamp, started, succeeded,
};
use crate::api::Journal;

/// Runs every claim against a journal of its own.
pub async fn suite<J, F>(mut fresh: impl FnMut() -> F)
where
    J: Journal + 'static,
    F: Future<Output = J>,
{
    appends::what_is_appended_is_read(&fresh().await).await;
    appends::values_are_the_bytes_of_the_records(&fresh().await).await;
    appends::records_are_numbered_chained_and_anchored(&fresh().await).await;
    appends::a_stale_position_is_a_conflict(&fresh().await).await;
    appends::an_adoption_fences_the_epoch_before_it(&fresh().await).await;
    appends::an_append_is_taken_whole_or_not_at_all(&fresh().await).await;
    requests::what_a_person_asks_is_kept_and_checked(&fresh().await).await;
    requests::a_finished_run_takes_nothing_but_its_reopening(&fresh().await).await;
    requests::a_run_may_end_and_be_reopened_without_a_pause(&fresh().await).await;
    appends::an_event_that_does_not_fit_a_record_is_refused(&fresh().await).await;
    reads::runs_are_listed_newest_first_and_filtered(&fresh().await).await;
    reads::subscribers_see_every_record_in_order(&fresh().await).await;
    reads::blobs_are_kept_by_their_hash(&fresh().await).await;
    appends::of_concurrent_appends_at_one_position_one_wins(Arc::new(fresh().await)).await;
}

fn ok<T, E: Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("expected success, failed to {error}"),
    }
}

fn err<T: Debug, E>(result: Result<T, E>) -> E {
    match result {
        Err(error) => error,
        Ok(value) => panic!("expected an error, found {value:?}"),
    }
}
