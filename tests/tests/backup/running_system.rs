//! The protected system while it runs: backed up as it writes, never recovered over while it runs, and back without a
//! gap in what it had written.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use rekindle_tests::sandbox::{Sandbox, la_factoria, said};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// La Factoria, serving; ended with the test.
struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn start(sandbox: &Sandbox) -> Self {
        let mut child = sandbox
            .command(&["factoria", "serve", "--root", "data", "--rate", "200", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the system");
        let mut lines = BufReader::new(child.stdout.take().expect("its stdout")).lines();
        let first = lines.next().expect("it says where").expect("a line");
        let told: Value = serde_json::from_str(&first).expect("one JSON object a line");
        let address = told["listening"].as_str().expect("its address").to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// Returns the status line and the body of an answer.
    fn get(&self, path: &str) -> (String, Value) {
        let host = self.address.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).expect("connect");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a limit");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .expect("ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.lines().next().unwrap_or_default().to_owned();
        (status, serde_json::from_str(body).expect("JSON"))
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("stop it");
        assert!(self.child.wait().expect("it ends").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is none the worse for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn stamps(sandbox: &Sandbox, root: &str) -> Value {
    serde_json::from_str(&sandbox.ok(&["factoria", "stamps", "--root", root, "--json"])).expect("JSON")
}

fn newest(stamps: &Value, store: &str) -> u64 {
    stamps[store]["newest"].as_u64().unwrap_or_default()
}

#[test]
fn a_running_system_is_backed_up_as_it_writes_and_comes_back_without_a_gap() {
    let sandbox = Sandbox::new(BINARY, la_factoria(), 5_000_000);
    let running = Running::start(&sandbox);
    let (status, health) = running.get("/health");
    assert!(status.contains("200"), "{status} {health:#}");
    // It has written something before, while and after it is backed up.
    while newest(&stamps(&sandbox, "data"), "content") < 5 {}
    let before = stamps(&sandbox, "data");
    sandbox.ok(&["backup"]);
    while newest(&stamps(&sandbox, "data"), "content") <= newest(&before, "content") + 5 {}

    // It runs, as its system.yaml says where to ask: what it writes to is not moved from under it.
    let output = sandbox.run(&["recover", "--in-place", "--yes"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        said(&output).contains("/health answers with 200"),
        "{}",
        said(&output)
    );
    running.stop();

    let lost = stamps(&sandbox, "data");
    fs::remove_dir_all(sandbox.data()).expect("lose everything");
    sandbox.ok(&["recover"]);
    let back = stamps(&sandbox, "data");
    for store in ["audit", "content", "metrics"] {
        assert_eq!(back[store]["missing"], 0, "{store}: {back:#}");
        assert_eq!(back[store]["doubled"], 0, "{store}: {back:#}");
        let (least, found, most) = (newest(&before, store), newest(&back, store), newest(&lost, store));
        assert!(
            least <= found && found <= most,
            "{store}: {least} <= {found} <= {most}"
        );
    }
    let again = Running::start(&sandbox);
    let (status, health) = again.get("/health");
    assert!(status.contains("200"), "{status} {health:#}");
    again.stop();
}
