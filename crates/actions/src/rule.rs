//! The formulas under `rules:` in a system: evaluated once, and kept with the values that went in.

use rekindle_model::failure::{Failure, code};
use rekindle_model::system::System;
use serde_json::{Value, json};

/// A rule's outcome.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ruled {
    /// Whether it holds; none where a value that decides it was not measured.
    pub(crate) holds: Option<bool>,
    /// The formula with its inputs, for people.
    pub(crate) account: Value,
}

/// Evaluates the rule `name` over `inputs`, or `default` where the system states none.
///
/// An input that is null was not measured. The rule is then tried with all of those as in `best`, which has
/// the same shape: if even so it does not hold it is false, else it is not known.
pub(crate) fn evaluate(
    system: &System,
    name: &str,
    default: &str,
    inputs: &Value,
    best: &Value,
) -> Result<Ruled, Failure> {
    let formula = system.rules.get(name).map_or(default, String::as_str);
    let (tried, unmeasured) = filled(inputs, best);
    let holds = rekindle_plan::expr::holds(formula, &tried).map_err(|error| {
        Failure::permanent(code::EXPRESSION, format!("rule {name} ({formula}): {error}"))
            .with_hint("correct it under `rules:` in the system's file")
    })?;
    let holds = if unmeasured && holds { None } else { Some(holds) };
    let account = json!({
        "name": name,
        "formula": formula,
        "stated_by_system": system.rules.contains_key(name),
        "inputs": inputs,
        "holds": holds,
    });
    Ok(Ruled { holds, account })
}

/// Replaces what was not measured by its best, and says whether there was any.
fn filled(inputs: &Value, best: &Value) -> (Value, bool) {
    match inputs {
        Value::Null => (best.clone(), true),
        Value::Object(fields) => {
            let mut unmeasured = false;
            let filled = fields
                .iter()
                .map(|(name, value)| {
                    let (value, any) = filled(value, &best[name]);
                    unmeasured |= any;
                    (name.clone(), value)
                })
                .collect();
            (Value::Object(filled), unmeasured)
        }
        other => (other.clone(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruled(rate: Value, operational: Value) -> Option<bool> {
        let system = json!({
            "system": "s", "components": {}, "tiers": {},
            "rules": {"r": "integrity.operational and recovery.success_rate >= 0.9"},
        });
        let system: System = serde_json::from_value(system).unwrap();
        let inputs = json!({"recovery": {"success_rate": rate}, "integrity": {"operational": operational}});
        let best = json!({"recovery": {"success_rate": 1.0}, "integrity": {"operational": true}});
        let ruled = evaluate(&system, "r", "false", &inputs, &best).unwrap();
        assert_eq!(ruled.account["inputs"], inputs, "the account shows what was measured, not what was tried");
        ruled.holds
    }

    #[test]
    fn what_was_not_measured_never_makes_a_rule_hold_but_does_not_hide_that_it_fails() {
        assert_eq!(ruled(json!(0.95), json!(true)), Some(true));
        assert_eq!(ruled(json!(0.5), json!(true)), Some(false));
        assert_eq!(ruled(json!(1.0), json!(null)), None);
        assert_eq!(ruled(json!(null), json!(true)), None);
        assert_eq!(ruled(json!(0.5), json!(null)), Some(false));
        assert_eq!(ruled(json!(null), json!(false)), Some(false));
    }
}
