//! Entries of the context cache: loaded contexts by key, and an empty folder for those being loaded.

use std::io::Write;

use super::fill;
use super::writer::Writer;
use crate::error::FactoriaError;

pub(super) fn write(writer: &mut Writer) -> Result<(), FactoriaError> {
    writer.folder("pending", 0o750)?;
    let mut number = 0_u64;
    fill::documents(writer, "entries", |prose, out, length| {
        number += 1;
        let key = format!("{:016x}", prose.rng().bits());
        let layer = *prose.rng().pick(&["L1", "L2", "L3"]);
        // Writing to memory does not fail. Four bytes a token is the usual rule of thumb for English.
        let _ = write!(
            out,
            "{{\"key\":\"{key}\",\"layer\":\"{layer}\",\"loaded\":\"{}\",\"tokens\":{},\"hits\":{},\"text\":\"",
            fill::at(number * 37),
            length / 4,
            prose.rng().below(400),
        );
        while (out.len() as u64) + 4 < length {
            prose.sentence(out);
            out.push(b' ');
        }
        out.extend_from_slice(b"\"}\n");
        (format!("entries/{}/{key}-{number}.json", &key[..2]), 0o644)
    })
}
