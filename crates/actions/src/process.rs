//! A program run for a probe or a command: its own process group, bounded output, ended when it must end.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rekindle_model::failure::{Failure, code};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::failures;

/// How much of a program's output is kept; what lies beyond is read and dropped, so that it never blocks.
const OUTPUT_BYTES: usize = 1 << 20;
/// How long a program may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// How long to wait for the end of the output once the program itself has ended: a child that it left
/// running may hold the pipe open for ever.
const DRAIN: Duration = Duration::from_secs(1);
/// How many of the last lines on stderr go into a failure's message.
const LAST_LINES: usize = 5;

/// What to run.
pub(crate) struct Program<'a> {
    pub(crate) words: &'a [String],
    pub(crate) cwd: &'a Path,
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) timeout: Option<Duration>,
}

/// How a program ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    stderr: String,
}

impl Ended {
    /// Returns how it ended, with the last lines on stderr.
    pub(crate) fn account(&self) -> String {
        let lines: Vec<&str> = self
            .stderr
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join(" | ");
        if last.is_empty() {
            self.status.to_string()
        } else {
            format!("{}: {last}", self.status)
        }
    }
}

/// Runs a program to its end. It is ended early, with all of its process group, when `stop` is set, when its
/// time is up, or when this future is dropped.
pub(crate) async fn run(program: &Program<'_>, stop: &CancellationToken) -> Result<Ended, Failure> {
    let Some((name, arguments)) = program.words.split_first() else {
        return Err(Failure::permanent("command_failed", "there is no program to run"));
    };
    let mut child = Command::new(name)
        .args(arguments)
        .current_dir(program.cwd)
        .envs(program.env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            Failure::permanent("command_failed", format!("{name} could not be started: {error}"))
                .with_hint("check that the program is there and may be run")
        })?;
    let group = Group::of(&child);
    let stdout = Kept::from(child.stdout.take());
    let stderr = Kept::from(child.stderr.take());

    let limit = async {
        match program.timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let status = tokio::select! {
        status = child.wait() => status.map_err(|error| failures::io(name, &error))?,
        () = stop.cancelled() => {
            group.end(&mut child).await;
            return Err(failures::interrupted());
        }
        () = limit => {
            group.end(&mut child).await;
            let limit = humantime::format_duration(program.timeout.unwrap_or_default());
            return Err(Failure::transient(code::TIMEOUT, format!("{name} did not end within {limit}")));
        }
    };
    group.leave();
    let (stdout, stderr) = tokio::join!(stdout.text(), stderr.text());
    Ok(Ended {
        status,
        stdout,
        stderr,
    })
}

/// A child's process group, killed when it is dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(
            child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .and_then(Pid::from_raw),
        )
    }

    /// Asks the group to end, then makes it.
    async fn end(self, child: &mut Child) {
        self.signal(Signal::TERM);
        // Whether it ended by itself does not matter: what is left of the group is killed on drop.
        let _ = tokio::time::timeout(GRACE, child.wait()).await;
    }

    /// Lets the group live: the program has ended, and what it left running it meant to leave.
    fn leave(mut self) {
        self.0 = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // The group may be gone already, which is what was wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// What has come through a pipe so far, at most [`OUTPUT_BYTES`] of it: the last ones.
struct Kept {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Kept {
    fn from(pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        let reader = tokio::spawn(async move {
            let Some(mut pipe) = pipe else { return };
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&buffer[..read]);
                let excess = kept.len().saturating_sub(OUTPUT_BYTES);
                kept.drain(..excess);
            }
        });
        Self { bytes, reader }
    }

    /// Returns the text, once the pipe has closed or [`DRAIN`] is over.
    async fn text(mut self) -> String {
        // Past the wait the pipe is held open by a child left running; what came until now counts.
        let _ = tokio::time::timeout(DRAIN, &mut self.reader).await;
        self.reader.abort();
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(
        script: &str,
        timeout: Option<Duration>,
        stop: &CancellationToken,
    ) -> Result<Ended, Failure> {
        let words = ["sh", "-c", script].map(str::to_owned);
        run(
            &Program {
                words: &words,
                cwd: Path::new("/"),
                env: &BTreeMap::new(),
                timeout,
            },
            stop,
        )
        .await
    }

    #[tokio::test]
    async fn a_program_that_fails_is_quoted_with_its_last_lines() {
        let ended = shell(
            "echo out; for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 3",
            None,
            &CancellationToken::new(),
        )
        .await
        .unwrap();
        assert_eq!(ended.stdout, "out\n");
        assert_eq!(
            ended.account(),
            "exit status: 3: line 3 | line 4 | line 5 | line 6 | line 7"
        );
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sh -c 'echo $$ > {}; exec sleep 1000' & wait", pid.display());
        let failure = shell(
            &script,
            Some(Duration::from_millis(300)),
            &CancellationToken::new(),
        )
        .await
        .err()
        .unwrap();
        assert_eq!(failure.code, code::TIMEOUT);
        let child: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        // A zombie without a parent that reaps it may linger; it runs no more.
        let runs = || {
            let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            !(state.is_empty() || state.contains(") Z "))
        };
        tokio::time::timeout(Duration::from_secs(5), async {
            while runs() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_stop_ends_the_program_and_says_interrupted() {
        let stop = CancellationToken::new();
        stop.cancel();
        assert_eq!(
            shell("sleep 1000", None, &stop).await.err().unwrap().code,
            failures::INTERRUPTED
        );
    }

    #[tokio::test]
    async fn a_child_left_running_does_not_hold_the_step() {
        let ended = shell("sleep 5 & echo started", None, &CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(ended.stdout, "started\n");
    }
}
