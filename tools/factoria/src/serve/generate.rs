//! `GET /generate`: a piece of content, made from the documents as they are on disk, and assessed.

use std::path::Path;

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::assess::{DIMENSIONS, Item, JUDGED, Rules, assess};
use crate::compose::{Wanted, compose};
use crate::curriculum::Curriculum;
use crate::frameworks::{AGE_BANDS, CONTENT_TYPES, SUBJECTS};
use crate::text::Prose;

/// How long a piece is, in bytes, where nothing else is asked for: a page.
const LENGTH: usize = 3_000;
/// The band and the subject where nothing else is asked for.
const AUDIENCE: &str = "middle_school";
const SUBJECT: &str = "science";

/// What is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Wish {
    #[serde(rename = "type")]
    content_type: String,
    audience: Option<String>,
    subject: Option<String>,
    /// Another number gives another text.
    seed: Option<u64>,
}

/// Makes the piece; the error is the status and what is wrong.
pub(super) fn piece(root: &Path, wish: &Wish) -> Result<Value, (StatusCode, String)> {
    let known = |what: &str, name: &str, names: &[&'static str]| {
        let found = names.iter().copied().find(|known| *known == name);
        let refused = || {
            (
                StatusCode::BAD_REQUEST,
                format!("{name:?} is no {what}; known: {}", names.join(", ")),
            )
        };
        found.ok_or_else(refused)
    };
    let wanted = Wanted {
        content_type: known("content type", &wish.content_type, &CONTENT_TYPES)?,
        audience: known(
            "age band",
            wish.audience.as_deref().unwrap_or(AUDIENCE),
            &AGE_BANDS,
        )?,
        subject: known("subject", wish.subject.as_deref().unwrap_or(SUBJECT), &SUBJECTS)?,
        length: LENGTH,
        slip: None,
    };
    let curriculum = Curriculum::read(root);
    let mut prose = Prose::new(wish.seed.unwrap_or(1), wanted.content_type);
    let piece = compose(&curriculum, &wanted, &mut prose)
        .map_err(|lacking| (StatusCode::SERVICE_UNAVAILABLE, lacking.to_string()))?;
    let rules = Rules::read(root);
    let assessment = assess(
        &curriculum,
        &rules,
        &Item {
            content_type: wanted.content_type,
            audience: wanted.audience,
            standard: &piece.standard,
            body: &piece.body,
        },
    );
    let judged = JUDGED.into_iter().zip(assessment.judged()).zip(rules.thresholds);
    let passes: serde_json::Map<String, Value> = judged
        .map(|((name, score), least)| (name.to_owned(), json!(least.is_some_and(|least| score >= least))))
        .collect();
    let scores: serde_json::Map<String, Value> = DIMENSIONS
        .into_iter()
        .zip(assessment.scores)
        .map(|(name, score)| (name.to_owned(), json!(score)))
        .collect();
    Ok(json!({
        "content_type": wanted.content_type, "title": piece.title, "audience": wanted.audience,
        "standard": piece.standard, "text": piece.body, "words": assessment.words,
        "overall_quality": assessment.overall, "scores": scores, "passes": passes, "comment": assessment.comment,
    }))
}
