//! Numbers in texts. A whole number that needs more than 64 bits is refused: a float would round it.

use serde_json::Number;

/// Returns whether a text is a whole number, as JSON writes it, that 64 bits do not hold.
pub fn beyond_64_bits(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.starts_with(|c| c != '0');
    is_whole && whole(text).is_none()
}

/// Returns the number in a text. A whole number stays whole.
pub(crate) fn number(text: &str) -> Option<Number> {
    let text = text.strip_prefix('+').unwrap_or(text);
    match whole(text) {
        None if beyond_64_bits(text) => None,
        None => text.parse::<f64>().ok().and_then(Number::from_f64),
        whole => whole,
    }
}

/// Returns the whole number in a text, if 64 bits hold it.
pub(crate) fn whole(text: &str) -> Option<Number> {
    let signed = text.parse::<i64>().map(Number::from);
    signed.or_else(|_| text.parse::<u64>().map(Number::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_never_rounded() {
        for (text, expect) in [
            ("9223372036854775809", Some("9223372036854775809")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("18446744073709551616", None),
            ("-9223372036854775808", Some("-9223372036854775808")),
            ("-9223372036854775809", None),
            ("9007199254740993", Some("9007199254740993")),
            ("1.5", Some("1.5")),
            ("+3", Some("3")),
            ("x", None),
        ] {
            let number = number(text).map(|number| number.to_string());
            assert_eq!(number.as_deref(), expect, "{text}");
        }
    }
}
