//! What the same probe measured before, on the system that a backup was made of.

use std::collections::BTreeMap;

use crate::error::FactoriaError;

/// The measures that were journaled with a backup. It may be empty: then nothing is compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline(BTreeMap<String, f64>);

impl Baseline {
    /// Reads a JSON object of numbers; an empty text is an empty baseline.
    ///
    /// # Errors
    /// [`FactoriaError::Json`] for any other text.
    pub fn parse(text: &str) -> Result<Self, FactoriaError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text)
            .map(Self)
            .map_err(FactoriaError::json("the baseline, an object of numbers"))
    }

    /// Returns a measure of it.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Adds `kept`: 1 if the measure `name` is what the baseline has, else 0. Without it in the baseline nothing is
    /// added, since nothing was compared.
    pub(super) fn same(&self, measures: &mut BTreeMap<String, f64>, name: &str, kept: &str) {
        if let Some(before) = self.get(name) {
            let same = measures.get(name) == Some(&before);
            measures.insert(kept.to_owned(), f64::from(u8::from(same)));
        }
    }

    /// Adds `kept`: the measure `name` as a share of what the baseline has, at most 1.
    pub(super) fn share(&self, measures: &mut BTreeMap<String, f64>, name: &str, kept: &str) {
        if let Some(before) = self.get(name).filter(|before| *before > 0.0) {
            let now = measures.get(name).copied().unwrap_or(0.0);
            measures.insert(kept.to_owned(), (now / before).clamp(0.0, 1.0));
        }
    }
}

impl From<BTreeMap<String, f64>> for Baseline {
    fn from(measures: BTreeMap<String, f64>) -> Self {
        Self(measures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_is_an_object_of_numbers_or_nothing() {
        assert_eq!(Baseline::parse(" ").unwrap(), Baseline::default());
        assert_eq!(Baseline::parse("{\"a\":2}").unwrap().get("a"), Some(2.0));
        for text in ["[]", "{\"a\":\"2\"}", "no JSON"] {
            let message = Baseline::parse(text).unwrap_err().to_string();
            assert!(message.contains("the baseline"), "{message}");
        }
    }

    #[test]
    fn what_the_baseline_lacks_is_not_compared() {
        let baseline = Baseline::parse("{\"a\":2,\"zero\":0}").unwrap();
        let mut measures = BTreeMap::from([("a".to_owned(), 1.0), ("b".to_owned(), 1.0)]);
        baseline.same(&mut measures, "a", "a_same");
        baseline.share(&mut measures, "a", "a_share");
        for name in ["b", "zero"] {
            baseline.same(&mut measures, "b", "b_same");
            baseline.share(&mut measures, name, "b_share");
        }
        assert_eq!((measures["a_same"], measures["a_share"]), (0.0, 0.5));
        assert_eq!(measures.len(), 4);
    }
}
