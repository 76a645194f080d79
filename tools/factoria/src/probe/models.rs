//! Models: whether the trained networks came back, predict what they predicted, and can go on learning.

use std::collections::BTreeMap;
use std::path::Path;

use super::baseline::Baseline;
use super::tally::Tally;
use super::{Digest, bounded};
use crate::models::records::{Record, examples, from_csv, numbers};
use crate::models::{FEATURES, Input, MODELS, Model};

/// The largest model, records or evaluation that are read, in bytes; those of a system have less than 1 MB.
const LARGEST: u64 = 16 << 20;
/// The most fixed inputs that a model is asked with.
const MOST_CASES: usize = 10_000;

/// Measures:
/// - `models_loaded`: share of the models whose weights could be loaded.
/// - `predictions`: predictions made on the fixed inputs of the evaluation.
/// - `predictions_reproduced`: share of the stored predictions that the loaded weights give again, bit by bit.
/// - `predictions_digest`: 48 bits of the BLAKE3 of all predictions; with a baseline `predictions_kept`, 1 or 0.
/// - `training_records`: learners' records that training can go on with.
/// - `loss_before`, `loss_after`: mean squared error over models and records, before and after one more step of
///   training in memory.
/// - `learns`: share of the models whose loss that step lowers.
/// - `intelligence_digest`: 48 bits over all files of the component; with a baseline `intelligence_kept`, 1 or 0.
pub(super) fn measure(root: &Path, baseline: &Baseline) -> BTreeMap<String, f64> {
    let base = root.join("intelligence");
    let text = |path: &str| {
        let bytes = bounded(&base.join(path), LARGEST)?;
        String::from_utf8(bytes).ok()
    };
    let records = text("training/records.csv").map_or(Vec::new(), |text| from_csv(&text));
    let mut loaded = Tally::default();
    let mut learns = Tally::default();
    let mut reproduced = Tally::default();
    let mut losses = Vec::new();
    let mut digest = Digest::default();
    for (number, name) in MODELS.into_iter().enumerate() {
        digest.add(name.as_bytes());
        let model = bounded(&base.join(format!("models/{name}.bin")), LARGEST)
            .and_then(|bytes| Model::from_bytes(&bytes));
        loaded.check(model.is_some());
        let cases = text(&format!("evaluation/{name}.csv")).map_or(Vec::new(), |text| cases(&text));
        let Some(model) = model else {
            // What was to be predicted is not.
            cases.iter().for_each(|_| {
                reproduced.check(false);
            });
            learns.check(false);
            continue;
        };
        for (input, stored) in &cases {
            let prediction = bits(model.predict(input));
            digest.add(&prediction.to_le_bytes());
            reproduced.check(prediction == bits(*stored));
        }
        let loss = step(&model, &records, number);
        learns.check(loss.is_some_and(|(before, after)| after < before));
        losses.extend(loss.filter(|(before, after)| before.is_finite() && after.is_finite()));
    }
    let mut measures = BTreeMap::from([
        ("models_loaded".to_owned(), loaded.share()),
        ("predictions".to_owned(), reproduced.made as f64),
        ("predictions_reproduced".to_owned(), reproduced.share()),
        ("predictions_digest".to_owned(), digest.value()),
        ("training_records".to_owned(), records.len() as f64),
        ("learns".to_owned(), learns.share()),
        ("intelligence_digest".to_owned(), Digest::of_folder(&base)),
    ]);
    // Without a model or a record there is no loss, and 0 would be the best one.
    if !losses.is_empty() {
        let mean = |loss: fn(&(f64, f64)) -> f64| losses.iter().map(loss).sum::<f64>() / losses.len() as f64;
        measures.insert("loss_before".to_owned(), mean(|loss| loss.0));
        measures.insert("loss_after".to_owned(), mean(|loss| loss.1));
    }
    baseline.same(&mut measures, "predictions_digest", "predictions_kept");
    baseline.same(&mut measures, "intelligence_digest", "intelligence_kept");
    measures
}

/// Returns the loss before and after one more step of training.
fn step(model: &Model, records: &[Record], number: usize) -> Option<(f64, f64)> {
    let examples = examples(records, number);
    let before = model.loss(&examples)?;
    Some((before, model.learn(&examples).loss(&examples)?))
}

/// Returns the fixed inputs with the prediction stored for each; a line that is none is left out.
fn cases(text: &str) -> Vec<(Input, f64)> {
    let case = |line: &str| {
        let values = numbers(line)?;
        let (input, stored) = values.split_at_checked(FEATURES.len())?;
        let [stored] = stored else { return None };
        Some((input.try_into().ok()?, *stored))
    };
    text.lines().skip(1).take(MOST_CASES).filter_map(case).collect()
}

/// Returns the bits of a number; all that are no number count as one, since their bits differ between machines.
fn bits(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}
