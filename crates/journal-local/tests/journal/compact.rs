//! Compacting removes old runs and what only they needed, says so for good, and can be cut off anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use rekindle_journal::archive::{Bundle, Import};
use rekindle_journal::contract::{checkpoint, created, finished, stamp, started, succeeded};
use rekindle_journal::{Append, Journal, JournalError, RunFilter};
use rekindle_journal_local::verify::{Verification, verify};
use rekindle_journal_local::{ArchiveRef, LocalJournal, LogView, OpenOptions, Upkeep};
use rekindle_model::event::{Event, Outcome, Record};
use rekindle_model::id::{RunId, StepId};
use rekindle_model::origin::{Parent, Trigger};
use serde_json::json;

use crate::support::{copy_dir, open, open_with, read_all, segments};

/// What is finished before this is old.
const OLD: u64 = 1000;

fn options() -> OpenOptions {
    OpenOptions {
        segment_bytes: 1500,
        ..OpenOptions::default()
    }
}

/// Appends a whole run with a definition of its own.
async fn add(journal: &LocalJournal, at: u64, parent: Option<RunId>, ends: bool) -> RunId {
    let run = RunId::new(&stamp(at));
    let name = format!("w{at}");
    journal.put_blob(name.clone().into_bytes()).await.unwrap();
    let mut first = created(&name);
    if let (Event::RunCreated { trigger, .. }, Some(run)) = (&mut first, parent) {
        *trigger = Trigger::Parent(Parent {
            run,
            step: StepId::plain("s"),
        });
    }
    let mut events = vec![first, started("s", 1)];
    events.extend((0..3).map(|n| checkpoint("s", json!({ "n": n }))));
    match ends {
        true => events.extend([succeeded("s"), finished(Outcome::Failed)]),
        false => events.push(checkpoint("s", json!({ "n": 3 }))),
    }
    for (seq, event) in (0..).zip(events) {
        let (now, events) = (stamp(at), vec![event]);
        let append = Append {
            run,
            expected_seq: seq,
            epoch: 1,
            events,
            now,
        };
        journal.append(append).await.unwrap();
    }
    run
}

/// A journal in many segments: old runs that go, one that is not over, one that is part of that one, and newer ones.
/// Returns which go.
async fn journal() -> (tempfile::TempDir, BTreeSet<RunId>) {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), options()).await;
    let mut going = BTreeSet::new();
    for at in 1..5 {
        going.insert(add(&journal, at, None, true).await);
    }
    let open = add(&journal, 5, None, false).await;
    add(&journal, 6, Some(open), true).await;
    for at in 7..9 {
        going.insert(add(&journal, at, None, true).await);
    }
    for at in OLD..OLD + 2 {
        add(&journal, at, None, true).await;
    }
    going.insert(add(&journal, 9, None, true).await);
    journal.close().await;
    (dir, going)
}

async fn archive_of(dir: &Path, runs: &BTreeSet<RunId>) -> (Vec<u8>, ArchiveRef) {
    let (view, _) = LogView::open(dir).await.unwrap();
    let bundle = Bundle::of(&view, runs.iter().copied()).await.unwrap();
    let (bytes, hash) = bundle.encode(rekindle_journal::archive::Format::Archive).unwrap();
    let file = "old.archive".to_owned();
    (bytes, ArchiveRef { file, hash })
}

/// Compacts, and stops after so many steps. Returns how many there were.
fn compact(dir: &Path, archive: Option<&ArchiveRef>, stop_after: usize) -> usize {
    let (mut upkeep, report) = Upkeep::open(dir, &options()).unwrap();
    assert_eq!(report.damage, []);
    let plan = upkeep.plan(stamp(OLD).utc).unwrap();
    let mut steps = 0;
    let after = |_| {
        steps += 1;
        match steps >= stop_after {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    upkeep.compact(&plan, archive, stamp(OLD).utc, after).unwrap();
    steps
}

async fn records(dir: &Path, case: &str) -> BTreeMap<RunId, Vec<Record>> {
    let (journal, report) = open_with(dir, options()).await;
    assert_eq!(
        (report.damage.as_slice(), report.quarantined.as_slice()),
        ([].as_slice(), [].as_slice()),
        "{case}"
    );
    let read = read_all(&journal).await;
    journal.close().await;
    let (view, report) = LogView::open(dir).await.unwrap();
    assert_eq!(report.damage, [], "{case}");
    assert!(
        view.run_ids().eq(read.keys().copied()),
        "{case}: the log has other runs than sled"
    );
    read.into_iter()
        .map(|(run, records)| {
            (
                run,
                records.unwrap_or_else(|error| panic!("{case}: failed to {error}")),
            )
        })
        .collect()
}

fn clean(dir: &Path, case: &str) -> Verification {
    let verified = verify(dir).unwrap();
    assert_eq!(verified.findings, [], "{case}");
    verified
}

fn blobs(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir.join("blobs")).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_runs_go_with_their_segments_and_blobs_and_leave_evidence_and_can_come_back() {
    let (dir, going) = journal().await;
    let before = records(dir.path(), "before").await;
    let (files, definitions) = (segments(dir.path()).len(), blobs(dir.path()).len());
    let planned = Upkeep::open(dir.path(), &options())
        .unwrap()
        .0
        .plan(stamp(OLD).utc)
        .unwrap();
    assert_eq!(
        planned.runs.iter().map(|run| run.run).collect::<BTreeSet<_>>(),
        going
    );
    assert_eq!((planned.kept, planned.blobs.len()), (4, going.len()));
    assert!(planned.segments.len() >= 3, "{planned:?}");
    // A plan changes nothing.
    assert_eq!(records(dir.path(), "planned").await, before);

    let (bytes, archive) = archive_of(dir.path(), &going).await;
    compact(dir.path(), Some(&archive), usize::MAX);
    let mut kept = before.clone();
    kept.retain(|run, _| !going.contains(run));
    assert_eq!(records(dir.path(), "after").await, kept);
    assert!(segments(dir.path()).len() < files, "{:?}", segments(dir.path()));
    assert_eq!(blobs(dir.path()).len(), definitions - going.len());
    // A program that does not know of this refuses the log.
    let newest = fs::read(segments(dir.path()).pop().unwrap()).unwrap();
    assert_eq!(newest[8..12], [0, 0, 0, 4]);

    let verified = clean(dir.path(), "after");
    let evidence: BTreeSet<RunId> = verified.removed.iter().map(|one| one.summary.run).collect();
    assert_eq!(evidence, going);
    let one = &verified.removed[0];
    assert_eq!(
        (one.summary.workflow.as_str(), one.summary.outcome),
        ("w1", Some(Outcome::Failed))
    );
    assert_eq!(one.archive.as_ref(), Some(&archive));
    let rebuilt = Upkeep::rebuild(dir.path(), &options()).unwrap();
    assert_eq!((rebuilt.runs, rebuilt.damage.len()), (4, 0));
    assert_eq!(records(dir.path(), "rebuilt").await, kept);

    let (bundle, hash) = Bundle::decode(&bytes).unwrap();
    let mut upkeep = Upkeep::open(dir.path(), &options()).unwrap().0;
    assert_eq!(upkeep.import(&bundle, hash).unwrap().imported.len(), going.len());
    drop(upkeep);
    assert_eq!(records(dir.path(), "back").await, before);
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    assert_eq!(records(dir.path(), "back, rebuilt").await, before);
    assert_eq!(clean(dir.path(), "back").removed, []);
    compact(dir.path(), None, usize::MAX);
    assert_eq!(records(dir.path(), "gone again").await, kept);
    assert_eq!(clean(dir.path(), "gone again").removed.len(), going.len());
}

/// What sled may be like after a kill or a power cut at that moment.
const SLEDS: [&str; 3] = ["as it was left", "as it was before", "gone"];

#[tokio::test(flavor = "multi_thread")]
async fn a_compact_cut_off_after_any_step_loses_nothing_that_is_kept_and_the_next_one_finishes() {
    let (made, going) = journal().await;
    let before = records(made.path(), "before").await;
    let mut kept = before.clone();
    kept.retain(|run, _| !going.contains(run));
    let fork = |dir: &Path| {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir, copy.path());
        copy
    };
    let done = fork(made.path());
    let steps = compact(done.path(), None, usize::MAX);
    assert!(steps > 8, "{steps}");
    for stop in 1..=steps {
        for sled in SLEDS {
            let case = format!("cut off after step {stop} of {steps}, sled {sled}");
            let dir = fork(made.path());
            compact(dir.path(), None, stop);
            if sled != SLEDS[0] {
                fs::remove_dir_all(dir.path().join("journal")).unwrap();
            }
            if sled == SLEDS[1] {
                copy_dir(&made.path().join("journal"), &dir.path().join("journal"));
            }
            assert_eq!(records(dir.path(), &case).await, kept, "{case}");
            compact(dir.path(), None, usize::MAX);
            assert_eq!(records(dir.path(), &case).await, kept, "{case}");
            assert_eq!(blobs(dir.path()), blobs(done.path()), "{case}");
            assert_eq!(clean(dir.path(), &case).removed.len(), going.len(), "{case}");
            let left = Upkeep::open(dir.path(), &options())
                .unwrap()
                .0
                .plan(stamp(OLD).utc)
                .unwrap();
            assert!(left.is_empty(), "{case}: {left:?}");
        }
    }
}

/// Year after year: the evidence moves to newer segments, and the log does not grow.
#[tokio::test(flavor = "multi_thread")]
async fn evidence_of_earlier_compacts_outlives_the_segments_that_it_stood_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut removed = BTreeSet::new();
    for round in 0..6 {
        let (journal, report) = open_with(dir.path(), options()).await;
        assert_eq!(report.damage, [], "round {round}");
        for at in 1..4 {
            removed.insert(add(&journal, round * 10 + at, None, true).await);
        }
        journal.close().await;
        compact(dir.path(), None, usize::MAX);
        assert_eq!(records(dir.path(), "kept").await, BTreeMap::new());
        let evidence = clean(dir.path(), "kept").removed;
        assert_eq!(
            evidence
                .iter()
                .map(|one| one.summary.run)
                .collect::<BTreeSet<_>>(),
            removed
        );
        assert!(
            segments(dir.path()).len() <= 2,
            "round {round}: {:?}",
            segments(dir.path())
        );
    }
}

/// A segment that is missing without having been cut off is still damage, also beside one that was.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_deleted_by_hand_is_damage_beside_those_that_were_cut_off() {
    let (dir, _) = journal().await;
    compact(dir.path(), None, usize::MAX);
    let there = segments(dir.path());
    fs::remove_file(&there[0]).unwrap();
    let (view, report) = LogView::open(dir.path()).await.unwrap();
    assert!(
        report.damage.iter().any(|damage| damage.what.contains("missing")),
        "{report:?}"
    );
    drop(view);
    // sled still has what was in it.
    let (journal, report) = open(dir.path()).await;
    assert!(report.relogged > 0 && report.quarantined.is_empty(), "{report:?}");
    assert_eq!(journal.runs(&RunFilter::default()).await.unwrap().len(), 4);
}

/// A power cut took sled back to before the compact, and the log has damage: what sled alone has is logged again, but
/// not what was removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_run_does_not_come_back_from_a_sled_that_has_not_heard_of_it() {
    let (dir, going) = journal().await;
    let old = tempfile::tempdir().unwrap();
    copy_dir(&dir.path().join("journal"), &old.path().join("journal"));
    compact(dir.path(), None, usize::MAX);
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    copy_dir(&old.path().join("journal"), &dir.path().join("journal"));
    let path = &segments(dir.path())[1];
    let mut bytes = fs::read(path).unwrap();
    bytes[400] ^= 1;
    fs::write(path, bytes).unwrap();
    for turn in ["first", "second"] {
        let (journal, report) = open(dir.path()).await;
        assert_eq!(report.damage.len(), 1, "{turn}: {report:?}");
        assert!(report.quarantined.is_empty(), "{turn}: {report:?}");
        let there = read_all(&journal).await;
        assert!(
            there.len() == 4 && there.keys().all(|run| !going.contains(run)),
            "{turn}: {there:?}"
        );
        journal.close().await;
    }
}

/// What cannot be read may need any blob: none is deleted then.
#[tokio::test(flavor = "multi_thread")]
async fn blobs_stay_while_a_run_is_quarantined_and_a_removed_run_is_not_found() {
    let (dir, going) = journal().await;
    let run = *going.first().unwrap();
    compact(dir.path(), None, usize::MAX);
    let (journal, _) = open(dir.path()).await;
    assert!(matches!(journal.read(run).await, Err(JournalError::UnknownRun(of)) if of == run));
    journal.close().await;
    let text = b"w5";
    for path in segments(dir.path()) {
        let mut bytes = fs::read(&path).unwrap();
        let found: Vec<usize> = (0..bytes.len() - 2)
            .filter(|at| bytes[*at..].starts_with(text))
            .collect();
        found.into_iter().for_each(|at| bytes[at] ^= 1);
        fs::write(path, bytes).unwrap();
    }
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let (upkeep, report) = Upkeep::open(dir.path(), &options()).unwrap();
    assert_eq!(report.quarantined.len(), 1);
    let plan = upkeep.plan(stamp(OLD * 2).utc).unwrap();
    assert!(plan.blobs.is_empty() && plan.blobs_stay.is_some(), "{plan:?}");
    assert_eq!(
        plan.runs.len(),
        2,
        "the others may go, but what is part of it: {plan:?}"
    );
}
