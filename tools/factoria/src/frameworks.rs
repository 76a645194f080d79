//! The educational frameworks as data, and the names that every copy of them must have.
//!
//! `generate` writes the documents under `data/` into a system. A probe checks a system's own copy against
//! the constants, and not against its manifest. So it finds an item that was lost together with its entry in
//! the manifest.

use serde_json::{Map, Value};

/// The 8 content types.
pub const CONTENT_TYPES: [&str; 8] = [
    "master_content_outline",
    "podcast_script",
    "study_guide",
    "one_pager_summary",
    "detailed_reading_material",
    "faq_collection",
    "flashcards",
    "reading_guide_questions",
];

/// Bloom's levels, the lowest first.
pub const BLOOM_LEVELS: [&str; 6] = ["remember", "understand", "apply", "analyze", "evaluate", "create"];

/// Readers, the youngest first.
pub const AGE_BANDS: [&str; 6] = [
    "early_elementary",
    "elementary",
    "middle_school",
    "high_school",
    "college",
    "adult",
];

/// Subjects of the educational standards; each has a set per age band.
pub const SUBJECTS: [&str; 8] = [
    "arts",
    "civics",
    "computing",
    "health",
    "history",
    "language",
    "mathematics",
    "science",
];

/// The documents of learning science, each with the parts it must have.
pub const LEARNING_SCIENCE: [(&str, &[&str]); 4] = [
    (
        "blooms_taxonomy",
        &[
            "cognitive_levels",
            "levels",
            "level_mappings",
            "content_type_alignments",
        ],
    ),
    (
        "cognitive_load",
        &[
            "intrinsic_load_calculations",
            "extraneous_load_optimizations",
            "germane_load_enhancements",
            "working_memory_considerations",
        ],
    ),
    (
        "spaced_repetition",
        &[
            "interval_algorithms",
            "retention_curves",
            "difficulty_adjustments",
        ],
    ),
    (
        "multiple_modalities",
        &[
            "visual_learning_patterns",
            "auditory_learning_patterns",
            "kinesthetic_learning_patterns",
        ],
    ),
];

/// The code of a set of standards: `science.middle_school`.
pub fn standard_code(subject: &str, band: &str) -> String {
    format!("{subject}.{band}")
}

const DOCUMENTS: [(&str, &str); 8] = [
    ("blooms_taxonomy", include_str!("../data/blooms_taxonomy.json")),
    ("cognitive_load", include_str!("../data/cognitive_load.json")),
    (
        "spaced_repetition",
        include_str!("../data/spaced_repetition.json"),
    ),
    (
        "multiple_modalities",
        include_str!("../data/multiple_modalities.json"),
    ),
    (
        "quality_assessment",
        include_str!("../data/quality_assessment.json"),
    ),
    ("content_patterns", include_str!("../data/content_patterns.json")),
    (
        "age_appropriateness",
        include_str!("../data/age_appropriateness.json"),
    ),
    (
        "blooms_integration",
        include_str!("../data/blooms_integration.json"),
    ),
];

/// Returns a built-in document, as an object by its keys; empty for a name that is none.
pub fn built_in(name: &str) -> serde_json::Result<Map<String, Value>> {
    let text = DOCUMENTS
        .iter()
        .find(|(known, _)| *known == name)
        .map_or("{}", |(_, text)| text);
    serde_json::from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_document_is_there_and_has_the_names_it_must_have() {
        for (name, parts) in LEARNING_SCIENCE {
            let document = built_in(name).unwrap();
            assert!(parts.iter().all(|part| document.contains_key(*part)), "{name}");
        }
        for (name, keys) in [
            ("content_patterns", &CONTENT_TYPES[..]),
            ("blooms_integration", &CONTENT_TYPES[..]),
            ("age_appropriateness", &AGE_BANDS[..]),
        ] {
            let document = built_in(name).unwrap();
            assert!(keys.iter().all(|key| document.contains_key(*key)), "{name}");
            assert_eq!(document.len(), keys.len(), "{name}");
        }
    }
}
