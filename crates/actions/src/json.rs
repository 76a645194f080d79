//! Reads the JSON of programs and servers. A whole number that needs more than 64 bits is kept as text: a float would
//! round it, and an identifier that is a little wrong is worse than none.

use std::borrow::Cow;

use serde_json::Value;

/// Reads a JSON text.
pub(crate) fn read(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(&with_long_integers_quoted(text))
}

fn with_long_integers_quoted(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let (mut quoted, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(&byte) = bytes.get(at) {
        let end = match byte {
            b'"' => end_of_string(bytes, at),
            b'-' | b'0'..=b'9' => end_of_number(bytes, at),
            _ => at + 1,
        };
        let is_number = matches!(byte, b'-' | b'0'..=b'9');
        if is_number && rekindle_plan::beyond_64_bits(&text[at..end]) {
            quoted.push_str(&text[copied..at]);
            quoted.push('"');
            quoted.push_str(&text[at..end]);
            quoted.push('"');
            copied = end;
        }
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    quoted.push_str(&text[copied..]);
    Cow::Owned(quoted)
}

fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn end_of_number(bytes: &[u8], start: usize) -> usize {
    let rest = bytes[start..].iter();
    let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    start + rest.take_while(is_part).count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_whole_number_beyond_64_bits_is_kept_as_text_and_every_other_as_a_number() {
        let text = r#"{"n": 18446744073709551616, "most": 18446744073709551615, "low": [-9223372036854775809,
            -9223372036854775808], "in \"18446744073709551616\"": " 18446744073709551616 ", "f": 1.5e3}"#;
        let read = read(text).unwrap();
        assert_eq!(
            read,
            json!({
                "n": "18446744073709551616", "most": u64::MAX, "low": ["-9223372036854775809", i64::MIN],
                "in \"18446744073709551616\"": " 18446744073709551616 ", "f": 1500.0,
            })
        );
        assert_eq!(
            super::read("123456789012345678901").unwrap(),
            "123456789012345678901"
        );
    }

    #[test]
    fn a_text_that_is_no_json_is_none_afterwards() {
        for text in [
            "{",
            "\"a",
            "\"a\\",
            "{\"n\": 018446744073709551616}",
            "é18446744073709551616",
        ] {
            assert!(super::read(text).is_err(), "{text}");
        }
    }
}
