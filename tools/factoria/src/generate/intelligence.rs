//! Small models, really trained, with a fixed set to try them on, and embeddings of text.
//!
//! ```text
//! models/<name>.bin   "LFM1", number of weights (u32 LE), weights (f32 LE), bias (f32 LE)
//! models/<name>.json  features, training, accuracy, digest of the .bin
//! evaluation/<name>.json  fixed inputs and the predictions the trained model gave for them
//! embeddings/<n>.bin  64 × f32 LE a sentence
//! ```

use serde_json::json;

use super::writer::Writer;
use crate::error::FactoriaError;
use crate::text::{Prose, Rng};

const FEATURES: [&str; 12] = [
    "sentence_words",
    "new_words",
    "abstraction",
    "sections",
    "examples",
    "questions",
    "prior_level",
    "reading_grade",
    "session_minutes",
    "reviews",
    "days_since_review",
    "last_score",
];
const MODELS: [&str; 4] = ["difficulty", "engagement", "retention", "mastery"];
const SAMPLES: usize = 1_500;
const EPOCHS: usize = 12;
const RATE: f32 = 0.2;
const DIMENSIONS: usize = 64;

pub(super) fn write(writer: &mut Writer) -> Result<(), FactoriaError> {
    for name in MODELS {
        let mut rng = writer.rng(name);
        let samples = samples(&mut rng);
        let model = Model::train(&samples);
        let bytes = model.bytes();
        writer.file(&format!("models/{name}.bin"), 0o640, &bytes)?;
        let accuracy = model.accuracy(&samples);
        let about = json!({
            "model": name, "features": FEATURES, "activation": "0.5 * (1 + z / (1 + |z|))",
            "samples": SAMPLES, "epochs": EPOCHS, "learning_rate": RATE, "accuracy": accuracy,
            "blake3": blake3::hash(&bytes).to_hex().as_str(),
        });
        writer.json(&format!("models/{name}.json"), 0o640, &about)?;
        let cases: Vec<_> = samples
            .iter()
            .take(32)
            .map(|(input, _)| json!({"input": input, "prediction": model.predict(input)}))
            .collect();
        writer.json(
            &format!("evaluation/{name}.json"),
            0o640,
            &json!({"model": name, "cases": cases}),
        )?;
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

type Input = [f32; FEATURES.len()];

/// Draws inputs, and labels by a hidden rule with noise: what there is to learn.
fn samples(rng: &mut Rng) -> Vec<(Input, f32)> {
    let signed = |rng: &mut Rng| (rng.unit() * 2.0 - 1.0) as f32;
    let hidden: Input = std::array::from_fn(|_| signed(rng));
    (0..SAMPLES)
        .map(|_| {
            let input: Input = std::array::from_fn(|_| signed(rng));
            let noise = 0.2 * signed(rng);
            let label = if dot(&hidden, &input) + noise > 0.0 {
                1.0
            } else {
                0.0
            };
            (input, label)
        })
        .collect()
}

struct Model {
    weights: Input,
    bias: f32,
}

impl Model {
    /// Trains by stochastic gradient descent on the logistic loss's error term.
    fn train(samples: &[(Input, f32)]) -> Self {
        let mut model = Self {
            weights: [0.0; FEATURES.len()],
            bias: 0.0,
        };
        for _ in 0..EPOCHS {
            for (input, label) in samples {
                let error = label - model.predict(input);
                for (weight, value) in model.weights.iter_mut().zip(input) {
                    *weight += RATE * error * value;
                }
                model.bias += RATE * error;
            }
        }
        model
    }

    /// Returns the probability of a yes. Softsign in place of the exponential: additions and divisions give the
    /// same bits on every machine, so a prediction can be compared exactly.
    fn predict(&self, input: &Input) -> f32 {
        let z = dot(&self.weights, input) + self.bias;
        0.5 * (1.0 + z / (1.0 + z.abs()))
    }

    fn accuracy(&self, samples: &[(Input, f32)]) -> f64 {
        let right = samples
            .iter()
            .filter(|(input, label)| (self.predict(input) > 0.5) == (*label > 0.5));
        right.count() as f64 / samples.len() as f64
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"LFM1".to_vec();
        bytes.extend_from_slice(&(FEATURES.len() as u32).to_le_bytes());
        for weight in self.weights.iter().chain([&self.bias]) {
            bytes.extend_from_slice(&weight.to_le_bytes());
        }
        bytes
    }
}

fn dot(a: &Input, b: &Input) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_learns_the_rule_behind_its_samples() {
        let samples = samples(&mut Rng::new(3, "difficulty"));
        let model = Model::train(&samples);
        assert!(model.accuracy(&samples) > 0.85, "{}", model.accuracy(&samples));
    }
}
