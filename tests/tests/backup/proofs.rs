//! A backup proves its copies: it recovers them into a sandbox and runs the validations there, before it seals the set.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;

use rekindle_tests::sandbox::{Sandbox, said};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// Returns a system with one component, and further keys of it.
fn system(keys: &str) -> String {
    format!(
        "system: small
root: ./data
components:
  notes:
    source: {{type: files, path: notes, exclude: [\"*.tmp\"]}}
{keys}tiers:
  near: {{url: \"file://./tiers/near\"}}
"
    )
}

/// Returns a validation that counts the words of the note, with a limit.
fn words(at: &str, limit: &str) -> String {
    format!(
        "      - probe: command
        name: words
        at: {at}
        run: [sh, -c, 'printf \"{{\\\"words\\\": %s}}\" \"$(wc -w < \"$1/notes/a.md\")\"', words, \"${{{{ target.root }}}}\"]
        expect: {{words: \"{limit}\"}}
"
    )
}

fn with_note(keys: &str) -> Sandbox {
    Sandbox::with_a_note(BINARY, &system(keys), "one two three")
}

/// The exit code of a command, and what it printed as JSON.
fn json(sandbox: &Sandbox, args: &[&str]) -> (i32, Value) {
    let output = sandbox.run(&[args, &["--json"]].concat());
    let body = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    (output.status.code().expect("it ended"), body)
}

fn staged(sandbox: &Sandbox) -> bool {
    sandbox.path(".rekindle/staging").exists()
}

#[test]
fn a_copy_is_proven_before_its_set_is_sealed_and_the_sandbox_is_removed() {
    let sandbox = with_note(&format!(
        "    prove: always\n    validate:\n{}",
        words("recovery", ">= 1")
    ));
    let (code, ran) = json(&sandbox, &["backup"]);
    assert_eq!(code, 0, "{ran:#}");
    let backup = &ran["backup"];
    assert_eq!(backup["recovery_ready"], true);
    assert_eq!(backup["proofs"]["notes"]["valid"], true);
    assert_eq!(
        backup["proofs"]["notes"]["snapshot"],
        backup["members"]["notes"]["snapshot"]
    );
    assert!(!staged(&sandbox));
    let shown = said(&sandbox.run(&["show"]));
    assert!(
        shown.contains("1 component recovered into a sandbox and valid there"),
        "{shown}"
    );
}

#[test]
fn a_component_whose_proof_fails_is_stored_and_the_set_before_is_recovered() {
    let sandbox = with_note(&format!(
        "    prove: always\n    validate:\n{}",
        words("both", ">= 1")
    ));
    sandbox.ok(&["backup"]);
    fs::write(sandbox.path("data/notes/a.md"), "").expect("corrupt the note");
    let (code, ran) = json(&sandbox, &["backup"]);
    assert_eq!(code, 3, "{ran:#}");
    let backup = &ran["backup"];
    assert_eq!(backup["recovery_ready"], false);
    assert_eq!(backup["unproven"][0], "notes");
    assert_eq!(backup["proofs"]["notes"]["valid"], false);
    assert_eq!(backup["proofs"]["notes"]["living"], false);
    assert_eq!(backup["components"][0]["tiers"]["near"], true, "it is stored");
    let shown = said(&sandbox.run(&["show"]));
    for expect in [
        "NOT recovery-ready",
        "the copy of notes is invalid: notes is not valid: words.words is 0, expected >= 1; the living system fails \
         its validation too",
        "WARNING: notes: the living system is not valid: words.words is 0, expected >= 1",
    ] {
        assert!(shown.contains(expect), "{expect}: {shown}");
    }
    let sets = said(&sandbox.run(&["sets"]));
    assert!(sets.contains("invalid: notes"), "{sets}");

    let status = sandbox.ok(&["status"]);
    assert!(status.contains("Can we come back?       yes: set "), "{status}");
    assert!(!status.contains("everything"), "{status}");

    let tried = said(&sandbox.run(&["recover", "--to", "out", "--dry-run"]));
    assert!(tried.contains("passed over: recovery set"), "{tried}");
    let recovered = said(&sandbox.run(&["recover", "--to", "out"]));
    for expect in [
        "passed over: recovery set",
        "notes is invalid: notes is not valid",
    ] {
        assert!(recovered.contains(expect), "{expect}: {recovered}");
    }
    let note = fs::read_to_string(sandbox.path("out/notes/a.md")).expect("read the note");
    assert_eq!(note, "one two three");
}

#[test]
fn a_copy_that_lacks_what_the_living_system_has_is_found_out() {
    let sandbox = with_note(
        "    prove: always
    validate:
      - {probe: files, at: both, path: notes/key.tmp, expect: {count: \"== 1\"}}
",
    );
    fs::write(sandbox.path("data/notes/key.tmp"), "secret").expect("write a file that is excluded");
    let (code, ran) = json(&sandbox, &["backup"]);
    assert_eq!(code, 3, "{ran:#}");
    let proof = &ran["backup"]["proofs"]["notes"];
    assert_ne!(proof["valid"], true, "{ran:#}");
    assert_eq!(proof["living"], true, "{ran:#}");
    assert_eq!(ran["backup"]["recovery_ready"], false);
}

#[test]
fn a_weekly_proof_is_made_once_and_kept_by_the_sets_after_it() {
    let sandbox = with_note(&format!(
        "    prove: weekly\n    validate:\n{}",
        words("recovery", ">= 1")
    ));
    let (_, first) = json(&sandbox, &["backup"]);
    let (code, second) = json(&sandbox, &["backup"]);
    assert_eq!(code, 0, "{second:#}");
    assert_eq!(second["backup"]["proofs"], first["backup"]["proofs"]);
    assert_eq!(second["backup"]["recovery_ready"], true);
    let steps = said(&sandbox.run(&["show"]));
    assert!(!steps.contains("prove[notes]"), "{steps}");
}

#[test]
fn a_proof_that_failed_is_due_again_in_the_next_backup() {
    let sandbox = with_note(&format!(
        "    prove: weekly\n    validate:\n{}",
        words("recovery", ">= 2")
    ));
    let note = sandbox.path("data/notes/a.md");
    fs::write(&note, "one").expect("corrupt the note");
    assert_eq!(json(&sandbox, &["backup"]).0, 3);
    fs::write(&note, "one two").expect("mend the note");
    let (code, mended) = json(&sandbox, &["backup"]);
    assert_eq!(code, 0, "{mended:#}");
    assert_eq!(mended["backup"]["proofs"]["notes"]["valid"], true);
}

#[test]
fn a_recovery_is_compared_with_the_baseline_of_the_set_that_it_came_from() {
    let recovery = "    recovery:
      - {id: cut, uses: command, with: {run: [sh, -c, 'echo one > \"$1/notes/a.md\"', cut, \"${{ target.root }}\"]}}
";
    let sandbox = with_note(&format!("    validate:\n{}", words("both", ">= 0.9 of baseline")));
    sandbox.ok(&["backup"]);
    sandbox.ok(&["recover", "--to", "same"]);
    let cut = format!("{recovery}    validate:\n{}", words("both", ">= 0.9 of baseline"));
    fs::write(sandbox.path("system.yaml"), system(&cut)).expect("add a step that cuts the note");
    let output = sandbox.run(&["recover", "--to", "less"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let expect = "words.words is 1, expected >= 0.9 of baseline 3";
    assert!(said(&output).contains(expect), "{}", said(&output));
}

#[test]
fn without_a_baseline_a_share_of_it_is_no_data_and_never_kept() {
    let sandbox = with_note(&format!("    validate:\n{}", words("recovery", ">= 1")));
    sandbox.ok(&["backup"]);
    let later = format!(
        "    validate:\n{}targets:\n  quality:\n    kept: {{expect: \">= 0.9 of baseline\", measure: words}}\n",
        words("both", ">= 0.9 of baseline")
    );
    fs::write(
        sandbox.path("system.yaml"),
        system("").replace("tiers:", &format!("{later}tiers:")),
    )
    .expect("ask for a baseline");
    let (_, ran) = json(&sandbox, &["recover", "--to", "out"]);
    assert_eq!(ran["recovery"]["components"][0]["valid"], "no_data", "{ran:#}");
    let target = &ran["targets"][0];
    assert_eq!(
        (&target["met"], &target["figure"]),
        (&Value::Null, &Value::from(3.0)),
        "{ran:#}"
    );
    assert!(
        target["why"]
            .as_str()
            .is_some_and(|why| why.contains("no baseline")),
        "{target:#}"
    );
}

#[test]
fn a_probe_gets_the_baseline_of_its_component() {
    let sandbox = with_note(&format!(
        "    validate:\n{}      - probe: command
        name: baseline
        run: [sh, -c, 'test -n \"$REKINDLE_BASELINE\" && printf %s \"$REKINDLE_BASELINE\"']
        expect: {{words: \"== 3\"}}
",
        words("backup", ">= 1")
    ));
    sandbox.ok(&["backup"]);
    let (code, ran) = json(&sandbox, &["recover", "--to", "out"]);
    assert_eq!(code, 0, "{ran:#}");
    assert_eq!(ran["recovery"]["components"][0]["valid"], "yes");
}

#[test]
fn a_probe_of_the_living_system_that_fails_costs_no_backup() {
    for (run, expect) in [
        ("'echo rubbish'", "it printed no JSON object of numbers"),
        ("'echo trouble >&2; exit 7'", "trouble"),
        ("'sleep 600'", "1s"),
        ("'echo {}'", "none of the expected numbers"),
    ] {
        let sandbox = with_note(&format!(
            "    validate:
      - {{probe: command, at: backup, run: [sh, -c, {run}], timeout: 1s, expect: {{words: \">= 1\"}}}}
"
        ));
        let output = sandbox.run(&["backup"]);
        assert_eq!(output.status.code(), Some(0), "{run}: {}", said(&output));
        assert!(
            said(&output).contains("no baseline: ") && said(&output).contains(expect),
            "{run}: {}",
            said(&output)
        );
    }
}

#[test]
fn a_proof_that_would_reach_the_living_system_is_refused() {
    let validate = "    prove: always\n    validate:\n";
    for (keys, expect) in [
        (
            format!(
                "{validate}      - {{probe: http, url: \"http://127.0.0.1:1/\", expect: {{status: \"== 200\"}}}}\n"
            ),
            "a proof has nothing to measure",
        ),
        ("    prove: daily\n".to_owned(), "a proof has nothing to measure"),
        (
            format!(
                "    recovery:\n      - {{id: start, uses: command, with: {{run: [\"true\"]}}}}\n{validate}{}",
                words("recovery", ">= 1")
            ),
            "a proof runs this step, and it would act on the living system",
        ),
    ] {
        let sandbox = Sandbox::empty(BINARY, &system(&keys));
        let output = sandbox.run(&["lint"]);
        let why = said(&output);
        assert_eq!(output.status.code(), Some(2), "{keys}: {why}");
        assert!(why.contains(expect), "{expect}: {why}");
    }
    let dump = system(&format!("{validate}{}", words("recovery", ">= 1"))).replace(
        "{type: files, path: notes, exclude: [\"*.tmp\"]}",
        "{type: command, dump: [\"true\"], restore: [\"true\"]}",
    );
    let why = said(&Sandbox::empty(BINARY, &dump).run(&["lint"]));
    assert!(why.contains("it would restore into the living system"), "{why}");
}

#[test]
fn a_set_that_a_recovery_found_invalid_is_not_taken_for_the_latest_again() {
    let sandbox = with_note(&format!("    validate:\n{}", words("recovery", ">= 1")));
    sandbox.ok(&["backup"]);
    fs::write(sandbox.path("data/notes/a.md"), "").expect("corrupt the note");
    sandbox.ok(&["backup"]);
    let (code, why) = sandbox.code(&["recover", "--to", "first"]);
    assert_eq!(code, 1, "{why}");
    let recovered = sandbox.run(&["recover", "--to", "second"]);
    let said = said(&recovered);
    assert_eq!(recovered.status.code(), Some(0), "{said}");
    assert!(said.contains("a validation found notes invalid"), "{said}");
    let note = fs::read_to_string(sandbox.path("second/notes/a.md")).expect("read the note");
    assert_eq!(note, "one two three");
}

/// Returns a system whose proven component reads another one, with further keys of that one.
fn reading(keys: &str) -> String {
    let note = format!(
        "    reads: [other]\n    prove: always\n    validate:\n{}",
        words("recovery", ">= 1")
    );
    let other = format!("  other:\n    source: {{type: files, path: other}}\n{keys}");
    system(&note).replace("tiers:", &format!("{other}tiers:"))
}

#[test]
fn a_component_that_is_only_read_is_restored_too_and_needs_no_proof() {
    let sandbox = Sandbox::with_a_note(BINARY, &reading(""), "one");
    fs::create_dir(sandbox.path("data/other")).expect("make a folder");
    let (code, ran) = json(&sandbox, &["backup"]);
    assert_eq!(code, 0, "{ran:#}");
    let backup = &ran["backup"];
    assert_eq!(backup["recovery_ready"], true, "{ran:#}");
    assert!(backup["proofs"]["other"].is_null() && backup["proofs"]["notes"]["valid"] == true);
    let steps = sandbox.ok(&["show"]);
    assert!(!steps.contains("prove[other]"), "{steps}");
}

#[test]
fn a_proof_does_not_run_the_recovery_steps_of_what_it_reads_on_the_living_system() {
    let step = "    recovery:\n      - {id: start, uses: command, with: {run: [\"true\"]}}\n";
    let why = said(&Sandbox::empty(BINARY, &reading(step)).run(&["lint"]));
    assert!(why.contains("it would act on the living system"), "{why}");
}

#[test]
fn a_copy_on_which_a_probe_breaks_is_invalid_also_in_the_sets_that_inherit_it() {
    let keys = "    prove: always
    validate:
      - probe: command
        run: [sh, -c, 'test -s \"$1/notes/a.md\" && echo \"{\\\"ok\\\": 1}\"', ok, \"${{ target.root }}\"]
        expect: {ok: \"== 1\"}
";
    let other = "  other: {source: {type: files, path: other}}\ntiers:";
    let sandbox = Sandbox::with_a_note(BINARY, &system(keys).replace("tiers:", other), "one");
    fs::create_dir(sandbox.path("data/other")).expect("make a folder");
    sandbox.ok(&["backup"]);
    fs::write(sandbox.path("data/notes/a.md"), "").expect("corrupt the note");
    let (code, ran) = json(&sandbox, &["backup"]);
    assert_eq!(
        (code, &ran["backup"]["proofs"]["notes"]["valid"]),
        (3, &Value::from(false)),
        "{ran:#}"
    );
    let (code, ran) = json(&sandbox, &["backup", "--component", "other"]);
    assert_eq!(
        (code, &ran["backup"]["recovery_ready"]),
        (3, &Value::from(false)),
        "{ran:#}"
    );
    let recovered = said(&sandbox.run(&["recover", "--to", "out"]));
    assert!(recovered.contains("notes is invalid"), "{recovered}");
    assert_eq!(
        fs::read_to_string(sandbox.path("out/notes/a.md")).expect("read it"),
        "one"
    );
}
