//! The recordings in the README, held against what the product says today.

#![expect(
    clippy::expect_used,
    reason = "a README without its recording is a failed test"
)]

use std::fs;
use std::path::Path;

/// Holds the README's recording by the test file `by` against what the product says today: every kind of line is in
/// both, whatever its figures. With `REKINDLE_RECORD=1` the recording is written anew.
pub fn hold(by: &str, told: &str, kinds: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(&path).expect("read the README");
    let begin = format!("<!-- recorded by tests/tests/{by} -->\n```\n");
    let end = "```\n<!-- end -->";
    let (before, rest) = readme.split_once(&begin).expect("the README has this recording");
    let (recorded, after) = rest.split_once(end).expect("the recording ends");
    if std::env::var_os("REKINDLE_RECORD").is_some() {
        let new = format!("{before}{begin}{}\n{end}{after}", told.trim_end());
        fs::write(&path, new).expect("write the README");
        return;
    }
    for kind in kinds {
        let has = |text: &str| text.lines().any(|line| line.starts_with(kind));
        assert!(has(told), "nothing is said like {kind:?}:\n{told}");
        assert!(
            has(recorded),
            "the README's recording by {by} lacks {kind:?}; record it with REKINDLE_RECORD=1"
        );
    }
}
