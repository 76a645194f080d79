//! Colours for people. What a colour says, a mark or a word says as well.

/// The code that ends a colour.
const PLAIN: &str = "\u{1b}[0m";
const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";
const YELLOW: &str = "\u{1b}[33m";
const DIM: &str = "\u{1b}[2m";

/// The marks and words at the beginning of a line, each with its colour.
const MARKS: [(&str, &str); 8] = [
    ("✓", GREEN),
    ("✗", RED),
    ("!", YELLOW),
    ("?", DIM),
    ("OK", GREEN),
    ("WARNING", YELLOW),
    ("CRITICAL", RED),
    ("FAULT", RED),
];

/// Returns a text whose lines begin in the colour of their mark.
///
/// The text is harmless already: no name in it begins a line.
pub(crate) fn paint(text: &str) -> String {
    let mut painted = String::with_capacity(text.len() + 64);
    for (n, line) in text.split('\n').enumerate() {
        if n > 0 {
            painted.push('\n');
        }
        let mark = MARKS.iter().find_map(|(mark, color)| {
            let rest = line.strip_prefix(mark)?;
            (rest.is_empty() || rest.starts_with([' ', ':'])).then_some((*mark, *color, rest))
        });
        match mark {
            Some((mark, color, rest)) => {
                for part in [color, mark, PLAIN, rest] {
                    painted.push_str(part);
                }
            }
            None => painted.push_str(line),
        }
    }
    painted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_at_the_beginning_of_a_line_has_its_colour_and_nothing_else_has() {
        assert_eq!(
            paint("✓ good\nWARNING: look\n  ✗ inside\n!important"),
            "\u{1b}[32m✓\u{1b}[0m good\n\u{1b}[33mWARNING\u{1b}[0m: look\n  ✗ inside\n!important"
        );
    }
}
