//! A small system of files and a database in two tiers, and a judge of what was recovered of it.

#![expect(
    clippy::expect_used,
    reason = "a system that cannot be made or read is a failed test"
)]

use std::fs;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::chaos::Dice;
use crate::sandbox::Sandbox;
use crate::tree;

/// The system. Its tiers may be put elsewhere by replacing `./tiers`.
pub const SYSTEM: &str = "\
system: small
root: ./data
components:
  notes: {priority: 1, rto: 1h, classes: [text], source: {type: files, path: notes}, validate: [{probe: files, path: notes, expect: {count: \">= 0\"}}]}
  pages: {priority: 2, rto: 1h, classes: [text], source: {type: files, path: pages}, validate: [{probe: files, path: pages, expect: {count: \">= 0\"}}]}
  ledger: {priority: 3, rto: 1h, classes: [money], source: {type: sqlite, path: ledger.sqlite}, validate: [{probe: files, path: ledger.sqlite, expect: {count: \"== 1\"}}]}
data_classes: {text: {rpo: 1h}, money: {rpo: 1h}}
tiers:
  near: {url: \"file://./tiers/near\"}
  far: {url: \"file://./tiers/far\"}
";

/// Folders of files that are components.
const FOLDERS: [&str; 2] = ["notes", "pages"];

/// Fills the data of a sandbox with about `bytes` bytes that do not compress; the dice say which.
pub fn fill(sandbox: &Sandbox, bytes: usize, dice: &mut Dice) {
    let data = sandbox.data();
    fs::create_dir_all(data.join("notes/deeper/empty")).expect("make folders");
    fs::create_dir_all(data.join("pages")).expect("make folders");
    for n in 0..8 {
        fs::write(
            data.join(format!("notes/{n}.md")),
            noise(dice, 40 + n * n * n * 100),
        )
        .expect("write a note");
        fs::write(data.join(format!("pages/{n}")), noise(dice, bytes / 8)).expect("write a page");
    }
    fs::hard_link(data.join("notes/1.md"), data.join("notes/deeper/same.md")).expect("link a note");
    std::os::unix::fs::symlink("../0.md", data.join("notes/deeper/link")).expect("link a note");
    let ledger = Connection::open(data.join("ledger.sqlite")).expect("make a database");
    ledger
        .execute_batch("CREATE TABLE t (x INTEGER PRIMARY KEY, y BLOB);")
        .expect("make a table");
    for _ in 0..50 {
        add(&ledger, dice);
    }
}

/// Changes the data a little: a note is added, one changed, one removed, a row inserted.
pub fn change(sandbox: &Sandbox, dice: &mut Dice) {
    let notes = sandbox.data().join("notes");
    let (name, len) = (dice.below(1 << 40), 10 + dice.below(3000) as usize);
    fs::write(notes.join(format!("new-{name:x}")), noise(dice, len)).expect("write a note");
    fs::write(notes.join("5.md"), noise(dice, 100)).expect("change a note");
    let mut new: Vec<_> = fs::read_dir(&notes)
        .expect("list the notes")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("new-"))
        .map(|entry| entry.path())
        .collect();
    new.sort();
    if new.len() > 4 {
        fs::remove_file(&new[0]).expect("remove a note");
    }
    let ledger = Connection::open(sandbox.data().join("ledger.sqlite")).expect("open the database");
    add(&ledger, dice);
}

fn add(ledger: &Connection, dice: &mut Dice) {
    let blob = noise(dice, 200);
    ledger
        .execute("INSERT INTO t (y) VALUES (?1)", [blob])
        .expect("insert a row");
}

fn noise(dice: &mut Dice, bytes: usize) -> Vec<u8> {
    let words = (0..bytes.div_ceil(8)).flat_map(|_| dice.below(u64::MAX).to_le_bytes());
    words.take(bytes).collect()
}

/// Holds what was recovered into a folder against the living system.
///
/// # Errors
/// What differs.
pub fn judge(sandbox: &Sandbox, to: &Path) -> Result<(), String> {
    for folder in FOLDERS {
        let read = |root: &Path| tree::read(&root.join(folder)).map_err(|error| format!("{folder}: {error}"));
        let (expect, found) = (read(&sandbox.data())?, read(to)?);
        if expect != found {
            let differences = tree::differences(&expect, &found).join("\n");
            return Err(format!("{folder} differs, living / recovered:\n{differences}"));
        }
    }
    let rows = |root: &Path| rows(&root.join("ledger.sqlite"));
    match rows(&sandbox.data())? == rows(to)? {
        true => Ok(()),
        false => Err("the ledger differs".to_owned()),
    }
}

fn rows(database: &Path) -> Result<Vec<(i64, Vec<u8>)>, String> {
    let fail = |error: rusqlite::Error| format!("{}: {error}", database.display());
    let open = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(fail)?;
    let whole: String = open
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .map_err(fail)?;
    if whole != "ok" {
        return Err(format!("{}: {whole}", database.display()));
    }
    let mut all = open.prepare("SELECT x, y FROM t ORDER BY x").map_err(fail)?;
    let rows = all
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(fail)?;
    rows.collect::<Result<_, _>>().map_err(fail)
}
