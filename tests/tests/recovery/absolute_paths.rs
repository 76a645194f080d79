//! Components with absolute paths: captured and recovered in place where they are, and below the folder of a recovery
//! elsewhere.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};

use rekindle_tests::sandbox::{Sandbox, said};
use rekindle_tests::tree::{self, Tree};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// A component below the root and two outside of it, with probes that count.
const SYSTEM: &str = r#"
system: small
root: ./data
components:
  notes: {source: {type: files, path: notes}}
  etc:
    source: {type: files, path: OUTSIDE/etc}
    validate:
      - {probe: files, path: OUTSIDE/etc, expect: {count: 2}}
      - probe: command
        run: [sh, -c, 'echo "{\"files\": $(find "$1" -type f | wc -l)}"', sh, "${{ target.place }}"]
        expect: {files: 2}
  ledger:
    source: {type: sqlite, path: OUTSIDE/lib/ledger.sqlite}
    validate:
      - {probe: sql, database: OUTSIDE/lib/ledger.sqlite, query: SELECT count(*) AS n FROM t, expect: {n: 1}}
tiers:
  near: {url: "file://./tiers/near"}
"#;

/// The system, backed up once.
fn system() -> Sandbox {
    let sandbox = Sandbox::empty(BINARY, "");
    let outside = outside(&sandbox);
    let yaml = SYSTEM.replace("OUTSIDE", &outside.display().to_string());
    let sandbox = sandbox
        .with("system.yaml", &yaml)
        .with("data/notes/a.md", "hello")
        .with("outside/etc/hosts", "localhost")
        .with("outside/etc/nginx/site.conf", "listen 80")
        .with("outside/neighbour/b.md", "of nobody")
        .with("outside/lib/c.md", "of nobody");
    insert_a_row(&outside.join("lib/ledger.sqlite"));
    sandbox.ok(&["init", "--kit", "kit.txt"]);
    sandbox.ok(&["backup"]);
    sandbox
}

/// The folder with what is not below the system's root, as links do not change it.
fn outside(sandbox: &Sandbox) -> PathBuf {
    sandbox
        .path("")
        .canonicalize()
        .expect("find the sandbox")
        .join("outside")
}

fn insert_a_row(ledger: &Path) {
    let ledger = rusqlite::Connection::open(ledger).expect("open the ledger");
    let sql = "CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (1);";
    ledger.execute_batch(sql).expect("write the ledger");
}

/// What a disaster leaves: every probe of the living system would find other numbers.
fn change(sandbox: &Sandbox) {
    fs::write(sandbox.path("outside/etc/hosts"), "spoilt").expect("spoil a file");
    fs::write(sandbox.path("outside/etc/since"), "written since").expect("write a file");
    insert_a_row(&sandbox.path("outside/lib/ledger.sqlite"));
}

fn read(path: &Path) -> Tree {
    tree::read(path).expect("read a tree")
}

#[test]
fn a_recovery_elsewhere_puts_absolute_paths_below_its_folder_and_measures_them_there() {
    let sandbox = system();
    let backed_up = read(&sandbox.path("outside/etc"));
    change(&sandbox);
    let living = read(&sandbox.path("outside"));
    sandbox.ok(&["recover", "--to", "out", "--strict"]);
    let out = sandbox.path("out");
    let below = out.join(outside(&sandbox).strip_prefix("/").expect("it is absolute"));
    assert_eq!(tree::differences(&backed_up, &read(&below.join("etc"))), [""; 0]);
    assert!(below.join("lib/ledger.sqlite").is_file());
    assert_eq!(
        fs::read_to_string(out.join("notes/a.md")).expect("read a note"),
        "hello"
    );
    // Nothing else is there, and the living system was not touched.
    assert!(!below.join("neighbour").exists() && !below.join("lib/c.md").exists());
    assert_eq!(
        tree::differences(&living, &read(&sandbox.path("outside"))),
        [""; 0]
    );
    // A restore of one component knows no path at all.
    sandbox.ok(&["restore", "etc", "--to", "one"]);
    assert_eq!(
        tree::differences(&backed_up, &read(&sandbox.path("one"))),
        [""; 0]
    );
}

#[test]
fn a_recovery_in_place_restores_absolute_paths_where_they_are_and_moves_only_their_content_aside() {
    let sandbox = system();
    let backed_up = read(&sandbox.path("outside/etc"));
    change(&sandbox);
    let changed = read(&sandbox.path("outside/etc"));
    let done = sandbox.run(&["recover", "--in-place", "--yes", "--strict"]);
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(
        tree::differences(&backed_up, &read(&sandbox.path("outside/etc"))),
        [""; 0]
    );
    for stays in ["neighbour/b.md", "lib/c.md"] {
        assert!(sandbox.path("outside").join(stays).is_file(), "{stays} was moved");
    }
    // What was there is near, and the command that puts it back names its own folder.
    let beside = fs::read_dir(sandbox.path(""))
        .expect("list the sandbox")
        .flatten();
    let names = beside.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let aside = names
        .filter(|name| name.starts_with("outside.before-"))
        .collect::<Vec<_>>();
    let [aside] = &aside[..] else {
        panic!("one aside folder: {aside:?}")
    };
    let aside = sandbox.path(aside);
    assert_eq!(tree::differences(&changed, &read(&aside.join("etc"))), [""; 0]);
    let back = format!(
        "outside.before-{}/. {}/",
        &aside
            .display()
            .to_string()
            .rsplit("before-")
            .next()
            .expect("an id"),
        outside(&sandbox).display()
    );
    assert!(said(&done).contains(&back), "{back}: {}", said(&done));
    assert!(sandbox.path("outside/lib/ledger.sqlite").is_file());
}

#[test]
fn a_recovery_onto_a_bare_machine_makes_the_folders_above_absolute_paths() {
    let sandbox = system();
    let backed_up = read(&sandbox.path("outside/etc"));
    let (code, why) = sandbox.code(&["recover"]);
    assert_eq!(code, 2, "{why}");
    assert!(
        why.contains("outside/etc/hosts"),
        "what is in the way is not named: {why}"
    );
    for gone in ["data", "outside"] {
        fs::remove_dir_all(sandbox.path(gone)).expect("lose a folder");
    }
    sandbox.ok(&["recover", "--strict"]);
    assert_eq!(
        tree::differences(&backed_up, &read(&sandbox.path("outside/etc"))),
        [""; 0]
    );
    assert!(sandbox.path("outside/lib/ledger.sqlite").is_file());
    assert!(sandbox.path("data/notes/a.md").is_file());
}

#[test]
fn a_recovery_elsewhere_is_refused_in_and_around_an_absolute_path() {
    let sandbox = system();
    for to in ["outside/etc/new", "outside", "outside/lib/ledger.sqlite"] {
        let (code, why) = sandbox.code(&["recover", "--to", to]);
        assert_eq!(code, 2, "{to}: {why}");
    }
    sandbox.ok(&["recover", "--to", "outside/free"]);
}

#[test]
fn status_and_lint_name_an_absolute_path_that_is_gone() {
    let sandbox = system();
    fs::remove_dir_all(sandbox.path("outside/etc")).expect("lose a component");
    let status = said(&sandbox.run(&["status"]));
    assert!(
        status.contains("etc") && status.contains("rekindle recover"),
        "{status}"
    );
    let lint = said(&sandbox.run(&["lint"]));
    assert!(lint.contains("outside/etc is not there"), "{lint}");
    let (code, why) = sandbox.code(&["backup"]);
    assert_ne!(code, 0, "{why}");
}

#[test]
fn the_workspace_the_tiers_and_the_identities_in_an_absolute_path_are_not_captured() {
    let sandbox = Sandbox::empty(BINARY, "").with("a.md", "hello");
    let here = sandbox.path("").canonicalize().expect("find the sandbox");
    let yaml = format!(
        "system: all\nroot: ./none\ncomponents:\n  all: {{source: {{type: files, path: {}}}}}\ntiers:\n  \
         near: {{url: \"file://./tiers/near\"}}\n",
        here.display()
    );
    let sandbox = sandbox.with("system.yaml", &yaml);
    sandbox.ok(&["init", "--kit", "kit.txt"]);
    for _ in 0..2 {
        sandbox.ok(&["backup"]);
    }
    let listed = sandbox.ok(&["ls", "all", "-R"]);
    assert!(listed.contains("a.md"), "{listed}");
    assert!(
        [".rekindle", "tiers/near", "identities"]
            .iter()
            .all(|own| !listed.contains(own)),
        "{listed}"
    );
}

#[test]
fn two_components_never_have_one_file_at_home_or_in_another_folder() {
    let sandbox = Sandbox::empty(BINARY, "").with("data/notes/a.md", "hello");
    let here = sandbox.path("").canonicalize().expect("find the sandbox");
    let top = here.components().nth(1).expect("it is not the root").as_os_str();
    std::os::unix::fs::symlink("data", sandbox.path("link")).expect("make a link");
    let (home, elsewhere) = ("both claim", "would both be recovered into another folder at");
    for (root, first, second, expect) in [
        // At home: by a relative path and an absolute one, also through a link.
        ("./data", "path: notes", "path: HERE/data/notes", Some(home)),
        (
            "./data",
            "path: ., exclude: [TOP]",
            "path: HERE/data/notes",
            Some(home),
        ),
        ("./data", "path: notes", "path: HERE/data", Some(home)),
        ("./data", "path: notes", "path: HERE/link/notes", Some(home)),
        (
            "HERE/data",
            "path: notes",
            "path: HERE/data/notes/deep",
            Some(home),
        ),
        ("./data", "path: /etc", "path: /etc/nginx", Some(home)),
        (
            "./data",
            "path: ., exclude: [TOP, notes]",
            "path: HERE/data/notes",
            None,
        ),
        // Elsewhere: `etc` and `/etc` are both `DIR/etc`.
        ("./data", "path: .", "path: HERE/data/notes", Some(elsewhere)),
        ("./data", "path: ., exclude: [etc]", "path: /etc/nginx", None),
        ("/srv", "path: etc", "path: /etc", Some(elsewhere)),
        ("./data", "path: etc/nginx", "path: /etc", Some(elsewhere)),
        ("./data", "path: .", "path: /etc", Some(elsewhere)),
        ("./data", "path: ., exclude: [etc]", "path: /etc", None),
        ("./data", "path: notes", "path: /etc", None),
        // Not a path of a system.
        ("./data", "path: notes", "path: /srv/../etc", Some("has a `..`")),
        (
            "./data",
            "path: notes",
            "path: ../etc",
            Some("leaves the system's `root`"),
        ),
    ] {
        let yaml = format!(
            "system: two\nroot: {root}\ncomponents:\n  first: {{source: {{type: files, {first}}}}}\n  \
             second: {{source: {{type: files, {second}}}}}\ntiers:\n  near: {{url: \"file://./near\"}}\n"
        );
        let yaml = yaml.replace("HERE", &here.display().to_string());
        let yaml = yaml.replace("TOP", top.to_str().expect("it is text"));
        fs::write(sandbox.path("system.yaml"), yaml).expect("write system.yaml");
        let linted = sandbox.run(&["lint", "system.yaml"]);
        let told = said(&linted);
        match expect {
            Some(expect) => {
                assert_eq!(linted.status.code(), Some(2), "{root}, {first}, {second}: {told}");
                assert!(told.contains(expect), "{root}, {first}, {second}: {told}");
                if expect == home || expect == elsewhere {
                    assert!(told.contains("`first`") && told.contains("`second`"), "{told}");
                }
            }
            None => assert_eq!(linted.status.code(), Some(0), "{root}, {first}, {second}: {told}"),
        }
    }
    // No command works with such a system.
    let write = |second: &str| {
        let yaml = format!(
            "system: two\nroot: ./data\ncomponents:\n  first: {{source: {{type: files, path: notes}}}}\n  \
             second: {{source: {{type: files, path: {second}}}}}\ntiers:\n  near: {{url: \"file://./near\"}}\n"
        );
        fs::write(sandbox.path("system.yaml"), yaml).expect("write system.yaml");
    };
    write("other");
    sandbox.ok(&["init", "--kit", "kit.txt"]);
    write(&here.join("data").display().to_string());
    let (code, why) = sandbox.code(&["backup"]);
    assert_eq!(code, 2, "{why}");
    assert!(why.contains(home), "{why}");
}
