//! Numbers that a step measures.

use rekindle_model::event::Measures;

/// Returns counts as a step's measures.
pub(crate) fn counts<const N: usize>(counts: [(&str, u64); N]) -> Measures {
    Measures::from(counts.map(|(name, count)| (name.to_owned(), number(count))))
}

/// Returns a count as the number that measures are made of.
#[expect(
    clippy::cast_precision_loss,
    reason = "a count of bytes beyond 2^53 loses its last digits only"
)]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}
