//! Whether the system that a recovery in place is about to replace still answers: it would read and write in what is
//! moved from under it, also where it holds no file open at the moment.

use rekindle_actions::{Answer, ask_health};
use rekindle_model::run::RunState;

use crate::error::CliError;
use crate::exit::Exit;
use crate::pinned::Ready;
use crate::printer::Printer;
use crate::replica_adapter;

/// Refuses to begin, or to go on with, a recovery in place while a health URL of the system answers; `state` is what a
/// resumed run has come to. Does nothing for every other run, and none once all that stood there is moved.
pub(crate) async fn refuse_answering(
    printer: Printer,
    ready: &Ready,
    state: Option<&RunState>,
) -> Result<(), CliError> {
    let Some(root) = ready.may_displace() else {
        return Ok(());
    };
    let mut moves = ready.plan.steps.iter().filter(|step| step.uses == "set-aside");
    if !moves.any(|step| state.is_none_or(|state| !state.step(&step.id).state.is_final())) {
        return Ok(());
    }
    let mut answered = Vec::new();
    for health in &ready.pinned.system.health {
        match ask_health(root, health).await {
            Answer::Answered { asked, status } => answered.push(format!("{asked} answers with {status}")),
            Answer::Silent => {}
            Answer::Unknown(why) => printer.warn(format!("whether the system runs is not known: {why}")),
        }
    }
    if answered.is_empty() {
        return Ok(());
    }
    let refusal = CliError::new(
        Exit::Usage,
        "running",
        format!("the system runs: {}", answered.join(", ")),
    );
    Err(match state {
        None => {
            refusal.with_hint("nothing was touched; stop it first, or recover --in-place --while-running")
        }
        Some(state) => {
            let again = replica_adapter::way_on(ready.site.workspace_dir(), state.id);
            refusal.with_hint(format!("stop it, then: {again}"))
        }
    })
}
