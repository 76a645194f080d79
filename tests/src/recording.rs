//! The recordings in the documents, compared with the product's output today.

#![expect(
    clippy::expect_used,
    reason = "a document without its recording is a failed test"
)]

use std::fs;
use std::path::Path;

use crate::sandbox::{Sandbox, said};

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

/// A terminal whose commands and answers are written down.
#[derive(Debug)]
pub struct Terminal<'a> {
    sandbox: &'a Sandbox,
    /// What is written down until now.
    pub written: String,
}

impl<'a> Terminal<'a> {
    /// Returns a terminal in a sandbox's folder. Its record begins with the text `written`.
    pub fn new(sandbox: &'a Sandbox, written: &str) -> Self {
        Self {
            sandbox,
            written: written.to_owned(),
        }
    }

    /// Writes a line down that is no command of the product: what the person does, or thinks.
    pub fn note(&mut self, line: &str) {
        self.written.push_str(&format!("{line}\n"));
    }

    /// Runs a command that must exit with 0. Returns its stdout, which alone is written down.
    pub fn ok(&mut self, args: &[&str]) -> String {
        let told = self.sandbox.ok(args);
        self.write(args, &told);
        told
    }

    /// Runs a command that must exit with `code`. Returns all that it said, which is written down.
    pub fn ends(&mut self, args: &[&str], code: i32) -> String {
        let output = self.sandbox.run(args);
        let told = said(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        self.write(args, &told);
        if code != 0 {
            self.note(&format!("(exit code {code})"));
        }
        told
    }

    fn write(&mut self, args: &[&str], told: &str) {
        let words: Vec<String> = args
            .iter()
            .map(|word| {
                if word.contains(' ') {
                    format!("{word:?}")
                } else {
                    (*word).to_owned()
                }
            })
            .collect();
        let prompt = format!("$ rekindle {}", words.join(" "));
        self.written
            .push_str(&format!("{}\n{}\n", prompt.trim_end(), told.trim_end()));
    }
}
