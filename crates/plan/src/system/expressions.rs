//! Checks the expressions of a system before a run: in source programs, probes and recovery steps every name that they use
//! will be there, and every filter, test and function exists.

use rekindle_model::system::System;
use serde_json::Value;

use super::Loaded;
use crate::diagnostic::{Diagnostic, suggest_from_all};
use crate::expand::references::{Allows, Fault, below_system, each_expression, fault, unknown_words};
use crate::expr::references::{self, Reference};

/// What an expression of the system may name, with the fields of those that have a fixed number.
const NAMES: [(&str, &[&str]); 7] = [
    ("target", &["root"]),
    ("disaster", &["type"]),
    ("run", &["id", "disaster_at"]),
    ("rekindle", &[]),
    ("system", &[]),
    ("each", &[]),
    ("null", &[]),
];
const COMPONENT: (&str, &[&str]) = ("component", &[]);
/// In a component's probes, `target` also says where the component's data are.
const OF_PROBE: (&str, &[&str]) = ("target", &["root", "place"]);
/// What a recovery step may name too: it is a step of the workflow that recovers.
const OF_WORKFLOW: [(&str, &[&str]); 2] = [("params", &[]), ("steps", &[])];

type Names<'n> = Vec<(&'n str, &'n [&'n str])>;

impl Loaded<System> {
    pub(super) fn check_expressions(&self) -> Vec<Diagnostic> {
        let system = serde_json::to_value(&self.value).ok();
        let of_component = [&NAMES[..], &[COMPONENT]].concat();
        let mut of_probe = of_component.clone();
        of_probe.retain(|(name, _)| *name != OF_PROBE.0);
        of_probe.push(OF_PROBE);
        let mut of_recovery = [&of_component[..], &OF_WORKFLOW].concat();
        // There it is the run as its workflow sees it, which is checked with the workflow.
        of_recovery.retain(|(name, _)| *name != "run");
        of_recovery.push(("run", &[]));
        let mut faults = Vec::new();
        for name in self.value.components.keys() {
            let at = |key| ["components", name.as_str(), key];
            self.below(&at("source"), &of_component, system.as_ref(), &mut faults);
            self.below(&at("validate"), &of_probe, system.as_ref(), &mut faults);
            self.below(&at("recovery"), &of_recovery, system.as_ref(), &mut faults);
        }
        self.below(&["integrity"], &NAMES.to_vec(), system.as_ref(), &mut faults);
        for name in self.value.scenarios.keys() {
            let at = |key| ["scenarios", name.as_str(), key];
            self.below(&at("damage"), &of_probe, system.as_ref(), &mut faults);
            self.below(&at("load"), &NAMES.to_vec(), system.as_ref(), &mut faults);
        }
        faults
    }

    /// Checks every expression below a part of the file.
    fn below(&self, at: &[&str], names: &Names<'_>, system: Option<&Value>, faults: &mut Vec<Diagnostic>) {
        let Some(node) = self.origin.root.at(at) else {
            return;
        };
        let mut way: Vec<String> = at.iter().map(|part| (*part).to_owned()).collect();
        each_expression(node, &mut way, &mut |expression, way| {
            // The reader has reported one that does not parse.
            let Ok(used) = references::of(expression) else {
                return;
            };
            let of_names = used.names.iter().filter_map(|name| unknown(name, names, system));
            for Fault { message, help, at } in of_names.chain(unknown_words(&used, Allows::default())) {
                faults.push(self.origin.error_at(way, &at, message, help));
            }
        });
    }
}

/// Returns the fault of one name, if it has one.
fn unknown(name: &Reference, names: &Names<'_>, system: Option<&Value>) -> Option<Fault> {
    let root = name.path.first()?.as_str();
    if root == "system" {
        return below_system(system, name);
    }
    let Some((_, fields)) = names.iter().find(|(known, _)| *known == root) else {
        let known: Vec<&str> = names.iter().map(|(known, _)| *known).collect();
        let help = match root {
            "params" | "steps" => Some("it is for the steps of a workflow".to_owned()),
            "component" => Some("a check across components belongs to none of them".to_owned()),
            _ => suggest_from_all(root, &known),
        };
        return Some(fault(name, 1, format!("there is no `{root}` here"), help));
    };
    let field = name.path.get(1)?.as_str();
    if fields.is_empty() || fields.contains(&field) || name.guarded {
        return None;
    }
    let message = format!("`{root}` has no `{field}`");
    Some(fault(name, 2, message, suggest_from_all(field, fields)))
}
