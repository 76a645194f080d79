//! Follows one run to its end or to a graceful stop, and prints how it ended.

use std::time::Duration;

use rekindle_engine::Ask;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::next_action::{Action, Again, NextAction};
use rekindle_model::origin::{RunKind, Trigger};
use rekindle_model::problem::{Problem, ProblemKind};
use rekindle_model::run::RunState;
use rekindle_model::step::StepState;
use rekindle_plan::Plan;
use rekindle_report::Evidence;
use rekindle_report::backup::backup_table;
use rekindle_report::copies::segment_faults;
use rekindle_report::drill::drill_table;
use rekindle_report::recovery::{recovery_table, set_aside};
use rekindle_report::rework::rework;
use rekindle_report::steps::timeline;
use rekindle_report::{targets, text};
use rekindle_server::api::is_of_end;
use rekindle_server::{End, RunUpdate, Submission};
use rekindle_workspace::operations::run::RunRequest;
use rekindle_workspace::operations::{forecast, nested, requests};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::App;
use crate::exit::Exit;
use crate::live::{Live, Whole};
use rekindle_workspace::Error;
use rekindle_workspace::context::WorkspaceContext;
use rekindle_workspace::error::{OVER, make_room, resume};
use rekindle_workspace::open::ReadWriteWorkspace;
use rekindle_workspace::run_spec::LoadedSpec;

/// Submits a run to the owner of the workspace, and follows it to its end. `command` is journaled as its trigger.
pub async fn begin(
    app: &App,
    workspace: &ReadWriteWorkspace,
    request: RunRequest,
    command: impl Into<String>,
    detach: bool,
) -> Result<Exit, Error> {
    if detach && workspace.other_owner().is_none() {
        return Err(Error::new(
            ProblemKind::Invalid,
            "no_owner",
            "no process would continue the run after the end of this command",
        )
        .with_next(Action::Serve, "starts a process that continues it")
        .with_advice("or leave --detach out; nothing was begun"));
    }
    let run = submit(app, workspace, request, command).await?;
    if detach {
        left(app, workspace, run)?;
        return Ok(Exit::Done);
    }
    attend(app, workspace, run, 0).await
}

/// Submits a run to the owner of the workspace. `command` is journaled as its trigger.
pub async fn submit(
    app: &App,
    workspace: &ReadWriteWorkspace,
    request: RunRequest,
    command: impl Into<String>,
) -> Result<RunId, Error> {
    let RunRequest {
        spec,
        kind,
        disaster_at,
    } = request;
    let plan = spec.plan()?;
    let submission = Submission {
        workflow: spec.workflow.name.clone(),
        definition: String::from_utf8_lossy(&spec.definition).into_owned(),
        system: String::from_utf8_lossy(&spec.system_yaml).into_owned(),
        inputs: spec.inputs,
        kind,
        trigger: Trigger::Command(command.into()),
        disaster_at,
    };
    let submitted = workspace.service.submit(submission).await;
    let run = submitted.map_err(|problem| {
        not_taken_on(
            app,
            workspace,
            problem,
            NextAction::advice("run the command again"),
        )
    })?;
    app.printer
        .say(format!("run {run}: {}{}", plan.workflow, by(workspace)));
    app.printer.note(
        "run",
        &json!({ "run": run, "workflow": plan.workflow, "steps": plan.steps.len(), "owner": workspace.other_owner() }),
    );
    Ok(run)
}

/// Says where a run continues if this command does not wait for it.
fn left(app: &App, workspace: &ReadWriteWorkspace, run: RunId) -> Result<(), Error> {
    let body = json!({ "run": run, "detached": true, "owner": workspace.other_owner() });
    app.printer.data(&body, || {
        format!(
            "detached; process {} continues run {run}\n  {}",
            workspace.other_owner().unwrap_or_default(),
            app.printer.command(&Action::Watch { run })
        )
    })
}

/// Continues an interrupted or a paused run, and follows it to its end. A run that a process drives already is only
/// followed.
pub async fn go_on(app: &App, workspace: &ReadWriteWorkspace, run: RunId) -> Result<Exit, Error> {
    let evidence = workspace.context.evidence(run).await?;
    let state = &evidence.state;
    if let Some(outcome) = state.outcome {
        let again = |again| Action::Resume {
            run: Some(run),
            again,
        };
        return Err(Error::usage(format!(
            "run {run} is over: {}",
            rekindle_report::steps::outcome(outcome)
        ))
        .with_next(Action::Show { run: Some(run) }, "shows how it ended")
        .with_next(again(Again::Failed), "runs again what failed of it")
        .with_next(
            again(Again::FromStep),
            "runs again a step and everything after it",
        ));
    }
    let plan = LoadedSpec::read(&*workspace.context.journal, state, &evidence.inputs)
        .await?
        .plan()?;
    let mut below = nested::below(&workspace.context, run).await?.into_iter();
    // A run that ends early goes on to its end although it is paused.
    let ends = state.cancel.is_some() || state.expired.is_some();
    if !ends && (state.paused.is_some() || below.any(|below| below.evidence.state.paused.is_some())) {
        requests::ask(&app.application, workspace, run, Ask::Unpause, None).await?;
    }
    match workspace.service.resume(run).await {
        Ok(()) => {}
        // The process that drove it was quicker.
        Err(problem) if problem.code == OVER => return attend(app, workspace, run, state.seq).await,
        // It may have left because the run is over.
        Err(problem)
            if is_of_end(&problem) && workspace.context.evidence(run).await?.state.outcome.is_some() =>
        {
            return gone(app, &workspace.context, run, workspace.other_owner()).await;
        }
        Err(problem) => {
            return Err(not_taken_on(
                app,
                workspace,
                problem,
                NextAction::new(resume(Some(run)), "continues it"),
            ));
        }
    }
    let done = state.steps.values().filter(|step| step.state.is_final()).count();
    app.printer.say(format!(
        "resuming run {run}: {}, {done} of {} steps done before{}",
        state.workflow,
        plan.steps.len(),
        by(workspace)
    ));
    app.printer.note(
        "resume",
        &json!({ "run": run, "workflow": state.workflow, "epoch": state.epoch, "done": done, "owner": workspace.other_owner() }),
    );
    attend(app, workspace, run, state.seq).await
}

/// Returns why the owner did not accept a run. A process that a signal stops before its run has begun is interrupted, as if
/// the run had begun.
fn not_taken_on(app: &App, workspace: &ReadWriteWorkspace, problem: Problem, again: NextAction) -> Error {
    let error = Error::from(problem);
    let own = workspace.other_owner().is_none() && app.application.stop.is_cancelled();
    match own && error.code() == rekindle_server::api::STOPPING {
        true => Error::new(
            ProblemKind::Interrupted,
            "interrupted",
            "stopped before the run began; nothing was begun",
        )
        .with_all([again]),
        false => error,
    }
}

fn by(workspace: &ReadWriteWorkspace) -> String {
    workspace
        .other_owner()
        .map(|pid| format!(" (driven by process {pid}; Ctrl-C detaches)"))
        .unwrap_or_default()
}

/// Shows what happens to a run from record `after` on, and prints how it ended.
pub(crate) async fn attend(
    app: &App,
    workspace: &ReadWriteWorkspace,
    run: RunId,
    after: u64,
) -> Result<Exit, Error> {
    let updates = match workspace.service.follow(run, after).await {
        // The owner was there when it received the run.
        Err(problem) if is_of_end(&problem) => {
            return gone(app, &workspace.context, run, workspace.other_owner()).await;
        }
        updates => updates?,
    };
    // If this process is the owner, the stop goes to the owner, and this waits for its end.
    let on_stop = match workspace.other_owner() {
        Some(_) => OnStop::Leave,
        None => OnStop::Stay,
    };
    let whole = whole(app, &workspace.context, run).await;
    match listen(app, (&workspace.context, run), whole, updates, on_stop).await {
        Heard::End(end) => ended(app, &workspace.context, run, end).await,
        Heard::Left => {
            left(app, workspace, run)?;
            Ok(Exit::Interrupted)
        }
        Heard::Silence => gone(app, &workspace.context, run, workspace.other_owner()).await,
    }
}

/// Shows the updates of a run to its end. A stop ends only the watching.
pub(crate) async fn watch(
    app: &App,
    context: &WorkspaceContext,
    run: RunId,
    updates: mpsc::Receiver<RunUpdate>,
) -> Result<Exit, Error> {
    let whole = whole(app, context, run).await;
    match listen(app, (context, run), whole, updates, OnStop::Leave).await {
        Heard::End(end) => ended(app, context, run, end).await,
        Heard::Left => Ok(Exit::Done),
        Heard::Silence => gone(app, context, run, None).await,
    }
}

/// Returns how far a run is. A run that cannot be read is displayed without it.
async fn whole(app: &App, context: &WorkspaceContext, run: RunId) -> Whole {
    let read = async {
        let evidence = context.evidence(run).await?;
        let lists_steps = evidence.state.kind == RunKind::Verify;
        if !app.printer.live() {
            return Ok(Whole {
                lists_steps,
                ..Whole::default()
            });
        }
        let spec = LoadedSpec::read(&*context.journal, &evidence.state, &evidence.inputs).await?;
        let plan = spec.plan()?;
        let ended = evidence
            .state
            .steps
            .iter()
            .filter(|(_, step)| step.state.is_final());
        Ok::<_, Error>(Whole {
            steps: plan.steps.len(),
            ended: ended.map(|(step, _)| step.clone()).collect(),
            lists_steps,
            burns_down: evidence.state.kind == RunKind::Recover,
        })
    };
    match app.printer.is_json() {
        true => Whole::default(),
        false => read.await.unwrap_or_default(),
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

/// The meaning of a stop while a run is followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnStop {
    /// Another process drives the run and continues; this one leaves.
    Leave,
    /// This process interrupts the run, and shows that too.
    Stay,
}

async fn listen(
    app: &App,
    (context, run): (&WorkspaceContext, RunId),
    whole: Whole,
    mut updates: mpsc::Receiver<RunUpdate>,
    on_stop: OnStop,
) -> Heard {
    // A display without forecasts is better than none.
    let before = match whole.burns_down {
        true => forecast::took_before(context).await.ok(),
        false => None,
    };
    let mut live = Live::new(app.printer, whole);
    let mut stopping = false;
    let mut tick = tokio::time::interval(BURN_DOWN_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let heard = loop {
        tokio::select! {
            biased;
            message = updates.recv() => match message {
                Some(RunUpdate::Ended(end)) => break Heard::End(end),
                Some(message) => live.show(&message),
                None => break Heard::Silence,
            },
            _ = tick.tick(), if before.is_some() => {
                if let Some(before) = &before
                    && let Ok(Some(burndown)) = forecast::of_run(context, run, before).await
                {
                    live.burn_down(&burndown);
                }
            }
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

/// How often a display reads how a recovery stands: as often as its steps journal how far they are.
const BURN_DOWN_EVERY: Duration = Duration::from_secs(1);

/// The message of a process that drives runs when a signal stops it.
pub(crate) const STOPPING: &str = "stopping: running steps leave a checkpoint";

/// The owner is gone. It may have ended the run before it left.
async fn gone(app: &App, context: &WorkspaceContext, run: RunId, owner: Option<u32>) -> Result<Exit, Error> {
    match context.evidence(run).await.map(|evidence| evidence.state.outcome) {
        Ok(Some(outcome)) => ended(app, context, run, End::Finished(outcome)).await,
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
    .with_next(
        resume(Some(run)),
        "continues it; nothing that was acknowledged is lost",
    )
}

/// Prints how a run ended, and returns its exit code.
async fn ended(app: &App, context: &WorkspaceContext, run: RunId, end: End) -> Result<Exit, Error> {
    if let End::Broken(problem) = end {
        return Err(broken(problem, run, context));
    }
    let evidence = context.evidence(run).await?;
    let spec = LoadedSpec::read(&*context.journal, &evidence.state, &evidence.inputs).await?;
    let plan = spec.plan()?;
    let ending = Ending {
        evidence: &evidence,
        spec: &spec,
        plan: &plan,
    };
    match end {
        End::Finished(_) => ending.finished(app),
        _ => ending.interrupted(app),
    }
}

/// Returns why a run could not be driven further, and how it can continue if it can.
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

/// How a run ended.
struct Ending<'a> {
    evidence: &'a Evidence,
    spec: &'a LoadedSpec,
    plan: &'a Plan,
}

impl Ending<'_> {
    fn interrupted(&self, app: &App) -> Result<Exit, Error> {
        let state = &self.evidence.state;
        let run = state.id;
        let waiting = waiting(state);
        let displaced = set_aside(self.evidence, self.plan);
        let aside: Vec<&String> = displaced.iter().map(|it| &it.folder).collect();
        let way_on = app.printer.command(&resume(Some(run)));
        let waiting_steps: Vec<Value> = waiting
            .iter()
            .map(|(step, why)| json!({ "step": step, "why": why }))
            .collect();
        let body = json!({
            "run": run, "workflow": state.workflow, "kind": state.kind, "outcome": Value::Null, "exit": Exit::Interrupted.code(),
            "waiting": waiting_steps, "aside": aside, "resume": way_on,
        });
        app.printer.end_of_run(&body, || {
            let because: String = waiting
                .iter()
                .map(|(step, why)| format!("{step} waits: {why}\n"))
                .collect();
            let aside = text::set_aside(&displaced);
            format!(
                "{because}{aside}run {run} is interrupted and resumable; nothing that is journaled runs again\n  \
                 {way_on}"
            )
        });
        Ok(Exit::Interrupted)
    }

    fn finished(&self, app: &App) -> Result<Exit, Error> {
        let Self { evidence, plan, .. } = *self;
        let state = &evidence.state;
        let cost = rework(evidence);
        let mut body = json!({ "run": state.id, "workflow": state.workflow, "kind": state.kind, "outcome": state.outcome, "rework": cost });
        let mut said = String::new();
        let (mut missed, mut fell_back) = (Vec::new(), Vec::new());
        let mut short = false;
        let mut drill = None;
        match state.kind {
            RunKind::Backup => {
                let table = backup_table(evidence, plan);
                short = table.is_incomplete();
                said.push_str(&text::backup(&table));
                let targets = targets::of_backup(evidence, plan, &self.spec.system, &table);
                said.push_str(&text::targets_in_short(&targets));
                missed = targets::missed(&targets);
                body["targets"] = json!(targets);
                body["missed"] = json!(missed);
                body["backup"] = json!(table);
            }
            RunKind::Recover | RunKind::Drill => {
                let table = recovery_table(evidence, plan, &self.spec.system);
                // A drill of the verification recovers nothing.
                let recovers = !table.components.is_empty();
                if recovers {
                    said.push_str(&text::recovery(&table));
                }
                drill = drill_table(evidence, plan, &self.spec.system, &table);
                said.push_str(&drill.as_ref().map_or_else(String::new, text::drill));
                body["drill"] = json!(drill);
                // What a drill has moved is gone with its sandbox.
                let displaced = match state.kind {
                    RunKind::Recover => set_aside(evidence, plan),
                    _ => Vec::new(),
                };
                said.push_str(&text::set_aside(&displaced));
                let in_place = plan.params.get("in_place").and_then(Value::as_bool) == Some(true);
                if in_place && displaced.is_empty() {
                    said.push_str("nothing stood in the way, or nothing was moved\n");
                }
                body["aside"] = displaced.iter().map(|it| it.folder.as_str()).collect();
                let targets = match recovers {
                    true => targets::of_recovery(evidence, plan, &self.spec.system, &table),
                    false => Vec::new(),
                };
                said.push_str(&text::targets_in_short(&targets));
                missed = table.missed();
                missed.extend(targets::missed(&targets));
                body["targets"] = json!(targets);
                // A component that is not as it was captured is not recovered in full.
                short = state.kind == RunKind::Recover && !table.unheld().is_empty();
                fell_back = table.fell_back();
                body["fell_back"] = json!(fell_back);
                body["recovery"] = json!(table);
                body["missed"] = json!(missed);
            }
            RunKind::Verify | RunKind::Custom => {
                said.push_str(&text::steps(evidence, Some(plan), &|action| {
                    app.printer.command(action)
                }));
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
        if exit == Exit::Done && (short || strict && !missed.is_empty()) {
            exit = Exit::Partial;
        }
        // A drill is there to show such a thing.
        if exit != Exit::DataLost && drill.is_some_and(|drill| !drill.holds()) {
            exit = Exit::Failed;
        }
        body["exit"] = json!(exit.code());
        app.printer.end_of_run(&body, || said);
        let warnings = missed.iter().map(|what| format!("missed: {what}"));
        warnings.chain(fell_back).for_each(|what| app.printer.warn(what));
        if exit != Exit::Done {
            app.printer.say(format!(
                "`{}` shows what happened to each step",
                app.printer.command(&Action::Show { run: Some(state.id) })
            ));
        }
        Ok(exit)
    }
}

/// Returns the steps that wait for another attempt, each with the failure of its last attempt.
fn waiting(state: &RunState) -> Vec<(&StepId, String)> {
    let of = |(step, record): (_, &rekindle_model::step::StepRecord)| match &record.state {
        StepState::Backoff { error, .. } => Some((step, error.message.clone())),
        _ => None,
    };
    state.steps.iter().filter_map(of).collect()
}
