//! The recordings in the documents, compared with the product's output today.

#![expect(
    clippy::expect_used,
    reason = "a document without its recording is a failed test"
)]

use std::fs;
use std::path::Path;

/// Compares the recording by the test file `by` in `document` (a path from the repository's root) with the
/// product's output: both have every kind of line, with any figures. With `REKINDLE_RECORD=1` it records
/// again.
pub fn hold(document: &str, by: &str, printed: &str, kinds: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document);
    let text = fs::read_to_string(&path).expect("read the document");
    let begin = format!("<!-- recorded by {by} -->\n```\n");
    let end = "```\n<!-- end -->";
    let (before, rest) = text.split_once(&begin).expect("the document has this recording");
    let (recorded, after) = rest.split_once(end).expect("the recording ends");
    if std::env::var_os("REKINDLE_RECORD").is_some() {
        let new = format!("{before}{begin}{}\n{end}{after}", printed.trim_end());
        fs::write(&path, new).expect("write the document");
        return;
    }
    for kind in kinds {
        let has = |text: &str| text.lines().any(|line| line.starts_with(kind));
        assert!(has(printed), "no line begins with {kind:?}:\n{printed}");
        assert!(
            has(recorded),
            "the recording by {by} in {document} lacks {kind:?}; record it with REKINDLE_RECORD=1"
        );
    }
}
