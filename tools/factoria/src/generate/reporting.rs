//! Reports as they were published, produced from the logs and the content database; and the script that publishes.

use super::produce;
use super::writer::Writer;
use crate::error::FactoriaError;
use crate::produced::{Extent, reports};

const PUBLISH: &str =
    "#!/bin/sh\n# Puts a finished report where readers find it.\nset -eu\ncp -- \"$1\" published/\n";
/// A report's size, in bytes, from which the number of reports follows.
const REPORT_BYTES: u64 = 24_000;

pub(super) fn write(writer: &mut Writer, extent: &Extent) -> Result<(), FactoriaError> {
    writer.file("publish.sh", 0o755, PUBLISH.as_bytes())?;
    writer.folder("published", 0o775)?;
    let share = writer.left();
    let mut extent = Extent {
        parts: (share / REPORT_BYTES).max(2),
        ..*extent
    };
    // Without quotes first: what is left of the share is for quotes from the items.
    let root = writer.root();
    let bare: u64 = super::with_database(&root, |database| {
        reports::produce(&root, Some(database), &extent)
            .values()
            .map(|text| text.len() as u64)
            .sum()
    })?;
    extent.excerpt_bytes = share.saturating_sub(bare) / extent.items.max(1);
    // A published report is not changed any more.
    produce(writer, &extent, 0o444, |root, database| {
        reports::produce(root, Some(database), &extent)
    })
}
