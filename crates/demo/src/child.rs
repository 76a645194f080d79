//! The demo's commands, each a process of its own, as a person would start them.

use rekindle_model::problem::ProblemKind;
use rekindle_model::shell;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::Shown;
use rekindle_workspace::Error;

/// Starts this program's commands in one workspace, with a key folder of its own.
pub(super) struct Stage<'a> {
    pub(super) app: Shown<'a>,
    dir: PathBuf,
    config_dir: PathBuf,
}

/// A command that runs.
pub(super) struct Running {
    child: Child,
    notes: Lines<BufReader<ChildStderr>>,
}

/// How a recovery process ended.
pub(super) enum End {
    /// It was killed when it had restored about so many bytes, by its own progress.
    Killed {
        /// Bytes, by the last progress of each step.
        restored: u64,
    },
    /// It ended before it was killed.
    ByItself(ExitStatus),
}

impl<'a> Stage<'a> {
    /// Returns a stage for the workspace at `dir`.
    pub(super) fn new(app: Shown<'a>, dir: &Path, config_dir: &Path) -> Self {
        Self {
            app,
            dir: dir.to_owned(),
            config_dir: config_dir.to_owned(),
        }
    }

    /// Runs one command to its end and returns its JSON; any other exit than 0 is an error.
    pub(super) async fn done(&self, args: &[&str]) -> Result<Value, Error> {
        let mut said = self.lines(args).await?;
        match (said.pop(), said.is_empty()) {
            (Some(said), true) => Ok(said),
            _ => Err(
                broken(format!("`{}` did not print one JSON object", args.join(" ")))
                    .with_advice("this is a fault of rekindle: please report it"),
            ),
        }
    }

    /// Does the same with a command that prints any number of JSON objects.
    pub(super) async fn lines(&self, args: &[&str]) -> Result<Vec<Value>, Error> {
        let mut running = self.start(args)?;
        let mut stdout = String::new();
        let mut pipe = running.child.stdout.take();
        let read = async {
            match &mut pipe {
                Some(pipe) => pipe.read_to_string(&mut stdout).await,
                None => Ok(0),
            }
        };
        let notes = async {
            let mut warnings = Vec::new();
            while let Ok(Some(line)) = running.notes.next_line().await {
                let note: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
                if note.is_null() || note["note"] == "warning" {
                    warnings.push(note["message"].as_str().unwrap_or(&line).to_owned());
                }
            }
            warnings
        };
        let (read, warnings) = tokio::join!(read, notes);
        read.map_err(|error| Error::io("read a command's output", &error))?;
        let status = running
            .child
            .wait()
            .await
            .map_err(|error| Error::io("wait for a command", &error))?;
        if status.success() {
            let said: Result<Vec<Value>, _> =
                serde_json::Deserializer::from_str(&stdout).into_iter().collect();
            return said.map_err(|error| broken(format!("`{}` printed no JSON: {error}", command(args))));
        }
        if self.app.application.stop.is_cancelled() {
            return Err(interrupted());
        }
        let said = if warnings.is_empty() {
            stdout
        } else {
            format!("{}\n{stdout}", warnings.join("\n"))
        };
        Err(broken(format!("`{}` ended with {status}", command(args))).with_details(said))
    }

    /// Starts a command that is killed without warning once it tells that `threshold` bytes are restored and a
    /// step is in flight.
    pub(super) async fn killed_at(&self, args: &[&str], threshold: u64) -> Result<End, Error> {
        let mut running = self.start(args)?;
        let mut restored = Restored::default();
        while let Ok(Some(line)) = running.notes.next_line().await {
            restored.note(&serde_json::from_str(&line).unwrap_or(Value::Null));
            if restored.bytes() >= threshold && restored.in_flight() {
                break;
            }
        }
        // SIGKILL; the status shows whether the process had ended by itself.
        let _ = running.child.start_kill();
        let status = running
            .child
            .wait()
            .await
            .map_err(|error| Error::io("wait for the recovery", &error))?;
        match std::os::unix::process::ExitStatusExt::signal(&status) {
            Some(_) => Ok(End::Killed {
                restored: restored.bytes(),
            }),
            None => Ok(End::ByItself(status)),
        }
    }

    fn start(&self, args: &[&str]) -> Result<Running, Error> {
        let failed = |error: std::io::Error| Error::io("start a command of this program", &error);
        let mut child = Command::from(self.app.face.command(&self.dir, &self.config_dir))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stderr = child
            .stderr
            .take()
            .ok_or_else(|| failed(std::io::Error::other("no stderr")))?;
        Ok(Running {
            child,
            notes: BufReader::new(stderr).lines(),
        })
    }
}

/// Returns a command as a person would type it.
fn command(args: &[&str]) -> String {
    let words = std::iter::once(&"rekindle").chain(args);
    words.map(shell::word).collect::<Vec<_>>().join(" ")
}

/// Returns the error of a demo that does not go as it should.
pub(super) fn broken(message: impl Into<String>) -> Error {
    Error::new(ProblemKind::Failed, "demo", message)
}

/// Returns the error of a demo that a person has stopped.
pub(super) fn interrupted() -> Error {
    Error::new(
        ProblemKind::Interrupted,
        "interrupted",
        "the demo was interrupted",
    )
    .with_advice("begin it again: rekindle demo")
}

/// How far the restores of a recovery are, by its notes.
#[derive(Default)]
struct Restored(std::collections::BTreeMap<String, (u64, Option<u64>)>);

impl Restored {
    fn note(&mut self, note: &Value) {
        let Some(step) = note["step"].as_str().filter(|step| step.starts_with("restore[")) else {
            return;
        };
        match note["note"].as_str() {
            Some("progress") if note["unit"] == "bytes" => {
                let done = note["done"].as_u64().unwrap_or(0);
                self.0.insert(step.to_owned(), (done, note["total"].as_u64()));
            }
            Some("step") if note["event"] == "step_succeeded" => {
                if let Some((done, total)) = self.0.get_mut(step) {
                    *done = total.unwrap_or(*done);
                }
            }
            _ => {}
        }
    }

    fn bytes(&self) -> u64 {
        self.0.values().map(|(done, _)| done).sum()
    }

    /// Whether some restore has begun and is not through: that is the moment to pull the plug.
    fn in_flight(&self) -> bool {
        self.0
            .values()
            .any(|(done, total)| *done > 0 && total.is_none_or(|total| *done < total))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_restores_count_and_a_finished_one_is_not_in_flight() {
        let mut restored = Restored::default();
        for note in [
            json!({"note": "progress", "step": "validate[a]", "done": 9, "total": 10, "unit": "bytes"}),
            json!({"note": "progress", "step": "restore[a]", "done": 5, "total": 10, "unit": "bytes"}),
            json!({"note": "progress", "step": "restore[b]", "done": 3, "total": 3, "unit": "items"}),
            json!(null),
        ] {
            restored.note(&note);
        }
        assert_eq!((restored.bytes(), restored.in_flight()), (5, true));
        restored.note(&json!({"note": "step", "step": "restore[a]", "event": "step_succeeded"}));
        assert_eq!((restored.bytes(), restored.in_flight()), (10, false));
    }
}
