//! A rule of the system as it was applied: its formula, what it was given, and what came of it.

use serde::Serialize;
use serde_json::Value;

/// A rule as it was applied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AppliedRule {
    /// The formula.
    pub formula: String,
    /// Whether the system states it; else it is the default.
    pub stated_by_system: bool,
    /// The values that it was given, by name; null is *no data*.
    pub inputs: Value,
    /// Whether it holds; none if that depends on a value that was not measured.
    pub holds: Option<bool>,
}

impl AppliedRule {
    /// Returns the rule from a step's account of it.
    pub fn of(account: &Value) -> Option<Self> {
        Some(Self {
            formula: account["formula"].as_str()?.to_owned(),
            stated_by_system: account["stated_by_system"] == true,
            inputs: account["inputs"].clone(),
            holds: account["holds"].as_bool(),
        })
    }

    /// Returns the formula with the values of the names in it.
    pub fn sentence(&self) -> String {
        let mut values = Vec::new();
        flatten(&self.inputs, "", &mut values);
        let said: Vec<String> = values
            .into_iter()
            .filter(|(name, _)| self.names(name))
            .map(|(name, value)| match value {
                Value::Null => format!("{name}: no data"),
                value => format!("{name}: {value}"),
            })
            .collect();
        match said.is_empty() {
            true => self.formula.clone(),
            false => format!("{} ({})", self.formula, said.join(", ")),
        }
    }
}

impl AppliedRule {
    /// Returns whether the formula has this name, and not only a longer one that begins or ends so.
    fn names(&self, name: &str) -> bool {
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        self.formula.match_indices(name).any(|(at, found)| {
            let (before, after) = (&self.formula[..at], &self.formula[at + found.len()..]);
            !before.ends_with(is_part) && !after.starts_with(is_part)
        })
    }
}

fn flatten<'v>(value: &'v Value, name: &str, found: &mut Vec<(String, &'v Value)>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = match name {
                    "" => field.clone(),
                    _ => format!("{name}.{field}"),
                };
                flatten(value, &name, found);
            }
        }
        value => found.push((name.to_owned(), value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_is_told_with_the_values_of_the_names_in_it() {
        let rule = AppliedRule::of(&json!({
            "formula": "backup.success_rate == 1 and integrity.all_verified",
            "stated_by_system": true,
            "inputs": {"backup": {"success_rate": 0.5, "success": 1}, "integrity": {"all_verified": null}},
            "holds": false,
        }))
        .unwrap();
        assert_eq!(
            rule.sentence(),
            "backup.success_rate == 1 and integrity.all_verified (backup.success_rate: 0.5, \
             integrity.all_verified: no data)"
        );
        assert_eq!(AppliedRule::of(&Value::Null), None);
    }
}
