//! A La Factoria system with its workspace and tiers in a temporary folder, to run the product in.

#![expect(
    clippy::expect_used,
    reason = "a sandbox that cannot be made is a failed test"
)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::faults::{COUNT, EFFECTS, KILL, Place};
use crate::{output_schema, tree};

/// A system with one component, `notes`, and one tier.
pub const NOTES: &str = "\
system: small
root: ./data
components:
  notes: {source: {type: files, path: notes}}
tiers:
  near: {url: \"file://./tiers/near\"}
";

/// The system [`NOTES`] with a second tier.
pub const NOTES_IN_TWO_TIERS: &str = "\
system: small
root: ./data
components:
  notes: {source: {type: files, path: notes}}
tiers:
  near: {url: \"file://./tiers/near\"}
  far: {url: \"file://./tiers/far\"}
";

/// A folder with `data/`, `system.yaml`, `.rekindle/`, `tiers/` and `config/` in it.
#[derive(Debug)]
pub struct Sandbox {
    /// Removed when the sandbox is dropped.
    dir: tempfile::TempDir,
    binary: PathBuf,
    /// A program that runs the product, as `strace` does, with its arguments; empty for none.
    before: Vec<String>,
}

impl Sandbox {
    /// Makes a system of about `bytes` bytes, with `system_yaml` above it, and a key. Nothing is backed up yet.
    pub fn new(binary: &str, system_yaml: &str, bytes: u64) -> Self {
        Self::empty(binary, system_yaml).filled(bytes)
    }

    fn filled(self, bytes: u64) -> Self {
        rekindle_factoria::generate(&rekindle_factoria::GenerateOptions {
            root: self.data(),
            seed: 7,
            size_bytes: bytes,
        })
        .expect("generate a system");
        self.ok(&["init", "--kit", "kit.txt"]);
        self
    }

    /// Makes a system with one note, `data/notes/a.md`, and a key. Nothing is backed up yet.
    pub fn with_a_note(binary: &str, system_yaml: &str, note: &str) -> Self {
        let sandbox = Self::empty(binary, system_yaml);
        fs::create_dir_all(sandbox.path("data/notes")).expect("make folders");
        fs::write(sandbox.path("data/notes/a.md"), note).expect("write a note");
        sandbox.ok(&["init", "--kit", "kit.txt"]);
        sandbox
    }

    /// Makes a folder with a system.yaml and nothing else.
    pub fn empty(binary: &str, system_yaml: &str) -> Self {
        Self::below(&std::env::temp_dir(), binary, system_yaml)
    }

    /// Makes what [`Sandbox::new`] makes, in memory where the machine has 4 GiB of it to spare. A killed process
    /// loses nothing that it has written, so memory shows the same as a disk, many times faster.
    pub fn in_memory(binary: &str, system_yaml: &str, bytes: u64) -> Self {
        Self::empty_in_memory(binary, system_yaml).filled(bytes)
    }

    /// Makes what [`Sandbox::empty`] makes, in memory where the machine has 4 GiB of it to spare.
    pub fn empty_in_memory(binary: &str, system_yaml: &str) -> Self {
        let memory = Path::new("/dev/shm");
        let free = rustix::fs::statvfs(memory).map_or(0, |space| space.f_bavail * space.f_frsize);
        let parent = if free >= 4 << 30 {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        Self::below(&parent, binary, system_yaml)
    }

    /// Makes what [`Sandbox::empty`] makes, in a folder below `parent`.
    pub fn below(parent: &Path, binary: &str, system_yaml: &str) -> Self {
        let dir = folder(parent);
        fs::write(dir.path().join("system.yaml"), system_yaml).expect("write system.yaml");
        Self {
            dir,
            binary: PathBuf::from(binary),
            before: Vec::new(),
        }
    }

    /// Lets another program run the product.
    #[must_use]
    pub fn under(mut self, before: Vec<String>) -> Self {
        self.before = before;
        self
    }

    /// Returns whether another program runs the product.
    pub fn is_under(&self) -> bool {
        !self.before.is_empty()
    }

    /// Returns a copy of everything, in a folder of its own. The paths in it are relative, so it is independent.
    pub fn fork(&self) -> Self {
        let dir = folder(self.dir.path().parent().expect("it has a parent"));
        tree::copy(&self.path(".").join("."), dir.path()).expect("copy a sandbox");
        Self {
            dir,
            binary: self.binary.clone(),
            before: self.before.clone(),
        }
    }

    /// Returns a path inside.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside)
    }

    /// Returns the system's own folder.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Returns the effect log's path.
    pub fn effects(&self) -> PathBuf {
        self.path("effects.log")
    }

    /// Returns a command line of the product in this folder, touching nothing outside of it.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut words = self
            .before
            .iter()
            .map(OsStr::new)
            .chain([self.binary.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command
            .args(words)
            .args(args)
            .current_dir(self.dir.path())
            .env_remove("REKINDLE_WORKSPACE")
            .env("REKINDLE_CONFIG_DIR", self.path("config"))
            .env("NO_COLOR", "1")
            .env(EFFECTS, self.effects())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command line to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        let output = self.command(args).output().expect("start the product");
        output_schema::expect(args, &output);
        output
    }

    /// Runs a command line that must exit with 0, and returns what it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(
            output.status.success(),
            "{args:?} ended with {}:\n{}",
            output.status,
            said(&output)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a command line and returns its exit code and what it said on stderr.
    pub fn code(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    /// Counts how often each kind of place is passed by a command line that must exit with 0.
    pub fn count(&self, args: &[&str]) -> impl Fn(Place) -> u64 + use<> {
        let file = self.path("places.log");
        let output = self
            .command(args)
            .env(COUNT, &file)
            .output()
            .expect("start the product");
        assert!(
            output.status.success(),
            "{args:?} ended with {}:\n{}",
            output.status,
            said(&output)
        );
        let places = fs::read_to_string(file).expect("read the counted places");
        move |place| places.lines().filter(|line| *line == place.name()).count() as u64
    }

    /// Runs a command line that dies at the `number`-th place of a kind.
    ///
    /// # Errors
    /// It did not get there: how often it passed that kind of place until it exited with 0, which it then must.
    pub fn killed(&self, args: &[&str], place: Place, number: u64) -> Result<(), u64> {
        use std::os::unix::process::ExitStatusExt;
        let file = self.path("places-until-killed.log");
        fs::write(&file, "").expect("begin to count");
        let output = self
            .command(args)
            .env(KILL, format!("{}:{number}", place.name()))
            .env(COUNT, &file)
            .output()
            .expect("start the product");
        if output.status.signal() == Some(9) {
            return Ok(());
        }
        assert!(
            output.status.success(),
            "{args:?} was to die and ended with {}:\n{}",
            output.status,
            said(&output)
        );
        let places = fs::read_to_string(file).expect("read the counted places");
        Err(places.lines().filter(|line| *line == place.name()).count() as u64)
    }

    /// Changes what is in each of a tier's packs of content. Each keeps its length, so that only reading shows it.
    pub fn spoil_packs(&self, tier: &str) {
        for pack in tree::files_below(&self.path(&format!("tiers/{tier}/packs"))) {
            let mut bytes = fs::read(&pack).expect("read a pack");
            // Byte 12 is its kind (1 is content), byte 52 the first of what is sealed.
            if bytes[12] == 1 {
                bytes[52..].iter_mut().for_each(|byte| *byte ^= 0x55);
                fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).expect("make it writable");
                fs::write(&pack, bytes).expect("spoil a pack");
            }
        }
    }

    /// Writes a file, and the folders that lead to it.
    #[must_use]
    pub fn with(self, inside: &str, text: &str) -> Self {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("make folders");
        fs::write(path, text).expect("write a file");
        self
    }

    /// Makes a named pipe, for which a program waits until somebody writes to it.
    #[must_use]
    pub fn with_gate(self, inside: &str) -> Self {
        let made = Command::new("mkfifo").arg(self.path(inside)).status();
        assert!(made.expect("start mkfifo").success(), "make a gate");
        self
    }

    /// Returns a run's history, one JSON object per record.
    ///
    /// # Errors
    /// What the product said instead.
    pub fn history_of(&self, run: &str) -> Result<Vec<Value>, String> {
        let output = self.run(&["history", run, "--json"]);
        if !output.status.success() {
            return Err(format!(
                "the history of {run} cannot be read, {}: {}",
                output.status,
                said(&output)
            ));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let records = text.lines().map(serde_json::from_str);
        records
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())
    }

    /// Returns the newest run's history, one JSON object per record; empty where there is no run.
    pub fn history(&self) -> Vec<Value> {
        self.history_of("latest").unwrap_or_default()
    }
}

fn folder(parent: &Path) -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("rekindle-test-")
        .tempdir_in(parent)
        .expect("make a folder")
}

/// Returns all that a command said.
pub fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The built-in La Factoria system without what takes long: probes and recovery steps that start a service or measure
/// times. Two components are proven. For tests with hundreds of runs.
pub fn la_factoria_in_short() -> String {
    const QUICK: [&str; 3] = ["files", "security", "content"];
    let quick = |words: &Value| {
        let words: Vec<&str> = words
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        words
            .windows(2)
            .all(|pair| pair[0] != "probe" || QUICK.contains(&pair[1]))
    };
    let mut system = rekindle_plan::yaml_value("system.yaml", la_factoria()).expect("read the system");
    let components = system["components"].as_object_mut().expect("components");
    for (name, component) in components {
        for (list, words) in [("validate", "/run"), ("recovery", "/with/run")] {
            if let Some(list) = component[list].as_array_mut() {
                list.retain(|one| one.pointer(words).is_none_or(quick));
            }
        }
        if !["security_systems", "performance_optimization"].contains(&name.as_str()) {
            component.as_object_mut().expect("a component").remove("prove");
        }
    }
    let integrity = system["integrity"].as_array_mut().expect("checks");
    integrity.retain(|one| quick(&one["run"]));
    let known = system.as_object_mut().expect("a system");
    // No probe is left for most of them.
    known.remove("targets");
    system.to_string()
}

/// The built-in La Factoria system, its tiers beside the data and its probes run by `binary`.
pub fn la_factoria() -> &'static str {
    rekindle_plan::builtin::LA_FACTORIA
}
