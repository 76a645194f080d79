//! The product as a process: started, read, killed. Its reports are compared with its later answers.
//!
//! With `--json`, a command reports every transition on stderr once it is durable. A report that came before
//! a fault is an acknowledgement: every later history must have the transition.

#![expect(
    clippy::expect_used,
    reason = "a process that cannot be listened to is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rekindle_model::time::{Clock, SystemClock};
use serde_json::Value;

use crate::sandbox::Sandbox;

/// The longest that a command may take; a longer one hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// The longest that a killed process's programs may continue (the README's promise).
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// A command at work.
#[derive(Debug)]
pub struct Product {
    child: Child,
    notes: Receiver<String>,
    listener: JoinHandle<()>,
    out: JoinHandle<String>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its stdout.
    pub stdout: String,
}

impl Product {
    /// Starts a command line in a sandbox, with `--json`.
    pub fn start(sandbox: &Sandbox, args: &[&str]) -> Self {
        let mut command = sandbox.command(args);
        command.arg("--json");
        Self::spawn(&mut command)
    }

    /// Starts a command that says `--json` itself.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the product");
        let mut stdout = child.stdout.take().expect("its stdout");
        let stderr = child.stderr.take().expect("its stderr");
        let (send, notes) = channel();
        let listener = std::thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut line = String::new();
            // A line that was cut off does not count.
            while stderr.read_line(&mut line).is_ok_and(|len| len > 0) {
                if line.ends_with('\n') && send.send(line.trim_end().to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        let out = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stdout.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self {
            child,
            notes,
            listener,
            out,
        }
    }

    /// Reads its reports until now.
    pub fn hear(&self, told: &mut Told) {
        self.notes.try_iter().for_each(|line| told.take(&line));
    }

    /// Reads its reports until `heard` accepts one; returns whether that came before its end.
    pub fn hear_until(&self, told: &mut Told, heard: impl Fn(&Value) -> bool) -> bool {
        while let Ok(line) = self.notes.recv_timeout(LIMIT) {
            told.take(&line);
            if serde_json::from_str(&line).is_ok_and(|note| heard(&note)) {
                return true;
            }
        }
        false
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        // One that is over hears nothing, and need not.
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal);
    }

    /// Kills it with SIGKILL, and reads its reports.
    pub fn kill(self, told: &mut Told) -> Ended {
        self.signal(rustix::process::Signal::KILL);
        self.wait(told)
    }

    /// Waits for its end, and reads all its reports.
    ///
    /// # Panics
    /// It does not end.
    pub fn wait(mut self, told: &mut Told) -> Ended {
        loop {
            match self.notes.recv_timeout(LIMIT) {
                Ok(line) => told.take(&line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    panic!(
                        "it told nothing for {LIMIT:?} and did not end; before: {:?}",
                        told.last
                    );
                }
            }
        }
        let status = self.child.wait().expect("wait for the product");
        let _ = self.listener.join();
        Ended {
            code: status.code(),
            signal: status.signal(),
            stdout: self.out.join().unwrap_or_default(),
        }
    }
}

/// The reports of all commands.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// For each run, how often each event of each step was reported.
    runs: BTreeMap<String, BTreeMap<(String, String), usize>>,
    /// The sets that were reported as sealed.
    sets: BTreeSet<String>,
    now: Option<String>,
    /// Whether reports from now on do not count.
    deaf: bool,
    /// The last lines, for a person who examines a failure.
    pub last: Vec<String>,
    /// How many transitions were reported.
    pub acknowledged: usize,
}

/// How many lines are kept for messages.
const KEPT: usize = 40;

impl Told {
    fn take(&mut self, line: &str) {
        self.last.push(line.to_owned());
        if self.last.len() > KEPT {
            self.last.remove(0);
        }
        let Ok(note) = serde_json::from_str::<Value>(line) else {
            return;
        };
        if self.deaf {
            return;
        }
        let text = |key: &str| note[key].as_str().unwrap_or_default().to_owned();
        match note["note"].as_str() {
            Some("run" | "resume") => {
                self.now = Some(text("run"));
                self.runs.entry(text("run")).or_default();
            }
            Some("step") => {
                if let Some(run) = self.now.as_ref().and_then(|run| self.runs.get_mut(run)) {
                    *run.entry((text("event"), text("step"))).or_default() += 1;
                    self.acknowledged += 1;
                }
            }
            _ => {}
        }
    }

    /// Reads a backup's result: the set that it sealed must exist from now on.
    pub fn sealed(&mut self, stdout: &str) {
        let body: Option<Value> = serde_json::from_str(stdout).ok();
        let set = body.and_then(|body| body["backup"]["set"].as_str().map(str::to_owned));
        if let (Some(set), false) = (set, self.deaf) {
            self.sets.insert(set);
        }
    }

    /// The power is being cut: reports from now until [`Told::boot`] do not count.
    pub fn cut(&mut self) {
        self.deaf = true;
    }

    /// The power is back.
    pub fn boot(&mut self) {
        self.deaf = false;
    }

    /// Returns how many sets were reported as sealed.
    pub fn sets(&self) -> usize {
        self.sets.len()
    }

    /// Returns whether a run was reported.
    pub fn knows_a_run(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Compares the reports with the existing histories and sets.
    ///
    /// # Errors
    /// The first one that is missing.
    pub fn judge(&self, sandbox: &Sandbox) -> Result<(), String> {
        for (run, told) in &self.runs {
            let history = sandbox.history_of(run)?;
            let mut found: BTreeMap<(String, String), usize> = BTreeMap::new();
            for record in &history {
                let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
                *found.entry((text("event"), text("step"))).or_default() += 1;
            }
            if let Some(((event, step), times)) = told
                .iter()
                .find(|(what, times)| found.get(*what).copied().unwrap_or(0) < **times)
            {
                return Err(format!(
                    "{event} of {step} was told {times} times, and the history of {run} has it {} times",
                    found.get(&(event.clone(), step.clone())).copied().unwrap_or(0)
                ));
            }
        }
        if self.sets.is_empty() {
            return Ok(());
        }
        let listed = sandbox.run(&["sets", "--json"]);
        let listed = String::from_utf8_lossy(&listed.stdout);
        match self.sets.iter().find(|set| !listed.contains(set.as_str())) {
            Some(set) => Err(format!("set {set} was told to be sealed, and is not there")),
            None => Ok(()),
        }
    }
}

/// Waits until nothing works in a folder any more that a killed process had started.
///
/// # Errors
/// Something still does after the time in which it must be gone.
pub fn wait_until_deserted(folder: &Path) -> Result<(), String> {
    let begun = SystemClock.now();
    loop {
        let Some(process) = somebody_in(folder) else {
            return Ok(());
        };
        if SystemClock.now().since(&begun).duration > GONE_WITHIN {
            return Err(format!("{process} was left alive"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns a process whose current folder is this one.
fn somebody_in(folder: &Path) -> Option<String> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut here = processes
        .filter(|process| fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder)));
    here.next().map(|process| {
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        format!("process {}: {command}", process.file_name().display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_while_the_power_was_cut_obliges_nobody() {
        let mut told = Told::default();
        told.take(r#"{"note":"run","run":"r"}"#);
        told.take(r#"{"note":"step","step":"a","event":"step_started"}"#);
        told.cut();
        told.take(r#"{"note":"step","step":"a","event":"step_succeeded"}"#);
        told.sealed(r#"{"backup":{"set":"s"}}"#);
        assert_eq!((told.acknowledged, told.sets()), (1, 0));
        told.boot();
        told.sealed(r#"{"backup":{"set":"s"}}"#);
        assert_eq!(told.sets(), 1);
    }
}
