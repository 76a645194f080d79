//! What is found at a target, what is moved of it, and what a kill between two moves leaves.

use rekindle_model::time::{Clock, SystemClock};

use super::aside::unescaped;
use super::*;

fn files(path: &str, include: &[&str]) -> Source {
    let include = include.iter().map(|glob| (*glob).to_owned()).collect();
    Source::Files {
        path: path.to_owned(),
        include,
        exclude: Vec::new(),
    }
}

struct Ground {
    _temp: tempfile::TempDir,
    root: PathBuf,
    aside: PathBuf,
    run: RunId,
}

impl Ground {
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

    fn take(&self, source: &Source, kept: &Kept) -> Vec<String> {
        self.take_beside(source, &[], kept)
    }

    fn take_beside(&self, source: &Source, others: &[Source], kept: &Kept) -> Vec<String> {
        let moves = moves(&self.root, self.run, source, others, kept).unwrap();
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
    let ground = Ground::new();
    ground.write("a/b/one.md", "1");
    let other = ground.root.join("a/other.bin");
    fs::write(&other, "stays").unwrap();
    let found = moves(
        &ground.root,
        ground.run,
        &files("a", &["**/*.md"]),
        &[],
        &Kept::default(),
    )
    .unwrap();
    fs::remove_dir_all(ground.root.join("a/b")).unwrap();
    for it in &found {
        set_aside(&ground.root, it).unwrap();
    }
    assert!(!ground.aside.exists(), "{found:?}");
    assert_eq!(asides(&ground.root, ground.run), Vec::<PathBuf>::new());

    fs::create_dir_all(ground.root.join("a/queue/new")).unwrap();
    assert_eq!(ground.take(&files("a/queue", &[]), &Kept::default()), ["a/queue"]);
    assert!(ground.aside.join("a/queue/new").is_dir());
    // Something that goes below it and is gone takes nothing away.
    let gone = Move {
        path: TreePath::new(b"a/queue/new/x").unwrap(),
        aside: ground.aside.clone(),
        copied: false,
    };
    set_aside(&ground.root, &gone).unwrap();
    assert!(ground.aside.join("a/queue/new").is_dir());
    assert_eq!(
        asides(&ground.root, ground.run),
        std::slice::from_ref(&ground.aside)
    );
}

#[test]
fn a_mount_point_is_read_as_the_kernel_spells_it() {
    assert_eq!(unescaped(b"/a\\040b\\134c/\\09"), Path::new("/a b\\c/\\09"));
}

#[test]
fn only_what_the_component_claims_moves_and_nothing_is_replaced() {
    let ground = Ground::new();
    ground.write("a/one.md", "1");
    ground.write("a/deep/two.md", "2");
    ground.write("a/other.bin", "stays");
    ground.write("db/x.sqlite", "db");
    ground.write("db/x.sqlite-wal", "wal");
    let notes = files("a", &["**/*.md"]);
    assert_eq!(ground.take(&notes, &Kept::default()), ["a/deep", "a/one.md"]);
    let database = Source::Sqlite {
        path: "db/x.sqlite".to_owned(),
    };
    assert_eq!(
        ground.take(&database, &Kept::default()),
        ["db/x.sqlite", "db/x.sqlite-wal"]
    );
    assert!(ground.root.join("a/other.bin").exists() && !ground.root.join("a/deep").exists());
    assert_eq!(
        (ground.aside("a/deep/two.md"), ground.aside("db/x.sqlite-wal")),
        ("2".into(), "wal".into())
    );

    // Cut off after the first move and made again, with new files under the old names.
    ground.write("a/one.md", "new");
    ground.write("a/deep/two.md", "newer");
    ground.take(&notes, &Kept::default());
    assert_eq!(
        (ground.aside("a/one.md"), ground.aside("a/one.md.2")),
        ("1".into(), "new".into())
    );
    assert_eq!(
        (ground.aside("a/deep/two.md"), ground.aside("a/deep/two.md.2")),
        ("2".into(), "newer".into())
    );
}

#[test]
fn a_folder_that_is_all_the_components_moves_as_one_and_the_root_itself_never_does() {
    let ground = Ground::new();
    ground.write("a/b/c/one", "1");
    ground.write("a/b/two", "2");
    ground.write("top", "3");
    assert_eq!(ground.take(&files("a", &[]), &Kept::default()), ["a"]);
    assert_eq!(ground.aside("a/b/c/one"), "1");
    assert_eq!(ground.take(&files(".", &[]), &Kept::default()), ["top"]);
    assert!(ground.root.is_dir());
}

#[test]
fn a_folder_in_which_another_component_may_write_is_moved_file_by_file() {
    let ground = Ground::new();
    for path in ["pages/deep/one.md", "pages/two.md", "own/three.md"] {
        ground.write(path, path);
    }
    let all_but = |exclude: &str| Source::Files {
        path: ".".to_owned(),
        include: Vec::new(),
        exclude: vec![exclude.to_owned()],
    };
    // Nothing of it stands in pages/deep now: its restore may be about to put something there.
    let images = files("pages", &["*.png"]);
    let texts = files(".", &["*.md"]);
    assert_eq!(
        ground.take_beside(&texts, std::slice::from_ref(&images), &Kept::default()),
        ["own", "pages/deep/one.md", "pages/two.md"]
    );
    assert!(ground.root.join("pages/deep").is_dir());

    let ground = Ground::new();
    ground.write("pages/deep/one.md", "1");
    let rest = all_but("pages");
    assert_eq!(
        ground.take_beside(&files("pages", &[]), &[rest], &Kept::default()),
        ["pages"],
        "what it excludes, another component does not write to"
    );
}

#[test]
fn what_was_cut_off_between_any_two_moves_ends_the_same() {
    let source = files(".", &["*.md"]);
    let begin = || {
        let ground = Ground::new();
        for folder in ["a", "b", "c/d"] {
            ground.write(&format!("{folder}/one.md"), folder);
            ground.write(&format!("{folder}/other.bin"), "stays");
        }
        ground.write("whole/deep/two.md", "2");
        ground.write("system.yaml.md", "3");
        let kept = Kept {
            never: Vec::new(),
            copied: vec![ground.root.join("system.yaml.md")],
        };
        (ground, kept)
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
    let both = |ground: &Ground| {
        (
            relative(look(&ground.root), &ground.root),
            relative(look(&ground.aside), &ground.aside),
        )
    };
    let (whole, kept) = begin();
    let count = whole.take(&source, &kept).len();
    assert_eq!(count, 5, "four renames and a copy");
    for done in 0..=count {
        let (ground, kept) = begin();
        let all = moves(&ground.root, ground.run, &source, &[], &kept).unwrap();
        for it in &all[..done] {
            set_aside(&ground.root, it).unwrap();
        }
        // A new process knows nothing but what it finds, or what was recorded: both end the same.
        ground.take(&source, &kept);
        for it in &all {
            set_aside(&ground.root, it).unwrap();
        }
        assert_eq!(both(&ground), both(&whole), "cut off after {done} of {count}");
    }
}

#[test]
fn what_must_stay_stays_with_a_copy_aside_where_it_may_be_replaced() {
    let ground = Ground::new();
    for path in [
        "system.yaml",
        "notes/a",
        ".rekindle/log",
        "keys/identity",
        "notes/.rekindle-partial-1",
    ] {
        ground.write(path, path);
    }
    let kept = Kept {
        never: vec![ground.root.join(".rekindle"), ground.root.join("keys")],
        copied: vec![ground.root.join("system.yaml")],
    };
    assert_eq!(ground.take(&files(".", &[]), &kept), ["notes/a", "system.yaml"]);
    for path in ["system.yaml", ".rekindle/log", "keys/identity"] {
        assert_eq!(fs::read_to_string(ground.root.join(path)).unwrap(), path);
    }
    assert_eq!(
        (ground.aside("system.yaml"), ground.aside("notes/a")),
        ("system.yaml".into(), "notes/a".into())
    );
    assert!(!ground.aside.join("keys").exists() && !ground.aside.join(".rekindle").exists());
}
