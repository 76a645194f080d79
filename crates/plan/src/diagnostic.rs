//! The faults of a file. One pass finds every fault and shows it with its line and a caret.
//!
//! ```text
//! system.yaml:7:5: error: unknown key `priorty`
//!   7 |     priorty: 1
//!     |     ^^^^^^^
//!     = help: did you mean `priority`?
//! ```

use rekindle_model::system::SystemKinds;
use std::fmt;

/// The longest part of a source line that is shown, in characters: two terminal widths.
const SHOWN_CHARS: usize = 160;
/// How many names are compared for all help lines of a file; each comparison costs about a microsecond.
const MAX_COMPARISONS: usize = 50_000;
/// How many known names a help line lists.
const SHOWN_NAMES: usize = 24;

/// A place in a file: line and column from 1, width in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) line: usize,
    pub(crate) col: usize,
    pub(crate) width: usize,
}

impl Span {
    /// The beginning of the file.
    pub(crate) const START: Self = Self {
        line: 1,
        col: 1,
        width: 1,
    };
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and something in it may not hold.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One fault and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file's name, as given to the loader.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub col: usize,
    /// How many characters the caret underlines.
    pub width: usize,
    /// The fault.
    pub message: String,
    /// The visible part of the source line. After a limit, further faults have none.
    pub source: String,
    /// The remedy.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            severity,
            file,
            line,
            col,
            ..
        } = self;
        write!(
            f,
            "{}:{line}:{col}: {severity}: {}",
            printable(file),
            printable(&self.message)
        )?;
        let gutter = line.to_string().len() + 2;
        if !self.source.trim().is_empty() {
            let before = col.saturating_sub(1).saturating_sub(skipped(*col));
            let width = self.width.clamp(1, SHOWN_CHARS.saturating_sub(before).max(1));
            write!(f, "\n{line:>gutter$} | {}", printable(&self.source))?;
            write!(
                f,
                "\n{:>gutter$} | {}{}",
                "",
                " ".repeat(before),
                "^".repeat(width)
            )?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{:>gutter$} = help: {}", "", printable(help))?;
        }
        Ok(())
    }
}

/// Returns how many characters of a line are left out before a fault at `col`. A line may be megabytes long
/// and have many faults, so each keeps only the text around it.
fn skipped(col: usize) -> usize {
    match col > SHOWN_CHARS {
        true => col - SHOWN_CHARS / 2,
        false => 0,
    }
}

/// Replaces control characters, so that a file cannot control the terminal that shows its faults.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// All faults of a file, in the order of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// How many are written out as text; the rest is counted.
    pub const SHOWN: usize = 50;

    /// Returns whether there is an error among them.
    pub fn has_errors(&self) -> bool {
        self.0
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().take(Diagnostics::SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{diagnostic}")?;
        }
        match self.0.len().saturating_sub(Diagnostics::SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

impl std::error::Error for Diagnostics {}

/// A fault of a text, without its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// A fault in an action's parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path to the fault inside `with`: keys, and indices in lists.
    pub at: Vec<String>,
    /// The fault.
    pub message: String,
    /// The remedy.
    pub help: Option<String>,
}

/// A file's name and lines, for the diagnostics about it.
#[derive(Clone, Debug)]
pub(crate) struct SourceText {
    pub(crate) name: String,
    lines: Vec<Line>,
}

/// A line of a file, with marks inside it: without them each of a line's faults would count the characters from the
/// beginning.
#[derive(Clone, Debug)]
struct Line {
    text: String,
    chars: usize,
    /// The byte at which every [`STRIDE`]-th character begins.
    marks: Vec<usize>,
}

/// Characters between two marks: a few times the visible part.
const STRIDE: usize = 512;

impl Line {
    fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            chars: text.chars().count(),
            marks: text.char_indices().step_by(STRIDE).map(|(at, _)| at).collect(),
        }
    }

    /// Returns the visible text around a fault.
    fn around(&self, col: usize) -> String {
        let from = skipped(col);
        let mark = self.marks.get(from / STRIDE).copied();
        let rest = mark.and_then(|at| self.text.get(at..)).unwrap_or_default();
        rest.chars().skip(from % STRIDE).take(SHOWN_CHARS).collect()
    }
}

impl SourceText {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        Self {
            name: name.to_owned(),
            lines: text.lines().map(Line::new).collect(),
        }
    }

    pub(crate) fn diagnostic(
        &self,
        severity: Severity,
        span: Span,
        message: String,
        help: Option<String>,
    ) -> Diagnostic {
        let mut diagnostic = self.without_line(severity, span, message, help);
        self.add_line(&mut diagnostic);
        diagnostic
    }

    /// Returns the place of a text inside a span: its first appearance in the span's first line that has it. `None` if
    /// the span does not have it as it is.
    pub(crate) fn find(&self, span: Span, text: &str) -> Option<Span> {
        /// How many lines of a block of text are searched.
        const LINES: usize = 200;
        (span.line..span.line.saturating_add(LINES)).find_map(|number| {
            let line = &self.line(number)?.text;
            let skipped = match number == span.line {
                true => line.char_indices().nth(span.col.saturating_sub(1))?.0,
                false => 0,
            };
            let at = skipped + line[skipped..].find(text)?;
            Some(Span {
                line: number,
                col: line[..at].chars().count() + 1,
                width: text.chars().count(),
            })
        })
    }

    fn line(&self, number: usize) -> Option<&Line> {
        self.lines.get(number.checked_sub(1)?)
    }

    fn add_line(&self, diagnostic: &mut Diagnostic) {
        let line = self.line(diagnostic.line);
        diagnostic.source = line.map(|line| line.around(diagnostic.col)).unwrap_or_default();
    }

    fn without_line(
        &self,
        severity: Severity,
        span: Span,
        message: String,
        help: Option<String>,
    ) -> Diagnostic {
        let chars = self.line(span.line).map_or(0, |line| line.chars);
        let rest = chars.saturating_sub(span.col.saturating_sub(1)).max(1);
        let width = span.width.clamp(1, rest);
        Diagnostic {
            severity,
            file: self.name.clone(),
            line: span.line,
            col: span.col,
            width,
            message,
            source: String::new(),
            help,
        }
    }
}

/// Collects diagnostics while a file is read.
pub(crate) struct Sink<'s> {
    source: &'s SourceText,
    found: Vec<Diagnostic>,
    /// The sources and tiers that a system may name; a workflow names none.
    pub(crate) kinds: Option<SystemKinds>,
    /// How many more names may be compared in search of the intended one.
    comparisons: usize,
}

impl<'s> Sink<'s> {
    pub(crate) fn new(source: &'s SourceText) -> Self {
        Self {
            source,
            found: Vec::new(),
            kinds: None,
            comparisons: MAX_COMPARISONS,
        }
    }

    /// Returns the sink of a system's file.
    pub(crate) fn of_system(source: &'s SourceText, kinds: SystemKinds) -> Self {
        Self {
            kinds: Some(kinds),
            ..Self::new(source)
        }
    }

    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>, help: Option<String>) {
        self.found.push(
            self.source
                .without_line(Severity::Error, span, message.into(), help),
        );
    }

    pub(crate) fn warn(&mut self, span: Span, message: impl Into<String>, help: Option<String>) {
        self.found.push(
            self.source
                .without_line(Severity::Warning, span, message.into(), help),
        );
    }

    /// Returns whether there is an error on a line or below it.
    pub(crate) fn has_error_from(&self, line: usize) -> bool {
        let mut found = self.found.iter();
        found.any(|one| one.severity == Severity::Error && one.line >= line)
    }

    /// Like [`suggest`], while the budget of comparisons lasts.
    pub(crate) fn suggest<'k>(
        &mut self,
        found: &str,
        known: impl FnOnce() -> Vec<&'k str>,
    ) -> Option<String> {
        if self.comparisons == 0 {
            return None;
        }
        let known = known();
        self.comparisons = self.comparisons.saturating_sub(known.len());
        suggest(found, &known)
    }

    pub(crate) fn finish(mut self) -> Diagnostics {
        self.found.sort_by(|a, b| {
            (a.line, a.col, a.severity, &a.message).cmp(&(b.line, b.col, b.severity, &b.message))
        });
        self.found.dedup();
        for diagnostic in self.found.iter_mut().take(Diagnostics::SHOWN) {
            self.source.add_line(diagnostic);
        }
        Diagnostics(self.found)
    }
}

/// Returns "did you mean `x`?" if a known name is near, else "expected one of `a`, `b`"; nothing if no name is known.
pub fn suggest<S: AsRef<str>>(found: &str, known: &[S]) -> Option<String> {
    match nearest(found, known) {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None => one_of(known),
    }
}

/// Returns the known name that someone may have meant.
pub(crate) fn nearest<'k, S: AsRef<str>>(found: &str, known: &'k [S]) -> Option<&'k str> {
    // Comparing costs the product of both lengths, and a hostile name may be as long as the file.
    if found.len() > 128 {
        return None;
    }
    let near = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(found, name.as_ref()), name.as_ref()))
        .filter(|(distance, name)| {
            let length = name.chars().count();
            *distance < length && *distance <= (length / 3).max(1)
        })
        .min();
    near.map(|(_, name)| name)
}

/// Returns "did you mean `x`?" if a known name is near, and all known names: for names that a user gives on the
/// command line.
pub(crate) fn suggest_from_all<S: AsRef<str>>(found: &str, known: &[S]) -> Option<String> {
    let (near, all) = (suggest(found, known)?, one_of(known)?);
    Some(if near == all { all } else { format!("{near} {all}") })
}

fn one_of<S: AsRef<str>>(known: &[S]) -> Option<String> {
    if known.is_empty() {
        return None;
    }
    let mut list: Vec<String> = known
        .iter()
        .take(SHOWN_NAMES)
        .map(|name| format!("`{}`", name.as_ref()))
        .collect();
    if known.len() > SHOWN_NAMES {
        list.push(format!("… ({} in all)", known.len()));
    }
    Some(format!("expected one of {}", list.join(", ")))
}
