//! The exit codes, one place for all commands.

use std::process::ExitCode;

use rekindle_model::event::Outcome;

/// How a command ended, as scripts see it.
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
    /// Data is lost, or the integrity of what is stored is broken.
    DataLost = 5,
    /// Another process holds the workspace, or took the run over.
    Held = 6,
}

impl Exit {
    /// Returns the code of a finished run: lost data outweighs how the rest ended.
    pub fn of_run(outcome: Outcome, data_lost: bool) -> Self {
        match outcome {
            _ if data_lost => Self::DataLost,
            Outcome::Succeeded => Self::Done,
            Outcome::Partial => Self::Partial,
            Outcome::Failed | Outcome::Cancelled | Outcome::Stuck => Self::Failed,
        }
    }

    /// Returns the code with this number; what another version may mean by others is a failure.
    pub fn of_code(code: u8) -> Self {
        let known = [
            Self::Done,
            Self::Usage,
            Self::Partial,
            Self::Interrupted,
            Self::DataLost,
            Self::Held,
        ];
        known
            .into_iter()
            .find(|exit| exit.code() == code)
            .unwrap_or(Self::Failed)
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
