//! A target such as `<= 100`, `== true` or `>= 0.95 of baseline`, and whether a measured value meets it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A comparison with one number; `true` and `false` count as 1 and 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expect {
    /// How to compare.
    pub comparison: Comparison,
    /// What to compare with; with `of_baseline`, a factor.
    pub value: f64,
    /// Whether the limit is `value` times the baseline: the same number, as it was measured on the living system when
    /// the restored data was captured.
    pub of_baseline: bool,
}

/// How a measured number is compared with its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`, and a bare number.
    Equal,
    /// `!=`
    NotEqual,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

/// The words that make a limit a share of the baseline.
const BASELINE: &str = "baseline";

impl Expect {
    /// Returns whether `measured` meets the target; none if the target is a share of a baseline that is not there. NaN
    /// meets no target.
    pub fn is_met_by(&self, measured: f64, baseline: Option<f64>) -> Option<bool> {
        let limit = match self.of_baseline {
            true => self.value * baseline?,
            false => self.value,
        };
        Some(match self.comparison {
            Comparison::Less => measured < limit,
            Comparison::LessOrEqual => measured <= limit,
            Comparison::Equal => measured == limit,
            Comparison::NotEqual => measured != limit && !measured.is_nan(),
            Comparison::GreaterOrEqual => measured >= limit,
            Comparison::Greater => measured > limit,
        })
    }
}

/// A text is not a comparison with a number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a comparison such as \"<= 100\", \">= 0.95 of baseline\" or \"== true\", found {0:?}")]
pub struct BadExpect(String);

impl FromStr for Expect {
    type Err = BadExpect;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let signs = [
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let (comparison, rest) = signs
            .iter()
            .find_map(|(sign, comparison)| trimmed.strip_prefix(sign).map(|rest| (*comparison, rest)))
            .unwrap_or((Comparison::Equal, trimmed));
        let rest = rest.trim();
        let factor = rest
            .strip_suffix(BASELINE)
            .map(|factor| factor.trim_end().strip_suffix("of").unwrap_or(factor).trim_end());
        let value = match factor.unwrap_or(rest) {
            "true" => 1.0,
            "false" => 0.0,
            "" if rest == BASELINE => 1.0,
            number => number.parse().map_err(|_| BadExpect(text.to_owned()))?,
        };
        Ok(Self {
            comparison,
            value,
            of_baseline: factor.is_some(),
        })
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.comparison {
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Greater => ">",
        };
        match (self.of_baseline, self.value) {
            (false, value) => write!(f, "{sign} {value}"),
            (true, 1.0) => write!(f, "{sign} {BASELINE}"),
            (true, factor) => write!(f, "{sign} {factor} of {BASELINE}"),
        }
    }
}

impl Serialize for Expect {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Expect {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_compare_as_written() {
        for (text, measured, met) in [
            ("<= 100", 100.0, true),
            ("<= 100", 100.1, false),
            ("== 1.0", 1.0, true),
            (">= 0.95", 0.94, false),
            ("> 2", 2.0, false),
            ("true", 1.0, true),
            ("!= 0", f64::NAN, false),
            (">= 0", f64::NAN, false),
        ] {
            assert_eq!(
                text.parse::<Expect>().unwrap().is_met_by(measured, None),
                Some(met),
                "{measured} {text}"
            );
        }
        for text in ["about 5", "baseline of", ">= 0.95 baselines", ">= of baseline"] {
            assert!(text.parse::<Expect>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_of_the_baseline_is_undecided_without_one() {
        for (text, measured, baseline, met) in [
            (">= 0.95 of baseline", 2.0, Some(2.1), Some(true)),
            (">= 0.95 of baseline", 1.9, Some(2.1), Some(false)),
            ("== baseline", 7.0, Some(7.0), Some(true)),
            ("baseline", 8.0, Some(7.0), Some(false)),
            ("== baseline", 7.0, None, None),
            (">= 0.95 of baseline", 2.0, Some(f64::NAN), Some(false)),
        ] {
            let expect: Expect = text.parse().unwrap();
            assert_eq!(expect.is_met_by(measured, baseline), met, "{measured} {text}");
            assert_eq!(expect.to_string().parse(), Ok(expect));
        }
    }
}
