//! Bare status uses the newest evidence, from any kind of run.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};

use rekindle_tests::sandbox::{NOTES, NOTES_IN_TWO_TIERS, Sandbox};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

fn backed_up(system: &str) -> Sandbox {
    let sandbox = filled(system);
    sandbox.ok(&["backup"]);
    sandbox
}

fn filled(system: &str) -> Sandbox {
    let sandbox = Sandbox::empty(BINARY, system);
    fs::create_dir_all(sandbox.path("data/notes")).expect("make folders");
    let text: Vec<u8> = (0..50_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    fs::write(sandbox.path("data/notes/a.md"), text).expect("write a note");
    sandbox.ok(&["init", "--kit", "kit.txt"]);
    sandbox
}

fn come_back(sandbox: &Sandbox) -> (String, String, Value) {
    let status: Value = serde_json::from_str(&sandbox.ok(&["--json"])).expect("one JSON object");
    let answer = |key: &str| status["come_back"][key].as_str().unwrap_or_default().to_owned();
    (answer("verdict"), answer("text"), status)
}

/// Flips 8 bytes in the middle of the largest object of a tier: a pack.
fn hurt(tier: &Path) {
    fn largest(dir: &Path) -> Option<(u64, PathBuf)> {
        let entries = fs::read_dir(dir).ok()?.flatten();
        entries
            .filter_map(|entry| match entry.metadata().ok()? {
                meta if meta.is_dir() => largest(&entry.path()),
                meta => Some((meta.len(), entry.path())),
            })
            .max()
    }
    let (len, path) = largest(tier).expect("the tier holds something");
    let mut bytes = fs::read(&path).expect("read a pack");
    let at = usize::try_from(len / 2).expect("small");
    bytes[at..at + 8].iter_mut().for_each(|byte| *byte ^= 0xff);
    let mut mode = fs::metadata(&path).expect("its mode").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o600);
    fs::set_permissions(&path, mode).expect("make it writable");
    fs::write(&path, bytes).expect("write the pack");
}

#[test]
fn a_copy_that_was_found_damaged_after_its_backup_is_no_yes_any_more() {
    let sandbox = backed_up(NOTES);
    let (verdict, text, _) = come_back(&sandbox);
    assert_eq!(verdict, "good", "{text}");
    assert!(text.contains("verified in every tier"), "{text}");
    hurt(&sandbox.path("tiers/near"));
    let (code, said) = sandbox.code(&["verify"]);
    assert_eq!(code, 5, "{said}");
    let found: Value =
        serde_json::from_str(&sandbox.ok(&["show", "latest", "--json"])).expect("one JSON object");
    let (verdict, text, status) = come_back(&sandbox);
    assert_eq!(verdict, "bad", "{text}");
    assert!(
        text.starts_with("no:") && text.contains("notes in tier near is damaged"),
        "{text}"
    );
    assert_eq!(
        status["come_back"]["run"], found["run"],
        "the run that says so is named"
    );
    assert_eq!(status["how_much"]["verdict"], "bad", "{status}");
    assert!(
        status["how_much"]["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("everything")),
        "{status}"
    );
    // A look at names and lengths does not take it back, not even where the marks of the damage are lost.
    let (code, said) = sandbox.code(&["verify", "--level", "exists"]);
    assert_eq!(code, 5, "{said}");
    fs::remove_dir_all(sandbox.path("tiers/near/damaged")).expect("remove the marks");
    sandbox.ok(&["verify", "--level", "exists"]);
    assert_eq!(come_back(&sandbox).0, "bad");
    let (code, said) = sandbox.code(&["backup"]);
    assert_ne!(code, 0, "{said}");
    assert_eq!(come_back(&sandbox).0, "bad");
    // That backup found the damage by itself, so the next one stores again what is damaged.
    sandbox.ok(&["backup"]);
    assert_eq!(come_back(&sandbox).0, "good");
}

#[test]
fn a_recovery_that_lost_data_is_no_yes_any_more() {
    let sandbox = backed_up(NOTES);
    hurt(&sandbox.path("tiers/near"));
    let (code, said) = sandbox.code(&["recover", "--to", "out"]);
    assert_eq!(code, 5, "{said}");
    let (verdict, text, status) = come_back(&sandbox);
    assert_eq!(verdict, "bad", "{text}");
    assert_eq!(status["proof"]["verdict"], "bad", "{status}");
    // From a folder that is whole again, everything is well.
    fs::remove_dir_all(sandbox.path("tiers/near")).expect("take the damaged tier away");
    sandbox.ok(&["tier", "create", "near"]);
    sandbox.ok(&["backup"]);
    assert_eq!(come_back(&sandbox).0, "good");
}

#[test]
fn one_damaged_copy_of_two_is_a_yes_with_a_but_and_a_deleted_tier_is_named() {
    let sandbox = backed_up(NOTES_IN_TWO_TIERS);
    hurt(&sandbox.path("tiers/near"));
    assert_eq!(sandbox.code(&["verify"]).0, 5);
    let (verdict, text, _) = come_back(&sandbox);
    assert_eq!(verdict, "unsure", "{text}");
    assert!(
        text.starts_with("yes:") && text.contains("notes in tier near is damaged"),
        "{text}"
    );
    fs::remove_dir_all(sandbox.path("tiers/far")).expect("delete the good tier");
    let (verdict, text, _) = come_back(&sandbox);
    assert_eq!(verdict, "unsure", "{text}");
    assert!(
        text.starts_with("not sure:") && text.contains("tier far does not answer"),
        "{text}"
    );
}

#[test]
fn a_tier_that_left_the_system_file_vouches_for_nothing() {
    let sandbox = backed_up(NOTES_IN_TWO_TIERS);
    fs::remove_dir_all(sandbox.path("tiers/near")).expect("delete a tier");
    fs::write(
        sandbox.path("system.yaml"),
        NOTES_IN_TWO_TIERS.replace("  near: {url: \"file://./tiers/near\"}\n", ""),
    )
    .expect("write system.yaml");
    let (verdict, text, _) = come_back(&sandbox);
    assert_eq!(verdict, "unsure", "{text}");
    assert!(
        text.contains("tier near is no longer in the system file"),
        "{text}"
    );
}

#[test]
fn a_workspace_without_its_journal_says_that_it_has_no_evidence_and_what_to_run() {
    let sandbox = backed_up(NOTES);
    for part in ["journal", "log", "blobs"] {
        fs::remove_dir_all(sandbox.path(".rekindle").join(part)).expect("lose the journal");
    }
    let (verdict, text, status) = come_back(&sandbox);
    assert_eq!(verdict, "no_data", "{text}");
    assert!(text.contains("no evidence"), "{text}");
    let told = status.to_string();
    assert!(!told.contains("everything"), "{told}");
    assert!(
        told.contains("list_sets") && told.contains("\"verify\""),
        "{told}"
    );
}

#[test]
fn an_interrupted_recovery_in_place_is_not_a_yes_until_it_is_resumed() {
    let sandbox = backed_up(NOTES);
    let args = ["recover", "--in-place", "--yes"];
    assert!(
        sandbox
            .killed(&args, rekindle_tests::faults::Place::AfterAct, 2)
            .is_ok(),
        "it was to die after its second act"
    );
    let (verdict, text, status) = come_back(&sandbox);
    assert_eq!(verdict, "bad", "{text}");
    assert!(text.contains("in place"), "{text}");
    assert!(status["next"][0]["action"]["action"] == "resume", "{status}");
    sandbox.ok(&["resume"]);
    assert_eq!(come_back(&sandbox).0, "good");
}

#[test]
fn a_backup_with_one_of_two_tiers_out_of_use_is_done_in_part() {
    let sandbox = filled(NOTES_IN_TWO_TIERS);
    fs::create_dir_all(sandbox.path("tiers/far")).expect("make a folder");
    fs::write(sandbox.path("tiers/far/photo.jpg"), "somebody else's").expect("occupy the tier");
    let (code, said) = sandbox.code(&["backup"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("verify[notes,near]: done"), "{said}");
}

/// Two components, one of them a dump; a tier that is due every hour, and a class that may lose a day.
const SHOP: &str = "\
system: shop
root: ./data
components:
  notes: {source: {type: files, path: notes}, classes: [texts], priority: 1}
  orders: {source: {type: command, dump: [cat, orders], restore: [sh, -c, 'cat > orders']}, priority: 2}
tiers:
  near: {url: \"file://./tiers/near\", every: 1h}
data_classes:
  texts: {rpo: 1d}
";

fn shop() -> Sandbox {
    let sandbox = filled(SHOP);
    fs::write(sandbox.path("data/orders"), "one order\n").expect("write the orders");
    sandbox
}

/// Returns the exit code for monitoring, and what is said to it.
fn check(sandbox: &Sandbox) -> (i32, String) {
    let output = sandbox.run(&["status", "--check"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

fn status(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&sandbox.ok(&["status", "--json"])).expect("one JSON object")
}

#[test]
fn a_lost_key_is_no_yes_and_neither_is_a_recovery_tried() {
    let sandbox = backed_up(NOTES);
    let (code, said) = check(&sandbox);
    assert_eq!(code, 1, "nothing was ever restored: {said}");
    fs::remove_dir_all(sandbox.path("config")).expect("lose the identity");
    let (verdict, text, status) = come_back(&sandbox);
    assert_eq!(verdict, "bad", "{text}");
    assert!(text.starts_with("no: the key does not open"), "{text}");
    assert_ne!(status["next"][0], Value::Null, "{status}");
    let (code, said) = check(&sandbox);
    assert_eq!(code, 2, "{said}");
    assert!(said.starts_with("CRITICAL: no: the key does not open"), "{said}");
    let (code, said) = sandbox.code(&["recover", "--to", "out", "--dry-run"]);
    assert_ne!(code, 0, "{said}");
}

#[test]
fn a_system_that_is_gone_is_said_first_with_the_recovery_that_brings_it_back() {
    let sandbox = backed_up(NOTES);
    fs::remove_dir_all(sandbox.path("data")).expect("the disaster");
    let said = sandbox.ok(&["status"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[2].starts_with('✗') && lines[2].ends_with("data is not there"),
        "{said}"
    );
    assert!(said.contains("next:\n  rekindle recover "), "{said}");
    assert_eq!(sandbox.code(&["status", "--check"]).0, 2);
    sandbox.ok(&["recover"]);
    assert_eq!(status(&sandbox)["disaster"], Value::Null);
    // The same of one component.
    let sandbox = shop();
    sandbox.ok(&["backup"]);
    fs::remove_dir_all(sandbox.path("data/notes")).expect("a smaller disaster");
    let said = sandbox.ok(&["status"]);
    assert!(said.contains("the data of notes is not there"), "{said}");
    assert!(
        said.contains("next:\n  rekindle recover --component notes"),
        "{said}"
    );
    sandbox.ok(&["recover", "--component", "notes"]);
    assert_eq!(status(&sandbox)["disaster"], Value::Null);
}

#[test]
fn a_component_whose_backup_fails_is_named_with_its_own_loss_and_what_to_look_at() {
    let sandbox = shop();
    sandbox.ok(&["backup"]);
    fs::remove_file(sandbox.path("data/orders")).expect("break the dump");
    let (code, said) = sandbox.code(&["backup"]);
    assert_eq!(code, 3, "{said}");
    let found = status(&sandbox);
    let text = found["how_much"]["text"].as_str().expect("a text").to_owned();
    assert!(text.contains("of orders the data of the last"), "{text}");
    assert!(text.contains("within the RPO of all 1 data classes"), "{text}");
    let orders = &found["components"][1];
    assert!(
        orders["newest_failed"]
            .as_str()
            .is_some_and(|why| why.contains("snapshot[orders]")),
        "{found}"
    );
    assert!(
        orders["loss_seconds"].is_number() && orders["point"].is_string(),
        "{found}"
    );

    // It was never captured: the others can be brought back all the same.
    let sandbox = shop();
    fs::remove_file(sandbox.path("data/orders")).expect("break the dump");
    let (code, said) = sandbox.code(&["backup"]);
    assert_eq!(code, 3, "{said}");
    let (verdict, text, found) = come_back(&sandbox);
    assert_eq!(verdict, "bad", "{text}");
    assert!(
        text.contains("1 of 2 components can be brought back") && text.contains("orders has no copy"),
        "{text}"
    );
    let text = found["how_much"]["text"].as_str().expect("a text");
    assert!(
        text.contains("all of orders") && !text.contains("everything"),
        "{text}"
    );
    // Another backup would fail too.
    assert_eq!(found["next"][0]["action"]["action"], "show", "{found}");
}

#[test]
fn every_tier_and_data_class_is_listed_with_its_age_and_loss() {
    let sandbox = shop();
    let found = status(&sandbox);
    assert_eq!(found["tiers"][0]["overdue"], true, "{found}");
    assert_eq!(found["data_classes"][0]["met"], Value::Null, "{found}");
    sandbox.ok(&["backup"]);
    let said = sandbox.ok(&["status"]);
    for words in ["✓ tier near", "due every 1h", "✓ texts", ", RPO 1d"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let found = status(&sandbox);
    assert_eq!(found["tiers"][0]["overdue"], false, "{found}");
    assert!(found["tiers"][0]["age_seconds"].is_number(), "{found}");
}

#[test]
fn the_proof_is_as_good_as_its_worst_component() {
    let sandbox = shop();
    sandbox.ok(&["backup"]);
    sandbox.ok(&["recover", "--to", "out"]);
    let found = status(&sandbox);
    assert_eq!(found["proof"]["verdict"], "no_data", "{found}");
    let text = found["proof"]["text"].as_str().expect("a text");
    assert!(
        text.contains("not proven, since nothing was measured: notes, orders"),
        "{text}"
    );
    let judged = SHOP.replace(
        "priority: 1}",
        "priority: 1, validate: [{probe: files, path: notes, expect: {count: '>= 1'}}]}",
    );
    fs::write(sandbox.path("system.yaml"), judged).expect("write system.yaml");
    sandbox.ok(&["recover", "--to", "again"]);
    let found = status(&sandbox);
    assert_eq!(found["proof"]["verdict"], "unsure", "{found}");
    let text = found["proof"]["text"].as_str().expect("a text");
    assert!(
        text.contains("1 of 2 components valid; not proven") && text.contains(": orders"),
        "{text}"
    );
    assert_eq!(sandbox.code(&["status", "--check"]).0, 1);
}

#[test]
fn a_status_that_cannot_be_read_is_unknown_to_monitoring() {
    let sandbox = backed_up(NOTES);
    fs::write(sandbox.path("system.yaml"), "system: [").expect("break system.yaml");
    let (code, said) = check(&sandbox);
    assert_eq!(code, 3, "{said}");
    assert!(said.starts_with("UNKNOWN: "), "{said}");
}
