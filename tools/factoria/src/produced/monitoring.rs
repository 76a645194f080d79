//! `monitoring/summary.json`: count, median, 95th percentile and maximum of each metric, as the dashboards show them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::{Extent, Files, metrics};

/// Produces the summary of the system at `root`.
pub(crate) fn produce(root: &Path, extent: &Extent) -> Files {
    let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    metrics(root, extent, |metric| {
        values.entry(metric.metric).or_default().push(metric.value)
    });
    let summary: serde_json::Map<String, Value> = values
        .into_iter()
        .map(|(name, mut values)| {
            values.sort_by(f64::total_cmp);
            // The nearest rank: the smallest value that so many per cent of all values do not exceed.
            let rank = |percent: usize| values[(values.len() * percent).div_ceil(100).max(1) - 1];
            let about = json!({
                "count": values.len(), "p50": rank(50), "p95": rank(95), "maximum": rank(100),
            });
            (name, about)
        })
        .collect();
    Files::from([("summary.json".to_owned(), super::pretty(&Value::Object(summary)))])
}
