//! The context layers L1 to L3 as Markdown, in units of a subject, and the prompts.
//!
//! ```text
//! L1/<subject>/<unit>/<type>.md          one document for each content type; imports
//! L2/<subject>/<unit>/<group>.md         what two content types share; imports
//! L3/<subject>/<unit>/<group>.md         their reference, and
//! L3/<subject>/<unit>/definitions.md     the unit's terms
//! L3/<subject>/library/<volume>.md       works that no request needs, in large systems
//! ```
//!
//! So four documents make up every context, in a system of any size. As in real material, much comes again: each
//! document has its subject's notice, and terms are defined where they are needed and in the reference.

use super::facts::{self, topic};
use super::fill;
use super::plan::{DEFINITIONS, L1, L2, L3, NOTICE, Plan, VOLUME_BYTES};
use super::writer::Writer;
use crate::error::FactoriaError;
use crate::frameworks::{CONTENT_TYPES, SUBJECTS};
use crate::optimise::Profile;
use crate::optimise::rebuild::LIBRARY;
use crate::text::Prose;

/// What content types share, two and two, in their order.
const GROUPS: [&str; 4] = ["delivery", "study", "reading", "practice"];
pub(super) fn write(writer: &mut Writer, plan: &Plan) -> Result<(), FactoriaError> {
    prompts(writer)?;
    for subject in SUBJECTS {
        for number in 1..=plan.units {
            unit(writer, plan, subject, &format!("{number:04}"))?;
        }
        for number in 1..=plan.volumes {
            let path = format!("L3/{subject}/{LIBRARY}/{number:04}.md");
            let mut out = Vec::new();
            fill::markdown(&mut writer.prose(&path), &mut out, VOLUME_BYTES);
            writer.file(&path, 0o644, &out)?;
        }
    }
    // A name as teachers give it: with spaces and beyond ASCII.
    let overview = "L1/Überblick für Lehrkräfte.md";
    let mut prose = writer.prose(overview);
    let mut out = Vec::new();
    for subject in SUBJECTS {
        let group = prose.rng().pick(&GROUPS);
        out.extend_from_slice(format!("@import L2/{subject}/0001/{group}.md\n").as_bytes());
    }
    out.push(b'\n');
    fill::markdown(&mut prose, &mut out, 2_000);
    writer.file(overview, 0o444, &out)?;
    writer.link("current.md", overview)
}

fn unit(writer: &mut Writer, plan: &Plan, subject: &str, unit: &str) -> Result<(), FactoriaError> {
    let seed = writer.seed();
    let folder = format!("{subject}/{unit}");
    let topic = topic(seed, subject, unit);
    let facts = facts::of_unit(seed, subject, unit).0;
    let notice = notice(
        &mut writer.prose(&format!("notice of {subject}")),
        plan.part(NOTICE),
    );
    let definitions = definitions(
        &mut writer.prose(&format!("definitions of {folder}")),
        &topic,
        plan.part(DEFINITIONS),
    );
    let (first, second) = definitions.split_at(definitions.len() / 2);
    let of_type = |kind: &str, profile| {
        let facts = facts.get(kind).and_then(|facts| facts.get(&profile));
        let facts = facts.map_or_else(String::new, |facts| facts.join(" "));
        format!("The {} needs this. {facts}", kind.replace('_', " "))
    };

    let path = format!("L3/{folder}/definitions.md");
    let title = format!("# Terms: {topic}");
    let mut document = Draft::new(&[], &title);
    definitions
        .iter()
        .for_each(|definition| document.passage(definition));
    writer.file(&path, 0o644, &document.out)?;
    for (number, group) in GROUPS.iter().enumerate() {
        let kinds = &CONTENT_TYPES[2 * number..2 * number + 2];
        let path = format!("L3/{folder}/{group}.md");
        let mut document = Draft::new(&[], &format!("# Reference for {group}: {topic}"));
        document.passage(&notice);
        first.iter().for_each(|definition| document.passage(definition));
        let known = kinds.iter().map(|kind| of_type(kind, Profile::Complex));
        document.close(&mut writer.prose(&path), plan.part(L3), known);
        writer.file(&path, 0o644, &document.out)?;

        let imports = [path, format!("L3/{folder}/definitions.md")];
        let path = format!("L2/{folder}/{group}.md");
        let mut document = Draft::new(&imports, &format!("# Teaching {group}: {topic}"));
        document.passage(&notice);
        second.iter().for_each(|definition| document.passage(definition));
        let known = kinds.iter().map(|kind| of_type(kind, Profile::Moderate));
        document.close(&mut writer.prose(&path), plan.part(L2), known);
        writer.file(&path, 0o644, &document.out)?;

        for kind in kinds {
            let imports = [path.clone()];
            let path = format!("L1/{folder}/{kind}.md");
            let mut document = Draft::new(&imports, &format!("# {}: {topic}", kind.replace('_', " ")));
            document.passage(&notice);
            first.iter().for_each(|definition| document.passage(definition));
            let known = [of_type(kind, Profile::Simple)];
            document.close(&mut writer.prose(&path), plan.part(L1), known.into_iter());
            writer.file(&path, 0o644, &document.out)?;
        }
    }
    Ok(())
}

/// A document being written.
struct Draft {
    out: Vec<u8>,
    /// Where the text begins, after the imports.
    start: usize,
}

impl Draft {
    fn new(imports: &[String], title: &str) -> Self {
        let mut out = Vec::new();
        for import in imports {
            out.extend_from_slice(format!("@import {import}\n").as_bytes());
        }
        let start = out.len();
        out.extend_from_slice(title.as_bytes());
        out.push(b'\n');
        Self { out, start }
    }

    fn passage(&mut self, text: &str) {
        self.out.push(b'\n');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'\n');
    }

    /// Fills up with prose to about `length` bytes; the facts come last, where a reader in a hurry misses them.
    fn close(&mut self, prose: &mut Prose, length: usize, facts: impl Iterator<Item = String>) {
        let facts: Vec<String> = facts.collect();
        let reserved: usize = facts.iter().map(|facts| facts.len() + 2).sum();
        while self.out.len() - self.start + reserved < length {
            let sentences = 2 + prose.rng().below(2);
            let text: Vec<String> = (0..sentences).map(|_| prose.sentence_text()).collect();
            self.passage(&text.join(" "));
        }
        facts.iter().for_each(|facts| self.passage(facts));
    }
}

/// Returns the notice that each document of a subject carries.
fn notice(prose: &mut Prose, length: usize) -> String {
    let mut text = String::from("Notice.");
    while text.len() < length {
        text.push(' ');
        text.push_str(&prose.sentence_text());
    }
    text
}

/// Returns definitions of a unit's terms, about `length` bytes of them.
fn definitions(prose: &mut Prose, topic: &str, length: usize) -> Vec<String> {
    let mut definitions = Vec::new();
    let mut written = 0;
    while written < length || definitions.len() < 2 {
        let term = prose.title_text();
        let mut figure = || 1 + prose.rng().below(9_000);
        let (low, high, mean) = (figure(), figure(), figure());
        let text = format!(
            "Definition. In {topic}, {term} lies between {low} and {high}, at {mean} as a rule. {}",
            prose.sentence_text()
        );
        written += text.len() + 2;
        definitions.push(text);
    }
    definitions
}

fn prompts(writer: &mut Writer) -> Result<(), FactoriaError> {
    for kind in CONTENT_TYPES {
        let path = format!("prompts/{kind}.md");
        let mut prose = writer.prose(&path);
        let title = kind.replace('_', " ");
        let mut out = format!(
            "Write a {title} on {{topic}} for {{audience}}, meeting {{standard}}.\nKeep every section of the pattern.\n\n"
        )
        .into_bytes();
        prose.paragraph(&mut out);
        out.push(b'\n');
        writer.file(&path, 0o640, &out)?;
    }
    Ok(())
}
