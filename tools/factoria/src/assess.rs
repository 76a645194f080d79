//! Assesses a piece of content. It counts, so the same piece, rules and documents always give the same scores, bit by bit.
//!
//! | dimension | what is counted, each as a share of 1 |
//! |---|---|
//! | `educational_value` | Bloom's levels that the pattern claims and a verb or question of which is used, a question, a fact |
//! | `factual_accuracy` | the standard is on disk, and each fact is quoted word by word under its key |
//! | `age_appropriateness` | the reading grade is within the band's, and no sentence is longer than the band reads |
//! | `structural_quality` | sections of the pattern that are there, in order and with text, and the least length |
//! | `engagement` | two questions, and words that vary |
//!
//! The overall quality is the sum of the scores by their weights. Weights and thresholds come from the document that
//! was restored, so a changed one changes what is measured.

use std::path::Path;

use serde_json::Value;

use crate::curriculum::{Curriculum, Pattern};
use crate::probe::document;
use crate::readability::{self, Reading};

/// The dimensions, in the order in which they are added up.
pub(crate) const DIMENSIONS: [&str; 5] = [
    "educational_value",
    "factual_accuracy",
    "age_appropriateness",
    "structural_quality",
    "engagement",
];
/// What assessments are kept of: the judged dimensions, each with a threshold of its own.
pub(crate) const JUDGED: [&str; 3] = ["overall_quality", "educational_value", "factual_accuracy"];
/// The rules of the system, relative to its root.
const RULES: &str = "quality/config.json";
/// A section with fewer words than this is a heading and no section.
const SECTION_WORDS: u64 = 3;
/// What a grade outside the band costs, for each school year.
const GRADE_COST: f64 = 0.25;
/// Questions that a piece should ask.
const QUESTIONS: f64 = 2.0;
/// Different words over the square root of twice the words (Carroll, Language and Thought, 1964): from this on a text
/// is called varied.
const VARIETY: f64 = 4.0;

/// Weights and thresholds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rules {
    /// By dimension, in the order of [`DIMENSIONS`]; 0 for one that is not in the document.
    weights: [f64; DIMENSIONS.len()],
    /// In the order of [`JUDGED`]; `None` for one that is not in the document.
    pub(crate) thresholds: [Option<f64>; JUDGED.len()],
}

impl Rules {
    /// Reads the rules of the system at `root`. Without them every weight is 0 and nothing passes.
    pub(crate) fn read(root: &Path) -> Self {
        Self::of(&document(&root.join(RULES)).unwrap_or_default())
    }

    /// Returns whether every weight and threshold was there.
    pub(crate) fn are_whole(&self) -> bool {
        self.weights.iter().all(|weight| *weight > 0.0) && self.thresholds.iter().all(Option::is_some)
    }

    /// Takes the rules out of a document with `dimensions` and `thresholds`.
    pub(crate) fn of(document: &Value) -> Self {
        let weight = |name: &str| document["dimensions"][name]["weight"].as_f64();
        Self {
            weights: DIMENSIONS.map(|name| weight(name).unwrap_or(0.0)),
            thresholds: JUDGED.map(|name| document["thresholds"][name].as_f64()),
        }
    }
}

/// What is assessed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) content_type: &'a str,
    /// The age band of the readers.
    pub(crate) audience: &'a str,
    pub(crate) standard: &'a str,
    pub(crate) body: &'a str,
}

/// What an assessment found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Assessment {
    /// By dimension, in the order of [`DIMENSIONS`], 0 to 1.
    pub(crate) scores: [f64; DIMENSIONS.len()],
    /// The weighted sum.
    pub(crate) overall: f64,
    /// What was counted, for people.
    pub(crate) comment: String,
    /// Words of the piece.
    pub(crate) words: u64,
}

impl Assessment {
    /// Returns the scores of what is judged, in the order of [`JUDGED`].
    pub(crate) fn judged(&self) -> [f64; JUDGED.len()] {
        [self.overall, self.scores[0], self.scores[1]]
    }
}

/// Assesses one piece.
pub(crate) fn assess(curriculum: &Curriculum, rules: &Rules, item: &Item<'_>) -> Assessment {
    let band = curriculum.bands.get(item.audience);
    let maximum = band.map_or(0, |band| band.sentence_words_maximum);
    let reading = Reading::of(item.body, maximum);
    let grade = reading.grade().unwrap_or(0.0);
    let [low, high] = band.map_or([0.0; 2], |band| band.reading_grade);
    let facts = Facts::count(curriculum, item.body);
    let mut sections = Share::default();
    let mut levels = Share::default();
    if let Some(pattern) = curriculum.patterns.get(item.content_type) {
        sections = in_order(pattern, item.body);
        sections.add(reading.words >= pattern.minimum_words);
        levels = used(curriculum, pattern, item.body);
    }

    let mut value = levels;
    value.add(reading.questions > 0);
    value.add(facts.0.made > 0);
    let mut accuracy = facts.0;
    accuracy.add(curriculum.standards.contains_key(item.standard));
    // A text that claims nothing is not accurate, it is empty.
    accuracy.made += u64::from(facts.0.made == 0);
    let age = match band {
        Some(_) if reading.sentences > 0 => {
            let outside = (low - grade).max(grade - high).max(0.0);
            let short = 1.0 - reading.long_sentences as f64 / reading.sentences as f64;
            0.5 * (1.0 - GRADE_COST * outside).max(0.0) + 0.5 * short
        }
        _ => 0.0,
    };
    let variety = match reading.words {
        0 => 0.0,
        words => reading.different as f64 / (2.0 * words as f64).sqrt(),
    };
    let asked = (reading.questions as f64 / QUESTIONS).min(1.0);
    let engagement = 0.5 * asked + 0.5 * (variety / VARIETY).min(1.0);

    let scores = [value.value(), accuracy.value(), age, sections.value(), engagement];
    let mut overall = 0.0;
    for (weight, score) in rules.weights.iter().zip(scores) {
        overall += weight * score;
    }
    let comment = format!(
        "{} words; sections {sections}; grade {grade:.1} for {low} to {high}; levels {levels}; facts {}; questions {}",
        reading.words, facts.0, reading.questions,
    );
    Assessment {
        scores,
        overall,
        comment,
        words: reading.words,
    }
}

/// What is right of what was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    right: u64,
    made: u64,
}

impl Share {
    fn add(&mut self, right: bool) {
        self.made += 1;
        self.right += u64::from(right);
    }

    fn value(self) -> f64 {
        match self.made {
            0 => 0.0,
            made => self.right as f64 / made as f64,
        }
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.right, self.made)
    }
}

/// Counts the sections of the pattern that follow each other in the text and say something.
fn in_order(pattern: &Pattern, body: &str) -> Share {
    let mut sections = Share::default();
    let mut rest = body;
    for section in &pattern.sections {
        let heading = format!("\n## {}\n", section.name);
        let found = rest.split_once(heading.as_str());
        let text = found.map_or("", |(_, after)| after.split("\n## ").next().unwrap_or(after));
        sections.add(readability::words(text) >= SECTION_WORDS);
        rest = found.map_or(rest, |(_, after)| after);
    }
    sections
}

/// Counts the levels that the pattern claims and a verb or the stem of a question of which is used.
fn used(curriculum: &Curriculum, pattern: &Pattern, body: &str) -> Share {
    let mut levels = Share::default();
    let text = words(body);
    for level in &pattern.bloom_levels {
        let level = curriculum.levels.get(level);
        let mut signs = level
            .into_iter()
            .flat_map(|level| level.verbs.iter().chain(&level.question_stems));
        levels.add(signs.any(|sign| text.contains(&words(sign))));
    }
    levels
}

/// Returns the words of a text in lower case, with one space around each, so that whole words are found in it.
fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    for word in text.split(|letter: char| !letter.is_alphabetic()) {
        if !word.is_empty() {
            out.push(' ');
            out.push_str(&word.to_ascii_lowercase());
        }
    }
    out.push(' ');
    out
}

/// The facts that a text quotes, as lines `> [key] statement`.
struct Facts(Share);

impl Facts {
    fn count(curriculum: &Curriculum, body: &str) -> Self {
        let mut facts = Share::default();
        for line in body.lines() {
            if let Some((key, text)) = line.strip_prefix("> [").and_then(|line| line.split_once("] ")) {
                facts.add(curriculum.statement(key) == Some(text));
            }
        }
        Self(facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curriculum::{Band, Level, Section};

    fn curriculum() -> Curriculum {
        let section = |name: &str| Section {
            name: name.to_owned(),
            template: String::new(),
        };
        let pattern = Pattern {
            title: String::new(),
            minimum_words: 10,
            bloom_levels: vec!["apply".to_owned()],
            sections: vec![section("one"), section("two")],
        };
        let level = Level {
            verbs: vec!["carry out".to_owned()],
            question_stems: vec!["Solve for".to_owned()],
        };
        let band = Band {
            reading_grade: [-3.0, 5.0],
            sentence_words_maximum: 8,
        };
        let statement = ("science.adult.1".to_owned(), "Water is wet.".to_owned());
        Curriculum {
            patterns: [("faq".to_owned(), pattern)].into(),
            bands: [("adult".to_owned(), band)].into(),
            levels: [("apply".to_owned(), level)].into(),
            standards: [("science.adult".to_owned(), [statement].into())].into(),
            ..Curriculum::default()
        }
    }

    fn scores(body: &str) -> [f64; DIMENSIONS.len()] {
        let item = Item {
            content_type: "faq",
            audience: "adult",
            standard: "science.adult",
            body,
        };
        assess(&curriculum(), &Rules::default(), &item).scores
    }

    const WHOLE: &str = "# Title\n\n## one\nCarry out the plan now. What do we know? Why is it wet?\n\n## two\n\
                         The sea is a big deep pool.\n> [science.adult.1] Water is wet.\n";

    #[test]
    fn each_dimension_falls_with_what_it_counts_and_with_nothing_else() {
        let whole = scores(WHOLE);
        assert_eq!(whole[..4], [1.0; 4], "{whole:?}");
        for (dimension, from, to) in [
            (0, "Carry out", "Bear"),
            (1, "Water is wet.", "Water is dry."),
            (2, "The sea", "Oh the old and so very grand sea"),
            (3, "## two", "## three"),
        ] {
            let changed = scores(&WHOLE.replace(from, to));
            for (index, (changed, whole)) in changed.iter().zip(whole).enumerate().take(4) {
                assert_eq!(
                    *changed < whole,
                    index == dimension,
                    "{from}: {index} {changed} {whole}"
                );
            }
        }
        assert!(scores(&WHOLE.replace('?', "."))[4] < whole[4], "questions engage");
    }

    #[test]
    fn sections_count_in_their_order_and_with_text() {
        let swapped = WHOLE
            .replace("## one", "## x")
            .replace("## two", "## one")
            .replace("## x", "## two");
        assert!(scores(&swapped)[3] < 1.0);
        assert!(
            scores("\n## one\n\n## two\n")[3] == 0.0,
            "headings alone are no sections"
        );
        assert_eq!(scores(""), [0.0, 0.5, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn the_overall_quality_is_the_weighted_sum_and_moves_with_every_weight() {
        let mut document = serde_json::json!({"dimensions": {}, "thresholds": {"overall_quality": 0.7}});
        for name in DIMENSIONS {
            document["dimensions"][name]["weight"] = 0.2.into();
        }
        let item = Item {
            content_type: "faq",
            audience: "adult",
            standard: "science.adult",
            body: WHOLE,
        };
        let overall = |document: &Value| assess(&curriculum(), &Rules::of(document), &item).overall;
        let whole = overall(&document);
        assert!(!Rules::of(&document).are_whole());
        for name in DIMENSIONS {
            let mut changed = document.clone();
            changed["dimensions"][name]["weight"] = 0.21.into();
            assert!(overall(&changed) > whole, "{name}");
        }
    }
}
