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
            params: flags
                .map(|flag| (flag.to_owned(), Some("true".to_owned())))
                .into(),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use serde_json::json;

    use super::super::fixture::{Shop, done};
    use super::*;
    use crate::error::resume;

    /// Returns a shop with a health URL, and the server that answers there.
    fn running() -> Shop {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/health", server.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut caller in server.incoming().flatten() {
                let _ = caller.read(&mut [0; 1024]);
                let _ =
                    caller.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        Shop::new(&format!("health: [{{url: {url}}}]\n"))
    }

    async fn check(shop: &Shop, params: serde_json::Value) -> Result<(), Error> {
        let ready = shop.ready("recover", &["notes"], &params);
        refuse_answering(&shop.context.notices, &ready, None).await
    }

    #[tokio::test]
    async fn a_recovery_in_place_is_refused_while_the_system_answers() {
        let shop = running();
        let error = check(&shop, json!({"in_place": true})).await.unwrap_err();
        assert_eq!(error.code(), "running");
        assert!(error.to_string().contains("answers with 200"), "{error}");
        check(&shop, json!({"in_place": true, "while_running": true}))
            .await
            .unwrap();
        check(&shop, json!({"to": shop.beside("out")})).await.unwrap();
    }

    #[tokio::test]
    async fn a_system_that_does_not_answer_is_replaced() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let shop = Shop::new(&format!("health: [{{url: \"http://{free}/\"}}]\n"));
        check(&shop, json!({"in_place": true})).await.unwrap();
    }

    #[tokio::test]
    async fn a_resumed_recovery_is_refused_until_it_has_moved_everything_aside() {
        let shop = running();
        let params = json!({"in_place": true});
        let ready = shop.ready("recover", &["notes"], &params);
        let state = async |events| {
            let run = shop.recovery(&["notes"], &params, events).await;
            RunState::from_records(&shop.context.journal.read(run).await.unwrap()).unwrap()
        };
        let begun = state(Vec::new()).await;
        let refused = refuse_answering(&shop.context.notices, &ready, Some(&begun)).await;
        assert_eq!(
            refused.unwrap_err().next()[0].action,
            Some(resume(Some(begun.id)))
        );
        let moved = state(done("set_aside")).await;
        refuse_answering(&shop.context.notices, &ready, Some(&moved))
            .await
            .unwrap();
    }

    #[test]
    fn the_advice_repeats_the_recovery_with_the_choices_of_the_person() {
        let shop = Shop::new("scenarios: {fire: {affects: all}}\n");
        let again = |components: &[&str], params| while_running(&shop.ready("recover", components, &params));
        let target = RecoverTarget::InPlaceWhileRunning;
        let chosen = Recover {
            scenario: Some("fire".to_owned()),
            components: vec!["notes".to_owned()],
            from: Some("0199".to_owned()),
            target,
        };
        let params = json!({"in_place": true, "scenario": "fire", "from": "0199"});
        assert_eq!(again(&["notes"], params), Action::Recover(chosen));
        let all = Recover {
            target,
            ..Recover::default()
        };
        assert_eq!(
            again(&["notes", "orders"], json!({"in_place": true})),
            Action::Recover(all)
        );
    }

    #[test]
    fn the_advice_for_a_workflow_of_ones_own_runs_that_workflow_again() {
        let shop = Shop::new("");
        let mut spec = shop.spec("recover", &["notes"], &json!({"in_place": true}));
        spec.workflow.name = "mine".to_owned();
        let flag = |name: &str| (name.to_owned(), Some("true".to_owned()));
        let mine = Action::RunWorkflow {
            workflow: "mine".to_owned(),
            params: BTreeMap::from(["in_place", "while_running"].map(flag)),
        };
        assert_eq!(while_running(&spec.ready(&shop.context).unwrap()), mine);
    }
}
