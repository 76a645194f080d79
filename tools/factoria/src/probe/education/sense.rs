//! Whether the documents of learning science make sense: completeness by name, and their arithmetic.

use serde_json::{Map, Value};

use crate::frameworks::{AGE_BANDS, BLOOM_LEVELS, CONTENT_TYPES};
use crate::probe::tally::Tally;

/// Each level with enough verbs, stems and a place in the order; each mapped to the next; each content type
/// aligned with known levels.
pub(super) fn blooms_taxonomy(document: &Value, tally: &mut Tally) {
    let names = document["cognitive_levels"].as_array();
    tally.check(names.is_some_and(|names| names.iter().map(Value::as_str).eq(BLOOM_LEVELS.map(Some))));
    for (index, level) in BLOOM_LEVELS.iter().enumerate() {
        let about = &document["levels"][level];
        tally.check(about["order"].as_u64() == Some(index as u64 + 1));
        // Ten verbs and three stems: what the published frameworks of this system have.
        tally.check(about["verbs"].as_array().is_some_and(|verbs| verbs.len() >= 10));
        tally.check(
            about["question_stems"]
                .as_array()
                .is_some_and(|stems| stems.len() >= 3),
        );
        let next = BLOOM_LEVELS.get(index + 1).copied();
        let mapping = &document["level_mappings"][level];
        tally.check(mapping.is_object() && mapping["next"].as_str() == next);
    }
    tally.check(sums_to_one(&numbers(document["levels"].as_object(), |level| {
        level["weight"].as_f64()
    })));
    for kind in CONTENT_TYPES {
        tally.check(known_levels(&document["content_type_alignments"][kind]));
    }
}

/// Loads that can be computed: a formula with its terms, reductions and gains between 0 and 1, chunk sizes for
/// every age band.
pub(super) fn cognitive_load(document: &Value, tally: &mut Tally) {
    let intrinsic = &document["intrinsic_load_calculations"];
    for terms in ["element_interactivity", "prior_knowledge"] {
        let values = numbers(intrinsic[terms].as_object(), Value::as_f64);
        tally.check(values.len() >= 4 && values.iter().all(|value| *value >= 0.0));
    }
    tally.check(
        intrinsic["limit_per_section"]
            .as_f64()
            .is_some_and(|limit| limit > 0.0),
    );
    for (part, key, least) in [
        ("extraneous_load_optimizations", "reduction", 5),
        ("germane_load_enhancements", "gain", 4),
    ] {
        let effects = numbers(document[part].as_object(), |effect| effect[key].as_f64());
        tally.check(effects.len() >= least && effects.iter().all(|effect| *effect > 0.0 && *effect < 1.0));
    }
    let memory = &document["working_memory_considerations"];
    tally.check(memory["chunks"].as_u64().is_some_and(|chunks| chunks > 0));
    for band in AGE_BANDS {
        tally.check(
            memory["chunk_size_by_age_band"][band]
                .as_u64()
                .is_some_and(|size| size > 0),
        );
    }
}

/// SM-2 run on its own parameters gives growing intervals; retention falls ever more slowly; five difficulties.
pub(super) fn spaced_repetition(document: &Value, tally: &mut Tally) {
    let sm2 = &document["interval_algorithms"]["sm2"];
    tally.check(sm2_intervals(sm2, 6).is_some_and(|days| days.windows(2).all(|pair| pair[0] < pair[1])));
    let boxes = document["interval_algorithms"]["leitner"]["box_intervals_days"].as_array();
    tally.check(boxes.is_some_and(|boxes| boxes.len() >= 5));
    let curves = &document["retention_curves"];
    for name in [
        "after_first",
        "after_second",
        "after_third",
        "after_fourth",
        "after_fifth",
    ] {
        tally.check(
            curves["stability_days"][name]
                .as_f64()
                .is_some_and(|days| days > 0.0),
        );
    }
    tally.check(
        curves["review_at_retention"]
            .as_f64()
            .is_some_and(|share| share > 0.0 && share < 1.0),
    );
    for name in ["very_easy", "easy", "normal", "hard", "very_hard"] {
        let adjustment = &document["difficulty_adjustments"][name];
        tally.check(
            adjustment["interval_factor"]
                .as_f64()
                .is_some_and(|factor| factor > 0.0),
        );
    }
}

/// Four patterns each, none of them empty.
pub(super) fn modalities(document: &Value, parts: &[&str], tally: &mut Tally) {
    for part in parts {
        let patterns = document[*part].as_object();
        tally.check(
            patterns.is_some_and(|patterns| patterns.len() >= 4 && patterns.values().all(holds_something)),
        );
    }
}

/// Returns the first intervals in days that SM-2 gives for answers of grade 4 (Wozniak, 1990).
fn sm2_intervals(sm2: &Value, count: usize) -> Option<Vec<f64>> {
    let parameter = |name: &str| sm2[name].as_f64();
    let mut easiness = parameter("easiness_initial")?;
    let missing = parameter("grade_maximum")? - 4.0;
    let mut days = vec![
        parameter("first_interval_days")?,
        parameter("second_interval_days")?,
    ];
    while days.len() < count {
        let change = parameter("easiness_step")?
            - missing * (parameter("easiness_linear")? + missing * parameter("easiness_quadratic")?);
        easiness = (easiness + change).max(parameter("easiness_minimum")?);
        let last = days.last().copied()?;
        days.push((last * easiness).round());
    }
    Some(days)
}

/// Returns whether a value is an object or list with something in it.
pub(super) fn holds_something(value: &Value) -> bool {
    value.as_object().is_some_and(|object| !object.is_empty())
        || value.as_array().is_some_and(|list| !list.is_empty())
}

/// Returns whether a value is a list of Bloom's levels with at least one in it.
pub(super) fn known_levels(value: &Value) -> bool {
    value.as_array().is_some_and(|levels| {
        !levels.is_empty()
            && levels
                .iter()
                .all(|level| level.as_str().is_some_and(|level| BLOOM_LEVELS.contains(&level)))
    })
}

/// Returns a number of each value; a value without one gives NaN, which fails every comparison.
pub(super) fn numbers(
    object: Option<&Map<String, Value>>,
    number: impl Fn(&Value) -> Option<f64>,
) -> Vec<f64> {
    let values = object.into_iter().flat_map(Map::values);
    values.map(|value| number(value).unwrap_or(f64::NAN)).collect()
}

/// Returns whether shares add up to 1, as far as sums of decimal fractions do.
pub(super) fn sums_to_one(shares: &[f64]) -> bool {
    !shares.is_empty() && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-9
}
