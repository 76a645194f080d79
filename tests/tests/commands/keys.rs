//! Each system has an identity of its own, and `key list` and the kit say what it opens.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::PathBuf;

use rekindle_tests::sandbox::{NOTES, NOTES_IN_TWO_TIERS, Sandbox, said};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// The identity files in the config folder.
fn identity_files(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.path("config/identities")).expect("read the identities");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("read an entry").path())
        .collect();
    files.sort();
    files
}

/// The secret line of an identity file or of a kit.
fn secret(text: &str) -> &str {
    let mut lines = text.lines();
    lines
        .find(|line| line.starts_with("AGE-SECRET-KEY-"))
        .expect("a secret")
}

/// The exit code of `key list`, and what it lists as JSON.
fn key_list(sandbox: &Sandbox) -> (i32, Value) {
    let text = sandbox.run(&["key", "list"]);
    let json = sandbox.run(&["key", "list", "--json"]);
    assert_eq!(text.status.code(), json.status.code());
    for output in [&text, &json] {
        assert!(
            !said(output).contains("AGE-SECRET-KEY"),
            "a secret is shown: {}",
            said(output)
        );
    }
    let listed = serde_json::from_slice(&json.stdout).expect("read what is listed");
    (json.status.code().expect("it ended"), listed)
}

fn states(listed: &Value) -> Vec<&str> {
    let copies = listed["copies"].as_array().expect("copies");
    copies.iter().filter_map(|copy| copy["state"].as_str()).collect()
}

#[test]
fn each_system_has_an_identity_of_its_own_and_its_kit_opens_no_other() {
    let sandbox = Sandbox::empty(BINARY, NOTES);
    for system in ["shop", "blog"] {
        sandbox.ok(&["init", system]);
    }
    let names: Vec<String> = identity_files(&sandbox)
        .iter()
        .filter_map(|file| Some(file.file_name()?.to_str()?.to_owned()))
        .collect();
    assert!(
        matches!(&names[..], [blog, shop] if blog.starts_with("blog-") && shop.starts_with("shop-")),
        "{names:?}"
    );
    let kit = said(&sandbox.run(&["-w", "shop", "key", "export"]));
    let blog = sandbox.path("blog").canonicalize().expect("find the blog");
    assert!(
        kit.contains(&format!(
            "# opens this system only, of those that were checked: not blog in {}",
            blog.display()
        )),
        "{kit}"
    );
    fs::write(sandbox.path("kit.txt"), kit).expect("write the kit");
    fs::remove_dir_all(sandbox.path("config")).expect("lose the identities");
    let (code, why) = sandbox.code(&["init", "blog", "--from-kit", "kit.txt"]);
    assert_eq!(code, 2, "{why}");
    sandbox.ok(&["init", "shop", "--from-kit", "kit.txt"]);
}

#[test]
fn the_kit_and_its_export_name_the_other_systems_that_its_identity_opens() {
    let sandbox = Sandbox::empty(BINARY, NOTES);
    sandbox.ok(&["init", "shop"]);
    // A person moves the shop, and makes a new one where it was: the identity of that folder is used again.
    fs::rename(sandbox.path("shop"), sandbox.path("old")).expect("move the shop");
    sandbox.ok(&["init", "shop"]);
    assert_eq!(identity_files(&sandbox).len(), 1);
    let exported = sandbox.run(&["-w", "old", "key", "export", "--kit", "kit.txt"]);
    let shop = sandbox.path("shop").canonicalize().expect("find the shop");
    let also = format!("opens this system, and also shop in {}", shop.display());
    assert!(said(&exported).contains(&also), "{}", said(&exported));
    let kit = fs::read_to_string(sandbox.path("kit.txt")).expect("read the kit");
    assert!(kit.contains(&format!("# {also}")), "{kit}");
    // What cannot be looked at is not said to stay closed.
    fs::remove_file(shop.join(".rekindle/keyring.age")).expect("lose a keyring");
    let exported = sandbox.run(&["-w", "old", "key", "export"]);
    assert!(
        said(&exported).contains("opens perhaps shop in"),
        "{}",
        said(&exported)
    );
}

#[test]
fn a_lost_workspace_finds_its_identity_again_even_without_a_tier() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "hello");
    let before = fs::read_to_string(&identity_files(&sandbox)[0]).expect("read the identity");
    fs::remove_dir_all(sandbox.path(".rekindle")).expect("lose the workspace");
    sandbox.ok(&["init", "--kit", "second.txt"]);
    assert_eq!(identity_files(&sandbox).len(), 1);
    let kit = fs::read_to_string(sandbox.path("second.txt")).expect("read the kit");
    assert_eq!(secret(&before), secret(&kit));
}

#[test]
fn an_identity_file_of_an_earlier_version_opens_its_key() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "hello");
    fs::rename(&identity_files(&sandbox)[0], sandbox.path("config/identity.txt")).expect("as it was");
    fs::remove_dir(sandbox.path("config/identities")).expect("as it was");
    sandbox.ok(&["backup"]);
    sandbox.ok(&["init"]);
    assert!(
        !sandbox.path("config/identities").exists(),
        "an identity was made anew"
    );
    // A second system does not share it.
    sandbox.ok(&["init", "blog"]);
    assert_eq!(identity_files(&sandbox).len(), 1);
}

#[test]
fn init_does_not_keep_a_key_that_nothing_here_opens() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "hello");
    sandbox.ok(&["init"]);
    fs::remove_dir_all(sandbox.path("config")).expect("lose the identity");
    fs::remove_file(sandbox.path("system.yaml")).expect("lose system.yaml");
    let (code, why) = sandbox.code(&["init"]);
    assert_eq!(code, 2, "{why}");
    let looked_in = sandbox.path("config").display().to_string();
    for expect in [
        "no identity in",
        &looked_in,
        "rekindle init --from-kit KIT",
        "REKINDLE_CONFIG_DIR",
    ] {
        assert!(why.contains(expect), "{expect}: {why}");
    }
    assert!(!sandbox.path("system.yaml").exists() && !sandbox.path("config").exists());
    sandbox.ok(&["init", "--from-kit", "kit.txt"]);
    sandbox.ok(&["init"]);
}

#[test]
fn init_says_that_it_did_not_open_a_key_with_a_passphrase_and_tries_one_that_is_named() {
    let sandbox = Sandbox::empty(BINARY, NOTES)
        .with("right", "correct horse battery staple")
        .with("wrong", "battery staple");
    sandbox.ok(&["init", "--passphrase-file", "right"]);
    let kept = sandbox.run(&["init"]);
    assert!(
        kept.status.success() && said(&kept).contains("was not opened"),
        "{}",
        said(&kept)
    );
    sandbox.ok(&["init", "--passphrase-file", "right"]);
    let (code, why) = sandbox.code(&["init", "--passphrase-file", "wrong"]);
    assert_eq!(code, 2, "{why}");
    let (code, listed) = key_list(&sandbox);
    assert_eq!(
        (code, listed["state"].as_str()),
        (3, Some("locked")),
        "the tier is not there yet"
    );
}

#[test]
fn key_list_shows_every_identity_and_every_copy_of_the_key_and_how_they_compare() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES_IN_TWO_TIERS, "hello");
    let (code, listed) = key_list(&sandbox);
    assert_eq!(
        (code, states(&listed)),
        (0, vec!["same", "nothing_yet", "nothing_yet"])
    );
    sandbox.ok(&["backup"]);
    let (code, listed) = key_list(&sandbox);
    assert_eq!(code, 0, "{listed:#}");
    assert_eq!(listed["state"], "opens");
    assert_eq!(states(&listed), ["same"; 3]);
    let [identity] = &listed["identities"].as_array().expect("identities")[..] else {
        panic!("one identity: {listed:#}")
    };
    assert_eq!(identity["opens"], true);
    assert!(
        identity["recipient"]
            .as_str()
            .is_some_and(|it| it.starts_with("age1"))
    );
    assert!(identity["since"].is_string());

    // This user has another system. The list has its identity too, and calls its key in our tier another key.
    sandbox.ok(&["init", "blog"]);
    let far = sandbox.path("tiers/far/key.age");
    fs::remove_file(&far).expect("lose a copy");
    let (code, listed) = key_list(&sandbox);
    assert_eq!(
        (code, states(&listed)),
        (5, vec!["same", "missing", "same"]),
        "{listed:#}"
    );
    fs::copy(sandbox.path("blog/.rekindle/keyring.age"), &far).expect("replace a copy");
    let (code, listed) = key_list(&sandbox);
    assert_eq!(
        (code, states(&listed)),
        (5, vec!["same", "other_key", "same"]),
        "{listed:#}"
    );
    let opens: Vec<_> = listed["identities"]
        .as_array()
        .expect("two")
        .iter()
        .map(|one| &one["opens"])
        .collect();
    assert_eq!(
        opens.iter().filter(|opens| **opens == true).count(),
        1,
        "{listed:#}"
    );
    fs::write(&far, "age-encryption.org/v1\ntorn").expect("damage a copy");
    let (code, listed) = key_list(&sandbox);
    assert_eq!(
        (code, states(&listed)),
        (5, vec!["same", "damaged", "same"]),
        "{listed:#}"
    );

    // A tier that does not answer, and then the loss of the identity.
    fs::rename(sandbox.path("tiers/far"), sandbox.path("away")).expect("unmount a tier");
    let (code, listed) = key_list(&sandbox);
    assert_eq!(
        (code, states(&listed)),
        (3, vec!["same", "unreachable", "same"]),
        "{listed:#}"
    );
    fs::remove_dir_all(sandbox.path("config")).expect("lose the identities");
    let (code, listed) = key_list(&sandbox);
    assert_eq!(
        (code, listed["state"].as_str()),
        (1, Some("closed")),
        "{listed:#}"
    );
    assert_eq!(listed["identities"], Value::Array(Vec::new()));
    fs::remove_dir_all(sandbox.path(".rekindle")).expect("lose the workspace");
    let (code, listed) = key_list(&sandbox);
    assert_eq!((code, listed["state"].as_str()), (1, Some("none")), "{listed:#}");
    assert_eq!(states(&listed), ["missing", "unreachable", "unopened"]);
}
