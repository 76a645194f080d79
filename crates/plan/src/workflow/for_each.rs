//! What a step loops over, as a file says it.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// What a step loops over, before the values are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ForEach {
    /// It is one step.
    #[default]
    Once,
    /// `for_each: component`: the loop of the run with this key.
    Key(String),
    /// `for_each: [component, tier]`: loops of the run, or values. The run knows which.
    Names(Vec<String>),
    /// `for_each: "${{ params.hosts }}"` or `for_each: [80, 443]`: a list of values, perhaps with expressions.
    Values(Value),
    /// `for_each: {host: [a, b], port: "${{ params.ports }}"}`: a step for each combination. [`ALL`] stands for the loop
    /// of the run with that key.
    Matrix(Map<String, Value>),
}

/// In a matrix, the word for all values of a loop of the run.
pub(crate) const ALL: &str = "all";

impl ForEach {
    /// Returns whether the step is one of a loop.
    pub fn is_loop(&self) -> bool {
        *self != Self::Once
    }

    /// Returns whether it loops over values of a key of the run, such as `component`: all of them, or a list of its own.
    pub(crate) fn over(&self, loop_key: &str) -> bool {
        match self {
            Self::Once | Self::Values(_) => false,
            Self::Key(key) => key == loop_key,
            Self::Names(names) => names.iter().any(|name| name == loop_key),
            Self::Matrix(axes) => axes.contains_key(loop_key),
        }
    }
}

impl<'de> Deserialize<'de> for ForEach {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::String(text) if text.contains("${{") => Self::Values(Value::String(text)),
            Value::String(text) => Self::Key(text),
            Value::Object(axes) => Self::Matrix(axes),
            Value::Array(values) => {
                let name = |value: &Value| {
                    value
                        .as_str()
                        .filter(|text| !text.contains("${{"))
                        .map(str::to_owned)
                };
                match values.iter().map(name).collect::<Option<Vec<_>>>() {
                    Some(names) if !names.is_empty() => Self::Names(names),
                    _ => Self::Values(Value::Array(values)),
                }
            }
            _ => Self::Once,
        })
    }
}
