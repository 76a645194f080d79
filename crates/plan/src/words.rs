//! Command lines that a person wrote as one text where a list of words is needed.

use std::fmt::Write as _;

use crate::yaml::plain;

/// What makes a command line a matter of a shell, outside of quotes.
const SHELL: [char; 12] = ['|', '&', ';', '<', '>', '$', '`', '*', '?', '(', ')', '\n'];

/// Returns how to write a command line instead: as a list, or for a shell.
pub fn list_form(text: &str) -> String {
    match split(text) {
        Some(words) if !words.is_empty() => format!("write a list: [{}]", words.join(", ")),
        _ => {
            "write a list: [PROGRAM, ARGUMENT, …]; or add `shell: true`, and `sh -e` runs the text".to_owned()
        }
    }
}

/// Splits a command line into words as a shell would, each as YAML writes it in a list; none if it needs a shell.
fn split(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut begun) = (Vec::new(), String::new(), false);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '$' if rest.as_str().starts_with("{{") => {
                let end = rest.as_str().find("}}")? + 2;
                let _ = write!(word, "${}", &rest.as_str()[..end]);
                rest = rest.as_str()[end..].chars();
                begun = true;
            }
            '\'' | '"' => {
                let end = rest.as_str().find(c)?;
                word.push_str(&rest.as_str()[..end]);
                rest = rest.as_str()[end + 1..].chars();
                begun = true;
            }
            c if SHELL.contains(&c) || c == '\\' => return None,
            c if c.is_whitespace() => {
                if std::mem::take(&mut begun) {
                    words.push(in_yaml(&std::mem::take(&mut word)));
                }
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(in_yaml(&word));
    }
    Some(words)
}

fn in_yaml(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./=+@%-".contains(c);
    let stays_text = plain(word).is_string() && word != "-" && word.chars().all(is_plain);
    match stays_text && !word.starts_with(['@', '%']) {
        true => word.to_owned(),
        false => serde_json::Value::from(word).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_shown_as_the_list_that_it_means() {
        for (text, list) in [
            ("dpkg --get-selections", "[dpkg, --get-selections]"),
            (
                "echo ${{ params.a b }}x 'c d' -",
                r#"[echo, "${{ params.a b }}x", "c d", "-"]"#,
            ),
            ("sleep 5 true a,b", r#"[sleep, "5", "true", "a,b"]"#),
        ] {
            assert_eq!(list_form(text), format!("write a list: {list}"));
        }
        for text in ["a | b", "echo $HOME", "", "echo 'a"] {
            assert!(list_form(text).contains("`shell: true`"), "{text}");
        }
    }
}
