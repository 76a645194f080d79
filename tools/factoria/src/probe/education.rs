//! The educational frameworks: six parts, each checked by digest, by name and by sense.
//!
//! Each file of a part is one check against the manifest; on top of that, what a part must hold by name and by
//! arithmetic is checked whatever the manifest says. So a single item lost or altered lowers its part's share
//! and the score.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::document;
use super::tally::Tally;
use crate::frameworks::{
    AGE_BANDS, BLOOM_LEVELS, CONTENT_TYPES, LEARNING_SCIENCE, QUALITY_THRESHOLDS, SUBJECTS, standard_code,
};
use crate::manifest::{Entry, Found, Manifest};

mod sense;

/// A part: the measure's name, its folder, the name of its count, and what it must hold.
type Part = (&'static str, &'static str, &'static str, fn(&Path) -> Tally);

const PARTS: [Part; 6] = [
    (
        "learning_science_complete",
        "frameworks",
        "learning_science_items",
        learning_science,
    ),
    (
        "quality_thresholds_preserved",
        "quality_assessment",
        "quality_assessment_items",
        quality,
    ),
    (
        "educational_standards_intact",
        "standards",
        "educational_standards_items",
        standards,
    ),
    (
        "content_patterns_valid",
        "content_patterns",
        "content_patterns_items",
        patterns,
    ),
    (
        "age_appropriateness_valid",
        "age_appropriateness",
        "age_appropriateness_items",
        ages,
    ),
    ("blooms_valid", "blooms", "blooms_items", blooms),
];

/// Measures each part as the share of its checks passed, `verification_score` as the share of all checks,
/// `verified` (1 if all passed), and per part the number of listed items that are there unchanged.
pub(super) fn measure(root: &Path) -> BTreeMap<String, f64> {
    let base = root.join("education");
    let manifest = Manifest::read(&base);
    let mut measures = BTreeMap::new();
    let mut all = Tally::default();
    for (name, folder, items, holds) in PARTS {
        let mut part = holds(&base.join(folder));
        let unchanged = digests(&base, manifest.as_ref(), folder, &mut part);
        measures.insert(name.to_owned(), part.share());
        measures.insert(items.to_owned(), unchanged as f64);
        all.add(part);
    }
    measures.insert("verification_score".to_owned(), all.share());
    measures.insert("verified".to_owned(), f64::from(u8::from(all.passed == all.made)));
    measures.insert("checks_made".to_owned(), all.made as f64);
    measures.insert("checks_passed".to_owned(), all.passed as f64);
    measures
}

/// Checks what the manifest lists in a folder and returns how many files are unchanged.
fn digests(base: &Path, manifest: Option<&Manifest>, folder: &str, part: &mut Tally) -> u64 {
    let prefix = format!("{folder}/");
    let mut unchanged = 0;
    let mut listed = 0;
    for (path, entry) in manifest.into_iter().flat_map(|manifest| &manifest.entries) {
        if path.starts_with(&prefix) {
            listed += 1;
            let same = part.check(entry.compare(base, path) == Found::Same);
            unchanged += u64::from(same && matches!(entry, Entry::File { .. }));
        }
    }
    part.check(listed > 0);
    unchanged
}

fn learning_science(folder: &Path) -> Tally {
    let mut tally = Tally::default();
    for (name, parts) in LEARNING_SCIENCE {
        let document = document(&folder.join(format!("{name}.json"))).unwrap_or_default();
        for part in parts {
            tally.check(sense::holds_something(&document[*part]));
        }
        match name {
            "blooms_taxonomy" => sense::blooms_taxonomy(&document, &mut tally),
            "cognitive_load" => sense::cognitive_load(&document, &mut tally),
            "spaced_repetition" => sense::spaced_repetition(&document, &mut tally),
            _ => sense::modalities(&document, parts, &mut tally),
        }
    }
    tally
}

fn quality(folder: &Path) -> Tally {
    let mut tally = Tally::default();
    let thresholds = document(&folder.join("thresholds.json")).unwrap_or_default();
    for (name, value) in QUALITY_THRESHOLDS {
        tally.check(thresholds[name].as_f64() == Some(value));
    }
    let dimensions = document(&folder.join("dimensions.json")).unwrap_or_default();
    let weights = sense::numbers(dimensions.as_object(), |dimension| dimension["weight"].as_f64());
    tally.check(sense::sums_to_one(&weights));
    let rubric = document(&folder.join("rubric.json")).unwrap_or_default();
    let mut bounds = sense::numbers(rubric.as_object(), |grade| grade["from"].as_f64());
    bounds.sort_by(f64::total_cmp);
    // Grades cover the scale from its bottom.
    tally.check(bounds.len() > 1 && bounds[0] == 0.0 && bounds.iter().all(|from| (0.0..1.0).contains(from)));
    tally
}

fn standards(folder: &Path) -> Tally {
    let mut tally = Tally::default();
    let index = document(&folder.join("index.json")).unwrap_or_default();
    tally.check(
        index
            .as_object()
            .is_some_and(|index| index.len() == SUBJECTS.len() * AGE_BANDS.len()),
    );
    for subject in SUBJECTS {
        for band in AGE_BANDS {
            let code = standard_code(subject, band);
            let set = document(&folder.join(format!("{subject}-{band}.json"))).unwrap_or_default();
            let statements = set["statements"].as_array().map_or(0, |statements| {
                statements
                    .iter()
                    .filter(|one| one["text"].as_str().is_some_and(|text| !text.is_empty()))
                    .count()
            });
            let expected = index[&code].as_u64();
            tally
                .check(set["code"] == code.as_str() && statements > 0 && expected == Some(statements as u64));
        }
    }
    tally
}

fn patterns(folder: &Path) -> Tally {
    let mut tally = Tally::default();
    for kind in CONTENT_TYPES {
        let pattern = document(&folder.join(format!("{kind}.json"))).unwrap_or_default();
        tally.check(
            pattern["title"]
                .as_str()
                .is_some_and(|title| title.contains("{topic}")),
        );
        tally.check(pattern["minimum_words"].as_u64().is_some_and(|words| words > 0));
        tally.check(sense::known_levels(&pattern["bloom_levels"]));
        tally.check(pattern["sections"].as_array().is_some_and(|sections| {
            let filled =
                |section: &Value, key: &str| section[key].as_str().is_some_and(|text| !text.is_empty());
            sections.len() > 1
                && sections
                    .iter()
                    .all(|one| filled(one, "name") && filled(one, "template"))
        }));
    }
    tally
}

fn ages(folder: &Path) -> Tally {
    let mut tally = Tally::default();
    let mut next_age = None;
    for band in AGE_BANDS {
        let rules = document(&folder.join(format!("{band}.json"))).unwrap_or_default();
        let bound = |key: &str, end: usize| rules[key][end].as_f64();
        let (from, to) = (bound("ages", 0), bound("ages", 1));
        // The bands follow each other without a gap.
        tally.check(from < to && from.is_some() && next_age.is_none_or(|next| from == Some(next)));
        next_age = to.map(|to| to + 1.0).or(Some(f64::NAN));
        tally.check(bound("reading_grade", 0) < bound("reading_grade", 1));
        for key in ["sentence_words_maximum", "new_words_per_page", "session_minutes"] {
            tally.check(rules[key].as_f64().is_some_and(|value| value > 0.0));
        }
    }
    tally
}

fn blooms(folder: &Path) -> Tally {
    let mut tally = Tally::default();
    for kind in CONTENT_TYPES {
        let integration = document(&folder.join(format!("{kind}.json"))).unwrap_or_default();
        let distribution = integration["distribution"].as_object();
        tally
            .check(distribution.is_some_and(|all| BLOOM_LEVELS.iter().all(|level| all.contains_key(*level))));
        tally.check(sense::sums_to_one(&sense::numbers(distribution, Value::as_f64)));
        tally.check(
            integration["objectives"]
                .as_u64()
                .is_some_and(|objectives| objectives > 0),
        );
    }
    tally
}
