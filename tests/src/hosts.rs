//! Several hosts that share a tier: workspaces of one vault, each in a folder of its own. Their processes can
//! be stopped and continued.

#![expect(clippy::expect_used, reason = "a host that cannot be made is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::sandbox::{Sandbox, said};

/// The folder with the shared tiers.
#[derive(Debug)]
pub struct Hosts {
    shared: tempfile::TempDir,
    binary: String,
    system: String,
}

impl Hosts {
    /// Returns hosts of a system; `SHARED` in it stands for the shared folder.
    pub fn of(binary: &str, system: &str) -> Self {
        let shared = tempfile::Builder::new()
            .prefix("rekindle-shared-")
            .tempdir()
            .expect("make a folder");
        let system = system.replace("SHARED", &shared.path().display().to_string());
        Self {
            shared,
            binary: binary.to_owned(),
            system,
        }
    }

    /// Returns a path in the folder that they share.
    pub fn shared(&self, inside: &str) -> PathBuf {
        self.shared.path().join(inside)
    }

    /// Returns the URL of a folder that they share.
    pub fn url(&self, inside: &str) -> String {
        format!("file://{}", self.shared(inside).display())
    }

    /// Makes the first host, with these files below its data, and the vault's key. Nothing is backed up yet.
    pub fn first(&self, files: &[(&str, &str)]) -> Sandbox {
        let host = Sandbox::empty(&self.binary, &self.system);
        write(&host, files);
        host.ok(&["init", "--kit", "kit.txt"]);
        fs::copy(host.path("kit.txt"), self.shared("kit.txt")).expect("keep the kit elsewhere");
        host
    }

    /// Makes another host by the kit; the tiers must be there by then.
    pub fn another(&self, files: &[(&str, &str)]) -> Sandbox {
        let host = Sandbox::empty(&self.binary, &self.system);
        write(&host, files);
        let kit = self.shared("kit.txt").display().to_string();
        host.ok(&["init", "--from-kit", &kit]);
        host
    }
}

fn write(host: &Sandbox, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = host.data().join(path);
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("make folders");
        fs::write(path, text).expect("write a file");
    }
}

/// A process of the product, at work.
#[derive(Debug)]
pub struct Working {
    child: Child,
    /// Whether the child only runs the product.
    under: bool,
}

impl Working {
    /// Starts a command line on a host.
    pub fn start(host: &Sandbox, args: &[&str]) -> Self {
        let mut command = host.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self {
            child: command.spawn().expect("start the product"),
            under: host.is_under(),
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let own = self.child.id();
        let pid = if self.under { only_child(own) } else { own };
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("send a signal");
    }

    /// Returns whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("look after a process").is_some()
    }

    /// Waits for its end.
    pub fn end(self) -> Output {
        self.child.wait_with_output().expect("wait for a process")
    }

    /// Waits for its end, and returns its exit code and all that it said.
    pub fn told(self) -> (i32, String) {
        let output = self.end();
        (output.status.code().unwrap_or(-1), said(&output))
    }
}

/// Returns the id of the only child of a process.
fn only_child(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("read its children");
    children.trim().parse().expect("one child")
}

/// Returns the words before a command line of the product that let it hang wherever it opens something in a folder.
/// None where no process can be traced.
pub fn hanging(folder: &Path) -> Option<Vec<String>> {
    let trace = ["strace", "-f", "-qq", "-o", "/dev/null"];
    let there = Command::new(trace[0])
        .args(&trace[1..])
        .arg("true")
        .stderr(Stdio::null())
        .status();
    if !there.is_ok_and(|status| status.success()) {
        crate::chaos::skipped("a tier that hangs", "strace cannot trace a process here");
        return None;
    }
    let folder = folder.display().to_string();
    let how = [
        "-P",
        &folder,
        "-e",
        "trace=openat2",
        "-e",
        "inject=openat2:delay_enter=15s",
    ];
    Some(trace.into_iter().chain(how).map(str::to_owned).collect())
}

/// Returns a run's slots in a tier's folder, in order.
pub fn slots(tier: &Path, run: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(tier.join("journal").join(run)) else {
        return Vec::new();
    };
    let mut slots: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| !path.to_string_lossy().contains('#'))
        .collect();
    slots.sort();
    slots
}

/// Returns how many records of its unfinished runs a host finds in a tier.
pub fn told_of(host: &Sandbox, url: &str) -> u64 {
    let told = host.ok(&["adopt", url, "--list", "--json"]);
    let told: Value = serde_json::from_str(&told).expect("one JSON object");
    let unfinished = told["unfinished"].as_array().cloned().unwrap_or_default();
    unfinished.iter().filter_map(|run| run["records"].as_u64()).sum()
}
