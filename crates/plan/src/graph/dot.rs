//! Graphviz.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rekindle_model::id::StepId;

use crate::plan::Plan;

/// Returns the plan as a Graphviz digraph.
pub fn dot(plan: &Plan) -> String {
    dot_with(plan, &BTreeMap::new())
}

/// Returns the plan as a Graphviz digraph, with a second line in each step that has a label.
pub fn dot_with(plan: &Plan, labels: &BTreeMap<StepId, String>) -> String {
    let mut out = format!(
        "digraph {} {{\n  rankdir=LR;\n  node [shape=box, fontname=\"monospace\"];\n",
        quoted(&plan.workflow)
    );
    for step in &plan.steps {
        let id = quoted(step.id.as_str());
        match labels.get(&step.id) {
            None => drop(writeln!(out, "  {id};")),
            Some(label) => drop(writeln!(
                out,
                "  {id} [label={}];",
                quoted(&format!("{}\n{label}", step.id))
            )),
        }
        for need in &step.needs {
            let _ = writeln!(out, "  {} -> {id};", quoted(need.as_str()));
        }
    }
    out.push_str("}\n");
    out
}

fn quoted(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    )
}
