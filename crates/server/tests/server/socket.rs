//! The socket and who may be behind it: dead, deaf, or far down.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::PathBuf;
use std::time::Duration;

use rekindle_model::time::{Clock, SystemClock};
use rekindle_server::socket::{self, NAME};
use rekindle_server::{Client, ControlSocket, Unreachable};

use crate::bench::within;

/// Longer than any socket's address.
fn deep(base: &std::path::Path) -> PathBuf {
    let dir = base.join("a-folder-with-a-long-name/".repeat(8));
    std::fs::create_dir_all(&dir).unwrap();
    assert!(dir.as_os_str().len() > 107);
    dir
}

#[tokio::test]
async fn a_path_longer_than_an_address_works() {
    let base = tempfile::tempdir().unwrap();
    let dir = deep(base.path());
    let bound = ControlSocket::bind(&dir).unwrap();
    assert!(dir.join(NAME).exists());
    within(socket::connect(&dir)).await.unwrap();
    drop(bound);
    assert!(!dir.join(NAME).exists(), "it leaves no file behind");
}

#[tokio::test]
async fn only_its_user_may_use_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let bound = ControlSocket::bind(dir.path()).unwrap();
    let mode = std::fs::metadata(bound.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn the_file_of_a_dead_owner_is_nobody_and_the_next_replaces_it() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = |error: Unreachable| assert!(matches!(error, Unreachable::Nobody { .. }), "{error:?}");
    nobody(Client::connect(dir.path()).await.unwrap_err());
    nobody(Client::connect(&dir.path().join("nowhere")).await.unwrap_err());
    // A listener of the standard library leaves its file behind, as a killed owner does.
    drop(std::os::unix::net::UnixListener::bind(dir.path().join(NAME)).unwrap());
    assert!(dir.path().join(NAME).exists());
    nobody(Client::connect(dir.path()).await.unwrap_err());
    let _bound = ControlSocket::bind(dir.path()).unwrap();
    within(socket::connect(dir.path())).await.unwrap();
}

#[tokio::test]
async fn an_owner_that_hangs_is_given_up_within_five_seconds() {
    let dir = tempfile::tempdir().unwrap();
    // The kernel accepts connections for it; it never reads one.
    let _deaf = std::os::unix::net::UnixListener::bind(dir.path().join(NAME)).unwrap();
    let begun = SystemClock.now();
    let error = within(Client::connect(dir.path())).await.unwrap_err();
    assert!(matches!(error, Unreachable::Silent { .. }), "{error:?}");
    let took = SystemClock.now().since(&begun).duration;
    assert!(took < Duration::from_millis(5500), "{took:?}");
}
