//! Mermaid, which GitHub and many wikis draw.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use rekindle_model::id::StepId;

use crate::plan::Plan;

/// Returns the plan as a Mermaid flowchart, with a second line in each step that has a label.
pub fn mermaid_with(plan: &Plan, labels: &BTreeMap<StepId, String>) -> String {
    let mut out = "flowchart LR\n".to_owned();
    // Mermaid's own names take no brackets.
    let names: HashMap<&StepId, usize> = plan.steps.iter().map(|step| &step.id).zip(0..).collect();
    for (name, step) in plan.steps.iter().enumerate() {
        let id = escaped(step.id.as_str());
        let text = labels
            .get(&step.id)
            .map_or_else(|| id.clone(), |label| format!("{id}<br/>{}", escaped(label)));
        let _ = writeln!(out, "  s{name}[\"{text}\"]");
    }
    for (name, step) in plan.steps.iter().enumerate() {
        for need in step.needs.iter().filter_map(|need| names.get(need)) {
            let _ = writeln!(out, "  s{need} --> s{name}");
        }
    }
    out
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | ' ' | '_' | '-' | '.' | ',' | ':' | '/' => out.push(letter),
            other => drop(write!(out, "#{};", u32::from(other))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mermaid_reads_as_syntax_is_written_as_code_points() {
        assert_eq!(escaped("restore[a]"), "restore#91;a#93;");
        assert_eq!(escaped("\"<x>#\n"), "#34;#60;x#62;#35;#10;");
    }
}
