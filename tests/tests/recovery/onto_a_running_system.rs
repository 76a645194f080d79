//! A recovery does not overwrite a system that answers, even if it has no file open. A system that the demo
//! runs ends with the demo.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use rekindle_tests::sandbox::{NOTES, Sandbox, said};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// A service that answers "not well" and has no file open; it lives as long as the test's process.
fn unwell() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked);
            let _ = stream.write_all(
                b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        }
    });
    address
}

const IN_PLACE: [&str; 3] = ["recover", "--in-place", "--yes"];

#[test]
fn a_recovery_in_place_is_refused_while_a_health_url_answers_unless_told_otherwise() {
    let address = unwell();
    let asked = format!("{NOTES}health:\n  - {{url: \"http://{address}/health?key=hush\"}}\n");
    let sandbox = Sandbox::with_a_note(BINARY, &asked, "as backed up");
    sandbox.ok(&["backup"]);
    let note = sandbox.path("data/notes/a.md");
    fs::write(&note, "spoilt").expect("spoil it");

    let output = sandbox.run(&IN_PLACE);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    for part in [
        &format!("the system runs: GET http://{address}/health answers with 503"),
        "stop it first; nothing was touched",
        "recover --in-place --while-running",
    ] {
        assert!(
            said(&output).contains(part),
            "{part:?} not in:\n{}",
            said(&output)
        );
    }
    assert!(!said(&output).contains("hush"), "{}", said(&output));
    assert_eq!(fs::read_to_string(&note).expect("read"), "spoilt");
    let runs = sandbox.ok(&["runs", "--workflow", "recover", "--json"]);
    assert_eq!(runs.trim(), "", "no run was begun");

    // Recovery beside a running system is allowed, and `--while-running` overrides the refusal.
    sandbox.ok(&["recover", "--to", "beside"]);
    sandbox.ok(&["recover", "--in-place", "--yes", "--while-running"]);
    assert_eq!(fs::read_to_string(&note).expect("read"), "as backed up");
}

#[test]
fn a_health_url_at_which_nobody_listens_is_in_nobodys_way() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .expect("listen")
        .local_addr()
        .expect("its address");
    let asked = format!(
        "{NOTES}health:\n  - {{url: \"http://{closed}/\"}}\n  - {{address: run/address, url: /health}}\n"
    );
    let sandbox = Sandbox::with_a_note(BINARY, &asked, "as backed up");
    sandbox.ok(&["backup"]);
    let note = sandbox.path("data/notes/a.md");
    fs::write(&note, "spoilt").expect("spoil it");
    sandbox.ok(&IN_PLACE);
    assert_eq!(fs::read_to_string(&note).expect("read"), "as backed up");
}

#[test]
fn a_health_url_that_is_none_is_told_by_lint() {
    for (health, told) in [
        ("{url: localhost/health}", "`url` is no URL of a server"),
        (
            "{url: \"http://h/health\", address: run/address}",
            "`url` is the path of a URL",
        ),
        ("{url: /health, address: ../outside}", "the path"),
        ("{address: run/address}", "url"),
        ("{url: \"http://h/\", headers: {}}", "unknown key"),
    ] {
        let sandbox = Sandbox::empty(BINARY, &format!("{NOTES}health:\n  - {health}\n"));
        let output = sandbox.run(&["lint", "system.yaml"]);
        assert_eq!(output.status.code(), Some(2), "{health}: {}", said(&output));
        let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output));
        assert!(all.contains(told), "{told:?} not in:\n{all}");
    }
}

#[test]
fn a_killed_demo_leaves_no_system_running() {
    let sandbox = Sandbox::empty(BINARY, "");
    let mut demo = sandbox
        .command(&["demo", "--keep", "kept", "--size", "5MB", "--json"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the demo");
    let told = BufReader::new(demo.stderr.take().expect("its stderr")).lines();
    let mut told = told.map(|line| line.expect("a line"));
    let started = told
        .find(|line| line.contains(" answers at "))
        .expect("it starts the system");
    demo.kill().expect("kill it");
    demo.wait().expect("it is dead");
    let (_, rest) = started.split_once("http://").expect("where it listens");
    let address = rest.split_once(' ').map_or(rest, |(address, _)| address);
    let address: SocketAddr = address.parse().expect("an address");
    let tries = (0..2_000).take_while(|_| TcpStream::connect(address).is_ok());
    let waited = tries
        .map(|_| std::thread::sleep(Duration::from_millis(5)))
        .count();
    assert!(waited < 2_000, "it still answers at {address}");
}

#[test]
fn a_system_that_runs_until_eof_ends_in_good_order() {
    let sandbox = Sandbox::empty(BINARY, "");
    sandbox.ok(&["factoria", "generate", "--root", "data", "--size", "1MB"]);
    let mut system = sandbox
        .command(&["factoria", "serve", "--root", "data", "--until-eof", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start it");
    let mut lines = BufReader::new(system.stdout.take().expect("its stdout")).lines();
    lines.next().expect("where it listens").expect("a line");
    drop(system.stdin.take());
    let did: Value =
        serde_json::from_str(&lines.next().expect("what it did").expect("a line")).expect("JSON");
    assert!(did["records"].is_u64(), "{did}");
    assert!(system.wait().expect("it ends").success());
    assert!(!sandbox.path("data/run/address").exists());
}
