//! What becomes of the programs that steps run, and of all that they start.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rekindle_actions::registry;
use rekindle_engine::{Control, Ended};
use serde_json::json;

use crate::bench::{Bench, Ran, SYSTEM};

/// A grandchild in a session of its own, its parent gone: no process group and no parent leads to it.
const ORPHAN: &str = "(setsid sh -c 'echo $$ > orphan; exec sleep 1000' &) ; until [ -s orphan ]; do :; done";

fn one(with: &str) -> String {
    format!(
        "workflow: one\ndescription: One step.\nsteps:\n  - id: it\n    uses: command\n    with: {with}\n"
    )
}

async fn command(bench: &Bench, with: &str) -> Ran {
    bench.run("one", &one(with), json!({}), None).await
}

/// Returns whether the process whose id stands in the file runs; a zombie does not.
fn runs(file: &Path) -> bool {
    let pid = std::fs::read_to_string(file).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !(stat.is_empty() || stat.contains(") Z "))
}

#[tokio::test]
async fn a_program_that_fails_is_quoted_with_its_last_lines() {
    let script = "for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 3";
    let ran = command(
        &Bench::new(SYSTEM),
        &format!(r#"{{run: [sh, "-c", "{script}"]}}"#),
    )
    .await;
    let (_, message) = ran.failure("it");
    assert_eq!(
        message,
        "sh: exit status: 3: line 3 | line 4 | line 5 | line 6 | line 7"
    );
}

#[tokio::test]
async fn a_program_that_a_signal_ended_is_said_to_be() {
    let ran = command(&Bench::new(SYSTEM), r#"{run: [sh, "-c", "kill -KILL $$"]}"#).await;
    let (_, message) = ran.failure("it");
    assert_eq!(message, "sh: signal: 9 (SIGKILL)");
}

#[tokio::test]
async fn a_program_that_hangs_is_ended_with_its_orphans() {
    let bench = Bench::new(SYSTEM);
    let with = format!(r#"{{run: [sh, "-c", "{ORPHAN}; exec sleep 1000"], timeout: 3s}}"#);
    let (code, message) = command(&bench, &with).await.failure("it");
    assert_eq!(code, "timeout", "{message}");
    assert!(
        !runs(&bench.path("orphan")),
        "the step waits until all have ended"
    );
}

#[tokio::test]
async fn what_a_program_leaves_running_ends_with_it_even_if_it_ignores_being_asked() {
    let bench = Bench::new(SYSTEM);
    let stubborn = ORPHAN.replace("exec sleep 1000", "trap : TERM; while :; do sleep 1000; done");
    let ran = command(
        &bench,
        &format!(r#"{{run: [sh, "-c", "{stubborn}; echo started"]}}"#),
    )
    .await;
    assert_eq!(ran.output("it")["text"], "started");
    assert!(!runs(&bench.path("orphan")));
}

#[tokio::test]
async fn what_a_detached_program_leaves_running_lives_on() {
    let bench = Bench::new(SYSTEM);
    let ran = command(
        &bench,
        &format!(r#"{{run: [sh, "-c", "{ORPHAN}; echo started"], detach: true}}"#),
    )
    .await;
    assert_eq!(ran.output("it")["text"], "started");
    let orphan = bench.path("orphan");
    assert!(runs(&orphan));
    let pid = std::fs::read_to_string(&orphan).unwrap();
    assert!(
        std::process::Command::new("kill")
            .arg(pid.trim())
            .status()
            .unwrap()
            .success()
    );
}

#[tokio::test]
async fn a_stop_ends_the_program_and_its_orphans_and_the_run_can_be_resumed() {
    let bench = Bench::new(SYSTEM);
    let yaml = one(&format!(r#"{{run: [sh, "-c", "{ORPHAN}; exec sleep 1000"]}}"#));
    let site = bench.site(None);
    let registry = registry(Arc::clone(&site));
    let engine = bench.engine(registry.clone());
    let inputs = bench.inputs(&site, json!({}));
    let run = engine.create(bench.new_run("one", &yaml, &inputs)).await.unwrap();
    let control = Control::default();
    let orphan = bench.path("orphan");
    let stop = async {
        while !std::fs::read_to_string(&orphan).is_ok_and(|pid| pid.ends_with('\n')) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        control.stop.cancel();
    };
    let driven = bench.drive(&engine, run, &yaml, &inputs, &site, &registry, &control);
    let (ran, ()) = tokio::join!(driven, stop);
    assert!(matches!(ran.ended, Ended::Interrupted(_)));
    assert!(!runs(&orphan));
}
