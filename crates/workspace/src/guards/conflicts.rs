//! Guards against unfinished recoveries into the living system. Until such a run has ended, its data may be half of
//! two instants: no other run captures it or recovers over it. If the run has ended, and not well, no run captures the
//! data until a later recovery has completed it or a person has accepted it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rekindle_model::id::RunId;
use rekindle_plan::Plan;
use rekindle_report::text;

use rekindle_model::next_action::{Action, Recover, RecoverTarget};

use super::partial_recovery::{self, same};
use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::replica;
use crate::run_spec::{self, LoadedSpec, ReadyRun};
use rekindle_model::problem::ProblemKind;

/// Refuses a run that captures a component which an unfinished run recovers in place, or restores one which an older
/// such run recovers. Also refuses a run that captures a component which an ended recovery has left half recovered.
///
/// # Errors
/// There is such a run. The error says how to continue it.
pub async fn refuse_half_recovered(
    context: &WorkspaceContext,
    ready: &ReadyRun,
    own: Option<RunId>,
) -> Result<(), Error> {
    let system_dir = context.layout.system_dir();
    let living = same(&run_spec::data_root(&system_dir, &ready.spec.system));
    let captured = components(&ready.plan, "snapshot");
    let into_the_living = |plan: &Plan, to: Option<PathBuf>| {
        let root = to.unwrap_or_else(|| run_spec::data_root(&system_dir, &ready.spec.system));
        match same(&root) == living {
            true => components(plan, "restore"),
            false => BTreeSet::new(),
        }
    };
    let restored = match ready.spec.workflow.params.contains_key("to") {
        true => into_the_living(&ready.plan, ready.spec.param("to").map(PathBuf::from)),
        false => BTreeSet::new(),
    };
    if captured.is_empty() && restored.is_empty() {
        return Ok(());
    }
    for run in context.interrupted().await? {
        let run = run.run;
        if own == Some(run) {
            continue;
        }
        let read = async {
            let evidence = context.evidence(run).await?;
            let pinned = LoadedSpec::read(&*context.journal, &evidence.state, &evidence.inputs).await?;
            let plan = pinned.plan()?;
            Ok::<_, Error>((pinned, plan))
        };
        let (pinned, plan) = match read.await {
            Ok(read) => read,
            // A run that cannot be read must not block all others.
            Err(error) => {
                context.notices.warn(format!(
                    "run {run} cannot be read, so whether it recovers in place is not known: {error}"
                ));
                continue;
            }
        };
        if !pinned.workflow.params.contains_key("to") {
            continue;
        }
        let half = into_the_living(&plan, pinned.param("to").map(PathBuf::from));
        // Of two recoveries, the older one must end first. A capture waits for both.
        let older = own.is_none_or(|own| run < own);
        let in_the_way = |name: &&String| captured.contains(*name) || (older && restored.contains(*name));
        let both: Vec<&str> = half.iter().filter(in_the_way).map(String::as_str).collect();
        if !both.is_empty() {
            return Err(Error::new(
                ProblemKind::Held,
                "half_recovered",
                format!(
                    "run {run} is recovering {} in place and has not ended: the folder may hold half of it",
                    both.join(", ")
                ),
            )
            .with_next(
                replica::way_on(&context.layout.state, run),
                "lets it end, which must come first",
            ));
        }
    }
    match captured.is_empty() {
        true => Ok(()),
        false => refuse_unsettled(context, ready, &captured).await,
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

/// Refuses to capture a component that was left half recovered by a run which has ended, or of which a record is lost.
async fn refuse_unsettled(
    context: &WorkspaceContext,
    ready: &ReadyRun,
    captured: &BTreeSet<String>,
) -> Result<(), Error> {
    let accepted = partial_recovery::runs(ready.spec.param(partial_recovery::ACCEPT).unwrap_or_default());
    let half = partial_recovery::unsettled(context, &ready.spec.system, &accepted).await?;
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
            "run {run} has recovered {} in place and did not come to a good end: the folder may hold half of it",
            names.join(", ")
        ),
        None => format!(
            "run {run} has set content aside, and a record of it is lost: the folder may be half recovered"
        ),
    };
    let recover = Action::Recover(Recover {
        target: RecoverTarget::InPlace,
        ..Recover::default()
    });
    let again = match half.components {
        Some(_) => "recovers again; what comes through is backed up as before",
        None => "recovers again; accept what is there then",
    };
    let mut error = Error::new(ProblemKind::Held, "half_recovered", message)
        .with_advice("choose one; nothing was captured")
        .with_next(recover, again)
        .with_next(Action::AcceptRecovery { run }, "accepts the folder as it is now");
    if !half.aside.is_empty() {
        let root = run_spec::data_root(&context.layout.system_dir(), &ready.spec.system);
        let aside = text::set_aside(&half.aside, &root);
        error = error.with_advice(format!("or put back and accept:\n{}", aside.trim_end()));
    }
    Err(error)
}
