//! Splits documents into passages, and prepares them: each passage with its number of tokens.

use serde::{Deserialize, Serialize};

use super::tokens::Tokenizer;

/// What separates passages, in documents and in contexts.
pub(super) const SEPARATOR: &str = "\n\n";

/// A paragraph or heading with its number of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Passage {
    /// Its tokens, counted alone.
    pub(crate) tokens: u64,
    /// Its text, without white space around it.
    pub(crate) text: String,
}

/// Returns the passages of a text: what empty lines separate.
pub(crate) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(SEPARATOR)
        .map(str::trim)
        .filter(|passage| !passage.is_empty())
}

/// Splits a text and counts the tokens of each passage.
pub(crate) fn prepare(text: &str, tokenizer: Tokenizer) -> Vec<Passage> {
    let counted = |text: &str| Passage {
        tokens: tokenizer.count(text),
        text: text.to_owned(),
    };
    split(text).map(counted).collect()
}
