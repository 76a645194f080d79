//! The faults that the feature `planted-faults` puts into the product, so that the tests themselves are tested.

/// The variable that picks one.
pub const VARIABLE: &str = "REKINDLE_PLANTED_FAULT";
