//! Conditions: expressions that are true or false.

use minijinja::Value as Jinja;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

use super::references::{self, STATUS};
use super::{ExprError, Scope, bare, evaluate};

/// An expression under `run_if`. If it calls none of `success()`, `failure()`, `always()` and `cancelled()`, it means
/// `success() and (…)`, as in GitHub Actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The expression as written.
    pub text: String,
    /// Whether it calls one of the functions about the needed steps, and so decides on them itself.
    pub asks_status: bool,
}

impl Condition {
    /// Reads a condition; it is an expression, with or without `${{ }}` around it.
    ///
    /// # Errors
    /// An expression that does not parse.
    pub fn read(text: &str) -> Result<Self, ExprError> {
        let used = references::of(bare(text))?;
        Ok(Self {
            text: text.to_owned(),
            asks_status: used.calls.iter().any(|call| STATUS.contains(&call.name.as_str())),
        })
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).map_err(D::Error::custom)
    }
}

/// What `success()`, `failure()` and `cancelled()` return in a condition. `always()` is true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// All needed steps succeeded.
    pub success: bool,
    /// One of them failed.
    pub failure: bool,
    /// The run was cancelled.
    pub cancelled: bool,
}

/// Returns whether a condition or a rule holds; it is an expression, with or without `${{ }}` around it. Without a
/// `status`, the functions about needed steps are unknown.
///
/// # Errors
/// Like [`render`](super::render); also a value other than true or false.
pub fn holds(condition: &str, scope: &Scope, status: Option<Status>) -> Result<bool, ExprError> {
    let expression = bare(condition);
    let value = match status {
        Some(status) => evaluate(expression, &scope.with_status(status))?,
        None => evaluate(expression, scope)?,
    };
    match value {
        Value::Bool(holds) => Ok(holds),
        other => Err(ExprError::Evaluation {
            expression: expression.to_owned(),
            why: not_a_boolean(expression, &other),
        }),
    }
}

/// Returns the fault of a condition with a value that is neither true nor false, and the way out.
fn not_a_boolean(expression: &str, value: &Value) -> String {
    let (found, instead) = match value {
        Value::Null => ("null".to_owned(), format!("{expression} is none")),
        Value::Number(number) => (format!("the number {number}"), format!("{expression} != 0")),
        Value::String(text) => {
            let shown: String = text.chars().take(40).collect();
            (format!("the text {shown:?}"), format!("{expression} == \"true\""))
        }
        Value::Array(_) => ("a list".to_owned(), format!("{expression} | length > 0")),
        Value::Object(_) | Value::Bool(_) => ("a map".to_owned(), format!("{expression} | length > 0")),
    };
    format!("a condition is true or false, and this is {found}; compare it, such as `{instead}`")
}

impl Scope {
    fn with_status(&self, status: Status) -> Self {
        let mut scope = self.clone();
        let Status {
            success,
            failure,
            cancelled,
        } = status;
        let always = true;
        for (name, value) in STATUS.into_iter().zip([success, failure, always, cancelled]) {
            scope.set_function(name, Jinja::from_function(move || value));
        }
        scope
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SUCCESS: Status = Status {
        success: true,
        failure: false,
        cancelled: false,
    };

    #[test]
    fn a_condition_is_true_or_false_and_any_other_value_is_an_error() {
        let scope = Scope::of(&json!({"backup": {"rate": 0.96}, "ok": true, "text": "false", "none": null}));
        for (condition, expect) in [
            ("backup.rate >= 0.95 and ok", true),
            ("${{ backup.rate > 0.99 }}", false),
            ("success()", true),
            ("failure() or cancelled()", false),
            ("always()", true),
        ] {
            assert_eq!(holds(condition, &scope, Some(SUCCESS)), Ok(expect), "{condition}");
        }
        for (condition, why) in [
            (
                "text",
                "the text \"false\"; compare it, such as `text == \"true\"`",
            ),
            ("${{ backup.rate }}", "the number 0.96; compare it"),
            ("backup", "a map"),
            ("none", "null"),
        ] {
            let error = holds(condition, &scope, Some(SUCCESS)).unwrap_err().to_string();
            assert!(error.contains(why), "{condition}: {error}");
        }
    }

    #[test]
    fn a_condition_knows_whether_it_decides_on_the_needed_steps_itself() {
        for (text, expect) in [
            ("params.x == true", false),
            ("failure() and params.x", true),
            ("${{ always() }}", true),
            ("params.success == 'always()'", false),
        ] {
            assert_eq!(Condition::read(text).unwrap().asks_status, expect, "{text}");
        }
    }
}
