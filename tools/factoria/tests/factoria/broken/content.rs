//! Content items, and what content is made of.

use std::fs;
use std::path::Path;

use rekindle_factoria::ProbeKind::{Analytics, Education, Generate, Quality};
use rusqlite::Connection;
use serde_json::Value;

use super::Bench;
use crate::common::Kept;

#[test]
fn a_content_item_that_lacks_a_section_or_a_fact_lowers_the_quality() {
    let bench = Bench::new();
    let reproduced = [
        (Quality, "overall_quality"),
        (Quality, "quality_kept"),
        (Quality, "assessments_reproduced"),
        (Quality, "records_reproduced"),
    ];
    bench.executes(
        "a section removed from an item",
        "UPDATE items SET body = substr(body, 1, instr(body, '## explanation') - 1)
         WHERE id = (SELECT min(id) FROM items WHERE content_type = 'study_guide')",
        &reproduced,
    );
    bench.executes(
        "a heading removed from an item",
        "UPDATE items SET body = replace(body, '## key_terms', '') WHERE content_type = 'study_guide'",
        &reproduced,
    );
    bench.executes(
        "a stored assessment raised",
        "UPDATE assessments SET score = 1.0 WHERE id = (SELECT min(id) FROM assessments WHERE score < 1.0)",
        &[(Quality, "assessments_reproduced")],
    );
    bench.executes(
        "the texts of all items emptied",
        "UPDATE items SET body = ''",
        &[
            (Quality, "overall_quality"),
            (Quality, "passes_overall_quality"),
            (Analytics, "reports_reproduced"),
        ],
    );
    bench.edits(
        "the statements of a standard that an item quotes",
        &cited(&bench.root),
        |set| {
            for one in set["statements"].as_array_mut().unwrap() {
                one["text"] = "Something else.".into();
            }
        },
        &[
            (Quality, "overall_quality"),
            (Quality, "assessments_reproduced"),
            (Education, "education_kept"),
        ],
    );
}

/// Returns the file of a standard that the first item quotes.
fn cited(root: &Path) -> String {
    let database = Connection::open(root.join("db/content.sqlite")).unwrap();
    let standard: String = database
        .query_row("SELECT standard FROM items WHERE id = 1", [], |row| row.get(0))
        .unwrap();
    format!("education/standards/{}.json", standard.replace('.', "-"))
}

#[test]
fn a_content_type_without_its_pattern_prompt_verbs_or_standard_is_not_generated() {
    let bench = Bench::new();
    for (what, path, edit) in [
        (
            "a pattern lost",
            "education/content_patterns/flashcards.json",
            None,
        ),
        ("a prompt lost", "context/prompts/podcast_script.md", None),
        (
            "Bloom's taxonomy lost",
            "education/frameworks/blooms_taxonomy.json",
            None,
        ),
        (
            "the age band lost",
            "education/age_appropriateness/middle_school.json",
            None,
        ),
        (
            "the standard lost",
            "education/standards/science-middle_school.json",
            None,
        ),
        (
            "a verb's level lost",
            "education/frameworks/blooms_taxonomy.json",
            Some("create"),
        ),
    ] {
        let act = |root: &Path| {
            let kept = Kept::of(&root.join(path));
            match edit {
                None => fs::remove_file(root.join(path)).unwrap(),
                Some(level) => {
                    let mut document: Value = serde_json::from_slice(kept.bytes()).unwrap();
                    document["levels"].as_object_mut().unwrap().remove(level);
                    kept.overwrite(&serde_json::to_vec(&document).unwrap());
                }
            }
        };
        bench.breaks(
            what,
            &[path],
            act,
            &[
                (Generate, "content_types_generatable"),
                (Generate, "generated_quality"),
            ],
        );
    }
    bench.edits(
        "a template's section lost",
        "education/content_patterns/study_guide.json",
        |pattern| drop(pattern["sections"].as_array_mut().unwrap().pop()),
        &[
            (Quality, "assessments_reproduced"),
            (Education, "content_patterns_items_kept"),
        ],
    );
}
