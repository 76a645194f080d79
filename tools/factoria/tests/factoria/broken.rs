//! One thing broken at a time, its manifest sealed again, and the number that moves. `--no-capture` prints the table.

use std::path::{Path, PathBuf};

use rekindle_factoria::ProbeKind;
use rusqlite::Connection;
use serde_json::Value;

use crate::common::{Kept, compare, measure, reseal, system};

mod content;
mod models;
mod produced;
mod security;

const SMALL: u64 = 1_000_000;

/// A system in which one thing after the other is broken and put back.
struct Bench {
    _kept: tempfile::TempDir,
    root: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let (kept, root, _) = system(1, SMALL);
        Self { _kept: kept, root }
    }

    /// Breaks files with `act` and demands that each measure falls. A name that begins with `~` has to move instead,
    /// where a higher number is no better one.
    #[expect(clippy::print_stdout, reason = "people read the table")]
    fn breaks(&self, what: &str, paths: &[&str], act: impl FnOnce(&Path), measures: &[(ProbeKind, &str)]) {
        let folder = self.root.join(paths[0].split('/').next().unwrap());
        let manifest = folder.join(".manifest.json");
        let mut kept: Vec<Kept> = paths.iter().map(|path| Kept::of(&self.root.join(path))).collect();
        kept.extend(manifest.exists().then(|| Kept::of(&manifest)));
        let baselines: Vec<_> = measures
            .iter()
            .map(|(kind, _)| measure(*kind, &self.root))
            .collect();
        let look = || -> Vec<Option<f64>> {
            let measured = measures.iter().zip(&baselines).map(|((kind, name), baseline)| {
                let measured = compare(*kind, &self.root, baseline);
                measured.get(name.trim_start_matches('~')).copied()
            });
            measured.collect()
        };
        let whole = look();
        act(&self.root);
        if manifest.exists() {
            reseal(&folder);
        }
        let broken = look();
        kept.iter().for_each(Kept::put_back);
        for (((kind, name), whole), broken) in measures.iter().zip(whole).zip(broken) {
            let whole = whole.unwrap_or_else(|| panic!("{name} is not measured"));
            let said = broken.map_or_else(|| "no data".to_owned(), |broken| format!("{broken:.6}"));
            println!("| {what} | {kind:?} {name} | {whole:.6} | {said} |");
            let moved = match name.starts_with('~') {
                true => broken != Some(whole),
                false => broken.is_none_or(|broken| broken < whole),
            };
            assert!(moved, "{what}: {name} stays {broken:?}");
        }
    }

    /// Breaks a JSON document.
    fn edits(&self, what: &str, path: &str, edit: impl FnOnce(&mut Value), measures: &[(ProbeKind, &str)]) {
        let act = |root: &Path| {
            let kept = Kept::of(&root.join(path));
            let mut document: Value = serde_json::from_slice(kept.bytes()).unwrap();
            edit(&mut document);
            kept.overwrite(&serde_json::to_vec_pretty(&document).unwrap());
        };
        self.breaks(what, &[path], act, measures);
    }

    /// Breaks the content database, digests of texts included.
    fn executes(&self, what: &str, sql: &str, measures: &[(ProbeKind, &str)]) {
        let path = "db/content.sqlite";
        let act = |root: &Path| {
            let database = Connection::open(root.join(path)).unwrap();
            assert!(database.execute(sql, []).unwrap() > 0, "{sql}");
        };
        self.breaks(what, &[path], act, measures);
    }
}
