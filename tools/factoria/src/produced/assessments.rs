//! `quality/assessments/`: what the assessor found of each item, one line an item, with the text it is about.

use std::path::Path;

use rusqlite::Connection;
use serde_json::json;

use super::{Extent, Files, excerpt, files_in, items, share};
use crate::assess::{DIMENSIONS, Item, Rules, assess};
use crate::curriculum::Curriculum;

/// Produces the files `assessments/<part>.jsonl` of the system at `root`.
pub(crate) fn produce(root: &Path, database: Option<&Connection>, extent: &Extent) -> Files {
    let curriculum = Curriculum::read(root);
    let rules = Rules::read(root);
    let mut files: Files = (0..extent.parts()).map(|part| (path(part), Vec::new())).collect();
    items(database, extent, |stored| {
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
        if let Some(file) = files.get_mut(&path(extent.part(stored.id, extent.items))) {
            file.extend_from_slice(line.to_string().as_bytes());
            file.push(b'\n');
        }
    });
    files
}

/// Returns the share of the files on disk that are produced again byte by byte.
pub(crate) fn reproduced(root: &Path, database: Option<&Connection>) -> f64 {
    let folder = root.join("quality");
    let Some(extent) = Extent::read(&folder) else {
        return 0.0;
    };
    let produced = produce(root, database, &extent);
    share(&folder, &produced, files_in(&folder.join("assessments")))
}

fn path(part: u64) -> String {
    format!("assessments/{:04}.jsonl", part + 1)
}
