//! A shell completes the names of a workspace, and completing disturbs nothing.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::process::Command;

use rekindle_tests::sandbox::{NOTES, Sandbox, said};
use rekindle_tests::tree;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// Returns the words that fit the last word of a line, as bash asks for them.
fn fitting(sandbox: &Sandbox, line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let last = (words.len() - 1).to_string();
    let mut command = sandbox.command(&[&["--"], &words[..]].concat());
    let output = command
        .env("REKINDLE_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", last)
        .output();
    let output = output.expect("start the product");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{line}: {}",
        said(&output)
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(str::to_owned).collect()
}

fn with_a_backup() -> Sandbox {
    let system = format!("{NOTES}scenarios:\n  fire: {{affects: all}}\n").replace(
        "components:\n",
        "components:\n  orders: {aliases: [shop], source: {type: files, path: orders}}\n",
    );
    let sandbox = Sandbox::with_a_note(BINARY, &system, "one");
    fs::create_dir(sandbox.path("data/orders")).expect("make a folder");
    sandbox.ok(&["backup"]);
    fs::create_dir(sandbox.path("workflows")).expect("make a folder");
    let workflow = "workflow: nightly\nsteps:\n  - {id: a, shell: 'true'}\n";
    sandbox.with("workflows/nightly.yaml", workflow)
}

/// Returns a field of what a command lists, of each item.
fn listed(sandbox: &Sandbox, command: &str, field: &str) -> Vec<String> {
    let said = sandbox.ok(&[command, "--json"]);
    let items = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
    let items = items.map(|item| item.expect("JSON"));
    let id = |item: Value| item[field].as_str().map(str::to_owned);
    items
        .flat_map(|item| match item {
            Value::Array(items) => items,
            item => vec![item],
        })
        .filter_map(id)
        .collect()
}

#[test]
fn every_kind_of_name_completes_and_nothing_is_written() {
    let sandbox = with_a_backup();
    let (run, set) = (listed(&sandbox, "runs", "run"), listed(&sandbox, "sets", "set"));
    let snapshots = listed(&sandbox, "snapshots", "snapshot");
    let (run, set) = (run[0].as_str(), set[0].as_str());
    let before = tree::read(&sandbox.path("")).expect("read all");
    for (line, expect) in [
        ("rekindle show ", vec!["latest", run]),
        (&format!("rekindle retry {}", &run[..10]), vec![run]),
        ("rekindle backup --component ", vec!["notes", "orders", "shop"]),
        ("rekindle backup --component=sh", vec!["--component=shop"]),
        ("rekindle verify --tier ", vec!["near"]),
        ("rekindle tier repair n", vec!["near"]),
        ("rekindle recover --scenario f", vec!["fire"]),
        ("rekindle recover --from ", vec!["latest", set]),
        (
            &format!("rekindle ls {}", &snapshots[0][..30]),
            vec![&snapshots[0]],
        ),
        ("rekindle ls no", vec!["notes"]),
        ("rekindle run nigh", vec!["nightly.yaml"]),
        ("rekindle run workflows/", vec!["workflows/nightly.yaml"]),
        ("rekindle run work", vec!["workflows/"]),
        ("rekindle completions ba", vec!["bash"]),
        ("rekindle tier cre", vec!["create"]),
        ("rekindle show 0000nothing", vec![]),
    ] {
        let mut fitting = fitting(&sandbox, line);
        // After a whole word, options may follow.
        fitting.retain(|word| !word.starts_with('-') || line.contains('='));
        assert_eq!(fitting, expect, "{line}");
    }
    let after = tree::read(&sandbox.path("")).expect("read all");
    assert_eq!(
        tree::differences(&before, &after),
        [""; 0],
        "completing wrote something"
    );
}

#[test]
fn what_cannot_be_read_completes_nothing_and_says_nothing() {
    let names = |sandbox: &Sandbox| {
        [
            "show ",
            "recover --from ",
            "ls ",
            "backup --component ",
            "tier repair ",
        ]
        .map(|command| {
            let mut words = fitting(sandbox, &format!("rekindle {command}"));
            words.retain(|word| !word.starts_with('-') && word != "latest");
            words
        })
    };
    let nothing: [Vec<String>; 5] = Default::default();
    let sandbox = Sandbox::empty(BINARY, NOTES);
    fs::remove_file(sandbox.path("system.yaml")).expect("remove system.yaml");
    assert_eq!(names(&sandbox), nothing, "without a workspace");

    let sandbox = with_a_backup();
    fs::rename(sandbox.path("config"), sandbox.path("lost")).expect("lose the key");
    let without_key = names(&sandbox);
    assert!(
        without_key[1].is_empty() && !without_key[0].is_empty(),
        "{without_key:?}"
    );
    fs::write(sandbox.path("system.yaml"), "system: [").expect("break the system");
    fs::write(sandbox.path(".rekindle/journal"), "").ok();
    assert_eq!(names(&sandbox)[3], nothing[3], "with a broken system.yaml");
}

#[test]
fn a_key_that_needs_a_passphrase_is_not_asked_for() {
    let sandbox = Sandbox::empty(BINARY, NOTES);
    fs::create_dir_all(sandbox.path("data/notes")).expect("make folders");
    let passphrase = |args: &[&str]| {
        let output = sandbox
            .command(args)
            .env("REKINDLE_PASSPHRASE", "correct horse battery")
            .output();
        let output = output.expect("start the product");
        assert!(output.status.success(), "{}", said(&output));
    };
    passphrase(&["init", "--ask-passphrase"]);
    passphrase(&["backup"]);
    assert_eq!(fitting(&sandbox, "rekindle recover --from l"), ["latest"]);
    assert_eq!(fitting(&sandbox, "rekindle recover --from 0"), [""; 0]);
}

#[test]
fn bash_completes_with_the_script() {
    if Command::new("bash").arg("--version").output().is_err() {
        return;
    }
    let sandbox = with_a_backup();
    let run = listed(&sandbox, "runs", "run").remove(0);
    fs::write(sandbox.path("it.bash"), sandbox.ok(&["completions", "bash"])).expect("write the script");
    fs::create_dir(sandbox.path("bin")).expect("make a folder");
    std::os::unix::fs::symlink(BINARY, sandbox.path("bin/rekindle")).expect("name the program");
    let asks = format!(
        "source it.bash; COMP_WORDS=(rekindle show {0}); COMP_CWORD=2 COMP_TYPE=9; \
         _clap_complete_rekindle rekindle {0} show; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        &run[..10]
    );
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("bash")
        .args(["--norc", "-c", &asks])
        .current_dir(sandbox.path(""))
        .env("PATH", format!("{}:{path}", sandbox.path("bin").display()))
        .env("REKINDLE_CONFIG_DIR", sandbox.path("config"))
        .output()
        .expect("start bash");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        run,
        "{}",
        said(&output)
    );
}
