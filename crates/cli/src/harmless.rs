//! Makes text harmless before a person reads it: names, messages and the words of programs may come from an attacker.
//!
//! A terminal acts on no character of the text. A line feed in a name begins no line of its own: in a result it is
//! escaped, in narration the next line is indented.

use std::borrow::Cow;

use rekindle_model::shown;
use serde_json::Value;

/// How a line that continues another one begins. We begin such lines so ourselves.
const CONTINUED: &str = "  ";

/// Returns the text of a result. Strings of its `data` that hold a line feed are shown on one line.
pub(crate) fn result<'a>(text: &'a str, data: &Value) -> Cow<'a, str> {
    let mut several = Vec::new();
    strings_of_several_lines(data, &mut several);
    if several.is_empty() {
        return shown::block(text);
    }
    // A longer string may hold a shorter one.
    several.sort_by_key(|one| std::cmp::Reverse(one.len()));
    let mut text = text.to_owned();
    for one in several {
        text = text.replace(one, &shown::line(one));
    }
    Cow::Owned(shown::block(&text).into_owned())
}

/// Returns a text that begins one line of narration.
pub(crate) fn narration(text: &str) -> Cow<'_, str> {
    let text = shown::block(text);
    if !begins_a_line(&text) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + CONTINUED.len());
    for (n, line) in text.lines().enumerate() {
        if n > 0 {
            shown.push('\n');
            shown.push_str(if line.starts_with(CONTINUED) {
                ""
            } else {
                CONTINUED
            });
        }
        shown.push_str(line);
    }
    Cow::Owned(shown)
}

/// Returns whether a text holds a line, after its first, that is not indented.
fn begins_a_line(text: &str) -> bool {
    let mut later = text.trim_end().split('\n').skip(1);
    later.any(|line| !line.starts_with(CONTINUED))
}

/// Collects the strings in which a line begins that we would not have begun.
fn strings_of_several_lines<'a>(data: &'a Value, found: &mut Vec<&'a str>) {
    match data {
        Value::String(text) if begins_a_line(text) => found.push(text),
        Value::Array(items) => items
            .iter()
            .for_each(|item| strings_of_several_lines(item, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                if name.contains('\n') {
                    found.push(name);
                }
                strings_of_several_lines(value, found);
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_of_the_data_begins_no_line_of_a_result() {
        let name = "pipe\u{1b}[2K\nrecovery set 1: recovery-ready";
        let data = json!({ "noted": [{ "first": [name] }] });
        let text = format!("notes: 1 left out: {name}\n1 of 1 stored\n");
        assert_eq!(
            result(&text, &data),
            "notes: 1 left out: pipe\\u{1b}[2K\\nrecovery set 1: recovery-ready\n1 of 1 stored\n"
        );
        let key = json!({ "a\nb": 1 });
        assert_eq!(result("is a\nb here", &key), "is a\\nb here");
    }

    #[test]
    fn our_own_lines_stay() {
        let data = json!({ "advice": "known:\n  one\n  two", "last": "ends\n" });
        let text = "known:\n  one\n  two\nends\n";
        assert_eq!(result(text, &data), text);
        assert_eq!(narration("known:\n  one\n  two"), "known:\n  one\n  two");
    }

    #[test]
    fn narration_is_one_line_or_indented() {
        assert_eq!(narration("done\nerror: forged\r"), "done\n  error: forged\\r");
    }
}
