//! Puts the passages that matter to a task first.
//!
//! The score of a passage is a weighted sum of what it shares with the request: words of the content type's name,
//! words of the requested document's title, figures, and whether it defines a term. The weights are parameters of
//! the algorithm `relevance_ranking`.

use super::passages::Passage;
use super::settings::RelevanceRanking;

/// What passages are compared with.
#[derive(Debug)]
pub(super) struct Task {
    type_words: Vec<String>,
    title_words: Vec<String>,
    /// One bit for each length that these words have: most words of a text are compared no further.
    lengths: u64,
}

/// One bit a word: of a type or title, more words than that do not count.
type Seen = u32;

impl Task {
    /// Returns the task of a content type and the document that was asked for.
    pub(super) fn new(content_type: &str, document: &str) -> Self {
        let title = document.lines().find_map(|line| line.strip_prefix("# "));
        // The title begins with the type's name, whose words have a weight of their own.
        let topic = title
            .and_then(|title| title.split_once(": "))
            .map_or("", |(_, topic)| topic);
        let words = |text: &str| {
            let words = text.split(|letter: char| !letter.is_alphanumeric());
            let words = words.filter(|word| !word.is_empty()).map(str::to_owned);
            words.take(Seen::BITS as usize).collect()
        };
        let type_words: Vec<String> = words(content_type);
        let title_words: Vec<String> = words(topic);
        let all = type_words.iter().chain(&title_words);
        Self {
            lengths: all.fold(0, |lengths, word| lengths | of_length(word.as_bytes())),
            type_words,
            title_words,
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
        let (mut of_type, mut of_title, mut figures): (Seen, Seen, usize) = (0, 0, 0);
        // Every byte is looked at, so this loop is plain: an iterator over words costs twice as much. Bytes of letters
        // beyond ASCII belong to words.
        let bytes = passage.as_bytes();
        let mut start = 0;
        for end in 0..=bytes.len() {
            if bytes
                .get(end)
                .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80)
            {
                continue;
            }
            let word = &bytes[start..end];
            start = end + 1;
            if let Some(first) = word.first() {
                figures += usize::from(first.is_ascii_digit());
                if self.lengths & of_length(word) != 0 {
                    mark(&mut of_type, &self.type_words, word);
                    mark(&mut of_title, &self.title_words, word);
                }
            }
        }
        let defines = passage.starts_with(&by.definition_prefix);
        by.type_word_weight * f64::from(of_type.count_ones())
            + by.title_word_weight * f64::from(of_title.count_ones())
            + by.figure_weight * figures.min(by.figures_at_most) as f64
            + by.definition_weight * f64::from(u8::from(defines))
    }
}

fn of_length(word: &[u8]) -> u64 {
    1 << word.len().min(63)
}

fn mark(seen: &mut Seen, known: &[String], word: &[u8]) {
    for (number, known) in known.iter().enumerate() {
        if known.len() == word.len() && known.as_bytes().eq_ignore_ascii_case(word) {
            *seen |= 1 << number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking() -> RelevanceRanking {
        RelevanceRanking {
            type_word_weight: 1.0,
            title_word_weight: 0.5,
            figure_weight: 1.0,
            figures_at_most: 2,
            definition_weight: 4.0,
            definition_prefix: "Definition.".to_owned(),
        }
    }

    #[test]
    fn a_score_is_the_weighted_sum_of_what_a_passage_shares_with_the_task() {
        let task = Task::new("study_guide", "\n# study guide: Tundra lichens\n\nText");
        for (passage, score) in [
            ("", 0.0),
            ("Nothing of it, not even guided.", 0.0),
            ("A Study guide is a guide.", 2.0),
            ("Lichens of the tundra", 1.0),
            ("41.7 and 12 and 9", 2.0),
            ("Definition. Überlichens", 4.0),
            ("Definition. The study of 3 lichens", 6.5),
        ] {
            assert_eq!(task.score(passage, &ranking()), score, "{passage:?}");
        }
    }
}
