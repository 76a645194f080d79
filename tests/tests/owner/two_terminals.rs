//! Two terminals: one process drives; others look, submit, approve, pause, cancel, and die. The owner may be
//! killed at any instant.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use rekindle_model::time::{Clock, SystemClock};
use rekindle_tests::recording::{self, Terminal};
use rekindle_tests::sandbox::{NOTES, Sandbox, said};
use rekindle_tests::wait::until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// Waits for a line in the fifo `gate`, then for a person, then is done.
const ASKED: &str = "\
workflow: asked
steps:
  - id: wait
    uses: command
    with: {run: [sh, -c, \"read line < gate\"]}
  - id: confirm
    uses: approve
    needs: [wait]
    with: {message: \"go on?\"}
  - id: after
    uses: command
    needs: [confirm]
    with: {run: [sh, -c, \"echo done > after\"]}
";

/// A process whose narration is read as it comes.
struct Driver {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Driver {
    fn start(sandbox: &Sandbox, args: &[&str]) -> Self {
        Self::of(sandbox.command(args))
    }

    fn of(mut command: Command) -> Self {
        let mut child = command
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the product");
        let lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
        Self { child, lines }
    }

    /// Reads on until a line of the narration holds all of these words.
    fn until(&mut self, words: &[&str]) {
        let found = self
            .lines
            .any(|line| line.is_ok_and(|line| words.iter().all(|word| line.contains(word))));
        assert!(found, "it never said {words:?}");
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("signal it");
    }

    /// Returns the rest of the narration.
    fn rest(&mut self) -> String {
        let lines: Vec<String> = self.lines.by_ref().map_while(Result::ok).collect();
        lines.join("\n")
    }

    fn end(mut self) -> Output {
        // What it still has to say must not fill the pipe.
        for _ in self.lines.by_ref() {}
        self.child.wait_with_output().expect("wait for it")
    }
}

fn small() -> Sandbox {
    Sandbox::with_a_note(BINARY, NOTES, "hello")
        .with("asked.yaml", ASKED)
        .with_gate("gate")
}

fn open_gate(sandbox: &Sandbox) {
    fs::write(sandbox.path("gate"), "go\n").expect("open the gate");
}

fn states(sandbox: &Sandbox) -> Value {
    let shown: Value = serde_json::from_str(&sandbox.ok(&["show", "latest", "--json"])).expect("JSON");
    shown["steps"].clone()
}

fn events(sandbox: &Sandbox) -> Vec<String> {
    let named = |record: &Value| record["event"].as_str().map(str::to_owned);
    sandbox.history().iter().filter_map(named).collect()
}

#[test]
fn the_second_terminal_looks_approves_and_watches_to_the_end() {
    let sandbox = small();
    let mut second = Terminal::new(
        &sandbox,
        "# one terminal: rekindle run asked.yaml      the other:\n",
    );
    let mut first = Driver::start(&sandbox, &["run", "asked.yaml", "--json"]);
    first.until(&["step_started", "\"wait\""]);
    assert!(second.ok(&["runs"]).contains("asked"));
    assert!(states(&sandbox).to_string().contains("running"));
    open_gate(&sandbox);
    first.until(&["approval_requested"]);
    assert!(second.ok(&["show", "latest"]).contains("go on?"));
    let status = second.ok(&[]);
    assert!(status.contains("confirm waits for approval: go on?"), "{status}");
    let watching = Driver::start(&sandbox, &["watch", "latest"]);
    let approved = second.ok(&["approve", "latest", "--why", "seen"]);
    assert!(approved.contains("confirm is approved"), "{approved}");
    let first = first.end();
    assert!(first.status.success(), "{}", said(&first));
    let watched = watching.end();
    assert!(watched.status.success(), "{}", said(&watched));
    second.ok(&["watch", "latest"]);
    assert!(sandbox.path("after").exists());
    assert!(events(&sandbox).contains(&"approved".to_owned()));
    assert!(!sandbox.path(".rekindle/control.sock").exists());
    let kinds = [
        "$ rekindle runs",
        "$ rekindle show latest",
        "$ rekindle approve latest",
        "confirm is approved",
        "$ rekindle watch latest",
        "at work: rekindle watch",
        "at work: run",
    ];
    recording::hold("docs/operations.md", "two_terminals.rs", &second.written, &kinds);
}

#[test]
fn a_submitter_detaches_and_the_owner_goes_on() {
    let sandbox = small();
    let mut owner = Driver::start(&sandbox, &["serve", "--json"]);
    owner.until(&["serving"]);
    let mut submitter = Driver::start(&sandbox, &["run", "asked.yaml", "--json"]);
    submitter.until(&["step_started", "\"wait\""]);
    submitter.signal(Signal::INT);
    let submitter_said = submitter.rest();
    let left = submitter.end();
    assert_eq!(left.status.code(), Some(4), "{}", said(&left));
    assert!(said(&left).contains("detached"), "{}", said(&left));
    // Nothing stops, so nobody is told that something does.
    assert!(!submitter_said.contains("stopping"), "{submitter_said:?}");
    open_gate(&sandbox);
    until("the approval", || {
        events(&sandbox).contains(&"approval_requested".to_owned())
    });
    sandbox.ok(&["approve", "latest"]);
    sandbox.ok(&["watch", "latest"]);
    // A backup is submitted like anything else.
    sandbox.ok(&["backup"]);
    owner.signal(Signal::TERM);
    let ended = owner.end();
    assert!(ended.status.success(), "{}", said(&ended));
}

#[test]
fn a_cancelled_run_ends_for_every_waiting_command() {
    let sandbox = small();
    let mut first = Driver::start(&sandbox, &["run", "asked.yaml", "--json"]);
    first.until(&["step_started", "\"wait\""]);
    sandbox.ok(&["cancel", "latest", "--why", "a drill"]);
    let first = first.end();
    assert_eq!(first.status.code(), Some(1), "{}", said(&first));
    let history = sandbox.history();
    let asked = history
        .iter()
        .find(|record| record["event"] == "cancel_requested");
    assert_eq!(asked.expect("who cancelled")["why"], "a drill");
    // Over is over.
    let (code, said) = sandbox.code(&["cancel", "latest"]);
    assert_eq!(code, 2, "{said}");
}

#[test]
fn a_run_that_nobody_drives_is_cancelled_too() {
    let sandbox = small();
    let mut first = Driver::start(&sandbox, &["run", "asked.yaml", "--json"]);
    first.until(&["step_started", "\"wait\""]);
    first.signal(Signal::KILL);
    first.end();
    sandbox.ok(&["cancel", "latest"]);
    assert_eq!(events(&sandbox).last().map(String::as_str), Some("run_finished"));
}

#[test]
fn a_killed_owner_leaves_its_runs_to_resume_and_a_decision_made_in_between_holds() {
    let sandbox = small();
    let mut owner = Driver::start(&sandbox, &["serve", "--json"]);
    owner.until(&["serving"]);
    let mut submitter = Driver::start(&sandbox, &["run", "asked.yaml", "--json"]);
    submitter.until(&["step_started", "\"wait\""]);
    open_gate(&sandbox);
    submitter.until(&["approval_requested"]);
    owner.signal(Signal::KILL);
    owner.end();
    let left = submitter.end();
    assert_eq!(left.status.code(), Some(4), "{}", said(&left));
    assert!(said(&left).contains("rekindle resume"), "{}", said(&left));
    // No process drives it: the decision is journaled, and the next driver honours it.
    let approved = sandbox.ok(&["approve", "latest"]);
    assert!(approved.contains("rekindle resume"), "{approved}");
    sandbox.ok(&["resume", "latest"]);
    assert!(sandbox.path("after").exists());
    // In its history every name stands once in each object, the epoch of the adoption too.
    let history = sandbox.ok(&["history", "latest", "--json"]);
    let adopted = history.lines().find(|line| line.contains("run_adopted"));
    assert_eq!(adopted.map(|line| line.matches("\"epoch\"").count()), Some(1));
}

#[test]
fn a_paused_run_begins_nothing_until_it_is_resumed() {
    let sandbox = small();
    let mut first = Driver::start(&sandbox, &["run", "asked.yaml", "--json"]);
    first.until(&["step_started", "\"wait\""]);
    sandbox.ok(&["pause", "latest"]);
    open_gate(&sandbox);
    first.until(&["step_succeeded", "\"wait\""]);
    assert!(!events(&sandbox).contains(&"approval_requested".to_owned()));
    let mut resumed = Driver::start(&sandbox, &["resume", "latest", "--json"]);
    resumed.until(&["approval_requested"]);
    sandbox.ok(&["reject", "latest", "confirm", "--why", "not now"]);
    // Why a step failed is told to programs too.
    resumed.until(&["step_failed", "\"confirm\"", "not now"]);
    assert_eq!(resumed.end().status.code(), Some(1));
    assert_eq!(first.end().status.code(), Some(1));
    // What was rejected can be asked again, and left out.
    sandbox.ok(&["skip", "latest", "confirm", "--why", "a drill needs no approval"]);
    // A step was left out, so it is done in part.
    let (code, said) = sandbox.code(&["resume", "latest"]);
    assert_eq!(code, 3, "{said}");
    // It was over and was opened again: nothing had interrupted it.
    let shown: Value = serde_json::from_str(&sandbox.ok(&["show", "latest", "--json"])).expect("JSON");
    assert_eq!(shown["rework"]["interruptions"], serde_json::json!([]));
    assert!(sandbox.path("after").exists());
}

#[test]
fn a_run_that_was_cancelled_while_it_was_paused_is_paused_no_longer() {
    let sandbox = small();
    let mut first = Driver::start(&sandbox, &["run", "asked.yaml", "--json"]);
    first.until(&["step_started", "\"wait\""]);
    sandbox.ok(&["pause", "latest"]);
    assert!(sandbox.ok(&["show", "latest"]).contains("paused by"));
    sandbox.ok(&["cancel", "latest"]);
    first.end();
    let shown = sandbox.ok(&["show", "latest"]);
    assert!(!shown.contains("paused by"), "{shown}");
}

#[test]
fn an_owner_that_hangs_is_named_within_its_time() {
    let sandbox = small();
    let mut owner = Driver::start(&sandbox, &["serve", "--json"]);
    owner.until(&["serving"]);
    owner.signal(Signal::STOP);
    let begun = SystemClock.now();
    let (code, said) = sandbox.code(&["backup"]);
    let took = SystemClock.now().since(&begun).duration;
    owner.signal(Signal::CONT);
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("does not answer"), "{said}");
    let named = format!("process {}", owner.child.id());
    assert!(said.contains(&named), "{said}");
    assert!(took < Duration::from_secs(7), "{took:?}");
    // Looking needs no owner.
    owner.signal(Signal::STOP);
    sandbox.ok(&["runs"]);
    let doctor = sandbox.run(&["doctor"]);
    let fault = format!("FAULT    owner         {named}");
    assert!(self::said(&doctor).contains(&fault), "{}", self::said(&doctor));
    owner.signal(Signal::KILL);
    owner.end();
    // Its socket stays behind and is in nobody's way.
    assert!(sandbox.path(".rekindle/control.sock").exists());
    sandbox.ok(&["backup"]);
}

#[test]
fn a_second_server_is_refused_with_the_name_of_the_first() {
    let sandbox = small();
    let mut owner = Driver::start(&sandbox, &["serve", "--json"]);
    owner.until(&["serving"]);
    let (code, said) = sandbox.code(&["serve"]);
    assert_eq!(code, 6, "{said}");
    assert!(said.contains(&format!("process {}", owner.child.id())), "{said}");
    owner.signal(Signal::INT);
    assert!(owner.end().status.success());
}

#[test]
fn an_owner_asks_for_its_passphrase_once_and_who_submits_needs_none() {
    let sandbox = Sandbox::empty(BINARY, NOTES);
    fs::create_dir_all(sandbox.path("data/notes")).expect("make folders");
    fs::write(sandbox.path("data/notes/a.md"), "hello").expect("write a note");
    fs::write(sandbox.path("passphrase"), "correct horse").expect("write a passphrase");
    sandbox.ok(&["init", "--kit", "kit.txt", "--passphrase-file", "passphrase"]);
    // Nobody can be asked, so it is known before anything is served.
    let (code, said) = sandbox.code(&["serve"]);
    assert_eq!((code, said.contains("passphrase")), (2, true), "{said}");
    let mut serving = sandbox.command(&["serve", "--json"]);
    serving.env("REKINDLE_PASSPHRASE", "correct horse");
    let mut owner = Driver::of(serving);
    owner.until(&["serving"]);
    sandbox.ok(&["backup"]);
    sandbox.ok(&["verify"]);
    owner.signal(Signal::TERM);
    let ended = owner.end();
    assert!(ended.status.success(), "{}", self::said(&ended));
}
