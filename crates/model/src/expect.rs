//! A target such as `<= 100` or `== true`, and whether a measured value meets it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A comparison with one number; `true` and `false` count as 1 and 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expect {
    /// How to compare.
    pub comparison: Comparison,
    /// What to compare with.
    pub value: f64,
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

impl Expect {
    /// Returns whether `measured` meets the target. NaN meets none.
    pub fn is_met_by(&self, measured: f64) -> bool {
        match self.comparison {
            Comparison::Less => measured < self.value,
            Comparison::LessOrEqual => measured <= self.value,
            Comparison::Equal => measured == self.value,
            Comparison::NotEqual => measured != self.value && !measured.is_nan(),
            Comparison::GreaterOrEqual => measured >= self.value,
            Comparison::Greater => measured > self.value,
        }
    }
}

/// A text is not a comparison with a number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a comparison such as \"<= 100\", \">= 0.95\" or \"== true\", found {0:?}")]
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
        let value = match rest.trim() {
            "true" => 1.0,
            "false" => 0.0,
            number => number.parse().map_err(|_| BadExpect(text.to_owned()))?,
        };
        Ok(Self { comparison, value })
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
        write!(f, "{sign} {}", self.value)
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
                text.parse::<Expect>().unwrap().is_met_by(measured),
                met,
                "{measured} {text}"
            );
        }
        assert!("about 5".parse::<Expect>().is_err());
    }
}
