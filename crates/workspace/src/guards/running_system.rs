//! Checks whether the system that a recovery in place is about to replace still answers. A running system would read
//! and write in the moved folders, even if it holds no file open at the moment.

use rekindle_actions::{Answer, ask_health};
use rekindle_model::run::RunState;

use rekindle_model::next_action::{Action, Recover, RecoverTarget};

use crate::error::Error;
use crate::notice::Notices;
use crate::replica;
use crate::run_spec::ReadyRun;
use rekindle_model::problem::ProblemKind;

/// Returns the action that does the same recovery in place although the system is in use.
pub(super) fn while_running(ready: &ReadyRun) -> Action {
    let spec = &ready.spec;
    if spec.workflow.name != "recover" {
        let flags = ["in_place", "while_running"];
        return Action::RunWorkflow {
            workflow: spec.workflow.name.clone(),
            params: flags.map(|flag| (flag.to_owned(), "true".to_owned())).into(),
        };
    }
    let components = spec.inputs.loops.get("component").cloned().unwrap_or_default();
    let all = components.len() == spec.system.components.len();
    Action::Recover(Recover {
        scenario: spec.param("scenario").map(str::to_owned),
        components: if all { Vec::new() } else { components },
        from: spec
            .param("from")
            .filter(|from| *from != "latest")
            .map(str::to_owned),
        target: RecoverTarget::InPlaceWhileRunning,
    })
}

/// Refuses to start, or to resume, a recovery in place while a health URL of the system answers. `state` is the state
/// of a resumed run. Does nothing for any other run, or once the run has moved everything aside.
pub async fn refuse_answering(
    notices: &Notices,
    ready: &ReadyRun,
    state: Option<&RunState>,
) -> Result<(), Error> {
    let Some(root) = ready.may_displace() else {
        return Ok(());
    };
    let mut moves = ready.plan.steps.iter().filter(|step| step.uses == "set-aside");
    if !moves.any(|step| state.is_none_or(|state| !state.step(&step.id).state.is_final())) {
        return Ok(());
    }
    let mut answered = Vec::new();
    for health in &ready.spec.system.health {
        match ask_health(root, health).await {
            Answer::Answered { asked, status } => answered.push(format!("{asked} answers with {status}")),
            Answer::Silent => {}
            Answer::Unknown(why) => notices.warn(format!("whether the system runs is not known: {why}")),
        }
    }
    if answered.is_empty() {
        return Ok(());
    }
    let refusal = Error::new(
        ProblemKind::Invalid,
        "running",
        format!("the system runs: {}", answered.join(", ")),
    );
    Err(match state {
        None => refusal
            .with_advice("stop it first; nothing was touched")
            .with_next(while_running(ready), "recovers although it runs"),
        Some(state) => {
            let again = replica::way_on(ready.site.workspace_dir(), state.id);
            refusal.with_next(again, "continues, once the system is stopped")
        }
    })
}
