//! A host is lost: workspace, config folder and data. A tier and the recovery kit bring all of it back, and
//! `init` never hides an existing vault behind a new key.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::process::Output;

use rekindle_tests::sandbox::{Sandbox, said};
use rekindle_tests::tree;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const SMALL: &str = "\
system: small
root: ./data
components:
  notes: {source: {type: files, path: notes}}
  ledger: {source: {type: sqlite, path: ledger.sqlite}}
tiers:
  near: {url: \"file://./tiers/near\"}
  far: {url: \"file://./tiers/far\"}
";

/// A system with a few files and a database, backed up once.
fn backed_up(init: &[&str]) -> Sandbox {
    let sandbox = Sandbox::empty(BINARY, SMALL);
    fs::create_dir_all(sandbox.path("data/notes/empty")).expect("make folders");
    fs::write(sandbox.path("data/notes/a.md"), "hello").expect("write a note");
    fs::write(sandbox.path("passphrase"), "correct horse").expect("write a passphrase");
    let ledger = rusqlite::Connection::open(sandbox.path("data/ledger.sqlite")).expect("make a database");
    ledger
        .execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1);")
        .expect("fill it");
    drop(ledger);
    sandbox.ok(&[&["init", "--kit", "kit.txt"], init].concat());
    let backup = sandbox
        .command(&["backup"])
        .env("REKINDLE_PASSPHRASE", "correct horse")
        .output();
    assert!(backup.expect("back up").status.success());
    sandbox
}

/// Removes everything but the tiers, the kit and system.yaml; returns the result of an undisturbed recovery. Its notes
/// are the living ones. A captured database is the same, but SQLite has written its header again.
fn lose_the_host(sandbox: &Sandbox) -> tree::Tree {
    let recovered = with_passphrase(sandbox, &["recover", "--to", "undisturbed"]);
    assert!(recovered.status.success(), "{}", said(&recovered));
    let before = tree::read(&sandbox.path("undisturbed")).expect("read what is back");
    assert_eq!(
        tree::read(&sandbox.path("undisturbed/notes")).expect("read what is back"),
        tree::read(&sandbox.data().join("notes")).expect("read the data")
    );
    for folder in [".rekindle", "data", "undisturbed"] {
        fs::remove_dir_all(sandbox.path(folder)).expect("lose a folder");
    }
    // A passphrase has no config folder.
    let _ = fs::remove_dir_all(sandbox.path("config"));
    before
}

/// The command lines that a kit recommends.
fn told_by(sandbox: &Sandbox) -> Vec<String> {
    let kit = fs::read_to_string(sandbox.path("kit.txt")).expect("read the kit");
    let lines = kit
        .lines()
        .filter_map(|line| line.trim_start_matches('#').trim().strip_prefix("rekindle "));
    lines.map(str::to_owned).collect()
}

fn with_passphrase(sandbox: &Sandbox, args: &[&str]) -> Output {
    let mut command = sandbox.command(args);
    command.env("REKINDLE_PASSPHRASE", "correct horse");
    command.output().expect("start the product")
}

fn expect_all_back(sandbox: &Sandbox, expect: &tree::Tree, out: &str) {
    let back = tree::read(&sandbox.path(out)).expect("read what is back");
    assert_eq!(tree::differences(expect, &back), [""; 0]);
}

#[test]
fn the_commands_of_the_kit_bring_a_lost_host_back_byte_by_byte() {
    let sandbox = backed_up(&[]);
    let before = lose_the_host(&sandbox);
    let told = told_by(&sandbox);
    assert_eq!(told.len(), 2, "{told:?}");
    for line in &told {
        let line = line.replace("DIR", ".").replace("OUT", "out");
        sandbox.ok(&line.split_whitespace().collect::<Vec<_>>());
    }
    expect_all_back(&sandbox, &before, "out");
    // Life goes on in the same vault: a backup, and a kit that opens it.
    sandbox.ok(&["recover"]);
    sandbox.ok(&["backup"]);
    sandbox.ok(&["key", "export", "--kit", "second-kit.txt"]);
    let secret = |file| {
        let kit = fs::read_to_string(sandbox.path(file)).expect("read a kit");
        kit.lines().last().map(str::to_owned)
    };
    assert_eq!(secret("kit.txt"), secret("second-kit.txt"));
}

#[test]
fn a_lost_system_file_comes_back_from_the_tier_too() {
    let sandbox = backed_up(&[]);
    let before = lose_the_host(&sandbox);
    fs::remove_file(sandbox.path("system.yaml")).expect("lose system.yaml");
    fs::rename(sandbox.path("tiers"), sandbox.path("moved")).expect("mount the tiers elsewhere");
    let (code, why) = sandbox.code(&["init", "--from-kit", "kit.txt"]);
    assert_eq!(code, 2, "{why}");
    assert!(why.contains("--tier-url"), "{why}");
    assert!(!sandbox.path("system.yaml").exists() && !sandbox.path(".rekindle").exists());
    let (code, why) = sandbox.code(&[
        "init",
        "--from-kit",
        "kit.txt",
        "--tier-url",
        "file://./moved/far",
    ]);
    assert_eq!(code, 0, "{why}");
    assert!(why.contains("tier near"), "a tier that moved is not named: {why}");
    assert_eq!(
        fs::read_to_string(sandbox.path("system.yaml")).expect("read system.yaml"),
        SMALL
    );
    fs::rename(sandbox.path("moved"), sandbox.path("tiers")).expect("mount the tiers where they were");
    sandbox.ok(&["recover", "--to", "out"]);
    expect_all_back(&sandbox, &before, "out");
}

#[test]
fn an_identity_that_opens_the_tier_takes_its_key_over_and_others_stay_beside_it() {
    let sandbox = backed_up(&[]);
    lose_the_host(&sandbox);
    // Another system of the same user has made an identity of its own in the meantime.
    fs::create_dir(sandbox.path("other")).expect("make a folder");
    sandbox.ok(&["init", "other"]);
    sandbox.ok(&["init", "--from-kit", "kit.txt"]);
    sandbox.ok(&["sets"]);
    sandbox.ok(&["-w", "other", "key", "export"]);
    // Now the config folder holds what opens the tier: the kit is not needed again.
    fs::remove_dir_all(sandbox.path(".rekindle")).expect("lose the workspace only");
    sandbox.ok(&["init"]);
    sandbox.ok(&["recover", "--to", "out"]);
    // And where only the config folder is lost, the kit puts the identity back.
    fs::remove_dir_all(sandbox.path("config")).expect("lose the config folder");
    assert_eq!(sandbox.code(&["sets"]).0, 2);
    sandbox.ok(&["init", "--from-kit", "kit.txt"]);
    sandbox.ok(&["sets"]);
}

#[test]
fn no_new_key_is_made_beside_a_vault_that_nothing_here_opens() {
    let sandbox = backed_up(&[]);
    lose_the_host(&sandbox);
    let refused = |args: &[&str], expect: &str| {
        let (code, why) = sandbox.code(args);
        assert_eq!(code, 2, "{args:?}: {why}");
        assert!(
            why.contains("tier far") && why.contains(expect),
            "{args:?}: {why}"
        );
        assert!(
            !sandbox.path(".rekindle").exists(),
            "{args:?} left a workspace behind"
        );
    };
    refused(&["init"], "rekindle init --from-kit KIT");
    refused(&["init", "--passphrase-file", "passphrase"], "--from-kit KIT");
    let stranger = stranger_identity();
    fs::write(sandbox.path("stranger.txt"), &stranger).expect("write another identity");
    refused(
        &["init", "--from-kit", "stranger.txt"],
        "no identity here opens it",
    );
    // One tier has lost its key file: it is still a vault, and the other one gives the key.
    fs::remove_file(sandbox.path("tiers/far/key.age")).expect("lose a key file");
    refused(&["init"], "holds a vault already");
    sandbox.ok(&["init", "--from-kit", "kit.txt"]);
}

/// The kit of another system: an identity that is of no use here.
fn stranger_identity() -> String {
    let other = Sandbox::empty(BINARY, SMALL);
    other.ok(&["init"]);
    other.ok(&["key", "export"])
}

#[test]
fn a_kit_of_another_vault_is_told_from_this_one_by_its_fingerprint() {
    let sandbox = backed_up(&[]);
    lose_the_host(&sandbox);
    let kit = fs::read_to_string(sandbox.path("kit.txt")).expect("read the kit");
    let forged: String = kit
        .lines()
        .map(|line| match line.starts_with("# fingerprint") {
            true => "# fingerprint  00000000000000000000000000000000\n".to_owned(),
            false => format!("{line}\n"),
        })
        .collect();
    fs::write(sandbox.path("forged.txt"), forged).expect("write a kit");
    let (code, why) = sandbox.code(&["init", "--from-kit", "forged.txt"]);
    assert_eq!(code, 2, "{why}");
    assert!(why.contains("the kit says 0000"), "{why}");
}

#[test]
fn a_passphrase_alone_brings_a_lost_host_back() {
    let sandbox = backed_up(&["--passphrase-file", "passphrase"]);
    let before = lose_the_host(&sandbox);
    let (code, why) = sandbox.code(&["init"]);
    assert_eq!(code, 2, "{why}");
    assert!(why.contains("--ask-passphrase"), "{why}");
    fs::write(sandbox.path("wrong"), "battery staple").expect("write a passphrase");
    let (code, why) = sandbox.code(&["init", "--from-kit", "kit.txt", "--passphrase-file", "wrong"]);
    assert_eq!(code, 2, "{why}");
    assert!(why.contains("passphrase"), "{why}");
    sandbox.ok(&["init", "--from-kit", "kit.txt", "--passphrase-file", "passphrase"]);
    let recovered = with_passphrase(&sandbox, &["recover", "--to", "out"]);
    assert!(recovered.status.success(), "{}", said(&recovered));
    expect_all_back(&sandbox, &before, "out");
}

#[test]
fn a_passphrase_and_a_tier_bring_everything_back_without_a_kit_and_without_a_system_file() {
    let sandbox = backed_up(&["--passphrase-file", "passphrase"]);
    let before = lose_the_host(&sandbox);
    fs::remove_file(sandbox.path("system.yaml")).expect("lose system.yaml");
    fs::remove_file(sandbox.path("kit.txt")).expect("lose the kit");
    let tier = ["init", "--tier-url", "file://./tiers/far"];
    // Without its passphrase nothing is made beside the vault.
    let (code, why) = sandbox.code(&tier);
    assert_eq!(code, 2, "{why}");
    assert!(why.contains("--ask-passphrase"), "{why}");
    assert!(!sandbox.path("system.yaml").exists() && !sandbox.path(".rekindle").exists());
    let init = with_passphrase(&sandbox, &[&tier[..], &["--ask-passphrase"]].concat());
    assert!(init.status.success(), "{}", said(&init));
    assert_eq!(
        fs::read_to_string(sandbox.path("system.yaml")).expect("read system.yaml"),
        SMALL
    );
    let recovered = with_passphrase(&sandbox, &["recover", "--to", "out"]);
    assert!(recovered.status.success(), "{}", said(&recovered));
    expect_all_back(&sandbox, &before, "out");
}

#[test]
fn a_kit_that_does_not_lead_to_a_tier_is_told_at_every_backup() {
    let sandbox = backed_up(&[]);
    let (code, said) = sandbox.code(&["backup"]);
    assert_eq!((code, said.contains("recovery kit")), (0, false), "{said}");
    let moved = SMALL.replace("file://./tiers/far", "file://./tiers/farther");
    fs::write(sandbox.path("system.yaml"), moved).expect("move a tier");
    let (code, said) = sandbox.code(&["backup"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("rekindle key export --kit FILE"), "{said}");
    sandbox.ok(&["key", "export", "--kit", "second-kit.txt"]);
    let (code, said) = sandbox.code(&["backup"]);
    assert_eq!((code, said.contains("recovery kit")), (0, false), "{said}");
}
