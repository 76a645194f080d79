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

/// Returns the lines of the only run's logs by file name, without the time.
fn logs(bench: &Bench) -> Vec<(String, Vec<String>)> {
    let runs = std::fs::read_dir(bench.path(".rekindle/logs")).unwrap();
    let files = runs.flat_map(|run| std::fs::read_dir(run.unwrap().path()).unwrap());
    let mut logs: Vec<_> = files
        .map(|file| {
            let file = file.unwrap();
            let text = std::fs::read_to_string(file.path()).unwrap();
            let lines = text
                .lines()
                .map(|line| line.split_once(' ').unwrap().1.to_owned());
            (file.file_name().into_string().unwrap(), lines.collect())
        })
        .collect();
    logs.sort();
    logs
}

#[tokio::test]
async fn what_a_program_says_is_kept_per_attempt_and_secrets_are_nowhere() {
    let bench = Bench::new(SYSTEM);
    let script = "echo told $DB_PASSWORD; echo postgres://ann:word@db/x >&2; exit 3";
    let yaml = one(&format!(
        r#"{{run: [sh, "-c", "{script}", "--password=hunter22"], env: {{DB_PASSWORD: hunter22}}}}
    retry: {{max_attempts: 2, backoff: {{initial: 1ms, max: 1ms}}}}"#
    ));
    let ran = bench.run("one", &yaml, json!({}), None).await;
    let (_, message) = ran.failure("it");
    assert_eq!(message, "sh: exit status: 3: postgres://***@db/x");
    let logs = logs(&bench);
    let names: Vec<&str> = logs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["it.1.log", "it.2.log"]);
    for (_, mut lines) in logs {
        assert!(lines.remove(0).starts_with("run sh -c echo told"));
        // Two pipes have no common order.
        let last = lines.pop().unwrap();
        lines.sort();
        assert_eq!(lines, ["err postgres://***@db/x", "out told ***"]);
        assert_eq!(last, "run exit status: 3");
    }
    let failed = ran
        .records
        .iter()
        .filter(|record| record.event.name() == "step_failed");
    for record in failed {
        let text = serde_json::to_string(record).unwrap();
        assert!(!text.contains("hunter22") && !text.contains("ann:word"), "{text}");
    }
}

#[tokio::test]
async fn what_a_program_answers_is_journaled_without_secrets() {
    let bench = Bench::new(SYSTEM);
    let with = r#"{run: [sh, "-c", 'echo "{\"a\": \"$API_KEY\"}"'], env: {API_KEY: hunter22}}"#;
    assert_eq!(command(&bench, with).await.output("it"), &json!({"a": "***"}));
}

#[tokio::test]
async fn the_log_of_a_looped_step_and_of_its_probes_has_a_safe_name() {
    let bench = Bench::new(SYSTEM);
    let yaml =
        "workflow: one\ndescription: d\nsteps:\n  - id: it\n    for_each: component\n    uses: validate\n";
    bench.run("one", yaml, json!({}), Some("data")).await;
    let logs = logs(&bench);
    assert_eq!(logs.len(), 1, "the other components have no probes");
    assert_eq!(logs[0].0, "it%5Bpages%5D.1.log");
    assert_eq!(logs[0].1[1], "out {\"files\": 3}");
}
