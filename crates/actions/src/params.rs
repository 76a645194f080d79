//! The parameters in a step's `with:`. They are checked when the workflow is read, and read when the step runs.
//!
//! A text with `${{` has no value before the run. The check accepts it as any kind; [`read`] judges it after the
//! engine has rendered it.

use rekindle_model::failure::Failure;
use rekindle_model::shown;
use rekindle_plan::{Problem, expr, list_form};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The code of a parameter whose rendered value does not fit.
pub(crate) const BAD_PARAMETER: &str = "bad_parameter";

/// One parameter of an action.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
}

/// What a parameter holds.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of names, or the word `all`.
    Names,
    /// A non-empty list of texts: a program and its arguments.
    Words,
    /// As [`Kind::Words`]; or a text for a shell, if `shell: true` is beside it.
    Run,
    /// Yes or no.
    Flag,
    /// A length of time such as `90s`.
    Period,
    /// A share such as `10%` or `0.1`, above 0 and at most 1.
    Share,
    /// Texts by name.
    Texts,
    /// Environment variables: texts by name.
    Env,
    /// Secrets by name; `secrets` checks them.
    Secrets,
    /// The status of an HTTP answer.
    Status,
    /// Anything.
    Any,
}

impl Field {
    pub(crate) const fn optional(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            required: false,
        }
    }

    pub(crate) const fn required(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            required: true,
        }
    }
}

/// Returns every fault of `with` that can be known before the run.
pub(crate) fn check(with: &Value, fields: &[Field]) -> Vec<Problem> {
    let empty = serde_json::Map::new();
    let given = match with {
        Value::Null => &empty,
        Value::Object(given) => given,
        other => {
            return vec![problem(
                &[],
                format!("expected parameters by name, found {}", name_of(other)),
                None,
            )];
        }
    };
    let mut problems = Vec::new();
    for (name, value) in given {
        match fields.iter().find(|field| field.name == name) {
            Some(field) => {
                let fault = field.kind.fault(value);
                problems.extend(fault.map(|fault| problem(&[name], fault, field.kind.help(value))));
            }
            None => problems.push(unknown(name, fields)),
        }
    }
    for field in fields
        .iter()
        .filter(|field| field.required && !given.contains_key(field.name))
    {
        problems.push(problem(
            &[],
            format!("parameter {:?} is missing", field.name),
            Some(field.kind.example()),
        ));
    }
    problems
}

/// Reads the rendered parameters of a step.
pub(crate) fn read<P: DeserializeOwned>(with: &Value) -> Result<P, Failure> {
    let with = if with.is_null() {
        Value::Object(serde_json::Map::new())
    } else {
        with.clone()
    };
    serde_json::from_value(with).map_err(|error| {
        Failure::permanent(
            BAD_PARAMETER,
            format!("the step's parameters do not fit: {error}"),
        )
    })
}

fn unknown(name: &str, fields: &[Field]) -> Problem {
    let nearest = fields
        .iter()
        .map(|field| (strsim::damerau_levenshtein(name, field.name), field.name))
        .min()
        .filter(|(distance, nearest)| *distance <= 2.max(nearest.len() / 3));
    let help = match nearest {
        Some((_, nearest)) => format!("did you mean {nearest:?}?"),
        None if fields.is_empty() => "this action takes no parameters".to_owned(),
        None => {
            let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
            format!("expected one of {}", known.join(", "))
        }
    };
    problem(&[name], format!("unknown parameter {name:?}"), Some(help))
}

fn problem(at: &[&str], message: String, help: Option<String>) -> Problem {
    Problem {
        at: at.iter().map(|part| (*part).to_owned()).collect(),
        message,
        help,
    }
}

impl Kind {
    /// Returns the fault of the value, as "expected …, found …".
    fn fault(self, value: &Value) -> Option<String> {
        let fits = match (self, value) {
            (_, Value::String(text)) if expr::is_whole(text) => true,
            (Self::Word(_) | Self::Period | Self::Share, Value::String(text)) if text.contains("${{") => true,
            (Self::Text, Value::String(_)) => true,
            (Self::Flag, Value::Bool(_)) => true,
            (Self::Word(words), Value::String(word)) => words.contains(&word.as_str()),
            (Self::Names, Value::String(word)) => word == "all",
            (Self::Names, Value::Array(names)) => names.iter().all(Value::is_string),
            (Self::Run, Value::String(_)) => true,
            (Self::Words | Self::Run, Value::Array(words)) => {
                !words.is_empty() && words.iter().all(|word| word.is_string() || word.is_number())
            }
            (Self::Period, Value::String(text)) => humantime::parse_duration(text).is_ok(),
            (Self::Share, value) => serde_json::from_value::<Share>(value.clone()).is_ok(),
            (Self::Any | Self::Secrets, _) => true,
            (Self::Status, Value::Number(status)) => {
                status.as_u64().is_some_and(|status| (100..600).contains(&status))
            }
            (Self::Texts, Value::Object(texts)) => texts.values().all(is_text),
            (Self::Env, Value::Object(texts)) => {
                let faults = texts.iter().filter_map(|(name, value)| {
                    check_variable(name, value.as_str().unwrap_or_default()).err()
                });
                if let Some(fault) = faults.into_iter().next() {
                    return Some(fault);
                }
                texts.values().all(is_text)
            }
            _ => false,
        };
        (!fits).then(|| format!("expected {}, found {}", self.example(), self.found(value)))
    }

    /// Returns the name of the value's type. For a list, returns the type of the item that does not fit.
    fn found(self, value: &Value) -> String {
        let (Self::Words | Self::Run | Self::Names, Value::Array(items)) = (self, value) else {
            return name_of(value);
        };
        match items.iter().find(|item| !(item.is_string() || item.is_number())) {
            None if items.is_empty() => "an empty one".to_owned(),
            None => "one with a number in it; write it in quotes".to_owned(),
            Some(odd @ Value::Bool(_)) => format!("one with {odd} in it; write it in quotes"),
            Some(odd) => format!("one with {} in it", name_of(odd)),
        }
    }

    /// Returns how to write the value instead.
    fn help(self, value: &Value) -> Option<String> {
        match (self, value) {
            (Self::Words, Value::String(text)) => Some(list_form(text)),
            _ => None,
        }
    }

    fn example(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Flag => "true or false".to_owned(),
            Self::Names => "a list of names, or all".to_owned(),
            Self::Words | Self::Run => "a list with a program and its arguments".to_owned(),
            Self::Period => "a length of time such as \"90s\" or \"15m\"".to_owned(),
            Self::Share => "a share such as \"10%\" or 0.1".to_owned(),
            Self::Texts => "texts by name".to_owned(),
            Self::Secrets => "secrets by name".to_owned(),
            Self::Env => "variables by name".to_owned(),
            Self::Status => "a status such as 200 or 404".to_owned(),
            Self::Any => "anything".to_owned(),
        }
    }
}

fn is_text(value: &Value) -> bool {
    value.is_string() || value.is_number() || value.is_boolean()
}

/// Refuses an environment variable that no program can get.
pub(crate) fn check_variable(name: &str, value: &str) -> Result<(), String> {
    let shown = shown::line(name);
    match name {
        "" => Err("a variable needs a name".to_owned()),
        name if name.contains(['=', '\0']) => Err(format!(
            "`{shown}` cannot be a variable's name: it has `=` or a NUL byte in it"
        )),
        _ if value.contains('\0') => Err(format!(
            "the value of `{shown}` holds a NUL byte, which no program can get"
        )),
        _ => Ok(()),
    }
}

fn name_of(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
        scalar => scalar.to_string(),
    }
}

/// A list of names, or all names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Names {
    #[default]
    All,
    These(Vec<String>),
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Ok(Self::All),
            Value::String(word) if word == "all" => Ok(Self::All),
            list @ Value::Array(_) => serde_json::from_value(list)
                .map(Self::These)
                .map_err(serde::de::Error::custom),
            other => Err(serde::de::Error::custom(format!(
                "expected {}, found {other}",
                Kind::Names.example()
            ))),
        }
    }
}

/// A share of something, above 0 and at most 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share(pub(crate) f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let share = match &value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => match text.trim().strip_suffix('%') {
                Some(percent) => percent.trim().parse::<f64>().ok().map(|percent| percent / 100.0),
                None => text.trim().parse().ok(),
            },
            _ => None,
        };
        match share {
            Some(share) if share > 0.0 && share <= 1.0 => Ok(Self(share)),
            _ => Err(serde::de::Error::custom(format!(
                "expected {}, found {value}",
                Kind::Share.example()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELDS: &[Field] = &[
        Field::optional("component", Kind::Text),
        Field::optional("level", Kind::Word(&["exists", "read"])),
        Field::optional("sample", Kind::Share),
        Field::required("run", Kind::Words),
    ];

    #[test]
    fn a_misspelt_parameter_is_answered_with_the_one_that_was_meant() {
        let problems = check(&json!({"run": ["true"], "componet": "a"}), FIELDS);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].at, ["componet"]);
        assert_eq!(problems[0].help.as_deref(), Some("did you mean \"component\"?"));
    }

    #[test]
    fn of_a_list_that_does_not_fit_it_is_said_what_in_it_does_not() {
        for (run, expect) in [
            (json!([true]), "found one with true in it; write it in quotes"),
            (json!([]), "found an empty one"),
            (json!(["sh", ["-c"]]), "found one with a list in it"),
            (json!("sh"), "found \"sh\""),
        ] {
            let problems = check(&json!({ "run": run }), FIELDS);
            let said = format!("expected a list with a program and its arguments, {expect}");
            assert_eq!(problems[0].message, said);
        }
    }

    #[test]
    fn all_faults_are_found_at_once_and_a_missing_parameter_is_one() {
        let problems = check(&json!({"level": "deep", "sample": "0%", "zzzzzzzz": 1}), FIELDS);
        let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "expected one of exists, read, found \"deep\"",
                "expected a share such as \"10%\" or 0.1, found \"0%\"",
                "unknown parameter \"zzzzzzzz\"",
                "parameter \"run\" is missing",
            ]
        );
    }

    #[test]
    fn an_expression_is_not_judged_before_the_run() {
        let with = json!({"run": "${{ params.run }}", "level": "${{ params.level }}", "sample": "${{ 1 }}"});
        assert!(check(&with, FIELDS).is_empty());
    }

    #[test]
    fn shares_are_read_as_percent_and_as_fractions() {
        for (text, share) in [(json!("10%"), 0.1), (json!(0.5), 0.5), (json!("1"), 1.0)] {
            assert_eq!(serde_json::from_value::<Share>(text).unwrap(), Share(share));
        }
        for bad in [json!(0), json!("120%"), json!(null), json!("half")] {
            assert!(serde_json::from_value::<Share>(bad.clone()).is_err(), "{bad}");
        }
    }
}
