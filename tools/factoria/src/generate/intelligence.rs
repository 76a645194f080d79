//! Models, trained on learners' records; fixed inputs with the predictions they gave; and embeddings of text.
//!
//! [`models`](crate::models) has the formats of all but `embeddings/<n>.bin`, which is 64 × f32 LE a sentence.

use std::fmt::Write;

use serde_json::json;

use super::writer::Writer;
use crate::error::FactoriaError;
use crate::models::records::{draw, examples, to_csv};
use crate::models::{EPOCHS, FEATURES, MODELS, Model, RATE};
use crate::text::Prose;

/// Learners' records in the smallest system; larger ones have more.
const FEWEST_RECORDS: u64 = 200;
/// One byte in so many of the folder's share is for a record.
const RECORD_SHARE: u64 = 900;
const MOST_RECORDS: u64 = 2_000;
/// Fixed inputs of each model.
const CASES: usize = 32;
const DIMENSIONS: usize = 64;

pub(super) fn write(writer: &mut Writer, users: u64) -> Result<(), FactoriaError> {
    let count = (writer.left() / RECORD_SHARE).clamp(FEWEST_RECORDS, MOST_RECORDS);
    let records = draw(&mut writer.rng("records"), count as usize, users);
    writer.file("training/records.csv", 0o640, to_csv(&records).as_bytes())?;
    let fixed = draw(&mut writer.rng("evaluation"), CASES, users);
    for (number, name) in MODELS.into_iter().enumerate() {
        let examples = examples(&records, number);
        let model = Model::train(&examples, &mut writer.rng(name));
        let bytes = model.to_bytes();
        writer.file(&format!("models/{name}.bin"), 0o640, &bytes)?;
        let about = json!({
            "model": name, "features": FEATURES, "activation": "z / (1 + |z|)",
            "records": records.len(), "epochs": EPOCHS, "learning_rate": RATE, "loss": model.loss(&examples),
            "blake3": blake3::hash(&bytes).to_hex().as_str(),
        });
        writer.json(&format!("models/{name}.json"), 0o640, &about)?;
        let mut cases = format!("{},prediction\n", FEATURES.join(","));
        for record in &fixed {
            let inputs = record.input.map(|value| format!("{value:.3}")).join(",");
            // Writing to memory does not fail. A number is written with as many digits as give the same bits again.
            let _ = writeln!(cases, "{inputs},{}", model.predict(&record.input));
        }
        writer.file(&format!("evaluation/{name}.csv"), 0o640, cases.as_bytes())?;
    }
    let mut prose = writer.prose("embeddings");
    let mut sentence = Vec::new();
    let mut number = 0;
    // Shards of at most 64 MiB, as model stores keep them.
    while writer.left() > 4_096 {
        number += 1;
        let length = writer.left().saturating_sub(256).min(64 << 20);
        writer.stream(&format!("embeddings/{number:03}.bin"), 0o640, length, |out| {
            embed(&mut prose, &mut sentence, out);
        })?;
    }
    Ok(())
}

/// Appends the embedding of one new sentence: each word adds its own signs, weighted by the word (a signed
/// random projection; Charikar, "Similarity estimation techniques from rounding algorithms", 2002).
fn embed(prose: &mut Prose, sentence: &mut Vec<u8>, out: &mut Vec<u8>) {
    sentence.clear();
    prose.sentence(sentence);
    let mut vector = [0.0_f32; DIMENSIONS];
    for word in sentence.split(|byte| *byte == b' ') {
        // FNV-1a: short words, and only spread matters.
        let hash = word.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
        });
        let weight = 0.25 + (hash >> 40) as f32 / (1_u32 << 24) as f32;
        for (dimension, value) in vector.iter_mut().enumerate() {
            *value += if (hash >> dimension) & 1 == 0 {
                weight
            } else {
                -weight
            };
        }
    }
    for value in vector {
        out.extend_from_slice(&(value / 4.0).to_le_bytes());
    }
}
