//! The formulas under `rules:` in a system. Each is evaluated once, and kept with its input values.

use rekindle_model::failure::{Failure, code};
use rekindle_model::system::System;
use rekindle_plan::expr::{self, Scope};
use serde_json::{Value, json};

/// A rule's outcome.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ruled {
    /// Whether the rule holds; none if it depends on a value that was not measured.
    pub(crate) holds: Option<bool>,
    /// The formula with its inputs, for people.
    pub(crate) account: Value,
}

/// The worst and the best values of inputs that were not measured. Both have the inputs' shape.
pub(crate) struct Bounds {
    pub(crate) worst: Value,
    pub(crate) best: Value,
}

/// Evaluates the rule `name` over `inputs`. If the system states no such rule, evaluates `default`.
///
/// An input that is null was not measured. So the rule is evaluated twice: with all such inputs at their best, and at
/// their worst. If both results are the same, that is the outcome; else the outcome is unknown.
pub(crate) fn evaluate(
    system: &System,
    name: &str,
    default: &str,
    inputs: &Value,
    bounds: &Bounds,
) -> Result<Ruled, Failure> {
    let formula = system.rules.get(name).map_or(default, String::as_str);
    let tried = |bound: &Value| {
        expr::holds(formula, &Scope::of(&filled(inputs, bound)), None).map_err(|error| {
            Failure::permanent(code::EXPRESSION, format!("rule {name} ({formula}): {error}"))
                .with_hint("correct it under `rules:` in the system's file")
        })
    };
    let (best, worst) = (tried(&bounds.best)?, tried(&bounds.worst)?);
    let holds = (best == worst).then_some(best);
    let account = json!({
        "name": name,
        "formula": formula,
        "stated_by_system": system.rules.contains_key(name),
        "inputs": inputs,
        "holds": holds,
    });
    Ok(Ruled { holds, account })
}

/// Replaces each input that was not measured by its bound.
fn filled(inputs: &Value, bound: &Value) -> Value {
    match inputs {
        Value::Null => bound.clone(),
        Value::Object(fields) => {
            let filled = fields
                .iter()
                .map(|(name, value)| (name.clone(), filled(value, &bound[name])));
            Value::Object(filled.collect())
        }
        other => other.clone(),
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
        let shaped = |rate: Value, operational: Value| json!({"recovery": {"success_rate": rate}, "integrity": {"operational": operational, "skew_ms": null}});
        let bounds = Bounds {
            worst: shaped(json!(0.0), json!(false)),
            best: shaped(json!(1.0), json!(true)),
        };
        let inputs = shaped(rate, operational);
        let ruled = evaluate(&system, "r", "false", &inputs, &bounds).unwrap();
        assert_eq!(
            ruled.account["inputs"], inputs,
            "the account shows what was measured, not what was tried"
        );
        ruled.holds
    }

    #[test]
    fn what_was_not_measured_decides_nothing_and_hides_nothing() {
        assert_eq!(
            ruled(json!(0.95), json!(true)),
            Some(true),
            "what the rule does not ask for is no obstacle"
        );
        assert_eq!(ruled(json!(0.5), json!(true)), Some(false));
        assert_eq!(ruled(json!(1.0), json!(null)), None);
        assert_eq!(ruled(json!(null), json!(true)), None);
        assert_eq!(ruled(json!(0.5), json!(null)), Some(false));
        assert_eq!(ruled(json!(null), json!(false)), Some(false));
    }
}
