//! Makes a piece of content: from a pattern, a prompt, Bloom's verbs and the statements of an educational standard.
//!
//! ```text
//! # <title>
//!
//! ## <name of a section>
//! <its template, filled>
//! <paragraphs for the age band>
//! > [science.adult.3] <a statement of the standard, word by word: a fact with its key>
//! ```
//! The generated content database, the running system and `GET /generate` all make their pieces here.

use std::fmt::Write;

use crate::curriculum::{Curriculum, Level, Pattern};
use crate::frameworks::{AGE_BANDS, SUBJECTS, standard_code};
use crate::lacking::Lacking;
use crate::text::Prose;

mod graded;

pub(crate) use graded::Graded;

/// Statements of the standard that a piece quotes.
const FACTS: usize = 3;

/// What to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) content_type: &'a str,
    pub(crate) subject: &'a str,
    /// The age band of the readers.
    pub(crate) audience: &'a str,
    /// About how long, in bytes.
    pub(crate) length: usize,
    /// What the author gets wrong, if anything.
    pub(crate) slip: Option<Slip>,
}

/// What an author gets wrong. People do, and an assessor that never finds anything would prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slip {
    /// The last section is not written.
    SectionLeftOut,
    /// The text suits the next older band.
    TooHard,
    /// A fact is quoted with words of its own.
    Misquoted,
}

impl Slip {
    /// Draws what goes wrong. One piece in three has a slip, each kind as often as the others. The assessor then finds a
    /// mean quality near 0.978, which is what this system once reported.
    fn draw(prose: &mut Prose) -> Option<Self> {
        match prose.rng().below(9) {
            0 => Some(Self::SectionLeftOut),
            1 => Some(Self::TooHard),
            2 => Some(Self::Misquoted),
            _ => None,
        }
    }
}

/// A piece of content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) title: String,
    /// The code of the standard that it follows.
    pub(crate) standard: String,
    /// Markdown.
    pub(crate) body: String,
}

/// Makes a piece. The same documents, wishes and state of `prose` give the same piece.
pub(crate) fn compose(
    curriculum: &Curriculum,
    wanted: &Wanted<'_>,
    prose: &mut Prose,
) -> Result<Piece, Lacking> {
    let lacking = |what: String| Lacking {
        content_type: wanted.content_type.to_owned(),
        what,
    };
    let without = |what: &str| lacking(what.to_owned());
    let pattern = curriculum.patterns.get(wanted.content_type);
    let pattern = pattern.ok_or_else(|| without("its pattern"))?;
    let prompt = curriculum.prompts.get(wanted.content_type);
    let prompt = prompt.ok_or_else(|| without("its prompt"))?;
    let standard = standard_code(wanted.subject, wanted.audience);
    let statements = curriculum.standards.get(&standard);
    let statements = statements.ok_or_else(|| lacking(format!("the standard {standard}")))?;
    let band = curriculum.bands.get(band_of_text(wanted));
    let band = band.ok_or_else(|| lacking(format!("the age band {}", wanted.audience)))?;
    if pattern.sections.is_empty() {
        return Err(without("sections of its pattern"));
    }

    let mut filled = Filled {
        curriculum,
        topic: prose.title_text(),
        audience: wanted.audience.replace('_', " "),
        standard: standard.clone(),
        text: String::new(),
        turn: prose.rng().below_usize(1 << 16),
    };
    // The prompt is what a piece is asked for with; it must resolve too.
    filled.fill(prompt).map_err(lacking)?;
    let title = filled.fill(&pattern.title).map_err(lacking)?;
    // The places of the templates are known before the text that goes between them.
    let mut graded = Graded::new(band);
    for section in &pattern.sections {
        graded.count(
            &filled
                .fill(&section.template.replace("{text}", ""))
                .map_err(lacking)?,
        );
    }
    let facts = facts(statements.iter(), wanted.slip, prose);
    graded.count(&facts);
    while filled.text.len() + facts.len() < wanted.length || filled.text.is_empty() {
        graded.paragraph(prose, &mut filled.text);
        filled.text.push_str("\n\n");
    }
    filled.text.push_str(&facts);
    let mut body = format!("# {title}\n");
    for section in written(pattern, wanted.slip) {
        let text = filled.fill(&section.template).map_err(lacking)?;
        // Writing to memory does not fail.
        let _ = write!(body, "\n## {}\n{}\n", section.name, text.trim_end());
    }
    Ok(Piece {
        title,
        standard,
        body,
    })
}

/// Makes a piece as an author does: readers, subject, length and slips are drawn. The length is 2000 bytes and up to
/// `spread` more.
pub(crate) fn author(
    curriculum: &Curriculum,
    content_type: &'static str,
    spread: usize,
    prose: &mut Prose,
) -> Result<(Wanted<'static>, Piece), Lacking> {
    let wanted = Wanted {
        content_type,
        audience: AGE_BANDS[prose.rng().below_usize(AGE_BANDS.len())],
        subject: SUBJECTS[prose.rng().below_usize(SUBJECTS.len())],
        length: 2_000 + prose.rng().below_usize(spread),
        slip: Slip::draw(prose),
    };
    let piece = compose(curriculum, &wanted, prose)?;
    Ok((wanted, piece))
}

fn band_of_text<'a>(wanted: &Wanted<'a>) -> &'a str {
    if wanted.slip != Some(Slip::TooHard) {
        return wanted.audience;
    }
    let at = AGE_BANDS.iter().position(|band| *band == wanted.audience);
    // Adults read what is written for college.
    let older = at.map(|at| AGE_BANDS.get(at + 1).copied().unwrap_or("college"));
    older.unwrap_or(wanted.audience)
}

fn written(pattern: &Pattern, slip: Option<Slip>) -> &[crate::curriculum::Section] {
    let left_out = usize::from(slip == Some(Slip::SectionLeftOut));
    &pattern.sections[..pattern.sections.len().saturating_sub(left_out)]
}

/// Returns lines that quote statements with their keys, from a drawn one on.
fn facts<'a>(
    statements: impl ExactSizeIterator<Item = (&'a String, &'a String)> + Clone,
    slip: Option<Slip>,
    prose: &mut Prose,
) -> String {
    let count = statements.len();
    let first = prose.rng().below_usize(count);
    let mut out = String::new();
    for (index, (id, text)) in statements.cycle().skip(first).take(FACTS.min(count)).enumerate() {
        let text = match slip {
            Some(Slip::Misquoted) if index == 0 => text.rsplit_once(' ').map_or("", |(most, _)| most),
            _ => text.as_str(),
        };
        // Writing to memory does not fail.
        let _ = writeln!(out, "> [{id}] {text}");
    }
    out
}

/// Fills the places of templates.
struct Filled<'a> {
    curriculum: &'a Curriculum,
    topic: String,
    audience: String,
    standard: String,
    text: String,
    /// Which verb and stem of each level.
    turn: usize,
}

impl Filled<'_> {
    /// Fills `{topic}`, `{audience}`, `{standard}`, `{text}`, `{verb:LEVEL}`, `{stem:LEVEL}`; the error is the place
    /// that nothing is known for.
    fn fill(&self, template: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (place, after) = after
                .split_once('}')
                .ok_or_else(|| "the end of a place in a template".to_owned())?;
            out.push_str(before);
            out.push_str(self.value(place).ok_or_else(|| format!("{{{place}}}"))?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&self, place: &str) -> Option<&str> {
        let words = |list: fn(&Level) -> &Vec<String>, level: &str| {
            let words = list(self.curriculum.levels.get(level)?);
            let at = self.turn.checked_rem(words.len())?;
            Some(words[at].as_str())
        };
        match place.split_once(':') {
            Some(("verb", level)) => words(|level| &level.verbs, level),
            Some(("stem", level)) => words(|level| &level.question_stems, level),
            Some(_) => None,
            None => match place {
                "topic" => Some(&self.topic),
                "audience" => Some(&self.audience),
                "standard" => Some(&self.standard),
                "text" => Some(&self.text),
                _ => None,
            },
        }
    }
}
