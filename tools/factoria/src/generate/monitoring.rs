//! Dashboards, alert rules, the metrics log, which goes on growing, and a summary of it.

use std::io::Write;

use serde_json::json;

use super::fill;
use super::produce_from_logs;
use super::writer::Writer;
use crate::error::FactoriaError;
use crate::produced::{Extent, monitoring};

const METRICS: [&str; 8] = [
    "context_load_ms",
    "cache_hit_ratio",
    "tokens_saved",
    "items_generated",
    "quality_score",
    "queue_length",
    "memory_mb",
    "requests",
];

/// What the summary and its list take, in bytes.
const SUMMARY: u64 = 2_000;

/// Writes the folder and returns the number of the newest line of the metrics log.
pub(super) fn write(writer: &mut Writer) -> Result<u64, FactoriaError> {
    for metric in METRICS {
        let panel = json!({"metric": metric, "window_minutes": 60, "statistics": ["p50", "p95", "maximum"]});
        writer.json(&format!("dashboards/{metric}.json"), 0o644, &panel)?;
    }
    let rules = METRICS.map(|metric| json!({"metric": metric, "for_minutes": 5, "severity": "warning"}));
    writer.json("alerts.json", 0o644, &json!({"rules": rules}))?;
    let mut rng = writer.rng("metrics.log");
    let mut seq = 0_u64;
    let mut seconds = 0;
    let share = writer.left().saturating_sub(SUMMARY);
    writer.stream("metrics.log", 0o644, share, |out| {
        seq += 1;
        seconds += rng.below(6);
        // Writing to memory does not fail.
        let _ = writeln!(
            out,
            "{{\"seq\":{seq},\"at\":\"{}\",\"metric\":\"{}\",\"value\":{}.{:06},\"trace\":\"{:016x}\"}}",
            fill::at(seconds),
            rng.pick(&METRICS),
            rng.below(1_000),
            rng.below(1_000_000),
            rng.bits(),
        );
    })?;
    let extent = Extent {
        metrics: seq,
        ..Extent::default()
    };
    produce_from_logs(writer, &extent, 0o644, |root| monitoring::produce(root, &extent))?;
    Ok(seq)
}
