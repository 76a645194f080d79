//! Prose of a stated reading grade.

use std::sync::LazyLock;

use crate::curriculum::Band;
use crate::readability::{Reading, syllables, syllables_for};
use crate::text::{Prose, vocabulary};

/// Writes sentences so that the text as a whole comes out at a grade in the middle of an age band.
///
/// It counts what the text has so far. For each word it picks one of as many syllables as the text then lacks. So
/// sentences of templates, which are as long as they are, are made up for.
pub(crate) struct Graded {
    grade: f64,
    shortest: u64,
    spread: u64,
    /// The text so far, headings left out.
    so_far: Reading,
}

impl Graded {
    /// Returns a writer for readers of a band.
    pub(crate) fn new(band: &Band) -> Self {
        let maximum = band.sentence_words_maximum.max(4);
        let [low, high] = band.reading_grade;
        Self {
            grade: f64::midpoint(low, high),
            // Between half of the maximum and the maximum.
            shortest: maximum / 2,
            spread: maximum - maximum / 2 + 1,
            so_far: Reading::default(),
        }
    }

    /// Counts text that something else wrote.
    pub(crate) fn count(&mut self, text: &str) {
        let reading = Reading::of(text, u64::MAX);
        self.so_far.words += reading.words;
        self.so_far.sentences += reading.sentences;
        self.so_far.syllables += reading.syllables;
    }

    /// Appends one sentence.
    pub(crate) fn sentence(&mut self, prose: &mut Prose, out: &mut String) {
        let count = self.shortest + prose.rng().below(self.spread);
        let question = prose.rng().below(12) == 0;
        self.so_far.sentences += 1;
        let words_at_end = (self.so_far.words + count) as f64;
        let wanted = syllables_for(self.grade, words_at_end / self.so_far.sentences as f64);
        for index in 0..count {
            self.so_far.words += 1;
            let lacks = wanted * self.so_far.words as f64 - self.so_far.syllables as f64;
            // Up to one more or less, so that long and short words do not alternate like a clock.
            let wished = lacks + 2.0 * prose.rng().unit() - 1.0;
            let words = &by_syllables()[wished.round().clamp(1.0, 4.0) as usize - 1];
            let word = *prose.rng().pick(words);
            self.so_far.syllables += syllables(word);
            if index == 0 {
                let (first, rest) = word.split_at(1);
                out.push_str(&first.to_ascii_uppercase());
                out.push_str(rest);
            } else {
                out.push(' ');
                out.push_str(word);
            }
        }
        out.push(if question { '?' } else { '.' });
    }

    /// Appends a paragraph of 3 to 6 sentences.
    pub(crate) fn paragraph(&mut self, prose: &mut Prose, out: &mut String) {
        for index in 0..3 + prose.rng().below(4) {
            if index > 0 {
                out.push(' ');
            }
            self.sentence(prose, out);
        }
    }
}

/// The words of the vocabulary with one, two, three, and four or more syllables; each is never empty.
fn by_syllables() -> &'static [Vec<&'static str>; 4] {
    static WORDS: LazyLock<[Vec<&'static str>; 4]> = LazyLock::new(|| {
        let mut words: [Vec<&'static str>; 4] = Default::default();
        let different: std::collections::BTreeSet<&str> = vocabulary().iter().map(String::as_str).collect();
        for word in different {
            let class = syllables(word).clamp(1, 4) - 1;
            words[class as usize].push(word);
        }
        words
    });
    &WORDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_comes_out_at_the_grade_that_was_asked_for() {
        assert!(by_syllables().iter().all(|words| words.len() > 100));
        for (low, high, maximum) in [(0.0, 2.0, 8), (5.0, 8.0, 16), (12.0, 16.0, 28)] {
            let band = Band {
                reading_grade: [low, high],
                sentence_words_maximum: maximum,
            };
            let mut prose = Prose::new(1, "graded");
            let mut graded = Graded::new(&band);
            let mut text = String::new();
            for _ in 0..20 {
                graded.sentence(&mut prose, &mut text);
                text.push(' ');
            }
            let reading = Reading::of(&text, maximum);
            let grade = reading.grade().unwrap();
            assert!(
                (low..=high).contains(&grade),
                "{grade} for {low} to {high}: {text}"
            );
            assert_eq!((reading.sentences, reading.long_sentences), (20, 0));
        }
    }
}
