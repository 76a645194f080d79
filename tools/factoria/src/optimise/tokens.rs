//! Counts tokens as a language model's tokenizer does.
//!
//! The vocabulary is `r50k_base`, the smallest that `tiktoken-rs` ships (50,257 tokens). A new process must answer
//! within 100 ms, and the time to load a vocabulary is most of that: `cl100k_base` has twice the tokens and
//! `o200k_base` four times.

use std::sync::OnceLock;

use tiktoken_rs::CoreBPE;

use crate::error::FactoriaError;

/// The vocabulary's name, as settings and cache keys give it.
pub const VOCABULARY: &str = "r50k_base";
/// Tokens of an empty line between two passages.
///
/// The vocabulary's pattern takes a line feed before another white space as a piece of its own, and the last one
/// before a word as well. So `"\n\n"` is two tokens, and the count of a text is the sum over its passages.
pub(super) const SEPARATOR_TOKENS: u64 = 2;

/// A tokenizer, loaded once a process.
#[derive(Clone, Copy)]
pub struct Tokenizer(&'static CoreBPE);

impl Tokenizer {
    /// Loads the vocabulary, or returns the one that is loaded already.
    ///
    /// # Errors
    /// [`FactoriaError::Vocabulary`] where the vocabulary that was compiled in cannot be read.
    pub fn load() -> Result<Self, FactoriaError> {
        static LOADED: OnceLock<Result<CoreBPE, String>> = OnceLock::new();
        let loaded = LOADED.get_or_init(|| tiktoken_rs::r50k_base().map_err(|error| error.to_string()));
        match loaded {
            Ok(loaded) => Ok(Self(loaded)),
            Err(why) => Err(FactoriaError::Vocabulary {
                name: VOCABULARY,
                why: why.clone(),
            }),
        }
    }

    /// Returns the number of tokens of a text. Names of special tokens in it count as ordinary text.
    pub fn count(self, text: &str) -> u64 {
        self.0.count_ordinary(text) as u64
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Tokenizer").field(&VOCABULARY).finish()
    }
}
