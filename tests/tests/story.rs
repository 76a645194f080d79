//! The story of README.md and docs/demo.md, as a user would live it: the demo, and a recovery killed at about 70 %.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rekindle_tests::recording;
use rekindle_tests::sandbox::{Sandbox, la_factoria, said};
use rekindle_tests::tree;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// The lines of the demo that the README shows: its steps, a few components, and how the whole did.
const EXCERPT: [&str; 13] = [
    "1. ",
    "2. ",
    "3. ",
    "4. ",
    "5. ",
    "6. ",
    "7. ",
    "component ",
    "security_systems ",
    "user_data ",
    "content_database ",
    "scenario ",
    "bytes not redone",
];

fn is_in_the_readme(line: &str) -> bool {
    EXCERPT.iter().any(|kind| line.starts_with(kind))
}

#[test]
fn the_demo_ends_well_and_every_other_command_works_in_what_it_keeps() {
    let sandbox = Sandbox::empty(BINARY, "");
    fs::remove_file(sandbox.path("system.yaml")).expect("begin with an empty folder");
    let output = sandbox.run(&["demo", "--keep", "kept", "--size", "20MB"]);
    assert!(output.status.success(), "{}", said(&output));
    let narrated = String::from_utf8_lossy(&output.stderr);
    let told = format!("{narrated}{}", String::from_utf8_lossy(&output.stdout));
    let folder = sandbox.path(".").canonicalize().expect("its path");
    let told = told.replace(&*folder.to_string_lossy(), "/tmp/demo");
    let kinds = [
        "1. ",
        "2. ",
        "3. ",
        "4. recover: SIGKILL",
        "5. resumed",
        "6. compared",
        "7. started it again",
        "   audit ",
        "   content ",
        "   metrics ",
        "component ",
        "interruption 1",
    ];
    let command = "$ rekindle demo --size 20MB --keep DIR";
    recording::hold("docs/demo.md", "story.rs", &format!("{command}\n{told}"), &kinds);
    let excerpt: Vec<&str> = told.lines().filter(|line| is_in_the_readme(line)).collect();
    recording::hold(
        "README.md",
        "story.rs",
        &format!("{command}\n{}", excerpt.join("\n")),
        &EXCERPT,
    );
    for args in [
        &["runs"][..],
        &["show", "latest"],
        &["history", "latest", "--json"],
        &["graph", "latest"],
        &["sets"],
        &["snapshots"],
        &["plan", "recover"],
        &["verify", "--level", "exists"],
        &[],
    ] {
        let args: Vec<&str> = ["-w", "kept"].iter().chain(args).copied().collect();
        sandbox.ok(&args);
    }
}

#[test]
fn one_component_recovers_alone_and_checks_that_read_others_have_no_data() {
    let sandbox = Sandbox::new(BINARY, la_factoria(), 5_000_000);
    sandbox.ok(&["backup"]);
    let told = sandbox.ok(&[
        "recover",
        "--component",
        "context_cache",
        "--to",
        "part",
        "--json",
    ]);
    let shown: Value = serde_json::from_str(&told).expect("one JSON object");
    assert_eq!(shown["outcome"], "succeeded", "{told}");
    let alone = tree::read(&sandbox.path("part/cache")).expect("read what was recovered");
    assert_eq!(
        alone,
        tree::read(&sandbox.data().join("cache")).expect("read the original")
    );
}

#[test]
fn a_recovery_of_300_mb_killed_at_70_percent_writes_at_most_40_percent_after_its_resume() {
    let sandbox = Sandbox::new(BINARY, la_factoria(), 300_000_000);
    sandbox.ok(&["backup"]);
    let total: u64 = fs_bytes(&sandbox.data());
    let mut first = sandbox
        .command(&["recover", "--to", "out", "--json"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the recovery");
    let mut done = std::collections::BTreeMap::<String, u64>::new();
    for line in BufReader::new(first.stderr.take().expect("its stderr")).lines() {
        let Ok(note) = serde_json::from_str::<Value>(&line.expect("a line")) else {
            continue;
        };
        let step = note["step"].as_str().unwrap_or_default();
        if note["unit"] == "bytes" && step.starts_with("restore") {
            done.insert(step.to_owned(), note["done"].as_u64().unwrap_or_default());
        }
        if done.values().sum::<u64>() * 10 >= total * 7 {
            break;
        }
    }
    first.kill().expect("kill it");
    first.wait().expect("it is dead");
    let written_before: u64 = fs_bytes(&sandbox.path("out"));
    assert!(
        written_before * 10 >= total * 4,
        "killed too early: {written_before} of {total} bytes"
    );
    sandbox.ok(&["resume"]);
    let shown: Value =
        serde_json::from_str(&sandbox.ok(&["show", "latest", "--json"])).expect("one JSON object");
    let rewritten = shown["rework"]["bytes_written_after_resume"].as_u64();
    let rewritten =
        rewritten.unwrap_or_else(|| panic!("show does not say what was written after the resume: {shown}"));
    assert!(
        rewritten * 10 <= total * 4,
        "{rewritten} of {total} bytes were written after the resume"
    );
    sandbox.ok(&["recover", "--to", "undisturbed"]);
    let (resumed, undisturbed) = (
        tree::read(&sandbox.path("out")),
        tree::read(&sandbox.path("undisturbed")),
    );
    let (resumed, undisturbed) = (resumed.expect("read"), undisturbed.expect("read"));
    assert_eq!(tree::differences(&resumed, &undisturbed), [""; 0]);
    eprintln!(
        "{total} bytes in all, {written_before} on disk at the kill, {rewritten} written after the resume"
    );
}

fn fs_bytes(root: &std::path::Path) -> u64 {
    let Ok(entries) = fs::read_dir(root) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => fs_bytes(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
