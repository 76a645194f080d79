//! The text and the tree of a value, so that later faults are shown at their places too.

use crate::diagnostic::{Diagnostic, Severity, SourceText};
use crate::yaml::Node;

/// The source of a value.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) source: SourceText,
    pub(crate) root: Node,
}

impl Origin {
    pub(crate) fn error<S: AsRef<str>>(&self, at: &[S], message: String, help: Option<String>) -> Diagnostic {
        self.source
            .diagnostic(Severity::Error, self.root.locate(at), message, help)
    }

    /// Returns an error that points at a part of a node's text, if the file has that part as it is.
    pub(crate) fn error_at<S: AsRef<str>>(
        &self,
        at: &[S],
        part: &str,
        message: String,
        help: Option<String>,
    ) -> Diagnostic {
        let whole = self.root.locate(at);
        let span = self.source.find(whole, part).unwrap_or(whole);
        self.source.diagnostic(Severity::Error, span, message, help)
    }
}
