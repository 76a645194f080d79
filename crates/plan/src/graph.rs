//! Draws a plan: layers of text for a terminal, Graphviz, Mermaid, or SVG.

mod dot;
mod mermaid;
mod svg;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use rekindle_model::id::StepId;

use crate::plan::{Plan, PlanStep, RunIf};

pub use dot::{dot, dot_with};
pub use mermaid::mermaid_with;
pub use svg::svg_with;

/// How many needs of one template are written out; more are written as `template[*]` with their number.
const SHOWN_NEEDS: usize = 3;

/// Returns the plan as text, a line a step, grouped by how many steps must come before.
pub fn text(plan: &Plan) -> String {
    text_with(plan, &BTreeMap::new())
}

/// Returns the plan as text, with a label (such as the step's state) before each step that has one.
pub fn text_with(plan: &Plan, labels: &BTreeMap<StepId, String>) -> String {
    let steps = plan.steps.len();
    let about = plan
        .description
        .as_ref()
        .map(|about| format!(": {about}"))
        .unwrap_or_default();
    let mut out = format!("{}{about}\n", plan.workflow);
    let _ = writeln!(
        out,
        "{steps} {}, at most {} at once",
        if steps == 1 { "step" } else { "steps" },
        plan.max_parallel
    );
    if plan.steps.is_empty() {
        out.push_str("  nothing to do: its loops are empty\n");
    }
    let layers = layers(plan);
    let mut sorted: Vec<(usize, &PlanStep)> = layers.iter().copied().zip(&plan.steps).collect();
    sorted.sort_by_key(|(layer, _)| *layer);
    let width = plan
        .steps
        .iter()
        .map(|step| step.id.as_str().chars().count())
        .max()
        .unwrap_or(0);
    let label_width = labels
        .values()
        .map(|label| label.chars().count())
        .max()
        .unwrap_or(0);
    let mut of_template: HashMap<&str, usize> = HashMap::new();
    for step in &plan.steps {
        *of_template.entry(&step.template).or_default() += 1;
    }
    let mut last = usize::MAX;
    for (layer, step) in sorted {
        let number = if layer == last {
            String::new()
        } else {
            (layer + 1).to_string()
        };
        last = layer;
        let _ = write!(out, "{number:>3}  ");
        if label_width > 0 {
            let label = labels.get(&step.id).map_or("", String::as_str);
            let _ = write!(out, "{label:<label_width$}  ");
        }
        let mut line = format!("{:<width$}  {}", step.id.as_str(), step.uses);
        match &step.run_if {
            RunIf::Success => {}
            RunIf::Failure => line.push_str(" (on failure)"),
            RunIf::Always => line.push_str(" (always)"),
            RunIf::Expr(condition) => drop(write!(line, " (if {})", condition.text)),
        }
        if !step.needs.is_empty() {
            let _ = write!(line, "  ← {}", needs(step, &of_template));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Returns for each step the length of the longest way to it.
fn layers(plan: &Plan) -> Vec<usize> {
    let mut layer_of: HashMap<&StepId, usize> = HashMap::new();
    plan.steps
        .iter()
        .map(|step| {
            let layer = step
                .needs
                .iter()
                .filter_map(|need| layer_of.get(need))
                .max()
                .map_or(0, |layer| layer + 1);
            layer_of.insert(&step.id, layer);
            layer
        })
        .collect()
}

fn needs(step: &PlanStep, of_template: &HashMap<&str, usize>) -> String {
    let mut groups: Vec<(&str, Vec<&StepId>)> = Vec::new();
    for need in &step.needs {
        match groups
            .iter_mut()
            .find(|(template, _)| *template == need.template())
        {
            Some((_, ids)) => ids.push(need),
            None => groups.push((need.template(), vec![need])),
        }
    }
    let written: Vec<String> = groups
        .into_iter()
        .map(|(template, ids)| match (ids.len(), of_template.get(template)) {
            (n, Some(all)) if n > SHOWN_NEEDS && n == *all => format!("{template}[*] (all {n})"),
            (n, _) if n > SHOWN_NEEDS => format!("{template}[…] ({n})"),
            _ => ids.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", "),
        })
        .collect();
    written.join(", ")
}
