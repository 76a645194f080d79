//! Historical analytics: who used what, by month.

use std::io::Write;

use super::fill;
use super::writer::Writer;
use crate::error::FactoriaError;
use crate::frameworks::{AGE_BANDS, CONTENT_TYPES, SUBJECTS};

const HEADER: &[u8] = b"at,session,content_type,subject,band,seconds,score\n";

pub(super) fn write(writer: &mut Writer) -> Result<(), FactoriaError> {
    let mut rng = writer.rng("usage");
    let share = writer.left().saturating_sub(1_200);
    let mut seconds = 0;
    for month in 1..=6 {
        let mut first = true;
        writer.stream(&format!("usage-2026-{month:02}.csv"), 0o644, share / 6, |out| {
            if std::mem::take(&mut first) {
                out.extend_from_slice(HEADER);
            }
            seconds += rng.below(30);
            // Writing to memory does not fail.
            let _ = writeln!(
                out,
                "{},{:012x},{},{},{},{},0.{:03}",
                fill::at(seconds),
                rng.below(1 << 48),
                rng.pick(&CONTENT_TYPES),
                rng.pick(&SUBJECTS),
                rng.pick(&AGE_BANDS),
                10 + rng.below(3_000),
                rng.below(1_000),
            );
        })?;
    }
    Ok(())
}
