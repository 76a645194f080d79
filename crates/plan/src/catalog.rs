//! The facts about actions that a plan needs.

use serde_json::Value;

use crate::diagnostic::Problem;

/// The actions that work on a system: its components, its tiers, its key.
pub const OF_A_SYSTEM: [&str; 18] = [
    "snapshot",
    "store",
    "verify",
    "verify-catalog",
    "verify-replicas",
    "verify-slots",
    "seal-set",
    "locate-set",
    "set-aside",
    "restore",
    "validate",
    "system-integrity",
    "set-up",
    "damage",
    "detect-damage",
    "inject-faults",
    "load",
    "remove-sandbox",
];

/// The actions that steps may use.
pub trait Catalog {
    /// Returns the names of all actions.
    fn names(&self) -> Vec<String>;
    /// Returns the problems of an action's parameters, which may hold unrendered `${{ }}`.
    fn check(&self, uses: &str, with: &Value) -> Vec<Problem>;
    /// Returns the names of the fields that the output of an action has, if they are always the same.
    fn output_fields(&self, uses: &str) -> Option<&'static [&'static str]> {
        let _ = uses;
        None
    }
    /// Returns the group locks of the workflow that such a step runs; none if it runs none, or none that can
    /// be read.
    fn group_locks(&self, uses: &str, with: &Value) -> Option<GroupLocks> {
        let (_, _) = (uses, with);
        None
    }
}

/// The locks that a run of a workflow takes, in order: its own group's, then those of the runs that its steps
/// start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLocks {
    /// The workflow's name.
    pub workflow: String,
    /// Its group of runs.
    pub group: Option<String>,
    /// The workflows that its steps run, each with the number of its step.
    pub runs: Vec<(usize, Self)>,
}
