//! The facts of the context documents, and the catalogue of them below `quality/`.

use std::collections::BTreeMap;

use super::plan::Plan;
use super::writer::Writer;
use crate::error::FactoriaError;
use crate::frameworks::{CONTENT_TYPES, SUBJECTS};
use crate::optimise::Profile;
use crate::optimise::facts::{Facts, path};
use crate::text::{Prose, vocabulary};

/// Facts for each content type and profile of a unit: 8 × 3 × 3 = 72 a unit, so 576 in the smallest system.
const FACTS: usize = 3;
/// What figures are measured in.
const UNITS: [&str; 8] = [
    "metres", "days", "grams", "pages", "degrees", "lessons", "litres", "watts",
];

/// Returns what a unit is about.
pub(super) fn topic(seed: u64, subject: &str, unit: &str) -> String {
    let mut prose = Prose::new(seed, &format!("topic of {subject}/{unit}"));
    let mut words = Vec::new();
    while words.len() < 2 {
        // A long word is no word that prose is held together by.
        let word = prose.rng().pick(vocabulary());
        if word.len() > 7 && !words.contains(word) {
            words.push(word.clone());
        }
    }
    words.join(" ")
}

/// Returns the facts of a unit.
pub(super) fn of_unit(seed: u64, subject: &str, unit: &str) -> Facts {
    let topic = topic(seed, subject, unit);
    let mut prose = Prose::new(seed, &format!("facts of {subject}/{unit}"));
    let mut fact = || {
        let mut word = || prose.rng().pick(vocabulary()).clone();
        let (first, second) = (word(), word());
        let figure = prose.rng().below(10_000);
        let unit = prose.rng().pick(&UNITS);
        format!(
            "The {first} {second} of {topic} is {}.{} {unit}.",
            figure / 10,
            figure % 10
        )
    };
    let mut of_type = || -> BTreeMap<Profile, Vec<String>> {
        let of_profile = |profile| (profile, (0..FACTS).map(|_| fact()).collect());
        Profile::ALL.map(of_profile).into()
    };
    Facts(CONTENT_TYPES.map(|kind| (kind.to_owned(), of_type())).into())
}

/// Writes the catalogue.
pub(super) fn write(writer: &mut Writer, plan: &Plan) -> Result<(), FactoriaError> {
    for subject in SUBJECTS {
        for number in 1..=plan.units {
            let unit = format!("{number:04}");
            let path = path(subject, &unit);
            let facts = of_unit(writer.seed(), subject, &unit);
            let mut bytes = serde_json::to_vec(&facts).map_err(FactoriaError::json(&path))?;
            bytes.push(b'\n');
            writer.file(&path, 0o644, &bytes)?;
        }
    }
    Ok(())
}
