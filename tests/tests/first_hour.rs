//! The first hour of a new user, as docs/first-hour.md tells it: the first system, five mistakes, a backup, and four
//! losses.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::Path;

use rekindle_tests::recording::{self, Terminal};
use rekindle_tests::sandbox::Sandbox;
use rekindle_tests::tree;
use rusqlite::Connection;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const SYSTEM: &str = "\
system: shop
root: ./data
components:
  notes: {source: {type: files, path: notes}}
  orders: {source: {type: sqlite, path: orders.sqlite}}
  config: {source: {type: files, path: config}}
tiers:
  near: {url: \"file://./tiers/near\"}
  far: {url: \"file://./tiers/far\"}
";

/// Writes system.yaml, with a mistake if `from` is in it.
fn describe(sandbox: &Sandbox, from: &str, to: &str) {
    let system = SYSTEM.replacen(from, to, 1);
    fs::write(sandbox.path("system.yaml"), system).expect("write system.yaml");
}

#[test]
fn a_new_user_makes_five_mistakes_and_loses_a_tier_the_key_and_the_data_and_gets_all_back() {
    let sandbox = Sandbox::empty(BINARY, "")
        .with("data/notes/a.md", "one\n")
        .with("data/config/shop.toml", "port = 80\n");
    fs::remove_file(sandbox.path("system.yaml")).expect("begin without a system");
    let orders = Connection::open(sandbox.path("data/orders.sqlite")).expect("make a database");
    orders
        .execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT); INSERT INTO orders (what) VALUES ('tea');")
        .expect("fill it");
    drop(orders);
    let mut user = Terminal::new(&sandbox, "");

    user.ok(&["init", "--kit", "kit.txt"]);
    user.note("# system.yaml now describes three components and two tiers, with a mistake");
    describe(&sandbox, "type: sqlite", "type: sqlight");
    let told = user.ends(&["lint"], 2);
    assert!(told.contains("sqlite"), "{told}");
    user.note("# the second mistake: a key that is not one");
    describe(&sandbox, "root: ./data", "rot: ./data");
    let told = user.ends(&["backup"], 2);
    assert!(told.contains("root"), "{told}");
    describe(&sandbox, "root: ./data", "root: ./data");
    user.note("# the third: a mistyped command");
    let told = user.ends(&["bakcup"], 2);
    assert!(told.contains("backup"), "{told}");
    user.note("# the fourth: a recovery before there is a backup");
    let told = user.ends(&["recover", "--to", "out"], 2);
    assert!(told.contains("rekindle backup"), "{told}");
    user.ok(&["backup"]);
    user.note("# the fifth: a component that the system does not have");
    let told = user.ends(&["restore", "note", "--to", "out"], 2);
    assert!(told.contains("notes"), "{told}");

    let snapshots = sandbox.ok(&["snapshots", "--component", "notes", "--json"]);
    let first: serde_json::Value =
        serde_json::from_str(snapshots.lines().next().expect("one")).expect("JSON");
    let then = first["consistency_point"]
        .as_str()
        .expect("an instant")
        .to_owned();
    fs::write(sandbox.path("data/notes/a.md"), "spoilt\n").expect("spoil a note");
    user.note("# a note is spoilt, and backed up so");
    user.ok(&["backup"]);
    user.note("# the note as it was before");
    user.ok(&["restore", &format!("notes@{then}"), "--to", "before"]);
    let before = fs::read_to_string(sandbox.path("before/a.md")).expect("it is back");
    assert_eq!(before, "one\n");
    fs::write(sandbox.path("data/notes/a.md"), before).expect("mend the note");
    user.ok(&["backup"]);
    let mut whole = tree::read(&sandbox.data()).expect("read the system");
    whole.remove(Path::new("orders.sqlite"));

    user.note("# tier far is lost");
    fs::remove_dir_all(sandbox.path("tiers/far")).expect("lose a tier");
    let told = user.ends(&["backup"], 3);
    let said = told.matches("is missing or empty").count();
    assert!(
        said <= 3,
        "a step, the result and the journal say it once each: {told}"
    );
    assert!(told.contains("rekindle tier create far"), "{told}");
    user.ok(&["tier", "create", "far"]);
    user.ok(&["backup"]);

    user.note("# the key is lost");
    fs::remove_dir_all(sandbox.path("config")).expect("lose the key");
    let told = user.ends(&["status", "--check"], 2);
    assert!(told.contains("rekindle init --from-kit"), "{told}");
    user.ok(&["init", "--from-kit", "kit.txt"]);

    user.note("# the system's data is lost");
    fs::remove_dir_all(sandbox.data()).expect("lose the data");
    let told = user.ends(&["status", "--check"], 2);
    assert!(told.contains("rekindle recover"), "{told}");
    user.ok(&["recover"]);
    let mut back = tree::read(&sandbox.data()).expect("read what is back");
    // A database comes back with its rows, and not byte by byte.
    back.remove(Path::new("orders.sqlite"));
    assert_eq!(back, whole);
    let orders = Connection::open(sandbox.path("data/orders.sqlite")).expect("open the database");
    let what: String = orders
        .query_row("SELECT what FROM orders", [], |row| row.get(0))
        .expect("read the order");
    assert_eq!(what, "tea");
    user.note("# all is back; no probe under `validate` says so yet, so the proof is a warning");
    let told = user.ends(&["status", "--check"], 1);
    assert!(told.starts_with("WARNING: recovery of "), "{told}");

    let kinds = [
        "$ rekindle init",
        "$ rekindle lint",
        "$ rekindle bakcup",
        "$ rekindle backup",
        "$ rekindle restore",
        "$ rekindle tier create",
        "$ rekindle recover",
        "$ rekindle status",
    ];
    let folder = sandbox.path(".").canonicalize().expect("its path");
    let written = user
        .written
        .replace(&*folder.to_string_lossy(), "/srv/shop")
        .replace("rekindle-under-test", "rekindle");
    recording::hold("docs/first-hour.md", "first_hour.rs", &written, &kinds);
}
