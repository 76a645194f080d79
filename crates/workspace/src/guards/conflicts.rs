//! Guards against unfinished recoveries into the living system. Until such a run has ended, its data may be half of
//! two instants: no other run captures it or recovers over it. If the run has ended, and not well, no run captures the
//! data until a later recovery has completed it or a person has accepted it.

use std::collections::BTreeSet;

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
    let restores = |spec: &LoadedSpec, plan: &Plan| match spec.target_root(&system_dir) {
        Some(root) if same(&root) == living => components(plan, "restore"),
        _ => BTreeSet::new(),
    };
    let restored = restores(&ready.spec, &ready.plan);
    if captured.is_empty() && restored.is_empty() {
        return Ok(());
    }
    for run in context.interrupted().await? {
        let run = run.run;
        if own == Some(run) {
            continue;
        }
        let (_, pinned, plan) = match partial_recovery::read_run(context, run).await {
            Ok(read) => read,
            // A run that cannot be read must not block all others.
            Err(error) => {
                context.notices.warn(format!(
                    "run {run} cannot be read, so whether it recovers in place is not known: {error}"
                ));
                continue;
            }
        };
        let half = restores(&pinned, &plan);
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
            "run {run} has recovered {} in place and did not succeed: the folder may hold half of it",
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
        Some(_) => "recovers again; a component that it restores is backed up as before",
        None => "recovers again; accept what is there then",
    };
    let mut error = Error::new(ProblemKind::Held, "half_recovered", message)
        .with_advice("choose one; nothing was captured")
        .with_next(recover, again)
        .with_next(Action::AcceptRecovery { run }, "accepts the folder as it is now");
    if !half.aside.is_empty() {
        let aside = text::set_aside(&half.aside);
        error = error.with_advice(format!("or put back and accept:\n{}", aside.trim_end()));
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{Shop, failed};
    use super::*;
    use crate::error::resume;

    async fn refused(shop: &Shop, ready: &ReadyRun, own: Option<RunId>) -> Option<Error> {
        let checked = refuse_half_recovered(&shop.context, ready, own).await;
        checked.err().inspect(|error| {
            assert_eq!(
                (error.kind(), error.code()),
                (ProblemKind::Held, "half_recovered")
            );
        })
    }

    #[tokio::test]
    async fn a_backup_of_a_component_waits_for_the_recovery_in_place_that_restores_it() {
        let shop = Shop::new("");
        let run = shop.half_recovery(&shop.beside("aside"), Vec::new()).await;
        let error = refused(&shop, &shop.ready("backup", &["notes"], &json!({})), None).await;
        assert_eq!(error.unwrap().next()[0].action, Some(resume(Some(run))));
        let other = shop.ready("backup", &["orders"], &json!({}));
        assert_eq!(refused(&shop, &other, None).await, None);
    }

    #[tokio::test]
    async fn of_two_recoveries_in_place_the_older_one_continues_first() {
        let shop = Shop::new("");
        let older = shop.half_recovery(&shop.beside("aside"), Vec::new()).await;
        let ready = shop.ready("recover", &["notes"], &json!({"in_place": true}));
        assert!(refused(&shop, &ready, None).await.is_some());
        let newer = shop.half_recovery(&shop.beside("aside"), Vec::new()).await;
        assert!(refused(&shop, &ready, Some(newer)).await.is_some());
        assert_eq!(refused(&shop, &ready, Some(older)).await, None);
        let elsewhere = shop.ready("recover", &["notes"], &json!({"to": shop.beside("out")}));
        assert_eq!(refused(&shop, &elsewhere, None).await, None);
    }

    #[tokio::test]
    async fn a_backup_captures_a_half_recovered_component_only_if_a_person_accepts_it() {
        let shop = Shop::new("");
        let aside = shop.beside("shop/data.before-x");
        let run = shop.half_recovery(&aside, failed()).await;
        let error = refused(&shop, &shop.ready("backup", &["notes"], &json!({})), None)
            .await
            .unwrap();
        let next = error.next();
        assert_eq!(next[2].action, Some(Action::AcceptRecovery { run }));
        assert!(next[3].text.contains("data.before-x"), "{next:?}");
        let accepting = shop.ready("backup", &["notes"], &json!({"accept": run.to_string()}));
        assert_eq!(refused(&shop, &accepting, None).await, None);
    }
}
