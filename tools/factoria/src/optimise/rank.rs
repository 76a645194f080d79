//! Puts the passages that matter to a task first.
//!
//! The score of a passage is a weighted sum of what it shares with the request: words of the content type's name,
//! words of the requested document's title, figures, and whether it defines a term. The weights are parameters of
//! the algorithm `relevance_ranking`.

use super::passages::Passage;
use super::settings::RelevanceRanking;

/// What passages are compared with.
#[derive(Debug)]
pub(super) struct Task<'a> {
    type_words: Vec<&'a str>,
    title_words: Vec<String>,
}

impl<'a> Task<'a> {
    /// Returns the task of a content type and the document that was asked for.
    pub(super) fn new(content_type: &'a str, document: &str) -> Self {
        let title = document.lines().find_map(|line| line.strip_prefix("# "));
        // The title begins with the type's name, whose words have a weight of their own.
        let topic = title.and_then(|title| title.split_once(": ")).map_or("", |(_, topic)| topic);
        Self {
            type_words: content_type.split('_').collect(),
            title_words: words(topic).map(str::to_lowercase).collect(),
        }
    }

    /// Sorts the passages, the most relevant first. Equal ones keep their order.
    pub(super) fn sort(&self, passages: &mut [&Passage], by: &RelevanceRanking) {
        passages.sort_by_cached_key(|passage| {
            // Thousandths, the highest first: floats have no total order.
            -((self.score(&passage.text, by) * 1e3).clamp(-1e9, 1e9) as i64)
        });
    }

    fn score(&self, passage: &str, by: &RelevanceRanking) -> f64 {
        let (mut of_type, mut of_title, mut figures) = (0_u64, 0_u64, 0_usize);
        for word in words(passage) {
            // Each word of the task counts once; there are few enough for one bit each.
            mark(&mut of_type, self.type_words.iter().position(|known| word.eq_ignore_ascii_case(known)));
            mark(&mut of_title, self.title_words.iter().position(|known| word.eq_ignore_ascii_case(known)));
            figures += usize::from(word.as_bytes()[0].is_ascii_digit());
        }
        let defines = passage.starts_with(&by.definition_prefix);
        by.type_word_weight * f64::from(of_type.count_ones())
            + by.title_word_weight * f64::from(of_title.count_ones())
            + by.figure_weight * figures.min(by.figures_at_most) as f64
            + by.definition_weight * f64::from(u8::from(defines))
    }
}

fn mark(seen: &mut u64, position: Option<usize>) {
    *seen |= position.filter(|position| *position < 64).map_or(0, |position| 1 << position);
}

/// Returns the words of a text; none is empty.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '.')
        .map(|word| word.trim_matches('.'))
        .filter(|word| !word.is_empty())
}
