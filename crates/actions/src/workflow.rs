//! `workflow`: runs another workflow, as a run of its own in the same journal.
//!
//! Before the other run exists, this step records the run's id as a checkpoint. If the step is cut off, its next
//! attempt finds that run: it creates the run if it does not exist yet, and continues it if it has not ended. An attempt
//! after a failed one begins another run, unless a person opened the last run again. The run is pinned to its workflow's bytes at its creation. Its plan is checked when the outer workflow is read, together
//! with the workflows that it runs in turn.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext, SubRun, WaitingStep};
use rekindle_model::event::{Measures, Outcome};
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::RunId;
use rekindle_model::origin::{Parent, RunKind};
use rekindle_model::run::RunState;
use rekindle_model::shell;
use rekindle_model::step::StepState;
use rekindle_plan::{
    Diagnostics, GroupLocks, Inputs, ParamKind, Problem, Severity, builtin, expand, load_workflow, suggest,
};
use rekindle_vault::regular;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::params::{self, Field, Kind};
use crate::site::Site;

/// See the module's documentation.
pub(crate) struct RunWorkflow {
    pub(crate) site: Arc<Site>,
    pub(crate) outer: Outer,
}

/// The workflows around the one that is checked, the outermost first.
#[derive(Clone, Default)]
pub(crate) struct Outer {
    chain: Vec<String>,
    /// How many workflows the check of the outermost step has read.
    read: Arc<AtomicUsize>,
}

pub(crate) const FIELDS: &[Field] = &[
    Field::required(WORKFLOW, Kind::Text),
    Field::optional(PARAMS, Kind::Any),
];
const WORKFLOW: &str = "workflow";
const PARAMS: &str = "params";

/// How deep workflows may be nested. People lose track long before.
const DEEPEST: usize = 8;
/// How many workflows the check of one step reads at most: workflows that each run several would multiply.
const MOST_READ: usize = 200;
/// The largest workflow file, in bytes; the same limit as everywhere.
const LARGEST: u64 = 16 << 20;

#[derive(Deserialize)]
struct Params {
    workflow: String,
    #[serde(default)]
    params: Map<String, Value>,
}

/// The step's checkpoint.
#[derive(Serialize, Deserialize)]
struct Noted {
    run: RunId,
    /// Whether the run's end was this step's failure. Then another attempt begins another run.
    #[serde(default)]
    over: bool,
}

/// A workflow that a step names.
struct Named {
    /// Its name in diagnostics: the name, or the file as it is written.
    word: String,
    /// Its identity: the name, or the file's canonical path. Two workflows with one identity are the same.
    identity: String,
    text: String,
}

impl RunWorkflow {
    fn named(&self, word: &str) -> Result<Named, Problem> {
        let built_in = builtin::WORKFLOWS.iter().find(|(name, _)| *name == word);
        if let Some((name, text)) = built_in {
            return Ok(Named {
                word: word.to_owned(),
                identity: (*name).to_owned(),
                text: (*text).to_owned(),
            });
        }
        let path = self.site.system_dir().join(word);
        let names = builtin::WORKFLOWS.map(|(name, _)| name);
        let in_step = |message: String, help: String| Problem {
            at: vec![WORKFLOW.to_owned()],
            message,
            help: Some(help),
        };
        let mut path = path;
        if let (Some(trust), true) = (self.site.trust(), path.exists()) {
            // From here on, nobody else can lead this path to another file.
            path = trust.check(&path).map_err(|untrusted| {
                let help = format!("if you trust it: `rekindle trust {}`", shell::word(&path));
                in_step(
                    format!("{untrusted}, so it could run programs as this user"),
                    help,
                )
            })?;
        }
        let read = || -> Result<(PathBuf, String), String> {
            let whole = path.canonicalize().map_err(|error| error.to_string())?;
            let text = regular::read_text(&whole, LARGEST).map_err(|error| error.to_string())?;
            Ok((whole, text))
        };
        let (whole, text) = read().map_err(|why| {
            let help = format!(
                "built in are {}; a file is looked for from the folder of system.yaml",
                names.join(", ")
            );
            in_step(
                format!("there is no workflow `{word}`, and no such file: {why}"),
                help,
            )
        })?;
        Ok(Named {
            word: word.to_owned(),
            identity: whole.display().to_string(),
            text,
        })
    }

    /// Returns the fault of the workflow that a step names, or of those that it runs.
    fn check_named(&self, word: &str, with: &Value) -> Result<(), Problem> {
        let problem = |message: String, help: Option<&str>| Problem {
            at: vec![WORKFLOW.to_owned()],
            message,
            help: help.map(str::to_owned),
        };
        let outer = match self.outer.chain.is_empty() {
            true => Outer::default(),
            false => self.outer.clone(),
        };
        let named = self.named(word)?;
        let mut chain = outer.chain.clone();
        chain.push(named.identity.clone());
        if outer.chain.contains(&named.identity) {
            let from = outer.chain.iter().position(|one| *one == named.identity);
            let path = chain[from.unwrap_or(0)..].join(" → ");
            return Err(problem(
                format!("these workflows run each other: {path}"),
                Some("take one of these steps away"),
            ));
        }
        if chain.len() > DEEPEST {
            return Err(problem(
                format!("workflows run workflows more than {DEEPEST} deep"),
                Some("let one workflow have the steps of several"),
            ));
        }
        if outer.read.fetch_add(1, Ordering::Relaxed) >= MOST_READ {
            return Err(problem(
                format!("more than {MOST_READ} workflows would be run by one step"),
                Some("let one workflow have the steps of several"),
            ));
        }
        let workflow =
            load_workflow(&named.word, &named.text).map_err(|faults| problem(first(&faults), None))?;
        let known: Vec<&str> = workflow.params.keys().map(String::as_str).collect();
        let given = with.get(PARAMS).and_then(Value::as_object);
        for (name, value) in given.into_iter().flatten() {
            let at = || vec![PARAMS.to_owned(), name.clone()];
            let Some(spec) = workflow.params.get(name) else {
                return Err(Problem {
                    at: at(),
                    message: format!("workflow `{}` has no parameter `{name}`", workflow.name),
                    help: suggest(name, &known).or_else(|| Some("it takes none".to_owned())),
                });
            };
            if !is_expression(value) && spec.kind.accept(value).is_none() {
                return Err(Problem {
                    at: at(),
                    message: format!("parameter `{name}` must be of type {}", spec.kind.name()),
                    help: None,
                });
            }
        }
        let missing = workflow.params.iter().find(|(name, spec)| {
            spec.default.is_none() && given.is_none_or(|given| !given.contains_key(*name))
        });
        if let Some((name, spec)) = missing {
            let message = format!("parameter `{name}` ({}) of `{word}` is missing", spec.kind.name());
            return Err(problem(message, Some("give it under `params:`")));
        }
        let inputs = Inputs {
            params: workflow
                .params
                .iter()
                .filter(|(_, spec)| spec.default.is_none())
                .map(|(name, spec)| (name.clone(), placeholder(spec.kind)))
                .collect(),
            loops: self
                .site
                .system()
                .default_loops(RunKind::of_workflow(&workflow.name)),
        };
        let inner = Outer {
            chain,
            read: outer.read,
        };
        if self.site.system().present().is_none() {
            let needs = workflow.needs_system(Severity::Error);
            if needs.has_errors() {
                return Err(problem(first(&needs), None));
            }
        }
        let catalog = crate::registry_inside(Arc::clone(&self.site), inner);
        expand(&workflow, self.site.system().present(), &inputs, &catalog)
            .map(drop)
            .map_err(|faults| problem(first(&faults), None))
    }

    /// Returns the group locks of a workflow and of those that it runs, as far as the check reads them.
    fn group_locks_of(&self, word: &str, depth: usize, read: &mut usize) -> Option<GroupLocks> {
        *read += 1;
        if depth > DEEPEST || *read > MOST_READ {
            return None;
        }
        let named = self.named(word).ok()?;
        let workflow = load_workflow(&named.word, &named.text).ok()?;
        let mut runs = Vec::new();
        for (at, step) in workflow.steps.iter().enumerate() {
            let word = step.with.get(WORKFLOW).and_then(Value::as_str);
            if let (rekindle_engine::WORKFLOW, Some(word)) = (step.uses.as_str(), word) {
                runs.extend(
                    self.group_locks_of(word, depth + 1, read)
                        .map(|inner| (at, inner)),
                );
            }
        }
        Some(GroupLocks {
            workflow: workflow.name,
            group: workflow.concurrency,
            runs,
        })
    }

    /// Returns the run to create, from its workflow in its present state.
    fn new_run(&self, cx: &StepContext, run: RunId, params: Params) -> Result<SubRun, Failure> {
        let bad = |problem: Problem| {
            let failure = Failure::permanent(params::BAD_PARAMETER, problem.message);
            match problem.help {
                Some(help) => failure.with_hint(help),
                None => failure,
            }
        };
        // The workflow may have changed since the outer run began.
        self.check_named(&params.workflow, &cx.with).map_err(bad)?;
        let named = self.named(&params.workflow).map_err(bad)?;
        let workflow = load_workflow(&named.word, &named.text)
            .map_err(|faults| Failure::permanent(params::BAD_PARAMETER, first(&faults)))?;
        let kind = RunKind::of_workflow(&workflow.name);
        Ok(SubRun {
            run,
            kind,
            parent: step_of(cx),
            inputs: Inputs {
                params: params.params,
                loops: self.site.system().default_loops(kind),
            },
            workflow: workflow.name,
            definition: named.text,
            disaster_at: cx.disaster_at,
            disaster_at_told: cx.disaster_at_told,
        })
    }
}

#[async_trait]
impl Action for RunWorkflow {
    fn check(&self, with: &Value) -> Vec<Problem> {
        let mut problems = params::check(with, FIELDS);
        if let Some(params) = with.get(PARAMS)
            && !params.is_object()
        {
            problems.push(Problem {
                at: vec![PARAMS.to_owned()],
                message: "`params` is not a map of parameters by name".to_owned(),
                help: None,
            });
        }
        match with.get(WORKFLOW).and_then(Value::as_str) {
            Some(word) if word.contains("${{") => problems.push(Problem {
                at: vec![WORKFLOW.to_owned()],
                message: "which workflow is run cannot depend on the run: its plan is checked before"
                    .to_owned(),
                help: Some("name it here; what differs goes into its `params`".to_owned()),
            }),
            Some(word) if problems.is_empty() => problems.extend(self.check_named(word, with).err()),
            _ => {}
        }
        problems
    }

    fn group_locks(&self, with: &Value) -> Option<GroupLocks> {
        self.group_locks_of(with.get(WORKFLOW)?.as_str()?, 1, &mut 0)
    }

    async fn reconcile(&self, _cx: &StepContext, checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        Ok(match checkpoint.and_then(noted) {
            Some(Noted { run, over: false }) => Reconciled::Continue {
                evidence: json!({ "run": run }),
            },
            Some(Noted { run, over: true }) => Reconciled::Redo {
                evidence: json!({ "why": "the run before had ended, as this step's failure", "run": run }),
            },
            None => Reconciled::redo("no run had been chosen"),
        })
    }

    async fn run(&self, cx: &StepContext, checkpoint: Option<Value>) -> Result<Output, Failure> {
        let params: Params = params::read(&cx.with)?;
        let sub_runs = cx.sub_runs().ok_or_else(|| {
            Failure::permanent(
                "no_sub_runs",
                "the process that drives this run cannot drive others beside it",
            )
        })?;
        let run = match checkpoint.as_ref().and_then(noted) {
            Some(Noted { run, over: false }) => run,
            _ => {
                // A person who has this step tried again may have opened its last run again.
                let opened = sub_runs.unfinished_of(&step_of(cx)).await?;
                let run = opened.unwrap_or_else(|| RunId::new(&cx.clock.now()));
                // This precedes the run, so that a crash leaves no run without a record of it.
                cx.checkpoint(json!({ "run": run })).await?;
                run
            }
        };
        if !sub_runs.exists(run).await? {
            sub_runs.create(self.new_run(cx, run, params)?).await?;
        }
        let waiting = WaitingStep {
            step: step_of(cx),
            stop: cx.stop.clone(),
            given_up: cx.given_up.clone(),
        };
        let ended = sub_runs.drive(run, &waiting).await?;
        match outcome(&ended.state) {
            Ok(()) => Ok(Output {
                value: json!({ "run": run, "steps": ended.outputs }),
                measures: Measures::new(),
            }),
            Err(failure) => {
                cx.checkpoint(json!({ "run": run, "over": true })).await?;
                Err(failure)
            }
        }
    }
}

fn step_of(cx: &StepContext) -> Parent {
    Parent {
        run: cx.run,
        step: cx.step.id.clone(),
    }
}

fn noted(checkpoint: &Value) -> Option<Noted> {
    serde_json::from_value(checkpoint.clone()).ok()
}

/// Returns the result of a step from the end of the run that it ran.
fn outcome(state: &RunState) -> Result<(), Failure> {
    let run = state.id;
    let failed = || {
        let failed = state
            .steps
            .iter()
            .filter_map(|(step, record)| match &record.state {
                StepState::Failed { error } => Some((step, error)),
                _ => None,
            });
        failed.collect::<Vec<_>>()
    };
    let because = || match failed().as_slice() {
        [] => String::new(),
        [(step, error)] => format!(": {step}: {error}"),
        [(step, error), more @ ..] => format!(": {step}: {error}, and {} more", more.len()),
    };
    let code = |code: &'static str| match failed().iter().any(|(_, error)| error.code == code::DATA_LOST) {
        true => code::DATA_LOST,
        false => code,
    };
    let hint = format!("the history of run {run} says what happened to each of its steps");
    if let Some(deadlock) = &state.deadlock
        && state.outcome != Some(Outcome::Succeeded)
    {
        let message = format!(
            "run {run} gave up the lock of group `{}`: {deadlock}",
            deadlock.group
        );
        // Another attempt would wait for the same runs, and these wait for the end of this one.
        return Err(Failure::permanent(code(code::DEADLOCK), message)
            .with_hint("let one of them end before the other begins, or give both one `concurrency` group"));
    }
    match state.outcome {
        Some(Outcome::Succeeded) => Ok(()),
        Some(Outcome::Cancelled) => {
            let by = state.cancel.as_deref().unwrap_or("somebody");
            Err(Failure::permanent(code::CANCELLED, format!("{by} cancelled run {run}")).with_hint(hint))
        }
        Some(Outcome::Stuck) => Err(Failure::permanent(
            code("run_stuck"),
            format!("run {run} failed, and what it did could not be undone"),
        )
        .with_hint(hint)),
        Some(Outcome::Partial) => Err(Failure::transient(
            code("run_partial"),
            format!("run {run} was done in part{}", because()),
        )
        .with_hint(hint)),
        Some(Outcome::Failed) | None => Err(Failure::transient(
            code("run_failed"),
            format!("run {run} failed{}", because()),
        )
        .with_hint(hint)),
    }
}

fn is_expression(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains("${{"))
}

/// Returns any value of a type, since a plan's steps do not depend on it.
fn placeholder(kind: ParamKind) -> Value {
    match kind {
        ParamKind::String => "x".into(),
        ParamKind::Integer | ParamKind::Number => 1.into(),
        ParamKind::Boolean => false.into(),
        ParamKind::List => Value::Array(Vec::new()),
        ParamKind::Duration => "1s".into(),
    }
}

/// Returns the first fault of a file with its place, and the number of the others.
fn first(faults: &Diagnostics) -> String {
    let more = match faults.0.len() {
        0 | 1 => String::new(),
        several => format!(" ({} more)", several - 1),
    };
    faults.0.first().map_or_else(String::new, |fault| {
        let help = fault
            .help
            .as_ref()
            .map(|help| format!("; {help}"))
            .unwrap_or_default();
        format!(
            "{}:{}:{}: {}{help}{more}",
            fault.file, fault.line, fault.col, fault.message
        )
    })
}
