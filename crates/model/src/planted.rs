//! Planted faults: each breaks one promise, so that the tests can be tested.
//!
//! With the feature `planted-faults`, an environment variable picks a fault. No product is built with that feature;
//! without it, the compiler removes the hooks. Each hook is one line at the place that keeps the promise.
//! `tests/README.md` says which test notices which fault.

/// A fault, named by the promise that it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The journal acknowledges an append before it has synced it.
    AcknowledgedBeforeSync,
    /// The journal does not sync its appends.
    NotSynced,
    /// The checksums of the log and of sled are not compared.
    CrcUnchecked,
    /// An append is accepted under any epoch.
    EpochUnchecked,
    /// sled does not store the number of the last commit that it holds.
    CommitNumberApart,
    /// A step's success is journaled before the step has done its work.
    OutcomeBeforeEffect,
    /// A restore's checkpoint names a window before that window is complete.
    CheckpointAhead,
    /// Nothing wakes a run for the next attempt of a step.
    RetryTimerLost,
    /// A program's descendants outlive it.
    ChildLeftAlive,
    /// A failed run undoes nothing.
    UndoSkipped,
    /// A recovery takes an older set for the latest if the newest cannot be read.
    NewestSetIgnored,
    /// A copy of data can be read by everybody until it is whole.
    ModeSetLate,
    /// An object in a tier is read whole, however large it is.
    SizeUnbounded,
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
        Fault::NewestSetIgnored => "newest-set-ignored",
        Fault::ModeSetLate => "mode-set-late",
        Fault::SizeUnbounded => "size-unbounded",
    };
    picked.as_deref() == Some(name)
}

/// Returns whether this fault is planted: never.
#[cfg(not(feature = "planted-faults"))]
#[inline(always)]
pub const fn is(_fault: Fault) -> bool {
    false
}
