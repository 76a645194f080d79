//! A load on a running system: what it measures, and that a standstill of the system is not hidden.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rekindle_factoria::load::Target;
use rekindle_factoria::{FactoriaError, LoadOptions, Loaded, load};
use rekindle_model::time::SystemClock;
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{PROGRAM, system};

const SMALL: u64 = 1_000_000;

/// The system, running in a process of its own.
struct Running(Child);

impl Running {
    fn start(root: &Path) -> Self {
        let mut command = Command::new(PROGRAM);
        command
            .args(["factoria", "serve", "--rate", "20", "--until-eof", "--root"])
            .arg(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let running = Self(command.spawn().unwrap());
        for _ in 0..2_000 {
            if root.join("run/address").exists() {
                return running;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the system does not start");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

async fn on(root: &Path, rate: f64, duration: Duration) -> Result<Loaded, FactoriaError> {
    load(LoadOptions {
        target: Target::Root(root.to_owned()),
        rate,
        duration,
        clock: Arc::new(SystemClock),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_is_sent_at_its_rate_and_every_answer_is_measured() {
    let (_kept, root, _) = system(1, SMALL);
    let unserved = on(&root, 100.0, Duration::from_millis(500)).await.unwrap_err();
    assert!(matches!(unserved, FactoriaError::NotServed { .. }), "{unserved}");
    let _running = Running::start(&root);
    let loaded = on(&root, 100.0, Duration::from_millis(500)).await.unwrap();
    println!("{loaded:#?}");
    assert_eq!(
        (loaded.requests, loaded.answered, loaded.error_rate),
        (50, 50, 0.0)
    );
    assert!(loaded.seconds >= 0.49 && loaded.throughput > 25.0, "{loaded:?}");
    let (p50, p99) = (loaded.p50_ms.unwrap(), loaded.p99_ms.unwrap());
    assert!(
        p50 > 0.0 && p50 <= p99 && Some(p99) <= loaded.maximum_ms,
        "{loaded:?}"
    );
    // What is broken are errors of the load, with their reason.
    std::fs::remove_dir_all(root.join("context/L1")).unwrap();
    let loaded = on(&root, 100.0, Duration::from_millis(100)).await.unwrap();
    assert_eq!((loaded.error_rate, loaded.p50_ms), (1.0, None));
    assert!(loaded.first_error.unwrap().contains("404"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standstill_shows_in_every_request_that_was_due_meanwhile() {
    let (_kept, root, _) = system(1, SMALL);
    let running = Running::start(&root);
    let standstill = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        running.signal(Signal::STOP);
        tokio::time::sleep(Duration::from_millis(600)).await;
        running.signal(Signal::CONT);
    };
    let (loaded, ()) = tokio::join!(on(&root, 100.0, Duration::from_secs(1)), standstill);
    let loaded = loaded.unwrap();
    println!("{loaded:#?}");
    // 60 of 100 requests fell into it. A client that waits for each answer would have sent one of them.
    assert_eq!((loaded.answered, loaded.error_rate), (100, 0.0));
    assert!(
        loaded.p50_ms.unwrap() > 50.0 && loaded.p99_ms.unwrap() > 400.0,
        "{loaded:?}"
    );
}
