//! A recovery into the living system that is not finished: what stands there may be half of two instants, so it is
//! neither captured nor recovered over until that run has ended. Where it has ended, and not well, it is not captured
//! until a later recovery has made it good or a person has accepted it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rekindle_model::id::RunId;
use rekindle_plan::Plan;
use rekindle_report::text;

use crate::error::CliError;
use crate::exit::Exit;
use crate::ground::Ground;
use crate::partial_recovery::{self, same};
use crate::pinned::{self, Pinned, Ready};
use crate::slots::fenced;

/// Refuses a run that reads or writes a component which an older, unfinished run is recovering where it lives, and one
/// that reads what a recovery which is over has left half recovered.
///
/// # Errors
/// Names that run and the commands that go on from there; exit code 6.
pub(crate) async fn refuse_half_recovered(
    ground: &Ground,
    ready: &Ready,
    own: Option<RunId>,
) -> Result<(), CliError> {
    let system_dir = ground.workspace.system_dir();
    let living = same(&pinned::data_root(&system_dir, &ready.pinned.system));
    let captured = components(&ready.plan, "snapshot");
    let into_the_living = |plan: &Plan, to: Option<PathBuf>| {
        let root = to.unwrap_or_else(|| pinned::data_root(&system_dir, &ready.pinned.system));
        match same(&root) == living {
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
            .with_hint(format!(
                "let it end first: {}",
                fenced::way_on(&ground.workspace.state, run)
            )));
        }
    }
    match captured.is_empty() {
        true => Ok(()),
        false => refuse_unsettled(ground, ready, &captured).await,
    }
}

/// Returns the components for which a plan has a step of that action.
fn components(plan: &Plan, action: &str) -> BTreeSet<String> {
    let of_action = plan.steps.iter().filter(|step| step.uses == action);
    of_action
        .filter_map(partial_recovery::component)
        .map(str::to_owned)
        .collect()
}

/// Refuses to capture what a recovery that is over, or of which a record is lost, has left half recovered.
async fn refuse_unsettled(
    ground: &Ground,
    ready: &Ready,
    captured: &BTreeSet<String>,
) -> Result<(), CliError> {
    let accepted = partial_recovery::runs(ready.pinned.param(partial_recovery::ACCEPT).unwrap_or_default());
    let half = partial_recovery::unsettled(ground, &ready.pinned.system, &accepted).await?;
    let found = half
        .iter()
        .filter(|half| !half.resumable)
        .map(|half| (half, half.of(captured)))
        .find(|(_, names)| !names.is_empty());
    let Some((half, names)) = found else {
        return Ok(());
    };
    let run = half.run;
    let message = match half.components {
        Some(_) => format!(
            "run {run} has recovered {} in place and did not come to a good end: what stands there may be half of it",
            names.join(", ")
        ),
        None => format!(
            "run {run} has set aside what stood there, and a record of it is lost: what stands there may be half recovered"
        ),
    };
    let again = "rekindle recover --in-place".to_owned();
    let accept = format!("rekindle backup --accept {run}");
    let (again_does, accept_does) = match half.components {
        Some(_) => (
            "recovers again; what comes through is backed up as before",
            "takes what stands there as it is",
        ),
        None => (
            "recovers again; accept what then stands there",
            "takes what stands there as it is",
        ),
    };
    let width = again.len().max(accept.len());
    let root = pinned::data_root(&ground.workspace.system_dir(), &ready.pinned.system);
    let put_back = match half.aside.as_slice() {
        [] => String::new(),
        aside => format!("\n{}  and accept it", text::set_aside(aside, &root)),
    };
    Err(CliError::new(Exit::Held, "half_recovered", message).with_hint(format!(
        "choose one; nothing was captured\n  {again:width$}   {again_does}\n  {accept:width$}   {accept_does}{put_back}"
    )))
}
