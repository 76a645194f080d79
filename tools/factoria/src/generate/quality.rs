//! The configuration of quality validation and the assessments it made.

use std::io::Write;

use serde_json::{Value, json};

use super::fill;
use super::writer::Writer;
use crate::error::FactoriaError;
use crate::frameworks::{CONTENT_TYPES, built_in};

pub(super) fn write(writer: &mut Writer) -> Result<(), FactoriaError> {
    writer.json(
        "config.json",
        0o644,
        &Value::Object(built_in("quality_assessment")?),
    )?;
    writer.json(
        "gates.json",
        0o644,
        &json!({"before_publish": ["overall_quality", "factual_accuracy"]}),
    )?;
    let mut prose = writer.prose("assessments");
    let share = writer.left().saturating_sub(1_000);
    let mut number = 0_u64;
    for month in 1..=4 {
        writer.stream(&format!("assessments/2026-{month:02}.jsonl"), 0o644, share / 4, |out| {
            number += 1;
            let kind = *prose.rng().pick(&CONTENT_TYPES);
            let mut score = || 700 + prose.rng().below(300);
            // Writing to memory does not fail.
            let _ = write!(
                out,
                "{{\"assessment\":{number},\"at\":\"{}\",\"content_type\":\"{kind}\",\"overall_quality\":0.{},\"educational_value\":0.{},\"factual_accuracy\":0.{},\"comment\":\"",
                fill::at(number * 61),
                score(),
                score(),
                score(),
            );
            prose.sentence(out);
            out.extend_from_slice(b"\"}\n");
        })?;
    }
    Ok(())
}
