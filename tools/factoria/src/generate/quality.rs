//! The configuration of quality validation, and what the assessor found of the items of the content database.

use serde_json::{Value, json};

use super::produce;
use super::writer::Writer;
use crate::error::FactoriaError;
use crate::frameworks::built_in;
use crate::produced::{Extent, assessments};

/// Items that one file of assessments is about.
const ITEMS_A_FILE: u64 = 250;
/// What a line takes without its quote, in bytes, measured.
const BARE_LINE: u64 = 520;

pub(super) fn write(writer: &mut Writer, extent: &Extent) -> Result<(), FactoriaError> {
    writer.json(
        "config.json",
        0o644,
        &Value::Object(built_in("quality_assessment").map_err(FactoriaError::json("quality_assessment"))?),
    )?;
    writer.json(
        "gates.json",
        0o644,
        &json!({"before_publish": ["overall_quality", "factual_accuracy"]}),
    )?;
    let extent = Extent {
        excerpt_bytes: (writer.left() / extent.items.max(1)).saturating_sub(BARE_LINE),
        parts: extent.items.div_ceil(ITEMS_A_FILE),
        ..*extent
    };
    produce(writer, &extent, 0o644, |root, database| {
        assessments::produce(root, Some(database), &extent, 0..extent.parts)
    })
}
