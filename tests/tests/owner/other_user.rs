//! The owner does not answer another user who can reach the control socket: the file's mode is not the only
//! protection.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rekindle_tests::sandbox::{NOTES, Sandbox, said};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

/// The test that is the client.
const CLIENT: &str = "owner::other_user::a_client_knocks";
/// The socket's path for the client of another user; without it that test does nothing.
const SOCKET: &str = "REKINDLE_TEST_SOCKET";
/// Whether it is to be answered.
const ANSWERED: &str = "REKINDLE_TEST_ANSWERED";
/// The user and the group that own nothing.
const NOBODY: u32 = 65_534;

/// No claim of its own: the client, run as a process of another user by the test below.
#[test]
fn a_client_knocks() {
    let Some(socket) = std::env::var_os(SOCKET) else {
        return;
    };
    let mut stream = UnixStream::connect(socket).expect("only the check of the user may refuse");
    // The server may have closed the connection already.
    let _ = stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: owner\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answered = answer.starts_with(b"HTTP/1.1 ");
    let expected = std::env::var_os(ANSWERED).is_some();
    assert_eq!(answered, expected, "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn another_user_at_the_control_socket_is_turned_away() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can start the process of another user");
        return;
    }
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "hello");
    let mut owner = sandbox
        .command(&["serve", "--json"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the owner");
    let lines = BufReader::new(owner.stderr.take().expect("its stderr")).lines();
    let mut lines = lines.map_while(Result::ok);
    assert!(lines.any(|line| line.contains("serving")), "it serves");
    std::thread::spawn(move || lines.for_each(drop));

    // Everybody can reach the socket now; the owner decides whom it answers.
    let socket = sandbox.path(".rekindle/control.sock");
    for (path, mode) in [
        (sandbox.path("."), 0o755),
        (sandbox.path(".rekindle"), 0o755),
        (socket.clone(), 0o666),
        (sandbox.path("client"), 0o755),
    ] {
        if path.ends_with("client") {
            fs::copy(std::env::current_exe().expect("this test"), &path).expect("copy the client");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("open it up");
    }
    let client = || {
        let mut client = Command::new(sandbox.path("client"));
        client
            .args(["--exact", CLIENT])
            .current_dir("/")
            .env(SOCKET, &socket)
            .env_remove(ANSWERED);
        client
    };
    let own = client()
        .env(ANSWERED, "yes")
        .output()
        .expect("start a client of root");
    let other = client()
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .expect("start a client of nobody");
    // It still answers its own user afterwards.
    sandbox.ok(&["backup"]);
    owner.kill().expect("end the owner");
    owner.wait().expect("it has ended");
    for (who, output) in [("root", own), ("nobody", other)] {
        let said = said(&output);
        // A name that no test has would end well, with no test run.
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{who}: {said}"
        );
    }
}
