//! Values on their way into the journal. Small ones go inside the record, large ones become blobs, and free text is
//! shortened. So no action can make a record that the journal must refuse.

use rekindle_journal::{Journal, JournalError};
use rekindle_model::event::{LONGEST_CYCLE, Measures, Payload, Waits};
use rekindle_model::failure::Failure;
use serde::Serialize;
use serde_json::{Value, json};

/// The largest value that stays inside a record, in encoded bytes: half of the journal's 4 KiB.
pub(crate) const INLINE: usize = 2048;
/// The most encoded bytes of an output and its measures together. A record has 4 KiB; its frame and a long step name
/// take the rest.
const RECORD_ROOM: usize = 3200;
/// The longest message of a failure, in bytes. A message may list thousands of files.
const MESSAGE: usize = 1536;
/// The longest hint, sentence or condition, in bytes.
const SENTENCE: usize = 512;
/// The most encoded bytes of a failure's next actions together.
const ACTIONS: usize = 768;
/// The longest name of a group in a deadlock's cycle, in bytes.
const GROUP: usize = 128;
/// The largest evidence, in encoded bytes.
const EVIDENCE: usize = 1024;

/// Returns the size of a value in a record, in bytes. MessagePack may be longer than JSON: 0.5 takes nine bytes.
fn encoded(value: &impl Serialize) -> usize {
    rmp_serde::to_vec_named(value).map_or(usize::MAX, |bytes| bytes.len())
}

/// Returns the value as a record carries it. If it is longer than `limit` bytes, stores it as a blob.
pub(crate) async fn store(
    journal: &dyn Journal,
    value: Value,
    limit: usize,
) -> Result<Payload, JournalError> {
    if encoded(&value) <= limit {
        return Ok(Payload::Inline(value));
    }
    journal
        .put_blob(value.to_string().into_bytes())
        .await
        .map(Payload::Blob)
}

/// Returns the value, from the record or from its blob.
pub(crate) async fn load(journal: &dyn Journal, payload: &Payload) -> Result<Value, LoadError> {
    match payload {
        Payload::Inline(value) => Ok(value.clone()),
        Payload::Blob(hash) => {
            let bytes = journal.blob(*hash).await?;
            serde_json::from_slice(&bytes).map_err(|error| LoadError::NotJson(error.to_string()))
        }
    }
}

/// A value could not be read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("{0}")]
    NotJson(String),
}

/// Returns the part of a success that fits a record: the measures, and how long its output may be to stay inside.
///
/// Measures beyond a record's room are left out and counted in `measures_left_out`.
pub(crate) fn fit_measures(measures: Measures) -> (Measures, usize) {
    let mut kept = Measures::new();
    let (mut size, mut left_out) = (0, 0_u32);
    for (name, number) in measures {
        // A name, its length, and a float of nine bytes.
        let cost = name.len() + 14;
        if size + cost > RECORD_ROOM - SENTENCE {
            left_out += 1;
            continue;
        }
        size += cost;
        kept.insert(name, number);
    }
    if left_out > 0 {
        kept.insert("measures_left_out".to_owned(), f64::from(left_out));
    }
    (kept, RECORD_ROOM.saturating_sub(size).min(INLINE))
}

/// Returns the failure in a size that fits a record.
pub(crate) fn fit_failure(mut failure: Failure) -> Failure {
    failure.code = fit(&failure.code, 64);
    failure.message = fit(&failure.message, MESSAGE);
    failure.hint = failure.hint.map(|hint| fit(&hint, SENTENCE));
    let mut room = ACTIONS;
    failure.next.retain(|next| match room.checked_sub(encoded(next)) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    });
    failure
}

/// Returns the sentence in a size that fits a record.
pub(crate) fn fit_sentence(text: &str) -> String {
    fit(text, SENTENCE)
}

/// Returns the evidence in a size that fits a record. If it is too large, only its beginning and its size remain.
pub(crate) fn fit_evidence(evidence: Value) -> Value {
    let size = encoded(&evidence);
    if size <= EVIDENCE {
        return evidence;
    }
    json!({ "truncated": true, "bytes": size, "beginning": fit(&evidence.to_string(), EVIDENCE - 128) })
}

/// Returns the cycle of waits in a size that fits a record.
pub(crate) fn fit_cycle(mut cycle: Vec<Waits>) -> Vec<Waits> {
    cycle.truncate(LONGEST_CYCLE);
    for waits in &mut cycle {
        waits.group = waits.group.take().map(|group| fit(&group, GROUP));
    }
    cycle
}

fn fit(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let note = format!(" … ({} bytes in all)", text.len());
    let mut end = limit.saturating_sub(note.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{note}", &text[..end])
}

#[cfg(test)]
mod tests {
    use rekindle_journal::MemoryJournal;
    use rekindle_model::id::{RunId, StepId};
    use rekindle_model::next_action::Action;

    use super::*;

    #[tokio::test]
    async fn a_value_comes_back_the_same_from_a_record_and_from_a_blob() {
        let journal = MemoryJournal::new();
        let floats = Value::from(vec![0.5; 300]);
        assert!(
            floats.to_string().len() < INLINE,
            "short as JSON, long as MessagePack"
        );
        for (value, in_blob) in [
            (json!({"a": 1}), false),
            (floats, true),
            (Value::from("x".repeat(3000)), true),
        ] {
            let payload = store(&journal, value.clone(), INLINE).await.unwrap();
            assert_eq!(matches!(payload, Payload::Blob(_)), in_blob);
            assert_eq!(load(&journal, &payload).await.unwrap(), value);
        }
    }

    #[test]
    fn what_is_too_long_keeps_its_beginning_and_tells_its_size() {
        let failure = fit_failure(Failure::permanent("x", "é".repeat(5000)));
        assert!(failure.message.len() <= MESSAGE && failure.message.ends_with("(10000 bytes in all)"));
        let evidence = fit_evidence(json!({ "files": vec!["a/long/name"; 1000] }));
        assert_eq!(evidence["truncated"], true);
        assert!(encoded(&evidence) <= EVIDENCE);
    }

    #[test]
    fn a_failure_with_its_next_actions_comes_back_the_same_from_a_record() {
        let (run, step) = (RunId(uuid::Uuid::from_u128(7)), StepId::looped("restore", &["a"]));
        let failure = Failure::permanent("x", "it failed")
            .with_next(Action::Show { run: Some(run) }, "shows it")
            .with_next(
                Action::Retry {
                    run: Some(run),
                    step: Some(step),
                },
                "asks again",
            );
        let bytes = rmp_serde::to_vec_named(&fit_failure(failure.clone())).unwrap();
        assert_eq!(rmp_serde::from_slice::<Failure>(&bytes).unwrap(), failure);
    }

    #[test]
    fn who_waits_for_whom_fits_a_record_however_many_wait_and_whatever_their_groups_are_called() {
        let waits = Waits {
            run: rekindle_model::id::RunId(uuid::Uuid::from_u128(u128::MAX)),
            group: Some("é".repeat(2000)),
        };
        let cycle = fit_cycle(vec![waits; 100]);
        assert_eq!(cycle.len(), LONGEST_CYCLE);
        assert!(encoded(&cycle) < RECORD_ROOM, "{}", encoded(&cycle));
    }

    #[test]
    fn measures_that_do_not_fit_are_counted() {
        let many: Measures = (0..500).map(|n| (format!("number_{n}_ms"), 0.1)).collect();
        let (kept, _) = fit_measures(many);
        let left_out = 500 - (kept.len() - 1);
        assert_eq!(kept["measures_left_out"], left_out as f64);
        assert!(encoded(&kept) < RECORD_ROOM);
        let few = Measures::from([("bytes".to_owned(), 1.0)]);
        assert_eq!(fit_measures(few.clone()), (few, INLINE));
    }
}
