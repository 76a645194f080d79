//! A workspace, a system file or a workflow that another user can change runs nothing as this user. The refusal names
//! the command that trusts it; commands that only look warn.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::Output;

use rekindle_tests::chaos::skipped;
use rekindle_tests::sandbox::{Sandbox, said};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// The user who owns nothing.
const NOBODY: u32 = 65_534;

/// The dump leaves a mark of the user who runs it.
const SYSTEM: &str = r#"
system: small
root: ./data
components:
  state:
    source:
      type: command
      dump: [sh, "-c", "id -u > ../ran-as; echo state"]
      restore: [sh, "-c", "id -u > ran-as; cat > state"]
tiers:
  near: {url: "file://./tiers/near"}
"#;

const FLOW: &str = "workflow: mine\nsteps:\n  - {id: it, uses: command, with: {run: [touch, flow-ran]}}\n";
const OUTER: &str = "workflow: outer\nsteps:\n  - {id: it, uses: workflow, with: {workflow: ./flow.yaml}}\n";

/// A workspace, and a folder for the settings of root that nobody else can change.
struct House {
    sandbox: Sandbox,
    config: tempfile::TempDir,
}

impl House {
    /// Returns none if this test cannot make files of another user.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped("other users", "only root can make files of another user");
            return None;
        }
        let config = tempfile::tempdir().expect("make a folder");
        let sandbox = Sandbox::empty(BINARY, SYSTEM)
            .with("data/a", "a")
            .with("flow.yaml", FLOW)
            .with("outer.yaml", OUTER);
        let house = Self { sandbox, config };
        let made = house.run(&["init", "--kit", "kit.txt"]);
        assert!(made.status.success(), "{}", said(&made));
        let backed_up = house.run(&["backup"]);
        assert!(backed_up.status.success(), "{}", said(&backed_up));
        fs::remove_file(house.sandbox.path("ran-as")).expect("the dump has run");
        Some(house)
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = self.sandbox.command(args);
        command.env("REKINDLE_CONFIG_DIR", self.config.path());
        command.output().expect("start the product")
    }

    /// Runs a command that must be refused, and returns the path that its hint trusts.
    fn refused(&self, args: &[&str]) -> PathBuf {
        let output = self.run(&[args, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
        let answer: Value = serde_json::from_slice(&output.stdout).expect("an error in JSON");
        let error = &answer["error"];
        assert_eq!(error["code"], "not_trusted", "{args:?}: {error}");
        let next = &error["next"][0]["action"];
        assert_eq!(next["action"], "trust", "{args:?}: {error}");
        let path = PathBuf::from(next["path"].as_str().expect("a path"));
        let hint = error["hint"].as_str().expect("a hint");
        assert!(
            hint.contains(&format!("`rekindle trust {}`", path.display())),
            "{hint}"
        );
        assert!(!self.sandbox.path("ran-as").exists(), "{args:?} ran a program");
        path
    }
}

fn own(path: &Path, uid: u32) {
    lchown(path, Some(uid), Some(uid)).expect("give it to a user");
}

fn own_all(path: &Path, uid: u32) {
    own(path, uid);
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("list a folder") {
            own_all(&entry.expect("list a folder").path(), uid);
        }
    }
}

/// The commands that run something or write something in the workspace.
const ACTING: &[&[&str]] = &[
    &["backup"],
    &["verify"],
    &["recover", "--to", "back"],
    &["restore", "0", "--to", "back"],
    &["resume"],
    &["adopt", "file://./tiers/near"],
    &["run", "backup"],
    &["run", "flow.yaml"],
    &["serve"],
    &["prune"],
    &["cancel", "latest"],
    &["tier", "check"],
    &["tier", "create", "near"],
    &["sets"],
    &["key", "export"],
    &["journal", "rebuild"],
    &["journal", "compact", "--older-than", "1d", "--no-archive"],
    &["init"],
];

/// The commands that only look.
const LOOKING: &[&[&str]] = &[
    &["status"],
    &["runs"],
    &["show"],
    &["history"],
    &["logs"],
    &["plan", "backup"],
    &["lint", "system.yaml"],
];

#[test]
fn a_workspace_of_another_user_runs_nothing_until_it_is_trusted() {
    let Some(house) = House::new() else { return };
    let whole = house.sandbox.path(".").canonicalize().expect("it is there");
    own_all(&whole, NOBODY);
    for args in ACTING {
        let path = house.refused(args);
        assert!(path.starts_with(&whole), "{args:?}: {}", path.display());
    }
    for args in LOOKING {
        let output = house.run(args);
        let told = said(&output);
        assert!(output.status.success(), "{args:?}: {told}");
        assert!(
            told.contains("warning: ") && told.contains("belongs to nobody"),
            "{args:?}: {told}"
        );
    }
    let doctor = said(&house.run(&["doctor"]));
    assert!(
        doctor.contains("ownership") && doctor.contains("belongs to nobody"),
        "{doctor}"
    );

    // It is found upward too.
    let mut below = house.sandbox.command(&["backup"]);
    below.current_dir(house.sandbox.path("data"));
    let below = below.env("REKINDLE_CONFIG_DIR", house.config.path()).output();
    assert_eq!(below.expect("start the product").status.code(), Some(2));

    let trusted = whole.to_str().expect("a path in UTF-8");
    assert!(house.run(&["trust", trusted]).status.success());
    let output = house.run(&["backup"]);
    assert!(output.status.success(), "{}", said(&output));
    let ran_as = fs::read_to_string(house.sandbox.path("ran-as")).expect("the dump has run");
    assert_eq!(ran_as.trim(), "0");
    fs::remove_file(house.sandbox.path("ran-as")).expect("remove the mark");

    let listed = said(&house.run(&["trust"]));
    assert!(listed.contains(trusted), "{listed}");
    assert!(house.run(&["trust", "--remove", trusted]).status.success());
    house.refused(&["backup"]);
}

#[test]
fn one_part_that_another_user_can_change_is_enough() {
    let Some(house) = House::new() else { return };
    let output = house.run(&["backup"]);
    assert!(output.status.success(), "{}", said(&output));
    fs::remove_file(house.sandbox.path("ran-as")).expect("remove the mark");
    for part in [
        ".",
        "system.yaml",
        ".rekindle",
        ".rekindle/key.json",
        ".rekindle/log",
    ] {
        let path = house.sandbox.path(part);
        own(&path, NOBODY);
        house.refused(&["backup"]);
        own(&path, 0);
        if part.ends_with("/log") {
            // Nobody else gets into .rekindle, so modes in it do not count.
            continue;
        }
        let mode = fs::metadata(&path).expect("it is there").permissions();
        for bits in [0o002, 0o020] {
            if bits == 0o020 {
                lchown(&path, None, Some(NOBODY)).expect("give it to a group");
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(mode.mode() | bits)).expect("open it up");
            house.refused(&["backup"]);
        }
        lchown(&path, None, Some(0)).expect("take it back");
        fs::set_permissions(&path, mode).expect("close it");
    }
    let output = house.run(&["backup"]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_workflow_of_another_user_is_refused_also_inside_another_one() {
    let Some(house) = House::new() else { return };
    let flow = house
        .sandbox
        .path("flow.yaml")
        .canonicalize()
        .expect("it is there");
    own(&flow, NOBODY);
    assert_eq!(
        house.refused(&["run", "flow.yaml"]),
        house.sandbox.path("flow.yaml")
    );
    let nested = house.run(&["run", "outer.yaml"]);
    assert_eq!(nested.status.code(), Some(2), "{}", said(&nested));
    assert!(said(&nested).contains("rekindle trust"), "{}", said(&nested));
    assert!(!house.sandbox.path("flow-ran").exists());
    for args in [["lint", "flow.yaml"], ["plan", "flow.yaml"]] {
        let output = house.run(&args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        assert!(said(&output).contains("belongs to nobody"), "{}", said(&output));
    }

    let name = flow.to_str().expect("a path in UTF-8");
    assert!(house.run(&["trust", name]).status.success());
    for workflow in ["flow.yaml", "outer.yaml"] {
        let output = house.run(&["run", workflow]);
        assert!(output.status.success(), "{workflow}: {}", said(&output));
    }
    assert!(house.sandbox.path("flow-ran").exists());
}

#[test]
fn another_user_cannot_write_the_list_of_what_root_trusts() {
    let Some(house) = House::new() else { return };
    let home = tempfile::tempdir().expect("make a home");
    let config = home.path().join(".config/rekindle");
    fs::create_dir_all(&config).expect("make a folder");
    let whole = house.sandbox.path(".").canonicalize().expect("it is there");
    let list = serde_json::json!({ "trusted": [{ "path": whole, "uid": NOBODY }] });
    fs::write(config.join("trusted.json"), list.to_string()).expect("write a list");
    own_all(home.path(), NOBODY);
    own(&house.sandbox.path("system.yaml"), NOBODY);
    own(&whole, NOBODY);
    // Named by hand, and found by a HOME that `sudo` has kept.
    for named in [true, false] {
        let mut command = house.sandbox.command(&["backup"]);
        match named {
            true => command.env("REKINDLE_CONFIG_DIR", &config),
            false => command.env_remove("REKINDLE_CONFIG_DIR").env("HOME", home.path()),
        };
        command.env_remove("XDG_CONFIG_HOME");
        let output = command.output().expect("start the product");
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("rekindle trust"), "{}", said(&output));
    }
    assert!(!house.sandbox.path("ran-as").exists());
}

#[test]
fn a_link_that_another_user_has_planted_at_the_target_is_not_followed() {
    let Some(house) = House::new() else { return };
    let victim = house.sandbox.path("victim");
    fs::create_dir(&victim).expect("make a folder");
    for (link, to) in [("planted", "planted"), ("above", "above/below/back")] {
        let link = house.sandbox.path(link);
        std::os::unix::fs::symlink(&victim, &link).expect("plant a link");
        own(&link, NOBODY);
        let to = house.sandbox.path(to);
        let to = to.to_str().expect("a path in UTF-8");
        let snapshots = house.run(&["snapshots", "--json"]);
        let first: Value = serde_json::from_slice(&snapshots.stdout).expect("one snapshot in JSON");
        let snapshot = first["snapshot"].as_str().expect("an id");
        for args in [&["recover", "--to", to][..], &["restore", snapshot, "--to", to]] {
            let output = house.run(args);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
            assert!(said(&output).contains("belongs to nobody"), "{}", said(&output));
        }
        let left = fs::read_dir(&victim).expect("list it").count();
        assert_eq!(left, 0, "{to} was followed");
        // A link of one's own is.
        own(&link, 0);
        let output = house.run(&["recover", "--to", to]);
        assert!(output.status.success(), "{}", said(&output));
        fs::remove_dir_all(&victim).expect("empty it");
        fs::create_dir(&victim).expect("make it again");
    }
}

/// Returns every file below a folder whose mode lets others in.
fn open_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("list a folder").flatten() {
        let (path, meta) = (entry.path(), entry.metadata().expect("look at it"));
        if meta.is_dir() {
            found.extend(open_files(&path));
        } else if meta.is_file() && meta.permissions().mode() & 0o077 != 0 {
            found.push(path);
        }
    }
    found
}

#[test]
fn no_file_of_a_workspace_is_open_to_others_whatever_the_umask_is() {
    let sandbox = Sandbox::empty(BINARY, SYSTEM).with("data/a", "a");
    let home = sandbox.path("home");
    fs::create_dir(&home).expect("make a folder");
    let run = |words: &str| {
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", &format!("umask 000; exec \"$0\" {words}"), BINARY])
            .current_dir(sandbox.path("."))
            .env("REKINDLE_CONFIG_DIR", home.join("config"));
        let output = command.output().expect("start the product");
        assert!(output.status.success(), "{words}: {}", said(&output));
    };
    for words in [
        "init --kit home/kit.txt",
        "backup",
        "recover --to back",
        "backup",
        "journal export --all -o home/runs.archive",
        "init home/new",
    ] {
        run(words);
    }
    assert_eq!(open_files(&home), Vec::<PathBuf>::new());
    for name in ["log", "blobs", "logs", "owed", "seen", "staging", "restores"] {
        let folder = sandbox.path(".rekindle").join(name);
        if folder.is_dir() {
            assert_eq!(open_files(&folder), Vec::<PathBuf>::new(), "{name}");
        }
    }
    for name in ["lock", "head", "key.json", "keyring.age"] {
        let file = sandbox.path(".rekindle").join(name);
        let mode = fs::metadata(file).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
}
