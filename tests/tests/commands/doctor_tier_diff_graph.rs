//! The commands that look, compare and check: doctor, tier, diff, graph, and bare status in each state of a
//! workspace.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rekindle_tests::faults::Place;
use rekindle_tests::sandbox::{NOTES_IN_TWO_TIERS, Sandbox};
use rekindle_tests::tree;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

fn small() -> Sandbox {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES_IN_TWO_TIERS, "as it was");
    fs::write(sandbox.path("data/notes/b.md"), "going").expect("write a note");
    sandbox
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(json).collect()
}

#[test]
fn a_healthy_workspace_is_told_to_be_one() {
    let sandbox = small();
    sandbox.ok(&["backup"]);
    let said = sandbox.ok(&["doctor"]);
    assert!(!said.contains("FAULT"), "{said}");
    for check in [
        "journal",
        "key",
        "recovery kit",
        "tier near",
        "tier far",
        "system.yaml",
    ] {
        assert!(said.contains(check), "{check}: {said}");
    }
    let found = json(&sandbox.ok(&["doctor", "--json"]));
    assert_eq!(found["faults"], 0, "{found:#}");
}

#[test]
fn doctor_closes_an_identity_that_others_can_open_and_says_what_that_does_not_undo() {
    let sandbox = small();
    sandbox.ok(&["backup"]);
    let identities = tree::files_below(&sandbox.path("config/identities"));
    let identity = identities.first().expect("an identity");
    fs::set_permissions(identity, PermissionsExt::from_mode(0o644)).expect("open the identity");
    let (code, said) = both(&sandbox, &["doctor"]);
    assert!(code == 1 && said.contains("`chmod 600 /"), "{said}");
    let (code, said) = both(&sandbox, &["doctor", "--fix"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("its mode was 0644) and is closed"), "{said}");
    assert!(said.contains("who has read it can read every backup"), "{said}");
    let mode = fs::metadata(identity)
        .expect("look at the identity")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let (code, said) = both(&sandbox, &["doctor", "--fix"]);
    assert!(code == 0 && !said.contains("is closed"), "{said}");
}

#[test]
fn each_fault_of_a_broken_workspace_is_named_with_what_to_do() {
    let sandbox = small();
    sandbox.ok(&["backup"]);
    // A run that was cut off, a tier that is gone, a system that says nonsense, a key that does not open.
    assert_eq!(sandbox.killed(&["backup"], Place::AfterAppend, 3), Ok(()));
    fs::rename(sandbox.path("tiers/far"), sandbox.path("tiers/elsewhere")).expect("take a tier away");
    let (code, said) = both(&sandbox, &["doctor"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("tier far") && said.contains("FAULT"), "{said}");
    assert!(said.contains("rekindle resume 0"), "{said}");

    fs::remove_dir_all(sandbox.path("config")).expect("lose the key");
    fs::write(sandbox.path("system.yaml"), "system: small\nroto: ./data\n").expect("break the system");
    let (code, said) = both(&sandbox, &["doctor"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("unknown key `roto`"), "{said}");
    let faults = said.lines().filter(|line| line.starts_with("FAULT")).count();
    assert!(faults >= 2, "{said}");
}

#[test]
fn what_init_says_to_do_next_works_from_where_the_person_stands() {
    let sandbox = Sandbox::empty(BINARY, NOTES_IN_TWO_TIERS);
    let said = sandbox.ok(&["init", "shop"]);
    for next in [
        "`rekindle -w shop key export --kit FILE`",
        "`rekindle -w shop lint shop/system.yaml`",
        "`rekindle -w shop backup`",
    ] {
        assert!(said.contains(next), "{next}: {said}");
    }
    sandbox.ok(&["-w", "shop", "lint", "shop/system.yaml"]);
    sandbox.ok(&["-w", "shop", "backup"]);
}

#[test]
fn a_command_that_names_its_workspace_runs_in_a_folder_that_is_deleted() {
    let sandbox = small();
    let workspace = sandbox.path(".").display().to_string();
    let run = |args: &[&str]| {
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            r#"mkdir gone && cd gone && rmdir ../gone && exec "$0" "$@""#,
            BINARY,
        ]);
        let output = shell.args(args).current_dir(sandbox.path(".")).output();
        let output = output.expect("start a shell");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    for args in [
        &["-w", &workspace, "runs"][..],
        &["schema", "system"],
        &["--version"],
    ] {
        let (code, said) = run(args);
        assert_eq!(code, Some(0), "{args:?}: {said}");
    }
    let (code, said) = run(&["runs"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot find the current folder"), "{said}");
}

fn both(sandbox: &Sandbox, args: &[&str]) -> (i32, String) {
    let output = sandbox.run(args);
    (
        output.status.code().unwrap_or(-1),
        rekindle_tests::sandbox::said(&output),
    )
}

#[test]
fn a_tier_is_tried_out_and_one_that_takes_nothing_is_faulty() {
    let sandbox = small();
    sandbox.ok(&["backup"]);
    let listed = lines(&sandbox.ok(&["tier", "list", "--json"]));
    assert_eq!(listed.len(), 2);
    assert!(
        listed
            .iter()
            .all(|tier| tier["sets"] == 1 && tier["snapshots"] == 1),
        "{listed:?}"
    );
    let checked = lines(&sandbox.ok(&["tier", "check", "--json"]));
    assert!(checked.iter().all(|tier| tier["ok"] == true), "{checked:?}");
    assert!(
        checked
            .iter()
            .all(|tier| tier["write_seconds"].as_f64() > Some(0.0))
    );
    // Nothing of the trial stays, and nothing of the vault went.
    assert!(
        !sandbox
            .path("tiers/near/probes")
            .read_dir()
            .is_ok_and(|mut left| left.next().is_some())
    );
    sandbox.ok(&["verify"]);
    // Root may write everywhere: a file stands in the way instead of a mode.
    fs::remove_dir_all(sandbox.path("tiers/near/probes")).ok();
    fs::write(sandbox.path("tiers/near/probes"), "in the way").expect("stand in the way");
    let (code, said) = both(&sandbox, &["tier", "check"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("near") && said.contains("FAULTY"), "{said}");
    let (code, said) = both(&sandbox, &["tier", "check", "nowhere"]);
    assert_eq!((code, said.contains("near")), (2, true), "{said}");
}

#[test]
fn two_snapshots_are_told_apart_entry_by_entry() {
    let sandbox = small();
    sandbox.ok(&["backup"]);
    fs::write(sandbox.path("data/notes/a.md"), "as it is now").expect("change a note");
    fs::remove_file(sandbox.path("data/notes/b.md")).expect("remove a note");
    fs::write(sandbox.path("data/notes/c.md"), "new").expect("add a note");
    sandbox.ok(&["backup"]);
    let snapshots = lines(&sandbox.ok(&["snapshots", "--tier", "near", "--json"]));
    let mut ids: Vec<&str> = snapshots
        .iter()
        .filter_map(|one| one["snapshot"].as_str())
        .collect();
    // Ids begin with their time.
    ids.sort_unstable();
    let told = lines(&sandbox.ok(&["diff", ids[0], ids[1], "--json"]));
    let changes: Vec<(&str, &str)> = told
        .iter()
        .filter_map(|line| Some((line["change"].as_str()?, line["path"].as_str()?)))
        .filter(|(change, _)| *change != "metadata")
        .collect();
    assert_eq!(
        changes,
        [("content", "a.md"), ("removed", "b.md"), ("added", "c.md")]
    );
    let same = sandbox.ok(&["diff", ids[1], ids[1]]);
    assert!(
        same.starts_with("0 added, 0 removed, 0 with other content"),
        "{same}"
    );
}

#[test]
fn a_run_is_drawn_for_every_reader() {
    let sandbox = small();
    sandbox.ok(&["backup"]);
    let mermaid = sandbox.ok(&["graph", "latest", "--format", "mermaid"]);
    assert!(mermaid.starts_with("flowchart LR\n"), "{mermaid}");
    assert!(mermaid.contains("succeeded"), "{mermaid}");
    let svg = sandbox.ok(&["graph", "recover", "--format", "svg"]);
    assert!(
        svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"),
        "{svg}"
    );
    assert_eq!(
        svg.matches("<text").count(),
        svg.matches("<rect").count() - 1,
        "a box each, and the paper"
    );
}

#[test]
fn bare_status_says_what_is_next_in_each_hour() {
    let sandbox = small();
    let before = sandbox.ok(&[]);
    assert!(before.contains("rekindle backup"), "{before}");
    sandbox.ok(&["backup"]);
    let after = sandbox.ok(&[]);
    assert!(after.to_lowercase().contains("yes"), "{after}");
    assert_eq!(
        sandbox.killed(&["recover", "--to", "out"], Place::AfterAct, 2),
        Ok(())
    );
    let during = sandbox.ok(&[]);
    assert!(during.contains("rekindle resume 0"), "{during}");
}

#[test]
fn what_a_program_wrote_can_be_read_by_its_owner_only() {
    let sandbox = small();
    let flow = "workflow: talks\nsteps:\n  - id: talk\n    uses: command\n    with: {run: [sh, -c, \"echo hello from the step\"]}\n";
    fs::write(sandbox.path("talks.yaml"), flow).expect("write a workflow");
    sandbox.ok(&["run", "talks.yaml"]);
    let said = sandbox.ok(&["logs", "latest", "talk"]);
    assert!(said.contains("hello from the step"), "{said}");
    let (code, said) = both(&sandbox, &["logs", "latest", "tlak"]);
    assert_eq!((code, said.contains("talk")), (2, true), "{said}");
    let logs = sandbox.path(".rekindle/logs");
    let mode = fs::metadata(logs)
        .expect("the folder of logs")
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}
