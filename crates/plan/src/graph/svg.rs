//! Draws a plan as SVG, with layers from left to right. Every browser shows it without another tool.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use rekindle_model::id::StepId;

use super::layers;
use crate::plan::Plan;

/// The width of one character of the monospace font, in pixels at [`FONT`].
const CHAR: usize = 8;
/// The font's size in pixels.
const FONT: usize = 13;
/// The height of a box without a label, in pixels.
const BOX: usize = 28;
/// How much a label adds to it.
const LABEL: usize = 16;
/// Between boxes of a layer, and around the picture.
const GAP: usize = 14;
/// Between layers.
const AISLE: usize = 70;

/// The place of a step's box.
#[derive(Clone, Copy)]
struct Place {
    x: usize,
    y: usize,
    width: usize,
}

/// Returns the plan as an SVG picture, with a second line in each step that has a label.
pub fn svg_with(plan: &Plan, labels: &BTreeMap<StepId, String>) -> String {
    let height = BOX + if labels.is_empty() { 0 } else { LABEL };
    let (places, width, full_height) = arrange(plan, labels, height);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{full_height}\" \
         viewBox=\"0 0 {width} {full_height}\" font-family=\"monospace\" font-size=\"{FONT}\">\n\
         <title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        escaped(&plan.workflow)
    );
    for step in &plan.steps {
        for need in &step.needs {
            let (Some(from), Some(to)) = (places.get(need), places.get(&step.id)) else {
                continue;
            };
            let (x1, y1) = (from.x + from.width, from.y + height / 2);
            let (x2, y2) = (to.x, to.y + height / 2);
            let bend = (x2.saturating_sub(x1)) / 2;
            let _ = writeln!(
                out,
                "<path d=\"M{x1},{y1} C{},{y1} {},{y2} {x2},{y2}\" fill=\"none\" stroke=\"#999\"/>",
                x1 + bend,
                x2.saturating_sub(bend),
            );
        }
    }
    for step in &plan.steps {
        let Some(&Place { x, y, width }) = places.get(&step.id) else {
            continue;
        };
        let label = labels.get(&step.id).map(String::as_str);
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"4\" fill=\"{}\" stroke=\"#444\"/>",
            colour(label)
        );
        let (middle, line) = (x + width / 2, y + 18);
        let _ = writeln!(
            out,
            "<text x=\"{middle}\" y=\"{line}\" text-anchor=\"middle\">{}</text>",
            escaped(step.id.as_str())
        );
        if let Some(label) = label {
            let _ = writeln!(
                out,
                "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
                line + LABEL,
                escaped(label)
            );
        }
    }
    out.push_str("</svg>\n");
    out
}

/// Returns each step's place, and the picture's width and height.
fn arrange<'p>(
    plan: &'p Plan,
    labels: &BTreeMap<StepId, String>,
    height: usize,
) -> (HashMap<&'p StepId, Place>, usize, usize) {
    let layers = layers(plan);
    let mut rows: BTreeMap<usize, Vec<&StepId>> = BTreeMap::new();
    for (layer, step) in layers.iter().zip(&plan.steps) {
        rows.entry(*layer).or_default().push(&step.id);
    }
    let wide = |id: &StepId| {
        let label = labels.get(id).map_or(0, |label| label.chars().count());
        id.as_str().chars().count().max(label) * CHAR + 2 * CHAR
    };
    let tallest = rows.values().map(Vec::len).max().unwrap_or(0);
    let full_height = GAP + tallest.max(1) * (height + GAP);
    let mut places = HashMap::new();
    let mut x = GAP;
    for ids in rows.values() {
        let width = ids.iter().map(|id| wide(id)).max().unwrap_or(0);
        // Each layer is centred in the picture's height.
        let mut y = (full_height - ids.len() * (height + GAP) + GAP) / 2;
        for id in ids {
            places.insert(*id, Place { x, y, width });
            y += height + GAP;
        }
        x += width + AISLE;
    }
    (places, x.saturating_sub(AISLE) + GAP, full_height)
}

/// Returns a box's colour by the state that its label begins with.
fn colour(label: Option<&str>) -> &'static str {
    match label.and_then(|label| label.split_whitespace().next()) {
        Some("succeeded") => "#d9f2d9",
        Some("failed") => "#f8d4d4",
        Some("running" | "reconciled" | "backoff") => "#d6e6fb",
        Some("skipped") => "#eee",
        _ => "#fff",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
