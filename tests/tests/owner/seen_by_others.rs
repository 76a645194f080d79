//! The view of other processes while one owns the workspace: it begins, works, waits for a person, and
//! leaves.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rekindle_model::time::{Clock, SystemClock};
use rekindle_tests::sandbox::{NOTES, NOTES_IN_TWO_TIERS, Sandbox, said};
use rekindle_tests::wait::until;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// Over at once.
const QUICK: &str = "workflow: quick\nsteps:\n  - {id: only, uses: noop}\n";

/// Writes, waits for a line in the fifo `gate`, then for a person.
const GATED: &str = "\
workflow: gated
steps:
  - {id: z_first, uses: command, with: {run: [echo, said-first]}}
  - id: a_second
    uses: command
    needs: [z_first]
    with: {run: [sh, -c, \"echo said-second; read line < gate\"]}
  - {id: confirm, uses: approve, needs: [a_second], with: {message: \"go on?\"}}
";

/// A process that is killed with the test.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("start the product"))
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn gated() -> Sandbox {
    Sandbox::with_a_note(BINARY, NOTES, "hello")
        .with("gated.yaml", GATED)
        .with_gate("gate")
}

fn step(sandbox: &Sandbox, step: &str) -> Value {
    let shown = sandbox.run(&["show", "latest", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap_or_default();
    let steps = shown["steps"].as_array().cloned().unwrap_or_default();
    let found = steps.into_iter().find(|row| row["step"] == step);
    found.map(|row| row["state"].clone()).unwrap_or_default()
}

#[test]
fn clients_are_served_while_an_owner_leaves() {
    /// In each round, three submit and two watch. Every second round failed before owners waited for their
    /// clients.
    const ROUNDS: usize = 12;
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "hello");
    fs::write(sandbox.path("quick.yaml"), QUICK).expect("write a workflow");
    sandbox.ok(&["run", "quick.yaml"]);
    for round in 0..ROUNDS {
        let lines: [&[&str]; 5] = [
            &["run", "quick.yaml"],
            &["watch", "latest"],
            &["run", "quick.yaml"],
            &["watch", "latest"],
            &["run", "quick.yaml"],
        ];
        let started: Vec<Child> = lines
            .iter()
            .map(|args| {
                let mut command = sandbox.command(args);
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().expect("start the product")
            })
            .collect();
        for (args, child) in lines.iter().zip(started) {
            let ended = child.wait_with_output().expect("wait for it");
            assert!(
                ended.status.success(),
                "round {round}, {args:?}: {}",
                said(&ended)
            );
        }
    }
    assert_eq!(sandbox.ok(&["runs", "--status", "interrupted"]), "");
    let runs = sandbox.ok(&["runs", "--json"]);
    assert_eq!(runs.lines().count(), 1 + 3 * ROUNDS, "{runs}");
}

#[test]
fn status_and_show_tell_what_is_at_work_whom_it_waits_for_and_what_was_cut_off() {
    let sandbox = gated();
    let mut owner = Running::start(sandbox.command(&["run", "gated.yaml"]));
    until("the second step", || step(&sandbox, "a_second") == "running");
    let status = sandbox.ok(&["status"]);
    assert_eq!(status, sandbox.ok(&[]), "no command is status");
    assert!(status.contains("at work: run "), "{status}");
    assert!(status.contains("gated of "), "{status}");
    assert!(status.contains("1 of 3 steps done; now a_second\n"), "{status}");
    assert!(status.contains("\n  rekindle watch 0"), "{status}");
    assert!(!status.contains("rekindle resume"), "{status}");
    let shown = sandbox.ok(&["show", "latest"]);
    assert!(shown.contains("· gated · at work\n"), "{shown}");
    assert!(shown.contains(" so far · "), "{shown}");
    let bar = shown.lines().rfind(|line| line.starts_with("a_second"));
    // It was not cut off: it continues.
    assert!(bar.is_some_and(|bar| bar.ends_with('█')), "{shown}");

    fs::write(sandbox.path("gate"), "go\n").expect("open the gate");
    until("the question", || step(&sandbox, "confirm") == "waiting");
    let status = sandbox.ok(&[]);
    assert!(
        status.contains("  confirm waits for approval: go on?\n"),
        "{status}"
    );
    assert!(status.contains("\n  rekindle approve 0"), "{status}");
    sandbox.ok(&["pause", "latest", "--why", "let me look"]);
    let status = sandbox.ok(&[]);
    assert!(status.contains("; paused by "), "{status}");
    assert!(status.contains("\n  rekindle unpause 0"), "{status}");

    owner.kill();
    let status = sandbox.ok(&[]);
    assert!(status.contains("interrupted: run "), "{status}");
    assert!(status.contains("2 of 3 steps done"), "{status}");
    assert!(status.contains("\n  rekindle resume 0"), "{status}");
    let told: Value = serde_json::from_str(&sandbox.ok(&["--json"])).expect("JSON");
    assert_eq!(told["unfinished"][0]["driven"], false, "{told:#}");
    assert_eq!(told["unfinished"][0]["run"], told["interrupted"][0], "{told:#}");

    // In the order in which they began, whatever they are called.
    let logs = sandbox.ok(&["logs", "latest"]);
    assert!(logs.find("said-first") < logs.find("said-second"), "{logs}");
}

#[test]
fn a_process_that_keeps_the_workspace_and_answers_nobody_is_named() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "hello");
    fs::write(sandbox.path("quick.yaml"), QUICK).expect("write a workflow");
    sandbox.ok(&["run", "quick.yaml"]);
    let lock = sandbox.path(".rekindle/lock");
    let mut holder = Command::new("flock");
    holder
        .arg(&lock)
        .args(["sh", "-c", "echo $$ > held; exec sleep 60"]);
    holder.current_dir(sandbox.path(".")).process_group(0);
    let _holder = Running::start(holder);
    until("the holder", || sandbox.path("held").exists());
    fs::write(&lock, "4194000\n").expect("name the holder");
    let doctor = sandbox.ok(&["doctor"]);
    assert!(
        doctor.contains("WARNING  owner         process 4194000 works in this workspace and answers nobody"),
        "{doctor}"
    );
    assert!(doctor.contains("kill -9 4194000"), "{doctor}");
    // If the run is over, nobody needs a message.
    sandbox.ok(&["watch", "latest"]);
    let pid = fs::read_to_string(sandbox.path("held")).expect("its id");
    let _ = Command::new("kill").args(["-9", pid.trim()]).status();
}

#[test]
fn a_journal_that_was_mended_as_it_was_opened_is_not_called_well() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "hello");
    sandbox.ok(&["backup"]);
    let segment = fs::read_dir(sandbox.path(".rekindle/log"))
        .expect("list the log")
        .next();
    let segment = segment.expect("a segment").expect("list the log").path();
    let before = fs::read(&segment).expect("read the log");
    sandbox.ok(&["backup"]);
    fs::write(&segment, before).expect("lose the log's end");
    let told: Value = serde_json::from_str(&sandbox.ok(&["doctor", "--json"])).expect("JSON");
    let of_journal = |found: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let findings = found["findings"].as_array().expect("findings");
        let of_journal = findings.iter().filter(|one| one["check"] == "journal");
        of_journal
            .map(|one| (text(&one["verdict"]), text(&one["found"])))
            .collect()
    };
    let found = of_journal(&told);
    assert!(found.iter().all(|(verdict, _)| verdict == "warning"), "{found:?}");
    assert!(
        found.iter().any(|(_, what)| what.contains("logged again")),
        "{found:?}"
    );
}

#[test]
fn a_tier_that_waits_for_its_first_backup_is_no_fault() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES_IN_TWO_TIERS, "hello");
    let doctor = sandbox.ok(&["doctor"]);
    assert!(
        doctor.contains("WARNING  tier far      nothing was ever stored there"),
        "{doctor}"
    );
    assert!(doctor.contains("`rekindle backup` makes it"), "{doctor}");
    sandbox.ok(&["backup"]);
    assert!(
        sandbox
            .ok(&["doctor"])
            .contains("ok       tier far      1 recovery set, 1 snapshot\n")
    );
    // A tier that was there is missing.
    fs::rename(sandbox.path("tiers/far"), sandbox.path("elsewhere")).expect("take it away");
    let output = sandbox.run(&["doctor"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("FAULT    tier far      file://"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_run_of_ten_thousand_steps_is_shown_in_a_screenful_and_in_a_moment() {
    const STEPS: usize = 10_000;
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "hello");
    let mut yaml = "workflow: big\nmax_parallel: 8\nsteps:\n".to_owned();
    for n in 0..STEPS {
        yaml.push_str(&format!("  - {{id: s{n}, uses: noop}}\n"));
    }
    yaml.push_str("  - {id: odd, uses: command, with: {run: [\"false\"]}}\n");
    fs::write(sandbox.path("big.yaml"), yaml).expect("write a workflow");
    let (code, _) = sandbox.code(&["run", "big.yaml", "--quiet"]);
    assert_eq!(code, 1);
    let begun = SystemClock.now();
    let shown = sandbox.ok(&["show", "latest"]);
    let took = SystemClock.now().since(&begun).duration;
    assert!(shown.lines().count() < 60, "{} lines", shown.lines().count());
    assert!(
        shown.contains("10001 steps; not listed: 10000 succeeded"),
        "{shown}"
    );
    assert!(shown.contains("odd failed"), "{shown}");
    let told: Value = serde_json::from_str(&sandbox.ok(&["show", "latest", "--json"])).expect("JSON");
    assert_eq!(told["steps"].as_array().map(Vec::len), Some(STEPS + 1));
    // It took tens of times as long while it went through all records for each step.
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn the_backup_behind_hundreds_of_other_runs_is_still_the_proof() {
    const OTHERS: usize = 205;
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "hello");
    sandbox.ok(&["backup"]);
    sandbox.ok(&["recover", "--to", "out"]);
    let before = sandbox.ok(&[]);
    assert!(before.contains("✓ Can we come back?"), "{before}");
    fs::write(sandbox.path("quick.yaml"), QUICK).expect("write a workflow");
    let mut yaml = "workflow: many\nsteps:\n".to_owned();
    for n in 0..OTHERS {
        yaml.push_str(&format!(
            "  - {{id: s{n}, uses: workflow, with: {{workflow: quick.yaml}}}}\n"
        ));
    }
    fs::write(sandbox.path("many.yaml"), yaml).expect("write a workflow");
    sandbox.ok(&["run", "many.yaml"]);
    assert!(sandbox.ok(&["runs"]).lines().count() > OTHERS);
    let after = sandbox.ok(&[]);
    for answer in [
        "✓ Can we come back?",
        "✓ How long will it take?",
        "✓ How much will we lose?",
    ] {
        assert!(after.contains(answer), "{answer}: {after}");
    }
}
