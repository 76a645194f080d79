//! Historical analytics, produced from the logs and the content database.

use super::produce;
use super::writer::Writer;
use crate::error::FactoriaError;
use crate::produced::{Extent, analytics};

pub(super) fn write(writer: &mut Writer, extent: &Extent) -> Result<(), FactoriaError> {
    produce(writer, extent, 0o644, |root, database| {
        analytics::produce(root, Some(database), extent)
    })
}
