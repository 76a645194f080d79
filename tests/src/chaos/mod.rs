//! The shared parts of the chaos tests: dice, a journal's writer in a process of its own, and its reports.
//!
//! The judge learns from a pipe what was acknowledged, and asks the engine nothing. The writer prints each
//! append before it makes it and after its acknowledgement. The parent keeps these lines and compares them
//! with the records that a later process reads.
//!
//! | module | what it holds |
//! |---|---|
//! | [`writer`] | the helper binary's processes: one appends until its parent stops it, one reads everything |
//! | [`told`] | the writers' reports, compared with the records that are read |
//! | [`clock`] | a wall clock of a test's own, set ahead or back while the product runs |
//! | [`disk`] | file systems of a test's own: an ext4 that loses power, breaks down, freezes; a small one that fills |
//!
//! | variable | meaning |
//! |---|---|
//! | `REKINDLE_CHAOS_SEED` | the seed of all dice; each summary prints it |
//! | `REKINDLE_CHAOS` | `long`: ten times as many faults |
//! | `CI` | `true`: if this machine lacks a mechanism, the test fails instead of skipping |

#![expect(clippy::print_stderr, reason = "seeds and counts are part of the result")]

pub mod clock;
pub mod disk;
pub mod told;
pub mod writer;

/// SplitMix64: the same seed, the same faults.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Returns the dice of a part of a test; each part has its own, whatever the others throw.
    pub fn of(part: u64) -> Self {
        Self(seed().wrapping_add(part.wrapping_mul(0x1000_0001)))
    }

    /// Returns a number from 0 to below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// Returns one of several.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

/// Returns the seed of all dice.
pub fn seed() -> u64 {
    std::env::var("REKINDLE_CHAOS_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20_261_123)
}

/// Returns the number of faults: `short`, or ten times as many in the long form.
pub fn many(short: u64) -> u64 {
    match std::env::var("REKINDLE_CHAOS").as_deref() {
        Ok("long") => short * 10,
        _ => short,
    }
}

/// Prints a mechanism's summary: the seed, then `counts`.
pub fn summary(mechanism: &str, counts: &str) {
    eprintln!("chaos {mechanism}, seed {}: {counts}", seed());
}

/// Reports that this machine lacks a mechanism, and what is therefore not tested.
///
/// # Panics
/// Under `CI=true`.
pub fn skipped(mechanism: &str, why: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "chaos {mechanism} cannot be tested here: {why}"
    );
    eprintln!("chaos {mechanism}: SKIPPED, 0 faults: {why}");
}
