//! What a verification reports: the damage that it found, as a step's outcome keeps it.

use std::fmt::Display;

use rekindle_engine::{Output, Reconciled, StepContext};
use rekindle_model::failure::Failure;

/// How many findings are kept in the journal; the first few name the trouble, and the count has them all.
const KEPT: usize = 20;

/// Returns the findings that are kept.
pub(crate) fn kept<T>(found: &[T]) -> &[T] {
    &found[..found.len().min(KEPT)]
}

/// Returns the findings that are kept, each as a sentence.
pub(crate) fn sentences<T: Display>(found: &[T]) -> Vec<String> {
    kept(found).iter().map(ToString::to_string).collect()
}

/// Returns the findings as one sentence.
pub(crate) fn sentence<T: Display>(found: &[T]) -> String {
    let more = match found.len().saturating_sub(KEPT) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", sentences(found).join("; "))
}

/// Returns what becomes of a verification that a crash has cut off.
pub(crate) fn verify_again() -> Reconciled {
    Reconciled::redo("a verification that was cut off proves nothing")
}

/// Ends a verification: well, or with a failure. A failure carries a sentence only, so the output, which says what was
/// found, is kept as the step's checkpoint first.
pub(crate) async fn end(
    cx: &StepContext,
    output: Output,
    failure: Option<Failure>,
) -> Result<Output, Failure> {
    match failure {
        None => Ok(output),
        Some(failure) => {
            cx.checkpoint(output.value).await?;
            Err(failure)
        }
    }
}
