//! The damage that a verification found, as the step's outcome keeps it.

use std::fmt::Display;

use rekindle_engine::{Output, Reconciled, StepContext};
use rekindle_model::failure::Failure;

/// How many findings the journal keeps. The first few name the trouble; the count includes them all.
const KEPT: usize = 20;

/// Returns the findings that the journal keeps.
pub(crate) fn kept<T>(found: &[T]) -> &[T] {
    &found[..found.len().min(KEPT)]
}

/// Returns the findings that the journal keeps, each as a sentence.
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

/// Returns the verdict on a verification that a crash has cut off.
pub(crate) fn verify_again() -> Reconciled {
    Reconciled::redo("a verification that was cut off proves nothing")
}

/// Ends a verification with success or a failure. A failure carries only a sentence. So the output, which lists the
/// findings, is kept as the step's checkpoint first.
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
