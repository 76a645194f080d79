//! Configuration of the optimisations, and traces of context loads.

use std::io::Write;

use serde_json::json;

use super::fill;
use super::writer::Writer;
use crate::error::FactoriaError;
use crate::frameworks::CONTENT_TYPES;

pub(super) fn write(writer: &mut Writer) -> Result<(), FactoriaError> {
    writer.json(
        "config.json",
        0o644,
        &json!({
            "context_loading_limit_ms": 100, "parallel_loads": 4,
            "optimisations": ["layer_selection", "prefetch", "summary_substitution", "result_cache"],
        }),
    )?;
    writer.json(
        "cache_hierarchy.json",
        0o644,
        &json!({
            "memory": {"entries": 512, "ttl_seconds": 300, "policy": "least_recently_used"},
            "disk": {"path": "cache/entries", "ttl_seconds": 86400, "policy": "least_frequently_used"},
        }),
    )?;
    for (name, parameters) in [
        (
            "layer_selection",
            json!({"always": ["L1"], "L2_score_from": 0.35, "L3_score_from": 0.6}),
        ),
        ("prefetch", json!({"window": 6, "confidence_from": 0.7})),
        (
            "summary_substitution",
            json!({"tokens_from": 1200, "keep_headings": true}),
        ),
        ("result_cache", json!({"similarity_from": 0.92, "entries": 2048})),
    ] {
        writer.json(&format!("algorithms/{name}.json"), 0o644, &parameters)?;
    }
    for kind in CONTENT_TYPES {
        let mut rng = writer.rng(kind);
        let profile = json!({
            "task": kind, "layers": ["L1", "L2", "L3"], "weight": 0.125,
            "token_budget": 2_000 + 250 * rng.below(24),
        });
        writer.json(&format!("profiles/{kind}.json"), 0o644, &profile)?;
    }
    let mut rng = writer.rng("traces");
    let mut seconds = 0;
    let share = writer.left().saturating_sub(1_000);
    for number in 1..=4 {
        writer.stream(&format!("traces/loads-{number}.csv"), 0o644, share / 4, |out| {
            seconds += rng.below(20);
            // Writing to memory does not fail.
            let _ = writeln!(
                out,
                "{},{},{:08x},{},{},{}.{:03}",
                fill::at(seconds),
                rng.pick(&CONTENT_TYPES),
                rng.below(1 << 32),
                800 + rng.below(9_000),
                400 + rng.below(4_000),
                4 + rng.below(120),
                rng.below(1_000),
            );
        })?;
    }
    Ok(())
}
