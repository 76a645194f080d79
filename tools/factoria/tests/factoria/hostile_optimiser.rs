//! Files that are none: pipes, endless files, circles of imports, broken JSON. Numbers fall; nothing hangs or fails.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::common::{optimiser, system};

const SMALL: u64 = 1_000_000;
/// Files of each kind that the optimiser and its probe read; all are read by the same code.
const FILES: [&str; 4] = [
    "context/L2/arts/0001/practice.md",
    "performance/config.json",
    "quality/facts/arts-0001.json",
    ENTRY,
];
/// Stands for the first entry of the cache, whose name depends on its document.
const ENTRY: &str = "";

fn first_entry(root: &Path) -> String {
    let entry = walkdir::WalkDir::new(root.join("cache/entries"))
        .sort_by_file_name()
        .into_iter()
        .map(Result::unwrap)
        .find(|entry| entry.file_type().is_file())
        .unwrap();
    entry
        .path()
        .strip_prefix(root)
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

/// Puts something in place of each of the files in turn, and checks that a number falls.
fn replaced(name: &str, files: &[&str], put: impl Fn(&Path)) {
    let (_kept, root, _) = system(1, SMALL);
    let entry = first_entry(&root);
    let healthy = optimiser(&root);
    for file in files {
        let path = root.join(if file.is_empty() { &entry } else { *file });
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        put(&path);
        let broken = optimiser(&root);
        let falls = healthy.iter().any(|(measure, before)| {
            !measure.contains("_ms") && !measure.starts_with("speedup") && broken.get(measure) < Some(before)
        });
        assert!(falls, "{name} as {}: {broken:#?}", path.display());
        fs::remove_file(&path).unwrap();
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn a_pipe_in_place_of_a_file_is_not_waited_for() {
    replaced("a pipe", &FILES, |path| {
        mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    });
}

#[test]
fn a_gigabyte_in_place_of_a_file_is_not_read() {
    replaced("a gigabyte", &FILES, |path| {
        File::create(path).unwrap().set_len(1 << 30).unwrap()
    });
}

#[test]
fn text_that_is_none_or_that_a_tokenizer_could_choke_on_is_measured() {
    let document = &FILES[..1];
    replaced("nested brackets", &["performance/config.json", ENTRY], |path| {
        fs::write(path, "[".repeat(200_000)).unwrap();
    });
    replaced("one long word after a long pause", document, |path| {
        fs::write(path, " ".repeat(40_000) + &"a".repeat(40_000)).unwrap();
    });
    replaced("no text", document, |path| {
        fs::write(path, [0xff; 1_000]).unwrap()
    });
}

#[test]
fn circles_of_imports_and_endless_chains_end() {
    let (_kept, root, _) = system(1, SMALL);
    let path = root.join("context/L3/arts/0001/definitions.md");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        format!("@import L1/arts/0001/flashcards.md\n@import L3/arts/0001/definitions.md\n{text}"),
    )
    .unwrap();
    assert_eq!(optimiser(&root)["contexts_complete"], 1.0);
    // 1,000 documents in a row, and each of them large: 64 documents and 1 MiB are the end.
    for number in 0..1_000 {
        let import = format!("@import L3/arts/{}.md\n", number + 1);
        fs::write(
            root.join(format!("context/L3/arts/{number}.md")),
            import + &"word ".repeat(30_000),
        )
        .unwrap();
    }
    fs::write(&path, format!("@import L3/arts/0.md\n{text}")).unwrap();
    let found = optimiser(&root);
    assert!(found["contexts_complete"] < 1.0, "{found:#?}");
}
