//! Refuses a workflow that would restore over existing content.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rekindle_model::next_action::{Action, Recover, RecoverTarget};
use rekindle_plan::PlanStep;
use rekindle_sources::place::Place;
use serde_json::Value;

use super::target::{self, Alternatives};
use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::layout::Layout;
use crate::run_spec::{self, LoadedSpec, ReadyRun};

/// Returns the ways to recover with a workflow, or without it if it has no parameter for them.
pub fn alternatives(spec: &LoadedSpec, name: &str, layout: &Layout) -> Alternatives {
    let with = |param: &str, value: Option<&str>, target: RecoverTarget| match spec
        .workflow
        .params
        .contains_key(param)
    {
        true => Action::RunWorkflow {
            workflow: name.to_owned(),
            params: BTreeMap::from([(param.to_owned(), value.map(str::to_owned))]),
        },
        false => Action::Recover(Recover {
            target,
            ..Recover::default()
        }),
    };
    Alternatives {
        elsewhere: with("to", None, RecoverTarget::Elsewhere),
        in_place: with("in_place", Some("true"), RecoverTarget::InPlace),
        other_source: None,
        roots: run_spec::displaced_roots(
            &run_spec::living(&layout.system_dir(), &spec.system),
            spec.system.components.values(),
        ),
    }
}

/// Refuses as [`refuse`] does, for a workflow that a step of another one runs. There is nobody to ask.
///
/// # Errors
/// It would write over something, or its parameter `to` is relative.
pub async fn refuse_nested(context: &WorkspaceContext, ready: &ReadyRun) -> Result<(), Error> {
    let alternatives = alternatives(&ready.spec, &ready.spec.workflow.name, &context.layout);
    let named = match ready.spec.param("to") {
        Some(to) if Path::new(to).is_relative() => {
            return Err(
                Error::usage(format!("{to:?} is relative, and to what is not known here"))
                    .with_advice("give `to` as an absolute path to a workflow that a step runs"),
            );
        }
        Some(to) => Some(target::named(
            &context.layout,
            &ready.spec.system,
            Path::new(to),
            &alternatives,
        )?),
        None => None,
    };
    refuse(context, ready, named.as_ref(), &alternatives).await
}

/// Refuses a workflow that would restore over existing content. A recovery in place moves that content aside first.
pub async fn refuse(
    context: &WorkspaceContext,
    ready: &ReadyRun,
    named: Option<&Place>,
    alternatives: &Alternatives,
) -> Result<(), Error> {
    // If a restore names its own root, the person has asked for it.
    let at_target = |step: &&PlanStep| step.uses == "restore" && step.with.get("root").is_none();
    let restores: Vec<&PlanStep> = ready.plan.steps.iter().filter(at_target).collect();
    let (Some(root), false, false) = (
        ready.site.target_root(),
        ready.flag("in_place"),
        restores.is_empty(),
    ) else {
        return Ok(());
    };
    if let Some(place) = named {
        return target::empty(context, place, alternatives).await;
    }
    let system = &ready.spec.system;
    let own = |step: &&PlanStep| {
        let given = step.with.get("component").and_then(Value::as_str);
        let name = given.or(step.each.get("component").map(String::as_str))?;
        system.component(name).map(|(own, _)| own.to_owned())
    };
    // If only the run finds out a component, it may be any of them.
    let all = || system.components.keys().cloned().collect();
    let components: Vec<String> = restores
        .iter()
        .map(own)
        .collect::<Option<_>>()
        .unwrap_or_else(all);
    let occupied: Vec<PathBuf> = target::occupied(
        system,
        &components,
        &ready.site.root(root.to_owned()),
        &ready.site.kept().never,
    )?;
    let interrupted = target::interrupted(context, root).await;
    match (occupied.as_slice(), interrupted.as_ref()) {
        ([], None) => Ok(()),
        ([], Some(run)) => Err(alternatives.interrupted(root, run)),
        (occupied, run) => Err(alternatives.occupied(occupied, run)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::Shop;
    use super::*;

    #[tokio::test]
    async fn a_nested_workflow_restores_over_nothing_and_knows_its_folder() {
        let shop = Shop::new("");
        let check = async |params| {
            let ready = shop.ready("recover", &["notes"], &params);
            refuse_nested(&shop.context, &ready).await
        };
        assert_eq!(check(json!({})).await.unwrap_err().code(), "targets_not_empty");
        let relative = check(json!({"to": "out"})).await.unwrap_err();
        assert!(relative.to_string().contains("is relative"), "{relative}");
        check(json!({"to": shop.beside("out")})).await.unwrap();
        check(json!({"in_place": true})).await.unwrap();
    }
}
