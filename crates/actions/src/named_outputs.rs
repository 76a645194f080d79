//! The outputs that a program gives by name: it appends them to the file that `REKINDLE_OUTPUT` names.
//!
//! The format is that of GitHub's `GITHUB_OUTPUT`. Empty lines mean nothing. A name that comes again replaces the
//! earlier value.
//!
//! ```text
//! NAME=VALUE            one line
//! NAME<<DELIMITER       several lines, up to a line that is the delimiter
//! …
//! DELIMITER
//! ```

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rekindle_model::failure::Failure;
use rustix::fs::OFlags;
use serde_json::{Map, Value};

use crate::failures;
use crate::process::OUTPUT_BYTES;

/// The variable with the file's path.
pub(crate) const VARIABLE: &str = "REKINDLE_OUTPUT";

/// Reads the file that a program has left.
pub(crate) fn read(path: &Path) -> Result<Map<String, Value>, Failure> {
    let failed = |error: io::Error| failures::io(&path.display().to_string(), &error);
    // The program may have put anything in its place.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
        opened => opened.map_err(failed)?,
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(bad("it is no file any more".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(OUTPUT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > OUTPUT_BYTES {
        let message = format!("it has more than the {OUTPUT_BYTES} bytes that are read");
        return Err(bad(message).with_hint("give long data by `output_file:`, and name only the file"));
    }
    let text = String::from_utf8(bytes).map_err(|error| bad(format!("it is not UTF-8: {error}")))?;
    parse(&text).map_err(bad)
}

fn bad(why: String) -> Failure {
    Failure::permanent("bad_output", format!("the file of {VARIABLE}: {why}"))
        .with_hint("write `NAME=VALUE`, or `NAME<<END`, lines, and `END`")
}

fn parse(text: &str) -> Result<Map<String, Value>, String> {
    let mut outputs = Map::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if line.trim().is_empty() {
            continue;
        }
        let at = at + 1;
        let (name, value) = match (line.find('='), line.find("<<")) {
            (Some(equals), block) if block.is_none_or(|block| equals < block) => {
                (&line[..equals], line[equals + 1..].to_owned())
            }
            (_, Some(block)) => {
                let delimiter = &line[block + 2..];
                if delimiter.is_empty() {
                    return Err(format!("line {at} has no delimiter after `<<`"));
                }
                let mut value = Vec::new();
                loop {
                    match lines.next() {
                        Some((_, line)) if line == delimiter => break,
                        Some((_, line)) => value.push(line),
                        None => return Err(format!("no line `{delimiter}` ends the value of line {at}")),
                    }
                }
                (&line[..block], value.join("\n"))
            }
            _ => return Err(format!("line {at} has neither `=` nor `<<`")),
        };
        if !is_name(name) {
            let name = rekindle_model::shown::line(name);
            return Err(format!(
                "line {at}: `{name}` cannot be a name: use letters, digits, `_` and `-`, at most 100 of them"
            ));
        }
        outputs.insert(name.to_owned(), Value::from(value));
    }
    Ok(outputs)
}

fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (1..=100).contains(&name.len()) && name.chars().all(is_part)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_and_blocks_become_fields_and_the_last_of_a_name_counts() {
        let text = "a=1\n\nb=x=y<<z\nc<<END\none\n\ntwo = 2\nEND\na=2\ne=\nf<<E\nE\n";
        let expect = json!({"a": "2", "b": "x=y<<z", "c": "one\n\ntwo = 2", "e": "", "f": ""});
        assert_eq!(json!(parse(text).unwrap()), expect);
    }

    #[test]
    fn a_fault_names_its_line() {
        for (text, why) in [
            ("a=1\nb", "line 2 has neither `=` nor `<<`"),
            ("a<<E\n1\n", "no line `E` ends the value of line 1"),
            ("a<<\n1\n", "line 1 has no delimiter after `<<`"),
            (
                "=1",
                "line 1: `` cannot be a name: use letters, digits, `_` and `-`, at most 100 of them",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), why);
        }
    }
}
