//! What a generator of content works with, as a system has it on disk: patterns, prompts, Bloom's verbs, age bands
//! and educational standards.
//!
//! Composing ([`compose`](crate::compose)) and assessing ([`assess`](crate::assess)) read the same documents. So a
//! pattern, a verb or a statement that did not come back shows in both.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::frameworks::{AGE_BANDS, BLOOM_LEVELS, CONTENT_TYPES, SUBJECTS, standard_code};
use crate::probe::{bounded, document};

/// The longest prompt that is read, in bytes; those of the system have less than 2 kB.
const LONGEST_PROMPT: u64 = 64 << 10;

/// The documents that content is made of. What is absent or malformed is not in here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Curriculum {
    /// By content type.
    pub(crate) patterns: BTreeMap<String, Pattern>,
    /// By content type.
    pub(crate) prompts: BTreeMap<String, String>,
    /// By age band.
    pub(crate) bands: BTreeMap<String, Band>,
    /// By Bloom's level.
    pub(crate) levels: BTreeMap<String, Level>,
    /// Statements by their id, by the code of their set: `science.adult` and `science.adult.3`.
    pub(crate) standards: BTreeMap<String, BTreeMap<String, String>>,
}

/// How content of one type is built.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Pattern {
    pub(crate) title: String,
    pub(crate) minimum_words: u64,
    /// Bloom's levels that content of the type claims to reach.
    pub(crate) bloom_levels: Vec<String>,
    pub(crate) sections: Vec<Section>,
}

/// One section of a pattern.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) template: String,
}

/// What suits readers of one age band.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Band {
    /// The lowest and the highest reading grade, in school years.
    pub(crate) reading_grade: [f64; 2],
    pub(crate) sentence_words_maximum: u64,
}

/// The words of one of Bloom's levels.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Level {
    pub(crate) verbs: Vec<String>,
    pub(crate) question_stems: Vec<String>,
}

impl Curriculum {
    /// Reads the documents of the system at `root`.
    pub(crate) fn read(root: &Path) -> Self {
        let education = root.join("education");
        let mut curriculum = Self::default();
        for kind in CONTENT_TYPES {
            let path = education.join(format!("content_patterns/{kind}.json"));
            insert(&mut curriculum.patterns, kind, parse(document(&path)));
            let prompt = bounded(&root.join(format!("context/prompts/{kind}.md")), LONGEST_PROMPT);
            let prompt = prompt.and_then(|text| String::from_utf8(text).ok());
            insert(&mut curriculum.prompts, kind, prompt);
        }
        for band in AGE_BANDS {
            let path = education.join(format!("age_appropriateness/{band}.json"));
            insert(&mut curriculum.bands, band, parse(document(&path)));
            for subject in SUBJECTS {
                let code = standard_code(subject, band);
                let set = document(&education.join(format!("standards/{subject}-{band}.json")));
                let statements = set.and_then(|set| statements(&set, &code));
                insert(&mut curriculum.standards, &code, statements);
            }
        }
        let taxonomy = document(&education.join("frameworks/blooms_taxonomy.json")).unwrap_or_default();
        for level in BLOOM_LEVELS {
            let about = taxonomy["levels"].get(level).cloned();
            insert(&mut curriculum.levels, level, parse(about));
        }
        curriculum
    }

    /// Returns whether every document was there.
    pub(crate) fn is_whole(&self) -> bool {
        self.patterns.len() == CONTENT_TYPES.len()
            && self.prompts.len() == CONTENT_TYPES.len()
            && self.bands.len() == AGE_BANDS.len()
            && self.levels.len() == BLOOM_LEVELS.len()
            && self.standards.len() == SUBJECTS.len() * AGE_BANDS.len()
    }

    /// Returns the text of a statement such as `science.adult.3`.
    pub(crate) fn statement(&self, id: &str) -> Option<&str> {
        let (code, _) = id.rsplit_once('.')?;
        self.standards.get(code)?.get(id).map(String::as_str)
    }
}

fn insert<T>(map: &mut BTreeMap<String, T>, name: &str, value: Option<T>) {
    if let Some(value) = value {
        map.insert(name.to_owned(), value);
    }
}

fn parse<T: serde::de::DeserializeOwned>(document: Option<Value>) -> Option<T> {
    serde_json::from_value(document?).ok()
}

/// Returns the statements of a set that carries its own code.
fn statements(set: &Value, code: &str) -> Option<BTreeMap<String, String>> {
    if set["code"] != code {
        return None;
    }
    let statements = set["statements"].as_array()?.iter();
    let texts: BTreeMap<String, String> = statements
        .filter_map(|one| Some((one["id"].as_str()?.to_owned(), one["text"].as_str()?.to_owned())))
        .collect();
    (!texts.is_empty()).then_some(texts)
}
