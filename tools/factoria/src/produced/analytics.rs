//! `analytics/`: who did what, what was measured and what was written, as tables, and a summary of all three.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{Extent, Files, actions, items, metrics};

/// Produces `actions.csv`, `metrics.csv`, `items.csv` and `summary.json` of the system at `root`.
pub(crate) fn produce(root: &Path, database: Option<&Connection>, extent: &Extent) -> Files {
    let mut files = Files::new();
    let mut summary = serde_json::Map::new();

    let mut table = "seq,at,role,user,action,outcome\n".to_owned();
    let mut done: BTreeMap<String, u64> = BTreeMap::new();
    actions(root, extent, |line| {
        let (role, user) = line.actor.split_once(':').unwrap_or((&line.actor, ""));
        let (action, outcome) = (&line.action, &line.outcome);
        *done.entry(format!("{role} {action} {outcome}")).or_default() += 1;
        // Writing to memory does not fail.
        let _ = writeln!(table, "{},{},{role},{user},{action},{outcome}", line.seq, line.at);
    });
    files.insert("actions.csv".to_owned(), table.into_bytes());
    summary.insert("actions".to_owned(), json!(done));

    let mut table = "seq,at,metric,value,trace\n".to_owned();
    let mut measured: BTreeMap<String, Mean> = BTreeMap::new();
    metrics(root, extent, |line| {
        let trace = line.trace.as_deref().unwrap_or("");
        let _ = writeln!(
            table,
            "{},{},{},{:.6},{trace}",
            line.seq, line.at, line.metric, line.value
        );
        measured.entry(line.metric).or_default().add(line.value);
    });
    files.insert("metrics.csv".to_owned(), table.into_bytes());
    summary.insert("metrics".to_owned(), of_means(&measured));

    let mut table = "id,at,content_type,audience,standard,bytes,overall_quality\n".to_owned();
    let mut written: BTreeMap<String, Mean> = BTreeMap::new();
    items(database, (1, extent.items), |item| {
        let overall = item.overall.unwrap_or(0.0);
        let _ = writeln!(
            table,
            "{},{},{},{},{},{},{overall:.6}",
            item.id,
            item.created_at,
            item.content_type,
            item.audience,
            item.standard,
            item.body.len(),
        );
        for group in [item.content_type, item.audience] {
            written.entry(group).or_default().add(overall);
        }
    });
    files.insert("items.csv".to_owned(), table.into_bytes());
    summary.insert("overall_quality".to_owned(), of_means(&written));

    files.insert("summary.json".to_owned(), super::pretty(&Value::Object(summary)));
    files
}

#[derive(Default)]
struct Mean {
    count: u64,
    sum: f64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
    }
}

fn of_means(means: &BTreeMap<String, Mean>) -> Value {
    let about = |mean: &Mean| json!({"count": mean.count, "mean": mean.sum / mean.count as f64});
    means
        .iter()
        .map(|(name, mean)| (name.clone(), about(mean)))
        .collect()
}
