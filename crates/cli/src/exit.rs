//! The exit codes of all commands.

use std::process::ExitCode;

use rekindle_model::event::Outcome;
use rekindle_model::problem::ProblemKind;
use rekindle_report::status::Check;
use rekindle_workspace::Error;
use rekindle_workspace::tiers::Tiers;

/// How a command ended, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// All of it was done.
    Done = 0,
    /// The run failed, or did nothing.
    Failed = 1,
    /// The command line or a file is invalid; nothing was begun.
    Usage = 2,
    /// Done in part: a component failed, or under `--strict` an objective was missed.
    Partial = 3,
    /// Interrupted; `resume` continues it.
    Interrupted = 4,
    /// Data is lost, or the integrity of stored data is broken.
    DataLost = 5,
    /// Another process holds the workspace, or took the run over.
    Held = 6,
}

impl Exit {
    /// The code by which monitoring plugins say that they could not find out.
    pub const UNKNOWN: Self = Self::Partial;

    /// Returns the code of a finished run: lost data outweighs how the rest ended.
    pub fn of_run(outcome: Outcome, data_lost: bool) -> Self {
        match outcome {
            _ if data_lost => Self::DataLost,
            Outcome::Succeeded => Self::Done,
            Outcome::Partial => Self::Partial,
            Outcome::Failed | Outcome::Cancelled | Outcome::Stuck => Self::Failed,
        }
    }

    /// Returns done; if a tier did not answer, done in part. A tier that does not open for damage outweighs that.
    pub fn of_tiers(tiers: &Tiers) -> Self {
        match (tiers.damaged().is_empty(), tiers.all_answered()) {
            (false, _) => Self::DataLost,
            (true, true) => Self::Done,
            (true, false) => Self::Partial,
        }
    }

    /// Returns the code by which monitoring plugins tell a state. They have codes of their own, of which 1 and 2 are not a
    /// failure or a wrong use.
    pub fn of_check(check: Check) -> Self {
        match check {
            Check::Ok => Self::Done,
            Check::Warning => Self::Failed,
            Check::Critical => Self::Usage,
        }
    }

    /// Returns the code of an error.
    pub fn of_error(error: &Error) -> Self {
        match error.kind() {
            ProblemKind::Invalid => Self::Usage,
            ProblemKind::Failed => Self::Failed,
            ProblemKind::Interrupted => Self::Interrupted,
            ProblemKind::DataLost => Self::DataLost,
            ProblemKind::Held => Self::Held,
        }
    }

    /// Returns the number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_of_a_run_decides_its_exit_code_and_lost_data_outweighs_it() {
        for (outcome, lost, code) in [
            (Outcome::Succeeded, false, 0),
            (Outcome::Failed, false, 1),
            (Outcome::Cancelled, false, 1),
            (Outcome::Stuck, false, 1),
            (Outcome::Partial, false, 3),
            (Outcome::Partial, true, 5),
            (Outcome::Failed, true, 5),
        ] {
            assert_eq!(
                Exit::of_run(outcome, lost).code(),
                code,
                "{outcome:?} lost={lost}"
            );
        }
    }
}
