//! Files of believable, varied length until a folder's share is used up, and the lines of its logs.

use chrono::{DateTime, SecondsFormat};

use super::writer::{EPOCH_SECONDS, Writer};
use crate::error::FactoriaError;
use crate::text::{Prose, Rng};

/// The shortest file drawn, in bytes; what is left below it is not worth a file.
const SHORTEST: u64 = 2 << 10;

/// Writes documents until nothing is left of the folder's share. `fill` appends about `length` bytes and
/// returns path and mode.
pub(super) fn documents(
    writer: &mut Writer,
    stream: &str,
    fill: impl FnMut(&mut Prose, &mut Vec<u8>, u64) -> (String, u32),
) -> Result<(), FactoriaError> {
    let all = writer.left();
    documents_within(writer, stream, all, fill)
}

/// Writes documents until `share` bytes of what is left are used.
pub(super) fn documents_within(
    writer: &mut Writer,
    stream: &str,
    share: u64,
    mut fill: impl FnMut(&mut Prose, &mut Vec<u8>, u64) -> (String, u32),
) -> Result<(), FactoriaError> {
    let floor = writer.left().saturating_sub(share);
    let mut prose = writer.prose(stream);
    let mut out = Vec::new();
    loop {
        let left = writer.left().saturating_sub(floor);
        if left < SHORTEST {
            return Ok(());
        }
        out.clear();
        let length = length(prose.rng(), share).min(left);
        let (path, mode) = fill(&mut prose, &mut out, length);
        writer.file(&path, mode, &out)?;
    }
}

/// Draws a length: each power of two is as likely as the next, as file sizes are; larger systems have larger
/// files as well as more of them, up to 2 MiB.
fn length(rng: &mut Rng, share: u64) -> u64 {
    let longest = (share / 50).clamp(4 * SHORTEST, 2 << 20);
    let doublings = u64::from((longest / SHORTEST).ilog2());
    let low = SHORTEST << rng.below(doublings);
    low + rng.below(low)
}

/// Appends headed paragraphs until `out` is about `length` bytes long.
pub(crate) fn markdown(prose: &mut Prose, out: &mut Vec<u8>, length: u64) {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    out.extend_from_slice(b"# ");
    prose.title(out);
    out.push(b'\n');
    while out.len() < length {
        if prose.rng().below(6) == 0 {
            out.extend_from_slice(b"\n## ");
            prose.title(out);
            out.push(b'\n');
        }
        out.push(b'\n');
        // A sentence at a time near the end, so that small files keep their length.
        for _ in 0..3 + prose.rng().below(4) {
            if out.len() < length {
                prose.sentence(out);
                out.push(b' ');
            }
        }
        if out.last() == Some(&b' ') {
            out.pop();
        }
        out.push(b'\n');
    }
}

/// Returns the time that many seconds after the first moment of the generated system, in RFC 3339.
pub(super) fn at(seconds: u64) -> String {
    let unix = i64::try_from(EPOCH_SECONDS.saturating_add(seconds)).unwrap_or(i64::MAX);
    let time = DateTime::from_timestamp(unix, 0).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
