//! Records that this version did not write, or that nobody could have written: an event of a newer version, a
//! contradictory history. Each is a typed error that names the run, the record and the remedy. Other runs are
//! not affected.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;

use rekindle_journal::{Journal, RunFilter, codec};
use rekindle_journal_local::LogView;
use rekindle_model::event::{Event, Measures, Payload, Record};
use rekindle_model::id::{Hash32, RunId, StepId};
use rekindle_tests::sandbox::{NOTES, Sandbox};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// A workspace with one whole run, and that run's first record.
fn workspace() -> (Sandbox, Record) {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "one");
    sandbox.ok(&["backup"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let first = runtime.block_on(async {
        let (view, _) = LogView::open(&sandbox.path(".rekindle")).await.unwrap();
        let run = view.runs(&RunFilter::default()).await.unwrap()[0].run;
        view.read(run).await.unwrap()[0].clone()
    });
    (sandbox, first)
}

/// Returns the values of a new run: a creation like that of the run there is, and perhaps one more event.
fn run_like(first: &Record, then: Option<Event>) -> (RunId, Vec<Vec<u8>>) {
    let run = RunId::new(&first.time);
    let created = Record {
        run,
        head: None,
        ..first.clone()
    };
    let mut values = vec![codec::encode(&created).unwrap()];
    if let Some(event) = then {
        let second = Record {
            seq: 2,
            prev: codec::hash(&values[0]),
            event,
            ..created
        };
        values.push(codec::encode(&second).unwrap());
    }
    (run, values)
}

/// Returns a success of a step that was never started.
fn unheard_of() -> Event {
    Event::StepSucceeded {
        step: StepId::plain("unheard-of"),
        attempt: 1,
        output: Payload::NONE,
        measures: Measures::new(),
    }
}

/// The last byte of a frame's body. See the journal's FORMAT.
const END_MARK: u8 = 0xED;

/// Returns where the last frame of a log ends. Room that a process reserved and did not give back may follow.
fn end_of_frames(bytes: &[u8]) -> usize {
    let mut end = 64;
    while bytes[end..].starts_with(b"RKFR") {
        let body = u32::from_be_bytes(bytes[end + 4..end + 8].try_into().unwrap());
        end += 60 + usize::try_from(body).unwrap();
    }
    end
}

/// Writes a run's records at the end of the log, by hand: a whole frame, chained to the one before it.
fn log_by_hand(sandbox: &Sandbox, run: RunId, values: &[Vec<u8>]) {
    let file = sandbox.path(".rekindle/head");
    let head = fs::read(&file).unwrap();
    let commit = u64::from_be_bytes(head[1..9].try_into().unwrap()) + 1;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head[9..41]).update(&commit.to_be_bytes());
    let mut body = Vec::new();
    for (seq, value) in (1..).zip(values) {
        hasher.update(&codec::hash(value).0);
        body.extend(codec::key(run, seq));
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(value);
    }
    let hash = Hash32(*hasher.finalize().as_bytes());
    body.push(END_MARK);
    let mut frame = b"RKFR".to_vec();
    frame.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    frame.extend(u32::try_from(values.len()).unwrap().to_be_bytes());
    frame.extend(commit.to_be_bytes());
    frame.extend(hash.0);
    frame.extend(crc32c::crc32c(&body).to_be_bytes());
    frame.extend(crc32c::crc32c(&frame).to_be_bytes());
    frame.extend(body);
    let log = sandbox.path(".rekindle/log/0000000001");
    let bytes = fs::read(&log).unwrap();
    let bytes = [&bytes[..end_of_frames(&bytes)], &frame].concat();
    fs::write(log, bytes).unwrap();
    let mut head = vec![1];
    head.extend(commit.to_be_bytes());
    head.extend(hash.0);
    head.extend(crc32c::crc32c(&head).to_be_bytes());
    fs::write(file, head).unwrap();
}

/// Checks that a command names a run's second record and says what to do.
fn names(sandbox: &Sandbox, args: &[&str], code: i32, run: RunId, says: &str) {
    let output = sandbox.run(args);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let named = said.contains(&run.to_string()) && said.contains("record 2") && said.contains(says);
    assert!(named, "{args:?}: {said}");
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
}

fn outcome(sandbox: &Sandbox, run: RunId) -> Value {
    let runs = sandbox.ok(&["runs", "--json"]);
    let mut runs = runs
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = runs.find(|one| one["run"] == run.to_string());
    found.map(|one| one["outcome"].clone()).unwrap()
}

#[test]
fn a_history_that_contradicts_itself_is_named_by_run_and_record_and_the_others_are_resumed() {
    let (sandbox, first) = workspace();
    let (illegal, values) = run_like(&first, Some(unheard_of()));
    log_by_hand(&sandbox, illegal, &values);
    let (good, values) = run_like(&first, None);
    log_by_hand(&sandbox, good, &values);
    let id = illegal.to_string();
    names(
        &sandbox,
        &["show", &id],
        5,
        illegal,
        "other runs are not affected",
    );
    names(
        &sandbox,
        &["resume", &id],
        5,
        illegal,
        "other runs are not affected",
    );
    names(
        &sandbox,
        &["journal", "verify"],
        5,
        illegal,
        "import the run from an archive",
    );
    let (code, said) = sandbox.code(&["resume", "--all"]);
    assert!(code == 5 && said.contains(&id), "{code}: {said}");
    assert_eq!(outcome(&sandbox, good), "succeeded", "{said}");
    assert_eq!(outcome(&sandbox, illegal), Value::Null);
    sandbox.ok(&["backup"]);
}

#[test]
fn an_event_of_a_newer_version_is_named_by_run_and_record_and_the_others_are_resumed() {
    let (sandbox, first) = workspace();
    let (newer, mut values) = run_like(&first, Some(unheard_of()));
    let body = values[1].len() - 4;
    values[1][0] = codec::RECORD_FORMAT + 1;
    let sum = crc32c::crc32c_append(crc32c::crc32c(&codec::key(newer, 2)), &values[1][..body]);
    values[1][body..].copy_from_slice(&sum.to_be_bytes());
    log_by_hand(&sandbox, newer, &values);
    let (good, values) = run_like(&first, None);
    log_by_hand(&sandbox, good, &values);
    let id = newer.to_string();
    names(&sandbox, &["history", &id], 5, newer, "use a newer Rekindle");
    names(&sandbox, &["resume", &id], 5, newer, "use a newer Rekindle");
    names(
        &sandbox,
        &["journal", "verify"],
        3,
        newer,
        "verify with a newer Rekindle",
    );
    sandbox.ok(&["resume", "--all"]);
    assert_eq!(outcome(&sandbox, good), "succeeded");
    sandbox.ok(&["backup"]);
}
