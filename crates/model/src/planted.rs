//! Faults that are planted to see whether the tests notice: with the feature `planted-faults`, which no product is
//! built with, the environment picks one; without it, none is ever there and the compiler takes the hooks away.
//!
//! Each hook is one line where the promise is kept that the fault breaks. `tests/README.md` says which test sees it.

/// A promise that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The journal tells that an append is durable before it has synced it.
    AcknowledgedBeforeSync,
    /// The journal does not sync what it appends.
    NotSynced,
    /// Whatever the sums say, what is read from the log and from sled is taken for what was written.
    CrcUnchecked,
    /// Whoever appends may do so, whatever epoch it is.
    EpochUnchecked,
    /// sled is not told up to which commit it has everything.
    CommitNumberApart,
    /// A step's success is journaled before it has done its work.
    OutcomeBeforeEffect,
    /// A restore records a window as done before it is.
    CheckpointAhead,
    /// Nothing wakes a run for the next attempt of a step.
    RetryTimerLost,
    /// What a program has started outlives it.
    ChildLeftAlive,
    /// A run that fails takes nothing back.
    UndoSkipped,
}

/// The variable that picks one, by its name in small letters with dashes.
#[cfg(feature = "planted-faults")]
const VARIABLE: &str = "REKINDLE_PLANTED_FAULT";

/// Returns whether this fault is planted.
#[cfg(feature = "planted-faults")]
pub fn is(fault: Fault) -> bool {
    static PICKED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let picked = PICKED.get_or_init(|| std::env::var(VARIABLE).ok());
    let name = match fault {
        Fault::AcknowledgedBeforeSync => "acknowledged-before-sync",
        Fault::NotSynced => "not-synced",
        Fault::CrcUnchecked => "crc-unchecked",
        Fault::EpochUnchecked => "epoch-unchecked",
        Fault::CommitNumberApart => "commit-number-apart",
        Fault::OutcomeBeforeEffect => "outcome-before-effect",
        Fault::CheckpointAhead => "checkpoint-ahead",
        Fault::RetryTimerLost => "retry-timer-lost",
        Fault::ChildLeftAlive => "child-left-alive",
        Fault::UndoSkipped => "undo-skipped",
    };
    picked.as_deref() == Some(name)
}

/// Returns whether this fault is planted: never.
#[cfg(not(feature = "planted-faults"))]
#[inline(always)]
pub const fn is(_fault: Fault) -> bool {
    false
}
