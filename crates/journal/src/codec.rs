//! A record's bytes: the key orders it, the value carries it, the CRC covers both.
//!
//! ```text
//! key    run id (16) ‖ seq (8, big-endian)
//! value  version (1) ‖ flags (1) ‖ epoch (8) ‖ UTC seconds (8, signed) ‖ UTC nanoseconds (4)
//!        ‖ boottime ns (8) ‖ boot id (16) ‖ prev (32)
//!        ‖ [flag 1: head commit (8) ‖ head hash (32)]
//!        ‖ event (MessagePack, named fields) ‖ CRC32C (4) of key and all of the value before it
//! ```
//! Integers are big-endian. `prev` is the BLAKE3 of the whole value of the run's record before it.

use chrono::DateTime;
use rekindle_model::event::{Event, JournalHead, Outcome, Record, SkipReason};
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::origin::Trigger;
use rekindle_model::planted::{self, Fault};
use rekindle_model::time::Stamp;
use uuid::Uuid;

use crate::bytes::ByteReader;
use crate::error::JournalError;

/// The most bytes that a record's value may have. Larger values go to blobs.
pub const MAX_RECORD: usize = 4096;

/// The newest format of a record's value. Formats 2 to 7 add events to format 1, and 7 also
/// advice to a failure. A record has the lowest format that knows its event. So an older program reports a newer format
/// and not damage.
pub const RECORD_FORMAT: u8 = 7;

/// The length of a key in bytes.
pub const KEY_LEN: usize = 24;

/// A record's key.
pub type Key = [u8; KEY_LEN];

const FLAG_HEAD: u8 = 1;
const FIXED_LEN: usize = 1 + 1 + 8 + 8 + 4 + 8 + 16 + 32;
const CRC_LEN: usize = 4;

/// Returns the key of a run's record.
pub fn key(run: RunId, seq: u64) -> Key {
    let mut key = [0; KEY_LEN];
    key[..16].copy_from_slice(run.as_bytes());
    key[16..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// Returns the run and the number that a key names.
pub fn parse_key(key: &Key) -> (RunId, u64) {
    let mut input = ByteReader(key);
    let run = RunId(Uuid::from_bytes(input.array().unwrap_or_default()));
    (run, input.u64().unwrap_or_default())
}

/// Returns the hash by which the run's next record refers to this value.
pub fn hash(value: &[u8]) -> Hash32 {
    Hash32(*blake3::hash(value).as_bytes())
}

/// Encodes a record's value, and reads it back as a check.
///
/// # Errors
/// [`JournalError::TooLarge`] and [`JournalError::Unencodable`].
pub fn encode(record: &Record) -> Result<Vec<u8>, JournalError> {
    let unencodable = |why: String| JournalError::Unencodable {
        run: record.run,
        event: record.event.name(),
        why,
    };
    let mut value = Vec::with_capacity(256);
    value.extend([
        format_of(&record.event),
        if record.head.is_some() { FLAG_HEAD } else { 0 },
    ]);
    value.extend(record.epoch.to_be_bytes());
    value.extend(record.time.utc.timestamp().to_be_bytes());
    value.extend(record.time.utc.timestamp_subsec_nanos().to_be_bytes());
    value.extend(record.time.boot_ns.to_be_bytes());
    value.extend(record.time.boot_id.as_bytes());
    value.extend(record.prev.0);
    if let Some(head) = &record.head {
        value.extend(head.commit.to_be_bytes());
        value.extend(head.hash.0);
    }
    rmp_serde::encode::write_named(&mut value, &record.event)
        .map_err(|error| unencodable(error.to_string()))?;
    let crc = crc(&key(record.run, record.seq), &value);
    value.extend(crc.to_be_bytes());
    if value.len() > MAX_RECORD {
        let (run, event) = (record.run, record.event.name());
        return Err(JournalError::TooLarge {
            run,
            event,
            bytes: value.len(),
            limit: MAX_RECORD,
        });
    }
    // The encoder accepts a value that nests too deep; the decoder refuses it.
    decode(&key(record.run, record.seq), &value).map_err(|error| unencodable(error.to_string()))?;
    Ok(value)
}

/// Returns the oldest format that knows the event.
fn format_of(event: &Event) -> u8 {
    match event {
        Event::StepFailed { error, .. }
        | Event::UndoFailed { error, .. }
        | Event::UndoStuck { error, .. }
            if !error.next.is_empty() =>
        {
            7
        }
        Event::ApprovalRequested { .. }
        | Event::Approved { .. }
        | Event::Rejected { .. }
        | Event::RetryRequested { .. }
        | Event::PauseRequested { .. }
        | Event::RunUnpaused { .. }
        | Event::RunReopened { .. }
        | Event::StepSkipped {
            why: SkipReason::Requested { .. },
            ..
        } => 2,
        Event::ChildStarted { .. }
        | Event::RunCreated {
            old_parent: Some(_), ..
        }
        | Event::DeadlinePassed
        | Event::StepSkipped {
            why: SkipReason::Deadline,
            ..
        }
        | Event::UndoStarted { .. }
        | Event::UndoSucceeded { .. }
        | Event::UndoFailed { .. }
        | Event::UndoStuck { .. }
        | Event::RunFinished {
            outcome: Outcome::Stuck,
            ..
        } => 3,
        Event::GroupLockAwaited { .. } | Event::GroupLockTaken { .. } => 4,
        Event::Deadlocked { .. }
        | Event::StepSkipped {
            why: SkipReason::Deadlock,
            ..
        } => 5,
        Event::RunCreated {
            trigger: Trigger::Parent(_) | Trigger::Schedule { .. } | Trigger::Api { .. },
            ..
        } => 6,
        Event::RunCreated {
            trigger: Trigger::Command(_),
            ..
        }
        | Event::RunAdopted { .. }
        | Event::StepStarted { .. }
        | Event::StepCheckpoint { .. }
        | Event::StepReconciled { .. }
        | Event::StepSucceeded { .. }
        | Event::StepFailed { .. }
        | Event::StepSkipped { .. }
        | Event::StepInvalidated { .. }
        | Event::CancelRequested { .. }
        | Event::RunFinished { .. } => 1,
    }
}

/// Decodes a record after checking its CRC.
///
/// # Errors
/// [`JournalError::Corrupt`], or [`JournalError::NewerFormat`] for an intact record of a newer version.
pub fn decode(at: &Key, value: &[u8]) -> Result<Record, JournalError> {
    let (run, seq) = parse_key(at);
    let corrupt = |why: &str| JournalError::Corrupt {
        run,
        seq,
        why: why.to_owned(),
    };
    if !is_intact(at, value) {
        return Err(corrupt("its checksum does not match"));
    }
    let mut input = ByteReader(&value[..value.len() - CRC_LEN]);
    let found = input.u8().ok_or_else(|| corrupt("it is empty"))?;
    if found > RECORD_FORMAT {
        return Err(JournalError::NewerFormat {
            run,
            seq,
            found,
            supported: RECORD_FORMAT,
        });
    }
    let fields = (|| {
        let flags = input.u8()?;
        let epoch = input.u64()?;
        let utc = DateTime::from_timestamp(i64::from_be_bytes(input.array()?), input.u32()?)?;
        let boot_ns = input.u64()?;
        let boot_id = Uuid::from_bytes(input.array()?);
        let prev = Hash32(input.array()?);
        let head = match flags & FLAG_HEAD {
            0 => None,
            _ => Some(JournalHead {
                commit: input.u64()?,
                hash: Hash32(input.array()?),
            }),
        };
        Some((
            epoch,
            Stamp {
                utc,
                boot_ns,
                boot_id,
            },
            prev,
            head,
        ))
    })();
    let (epoch, time, prev, head) = fields.ok_or_else(|| corrupt("it is cut short"))?;
    let event: Event = rmp_serde::from_slice(input.0).map_err(|error| {
        corrupt(&format!(
            "its event cannot be read ({error}); a newer Rekindle may"
        ))
    })?;
    Ok(Record {
        run,
        seq,
        epoch,
        time,
        prev,
        head,
        event,
    })
}

/// Returns the journal's head before the commit of a value, if the value carries it. The value is not checked.
pub fn anchor(value: &[u8]) -> Option<JournalHead> {
    (value.get(1)? & FLAG_HEAD != 0).then_some(())?;
    let mut input = ByteReader(value.get(FIXED_LEN..)?);
    Some(JournalHead {
        commit: input.u64()?,
        hash: Hash32(input.array()?),
    })
}

/// Returns whether a value is as it was written under that key.
pub fn is_intact(at: &Key, value: &[u8]) -> bool {
    value.len() >= FIXED_LEN + CRC_LEN && ends_with_crc(at, value)
}

/// Returns whether a value ends with the right checksum of its key and its body.
pub fn ends_with_crc(at: &Key, value: &[u8]) -> bool {
    value
        .split_last_chunk::<CRC_LEN>()
        .is_some_and(|(body, sum)| crc(at, body).to_be_bytes() == *sum || planted::is(Fault::CrcUnchecked))
}

/// Returns the checksum of a key and the body of its value.
pub fn crc(key: &Key, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), body)
}

#[cfg(test)]
mod tests {
    use rekindle_model::event::Measures;
    use rekindle_model::failure::Failure;
    use rekindle_model::id::StepId;
    use rekindle_model::next_action::{Action, NextAction};
    use rekindle_model::process::{Child, ProcessId};

    use super::*;
    use crate::contract::fixture::{created, stamp};

    fn record() -> Record {
        let head = Some(JournalHead {
            commit: 9,
            hash: Hash32([3; 32]),
        });
        let run = RunId(Uuid::from_u128(77));
        Record {
            run,
            seq: 1,
            epoch: 1,
            time: stamp(3),
            prev: Hash32::ZERO,
            head,
            event: created("w"),
        }
    }

    #[test]
    fn a_record_survives_its_bytes() {
        let record = record();
        let value = encode(&record).unwrap();
        assert_eq!(decode(&key(record.run, record.seq), &value).unwrap(), record);
        // The layout is persisted: this fails when it changes.
        assert_eq!(value[..10], [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(anchor(&value), record.head);
    }

    #[test]
    fn only_events_that_an_older_program_does_not_know_have_a_newer_format() {
        let (by, why) = ("ann".to_owned(), None);
        let left_out = SkipReason::Requested {
            by: by.clone(),
            why: "known".to_owned(),
        };
        let step = StepId::plain("s");
        let program = ProcessId {
            pid: 7,
            start_ticks: 9,
        };
        let child = Event::ChildStarted {
            step: step.clone(),
            attempt: 1,
            child: Child {
                program,
                supervisor: Some(program),
                boot_id: Uuid::from_u128(5),
            },
        };
        let mut scheduled = created("w");
        if let Event::RunCreated { trigger, .. } = &mut scheduled {
            *trigger = Trigger::Schedule {
                name: "nightly".to_owned(),
            };
        }
        let failed = |error| Event::StepFailed {
            step: StepId::plain("s"),
            attempt: 1,
            error,
            retry_at: None,
            measures: Measures::new(),
        };
        let failure = || Failure::permanent("x", "it failed").with_hint("mend it");
        for (event, format) in [
            (failed(failure()), 1),
            (failed(failure().with_next(Action::Verify, "helps")), 7),
            (created("w"), 1),
            (scheduled, 6),
            (
                Event::StepSkipped {
                    step: step.clone(),
                    why: SkipReason::Cancelled,
                },
                1,
            ),
            (Event::StepSkipped { step, why: left_out }, 2),
            (Event::RunReopened { by, why }, 2),
            (child, 3),
            (
                Event::GroupLockTaken {
                    group: "nightly".to_owned(),
                },
                4,
            ),
            (
                Event::StepSkipped {
                    step: StepId::plain("t"),
                    why: SkipReason::Deadlock,
                },
                5,
            ),
        ] {
            let record = Record { event, ..record() };
            let value = encode(&record).unwrap();
            assert_eq!(value[0], format, "{}", record.event.name());
            assert_eq!(decode(&key(record.run, record.seq), &value).unwrap(), record);
        }
    }

    /// A failed step with two pieces of advice, as MessagePack in hexadecimal. No version knows the second action.
    const ADVISED: &str = "84a56576656e74ab737465705f6661696c6564a473746570a5636865636ba7617474656d707401a56572726f7284a4636f6465a96578\
 69745f636f6465a76d657373616765af697420656e64656420776974682031a46e6578749282a6616374696f6e83a6616374696f6ea5\
 7265747279a372756ed92430303030303030302d303030302d303030302d303030302d303030303030303030303464a473746570a563\
 6865636ba474657874ae747269657320697420616761696e82a6616374696f6e82a6616374696f6ea96865616c5f74696572a4746965\
 72a46e656172a474657874b06d656e64732074686520636f70696573a9726574727961626c65c2";

    #[test]
    fn a_record_with_an_unknown_action_reads_as_plain_advice_and_is_written_again_byte_for_byte() {
        let event = (0..ADVISED.len()).step_by(2);
        let event: Vec<u8> = event
            .map(|at| u8::from_str_radix(&ADVISED[at..at + 2], 16).unwrap())
            .collect();
        let mut value = encode(&record()).unwrap();
        value.truncate(FIXED_LEN + 40);
        value[0] = 7;
        value.extend(event);
        let at = key(record().run, record().seq);
        value.extend(crc(&at, &value).to_be_bytes());

        let read = decode(&at, &value).unwrap();
        let Event::StepFailed { error, .. } = &read.event else {
            panic!("{read:?}")
        };
        let retry = Action::Retry {
            run: Some(read.run),
            step: Some(StepId::plain("check")),
        };
        assert_eq!(
            error.advice(),
            [
                NextAction::new(retry, "tries it again"),
                NextAction::advice("heal tier: mends the copies"),
            ]
        );
        assert_eq!(encode(&read).unwrap(), value);
    }

    #[test]
    fn each_flipped_bit_of_a_key_or_value_is_corrupt() {
        let record = record();
        let (key, value) = (key(record.run, record.seq), encode(&record).unwrap());
        for bit in 0..(KEY_LEN + value.len()) * 8 {
            let (mut key, mut value) = (key, value.clone());
            match bit / 8 {
                at if at < KEY_LEN => key[at] ^= 1 << (bit % 8),
                at => value[at - KEY_LEN] ^= 1 << (bit % 8),
            }
            let error = decode(&key, &value).unwrap_err();
            assert!(
                matches!(error, JournalError::Corrupt { .. }),
                "bit {bit}: {error}"
            );
        }
        for len in 0..value.len() {
            assert!(decode(&key, &value[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn an_intact_record_of_a_newer_version_is_named_as_such() {
        let record = record();
        let key = key(record.run, record.seq);
        let mut value = encode(&record).unwrap();
        value[0] = RECORD_FORMAT + 1;
        let body = value.len() - CRC_LEN;
        let sum = crc(&key, &value[..body]).to_be_bytes();
        value[body..].copy_from_slice(&sum);
        assert!(matches!(
            decode(&key, &value),
            Err(JournalError::NewerFormat {
                found: 8,
                supported: 7,
                ..
            })
        ));
    }
}
