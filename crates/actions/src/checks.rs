//! Judges measured numbers: met, missed, or no data. Pure.

use std::collections::BTreeMap;

use rekindle_model::expect::Expect;
use rekindle_model::system::Probe;
use serde::Serialize;
use serde_json::Value;

/// The numbers that a probe has measured, by name.
pub(crate) type Numbers = BTreeMap<String, f64>;

/// One expectation, and what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Check {
    /// The probe's name.
    pub(crate) probe: String,
    /// The number's name.
    pub(crate) measure: String,
    /// What it must be.
    pub(crate) expect: Expect,
    /// The measured number; none is *no data*.
    pub(crate) actual: Option<f64>,
    /// The baseline, if the expectation is a share of it; none is *no data*.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) baseline: Option<f64>,
    /// Whether the number meets the expectation; none without data.
    pub(crate) ok: Option<bool>,
}

impl Check {
    /// Says what was expected and what was found, for people.
    pub(crate) fn sentence(&self) -> String {
        let number = format!("{}.{}", self.probe, self.measure);
        match (self.actual, self.baseline) {
            (None, _) => format!("{number} was not measured"),
            (Some(actual), Some(baseline)) => {
                format!("{number} is {actual}, expected {} {baseline}", self.expect)
            }
            (Some(actual), None) if self.expect.of_baseline => {
                format!("{number} is {actual}, and there is no baseline to compare it with")
            }
            (Some(actual), None) => format!("{number} is {actual}, expected {}", self.expect),
        }
    }
}

/// Returns the probe's name: its own, or its kind.
pub(crate) fn name(probe: &Probe) -> &str {
    probe.name.as_deref().unwrap_or(&probe.probe)
}

/// Judges each expectation of a probe. `baseline` has the numbers of the living system, as its capture measured them.
pub(crate) fn judge(probe: &Probe, numbers: &Numbers, baseline: &Numbers) -> Vec<Check> {
    let check = |(measure, expect): (&String, &Expect)| {
        let actual = numbers.get(measure).copied().filter(|number| number.is_finite());
        let baseline = baseline.get(measure).copied().filter(|_| expect.of_baseline);
        Check {
            probe: name(probe).to_owned(),
            measure: measure.clone(),
            expect: *expect,
            actual,
            baseline,
            ok: actual.and_then(|actual| expect.is_met_by(actual, baseline)),
        }
    };
    probe.expect.iter().map(check).collect()
}

/// Returns the expectations of a probe that failed: none of them is met.
pub(crate) fn failed(probe: &Probe) -> Vec<Check> {
    let mut checks = judge(probe, &Numbers::new(), &Numbers::new());
    checks.iter_mut().for_each(|check| check.ok = Some(false));
    checks
}

/// Judges a probe on the living system, at its capture: nothing is a share of a baseline yet.
pub(crate) fn judge_living(probe: &Probe, numbers: &Numbers) -> Vec<Check> {
    let mut checks = judge(probe, numbers, &Numbers::new());
    checks.retain(|check| !check.expect.of_baseline);
    checks
}

/// Returns whether all checks are met. If one is missed, returns false. If one lacks data, or there is no check,
/// returns none.
pub(crate) fn verdict(checks: &[Check]) -> Option<bool> {
    if checks.iter().any(|check| check.ok == Some(false)) {
        return Some(false);
    }
    (!checks.is_empty() && checks.iter().all(|check| check.ok == Some(true))).then_some(true)
}

/// Returns the missed checks as one line.
pub(crate) fn missed(checks: &[Check]) -> String {
    let missed: Vec<String> = checks
        .iter()
        .filter(|check| check.ok == Some(false))
        .map(Check::sentence)
        .collect();
    missed.join("; ")
}

/// Returns the numbers that a probe printed. `true` and `false` count as 1 and 0; texts are no numbers.
pub(crate) fn numbers(stdout: &str) -> Result<Numbers, String> {
    let value: Value = serde_json::from_str(stdout.trim())
        .map_err(|error| format!("it printed no JSON object of numbers: {error}"))?;
    let Value::Object(fields) = value else {
        return Err("it printed JSON, but not one object of numbers".to_owned());
    };
    let named = |(name, value): (String, Value)| number(&value).map(|number| (name, number));
    Ok(fields.into_iter().filter_map(named).collect())
}

/// Returns a JSON value as a number. `true` and `false` count as 1 and 0; texts are no numbers.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        value => value.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(expect: &[(&str, &str)]) -> Probe {
        let expect = expect
            .iter()
            .map(|(name, text)| ((*name).to_owned(), text.parse().unwrap()))
            .collect();
        Probe {
            probe: "command".into(),
            expect,
            ..Probe::default()
        }
    }

    #[test]
    fn a_number_that_was_not_printed_is_no_data_and_never_valid() {
        let printed = numbers(r#"{"a": 1, "b": true, "note": "fine"}"#).unwrap();
        for (expect, valid) in [
            (vec![("a", "== 1"), ("b", "true")], Some(true)),
            (vec![("a", "== 1"), ("c", "> 0")], None),
            (vec![("a", "> 1"), ("c", "> 0")], Some(false)),
            (vec![("note", "== 1")], None),
            (vec![], None),
        ] {
            assert_eq!(
                verdict(&judge(&probe(&expect), &printed, &Numbers::new())),
                valid,
                "{expect:?}"
            );
        }
    }

    #[test]
    fn what_is_missed_is_said_with_both_numbers() {
        let printed = numbers("{\"a\": 1.5}").unwrap();
        let checks = judge(&probe(&[("a", ">= 2")]), &printed, &Numbers::new());
        assert_eq!(missed(&checks), "command.a is 1.5, expected >= 2");
        let baseline = numbers("{\"a\": 2}").unwrap();
        let checks = judge(&probe(&[("a", ">= 0.95 of baseline")]), &printed, &baseline);
        assert_eq!(
            missed(&checks),
            "command.a is 1.5, expected >= 0.95 of baseline 2"
        );
    }

    #[test]
    fn a_share_of_a_baseline_that_is_not_there_is_no_data() {
        let printed = numbers("{\"a\": 1.5}").unwrap();
        let probe = probe(&[("a", ">= 0.95 of baseline")]);
        assert_eq!(verdict(&judge(&probe, &printed, &Numbers::new())), None);
        assert!(judge_living(&probe, &printed).is_empty());
    }

    #[test]
    fn output_that_is_no_object_is_refused() {
        assert!(numbers("ok").is_err());
        assert!(numbers("[1]").is_err());
    }
}
