//! The source type `command`: one program prints a component's data on its stdout, another reads them on its
//! stdin.
//!
//! Both run in a system's root: the dump in the living system's, the restore in the folder of the recovery.
//! So a restore with relative paths or `${{ target.root }}` never reaches the living system from a recovery
//! elsewhere. The dump goes into a file of the workspace. It is captured only if the program succeeds, since
//! half a dump is no backup.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rekindle_model::failure::{Failure, code};
use rekindle_model::keys::Takes::{Flag, Integer, Texts};
use rekindle_model::keys::{Format, Object, key};
use rekindle_model::source::Claim;
use serde::Deserialize;

use crate::component_source::{
    Captured, Caution, ComponentSource, Existing, HandOver, Program, Programs, RestorePlan, SourceContext,
    StdoutFile,
};
use crate::failures;
use crate::files::FilesTree;
use crate::private;
use crate::shape::Shape;
use crate::source_type::{self, SourceType};
use crate::task::{blocking, discard};

/// The type's entry in the registry.
pub(crate) const TYPE: SourceType = SourceType {
    text: "Data that one program prints and another reads.",
    keys: &Object {
        noun: "command",
        keys: &[
            key(
                "dump",
                Texts(Format::CommandWord),
                "The program that prints the data on its stdout, and its arguments. It runs in `root`.",
            )
            .required(),
            key(
                "restore",
                Texts(Format::CommandWord),
                "The program that reads the data from its stdin, and its arguments. It runs in the folder that is \
                 recovered into. After a crash it may run again.",
            )
            .required(),
            key(
                "shell",
                Flag,
                "Whether `dump` and `restore` are texts that `sh -e` runs. Without it they are lists of a program and \
                 its arguments.",
            ),
            key(
                "max_bytes",
                Integer(0, u64::MAX),
                "How many bytes the dump may print. Without it 64 GiB.",
            ),
        ],
    },
    read: source_type::read::<Command>,
};

/// The dump's name in its snapshot.
const FILE: &str = "dump";
/// The largest dump in bytes, unless the source sets another limit. A program that never ends must not fill
/// the disk of the journal.
const MAX_BYTES: u64 = 64 << 30;

/// Data that one program prints and another reads.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    dump: Vec<String>,
    restore: Vec<String>,
    #[serde(default)]
    max_bytes: Option<u64>,
}

#[async_trait]
impl ComponentSource for Command {
    fn describe(&self) -> String {
        format!("the output of `{}`", self.dump.join(" "))
    }

    fn claim(&self) -> Option<Claim> {
        None
    }

    fn cautions(&self) -> Vec<Caution> {
        let named = self.restore.iter().any(|word| word.contains("target."));
        let caution = (!named).then_some(Caution {
            key: "restore",
            message: "the restore does not name `target.root`, and a recovery into another folder runs it too",
            help: "it runs in the folder that is recovered into; see that it writes nowhere else",
        });
        caution.into_iter().collect()
    }

    fn programs(&self) -> Programs {
        Programs {
            capture: self.dump.clone(),
            restore: self.restore.clone(),
        }
    }

    async fn capture(&self, cx: &SourceContext<'_>) -> Result<Captured, Failure> {
        // An earlier attempt that timed out may still be writing.
        let folder = cx.staging.join(format!("attempt-{}", cx.attempt));
        let file = folder.join(FILE);
        discard(&folder).await;
        private::create_dir_all(&folder)
            .map_err(|error| failures::io(&folder.display().to_string(), &error))?;
        let stdout = StdoutFile {
            file: &file,
            max_bytes: self.max_bytes.unwrap_or(MAX_BYTES),
        };
        run(cx, "dump", &self.dump, None, Some(stdout)).await?;
        let (tree, len) = blocking(move || {
            let len = std::fs::metadata(&file).map_or(0, |file| file.len());
            Ok((FilesTree::open(&file, &[], &[], &[])?, len))
        })
        .await?;
        let captured = Captured::new(tree, Shape::File);
        Ok(match len {
            0 => captured.with_warning("the dump succeeded and printed nothing"),
            _ => captured,
        })
    }

    fn existing(&self, _root: &Path, _never: &[PathBuf]) -> Result<Existing, Failure> {
        Ok(Existing::default())
    }

    fn restore_plan(&self) -> RestorePlan<'_> {
        RestorePlan::HandOver(self)
    }
}

#[async_trait]
impl HandOver for Command {
    async fn give(&self, cx: &SourceContext<'_>) -> Result<(), Failure> {
        let file = cx.staging.join(FILE);
        run(cx, "restore", &self.restore, Some(&file), None).await
    }
}

async fn run(
    cx: &SourceContext<'_>,
    purpose: &str,
    words: &[String],
    stdin: Option<&Path>,
    stdout: Option<StdoutFile<'_>>,
) -> Result<(), Failure> {
    if !cx.root.is_dir() {
        let message = format!(
            "{purpose} of {}: the system's root {} is not there",
            cx.component,
            cx.root.display()
        );
        return Err(Failure::permanent(code::SOURCE_UNREADABLE, message)
            .with_hint("its programs run there; check `root` in system.yaml"));
    }
    let program = Program {
        purpose,
        words,
        env: &Default::default(),
        folder: cx.root,
        stdin,
        stdout,
    };
    cx.programs.run(&program).await
}
