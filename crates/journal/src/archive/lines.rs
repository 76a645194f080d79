//! The JSON lines.
//!
//! ```text
//! {"rekindle_journal":1,"runs":…,"records":…,"blobs":…}
//! {"record":{…as the history of a run is printed…},"hash":"…"}
//! {"blob":"<hash>","base64":"…"}
//! {"end":"<BLAKE3 of all lines before, with their ends>"}
//! ```
//! The reader encodes a record's bytes again from its JSON. If they would differ (an older program wrote the record, or
//! a number has no JSON), the line also has the bytes as `value`, in base64, and the JSON is compared with them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rekindle_model::event::Record;
use rekindle_model::id::Hash32;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ArchiveError, Bundle, Counts};
use crate::admit;
use crate::codec;
use crate::error::JournalError;

const LINES_FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    rekindle_journal: u32,
    runs: u64,
    records: u64,
    blobs: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordLine {
    record: Value,
    hash: Hash32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlobLine {
    blob: Hash32,
    base64: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    end: Hash32,
}

pub(crate) fn encode(bundle: &Bundle) -> Result<(Vec<u8>, Hash32), JournalError> {
    let Counts { runs, records, blobs } = bundle.counts();
    let mut bytes = Vec::new();
    let header = Header {
        rekindle_journal: LINES_FORMAT,
        runs,
        records,
        blobs,
    };
    line(&mut bytes, &header)?;
    for (run, values) in &bundle.runs {
        for (record, value) in admit::check_chain(*run, values)?.iter().zip(values) {
            let json = json(record)?;
            let same = again(&json).is_some_and(|again| again == *value);
            let line_of = RecordLine {
                record: json,
                hash: codec::hash(value),
                value: (!same).then(|| BASE64.encode(value)),
            };
            line(&mut bytes, &line_of)?;
        }
    }
    for (hash, blob) in &bundle.blobs {
        let base64 = BASE64.encode(blob);
        line(&mut bytes, &BlobLine { blob: *hash, base64 })?;
    }
    let end = codec::hash(&bytes);
    line(&mut bytes, &End { end })?;
    Ok((bytes, end))
}

fn line(bytes: &mut Vec<u8>, value: &impl Serialize) -> Result<(), JournalError> {
    serde_json::to_writer(&mut *bytes, value).map_err(unwritable)?;
    bytes.push(b'\n');
    Ok(())
}

fn json(record: &Record) -> Result<Value, JournalError> {
    serde_json::to_value(record).map_err(unwritable)
}

fn unwritable(error: serde_json::Error) -> JournalError {
    JournalError::Backend(format!("write JSON: {error}"))
}

/// Returns the bytes that [`decode`] would make from a record's JSON text.
fn again(json: &Value) -> Option<Vec<u8>> {
    let record: Record = serde_json::from_str(&reread(json)?.to_string()).ok()?;
    codec::encode(&record).ok()
}

/// Returns the value after a round trip through text: a number may lose its last digit.
fn reread(json: &Value) -> Option<Value> {
    serde_json::from_str(&json.to_string()).ok()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<(Bundle, Hash32), ArchiveError> {
    let damaged = |at: usize, why: &str| ArchiveError::Damaged {
        at,
        why: why.to_owned(),
    };
    let text = std::str::from_utf8(bytes).map_err(|error| damaged(error.valid_up_to(), "it is no text"))?;
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().unwrap_or_default();
    // If the format is newer, only this field is sure to exist.
    let head: Value = serde_json::from_str(first).unwrap_or_default();
    let found = head["rekindle_journal"]
        .as_u64()
        .ok_or_else(|| damaged(0, "it is neither an archive of runs nor JSON lines of one"))?;
    if found > u64::from(LINES_FORMAT) {
        return Err(ArchiveError::NewerFormat {
            found: u32::try_from(found).unwrap_or(u32::MAX),
            supported: LINES_FORMAT,
        });
    }
    let header: Header = serde_json::from_value(head).map_err(|error| damaged(0, &error.to_string()))?;
    let body = text
        .strip_suffix('\n')
        .and_then(|whole| whole.rfind('\n'))
        .map(|at| at + 1);
    let at = body.ok_or_else(|| damaged(bytes.len(), "it is cut short"))?;
    let End { end } = serde_json::from_str(&text[at..])
        .map_err(|_| damaged(at, "its last line does not say how it ends: it is cut short"))?;
    if codec::hash(&bytes[..at]) != end {
        return Err(damaged(
            at,
            "its hash is not that of the lines before it: it was changed",
        ));
    }
    let mut bundle = Bundle::default();
    let mut offset = first.len();
    for text in text[offset..at].split_inclusive('\n') {
        let blob: Result<BlobLine, _> = serde_json::from_str(text);
        match blob {
            Ok(blob) => {
                let bytes = BASE64.decode(&blob.base64);
                let bytes = bytes.map_err(|_| damaged(offset, "its blob is not base64"))?;
                bundle.blobs.insert(blob.blob, bytes);
            }
            Err(_) => {
                let line: RecordLine =
                    serde_json::from_str(text).map_err(|error| damaged(offset, &error.to_string()))?;
                let record: Record = serde_json::from_str(&line.record.to_string())
                    .map_err(|error| damaged(offset, &error.to_string()))?;
                let value = value_of(&record, &line)?;
                bundle.runs.entry(record.run).or_default().push(value);
            }
        }
        offset += text.len();
    }
    let Counts { runs, records, blobs } = bundle.counts();
    if (runs, records, blobs) != (header.runs, header.records, header.blobs) {
        return Err(damaged(
            offset,
            "it holds another number of things than its first line says",
        ));
    }
    Ok((bundle, end))
}

/// Returns a record's bytes, after checking them against its hash.
fn value_of(record: &Record, line: &RecordLine) -> Result<Vec<u8>, ArchiveError> {
    let bad = |why| ArchiveError::Line {
        run: record.run,
        seq: record.seq,
        why,
    };
    let value = match &line.value {
        None => codec::encode(record)?,
        Some(text) => {
            let value = BASE64.decode(text).map_err(|_| bad("its value is not base64"))?;
            let written = codec::decode(&codec::key(record.run, record.seq), &value)?;
            let same = reread(&json(&written)?).is_some_and(|written| written == line.record);
            same.then_some(value)
                .ok_or_else(|| bad("its JSON is not that of its value"))?
        }
    };
    match codec::hash(&value) == line.hash {
        true => Ok(value),
        false => Err(bad("its hash is not that of the bytes that follow from its JSON")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_exactly_one_text_in_base64() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"\xff\xfe\xfd", "//79"),
        ] {
            assert_eq!(BASE64.encode(bytes), text);
            assert_eq!(BASE64.decode(text).as_deref(), Ok(bytes), "{text}");
        }
        for text in ["Z", "Zg", "Zg=", "Zh==", "Zg==Zg==", "Z===", "Zm9_", "Zg==\n"] {
            assert!(BASE64.decode(text).is_err(), "{text}");
        }
    }
}
