//! Answers requests for contexts, in two ways: as they are, and optimised.
//!
//! A request names a content type, a subject and a task [`Profile`]. Both paths begin at the same document,
//! `L1/<subject>/<unit>/<type>.md`:
//!
//! - [`Optimiser::baseline`] follows every import, reads every document and counts the tokens of the whole text;
//! - [`Optimiser::optimised`] takes the six steps below. Each is one algorithm with parameters of its own.
//!
//! | algorithm | what it does |
//! |---|---|
//! | `layer_selection` | the layers for which the profile has a budget, in this order |
//! | `import_resolution` | follows imports into these layers, so deep and to so many documents |
//! | `result_cache` | takes passages with their token counts from the cache, for documents of some layers |
//! | `deduplication` | drops a passage that a document before it has |
//! | `relevance_ranking` | passages that matter to the task first |
//! | `token_budget` | keeps as many of them as the layer's budget allows |
//!
//! | module | what it holds |
//! |---|---|
//! | `settings` | the parameters, read from `performance/`; none has a default |
//! | `passages` | splitting documents and counting their tokens |
//! | `cache` | prepared passages, kept by what they were made from |
//! | `rank` | the score of a passage |
//! | `tokens` | the tokenizer |
//! | `mix` | the requests by which systems are measured and loaded |
//! | [`facts`] | the catalogue of facts by which the quality of contexts is judged |
//! | [`rebuild`] | makes the cache again from the documents |

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::context::{Closure, Document, LAYERS, Limits, closure, stays_below};
use crate::error::FactoriaError;
use crate::frameworks::{CONTENT_TYPES, SUBJECTS};

pub(crate) mod cache;
pub mod facts;
mod mix;
pub(crate) mod passages;
mod rank;
pub mod rebuild;
pub mod refused;
pub(crate) mod settings;
pub(crate) mod tokens;

pub use mix::mix;
use passages::{Passage, SEPARATOR, prepare};
use rank::Task;
pub use refused::RequestError;
pub(crate) use settings::Settings;
use tokens::SEPARATOR_TOKENS;
pub use tokens::{Tokenizer, VOCABULARY};

/// How demanding a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// The task's own document and its subject.
    Simple,
    /// Some of the reference as well.
    Moderate,
    /// All layers.
    Complex,
}

impl Profile {
    /// All profiles, the least demanding first.
    pub const ALL: [Self; 3] = [Self::Simple, Self::Moderate, Self::Complex];

    /// Returns its name in files and requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Moderate => "moderate",
            Self::Complex => "complex",
        }
    }
}

/// What a context is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// One of [`CONTENT_TYPES`].
    #[serde(rename = "type")]
    pub content_type: String,
    /// One of [`SUBJECTS`], for its first unit, or `<subject>/<unit>` with a unit of four digits.
    pub subject: String,
    /// How demanding the task is.
    pub profile: Profile,
}

/// A context, and what it took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The document that was asked for, relative to `context/`.
    pub document: String,
    /// The documents that were read, in the order in which they were found.
    pub documents: Vec<String>,
    /// What is missing of them, with the reason. A context with something missing is not whole.
    pub missing: Vec<String>,
    /// The number of tokens of `text`.
    pub tokens: u64,
    /// Documents whose passages came from the cache.
    pub cache_hits: u64,
    /// Documents whose passages were looked for in the cache.
    pub cache_lookups: u64,
    /// Whether the optimised path made it. It needs the profile.
    pub optimised: bool,
    /// The context itself.
    pub text: String,
}

impl Request {
    /// Returns the document that answers it, relative to `context/`.
    ///
    /// # Errors
    /// [`RequestError`] for an unknown type or subject. Whether the document is there is not looked at.
    pub fn document(&self) -> Result<String, RequestError> {
        let Self {
            content_type,
            subject,
            ..
        } = self;
        if !CONTENT_TYPES.contains(&content_type.as_str()) {
            return Err(RequestError::UnknownType {
                name: content_type.clone(),
            });
        }
        let (name, unit) = subject.split_once('/').unwrap_or((subject, FIRST_UNIT));
        if !SUBJECTS.contains(&name) || !stays_below(unit) || unit.contains('/') {
            return Err(RequestError::UnknownSubject {
                name: subject.clone(),
            });
        }
        Ok(format!("L1/{name}/{unit}/{content_type}.md"))
    }
}

/// The unit of a request that names a subject only.
pub(crate) const FIRST_UNIT: &str = "0001";

/// Answers requests on the system at one root. Settings are read once; documents and cache at each request.
#[derive(Clone, Debug)]
pub struct Optimiser {
    root: PathBuf,
    settings: Settings,
    tokenizer: Tokenizer,
}

impl Optimiser {
    /// Reads the settings at `root`. What is missing of them is a fault of the system and no error: its contexts
    /// are worse.
    ///
    /// # Errors
    /// [`FactoriaError::Vocabulary`].
    pub fn open(root: &Path) -> Result<Self, FactoriaError> {
        Ok(Self {
            root: root.to_owned(),
            settings: Settings::read(root),
            tokenizer: Tokenizer::load()?,
        })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn tokenizer(&self) -> Tokenizer {
        self.tokenizer
    }

    /// Answers with everything: all imports, all documents, all tokens counted now.
    ///
    /// # Errors
    /// [`RequestError`]; a document that is missing is named in the answer.
    pub fn baseline(&self, request: &Request) -> Result<Context, RequestError> {
        let document = request.document()?;
        let Closure { documents, missing } =
            closure(&self.root.join("context"), &document, Limits::EVERYTHING);
        let texts: Vec<&str> = documents.iter().map(|document| document.text.trim()).collect();
        let text = texts.join(SEPARATOR);
        Ok(Context {
            document,
            missing,
            tokens: self.tokenizer.count(&text),
            documents: documents.into_iter().map(|document| document.path).collect(),
            text,
            ..Context::default()
        })
    }

    /// Answers with what the request's profile needs. Without that profile the answer is the baseline's.
    ///
    /// # Errors
    /// As [`Self::baseline`].
    pub fn optimised(&self, request: &Request) -> Result<Context, RequestError> {
        let document = request.document()?;
        let settings = &self.settings;
        let Some(profile) = settings.profiles.get(&request.profile) else {
            return self.baseline(request);
        };
        let budgets = &profile.budgets;
        let order = self.layers(budgets);
        let imports = settings.import_resolution.as_ref();
        let everything = Limits::EVERYTHING;
        let limits = Limits {
            depth: imports.map_or(0, |imports| imports.depth.min(everything.depth)),
            documents: imports.map_or(1, |imports| imports.documents.min(everything.documents)),
            layers: Some(&order),
        };
        let Closure { documents, missing } = closure(&self.root.join("context"), &document, limits);
        let mut context = Context {
            missing,
            documents: documents.iter().map(|document| document.path.clone()).collect(),
            optimised: true,
            ..Context::default()
        };
        let prepared: Vec<(&Document, Vec<Passage>)> = documents
            .iter()
            .map(|document| (document, self.passages(document, &mut context)))
            .collect();
        let requested = documents.last().map_or("", |document| &document.text);
        let task = Task::new(&request.content_type, requested);
        let mut seen = HashSet::new();
        let mut kept = Vec::new();
        for layer in &order {
            let of_layer = prepared.iter().filter(|(document, _)| document.layer() == layer);
            let mut passages: Vec<&Passage> = of_layer.flat_map(|(_, passages)| passages).collect();
            if let Some(by) = &settings.deduplication {
                passages.retain(|passage| {
                    passage.text.len() < by.shortest_bytes || seen.insert(passage.text.as_str())
                });
            }
            if let Some(by) = &settings.relevance_ranking {
                task.sort(&mut passages, by);
            }
            self.within(budgets.get(layer), &passages, &mut kept);
        }
        let separators = kept.len().saturating_sub(1) as u64 * SEPARATOR_TOKENS;
        // A forged entry may hold any number.
        context.tokens = kept
            .iter()
            .fold(separators, |sum, passage| sum.saturating_add(passage.tokens));
        let texts: Vec<&str> = kept.iter().map(|passage| passage.text.as_str()).collect();
        context.text = texts.join(SEPARATOR);
        context.document = document;
        Ok(context)
    }

    /// Returns the layers to read: those that the profile has a budget for, or all where nothing selects.
    fn layers(&self, budgets: &BTreeMap<String, u64>) -> Vec<String> {
        match &self.settings.layer_selection {
            Some(selection) => selection
                .order
                .iter()
                .filter(|layer| budgets.contains_key(*layer))
                .cloned()
                .collect(),
            None => LAYERS.map(str::to_owned).into(),
        }
    }

    /// Returns the passages of a document, from the cache where its layer is cached.
    fn passages(&self, document: &Document, context: &mut Context) -> Vec<Passage> {
        let cached = self
            .settings
            .result_cache
            .as_ref()
            .is_some_and(|cache| cache.layers.iter().any(|layer| layer == document.layer()));
        if cached {
            context.cache_lookups += 1;
            if let Some(passages) = cache::look_up(&self.root, &document.text) {
                context.cache_hits += 1;
                return passages;
            }
        }
        prepare(&document.text, self.tokenizer)
    }

    /// Takes passages in their order until the budget is used. Without a budget all are taken.
    fn within<'a>(&self, budget: Option<&u64>, passages: &[&'a Passage], kept: &mut Vec<&'a Passage>) {
        let (Some(by), Some(budget)) = (&self.settings.token_budget, budget) else {
            kept.extend(passages);
            return;
        };
        let mut left = (*budget as f64 * by.usable_share.clamp(0.0, 1.0)) as u64;
        let mut passed_over = 0;
        for passage in passages {
            let cost = passage.tokens.saturating_add(SEPARATOR_TOKENS);
            if cost <= left {
                left -= cost;
                kept.push(passage);
            } else if passed_over == by.passed_over_at_most {
                return;
            } else {
                passed_over += 1;
            }
        }
    }
}
