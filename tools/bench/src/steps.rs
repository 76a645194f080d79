//! Chains of no-op steps, driven by the engine on the journal in memory and on disk.
//!
//! A step takes from its own start to the start of the next one: its outcome and the next start are one append, so
//! that this is one durable transition with everything around it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rekindle_engine::{Action, Control, Ended, Engine, NewRun, Output, Reconciled, Registry, StepContext};
use rekindle_journal::{Journal, MemoryJournal};
use rekindle_journal_local::{LocalJournal, OpenOptions};
use rekindle_model::event::{Outcome as RunOutcome, Worker};
use rekindle_model::failure::Failure;
use rekindle_model::id::RunId;
use rekindle_model::origin::{RunKind, Trigger};
use rekindle_model::time::SystemClock;
use rekindle_plan::{Inputs, Plan, Problem, expand, load_workflow};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::figure::{Figure, now, print};

/// How many runs there are at once, and how many steps each has.
const LOADS: [(u32, u32); 4] = [(1, 1000), (1, 100), (16, 100), (128, 100)];

/// Measures all loads on both journals.
pub(crate) fn measure(dir: &Path, round: u32) -> Outcome<()> {
    let runtime = Runtime::new()?;
    for (runs, steps) in LOADS {
        let memory: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        print(&runtime.block_on(load("rekindle-memory", memory, runs, steps))?)?;
        measure_one(dir, round, runs, steps)?;
    }
    Ok(())
}

/// Measures one load on the journal on disk.
pub(crate) fn measure_one(dir: &Path, round: u32, runs: u32, steps: u32) -> Outcome<()> {
    let runtime = Runtime::new()?;
    let path = dir.join(format!("rekindle-{round}-{runs}-{steps}"));
    let (journal, _) = runtime.block_on(LocalJournal::open(&path, OpenOptions::default()))?;
    print(&runtime.block_on(load("rekindle", Arc::new(journal), runs, steps))?)?;
    Ok(std::fs::remove_dir_all(&path)?)
}

async fn load(subject: &str, journal: Arc<dyn Journal>, runs: u32, steps: u32) -> Outcome<Figure> {
    let noop = Noop::default();
    let starts = Arc::clone(&noop.starts);
    let definition = chain(steps);
    let registry = Registry::new().with("noop", noop);
    let plan = Arc::new(plan(&definition, &Inputs::default(), &registry)?);
    // One slot for each chain: the disk is to be the limit, not the engine's patience.
    let engine = engine(journal, registry).with_limits(runs as usize, Duration::from_secs(10));
    let began = now();
    let mut driven = Vec::new();
    for _ in 0..runs {
        let (engine, plan, definition) = (engine.clone(), Arc::clone(&plan), definition.clone());
        driven.push(tokio::spawn(async move {
            let run = engine.create(new_run(definition, Inputs::default())).await?;
            engine.drive(run, plan, json!({}), &Control::default()).await
        }));
    }
    for run in driven {
        match run.await?? {
            Ended::Finished(state) if state.outcome == Some(RunOutcome::Succeeded) => {}
            other => return Err(format!("a run did not succeed: {:?}", other.state().outcome).into()),
        }
    }
    let whole = began.elapsed();
    let starts = starts.lock().unwrap_or_else(PoisonError::into_inner);
    let gaps = starts
        .values()
        .flat_map(|run| run.windows(2).map(|pair| pair[1] - pair[0]))
        .collect();
    Ok(Figure::of(subject, runs, steps, whole, gaps))
}

/// Returns the YAML of a chain of no-op steps.
pub(crate) fn chain(steps: u32) -> String {
    let mut yaml = String::from("workflow: chain\nsteps:\n");
    for step in 0..steps {
        yaml.push_str(&format!("  - {{id: s{step}, uses: noop"));
        if let Some(before) = step.checked_sub(1) {
            yaml.push_str(&format!(", needs: [s{before}]"));
        }
        yaml.push_str("}\n");
    }
    yaml
}

/// Returns the YAML of a chain of no-op steps, once for each value of a loop.
pub(crate) fn looped_chain(steps: u32) -> String {
    chain(steps).replace(", uses: noop", ", uses: noop, for_each: shard")
}

/// Returns what gives such a loop so many values.
pub(crate) fn shards(values: u32) -> Inputs {
    let values = (0..values).map(|value| format!("shard-{value}")).collect();
    Inputs {
        loops: [("shard".to_owned(), values)].into(),
        ..Inputs::default()
    }
}

/// Returns the plan of a workflow.
pub(crate) fn plan(definition: &str, inputs: &Inputs, registry: &Registry) -> Outcome<Plan> {
    let workflow = load_workflow("bench.yaml", definition).map_err(|found| found.to_string())?;
    Ok(expand(&workflow, None, inputs, registry).map_err(|found| found.to_string())?)
}

/// Returns an engine of this process.
pub(crate) fn engine(journal: Arc<dyn Journal>, registry: Registry) -> Engine {
    let worker = Worker {
        host: "bench".to_owned(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Engine::new(journal, registry, Arc::new(SystemClock), worker)
}

/// Returns what a run of this definition is created with.
pub(crate) fn new_run(definition: String, inputs: Inputs) -> NewRun {
    NewRun {
        workflow: "chain".to_owned(),
        kind: RunKind::Custom,
        definition: definition.into_bytes(),
        system: None,
        inputs,
        trigger: Trigger::command("bench"),
        disaster_at: None,
        disaster_at_told: false,
    }
}

/// Does nothing, and remembers when it was told to.
#[derive(Default)]
pub(crate) struct Noop {
    starts: Arc<Mutex<HashMap<RunId, Vec<Instant>>>>,
}

#[async_trait]
impl Action for Noop {
    fn check(&self, _with: &Value) -> Vec<Problem> {
        Vec::new()
    }

    fn can_be_gone(&self) -> bool {
        false
    }

    async fn reconcile(&self, _: &StepContext, _: Option<&Value>) -> Result<Reconciled, Failure> {
        Ok(Reconciled::redo("it leaves nothing behind"))
    }

    async fn run(&self, cx: &StepContext, _: Option<Value>) -> Result<Output, Failure> {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts.entry(cx.run).or_default().push(now());
        Ok(Output::default())
    }
}
