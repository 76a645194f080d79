//! The context layers L1 to L3 as Markdown: L1 imports from L2, L2 from L3, and every import resolves.

use super::fill;
use super::writer::Writer;
use crate::error::FactoriaError;
use crate::frameworks::{CONTENT_TYPES, SUBJECTS};
use crate::text::Prose;

pub(super) fn write(writer: &mut Writer) -> Result<(), FactoriaError> {
    prompts(writer)?;
    let all = writer.left();
    // What is imported is written before what imports it.
    let deep = layer(writer, "L3", all / 100 * 72, &[])?;
    let middle = layer(writer, "L2", all / 100 * 23, &deep)?;
    layer(writer, "L1", writer.left() / 2, &middle)?;
    // A name as teachers give it: with spaces and beyond ASCII.
    let overview = "L1/Überblick für Lehrkräfte.md";
    let mut prose = writer.prose(overview);
    let mut out = imports(&mut prose, &middle);
    fill::markdown(&mut prose, &mut out, 2_000);
    writer.file(overview, 0o444, &out)?;
    writer.link("current.md", "L1/Überblick für Lehrkräfte.md")
}

/// Writes one layer and returns the paths of its files, relative to the folder.
fn layer(
    writer: &mut Writer,
    layer: &str,
    share: u64,
    imported: &[String],
) -> Result<Vec<String>, FactoriaError> {
    let mut paths = Vec::new();
    fill::documents_within(writer, layer, share, |prose, out, length| {
        out.extend_from_slice(&imports(prose, imported));
        fill::markdown(prose, out, length);
        let subject = prose.rng().pick(&SUBJECTS);
        let path = format!("{layer}/{subject}/{:05}.md", paths.len() + 1);
        paths.push(path.clone());
        (path, 0o644)
    })?;
    Ok(paths)
}

/// Returns `@import` lines for two to five of these paths.
fn imports(prose: &mut Prose, paths: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    if !paths.is_empty() {
        for _ in 0..2 + prose.rng().below(4) {
            let line = format!("@import {}\n", prose.rng().pick(paths));
            out.extend_from_slice(line.as_bytes());
        }
        out.push(b'\n');
    }
    out
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
