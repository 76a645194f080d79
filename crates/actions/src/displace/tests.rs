//! What is found at a target, what is moved of it, and what a kill between two moves leaves.

use std::sync::Arc;

use rekindle_model::source::SourceSpec;
use rekindle_model::time::{Clock, SystemClock};
use serde_json::{Value, json};

use super::aside::unescaped;
use super::*;

fn source(kind: &str, settings: Value) -> Arc<dyn ComponentSource> {
    let Value::Object(settings) = settings else {
        panic!("settings are no object: {settings}");
    };
    let kind = kind.to_owned();
    rekindle_sources::open(&SourceSpec { kind, settings }).unwrap()
}

fn files(path: &str, include: &[&str]) -> Arc<dyn ComponentSource> {
    source("files", json!({ "path": path, "include": include }))
}

struct Target {
    _temp: tempfile::TempDir,
    root: PathBuf,
    aside: PathBuf,
    run: RunId,
}

impl Target {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let run = RunId::new(&SystemClock.now());
        let root = temp.path().join("data");
        let aside = temp.path().join(format!("data.before-{run}"));
        Self {
            _temp: temp,
            root,
            aside,
            run,
        }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn take(&self, source: &Arc<dyn ComponentSource>, kept: &Kept) -> Vec<String> {
        self.take_beside(source, &[], kept)
    }

    fn take_beside(
        &self,
        source: &Arc<dyn ComponentSource>,
        others: &[Arc<dyn ComponentSource>],
        kept: &Kept,
    ) -> Vec<String> {
        let claims = others.iter().filter_map(|other| other.claim());
        let others: Vec<Reach> = claims
            .map(|claim| Reach::of(&self.root, &claim).unwrap())
            .collect();
        let moves = moves(&self.root, self.run, source.as_ref(), &others, kept).unwrap();
        for it in &moves {
            set_aside(&self.root, it).unwrap();
        }
        moves.iter().map(|it| it.path.display()).collect()
    }

    fn aside(&self, path: &str) -> String {
        fs::read_to_string(self.aside.join(path)).unwrap()
    }
}

#[test]
fn what_is_gone_before_it_is_moved_leaves_no_folder_and_an_empty_folder_that_was_moved_stays() {
    let target = Target::new();
    target.write("a/b/one.md", "1");
    let other = target.root.join("a/other.bin");
    fs::write(&other, "stays").unwrap();
    let found = moves(
        &target.root,
        target.run,
        files("a", &["**/*.md"]).as_ref(),
        &[],
        &Kept::default(),
    )
    .unwrap();
    fs::remove_dir_all(target.root.join("a/b")).unwrap();
    for it in &found {
        set_aside(&target.root, it).unwrap();
    }
    assert!(!target.aside.exists(), "{found:?}");
    assert_eq!(asides(&target.root, target.run), Vec::<PathBuf>::new());

    fs::create_dir_all(target.root.join("a/queue/new")).unwrap();
    assert_eq!(target.take(&files("a/queue", &[]), &Kept::default()), ["a/queue"]);
    assert!(target.aside.join("a/queue/new").is_dir());
    // Something that goes below it and is gone takes nothing away.
    let gone = Move {
        path: TreePath::new(b"a/queue/new/x").unwrap(),
        aside: target.aside.clone(),
        copied: false,
    };
    set_aside(&target.root, &gone).unwrap();
    assert!(target.aside.join("a/queue/new").is_dir());
    assert_eq!(
        asides(&target.root, target.run),
        std::slice::from_ref(&target.aside)
    );
}

#[test]
fn a_mount_point_is_read_as_the_kernel_spells_it() {
    assert_eq!(unescaped(b"/a\\040b\\134c/\\09"), Path::new("/a b\\c/\\09"));
}

#[test]
fn only_what_the_component_claims_moves_and_nothing_is_replaced() {
    let target = Target::new();
    target.write("a/one.md", "1");
    target.write("a/deep/two.md", "2");
    target.write("a/other.bin", "stays");
    target.write("db/x.sqlite", "db");
    target.write("db/x.sqlite-wal", "wal");
    let notes = files("a", &["**/*.md"]);
    assert_eq!(target.take(&notes, &Kept::default()), ["a/deep", "a/one.md"]);
    let database = source("sqlite", json!({ "path": "db/x.sqlite" }));
    assert_eq!(
        target.take(&database, &Kept::default()),
        ["db/x.sqlite", "db/x.sqlite-wal"]
    );
    assert!(target.root.join("a/other.bin").exists() && !target.root.join("a/deep").exists());
    assert_eq!(
        (target.aside("a/deep/two.md"), target.aside("db/x.sqlite-wal")),
        ("2".into(), "wal".into())
    );

    // Cut off after the first move and made again, with new files under the old names.
    target.write("a/one.md", "new");
    target.write("a/deep/two.md", "newer");
    target.take(&notes, &Kept::default());
    assert_eq!(
        (target.aside("a/one.md"), target.aside("a/one.md.2")),
        ("1".into(), "new".into())
    );
    assert_eq!(
        (target.aside("a/deep/two.md"), target.aside("a/deep/two.md.2")),
        ("2".into(), "newer".into())
    );
}

#[test]
fn a_folder_that_is_all_the_components_moves_as_one_and_the_root_itself_never_does() {
    let target = Target::new();
    target.write("a/b/c/one", "1");
    target.write("a/b/two", "2");
    target.write("top", "3");
    assert_eq!(target.take(&files("a", &[]), &Kept::default()), ["a"]);
    assert_eq!(target.aside("a/b/c/one"), "1");
    assert_eq!(target.take(&files(".", &[]), &Kept::default()), ["top"]);
    assert!(target.root.is_dir());
}

#[test]
fn a_folder_in_which_another_component_may_write_is_moved_file_by_file() {
    let target = Target::new();
    for path in ["pages/deep/one.md", "pages/two.md", "own/three.md"] {
        target.write(path, path);
    }
    let all_but = |exclude: &str| source("files", json!({ "exclude": [exclude] }));
    // Nothing of it is in pages/deep now: its restore may be about to put something there.
    let images = files("pages", &["*.png"]);
    let texts = files(".", &["*.md"]);
    assert_eq!(
        target.take_beside(&texts, std::slice::from_ref(&images), &Kept::default()),
        ["own", "pages/deep/one.md", "pages/two.md"]
    );
    assert!(target.root.join("pages/deep").is_dir());

    let target = Target::new();
    target.write("pages/deep/one.md", "1");
    let rest = all_but("pages");
    assert_eq!(
        target.take_beside(&files("pages", &[]), &[rest], &Kept::default()),
        ["pages"],
        "what it excludes, another component does not write to"
    );
}

#[test]
fn what_was_cut_off_between_any_two_moves_ends_the_same() {
    let source = files(".", &["*.md"]);
    let begin = || {
        let target = Target::new();
        for folder in ["a", "b", "c/d"] {
            target.write(&format!("{folder}/one.md"), folder);
            target.write(&format!("{folder}/other.bin"), "stays");
        }
        target.write("whole/deep/two.md", "2");
        target.write("system.yaml.md", "3");
        let kept = Kept {
            never: Vec::new(),
            copied: vec![target.root.join("system.yaml.md")],
        };
        (target, kept)
    };
    let look = |folder: &Path| {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => found.push((path.clone(), fs::read_to_string(path).unwrap())),
                }
            }
        }
        found.sort();
        found
    };
    let relative = |found: Vec<(PathBuf, String)>, folder: &Path| -> Vec<(PathBuf, String)> {
        let below = |(path, text): (PathBuf, String)| (path.strip_prefix(folder).unwrap().to_owned(), text);
        found.into_iter().map(below).collect()
    };
    let both = |target: &Target| {
        (
            relative(look(&target.root), &target.root),
            relative(look(&target.aside), &target.aside),
        )
    };
    let (whole, kept) = begin();
    let count = whole.take(&source, &kept).len();
    assert_eq!(count, 5, "four renames and a copy");
    for done in 0..=count {
        let (target, kept) = begin();
        let all = moves(&target.root, target.run, source.as_ref(), &[], &kept).unwrap();
        for it in &all[..done] {
            set_aside(&target.root, it).unwrap();
        }
        // A new process knows nothing but what it finds, or what was recorded: both end the same.
        target.take(&source, &kept);
        for it in &all {
            set_aside(&target.root, it).unwrap();
        }
        assert_eq!(both(&target), both(&whole), "cut off after {done} of {count}");
    }
}

#[test]
fn what_must_stay_stays_with_a_copy_aside_where_it_may_be_replaced() {
    let target = Target::new();
    for path in [
        "system.yaml",
        "notes/a",
        ".rekindle/log",
        "keys/identity",
        "notes/.rekindle-partial-0123456789abcdef01234567",
    ] {
        target.write(path, path);
    }
    let unfinished = "notes/.rekindle-partial-0123456789abcdef01234567";
    rekindle_sources::files::mark_temporary(&target.root.join(unfinished));
    let kept = Kept {
        never: vec![target.root.join(".rekindle"), target.root.join("keys")],
        copied: vec![target.root.join("system.yaml")],
    };
    assert_eq!(target.take(&files(".", &[]), &kept), ["notes/a", "system.yaml"]);
    for path in ["system.yaml", ".rekindle/log", "keys/identity"] {
        assert_eq!(fs::read_to_string(target.root.join(path)).unwrap(), path);
    }
    assert_eq!(
        (target.aside("system.yaml"), target.aside("notes/a")),
        ("system.yaml".into(), "notes/a".into())
    );
    assert!(!target.aside.join("keys").exists() && !target.aside.join(".rekindle").exists());
}

#[test]
fn the_folder_aside_is_beside_the_root_and_inside_one_that_has_nothing_beside_it() {
    let temp = tempfile::tempdir().unwrap();
    let (root, slash) = (temp.path().join("data"), Path::new("/"));
    assert_eq!(
        aside_folder(&root, "<run>", &root),
        temp.path().join("data.before-<run>")
    );
    assert_eq!(
        aside_folder(slash, "<run>", slash),
        Path::new("/.rekindle-before-<run>")
    );
}
