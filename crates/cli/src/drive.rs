//! One run, from here to its end or to a graceful stop, and what is said about it afterwards.

use std::path::Path;

use rekindle_engine::Ask;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::next_action::{Action, NextAction};
use rekindle_model::origin::RunKind;
use rekindle_model::problem::{Problem, ProblemKind};
use rekindle_model::run::RunState;
use rekindle_model::step::StepState;
use rekindle_plan::Plan;
use rekindle_report::Evidence;
use rekindle_report::backup::backup_table;
use rekindle_report::copies::segment_faults;
use rekindle_report::recovery::{recovery_table, set_aside};
use rekindle_report::rework::rework;
use rekindle_report::steps::timeline;
use rekindle_report::text;
use rekindle_server::api::is_of_end;
use rekindle_server::{End, RunUpdate, Submission};
use rekindle_workspace::operations::run::RunRequest;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::App;
use crate::commands::requests;
use crate::exit::Exit;
use crate::live::Live;
use rekindle_workspace::Error;
use rekindle_workspace::context::WorkspaceContext;
use rekindle_workspace::error::{OVER, make_room, resume};
use rekindle_workspace::open::ReadWriteWorkspace;
use rekindle_workspace::run_spec::LoadedSpec;

/// Submits a run to whoever owns the workspace, and attends it to its end.
pub async fn begin(
    app: &App,
    session: &ReadWriteWorkspace,
    request: RunRequest,
    detach: bool,
) -> Result<Exit, Error> {
    let RunRequest {
        spec,
        kind,
        trigger,
        disaster_at,
    } = request;
    let plan = spec.plan()?;
    if detach && session.other_owner().is_none() {
        return Err(Error::new(
            ProblemKind::Invalid,
            "no_owner",
            "nobody would go on with the run once this command has ended",
        )
        .with_next(Action::Serve, "starts a process that would")
        .with_advice("or leave --detach out; nothing was begun"));
    }
    let submission = Submission {
        workflow: spec.workflow.name.clone(),
        definition: String::from_utf8_lossy(&spec.definition).into_owned(),
        system: String::from_utf8_lossy(&spec.system_yaml).into_owned(),
        inputs: spec.inputs,
        kind,
        trigger,
        disaster_at,
    };
    let submitted = session.service.submit(submission).await;
    let run = submitted.map_err(|problem| not_taken_on(app, session, problem, "run the command again"))?;
    app.printer
        .say(format!("run {run}: {}{}", plan.workflow, by(session)));
    app.printer.note(
        "run",
        &json!({ "run": run, "workflow": plan.workflow, "steps": plan.steps.len(), "owner": session.other_owner() }),
    );
    if detach {
        left(app, session, run)?;
        return Ok(Exit::Done);
    }
    attend(app, session, run, 0).await
}

/// Tells where a run goes on that nobody here waits for any more.
fn left(app: &App, session: &ReadWriteWorkspace, run: RunId) -> Result<(), Error> {
    let body = json!({ "run": run, "detached": true, "owner": session.other_owner() });
    app.printer.data(&body, || {
        format!(
            "detached; process {} goes on with run {run}\n  rekindle watch {run}",
            session.other_owner().unwrap_or_default()
        )
    })
}

/// Lets an interrupted or a paused run go on, and attends it to its end; one that is driven already is attended.
pub async fn go_on(app: &App, session: &ReadWriteWorkspace, run: RunId) -> Result<Exit, Error> {
    let evidence = session.context.evidence(run).await?;
    let state = &evidence.state;
    if let Some(outcome) = state.outcome {
        return Err(Error::usage(format!(
            "run {run} is over: {}",
            rekindle_report::steps::outcome(outcome)
        ))
        .with_advice(format!(
            "`rekindle show {run}` tells how; `rekindle resume {run} --failed` runs again what failed of it, \
             `--from STEP` a step and everything after it"
        )));
    }
    let plan = LoadedSpec::read(&*session.context.journal, state, &evidence.inputs)
        .await?
        .plan()?;
    if state.paused.is_some() {
        requests::ask(session, run, Ask::Unpause, None).await?;
    }
    match session.service.resume(run).await {
        Ok(()) => {}
        // Whoever drove it was quicker.
        Err(problem) if problem.code == OVER => return attend(app, session, run, state.seq).await,
        // It may have left because the run is over.
        Err(problem)
            if is_of_end(&problem) && session.context.evidence(run).await?.state.outcome.is_some() =>
        {
            return gone(app, &session.context, run, session.other_owner()).await;
        }
        Err(problem) => {
            return Err(not_taken_on(
                app,
                session,
                problem,
                &format!("rekindle resume {run}"),
            ));
        }
    }
    let done = state.steps.values().filter(|step| step.state.is_final()).count();
    app.printer.say(format!(
        "resuming run {run}: {}, {done} of {} steps done before{}",
        state.workflow,
        plan.steps.len(),
        by(session)
    ));
    app.printer.note(
        "resume",
        &json!({ "run": run, "workflow": state.workflow, "epoch": state.epoch, "done": done, "owner": session.other_owner() }),
    );
    attend(app, session, run, state.seq).await
}

/// A process that is told to stop before a run has begun is interrupted like one that has begun it, and not held up by
/// another.
fn not_taken_on(app: &App, session: &ReadWriteWorkspace, problem: Problem, again: &str) -> Error {
    let error = Error::from(problem);
    let own = session.other_owner().is_none() && app.application.stop.is_cancelled();
    match own && error.code() == rekindle_server::api::STOPPING {
        true => Error::new(
            ProblemKind::Interrupted,
            "interrupted",
            "told to stop before the run was taken up; nothing was begun",
        )
        .with_advice(again),
        false => error,
    }
}

fn by(session: &ReadWriteWorkspace) -> String {
    session
        .other_owner()
        .map(|pid| format!(" (driven by process {pid}; Ctrl-C detaches)"))
        .unwrap_or_default()
}

/// Shows what happens to a run from record `after` on, to its end, and tells what it has come to.
pub(crate) async fn attend(
    app: &App,
    session: &ReadWriteWorkspace,
    run: RunId,
    after: u64,
) -> Result<Exit, Error> {
    let told = match session.service.follow(run, after).await {
        // It was there when the run was given to it.
        Err(problem) if is_of_end(&problem) => {
            return gone(app, &session.context, run, session.other_owner()).await;
        }
        told => told?,
    };
    // A stop goes to the owner where it is this process, and its end is worth waiting for.
    let on_stop = match session.other_owner() {
        Some(_) => OnStop::Leave,
        None => OnStop::Stay,
    };
    match listen(app, told, on_stop).await {
        Heard::End(end) => come_to(app, &session.context, run, end).await,
        Heard::Left => {
            left(app, session, run)?;
            Ok(Exit::Interrupted)
        }
        Heard::Silence => gone(app, &session.context, run, session.other_owner()).await,
    }
}

/// Shows what is told of a run, to its end; a stop ends the watching and nothing else.
pub(crate) async fn watch(
    app: &App,
    context: &WorkspaceContext,
    run: RunId,
    told: mpsc::Receiver<RunUpdate>,
) -> Result<Exit, Error> {
    match listen(app, told, OnStop::Leave).await {
        Heard::End(end) => come_to(app, context, run, end).await,
        Heard::Left => Ok(Exit::Done),
        Heard::Silence => gone(app, context, run, None).await,
    }
}

/// How listening ended.
enum Heard {
    End(End),
    /// The person left.
    Left,
    /// The owner is gone.
    Silence,
}

/// What a stop means to whoever listens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnStop {
    /// The run is another's, and goes on.
    Leave,
    /// The run is interrupted, which is listened to as well.
    Stay,
}

async fn listen(app: &App, mut told: mpsc::Receiver<RunUpdate>, on_stop: OnStop) -> Heard {
    let mut live = Live::new(app.printer);
    let mut stopping = false;
    let heard = loop {
        tokio::select! {
            biased;
            message = told.recv() => match message {
                Some(RunUpdate::Ended(end)) => break Heard::End(end),
                Some(message) => live.show(&message),
                None => break Heard::Silence,
            },
            () = app.application.stop.cancelled(), if !stopping => match on_stop {
                OnStop::Leave => break Heard::Left,
                OnStop::Stay => {
                    stopping = true;
                    app.printer.say(STOPPING);
                }
            },
        }
    };
    live.clear();
    heard
}

/// What whoever drives runs says when it is told to stop.
pub(crate) const STOPPING: &str = "stopping: running steps leave a checkpoint";

/// The owner is gone. It may have brought the run to its end before, and left before that was told.
async fn gone(app: &App, context: &WorkspaceContext, run: RunId, owner: Option<u32>) -> Result<Exit, Error> {
    match context.evidence(run).await.map(|evidence| evidence.state.outcome) {
        Ok(Some(outcome)) => come_to(app, context, run, End::Finished(outcome)).await,
        _ => Err(lost(run, owner)),
    }
}

fn lost(run: RunId, owner: Option<u32>) -> Error {
    let who = owner.map_or_else(|| "the process".to_owned(), |pid| format!("process {pid}"));
    Error::new(
        ProblemKind::Interrupted,
        "owner_gone",
        format!("{who} that drove run {run} is gone"),
    )
    .with_advice(format!(
        "nothing that was acknowledged is lost: rekindle resume {run}"
    ))
}

/// Tells what a run has come to, and returns its exit code.
async fn come_to(app: &App, context: &WorkspaceContext, run: RunId, end: End) -> Result<Exit, Error> {
    if let End::Broken(problem) = end {
        return Err(broken(problem, run, context));
    }
    let evidence = context.evidence(run).await?;
    let pinned = LoadedSpec::read(&*context.journal, &evidence.state, &evidence.inputs).await?;
    let plan = pinned.plan()?;
    let target = pinned.target_root(&context.layout.system_dir());
    let told = Come {
        evidence: &evidence,
        pinned: &pinned,
        plan: &plan,
        target: target.as_deref().unwrap_or(Path::new("")),
    };
    match end {
        End::Finished(_) => told.finished(app),
        _ => told.interrupted(app),
    }
}

/// Returns why a run could not be driven on, and how it goes on where it can.
fn broken(problem: Problem, run: RunId, context: &WorkspaceContext) -> Error {
    let error = Error::from(problem);
    match (Exit::of_error(&error), error.code()) {
        (Exit::Interrupted, "disk_full") => error.instead(make_room(&context.layout.state, Some(run))),
        (Exit::Interrupted, _) => error.instead([NextAction::new(
            resume(Some(run)),
            "continues once the cause is cleared; nothing that was acknowledged is lost",
        )]),
        _ => error,
    }
}

/// What a run has come to.
struct Come<'a> {
    evidence: &'a Evidence,
    pinned: &'a LoadedSpec,
    plan: &'a Plan,
    /// The folder that a recovery writes to.
    target: &'a Path,
}

impl Come<'_> {
    fn interrupted(&self, app: &App) -> Result<Exit, Error> {
        let state = &self.evidence.state;
        let run = state.id;
        let waiting = waiting(state);
        let aside = set_aside(self.evidence, self.plan);
        let body = json!({
            "run": run, "workflow": state.workflow, "kind": state.kind, "outcome": Value::Null, "exit": Exit::Interrupted.code(),
            "waiting": waiting, "aside": aside, "resume": app.printer.from_here(&format!("rekindle resume {run}")),
        });
        app.printer.data(&body, || {
            let because: String = waiting
                .iter()
                .map(|(step, why)| format!("{step} waits: {why}\n"))
                .collect();
            let aside = text::set_aside(&aside, self.target);
            format!(
                "{because}{aside}run {run} is interrupted and resumable; nothing that is journaled runs again\n  \
                 rekindle resume {run}"
            )
        })?;
        Ok(Exit::Interrupted)
    }

    fn finished(&self, app: &App) -> Result<Exit, Error> {
        let Self {
            evidence,
            plan,
            target,
            ..
        } = *self;
        let state = &evidence.state;
        let cost = rework(evidence);
        let mut body = json!({ "run": state.id, "workflow": state.workflow, "kind": state.kind, "outcome": state.outcome, "rework": cost });
        let mut said = String::new();
        let (mut missed, mut fell_back) = (Vec::new(), Vec::new());
        match state.kind {
            RunKind::Backup => {
                let table = backup_table(evidence, plan);
                said.push_str(&text::backup(&table));
                body["backup"] = json!(table);
            }
            RunKind::Recover => {
                let table = recovery_table(evidence, plan, &self.pinned.system);
                said.push_str(&text::recovery(&table));
                let aside = set_aside(evidence, plan);
                said.push_str(&text::set_aside(&aside, target));
                let in_place = plan.params.get("in_place").and_then(Value::as_bool) == Some(true);
                if in_place && aside.is_empty() {
                    said.push_str("nothing stood in the way, or nothing was moved\n");
                }
                body["aside"] = json!(aside);
                missed = table.missed();
                fell_back = table.fell_back();
                body["fell_back"] = json!(fell_back);
                body["recovery"] = json!(table);
                body["missed"] = json!(missed);
            }
            RunKind::Verify | RunKind::Drill | RunKind::Custom => {
                said.push_str(&text::steps(evidence, Some(plan)));
                body["steps"] = json!(timeline(evidence, Some(plan)));
                body["segment_faults"] = json!(segment_faults(evidence, plan));
            }
        }
        if !cost.interruptions.is_empty() {
            said.push('\n');
            said.push_str(&text::interruptions(&cost));
        }
        let mut exit = state.outcome.map_or(Exit::Failed, |outcome| {
            Exit::of_run(outcome, evidence.data_lost())
        });
        let strict = plan.params.get("strict").and_then(Value::as_bool) == Some(true);
        if exit == Exit::Done && strict && !missed.is_empty() {
            exit = Exit::Partial;
        }
        body["exit"] = json!(exit.code());
        app.printer.data(&body, || said)?;
        let warnings = missed.iter().map(|what| format!("missed: {what}"));
        warnings.chain(fell_back).for_each(|what| app.printer.warn(what));
        if exit != Exit::Done {
            app.printer.say(format!(
                "`rekindle show {}` tells what happened to each step",
                state.id
            ));
        }
        Ok(exit)
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
