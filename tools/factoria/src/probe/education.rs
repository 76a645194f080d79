//! The educational frameworks: six parts, each checked by sense, counted and identified from the data itself.
//!
//! An *item* is a leaf of a JSON document, or another file. Each file of a part is one check against the manifest; on
//! top of that, the probe checks what a part must hold by name and by arithmetic. A person who changes an item can seal the
//! manifest again. So the number of items and the digest of a part are measures of
//! their own, and a baseline compares them with what was journaled: any one item lost or changed then shows.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::baseline::Baseline;
use super::document;
use super::tally::Tally;
use crate::assess::JUDGED;
use crate::frameworks::{AGE_BANDS, BLOOM_LEVELS, CONTENT_TYPES, LEARNING_SCIENCE, SUBJECTS, standard_code};
use crate::manifest::{Found, Manifest};

mod items;
mod sense;

/// A part: the measure of its checks, its folder, how its other measures begin, and what it must hold.
type Part = (&'static str, &'static str, &'static str, fn(&Path) -> Tally);

const PARTS: [Part; 6] = [
    (
        "learning_science_complete",
        "frameworks",
        "learning_science",
        learning_science,
    ),
    (
        "quality_thresholds_preserved",
        "quality_assessment",
        "quality_assessment",
        quality,
    ),
    (
        "educational_standards_intact",
        "standards",
        "educational_standards",
        standards,
    ),
    (
        "content_patterns_valid",
        "content_patterns",
        "content_patterns",
        patterns,
    ),
    (
        "age_appropriateness_valid",
        "age_appropriateness",
        "age_appropriateness",
        ages,
    ),
    ("blooms_valid", "blooms", "blooms", blooms),
];

/// Measures:
/// - each part as the share of its checks passed, `verification_score` as the share of all checks, `verified` (1 if
///   all passed), `checks_made` and `checks_passed`.
/// - `threshold_overall_quality`, `threshold_educational_value`, `threshold_factual_accuracy`: the thresholds as they
///   are on disk. What they must be is stated by who asks.
/// - per part `…_items`, the items that are there, and `…_digest`, 48 bits over them; `items` and `education_digest`
///   over all parts.
/// - with a baseline, per part `…_items_kept` and over all `items_kept`: items as a share of the baseline's, at most 1;
///   and `education_kept`: share of the parts whose digest is that of the baseline.
pub(super) fn measure(root: &Path, baseline: &Baseline) -> BTreeMap<String, f64> {
    let base = root.join("education");
    let manifest = Manifest::read(&base);
    let mut measures = BTreeMap::new();
    let mut all = Tally::default();
    let mut items = 0;
    let mut digests = super::Digest::default();
    let mut kept = Tally::default();
    for (name, folder, prefix, holds) in PARTS {
        let mut part = holds(&base.join(folder));
        unchanged(&base, manifest.as_ref(), folder, &mut part);
        measures.insert(name.to_owned(), part.share());
        all.add(part);

        let found = items::read(&base.join(folder));
        items += found.count;
        digests.add(&found.digest.to_le_bytes());
        let (count, digest) = (format!("{prefix}_items"), format!("{prefix}_digest"));
        measures.insert(count.clone(), found.count as f64);
        measures.insert(digest.clone(), found.digest);
        baseline.share(&mut measures, &count, &format!("{prefix}_items_kept"));
        if let Some(before) = baseline.get(&digest) {
            kept.check(found.digest == before);
        }
    }
    for (name, value) in [
        ("verification_score", all.share()),
        ("verified", f64::from(u8::from(all.passed == all.made))),
        ("checks_made", all.made as f64),
        ("checks_passed", all.passed as f64),
        ("items", items as f64),
        ("education_digest", digests.value()),
    ] {
        measures.insert(name.to_owned(), value);
    }
    let thresholds = document(&base.join("quality_assessment/thresholds.json")).unwrap_or_default();
    for name in JUDGED {
        if let Some(threshold) = thresholds[name].as_f64() {
            measures.insert(format!("threshold_{name}"), threshold);
        }
    }
    baseline.share(&mut measures, "items", "items_kept");
    if kept.made > 0 {
        measures.insert("education_kept".to_owned(), kept.share());
    }
    measures
}

/// Checks what the manifest lists in a folder.
fn unchanged(base: &Path, manifest: Option<&Manifest>, folder: &str, part: &mut Tally) {
    let prefix = format!("{folder}/");
    let mut listed = 0;
    for (path, entry) in manifest.into_iter().flat_map(|manifest| &manifest.entries) {
        if path.starts_with(&prefix) {
            listed += 1;
            part.check(entry.compare(base, path) == Found::Same);
        }
    }
    part.check(listed > 0);
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
    for name in JUDGED {
        tally.check(
            thresholds[name]
                .as_f64()
                .is_some_and(|threshold| threshold > 0.0 && threshold < 1.0),
        );
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
