//! `${{ }}` expressions, by minijinja. A string that is one whole expression keeps the type of its value; one
//! among other text becomes text. An unknown name is an error, never empty text.
//!
//! | module | what it holds |
//! |---|---|
//! | `scope` | the values that expressions may name |
//! | `condition` | what `run_if` and rules ask for: true or false |
//! | `references` | the names, filters, tests and functions that an expression uses, for checks before a run |

mod condition;
pub(crate) mod references;
mod scope;

use minijinja::{Environment, UndefinedBehavior};
use serde_json::Value;

pub use condition::{Condition, Status, holds};
pub use scope::Scope;

const OPEN: &str = "${{";
const CLOSE: &str = "}}";
/// Instructions that one expression may take; ours take fewer than a hundred.
const FUEL: u64 = 50_000;

/// An expression cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// An expression is opened and never closed.
    #[error("`${{{{` is never closed in {text:?}; write `${{{{ expression }}}}`")]
    Unclosed {
        /// The whole text.
        text: String,
    },
    /// It is not an expression.
    #[error("`{expression}` is not an expression: {why}")]
    Syntax {
        /// The expression.
        expression: String,
        /// The parser's message.
        why: String,
    },
    /// It failed on the values of the run.
    #[error("`{expression}` cannot be evaluated: {why}")]
    Evaluation {
        /// The expression.
        expression: String,
        /// The reason.
        why: String,
    },
}

impl ExprError {
    /// Returns how to write what someone who knows another language may have meant.
    pub(crate) fn help(&self) -> Option<String> {
        let Self::Syntax { expression, .. } = self else {
            return None;
        };
        let bare = |mark: char| {
            let after = |at: usize| expression[at + mark.len_utf8()..].chars().next();
            let before = |at: usize| expression[..at].chars().next_back();
            expression
                .match_indices(mark)
                .any(|(at, _)| after(at) != Some('=') && !matches!(before(at), Some('=' | '!' | '<' | '>')))
        };
        let words = [
            (expression.contains("&&"), "`&&` is written `and`"),
            (expression.contains("||"), "`||` is written `or`"),
            (expression.contains('?'), "a choice is written `b if a else c`"),
            (bare('!'), "`!` is written `not`"),
            (bare('='), "a comparison is written `==`"),
        ];
        let found = words.into_iter().find(|(meant, _)| *meant);
        found.map(|(_, help)| help.to_owned())
    }
}

/// Returns `with` with every expression in its strings replaced by its value.
///
/// # Errors
/// The first expression that does not parse, names something unknown or fails.
pub fn render(with: &Value, scope: &Scope) -> Result<Value, ExprError> {
    Ok(match with {
        Value::String(text) => render_text(text, scope)?,
        Value::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| render(item, scope))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| Ok((key.clone(), render(value, scope)?)))
                .collect::<Result<_, ExprError>>()?,
        ),
        other => other.clone(),
    })
}

/// Returns the value of a bare expression, such as a rule of `system.yaml`.
///
/// # Errors
/// Like [`render`].
pub fn evaluate(expression: &str, scope: &Scope) -> Result<Value, ExprError> {
    let environment = environment();
    let compiled = environment
        .compile_expression(expression)
        .map_err(|error| syntax(expression, &error))?;
    let failed = |why: String| ExprError::Evaluation {
        expression: expression.to_owned(),
        why,
    };
    let value = compiled
        .eval(scope.values())
        .map_err(|error| failed(error.to_string()))?;
    if value.is_undefined() {
        return Err(failed("it names something that is not there".to_owned()));
    }
    scope::to_json(&value).map_err(failed)
}

/// Returns the first fault in the expressions of a text, without values.
///
/// # Errors
/// An expression that is not closed or does not parse.
pub fn check_text(text: &str) -> Result<(), ExprError> {
    for part in parts(text)? {
        if let Part::Expression(expression) = part {
            check(expression)?;
        }
    }
    Ok(())
}

/// Returns whether a text is one whole expression, so that its value keeps its type.
pub fn is_whole(text: &str) -> bool {
    matches!(parts(text).as_deref(), Ok([Part::Expression(_)]))
}

/// Returns whether a condition or rule parses.
///
/// # Errors
/// What the parser says.
pub fn check(expression: &str) -> Result<(), ExprError> {
    let expression = bare(expression);
    environment()
        .compile_expression(expression)
        .map(drop)
        .map_err(|error| syntax(expression, &error))
}

/// Takes `${{ }}` off a text that is one whole expression.
pub(crate) fn bare(text: &str) -> &str {
    match parts(text.trim()).as_deref() {
        Ok([Part::Expression(expression)]) => expression,
        _ => text.trim(),
    }
}

fn environment<'e>() -> Environment<'e> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    // `debug` would print every value of the run, and `namespace` serves templates only.
    environment.remove_global("debug");
    environment.remove_global("namespace");
    environment
}

fn syntax(expression: &str, error: &minijinja::Error) -> ExprError {
    let why = error.detail().map_or_else(|| error.to_string(), str::to_owned);
    ExprError::Syntax {
        expression: expression.to_owned(),
        why,
    }
}

fn render_text(text: &str, scope: &Scope) -> Result<Value, ExprError> {
    let parts = parts(text)?;
    if let [Part::Expression(expression)] = parts.as_slice() {
        return evaluate(expression, scope);
    }
    let mut rendered = String::with_capacity(text.len());
    for part in parts {
        match part {
            Part::Text(text) => rendered.push_str(text),
            Part::Expression(expression) => match evaluate(expression, scope)? {
                Value::String(text) => rendered.push_str(&text),
                other => rendered.push_str(&other.to_string()),
            },
        }
    }
    Ok(Value::String(rendered))
}

pub(crate) enum Part<'t> {
    Text(&'t str),
    Expression(&'t str),
}

/// Returns the texts and the expressions of a text, in order.
pub(crate) fn parts(text: &str) -> Result<Vec<Part<'_>>, ExprError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(OPEN) {
        if start > 0 {
            parts.push(Part::Text(&rest[..start]));
        }
        let inner = &rest[start + OPEN.len()..];
        let end = closing(inner).ok_or_else(|| ExprError::Unclosed {
            text: text.to_owned(),
        })?;
        parts.push(Part::Expression(inner[..end].trim()));
        rest = &inner[end + CLOSE.len()..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

/// Finds the `}}` that closes an expression: not one inside a string, nor the end of a map in a map.
fn closing(inner: &str) -> Option<usize> {
    let (mut quote, mut escaped, mut depth) = (None, false, 0_usize);
    let bytes = inner.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        match (quote, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') if depth > 0 => depth -= 1,
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_whole_expression_keeps_its_type_and_one_in_text_becomes_text() {
        let scope = Scope::of(
            &json!({"steps": {"locate": {"set": "s1", "n": 3, "tiers": ["hot"]}, "restore": {"a": {"ok": true}}}}),
        );
        let check =
            |text: &str, expect: Value| assert_eq!(render(&json!(text), &scope), Ok(expect), "{text}");
        check("${{ steps.locate.n }}", json!(3));
        check("${{ steps.locate.tiers }}", json!(["hot"]));
        check("${{steps.restore[\"a\"].ok}}", json!(true));
        check(
            "set ${{ steps.locate.set }}, ${{ steps.locate.n + 1 }}",
            json!("set s1, 4"),
        );
        check("${{ '}}' }}", json!("}}"));
        check("${{ {'a': {'b': 1}} }}", json!({"a": {"b": 1}}));
        check(
            "plain {{ untouched }} {% too %}",
            json!("plain {{ untouched }} {% too %}"),
        );
    }

    #[test]
    fn an_unknown_name_is_an_error_and_never_empty_text() {
        let scope = Scope::of(&json!({"params": {}}));
        for text in [
            "${{ parms }}",
            "${{ params.nothing }}",
            "x ${{ params.nothing }}",
            "${{ params.a.b }}",
        ] {
            assert!(
                matches!(render(&json!(text), &scope), Err(ExprError::Evaluation { .. })),
                "{text}"
            );
        }
        assert!(matches!(check_text("${{ a + }}"), Err(ExprError::Syntax { .. })));
        assert!(matches!(check_text("${{ a"), Err(ExprError::Unclosed { .. })));
    }
}
