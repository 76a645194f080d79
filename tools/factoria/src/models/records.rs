//! Learners' records: what a learner was given, and how it went. The models learn from them.
//!
//! ```text
//! user,sentence_words,…,last_score,difficulty,engagement,retention,mastery
//! 100017,-0.412,…,0.880,0,1,1,0
//! ```
//! Features are scaled to -1 … 1 and have three decimals, so that the text holds them exactly.

use std::fmt::Write;

use super::{Example, FEATURES, Input, MODELS};
use crate::text::Rng;

/// The most records that are read; those of a generated system are far fewer.
const MOST: usize = 100_000;

/// One learner with one piece of content.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) user: u64,
    pub(crate) input: Input,
    /// What came of it, in the order of [`MODELS`].
    pub(crate) outcomes: [bool; MODELS.len()],
}

/// Draws the records of `users` learners, counted from the first user of the system. How it goes follows a rule that
/// the records do not tell, and chance: what there is to learn.
pub(crate) fn draw(rng: &mut Rng, count: usize, users: u64) -> Vec<Record> {
    let rules: [Input; MODELS.len()] = std::array::from_fn(|_| std::array::from_fn(|_| signed(rng)));
    let one = |rng: &mut Rng| {
        let user = crate::generate::content_db::FIRST_USER + rng.below(users);
        let input: Input = std::array::from_fn(|_| signed(rng));
        let outcomes = std::array::from_fn(|model| {
            let mut sum = 0.3 * signed(rng);
            for (weight, value) in rules[model].iter().zip(input) {
                sum += weight * value;
            }
            sum > 0.0
        });
        Record {
            user,
            input,
            outcomes,
        }
    };
    (0..count).map(|_| one(rng)).collect()
}

/// Returns a number in [-1, 1] with three decimals, and never 0: a weight that meets a 0 would not show.
fn signed(rng: &mut Rng) -> f64 {
    let thousandths = 1.0 + rng.below(1_000) as f64;
    thousandths / if rng.below(2) == 0 { 1e3 } else { -1e3 }
}

/// Returns the records as text.
pub(crate) fn to_csv(records: &[Record]) -> String {
    let mut out = format!("user,{},{}\n", FEATURES.join(","), MODELS.join(","));
    for record in records {
        // Writing to memory does not fail.
        let _ = write!(out, "{}", record.user);
        for value in record.input {
            let _ = write!(out, ",{value:.3}");
        }
        for outcome in record.outcomes {
            let _ = write!(out, ",{}", u8::from(outcome));
        }
        out.push('\n');
    }
    out
}

/// Reads records from text; a line that is none is left out.
pub(crate) fn from_csv(text: &str) -> Vec<Record> {
    let lines = text.lines().skip(1).take(MOST);
    lines.filter_map(record).collect()
}

fn record(line: &str) -> Option<Record> {
    let (user, rest) = line.split_once(',')?;
    let values: Vec<f64> = numbers(rest)?;
    let (input, outcomes) = values.split_at_checked(FEATURES.len())?;
    let outcomes: [f64; MODELS.len()] = outcomes.try_into().ok()?;
    Some(Record {
        user: user.parse().ok()?,
        input: input.try_into().ok()?,
        outcomes: outcomes.map(|outcome| outcome > 0.5),
    })
}

/// Returns the finite numbers between commas; `None` where one is none.
pub(crate) fn numbers(text: &str) -> Option<Vec<f64>> {
    let values = text.split(',').map(|value| value.parse::<f64>().ok());
    values
        .map(|value| value.filter(|value| value.is_finite()))
        .collect()
}

/// Returns what the model with that place among [`MODELS`] learns from.
pub(crate) fn examples(records: &[Record], model: usize) -> Vec<Example> {
    let example = |record: &Record| Example {
        input: record.input,
        outcome: f64::from(u8::from(record.outcomes[model])),
    };
    records.iter().map(example).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_their_text_bit_by_bit() {
        let records = draw(&mut Rng::new(5, "records"), 100, 10);
        let text = to_csv(&records);
        assert_eq!(from_csv(&text), records);
        assert_eq!(
            from_csv(&format!("{text}1,2\nno record\n1,{}\n", "NaN,".repeat(16))),
            records
        );
    }
}
