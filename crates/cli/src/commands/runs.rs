//! `rekindle runs`

use std::collections::{BTreeMap, BTreeSet};

use rekindle_journal::RunFilter;
use rekindle_model::event::Outcome;
use rekindle_model::id::RunId;
use rekindle_model::run::RunState;
use rekindle_model::time;
use rekindle_report::steps;
use rekindle_report::text::{self, Column, Listing, Mark};
use serde_json::json;

use crate::App;
use crate::exit::Exit;
use crate::time_args;
use rekindle_workspace::Error;
use rekindle_workspace::open::ReadOnlyWorkspace;
use rekindle_workspace::replica;

/// List the runs of this workspace, newest first
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only runs with this outcome, or that have not ended
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Only runs of this workflow
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// Only runs created since then: 7d, "2h ago", or an instant with its offset
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Status {
    Succeeded,
    Partial,
    Failed,
    Cancelled,
    /// Failed or cancelled, and an undo of a step failed
    Stuck,
    /// Not ended: interrupted, and resumable
    Interrupted,
    /// A record of it is lost: the run stays, and cannot continue
    Quarantined,
}

/// Lists the runs.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let since = args
        .since
        .as_deref()
        .map(|text| time_args::since(text, app.application.clock.now().utc))
        .transpose()?;
    let outcome = args.status.and_then(|status| match status {
        Status::Succeeded => Some(Outcome::Succeeded),
        Status::Partial => Some(Outcome::Partial),
        Status::Failed => Some(Outcome::Failed),
        Status::Cancelled => Some(Outcome::Cancelled),
        Status::Stuck => Some(Outcome::Stuck),
        Status::Interrupted | Status::Quarantined => None,
    });
    let quarantined = matches!(args.status, Some(Status::Quarantined));
    let finished = args
        .status
        .filter(|_| !quarantined)
        .map(|status| !matches!(status, Status::Interrupted));
    let workspace = ReadOnlyWorkspace::open_and_notice(&app.application).await?;
    let filter = RunFilter {
        workflow: args.workflow.clone(),
        kind: None,
        finished,
        outcome,
        since,
        limit: None,
    };
    let mut runs = workspace.context.journal.runs(&filter).await?;
    runs.retain(|run| !quarantined || run.quarantined.is_some());
    let driven = workspace.driven().await;
    let held = workspace.held;
    let mut waiting = BTreeMap::new();
    // If no process works in this workspace, no run waits for its group lock.
    for run in runs.iter().filter(|run| held && run.outcome.is_none()) {
        // A run that cannot be read has an empty history here; its line and `show` say so.
        let records = workspace.context.journal.read(run.run).await.unwrap_or_default();
        // A paused run has left the line.
        let state = RunState::from_records(&records).ok();
        let state = state.filter(|state| state.paused.is_none());
        let lock = state.and_then(|state| state.awaits_lock);
        waiting.extend(lock.map(|lock| (run.run, lock)));
    }
    let open = workspace.context.interrupted().await?;
    let open: BTreeSet<RunId> = open.iter().map(|run| run.run).collect();
    let state = workspace.context.layout.state.clone();
    workspace.close().await;
    if runs.is_empty() {
        app.printer.say("no runs");
    }
    let mut listing = Listing::new(&[
        Column::Id("run"),
        Column::Text("workflow"),
        Column::Text("state"),
        Column::Text("began (UTC)"),
        Column::Figure("took"),
        Column::Figure("records"),
    ]);
    for run in &runs {
        let lock = waiting.get(&run.run);
        let elsewhere = match (run.outcome, &run.quarantined) {
            (None, None) => replica::elsewhere(&state, run.run),
            _ => None,
        };
        let ended = match (run.outcome, &run.quarantined) {
            (_, Some(_)) => "quarantined",
            (Some(Outcome::Stuck), None) => "stuck",
            (Some(outcome), None) => steps::outcome(outcome),
            (None, None) if elsewhere.is_some() => "elsewhere",
            (None, None) if lock.is_some() => "waiting",
            (None, None) => match driven.as_ref().map(|driven| driven.contains(&run.run)) {
                Some(true) => "at work",
                Some(false) => "interrupted",
                // Another process works here, and does not say which runs it drives.
                None => "not over",
            },
        };
        let took = run.updated.since(&run.created);
        let body = json!({
            "run": run.run, "workflow": run.workflow, "kind": run.kind, "trigger": run.trigger.to_string(), "parent": run.parent(), "created": run.created.utc,
            "updated": run.updated.utc, "records": run.seq, "epoch": run.epoch, "outcome": run.outcome, "state": ended, "quarantined": run.quarantined,
            "awaits_lock": lock, "elsewhere": elsewhere,
            "duration_seconds": took.duration.as_secs_f64(), "clock_uncertain": took.clock_uncertain,
        });
        app.printer.entry(&body)?;
        let below = run
            .parent()
            .map(|parent| format!("of run {}/{}", parent.run, parent.step));
        // The run that had the lock when the wait began may be over; then others are before this one.
        let lock = lock.map(|lock| match open.contains(&lock.holder) {
            true => format!("one run of {} at a time, after {}", lock.group, lock.holder),
            false => format!("one run of {} at a time", lock.group),
        });
        let elsewhere = elsewhere
            .as_ref()
            .map(|held| format!("held by {}: {}", held.named(), app.printer.command(&held.adopt)));
        listing.push(
            mark(run.outcome, ended),
            vec![
                run.run.to_string(),
                run.workflow.clone(),
                ended.to_owned(),
                time::in_utc(run.created.utc),
                text::duration(took.duration),
                run.seq.to_string(),
            ],
            [below, lock, elsewhere].into_iter().flatten().collect(),
        );
    }
    app.printer.list(listing)?;
    Ok(Exit::Done)
}

fn mark(outcome: Option<Outcome>, state: &str) -> Mark {
    match (outcome, state) {
        (_, "quarantined") => Mark::Bad,
        (Some(Outcome::Succeeded), _) => Mark::Good,
        (Some(Outcome::Failed | Outcome::Stuck), _) => Mark::Bad,
        (Some(Outcome::Partial), _) | (None, "interrupted") => Mark::Unsure,
        (Some(Outcome::Cancelled) | None, _) => Mark::None,
    }
}
