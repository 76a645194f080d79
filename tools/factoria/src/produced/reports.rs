//! `reporting/reports/`: what happened in each period, for people.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use rusqlite::Connection;

use super::{Extent, Files, actions, excerpt, items, metrics};

/// What one report is made of.
#[derive(Default)]
struct Period {
    /// The first and last number of lines and items in it.
    audit: Range,
    metrics: Range,
    items: Range,
    /// Actions by what was done and how it ended.
    done: BTreeMap<(String, String), u64>,
    /// Count, sum and maximum by metric.
    measured: BTreeMap<String, (u64, f64, f64)>,
    /// What was denied, as lines of the report.
    denied: String,
    /// What was written, as paragraphs of the report.
    written: String,
}

#[derive(Clone, Copy, Debug, Default)]
struct Range(Option<(u64, u64)>);

impl Range {
    fn add(&mut self, seq: u64) {
        let first = self.0.map_or(seq, |(first, _)| first);
        self.0 = Some((first, seq));
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some((first, last)) => write!(f, "{first} to {last}"),
            None => f.write_str("none"),
        }
    }
}

/// Produces the files `reports/<number>-report.md` of the system at `root`. Every input is cut into as many equal
/// periods as there are reports, by the numbers of its records.
pub(crate) fn produce(root: &Path, database: Option<&Connection>, extent: &Extent) -> Files {
    let mut periods: Vec<Period> = (0..extent.parts()).map(|_| Period::default()).collect();
    // Each number is at most the watermark, so each part is one of the periods.
    let at = |seq: u64, newest: u64| usize::try_from(extent.part(seq, newest)).unwrap_or(0);
    // Writing to memory does not fail.
    actions(root, extent, |line| {
        let period = &mut periods[at(line.seq, extent.audit)];
        period.audit.add(line.seq);
        if line.outcome == "denied" {
            let (at, actor, action) = (line.at, line.actor, &line.action);
            let _ = writeln!(period.denied, "- {at} {actor} may not {action}. {}", line.note);
        }
        *period.done.entry((line.action, line.outcome)).or_default() += 1;
    });
    metrics(root, extent, |line| {
        let period = &mut periods[at(line.seq, extent.metrics)];
        period.metrics.add(line.seq);
        let measured = period.measured.entry(line.metric).or_insert((0, 0.0, f64::MIN));
        *measured = (
            measured.0 + 1,
            measured.1 + line.value,
            measured.2.max(line.value),
        );
    });
    items(database, (1, extent.items), |item| {
        let period = &mut periods[at(item.id, extent.items)];
        period.items.add(item.id);
        let _ = write!(
            period.written,
            "\n### {}\nItem {}: {} for {}, {}. Overall quality {:.3}.\n\n{}\n",
            item.title,
            item.id,
            item.content_type,
            item.audience,
            item.standard,
            item.overall.unwrap_or(0.0),
            excerpt(&item.body, extent.excerpt_bytes),
        );
    });
    let text = |(index, period): (usize, Period)| {
        let number = index + 1;
        (
            format!("reports/{number:04}-report.md"),
            period.text(number).into_bytes(),
        )
    };
    periods.into_iter().enumerate().map(text).collect()
}

impl Period {
    fn text(&self, number: usize) -> String {
        let mut out = format!(
            "---\nreport: {number}\naudit_lines: {}\nmetrics_lines: {}\nitems: {}\n---\n\n# Report {number}\n\n## Actions\n",
            self.audit, self.metrics, self.items,
        );
        // Writing to memory does not fail.
        for ((action, outcome), count) in &self.done {
            let _ = writeln!(out, "- {action}, {outcome}: {count}");
        }
        out.push_str("\n## Measures\n");
        for (name, (count, sum, maximum)) in &self.measured {
            let _ = writeln!(
                out,
                "- {name}: mean {:.3}, maximum {maximum:.3}",
                sum / *count as f64
            );
        }
        out.push_str("\n## Denied\n");
        out.push_str(&self.denied);
        out.push_str("\n## Written\n");
        out.push_str(&self.written);
        out
    }
}
