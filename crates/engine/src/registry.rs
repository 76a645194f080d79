//! The actions that a process knows, by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rekindle_plan::{Catalog, GroupLocks, Problem};
use serde_json::Value;

use crate::action::Action;
use crate::approve::{self, APPROVE};

/// Actions by the name that a step `uses:`. Clones share the actions.
#[derive(Clone, Default)]
pub struct Registry {
    actions: BTreeMap<String, Arc<dyn Action>>,
    output_fields: BTreeMap<&'static str, &'static [&'static str]>,
}

impl Registry {
    /// Returns a registry without actions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an action; one of the same name is replaced.
    #[must_use]
    pub fn with(mut self, name: &str, action: impl Action + 'static) -> Self {
        self.insert(name, Arc::new(action));
        self
    }

    /// Adds an action that is shared; one of the same name is replaced.
    pub fn insert(&mut self, name: &str, action: Arc<dyn Action>) {
        self.actions.insert(name.to_owned(), action);
    }

    /// Says which fields the outputs of actions have, by the actions' names.
    #[must_use]
    pub fn with_output_fields(mut self, fields: &[(&'static str, &'static [&'static str])]) -> Self {
        self.output_fields.extend(fields.iter().copied());
        self
    }

    /// Returns the action of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Action>> {
        self.actions.get(name)
    }

    /// Returns the registry with every action replaced by the result of `decorate`.
    #[must_use]
    pub fn map(self, mut decorate: impl FnMut(&str, Arc<dyn Action>) -> Arc<dyn Action>) -> Self {
        let decorated = self.actions.into_iter().map(|(name, action)| {
            let action = decorate(&name, action);
            (name, action)
        });
        Self {
            actions: decorated.collect(),
            output_fields: self.output_fields,
        }
    }
}

impl Catalog for Registry {
    /// Returns the names of all actions, and of the question that the engine asks by itself.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.actions.keys().cloned().collect();
        if let Err(at) = names.binary_search_by(|name| name.as_str().cmp(APPROVE)) {
            names.insert(at, APPROVE.to_owned());
        }
        names
    }

    /// Returns the faults that the action finds. The planner reports an unknown name.
    fn check(&self, uses: &str, with: &Value) -> Vec<Problem> {
        if uses == APPROVE {
            return approve::check(with);
        }
        self.get(uses).map_or_else(Vec::new, |action| action.check(with))
    }

    fn output_fields(&self, uses: &str) -> Option<&'static [&'static str]> {
        self.output_fields.get(uses).copied()
    }

    fn group_locks(&self, uses: &str, with: &Value) -> Option<GroupLocks> {
        self.get(uses)?.group_locks(with)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.actions.keys()).finish()
    }
}
