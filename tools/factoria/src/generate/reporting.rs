//! Reports as they were published, and the script that publishes them.

use super::fill;
use super::writer::Writer;
use crate::error::FactoriaError;

const PUBLISH: &str =
    "#!/bin/sh\n# Puts a finished report where readers find it.\nset -eu\ncp -- \"$1\" published/\n";

pub(super) fn write(writer: &mut Writer) -> Result<(), FactoriaError> {
    writer.file("publish.sh", 0o755, PUBLISH.as_bytes())?;
    writer.folder("published", 0o775)?;
    let mut number = 0;
    fill::documents(writer, "reports", |prose, out, length| {
        number += 1;
        fill::markdown(prose, out, length);
        // A published report is not changed any more.
        (format!("reports/{:04}-report.md", number), 0o444)
    })
}
