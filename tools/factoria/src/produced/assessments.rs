//! `quality/assessments/`: what the assessor found of each item, one line an item, with the text it is about.

use std::path::Path;

use rusqlite::Connection;
use serde_json::json;

use super::{Extent, Files, excerpt, files_in, items, share};
use crate::assess::{DIMENSIONS, Item, Rules, assess};
use crate::curriculum::Curriculum;

/// The most files that a probe produces again: a few seconds' work, whatever the size of the system. Of more, those
/// with the smallest hashes of their numbers are taken, always the same.
const MOST_PARTS: usize = 4;

/// Produces the files `assessments/<part>.jsonl` of the system at `root`, those of these parts.
pub(crate) fn produce(
    root: &Path,
    database: Option<&Connection>,
    extent: &Extent,
    parts: impl IntoIterator<Item = u64>,
) -> Files {
    let curriculum = Curriculum::read(root);
    let rules = Rules::read(root);
    let mut files = Files::new();
    for part in parts {
        let file = files.entry(path(part)).or_default();
        items(database, extent.range(part, extent.items), |stored| {
            let assessment = assess(
                &curriculum,
                &rules,
                &Item {
                    content_type: &stored.content_type,
                    audience: &stored.audience,
                    standard: &stored.standard,
                    body: &stored.body,
                },
            );
            let scores: serde_json::Map<String, serde_json::Value> = DIMENSIONS
                .into_iter()
                .zip(assessment.scores)
                .map(|(name, score)| (name.to_owned(), json!(score)))
                .collect();
            let line = json!({
                "item": stored.id, "content_type": stored.content_type, "overall_quality": assessment.overall,
                "scores": scores, "comment": assessment.comment, "words": assessment.words,
                "text": excerpt(&stored.body, extent.excerpt_bytes),
            });
            file.extend_from_slice(line.to_string().as_bytes());
            file.push(b'\n');
        });
    }
    files
}

/// Returns the share of the files on disk that are produced again byte by byte. A file too many or too few counts as
/// one that is not, whether it was to be produced again or not.
pub(crate) fn reproduced(root: &Path, database: Option<&Connection>) -> f64 {
    let folder = root.join("quality");
    let Some(extent) = Extent::read(&folder) else {
        return 0.0;
    };
    let mut parts: Vec<u64> = (0..extent.parts()).collect();
    parts.sort_by_cached_key(|part| *blake3::hash(&part.to_le_bytes()).as_bytes());
    parts.truncate(MOST_PARTS);
    let produced = produce(root, database, &extent, parts);
    let beyond = files_in(&folder.join("assessments")).abs_diff(extent.parts());
    share(&folder, &produced, produced.len() as u64 + beyond)
}

fn path(part: u64) -> String {
    format!("assessments/{:04}.jsonl", part + 1)
}
