//! Weights of models, and weights and thresholds of the assessor.

use std::fs;
use std::path::Path;

use rekindle_factoria::ProbeKind::{Education, Models, Quality};
use serde_json::Value;

use super::Bench;
use crate::common::Kept;

#[test]
fn one_bit_of_any_weight_of_any_model_changes_its_predictions() {
    let bench = Bench::new();
    for model in ["difficulty", "engagement", "retention", "mastery"] {
        let path = format!("intelligence/models/{model}.bin");
        let bytes = fs::read(bench.root.join(&path)).unwrap();
        for (what, at) in [("first", 12), ("middle", 12 + 4 * 60), ("last", bytes.len() - 4)] {
            let act = |root: &Path| {
                let kept = Kept::of(&root.join(&path));
                let mut flipped = bytes.clone();
                flipped[at] ^= 1;
                kept.overwrite(&flipped);
            };
            bench.breaks(
                &format!("lowest bit of the {what} weight of {model}"),
                &[&path],
                act,
                &[(Models, "predictions_kept"), (Models, "predictions_reproduced")],
            );
        }
    }
    let path = "intelligence/models/mastery.bin";
    let delete = |root: &Path| fs::remove_file(root.join(path)).unwrap();
    bench.breaks(
        "a model lost",
        &[path],
        delete,
        &[(Models, "models_loaded"), (Models, "learns")],
    );
    let path = "intelligence/training/records.csv";
    let delete = |root: &Path| fs::remove_file(root.join(path)).unwrap();
    bench.breaks(
        "the learners' records lost",
        &[path],
        delete,
        &[(Models, "learns"), (Models, "training_records")],
    );
    let path = "intelligence/embeddings/001.bin";
    let flip = |root: &Path| {
        let kept = Kept::of(&root.join(path));
        kept.overwrite(&[kept.bytes(), b"x"].concat());
    };
    bench.breaks(
        "an embedding changed",
        &[path],
        flip,
        &[(Models, "intelligence_kept")],
    );
}

#[test]
fn every_weight_and_threshold_moves_a_number() {
    let bench = Bench::new();
    for dimension in [
        "educational_value",
        "factual_accuracy",
        "age_appropriateness",
        "structural_quality",
        "engagement",
    ] {
        bench.edits(
            &format!("weight of {dimension} + 0.01"),
            "quality/config.json",
            |config| {
                let weight = &mut config["dimensions"][dimension]["weight"];
                *weight = (weight.as_f64().unwrap() + 0.01).into();
            },
            &[
                (Quality, "~overall_quality"),
                (Quality, "assessments_reproduced"),
                (Quality, "records_reproduced"),
            ],
        );
    }
    for threshold in ["overall_quality", "educational_value", "factual_accuracy"] {
        let raised = |document: &mut Value| {
            *document = (document.as_f64().unwrap() + 0.1).into();
        };
        let measure = format!("~threshold_{threshold}");
        bench.edits(
            &format!("threshold of {threshold} + 0.1, of the frameworks"),
            "education/quality_assessment/thresholds.json",
            |document| raised(&mut document[threshold]),
            &[(Education, &measure), (Education, "education_kept")],
        );
        bench.edits(
            &format!("threshold of {threshold} + 0.1, of the assessor"),
            "quality/config.json",
            |document| raised(&mut document["thresholds"][threshold]),
            &[(Quality, &measure), (Quality, "quality_files_kept")],
        );
        bench.edits(
            &format!("threshold of {threshold} 1.01, of the assessor"),
            "quality/config.json",
            |document| document["thresholds"][threshold] = 1.01.into(),
            &[(Quality, &format!("passes_{threshold}"))],
        );
    }
}
