//! Source `command`: one program prints a component's data on its stdout, another takes them back on its stdin.
//!
//! Both run in the system's root: the dump in the living one, the restore in the recovery's target. A restore
//! that uses relative paths or `${{ target.root }}` therefore never reaches the living system from a recovery
//! elsewhere. What a dump prints is spooled into a file of the workspace first, and captured only once the
//! program has ended well: half a dump is no backup.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rekindle_engine::StepContext;
use rekindle_model::failure::{Failure, code};
use rekindle_model::system::Component;
use serde_json::json;

use crate::failures;
use crate::probe::{self, word};
use crate::process::{self, Program, SpoolTo};
use crate::site::Site;

/// What the dump is called in its snapshot.
pub(crate) const FILE: &str = "dump";
/// How much a dump may print unless the source says otherwise, in bytes: a program that never ends must not fill
/// the disk that the journal is on, where it is larger than this.
const MAX_BYTES: u64 = 64 << 30;

/// A component whose data goes through programs.
#[derive(Clone, Copy)]
pub(crate) struct Piped<'a> {
    pub(crate) site: &'a Site,
    pub(crate) cx: &'a StepContext,
    pub(crate) name: &'a str,
    pub(crate) component: &'a Component,
}

impl Piped<'_> {
    /// Runs the dump, and returns the file in `staging` that holds all that it printed.
    pub(crate) async fn dump(
        self,
        words: &[String],
        max_bytes: Option<u64>,
        staging: &Path,
    ) -> Result<PathBuf, Failure> {
        let root = self.site.data_root();
        // An attempt that ran out of time may still be writing when the next one begins.
        let folder = staging.join(format!("attempt-{}", self.cx.attempt));
        let file = folder.join(FILE);
        crate::snapshot::discard(&folder).await;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| failures::io(&folder.display().to_string(), &error))?;
        let spool = SpoolTo {
            file: &file,
            max_bytes: max_bytes.unwrap_or(MAX_BYTES),
        };
        self.run("dump", words, &root, None, Some(spool)).await?;
        Ok(file)
    }

    /// Runs the restore with `file` on its stdin.
    pub(crate) async fn restore(self, words: &[String], target: &Path, file: &Path) -> Result<(), Failure> {
        self.run("restore", words, target, Some(file), None).await
    }

    async fn run(
        self,
        what: &str,
        words: &[String],
        root: &Path,
        stdin: Option<&Path>,
        stdout: Option<SpoolTo<'_>>,
    ) -> Result<(), Failure> {
        let about = |mut failure: Failure| {
            failure.message = format!("{what} of {}: {}", self.name, failure.message);
            failure
        };
        let scope = probe::scope(self.site, self.cx, root, Some((self.name, self.component)));
        let words = rekindle_plan::expr::render(&json!(words), &scope)
            .map_err(|error| about(Failure::permanent(code::EXPRESSION, error.to_string())))?;
        let words: Vec<String> = words.as_array().into_iter().flatten().map(word).collect();
        if !root.is_dir() {
            let message = format!("the system's root {} is not there", root.display());
            return Err(about(Failure::permanent(code::SOURCE_UNREADABLE, message))
                .with_hint("its programs run there; check `root` in system.yaml"));
        }
        let program = Program {
            words: &words,
            cwd: root,
            env: &Default::default(),
            timeout: None,
            detach: false,
            stdin,
            stdout,
        };
        let ended = process::run(self.site, self.cx, &program).await.map_err(about)?;
        if ended.status.success() {
            return Ok(());
        }
        let program = words.first().map_or("", String::as_str);
        let message = format!("{program}: {}", ended.account());
        let failure = about(Failure::transient("command_failed", message)).with_hint(format!(
            "run it by hand in {}: {}",
            root.display(),
            words.join(" ")
        ));
        Err(ended.redactor.failure(failure))
    }
}
