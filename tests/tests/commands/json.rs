//! What `--json` prints: every command's output is what `rekindle schema output` says. All other product tests hold it
//! against the schema as well; this one makes sure that no command is left out.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::process::Output;

use rekindle_tests::output_schema;
use rekindle_tests::product::{Product, Told};
use rekindle_tests::sandbox::{NOTES_IN_TWO_TIERS, Sandbox, said};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const TOLD: &str = "workflow: told\nsteps:\n  - {id: say, uses: command, with: {run: [echo, hello]}}\n";
const FAILS: &str = "workflow: fails\nsteps:\n  - {id: bad, uses: command, with: {run: [\"false\"]}, retry: {max_attempts: 1}}\n";
const ASKED: &str =
    "workflow: asked\nsteps:\n  - {id: confirm, uses: approve, with: {message: \"go on?\"}}\n";

/// A sandbox that notes which commands were tried with `--json`. The sandbox holds each against its schema.
struct Tried {
    sandbox: Sandbox,
    commands: BTreeSet<String>,
}

impl Tried {
    fn run(&mut self, args: &[&str]) -> Output {
        self.commands.insert(output_schema::command(args));
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        self.sandbox.run(&args)
    }

    fn ok(&mut self, args: &[&str]) -> Vec<Value> {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        let objects = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
        objects.map(|object| object.expect("JSON")).collect()
    }

    fn fails(&mut self, args: &[&str], code: i32) {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
    }

    /// Begins a run that asks, and kills its process while it waits for the answer.
    fn asked(&self) {
        let run = Product::start(&self.sandbox, &["run", "asked.yaml"]);
        let mut told = Told::default();
        assert!(run.hear_until(&mut told, |note| note["event"] == "approval_requested"));
        run.kill(&mut told);
    }
}

#[test]
fn every_command_prints_json_as_the_schema_says() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES_IN_TWO_TIERS, "hello")
        .with("told.yaml", TOLD)
        .with("fails.yaml", FAILS)
        .with("asked.yaml", ASKED)
        .with("bad.yaml", "workflow: bad\nsteps: {a: {uses: comand}}\n");
    let mut tried = Tried {
        sandbox,
        commands: BTreeSet::new(),
    };
    tried.ok(&["init"]);
    tried.ok(&["status"]);
    tried.fails(&["status", "--check"], 1);
    tried.ok(&["lint"]);
    tried.fails(&["lint", "bad.yaml"], 2);
    // This system states no scenario; the tests of drills hold their output against the schema.
    tried.fails(&["drill", "--all"], 2);
    tried.fails(&["runs", "--no-such-option"], 2);
    tried.ok(&["plan", "backup"]);
    tried.ok(&["graph", "backup"]);
    tried.ok(&["completions", "bash"]);
    tried.ok(&["man", "pages"]);
    tried.ok(&["key", "export"]);
    // Before the first backup, no tier has a copy; that is no fault.
    tried.ok(&["key", "list"]);
    tried.ok(&["backup"]);
    fs::write(tried.sandbox.path("data/notes/b.md"), "more").expect("change the system");
    tried.ok(&["backup"]);
    tried.ok(&["sets"]);
    tried.ok(&["key", "list"]);
    let snapshots = tried.ok(&["snapshots"]);
    let mut ids: Vec<&str> = snapshots
        .iter()
        .filter_map(|one| one["snapshot"].as_str())
        .collect();
    ids.dedup();
    tried.ok(&["diff", ids[1], ids[0]]);
    tried.ok(&["ls", "notes"]);
    tried.ok(&["find", "a.md"]);
    tried.ok(&["verify"]);
    tried.ok(&["recover", "--dry-run", "--to", "out"]);
    tried.ok(&["recover", "--to", "out"]);
    tried.ok(&["show", "latest"]);
    tried.ok(&["targets"]);
    tried.ok(&["verify", "--level", "restore"]);
    tried.ok(&["restore", "notes", "--to", "part"]);
    tried.ok(&["run", "told.yaml"]);
    tried.ok(&["logs", "latest"]);
    tried.fails(&["run", "fails.yaml"], 1);
    tried.ok(&["runs"]);
    tried.ok(&["history", "latest"]);
    tried.ok(&["resume"]);
    tried.fails(&["watch", "latest"], 1);
    tried.ok(&["retry", "latest", "bad"]);
    tried.fails(&["resume"], 1);
    // An answer to a run that no process drives takes effect when it is resumed; a run may fail by its answer.
    tried.asked();
    tried.ok(&["pause", "latest"]);
    tried.ok(&["status"]);
    tried.ok(&["unpause", "latest"]);
    tried.run(&["cancel", "latest"]);
    for (answer, code) in [
        (&["skip", "latest", "confirm", "--why", "a drill"][..], 3),
        (&["reject", "latest", "--why", "not now"], 1),
        (&["approve", "latest", "--why", "seen"], 0),
    ] {
        tried.asked();
        tried.ok(answer);
        tried.fails(&["resume"], code);
        tried.ok(&["show", "latest"]);
    }
    tried.ok(&["doctor"]);
    tried.ok(&["trust"]);
    tried.ok(&["trust", "told.yaml"]);
    tried.ok(&["trust", "told.yaml", "--remove"]);
    tried.ok(&["tier", "list"]);
    tried.ok(&["tier", "check"]);
    fs::remove_dir_all(tried.sandbox.path("tiers/far")).expect("lose a tier");
    tried.fails(&["tier", "list"], 3);
    tried.fails(&["backup"], 3);
    tried.ok(&["tier", "create", "far"]);
    tried.ok(&["tier", "repair"]);
    tried.ok(&["adopt", "file://./tiers/near"]);
    tried.ok(&["prune", "--dry-run"]);
    tried.ok(&["prune"]);
    tried.ok(&["journal", "verify"]);
    tried.ok(&["journal", "export", "--output", "all.archive", "--all"]);
    tried.ok(&["journal", "import", "all.archive"]);
    tried.ok(&[
        "journal",
        "compact",
        "--older-than",
        "0s",
        "--archive",
        "old.archive",
    ]);
    tried.ok(&["journal", "verify"]);
    tried.ok(&["journal", "rebuild"]);
    tried.ok(&["factoria", "generate", "--root", "made", "--size", "1MB"]);
    tried.ok(&["factoria", "probe", "security", "--root", "made"]);
    tried.ok(&["factoria", "probe", "performance", "--root", "made"]);
    tried.ok(&["factoria", "probe", "service", "--root", "made"]);
    tried.ok(&["factoria", "rebuild-cache", "--root", "made"]);
    tried.ok(&[
        "factoria",
        "context",
        "--root",
        "made",
        "--type",
        "study_guide",
        "--subject",
        "history",
        "--profile",
        "simple",
    ]);
    tried.ok(&["factoria", "stamps", "--root", "made"]);
    tried.ok(&[
        "factoria",
        "damage",
        "--root",
        "made",
        "--component",
        "education",
        "--how",
        "delete",
    ]);
    tried.ok(&["demo", "--size", "2MB"]);

    let published = output_schema::published();
    let described = published["$defs"].as_object().expect("shapes").iter();
    let described = described.filter(|(_, shape)| shape.get("x-form").is_some());
    let untried: Vec<&String> = described
        .map(|(command, _)| command)
        // A load needs a system that runs.
        .filter(|command| !tried.commands.contains(*command))
        .filter(|command| !["factoria serve", "factoria load"].contains(&command.as_str()))
        .collect();
    assert!(untried.is_empty(), "{untried:?}");
    let printed = tried.sandbox.ok(&["schema", "output"]);
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(printed, published);
}

#[test]
fn the_document_of_the_command_line_names_each_field_of_the_schema() {
    let document = include_str!("../../../docs/cli.md");
    let published = output_schema::published();
    let mut lacking = Vec::new();
    for (command, shape) in published["$defs"].as_object().expect("shapes") {
        let Some(form) = shape["x-form"].as_str() else {
            continue;
        };
        let Some(fields) = shape["properties"].as_object().filter(|fields| fields.len() > 1) else {
            continue;
        };
        let row = document
            .lines()
            .find(|line| line.starts_with(&format!("| `{command}` | {form} |")));
        let Some(row) = row else {
            lacking.push(format!("{command}, {form}"));
            continue;
        };
        let fields = fields.keys().filter(|field| *field != "schema_version");
        lacking.extend(
            fields
                .filter(|field| !row.contains(&format!("`{field}`")))
                .map(|field| format!("{command}: {field}")),
        );
    }
    assert!(lacking.is_empty(), "{lacking:#?}");
}
