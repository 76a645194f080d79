//! The journal's commands: verify, export, import, rebuild, compact.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;

use rekindle_tests::sandbox::{NOTES, Sandbox};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

fn with_a_run() -> Sandbox {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "one");
    sandbox.ok(&["backup"]);
    sandbox
}

fn json(sandbox: &Sandbox, args: &[&str]) -> Value {
    serde_json::from_str(&sandbox.ok(args)).unwrap()
}

/// Flips a bit of every record in the log that has these bytes.
fn flip(sandbox: &Sandbox, text: &[u8]) {
    for entry in fs::read_dir(sandbox.path(".rekindle/log")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let found: Vec<usize> = (0..bytes.len().saturating_sub(text.len()))
            .filter(|at| bytes[*at..].starts_with(text))
            .collect();
        found.into_iter().for_each(|at| bytes[at] ^= 1);
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn runs_taken_out_of_one_workspace_are_in_another_record_for_record() {
    let from = with_a_run();
    let history = from.ok(&["history", "--json"]);
    assert_eq!(
        json(&from, &["journal", "verify", "--json"])["findings"],
        serde_json::json!([])
    );
    for format in ["archive", "jsonl"] {
        let to = Sandbox::with_a_note(BINARY, NOTES, "other");
        let file = to.path("runs").display().to_string();
        from.ok(&["journal", "export", "--all", "--format", format, "-o", &file]);
        let (code, said) = from.code(&["journal", "export", "latest", "-o", &file]);
        assert!(code == 2 && said.contains("is there already"), "{code}: {said}");
        let imported = json(&to, &["journal", "import", &file, "--json"]);
        assert_eq!(
            imported["imported"].as_array().map(Vec::len),
            Some(1),
            "{imported}"
        );
        assert_eq!(to.ok(&["history", "--json"]), history, "{format}");
        let again = json(&to, &["journal", "import", &file, "--json"]);
        assert_eq!(again["skipped"].as_array().map(Vec::len), Some(1), "{again}");
        let rebuilt = json(&to, &["journal", "rebuild", "--json"]);
        assert_eq!(rebuilt["runs"], 1, "{rebuilt}");
        assert_eq!(to.ok(&["history", "--json"]), history, "{format}, rebuilt");
        assert_eq!(
            json(&to, &["journal", "verify", "--json"])["findings"],
            serde_json::json!([])
        );

        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(to.path("changed"), &bytes).unwrap();
        let (code, said) = to.code(&["journal", "import", "changed"]);
        assert!(
            code == 5 && said.contains("nothing was imported"),
            "{code}: {said}"
        );
    }
}

/// The index has another copy: nothing is lost, `verify` says so, and the next command mends the log's copy.
/// Without another copy, that run is named, and the other one continues.
#[test]
fn a_record_that_was_edited_by_hand_costs_at_most_its_run() {
    let sandbox = with_a_run();
    let whole: Value = json(&sandbox, &["runs", "--json"]);
    sandbox.ok(&["verify"]);
    flip(&sandbox, b"workflow\xa6verify");
    let (code, said) = sandbox.code(&["journal", "verify"]);
    assert_eq!(code, 0, "{said}");
    let told = sandbox.ok(&["journal", "verify"]);
    assert!(
        told.contains("repairable") && told.contains("no record is lost"),
        "{told}"
    );
    fs::remove_dir_all(sandbox.path(".rekindle/journal")).unwrap();
    let output = sandbox.run(&["journal", "verify", "--json"]);
    assert_eq!(output.status.code(), Some(5));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let named = found["findings"].as_array().unwrap().iter().any(|one| {
        one["cost"] == "lost" && one["run"].is_string() && one["seq"].is_u64() && one["next"].is_string()
    });
    assert!(named, "{found:#}");
    sandbox.ok(&["history", whole["run"].as_str().unwrap()]);
    let (code, said) = sandbox.code(&["history", "latest"]);
    assert!(
        code == 5 && said.contains("quarantined") && said.contains("record"),
        "{code}: {said}"
    );
    sandbox.ok(&["backup"]);
}

#[test]
fn old_runs_are_removed_once_they_are_in_an_archive_and_come_back_from_it() {
    let sandbox = with_a_run();
    let history = sandbox.ok(&["history", "--json"]);
    let compact = ["journal", "compact", "--older-than", "now", "--json"];
    let planned = json(&sandbox, &[&compact[..], &["--dry-run"]].concat());
    assert_eq!(planned["removed"].as_array().map(Vec::len), Some(1), "{planned}");
    let (code, said) = sandbox.code(&["journal", "compact", "--older-than", "now"]);
    assert!(code == 2 && said.contains("--no-archive"), "{code}: {said}");
    assert_eq!(
        sandbox.ok(&["history", "--json"]),
        history,
        "neither has removed anything"
    );
    let kept = json(&sandbox, &["journal", "compact", "--older-than", "90d", "--json"]);
    assert_eq!(
        (kept["removed"].as_array().map(Vec::len), kept["kept"].as_u64()),
        (Some(0), Some(1))
    );

    let done = json(&sandbox, &[&compact[..], &["--archive", "old.archive"]].concat());
    assert_eq!(sandbox.ok(&["runs"]), "", "no run is left");
    let verified = json(&sandbox, &["journal", "verify", "--json"]);
    assert_eq!(verified["findings"], serde_json::json!([]));
    assert_eq!(verified["removed"][0]["summary"], done["removed"][0]);
    assert_eq!(verified["removed"][0]["archive"], done["archive"]);
    sandbox.ok(&["backup"]);
    sandbox.ok(&["journal", "import", "old.archive"]);
    let run = done["removed"][0]["run"].as_str().unwrap();
    assert_eq!(sandbox.ok(&["history", run, "--json"]), history);
}
