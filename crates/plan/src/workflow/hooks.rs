//! A system's `hooks`: handlers that join the workflows of its backups, recoveries and verifications.
//!
//! A workflow may have such a list itself. Then that list runs, and the hooks' list of that name does not.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Handler, StepTemplate, Workflow, handlers, short_forms, steps};
use crate::diagnostic::{Diagnostics, Sink};
use crate::origin::Origin;
use crate::yaml::{Kind, Node};

/// The key in a system's file.
pub(crate) const HOOKS: &str = "hooks";

/// The handlers that a system has for its runs.
#[derive(Debug, Default)]
pub struct Hooks(Vec<StepTemplate>);

/// Takes the hooks out of a system's tree, so that what remains is the system; with them, the tree that they are in.
pub(crate) fn take(root: &mut Node, sink: &mut Sink<'_>) -> Option<(Vec<StepTemplate>, Node)> {
    let Kind::Map(entries) = &mut root.kind else {
        return None;
    };
    let at = entries.iter().position(|(key, _)| key.text == HOOKS)?;
    let (_, mut hooks) = entries.remove(at);
    short_forms::write_out(&mut hooks, sink);
    let mut found = handlers(&hooks, sink)?;
    steps::check(&hooks, &mut found, sink);
    Some((found, hooks))
}

impl Hooks {
    /// Returns hooks that know where they are written.
    pub(crate) fn new(mut steps: Vec<StepTemplate>, origin: Origin) -> Self {
        let origin = Arc::new(origin);
        for step in &mut steps {
            step.hook_of = Some(Arc::clone(&origin));
        }
        Self(steps)
    }

    /// Returns the hooks, each with the tree that it is in.
    pub(crate) fn written(&self) -> impl Iterator<Item = (&StepTemplate, &Origin)> {
        self.0
            .iter()
            .filter_map(|step| Some((step, step.hook_of.as_deref()?)))
    }
}

impl Workflow {
    /// Adds those hooks for whose list the workflow has none of its own.
    ///
    /// # Errors
    /// A step of the workflow has the name of a hook.
    pub fn add_hooks(&mut self, hooks: &Hooks) -> Result<(), Diagnostics> {
        let own: BTreeSet<Handler> = self.steps.iter().filter_map(|step| step.handler).collect();
        let (mut added, mut faults) = (Vec::new(), Vec::new());
        for (hook, origin) in hooks.written() {
            if hook.handler.is_some_and(|handler| own.contains(&handler)) {
                continue;
            }
            if self.steps.iter().any(|step| step.id == hook.id) {
                let message = format!("workflow `{}` has a step `{}` too", self.name, hook.id);
                let help = Some("give the hook another name".to_owned());
                faults.push(origin.error(&hook.path(&["id"]), message, help));
            }
            added.push(hook.clone());
        }
        if !faults.is_empty() {
            return Err(Diagnostics(faults));
        }
        self.steps.append(&mut added);
        Ok(())
    }
}
