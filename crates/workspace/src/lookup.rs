//! Run ids as people type them: a unique beginning or end, or `latest`.

use rekindle_journal::{Journal, JournalError, RunFilter, RunSummary};
use rekindle_model::id::{RunId, is_named};

use rekindle_model::next_action::{Action, NextAction};

use crate::error::Error;

/// How many runs an error lists at most.
const LISTED: usize = 10;

/// Returns the run that `word` means.
pub async fn run(journal: &dyn Journal, word: &str) -> Result<RunId, Error> {
    let runs = journal
        .runs(&RunFilter::default())
        .await
        .map_err(|error: JournalError| Error::from(error))?;
    pick(&runs, word)
}

/// Returns the runs without an end, in the order of `runs`. Leaves out a run whose parent is another of them, since
/// the parent continues both. Leaves out a run of which a record is lost.
pub fn open(runs: &[RunSummary]) -> impl Iterator<Item = &RunSummary> {
    let is_open = |run: &RunSummary| run.outcome.is_none() && run.quarantined.is_none();
    let goes_on = move |parent: RunId| runs.iter().any(|run| run.run == parent && is_open(run));
    runs.iter()
        .filter(move |run| is_open(run) && run.parent().is_none_or(|parent| !goes_on(parent.run)))
}

/// Returns the one run whose id begins or ends with `word`, or the newest that is not part of another for `latest`.
fn pick(runs: &[RunSummary], word: &str) -> Result<RunId, Error> {
    if word == "latest" {
        // What a run's step runs is shown with that run, and found by its own id.
        let whole = runs.iter().find(|run| run.parent().is_none());
        return whole.or(runs.first()).map(|run| run.run).ok_or_else(|| {
            Error::usage("there is no run yet").with_next(Action::Backup, "makes the first one")
        });
    }
    let found: Vec<&RunSummary> = runs.iter().filter(|run| is_named(&run.run, word)).collect();
    match found.as_slice() {
        [one] => Ok(one.run),
        [] => Err(Error::usage(format!("there is no run {word:?}")).with_all(known(runs.iter()))),
        several => Err(Error::usage(format!("{word:?} names {} runs", several.len()))
            .with_all(known(several.iter().copied()))),
    }
}

fn known<'a>(runs: impl Iterator<Item = &'a RunSummary>) -> Vec<NextAction> {
    let mut lines: Vec<String> = runs
        .take(LISTED)
        .map(|run| {
            format!(
                "{} ({}, {})",
                run.run,
                run.workflow,
                rekindle_model::time::show(run.created.utc)
            )
        })
        .collect();
    match lines.len() {
        0 => vec![NextAction::new(
            Action::Backup,
            "makes the first one: there is no run yet",
        )],
        _ => {
            lines.insert(0, "known, newest first:".to_owned());
            vec![NextAction::advice(lines.join("\n  "))]
        }
    }
}

#[cfg(test)]
mod tests {
    use rekindle_model::id::StepId;
    use rekindle_model::origin::{Parent, RunKind, Trigger};
    use rekindle_model::time::{Clock, SystemClock};

    use super::*;

    fn summary(id: &str) -> RunSummary {
        let now = SystemClock.now();
        RunSummary {
            run: id.parse().unwrap(),
            workflow: "backup".to_owned(),
            kind: RunKind::Backup,
            trigger: Trigger::command("test"),
            created: now,
            updated: now,
            seq: 1,
            epoch: 1,
            outcome: None,
            quarantined: None,
        }
    }

    #[test]
    fn a_unique_prefix_or_latest_names_a_run() {
        let runs = [
            summary("0199aaaa-0000-7000-8000-000000000003"),
            summary("0199aaaa-0000-7000-8000-000000000002"),
            summary("0199bbbb-0000-7000-8000-000000000001"),
        ];
        assert_eq!(pick(&runs, "latest").unwrap(), runs[0].run);
        let trigger = Trigger::Parent(Parent {
            run: runs[1].run,
            step: StepId::plain("call"),
        });
        let nested = RunSummary {
            trigger,
            ..summary("0199cccc-0000-7000-8000-000000000004")
        };
        let all = [&[nested], &runs[..]].concat();
        assert_eq!(pick(&all, "latest").unwrap(), runs[0].run);
        assert_eq!(pick(&all, "0199c").unwrap(), all[0].run);
        assert_eq!(pick(&runs, "0199B").unwrap(), runs[2].run);
        assert_eq!(
            pick(
                &runs,
                "0199aaaa00007000800000000000000 2".replace(' ', "").as_str()
            )
            .unwrap(),
            runs[1].run
        );
        assert!(
            pick(&runs, "0199aaaa")
                .unwrap_err()
                .to_string()
                .contains("names 2 runs")
        );
        assert_eq!(pick(&runs, "00000002").unwrap(), runs[1].run, "its end");
        assert!(pick(&runs, "002").is_err(), "too little of its end");
        assert!(pick(&runs, "").is_err());
        let unknown = pick(&runs, "ffff").unwrap_err();
        assert!(
            unknown.next()[0]
                .text
                .contains("0199bbbb-0000-7000-8000-000000000001")
        );
        assert_eq!(
            pick(&[], "latest").unwrap_err().next()[0].action,
            Some(Action::Backup)
        );
    }
}
