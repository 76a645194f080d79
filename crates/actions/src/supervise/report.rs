//! The reports of a supervisor to its owner, one line each.

use std::fmt;
use std::str::FromStr;

use rekindle_model::process::ProcessId;

/// A report of a supervisor to its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// `held <pid> <start ticks>`: the program's process exists and waits for permission to run.
    Held(ProcessId),
    /// `not-started <why>`: it could not be started.
    NotStarted(String),
    /// `ended <raw status>`: it ended, with the status that `wait` gave.
    Ended(i32),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(id) => write!(f, "held {} {}", id.pid, id.start_ticks),
            Self::NotStarted(why) => write!(f, "not-started {}", why.replace('\n', " ")),
            Self::Ended(raw) => write!(f, "ended {raw}"),
        }
    }
}

/// A line that no supervisor writes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoReport;

impl FromStr for Report {
    type Err = NoReport;

    fn from_str(line: &str) -> Result<Self, NoReport> {
        let (kind, rest) = line.split_once(' ').ok_or(NoReport)?;
        match kind {
            "held" => {
                let (pid, start_ticks) = rest.split_once(' ').ok_or(NoReport)?;
                Ok(Self::Held(ProcessId {
                    pid: pid.parse().map_err(|_| NoReport)?,
                    start_ticks: start_ticks.parse().map_err(|_| NoReport)?,
                }))
            }
            "not-started" => Ok(Self::NotStarted(rest.to_owned())),
            "ended" => rest.parse().map(Self::Ended).map_err(|_| NoReport),
            _ => Err(NoReport),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_report_is_read_as_it_was_written() {
        for report in [
            Report::Held(ProcessId {
                pid: 7,
                start_ticks: u64::MAX,
            }),
            Report::NotStarted("No such file or directory (os error 2)".to_owned()),
            Report::Ended(-1),
            Report::Ended(9),
        ] {
            assert_eq!(report.to_string().parse(), Ok(report));
        }
        for bad in [
            "",
            "held",
            "held 1",
            "held x y",
            "ended",
            "ended x",
            "hello there",
        ] {
            assert_eq!(bad.parse::<Report>(), Err(NoReport), "{bad}");
        }
    }
}
