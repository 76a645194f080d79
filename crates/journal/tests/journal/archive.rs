//! Runs exported from one journal are in another one byte for byte, or are not there at all.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use rekindle_journal::archive::{ArchiveError, Bundle, Format};
use rekindle_journal::contract::{append_to, checkpoint, created, finished, stamp, started};
use rekindle_journal::verify::verify;
use rekindle_journal::{Journal, LogView, OpenOptions, Upkeep};
use rekindle_model::event::{Event, Outcome, Payload, Record};
use rekindle_model::id::{RunId, StepId};
use serde_json::{Value, json};

use crate::support::{fill, next, open, read_all};

const FORMATS: [Format; 2] = [Format::Archive, Format::Jsonl];

async fn bundle(dir: &Path) -> Bundle {
    let (view, _) = LogView::open(dir).await.unwrap();
    Bundle::of(&view, view.run_ids()).unwrap()
}

async fn records(dir: &Path) -> BTreeMap<RunId, Vec<Record>> {
    let (journal, report) = open(dir).await;
    assert_eq!(report.damage, []);
    let read = read_all(&journal).await;
    journal.close().await;
    read.into_iter()
        .map(|(run, records)| (run, records.unwrap()))
        .collect()
}

fn import(dir: &Path, bytes: &[u8]) -> Result<rekindle_journal::archive::Imports, ArchiveError> {
    let (bundle, hash) = Bundle::decode(bytes)?;
    let (mut upkeep, _) = Upkeep::open(dir, &OpenOptions::default()).unwrap();
    upkeep.import(&bundle, hash)
}

#[tokio::test(flavor = "multi_thread")]
async fn exported_runs_are_the_same_in_another_journal_also_after_a_rebuild_and_can_be_gone_on_with() {
    let from = tempfile::tempdir().unwrap();
    fill(from.path(), 3, 30, OpenOptions::default()).await;
    let there = records(from.path()).await;
    for format in FORMATS {
        let to = tempfile::tempdir().unwrap();
        // One that has runs of its own, whose heads are not those of the other.
        let (journal, _) = open(to.path()).await;
        journal.put_blob(b"own".to_vec()).await.unwrap();
        let own = RunId::new(&stamp(99));
        let mut expected = there.clone();
        let events = vec![created("own")];
        expected.insert(own, journal.append(append_to(own, 0, 1, events)).await.unwrap());
        journal.close().await;
        let (bytes, _) = bundle(from.path()).await.encode(format).unwrap();
        let imports = import(to.path(), &bytes).unwrap();
        assert_eq!((imports.imported.len(), imports.records), (3, 33), "{format:?}");
        assert_eq!(records(to.path()).await, expected, "{format:?}");
        let rebuilt = Upkeep::rebuild(to.path(), &OpenOptions::default()).unwrap();
        assert_eq!((rebuilt.runs, rebuilt.damage.len()), (4, 0), "{format:?}");
        assert_eq!(records(to.path()).await, expected, "{format:?}");
        assert_eq!(verify(to.path()).unwrap().findings, [], "{format:?}");
        // And from there it is exported again as the same bytes.
        let (view, _) = LogView::open(to.path()).await.unwrap();
        let again = Bundle::of(&view, there.keys().copied()).unwrap();
        assert_eq!(again.encode(format).unwrap().0, bytes, "{format:?}");
        let second = import(to.path(), &bytes).unwrap();
        assert_eq!(
            (second.imported.len(), second.skipped.len()),
            (0, 3),
            "{format:?}"
        );
        let (journal, _) = open(to.path()).await;
        for (run, records) in &there {
            journal.append(next(*run, records.len() as u64)).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_differs_is_refused_by_its_first_record_and_nothing_is_imported() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(from.path(), 2, 10, OpenOptions::default()).await;
    let (bytes, _) = bundle(from.path()).await.encode(Format::Archive).unwrap();
    import(to.path(), &bytes).unwrap();
    let run = *records(to.path()).await.keys().next_back().unwrap();
    let (journal, _) = open(to.path()).await;
    let seq = journal.read(run).await.unwrap().len() as u64;
    journal.append(next(run, seq)).await.unwrap();
    journal.close().await;
    let before = records(to.path()).await;
    let more = tempfile::tempdir().unwrap();
    fill(more.path(), 1, 2, OpenOptions::default()).await;
    let error = import(to.path(), &bytes).unwrap_err();
    let differs = matches!(error, ArchiveError::Differs { run: of, seq: at } if (of, at) == (run, seq + 1));
    assert!(differs, "{error}");
    assert_eq!(records(to.path()).await, before);
}

/// Every cut and every flipped bit of a file is refused before a journal is touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_cut_short_or_changed_is_refused() {
    let from = tempfile::tempdir().unwrap();
    fill(from.path(), 2, 4, OpenOptions::default()).await;
    for format in FORMATS {
        let (bytes, _) = bundle(from.path()).await.encode(format).unwrap();
        assert!(Bundle::decode(&bytes).is_ok());
        for len in 0..bytes.len() {
            assert!(Bundle::decode(&bytes[..len]).is_err(), "{format:?} cut to {len}");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            // The same hash in capitals is the same hash.
            let says_the_same =
                Bundle::decode(&flipped).is_ok_and(|(read, _)| read.encode(format).unwrap().0 == bytes);
            assert!(
                says_the_same || Bundle::decode(&flipped).is_err(),
                "{format:?}, byte {at}"
            );
        }
        let mut longer = bytes.clone();
        longer.extend(b"{}\n");
        assert!(Bundle::decode(&longer).is_err(), "{format:?}");
    }
    let error = Bundle::decode(b"hello\n").unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged { at: 0, .. }), "{error}");
}

/// Somebody who mends the file's own hash has the records' chain against them.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_edited_does_not_fit_its_hash_or_its_chain() {
    let from = tempfile::tempdir().unwrap();
    fill(from.path(), 1, 4, OpenOptions::default()).await;
    let (bytes, _) = bundle(from.path()).await.encode(Format::Jsonl).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let mend = |text: String| {
        let at = text.trim_end().rfind('\n').unwrap() + 1;
        let end = blake3::hash(&text.as_bytes()[..at]).to_hex();
        format!("{}{{\"end\":\"{end}\"}}\n", &text[..at])
    };
    assert!(Bundle::decode(mend(text.clone()).as_bytes()).is_ok());
    let edited = mend(text.replacen("\"trigger\":\"contract\"", "\"trigger\":\"somebody\"", 1));
    let error = Bundle::decode(edited.as_bytes()).unwrap_err();
    assert!(matches!(error, ArchiveError::Line { seq: 1, .. }), "{error}");
    // A record taken out: the numbers do not fit any more.
    let lines: Vec<&str> = text.lines().collect();
    let taken = [&lines[..2], &lines[3..]].concat().join("\n") + "\n";
    assert!(Bundle::decode(mend(taken).as_bytes()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_which_a_blob_is_gone_is_not_exported() {
    let from = tempfile::tempdir().unwrap();
    fill(from.path(), 1, 2, OpenOptions::default()).await;
    std::fs::remove_dir_all(from.path().join("blobs")).unwrap();
    let (view, _) = LogView::open(from.path()).await.unwrap();
    assert!(
        Bundle::of(&view, view.run_ids())
            .unwrap_err()
            .to_string()
            .contains("find blob")
    );
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever a run holds, also numbers that have no JSON of their own, both forms give its bytes back.
    #[test]
    fn every_run_survives_both_forms(values in prop::collection::vec((value(), any::<f64>()), 1..6), blob in any::<Vec<u8>>()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let run = RunId::new(&stamp(1));
        runtime.block_on(async {
            let (journal, _) = open(dir.path()).await;
            journal.put_blob(b"a".to_vec()).await.unwrap();
            let blob = journal.put_blob(blob).await.unwrap();
            let mut events = vec![created("a"), started("s", 1)];
            events.extend(values.iter().map(|(value, _)| checkpoint("s", value.clone())));
            events.push(Event::StepSucceeded {
                step: StepId::from("s"),
                attempt: 1,
                output: Payload::Blob(blob),
                measures: values.iter().enumerate().map(|(at, (_, figure))| (at.to_string(), *figure)).collect(),
            });
            events.push(finished(Outcome::Succeeded));
            journal.append(append_to(run, 0, 1, events)).await.unwrap();
            journal.close().await;
        });
        let exported = runtime.block_on(bundle(dir.path()));
        for format in FORMATS {
            let (bytes, hash) = exported.encode(format).unwrap();
            let (read, end) = Bundle::decode(&bytes).unwrap();
            prop_assert_eq!(&read, &exported);
            prop_assert_eq!(end, hash);
        }
    }
}
