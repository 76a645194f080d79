//! One run, from here to its end or to a graceful stop, and what is said about it afterwards.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rekindle_actions::displace;
use rekindle_engine::{Control, Ended, Engine, EngineError, NewRun};
use rekindle_journal::JournalError;
use rekindle_model::event::Worker;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::run::RunState;
use rekindle_model::step::StepState;
use rekindle_report::backup::backup_table;
use rekindle_report::recovery::{recovery_table, set_aside};
use rekindle_report::rework::rework;
use rekindle_report::steps::timeline;
use rekindle_report::text;
use serde_json::{Value, json};

use crate::App;
use crate::error::{CliError, make_room};
use crate::exit::Exit;
use crate::live::Live;
use crate::pinned::{Pinned, Ready};
use crate::session::Session;
use crate::{holders, unfinished};

/// Who asked for a run, and since when it has been needed.
pub struct Request {
    /// Who or what asked for it.
    pub trigger: String,
    /// When the disaster struck, where a person told it.
    pub disaster_at: Option<DateTime<Utc>>,
}

/// Creates a run and drives it.
pub async fn begin(app: &App, session: &Session, ready: Ready, request: Request) -> Result<Exit, CliError> {
    ready.check_in_place()?;
    unfinished::refuse_half_recovered(app, session, &ready, None).await?;
    holders::refuse_in_use(app, &ready, None)?;
    let engine = engine(app, session, &ready);
    let now = app.clock.now();
    let run = engine
        .create(NewRun {
            workflow: ready.pinned.workflow.name.clone(),
            definition: ready.pinned.definition.clone(),
            system: Some(ready.pinned.system_yaml.clone()),
            inputs: ready.pinned.inputs.clone(),
            trigger: request.trigger,
            disaster_at: Some(request.disaster_at.unwrap_or(now.utc)),
            disaster_at_told: request.disaster_at.is_some(),
        })
        .await?;
    app.printer.say(format!("run {run}: {}", ready.plan.workflow));
    app.printer.note(
        "run",
        &json!({ "run": run, "workflow": ready.plan.workflow, "steps": ready.plan.steps.len() }),
    );
    drive(app, session, &engine, run, ready).await
}

/// Takes an interrupted run over and drives it on.
pub async fn go_on(app: &App, session: &Session, run: RunId) -> Result<Exit, CliError> {
    let evidence = session.evidence(run).await?;
    if let Some(outcome) = evidence.state.outcome {
        return Err(CliError::usage(format!(
            "run {run} is over: {}",
            rekindle_report::steps::outcome(outcome)
        ))
        .with_hint(format!(
            "`rekindle show {run}` tells how; a new run begins afresh"
        )));
    }
    let pinned = Pinned::read(&*session.journal, &evidence.state, &evidence.inputs).await?;
    let ready = pinned.ready(app, session)?;
    ready.check_in_place()?;
    unfinished::refuse_half_recovered(app, session, &ready, Some(run)).await?;
    holders::refuse_in_use(app, &ready, Some(&evidence.state))?;
    let engine = engine(app, session, &ready);
    let state = engine.adopt(run, "resumed by hand").await?;
    let done = state.steps.values().filter(|step| step.state.is_final()).count();
    app.printer.say(format!(
        "resuming run {run}: {}, {done} of {} steps done before",
        state.workflow,
        ready.plan.steps.len()
    ));
    app.printer.note(
        "resume",
        &json!({ "run": run, "workflow": state.workflow, "epoch": state.epoch, "done": done }),
    );
    drive(app, session, &engine, run, ready).await
}

fn engine(app: &App, session: &Session, ready: &Ready) -> Engine {
    Engine::new(
        Arc::clone(&session.journal),
        ready.registry.clone(),
        Arc::clone(&app.clock),
        worker(),
    )
}

/// Returns this process, as the journal names it.
pub(crate) fn worker() -> Worker {
    Worker {
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

async fn drive(
    app: &App,
    session: &Session,
    engine: &Engine,
    run: RunId,
    ready: Ready,
) -> Result<Exit, CliError> {
    let live = Live::begin(app.printer, run, session.journal.subscribe(), engine.progress());
    let control = Control {
        stop: app.signals.stop().clone(),
    };
    let ended = engine
        .drive(run, Arc::clone(&ready.plan), ready.site.scope(), &control)
        .await;
    live.end().await;
    match ended.map_err(|error| stopped(error, run, session))? {
        Ended::Finished(state) => finished(app, session, &ready, &state).await,
        Ended::Interrupted(state) => {
            let waiting = waiting(&state);
            let aside = set_aside(&session.evidence(run).await?, &ready.plan);
            let body = json!({ "run": run, "workflow": state.workflow, "outcome": Value::Null, "exit": Exit::Interrupted.code(),
                "waiting": waiting, "aside": aside, "resume": format!("rekindle resume {run}") });
            app.printer.data(&body, || {
                let because: String = waiting.iter().map(|(step, why)| format!("{step} waits: {why}\n")).collect();
                let aside = text::set_aside(&aside, ready.site.target_root().unwrap_or(Path::new("")));
                format!("{because}{aside}run {run} is interrupted and resumable; nothing that is journaled runs again\n  rekindle resume {run}")
            })?;
            Ok(Exit::Interrupted)
        }
    }
}

/// Returns why a run could not be driven on, and how it goes on where it can.
fn stopped(error: EngineError, run: RunId, session: &Session) -> CliError {
    let full = matches!(&error, EngineError::Journal(JournalError::DiskFull { .. }));
    let error = CliError::from(error);
    let resume = format!("`rekindle resume {run}`");
    match error.exit() {
        Exit::Interrupted if full => error.with_hint(make_room(&session.workspace.state, &resume)),
        Exit::Interrupted => error.with_hint(format!(
            "clear the cause, then {resume}; nothing that was acknowledged is lost"
        )),
        _ => error,
    }
}

/// Returns the steps that wait for another attempt, with what the last one failed of.
fn waiting(state: &RunState) -> Vec<(&StepId, String)> {
    let of = |(step, record): (_, &rekindle_model::step::StepRecord)| match &record.state {
        StepState::Backoff { error, .. } => Some((step, error.message.clone())),
        _ => None,
    };
    state.steps.iter().filter_map(of).collect()
}

/// Tells what a run has come to, and returns its exit code.
async fn finished(app: &App, session: &Session, ready: &Ready, state: &RunState) -> Result<Exit, CliError> {
    if let Some(root) = ready.site.target_root() {
        displace::tidy(root, state.id);
    }
    let evidence = session.evidence(state.id).await?;
    let cost = rework(&evidence);
    let mut body =
        json!({ "run": state.id, "workflow": state.workflow, "outcome": state.outcome, "rework": cost });
    let mut said = String::new();
    let mut missed = Vec::new();
    match state.workflow.as_str() {
        "backup" => {
            let table = backup_table(&evidence, &ready.plan);
            said.push_str(&text::backup(&table));
            body["backup"] = json!(table);
        }
        "recover" => {
            let table = recovery_table(&evidence, &ready.plan, &ready.pinned.system);
            said.push_str(&text::recovery(&table));
            let aside = set_aside(&evidence, &ready.plan);
            said.push_str(&text::set_aside(
                &aside,
                ready.site.target_root().unwrap_or(Path::new("")),
            ));
            let in_place = ready.plan.params.get("in_place").and_then(Value::as_bool) == Some(true);
            if in_place && aside.is_empty() {
                said.push_str("nothing stood in the way, or nothing was moved\n");
            }
            body["aside"] = json!(aside);
            missed = table.missed();
            body["recovery"] = json!(table);
            body["missed"] = json!(missed);
        }
        _ => {
            said.push_str(&text::steps(&evidence, Some(&ready.plan)));
            body["steps"] = json!(timeline(&evidence, Some(&ready.plan)));
        }
    }
    if !cost.interruptions.is_empty() {
        said.push('\n');
        said.push_str(&text::interruptions(&cost));
    }
    let mut exit = state.outcome.map_or(Exit::Failed, |outcome| {
        Exit::of_run(outcome, evidence.data_lost())
    });
    let strict = ready.plan.params.get("strict").and_then(Value::as_bool) == Some(true);
    if exit == Exit::Done && strict && !missed.is_empty() {
        exit = Exit::Partial;
    }
    body["exit"] = json!(exit.code());
    app.printer.data(&body, || said)?;
    missed
        .iter()
        .for_each(|what| app.printer.warn(format!("missed: {what}")));
    if exit != Exit::Done {
        app.printer.say(format!(
            "`rekindle show {}` tells what happened to each step",
            state.id
        ));
    }
    Ok(exit)
}
