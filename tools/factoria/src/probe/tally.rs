//! Counting checks passed out of checks made.

/// Checks passed out of checks made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Checks that passed.
    pub(super) passed: u64,
    /// Checks made.
    pub(super) made: u64,
}

impl Tally {
    /// Counts one check and returns whether it passed.
    pub(super) fn check(&mut self, passed: bool) -> bool {
        self.made += 1;
        self.passed += u64::from(passed);
        passed
    }

    /// Adds another count.
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.made += other.made;
    }

    /// Returns the share passed. No check made is 0, never 1: nothing measured is not valid.
    pub(super) fn share(self) -> f64 {
        if self.made == 0 {
            0.0
        } else {
            self.passed as f64 / self.made as f64
        }
    }
}
