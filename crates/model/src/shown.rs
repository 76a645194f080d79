//! Text that a terminal shows as it is: names and messages come from data, from tiers and from programs, and may hold
//! escape codes, line feeds and characters that reorder a line.

use std::borrow::Cow;

/// Returns text for one line: no character of it moves the cursor, begins a line, or changes how other text looks.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\t' || !acts(c))
}

/// Returns text of several lines: as [`line`], but its line feeds stay.
pub fn block(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\t' || c == '\n' || !acts(c))
}

/// Returns whether a terminal acts on a character instead of showing it: control characters, line separators, and the
/// marks that change the direction of a text.
pub(crate) fn acts(c: char) -> bool {
    let reorders = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    c.is_control() || reorders
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&stays) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if stays(c) => shown.push(c),
            c => shown.extend(c.escape_default()),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_act_on_a_terminal() {
        for (text, shown) in [
            ("plain – text/ö.md", "plain – text/ö.md"),
            ("a\nrecovery-ready", "a\\nrecovery-ready"),
            ("\u{1b}[2J\u{1b}]0;x\u{7}", "\\u{1b}[2J\\u{1b}]0;x\\u{7}"),
            ("50 %\r100 %", "50 %\\r100 %"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{202e}fdp.exe", "a\\u{202e}fdp.exe"),
            ("tab\tstays", "tab\tstays"),
        ] {
            assert_eq!(line(text), shown);
        }
        assert_eq!(block("one\ntwo\u{8}"), "one\ntwo\\u{8}");
        let once = line("\u{1b}[1m\n").into_owned();
        assert_eq!(line(&once), once);
    }
}
