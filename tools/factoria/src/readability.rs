//! How hard a text is to read, by counting.
//!
//! The grade is that of Kincaid, Fishburne, Rogers and Chissom, "Derivation of new readability formulas for Navy
//! enlisted personnel", 1975: 0.39 × words a sentence + 11.8 × syllables a word − 15.59. It stands for years at school.

use std::collections::HashSet;

/// What was counted in a text. Headings, and words with digits or dots inside (keys), are not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) words: u64,
    pub(crate) sentences: u64,
    pub(crate) syllables: u64,
    /// Sentences that are questions.
    pub(crate) questions: u64,
    /// Sentences with more words than the maximum that was given.
    pub(crate) long_sentences: u64,
    /// Different words, whatever their case.
    pub(crate) different: u64,
}

impl Reading {
    /// Counts a text; `maximum` is the number of words that a sentence may have.
    pub(crate) fn of(text: &str, maximum: u64) -> Self {
        let mut reading = Self::default();
        let text = text.to_ascii_lowercase();
        let mut different = HashSet::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut words = 0;
            for token in line.split_whitespace() {
                if let Some(word) = word(token) {
                    words += 1;
                    reading.syllables += syllables(word);
                    different.insert(word);
                }
                if token.ends_with(['.', '?', '!']) {
                    reading.sentence(words, maximum, token.ends_with('?'));
                    words = 0;
                }
            }
            // A line without an end mark ends all the same: list items do.
            reading.sentence(words, maximum, false);
        }
        reading.different = different.len() as u64;
        reading
    }

    /// Returns the grade, or none for a text without words.
    pub(crate) fn grade(&self) -> Option<f64> {
        (self.words > 0).then(|| grade(self.words, self.sentences, self.syllables))
    }

    fn sentence(&mut self, words: u64, maximum: u64, question: bool) {
        if words > 0 {
            self.words += words;
            self.sentences += 1;
            self.questions += u64::from(question);
            self.long_sentences += u64::from(words > maximum);
        }
    }
}

/// Returns how many words a text has, headings left out.
pub(crate) fn words(text: &str) -> u64 {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).filter_map(word).count() as u64
}

/// Returns the Flesch-Kincaid grade; `words` and `sentences` must not be 0.
pub(crate) fn grade(words: u64, sentences: u64, syllables: u64) -> f64 {
    0.39 * (words as f64 / sentences as f64) + 11.8 * (syllables as f64 / words as f64) - 15.59
}

/// Returns how many syllables a word should have on average for a text of that grade.
pub(crate) fn syllables_for(grade: f64, words_per_sentence: f64) -> f64 {
    (grade + 15.59 - 0.39 * words_per_sentence) / 11.8
}

/// Returns the word in a token, without the marks around it; none for a number or a key.
fn word(token: &str) -> Option<&str> {
    let word = token.trim_matches(|letter: char| !letter.is_alphanumeric());
    let plain = word
        .chars()
        .all(|letter| letter.is_alphabetic() || letter == '-' || letter == '\'');
    (!word.is_empty() && plain).then_some(word)
}

/// Returns the syllables of a word in lower case: its groups of vowels, without a silent e at the end, and at least
/// one. A rule of thumb for English, as readability programs use it.
pub(crate) fn syllables(word: &str) -> u64 {
    let vowel = |letter: u8| matches!(letter, b'a' | b'e' | b'i' | b'o' | b'u' | b'y');
    let mut groups = 0;
    let mut before = false;
    for letter in word.bytes() {
        groups += u64::from(vowel(letter) && !before);
        before = vowel(letter);
    }
    let silent = word.ends_with('e') && !word.ends_with("le") && groups > 1;
    (groups - u64::from(silent)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_sentences_syllables_and_questions_are_counted() {
        let reading = Reading::of(
            "# A heading that is not read\n> [science.adult.3] The cat sat on the mat.\nWhy?\n",
            5,
        );
        let expected = Reading {
            words: 7,
            sentences: 2,
            syllables: 7,
            questions: 1,
            long_sentences: 1,
            different: 6,
        };
        assert_eq!(reading, expected);
        for (word, count) in [
            ("make", 1),
            ("table", 2),
            ("photosynthesis", 5),
            ("why", 1),
            ("idea", 2),
        ] {
            assert_eq!(syllables(word), count, "{word}");
        }
    }

    #[test]
    fn the_grade_is_that_of_the_published_formula() {
        // 100 words in 5 sentences with 150 syllables: 7.8 + 17.7 - 15.59.
        assert!((grade(100, 5, 150) - 9.91).abs() < 1e-9);
        assert!((syllables_for(9.91, 20.0) - 1.5).abs() < 1e-9);
        assert_eq!(
            Reading::of("# Only a heading\n\n[science.adult.3]", 5).grade(),
            None
        );
    }
}
