//! The recordings in README.md and docs/, held against what the product says today.

#![expect(
    clippy::expect_used,
    reason = "a document without its recording is a failed test"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Holds the recording by the test file `by` against what the product says today: every kind of line is in both,
/// whatever its figures. With `REKINDLE_RECORD=1` the recording is written anew.
pub fn hold(by: &str, told: &str, kinds: &[&str]) {
    let begin = format!("<!-- recorded by tests/tests/{by} -->\n```\n");
    let end = "```\n<!-- end -->";
    let (path, text) = documents()
        .into_iter()
        .map(|path| (fs::read_to_string(&path).expect("read a document"), path))
        .find_map(|(text, path)| text.contains(&begin).then_some((path, text)))
        .unwrap_or_else(|| panic!("no document has the recording by {by}"));
    let (before, rest) = text.split_once(&begin).expect("it has this recording");
    let (recorded, after) = rest.split_once(end).expect("the recording ends");
    if std::env::var_os("REKINDLE_RECORD").is_some() {
        let new = format!("{before}{begin}{}\n{end}{after}", told.trim_end());
        fs::write(&path, new).expect("write the document");
        return;
    }
    for kind in kinds {
        let has = |text: &str| text.lines().any(|line| line.starts_with(kind));
        assert!(has(told), "nothing is said like {kind:?}:\n{told}");
        assert!(
            has(recorded),
            "the recording by {by} in {} lacks {kind:?}; record it with REKINDLE_RECORD=1",
            path.display()
        );
    }
}

/// Returns README.md and the files of docs/.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = fs::read_dir(root.join("docs")).into_iter().flatten().flatten();
    let docs = docs.map(|entry| entry.path());
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    std::iter::once(root.join("README.md")).chain(docs).collect()
}
