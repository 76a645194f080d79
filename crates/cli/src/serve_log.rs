//! What `rekindle serve` tells of the runs that it drives: a line with a time for each run that begins, fails in a step
//! or ends. Nobody else may be there to see it.

use std::sync::Arc;

use rekindle_model::event::{Event, Outcome, Record};
use rekindle_model::next_action::Action;
use rekindle_model::time;
use rekindle_report::steps;
use rekindle_workspace::notice::Notice;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::printer::Printer;

/// Tells of every run until the journal is closed.
pub(crate) async fn follow(mut records: Receiver<Arc<Record>>, printer: Printer) {
    loop {
        match records.recv().await {
            Ok(record) => line(&record).into_iter().for_each(|line| printer.notice(&line)),
            Err(RecvError::Lagged(missed)) => {
                printer.warn(format!("{missed} records came faster than they could be told"));
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Returns what is to be told of a record.
fn line(record: &Record) -> Option<Notice> {
    let run = record.run;
    let begins = format!("{} run {run}", time::show(record.time.utc));
    let shows = |notice: Notice| notice.with_next(Action::Show { run: Some(run) }, "shows it");
    match &record.event {
        Event::RunCreated {
            workflow, trigger, ..
        } => Some(Notice::info(format!(
            "{begins}: {workflow} begins, asked for by {trigger}"
        ))),
        Event::StepFailed {
            step,
            error,
            retry_at: None,
            ..
        } => Some(Notice::warning(format!("{begins}: {step} failed: {error}"))),
        Event::UndoStuck { step, error, .. } => Some(shows(Notice::warning(format!(
            "{begins}: {step} could not be undone: {error}"
        )))),
        Event::RunFinished { outcome, .. } => {
            let ended = format!("{begins}: {}", steps::outcome(*outcome));
            Some(match outcome {
                Outcome::Succeeded | Outcome::Cancelled => Notice::info(ended),
                Outcome::Partial | Outcome::Failed | Outcome::Stuck => shows(Notice::warning(ended)),
            })
        }
        _ => None,
    }
}
