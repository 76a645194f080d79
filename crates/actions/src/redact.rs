//! Removes secrets from everything that is written down: logs, failures' messages, the journal's record of a program.
//!
//! A secret is the value of an environment variable whose name looks like one ([`looks_secret`]), from a step's `env:`
//! or inherited, or of a step's `secrets:`; also the user info of a URL, `scheme://user:password@host`. If a program derives a value from a
//! secret, such as its base64, the redactor does not recognise it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rekindle_model::failure::Failure;
use serde_json::Value;

/// What replaces a secret.
const MARK: &str = "***";
/// A variable whose name contains one of these holds a secret.
const SECRET_NAMES: [&str; 7] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "KEY",
    "CREDENTIAL",
];
/// A shorter secret is removed only where it is a whole word: `a` is a part of most words.
const ALONE_BELOW: usize = 4;
/// A shorter inherited value stays: no person declared it as a secret, and it is probably a switch.
const INHERITED_FROM: usize = 8;

/// Takes secrets out.
#[derive(Clone, Default)]
pub(crate) struct Redactor {
    /// The longest is first, so that a secret which contains another is removed as a whole.
    secrets: Vec<String>,
}

impl Redactor {
    /// Returns a redactor for the secrets in a program's own environment and in ours, which the program inherits.
    pub(crate) fn of(env: &BTreeMap<String, String>) -> Self {
        let inherited = std::env::vars_os().filter_map(|(name, value)| {
            let value = value.into_string().ok()?;
            (looks_secret(&name.to_string_lossy()) && value.len() >= INHERITED_FROM).then_some(value)
        });
        let given = env.iter().filter(|(name, _)| looks_secret(name));
        Self::new(given.map(|(_, value)| value.clone()).chain(inherited))
    }

    /// Returns a redactor that also knows these secrets.
    pub(crate) fn and<'s>(self, values: impl Iterator<Item = &'s String>) -> Self {
        let secrets: Vec<String> = values.cloned().collect();
        match secrets.is_empty() {
            true => self,
            false => Self::new(self.secrets.into_iter().chain(secrets)),
        }
    }

    /// Returns a redactor for these secrets.
    pub(crate) fn with(values: impl IntoIterator<Item = String>) -> Self {
        Self::new(values)
    }

    fn new(values: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<String> = Vec::new();
        for value in values {
            // Also its form in JSON without quotes, and each of its lines, since logs have lines.
            let quoted = Value::from(value.as_str()).to_string();
            secrets.push(quoted[1..quoted.len() - 1].to_owned());
            secrets.extend(value.lines().map(|line| line.trim().to_owned()));
            secrets.push(value);
        }
        secrets.retain(|secret| !secret.trim().is_empty());
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        secrets.dedup();
        Self { secrets }
    }

    /// Returns the text without secrets.
    pub(crate) fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut clean = Cow::Borrowed(text);
        for secret in &self.secrets {
            if clean.contains(secret.as_str()) {
                clean = Cow::Owned(without(&clean, secret));
            }
        }
        match clean.contains("://") && clean.contains('@') {
            true => Cow::Owned(without_user_info(&clean)),
            false => clean,
        }
    }

    /// Returns the value without secrets in its texts, its names and its numbers.
    pub(crate) fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text).into_owned()),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(entries) => Value::Object(
                entries
                    .into_iter()
                    .map(|(name, value)| (self.text(&name).into_owned(), self.value(value)))
                    .collect(),
            ),
            Value::Number(number) if self.secrets.contains(&number.to_string()) => Value::from(MARK),
            other => other,
        }
    }

    /// Returns the failure without secrets in its message and advice. Its code is one of our own words, so it holds no
    /// secret.
    pub(crate) fn failure(&self, mut failure: Failure) -> Failure {
        failure.message = self.text(&failure.message).into_owned();
        failure.hint = failure.hint.map(|hint| self.text(&hint).into_owned());
        for next in &mut failure.next {
            next.text = self.text(&next.text).into_owned();
            for field in next.action.iter_mut().flat_map(BTreeMap::values_mut) {
                *field = self.value(field.take());
            }
        }
        failure
    }

    /// Returns the length of the longest secret, in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.secrets.first().map_or(0, String::len)
    }

    /// Returns where to cut `bytes` near `at` so that no secret is cut in two: at `at`, or after the secret there.
    pub(crate) fn cut(&self, bytes: &[u8], at: usize) -> usize {
        let across = |secret: &String| {
            let secret = secret.as_bytes();
            let from = at.saturating_sub(secret.len() - 1);
            let near = bytes.get(from..bytes.len().min(at + secret.len() - 1))?;
            let start = near.windows(secret.len()).position(|window| window == secret)?;
            Some(from + start + secret.len())
        };
        self.secrets.iter().filter_map(across).fold(at, usize::max)
    }
}

/// Returns whether a variable of this name holds a secret.
pub(crate) fn looks_secret(name: &str) -> bool {
    let name = name.to_uppercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

fn without(text: &str, secret: &str) -> String {
    if secret.len() >= ALONE_BELOW {
        return text.replace(secret, MARK);
    }
    let mut clean = String::with_capacity(text.len());
    let mut done = 0;
    for (start, _) in text.match_indices(secret) {
        let end = start + secret.len();
        let alone = !text[..start].ends_with(char::is_alphanumeric)
            && !text[end..].starts_with(char::is_alphanumeric);
        if alone {
            clean.push_str(&text[done..start]);
            clean.push_str(MARK);
            done = end;
        }
    }
    clean.push_str(&text[done..]);
    clean
}

fn without_user_info(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        clean.push_str(before);
        let authority = after
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>' | '\\'))
            .unwrap_or(after.len());
        rest = match after[..authority].rfind('@') {
            Some(at) => {
                clean.push_str(MARK);
                &after[at..]
            }
            None => after,
        };
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use rekindle_model::next_action::Action;
    use serde_json::json;

    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        Redactor::new(secrets.iter().map(|secret| (*secret).to_owned()))
    }

    #[test]
    fn names_of_secrets_are_known_in_any_case() {
        for name in [
            "PGPASSWORD",
            "db_password",
            "API_KEY",
            "GithubToken",
            "AWS_SECRET_ACCESS_KEY",
        ] {
            assert!(looks_secret(name), "{name}");
        }
        for name in ["PATH", "PGUSER", "LANG"] {
            assert!(!looks_secret(name), "{name}");
        }
    }

    #[test]
    fn secrets_go_wherever_they_stand_and_nothing_else_does() {
        let redactor = redactor(&["hunter2", "hunter2-extended", "ab", "two\nlines here", "qu\"ote"]);
        for (text, clean) in [
            ("it is hunter2!", "it is ***!"),
            ("xhunter2x", "x***x"),
            ("hunter2-extended", "***"),
            (
                "ab is not in about or crab, ab",
                "*** is not in about or crab, ***",
            ),
            ("the second of lines here", "the second of ***"),
            (r#"{"a":"qu\"ote"}"#, r#"{"a":"***"}"#),
            ("nothing", "nothing"),
        ] {
            assert_eq!(redactor.text(text), clean);
        }
    }

    #[test]
    fn user_info_of_urls_goes_without_being_told() {
        let redactor = redactor(&[]);
        for (text, clean) in [
            ("postgres://ann:pa@ss@db:5432/x?y", "postgres://***@db:5432/x?y"),
            (
                "see https://tok@host/a@b and b@c",
                "see https://***@host/a@b and b@c",
            ),
            (
                "\"redis://:pw@h\" https://plain/x@y",
                "\"redis://***@h\" https://plain/x@y",
            ),
        ] {
            assert_eq!(redactor.text(text), clean);
        }
    }

    #[test]
    fn a_value_loses_its_secrets_at_every_depth() {
        let value = json!({"hunter2": [{"a": "x hunter2"}, 12345, 1234]});
        let clean = redactor(&["hunter2", "12345"]).value(value);
        assert_eq!(clean, json!({"***": [{"a": "x ***"}, "***", 1234]}));
    }

    #[test]
    fn a_failure_loses_its_secrets_in_all_that_it_says_and_advises() {
        let rerun = Action::RunWorkflow {
            workflow: "hunter2.yaml".to_owned(),
            params: [("token".to_owned(), Some("hunter2".to_owned()))].into(),
        };
        let failure = Failure::permanent("exit_code", "hunter2 is wrong")
            .with_hint("change hunter2")
            .with_next(rerun, "sends hunter2 again");
        let clean = redactor(&["hunter2"]).failure(failure);
        let shown = serde_json::to_string(&clean).unwrap();
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(clean.advice()[0].text, "sends *** again");
    }

    #[test]
    fn a_cut_never_goes_through_a_secret() {
        let redactor = redactor(&["hunter2", "longer-secret"]);
        let text = b"0123hunter2456longer-secret";
        for (at, cut) in [(4, 4), (5, 11), (10, 11), (11, 11), (14, 14), (15, 27)] {
            assert_eq!(redactor.cut(text, at), cut, "at {at}");
        }
    }
}
