//! A recovery into the living system that is not finished: what stands there may be half of two instants, so it is
//! neither captured nor recovered over until that run has ended.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rekindle_model::id::RunId;
use rekindle_plan::Plan;

use crate::error::CliError;
use crate::exit::Exit;
use crate::ground::Ground;
use crate::pinned::{self, Pinned, Ready};

/// Refuses a run that reads or writes a component which an older, unfinished run is recovering where it lives.
///
/// # Errors
/// Names that run and the command that goes on with it; exit code 6.
pub(crate) async fn refuse_half_recovered(
    ground: &Ground,
    ready: &Ready,
    own: Option<RunId>,
) -> Result<(), CliError> {
    let system_dir = ground.workspace.system_dir();
    let living = same(pinned::data_root(&system_dir, &ready.pinned.system));
    let captured = components(&ready.plan, "snapshot");
    let into_the_living = |plan: &Plan, to: Option<PathBuf>| {
        let root = to.unwrap_or_else(|| pinned::data_root(&system_dir, &ready.pinned.system));
        match same(root) == living {
            true => components(plan, "restore"),
            false => BTreeSet::new(),
        }
    };
    let restored = match ready.pinned.workflow.params.contains_key("to") {
        true => into_the_living(&ready.plan, ready.pinned.param("to").map(PathBuf::from)),
        false => BTreeSet::new(),
    };
    if captured.is_empty() && restored.is_empty() {
        return Ok(());
    }
    for run in ground.interrupted().await? {
        let run = run.run;
        if own == Some(run) {
            continue;
        }
        let read = async {
            let evidence = ground.evidence(run).await?;
            let pinned = Pinned::read(&*ground.journal, &evidence.state, &evidence.inputs).await?;
            let plan = pinned.plan()?;
            Ok::<_, CliError>((pinned, plan))
        };
        let (pinned, plan) = match read.await {
            Ok(read) => read,
            // One that cannot be read must not keep every other from running.
            Err(error) => {
                ground.printer.warn(format!(
                    "run {run} cannot be read, so whether it recovers in place is not known: {error}"
                ));
                continue;
            }
        };
        if !pinned.workflow.params.contains_key("to") {
            continue;
        }
        let half = into_the_living(&plan, pinned.param("to").map(PathBuf::from));
        // Of two recoveries the older one ends first; nothing is captured before both have.
        let older = own.is_none_or(|own| run < own);
        let in_the_way = |name: &&String| captured.contains(*name) || (older && restored.contains(*name));
        let both: Vec<&str> = half.iter().filter(in_the_way).map(String::as_str).collect();
        if !both.is_empty() {
            return Err(CliError::new(
                Exit::Held,
                "half_recovered",
                format!(
                    "run {run} is recovering {} in place and has not ended: what stands there may be half of it",
                    both.join(", ")
                ),
            )
            .with_hint(format!("let it end first: rekindle resume {run}")));
        }
    }
    Ok(())
}

/// Returns the components for which a plan has a step of that action.
fn components(plan: &Plan, action: &str) -> BTreeSet<String> {
    let named = |step: &rekindle_plan::PlanStep| {
        let fixed = step.with.get("component").and_then(serde_json::Value::as_str);
        step.each
            .get("component")
            .map(String::as_str)
            .or(fixed)
            .map(str::to_owned)
    };
    let of_action = plan.steps.iter().filter(|step| step.uses == action);
    of_action.filter_map(named).collect()
}

/// Returns the folder that a path leads to, links followed, or the path where it leads nowhere.
fn same(path: PathBuf) -> PathBuf {
    path.canonicalize().unwrap_or(path)
}
