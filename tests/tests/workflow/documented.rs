//! Every example of docs/workflow-yaml.md runs as it is written.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rekindle_tests::sandbox::{NOTES, Sandbox, said};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// The programs that the examples name. Each does what its example needs of it, and notes its arguments.
const PROGRAMS: [(&str, &str); 11] = [
    ("build", "echo \"$1\" > app"),
    ("check", ""),
    ("importer", ""),
    ("lock", ""),
    ("note", ""),
    ("page", ""),
    ("probe", "echo '{\"broken\": 1}'"),
    ("publish", "test -n \"$TOKEN\""),
    ("push", ""),
    ("repair", ""),
    ("roll-out", ""),
];

/// What each example's programs are given, in any order.
const CALLS: [(&str, &[&str]); 6] = [
    ("hello", &[]),
    ("nightly", &["importer start", "importer stop"]),
    ("release", &["build 1.0", "publish …"]),
    (
        "deploy",
        &[
            "check web1 443",
            "check web1 80",
            "check web2 443",
            "check web2 80",
            "push web1",
            "push web2",
        ],
    ),
    ("check", &["probe ", "repair "]),
    ("deploy", &["lock take", "roll-out "]),
];

fn examples() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/workflow-yaml.md");
    let text = fs::read_to_string(path).expect("read the document");
    let blocks = text.split("\n```yaml workflow\n").skip(1);
    blocks
        .map(|block| block.split("\n```").next().unwrap_or_default().to_owned() + "\n")
        .collect()
}

#[test]
fn every_example_of_the_document_on_workflows_runs() {
    let examples = examples();
    assert_eq!(examples.len(), CALLS.len());
    for (text, (name, calls)) in examples.iter().zip(CALLS) {
        assert!(text.starts_with(&format!("workflow: {name}\n")), "{text}");
        let sandbox = Sandbox::with_a_note(BINARY, NOTES, "one").with("it.yaml", text);
        for (program, body) in PROGRAMS {
            let path = sandbox.path(program);
            let script = format!("#!/bin/sh\necho \"{program} $*\" >> calls\n{body}\n");
            fs::write(&path, script).expect("write a program");
            fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("let it run");
        }
        let mut args = vec!["run", "it.yaml"];
        if text.contains("version:") {
            args.extend(["--param", "version=1.0"]);
        }
        let output = sandbox.command(&args).env("PUBLISH_TOKEN", "secret").output();
        let output = output.expect("start the product");
        assert!(output.status.success(), "{name}: {}", said(&output));
        let mut called: Vec<String> = fs::read_to_string(sandbox.path("calls"))
            .unwrap_or_default()
            .lines()
            .map(|line| match line.strip_prefix("publish ") {
                Some(digest) if digest.len() == 64 => "publish …".to_owned(),
                _ => line.to_owned(),
            })
            .collect();
        called.sort();
        assert_eq!(called, calls, "{name}");
        assert!(sandbox.ok(&["lint", "it.yaml"]).contains("it.yaml"), "{name}");
    }
}
