//! Secrets that a system's programs get, each a unique value. The programs print them and fail
//! with them. Rekindle neither stores nor prints a secret. A secret inside a workflow stays in that file and in
//! the run's pinned copy of it.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Output;

use rekindle_tests::sandbox::{Sandbox, said};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// The environment in which Rekindle starts; the programs inherit it.
const INHERITED: (&str, &str) = ("DB_PASSWORD", "canary-inherited-41f7");
/// Rekindle's own, which no program gets.
const PASSPHRASE: (&str, &str) = ("REKINDLE_PASSPHRASE", "canary-passphrase-93be");
/// Written into the workflow: by the name of a variable, in the user info of a URL, in its query, in a webhook's
/// path, in a header.
const WRITTEN: [&str; 6] = [
    "canary-given-5a0c",
    "canary-user-info-77d2",
    "canary-query-e81b",
    "canary-hook-user-0f6e",
    "canary-hook-path-b3c9",
    "canary-header-2d18",
];

const SYSTEM: &str = r#"
system: small
root: ./data
components:
  notes: {source: {type: files, path: notes}}
  state:
    source:
      type: command
      dump: [sh, "-c", "echo visible-dump $DB_PASSWORD >&2; exit 1"]
      restore: [sh, "-c", "cat > ${{ target.root }}/state"]
tiers:
  near: {url: "file://./tiers/near"}
"#;

/// Programs that say all that they know, calls of what does not answer, and one of a server that says again all
/// that it was asked. Port 9 discards, where anybody listens.
const FLOW: &str = r#"
workflow: leaky
description: Says all that it knows.
steps:
  - id: says
    uses: command
    with:
      run: [sh, "-c", "echo visible-out; env; env >&2; echo \"{\\\"found\\\": \\\"$DB_PASSWORD $SMTP_TOKEN\\\"}\""]
      env: {SMTP_TOKEN: canary-given-5a0c}
  - id: fails
    uses: command
    with:
      run: [sh, "-c", "echo visible-failure $DB_PASSWORD $SMTP_TOKEN $REKINDLE_PASSPHRASE >&2; exit 1", canary-given-5a0c]
      env: {SMTP_TOKEN: canary-given-5a0c}
  - id: calls
    uses: http
    with:
      url: "http://ann:canary-user-info-77d2@127.0.0.1:9/visible-path?key=canary-query-e81b"
      headers: {Authorization: canary-header-2d18}
      timeout: 5s
  - id: echoes
    uses: http
    with:
      url: "http://ann:canary-user-info-77d2@SERVER/visible-echo?key=canary-query-e81b"
      headers: {Authorization: canary-header-2d18}
  - id: kept
    uses: http
    with:
      url: "http://ann:canary-user-info-77d2@SERVER/visible-kept?key=canary-query-e81b"
      headers: {Authorization: canary-header-2d18}
      expect_status: 403
  - id: tells
    uses: notify
    with: {webhook: "http://ann:canary-hook-user-0f6e@127.0.0.1:9/canary-hook-path-b3c9", message: over, timeout: 5s}
"#;

/// Refuses each request with its own words, for as long as the test runs.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("it has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let body = head.join(" ");
            let length = body.len();
            let answer =
                format!("HTTP/1.1 403 No\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).expect("answer");
        }
    });
    address
}

fn run(sandbox: &Sandbox, args: &[&str]) -> Output {
    let mut command = sandbox.command(args);
    command.envs([INHERITED, PASSPHRASE]);
    command.output().expect("start the product")
}

/// Returns every file below a folder that holds a text, as bytes, whatever the file is.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("list a folder") {
        let path = entry.expect("list a folder").path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if let Ok(bytes) = fs::read(&path)
            && bytes.windows(text.len()).any(|window| window == text.as_bytes())
        {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_secret_is_nowhere_but_where_a_person_wrote_it() {
    let sandbox = Sandbox::empty(BINARY, SYSTEM);
    fs::create_dir_all(sandbox.path("data/notes")).expect("make folders");
    let flow = FLOW.replace("SERVER", &echo().to_string());
    fs::write(sandbox.path("leaky.yaml"), flow).expect("write a workflow");
    let mut heard = String::new();
    let mut hear = |args: &[&str], code: i32| {
        let output = run(&sandbox, args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
        heard.push_str(&format!("$ rekindle {}\n{}", args.join(" "), said(&output)));
    };
    hear(&["init", "--ask-passphrase", "--kit", "kit.txt"], 0);
    hear(&["backup"], 3);
    for args in [
        &["show", "latest"][..],
        &["history", "latest", "--json"],
        &["logs", "latest"],
    ] {
        hear(args, 0);
    }
    hear(&["run", "leaky.yaml"], 1);
    for args in [
        &["show", "latest"][..],
        &["show", "latest", "--json"],
        &["history", "latest"],
        &["history", "latest", "--json"],
        &["logs", "latest"],
        &["logs", "latest", "--json"],
        &["runs"],
        &["watch", "latest"],
        &["graph", "latest", "--json"],
        &["graph", "latest", "--format", "svg"],
        &["plan", "leaky.yaml", "--json"],
        &["lint", "leaky.yaml"],
    ] {
        let output = run(&sandbox, args);
        heard.push_str(&format!("$ rekindle {}\n{}", args.join(" "), said(&output)));
    }
    for args in [&["doctor"][..], &["doctor", "--json"], &["status"], &[]] {
        let output = run(&sandbox, args);
        heard.push_str(&format!("$ rekindle {}\n{}", args.join(" "), said(&output)));
    }

    // What is looked for could be seen where it stood: everything that is no secret is there.
    for visible in [
        "visible-out",
        "visible-failure",
        "visible-dump",
        "visible-path",
        "visible-echo",
        "visible-kept",
        "***",
    ] {
        assert!(heard.contains(visible), "{visible}:\n{heard}");
    }
    let workspace = sandbox.path(".rekindle");
    assert!(!holding(&workspace.join("log"), "visible-failure").is_empty());
    assert!(!holding(&workspace.join("logs"), "visible-out").is_empty());

    let mut leaks = Vec::new();
    let blobs = workspace.join("blobs");
    for secret in [INHERITED.1, PASSPHRASE.1].into_iter().chain(WRITTEN) {
        leaks.extend(
            heard
                .lines()
                .filter(|line| line.contains(secret))
                .map(str::to_owned),
        );
        let mut files = holding(&workspace, secret);
        if WRITTEN.contains(&secret) {
            // The run is pinned to the file as it was.
            files.retain(|file| !file.starts_with(&blobs));
        }
        files.extend(holding(&sandbox.path("tiers"), secret));
        leaks.extend(files.iter().map(|file| format!("{secret} in {}", file.display())));
    }
    assert!(leaks.is_empty(), "said or written down:\n{}", leaks.join("\n"));
}
