//! The educational frameworks, quality assessment, patterns, age bands, Bloom integration and standards.

use serde_json::{Value, json};

use super::fill;
use super::writer::Writer;
use crate::compose::Graded;
use crate::curriculum::Band;
use crate::error::FactoriaError;
use crate::frameworks::{AGE_BANDS, CONTENT_TYPES, LEARNING_SCIENCE, SUBJECTS, built_in, standard_code};

/// Statements in each set of standards.
const STATEMENTS: usize = 5;

pub(super) fn write(writer: &mut Writer) -> Result<(), FactoriaError> {
    for (name, _) in LEARNING_SCIENCE {
        writer.json(
            &format!("frameworks/{name}.json"),
            0o644,
            &Value::Object(built_in(name).map_err(FactoriaError::json(name))?),
        )?;
    }
    for (document, folder) in [
        ("quality_assessment", "quality_assessment"),
        ("content_patterns", "content_patterns"),
        ("age_appropriateness", "age_appropriateness"),
        ("blooms_integration", "blooms"),
    ] {
        // One file for each item, so that each can be lost, and missed, by itself.
        for (name, value) in built_in(document).map_err(FactoriaError::json(document))? {
            writer.json(&format!("{folder}/{name}.json"), 0o644, &value)?;
        }
    }
    standards(writer)?;
    exemplars(writer)
}

fn standards(writer: &mut Writer) -> Result<(), FactoriaError> {
    let mut index = serde_json::Map::new();
    let bands = built_in("age_appropriateness").map_err(FactoriaError::json("age_appropriateness"))?;
    for subject in SUBJECTS {
        for band in AGE_BANDS {
            let about = bands.get(band).cloned().unwrap_or_default();
            let about: Band = serde_json::from_value(about).map_err(FactoriaError::json(band))?;
            let code = standard_code(subject, band);
            let path = format!("standards/{subject}-{band}.json");
            let mut prose = writer.prose(&path);
            // Statements are quoted to readers of the band, so they are written for them.
            let mut graded = Graded::new(&about);
            let statements: Vec<Value> = (1..=STATEMENTS)
                .map(|number| {
                    let mut text = String::new();
                    graded.sentence(&mut prose, &mut text);
                    json!({"id": format!("{code}.{number}"), "text": text})
                })
                .collect();
            let document = json!({"code": code, "subject": subject, "band": band, "statements": statements});
            writer.json(&path, 0o644, &document)?;
            index.insert(code, json!(STATEMENTS));
        }
    }
    writer.json("standards/index.json", 0o644, &Value::Object(index))
}

/// Worked examples of each content type: what makes the component large.
fn exemplars(writer: &mut Writer) -> Result<(), FactoriaError> {
    let mut number = 0_usize;
    fill::documents(writer, "exemplars", |prose, out, length| {
        let kind = CONTENT_TYPES[number % CONTENT_TYPES.len()];
        number += 1;
        let subject = *prose.rng().pick(&SUBJECTS);
        let band = *prose.rng().pick(&AGE_BANDS);
        let front = format!(
            "---\ncontent_type: {kind}\nstandard: {}\n---\n\n",
            standard_code(subject, band)
        );
        out.extend_from_slice(front.as_bytes());
        fill::markdown(prose, out, length);
        (format!("content_patterns/exemplars/{kind}/{number:05}.md"), 0o644)
    })
}
