//! Entries of the context cache, made by the optimiser's own code, and an empty folder for those being written.

use std::path::Path;

use super::writer::Writer;
use crate::context;
use crate::error::FactoriaError;
use crate::optimise::rebuild::{FILE_MODE, PENDING, PENDING_MODE, documents, entry};
use crate::optimise::{Settings, Tokenizer};

pub(super) fn write(writer: &mut Writer, root: &Path) -> Result<(), FactoriaError> {
    writer.folder(PENDING, PENDING_MODE)?;
    let base = root.join("context");
    let tokenizer = Tokenizer::load()?;
    let Some(cache) = Settings::read(root).result_cache else {
        return Ok(());
    };
    for path in documents(root, &cache) {
        let document =
            context::document(&base, &path).map_err(FactoriaError::io("read", &base.join(&path)))?;
        let (path, bytes) = entry(&document, tokenizer)?;
        writer.file(path.strip_prefix("cache/").unwrap_or(&path), FILE_MODE, &bytes)?;
    }
    Ok(())
}
