//! Runs exported from one journal are in another one byte for byte, or are not there at all.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use rekindle_journal::Journal;
use rekindle_journal::archive::{ArchiveError, Bundle, Format, Import};
use rekindle_journal::contract::{append_to, checkpoint, created, finished, stamp, started};
use rekindle_journal_local::verify::verify;
use rekindle_journal_local::{LogView, OpenOptions, Upkeep};
use rekindle_model::event::{Event, Outcome, Payload, Record};
use rekindle_model::id::{RunId, StepId};
use serde_json::{Value, json};

use crate::support::{fill, next, open, read_all};

const FORMATS: [Format; 2] = [Format::Archive, Format::Jsonl];

async fn bundle(dir: &Path) -> Bundle {
    let (view, _) = LogView::open(dir).await.unwrap();
    Bundle::of(&view, view.run_ids()).await.unwrap()
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
        let again = Bundle::of(&view, there.keys().copied()).await.unwrap();
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
        let end = rekindle_journal::codec::hash(&text.as_bytes()[..at]);
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
            .await
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

/// Damages the one record of `run` with number `seq` in the log, and takes sled away.
fn lose_a_record(dir: &Path, value: &[u8]) {
    let path = &crate::support::segments(dir)[0];
    let mut log = std::fs::read(path).unwrap();
    let at = log
        .windows(value.len())
        .position(|window| window == value)
        .unwrap();
    log[at + 60] ^= 1;
    std::fs::write(path, log).unwrap();
    std::fs::remove_dir_all(dir.join("journal")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_run_is_mended_by_a_copy_that_has_the_lost_record_and_nothing_else() {
    let from = tempfile::tempdir().unwrap();
    fill(from.path(), 2, 20, OpenOptions::default()).await;
    let expected = records(from.path()).await;
    let whole = bundle(from.path()).await;
    let (bytes, _) = whole.encode(Format::Archive).unwrap();
    let run = *expected.keys().next().unwrap();
    let values = whole.values(run).to_vec();
    // Five records, of which the third is lost later on.
    let short = Bundle::gather(run, values[..5].to_vec(), blobs()).unwrap();
    let too_short = Bundle::gather(run, values[..2].to_vec(), blobs()).unwrap();

    for how in [
        "import",
        "mend by all",
        "mend by its beginning",
        "replace by its beginning",
    ] {
        let to = tempfile::tempdir().unwrap();
        crate::support::copy_dir(from.path(), to.path());
        lose_a_record(to.path(), &values[2]);
        let (journal, report) = open(to.path()).await;
        assert_eq!(report.quarantined.len(), 1, "{how}");
        journal.close().await;
        let (mut upkeep, _) = Upkeep::open(to.path(), &OpenOptions::default()).unwrap();
        let lost = upkeep.mend(run, &too_short, codec_hash()).unwrap_err();
        assert!(matches!(lost, ArchiveError::StillLost { seq: 3, .. }), "{lost}");
        match how {
            "import" => {
                drop(upkeep);
                let imports = import(to.path(), &bytes).unwrap();
                assert_eq!((imports.mended, imports.skipped.len()), (vec![run], 1));
            }
            "mend by all" => {
                let mended = upkeep.mend(run, &whole, codec_hash()).unwrap();
                assert_eq!(mended, values.len() as u64);
                drop(upkeep);
            }
            "replace by its beginning" => {
                let changed = upkeep.replace(&short, codec_hash(), stamp(7).utc).unwrap();
                assert_eq!(changed, [run]);
                drop(upkeep);
            }
            _ => {
                let mended = upkeep.mend(run, &short, codec_hash()).unwrap();
                assert_eq!(mended, values.len() as u64, "what follows was intact here");
                drop(upkeep);
            }
        }
        let (journal, report) = open(to.path()).await;
        assert_eq!(report.quarantined, [], "{how}");
        assert_eq!(*journal.read(run).await.unwrap(), expected[&run], "{how}");
        journal.append(next(run, values.len() as u64)).await.unwrap();
        journal.close().await;
        let rebuilt = Upkeep::rebuild(to.path(), &OpenOptions::default()).unwrap();
        assert_eq!(rebuilt.quarantined, [], "{how}");
    }
}

/// What the runs of these tests refer to.
fn blobs() -> BTreeMap<rekindle_model::id::Hash32, Vec<u8>> {
    BTreeMap::from([(rekindle_journal::codec::hash(b"backup"), b"backup".to_vec())])
}

fn codec_hash() -> rekindle_model::id::Hash32 {
    rekindle_journal::codec::hash(b"a copy")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_went_on_elsewhere_takes_the_place_of_what_was_appended_here() {
    let here = tempfile::tempdir().unwrap();
    fill(here.path(), 2, 8, OpenOptions::default()).await;
    let run = *records(here.path()).await.keys().next().unwrap();
    let there = tempfile::tempdir().unwrap();
    crate::support::copy_dir(here.path(), there.path());
    let (journal, _) = open(there.path()).await;
    let seq = journal.read(run).await.unwrap().len() as u64;
    let adopted = rekindle_journal::contract::adopted(2);
    journal
        .append(append_to(run, seq, 2, vec![adopted]))
        .await
        .unwrap();
    journal.close().await;
    let (journal, _) = open(here.path()).await;
    journal.append(next(run, seq)).await.unwrap();
    journal.append(next(run, seq + 1)).await.unwrap();
    journal.close().await;

    let theirs = bundle(there.path()).await;
    let theirs = Bundle::gather(run, theirs.values(run).to_vec(), blobs()).unwrap();
    let (mut upkeep, _) = Upkeep::open(here.path(), &OpenOptions::default()).unwrap();
    let now = stamp(7).utc;
    assert_eq!(upkeep.replace(&theirs, codec_hash(), now).unwrap(), [run]);
    assert_eq!(upkeep.replace(&theirs, codec_hash(), now).unwrap(), []);
    drop(upkeep);
    let expected = records(there.path()).await;
    assert_eq!(records(here.path()).await, expected);
    assert_eq!(verify(here.path()).unwrap().findings, []);
    Upkeep::rebuild(here.path(), &OpenOptions::default()).unwrap();
    assert_eq!(records(here.path()).await, expected);
    let (view, report) = LogView::open(here.path()).await.unwrap();
    assert_eq!((report.quarantined.len(), report.damage.len()), (0, 0));
    assert_eq!(*view.read(run).await.unwrap(), expected[&run]);
}
