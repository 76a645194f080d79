//! What becomes of the programs that steps run, and of all that they start.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rekindle_actions::registry;
use rekindle_engine::{Control, Ended};
use rekindle_plan::Catalog;
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

#[tokio::test]
async fn an_output_is_whole_up_to_its_limit_and_beyond_it_a_warning_with_the_way_out() {
    let bench = Bench::new(SYSTEM);
    let text = command(&bench, r#"{run: [seq, "1", "1500"]}"#).await.output("it")["text"].clone();
    assert!(text.as_str().unwrap().ends_with("\n1500"), "{text}");

    let long = command(&bench, r#"{run: [seq, "1", "400000"]}"#).await;
    let output = long.output("it");
    assert_eq!(
        (&output["truncated"], &output["bytes"]),
        (&json!(true), &json!(2_688_895))
    );
    assert_eq!(output["head"].as_str().unwrap().len(), 4096);
    let warning = output["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("1048576") && warning.contains("`output_file:`"),
        "{warning}"
    );
    assert_eq!(
        output.get("text"),
        None,
        "a later step must not take a part for the whole"
    );

    let object =
        r#"{run: [sh, "-c", "printf '{\"a\":\"'; head -c 1100000 /dev/zero | tr '\\0' x; printf '\"}'"]}"#;
    let ran = command(&bench, object).await;
    assert_eq!(ran.output("it")["truncated"], true);
}

#[tokio::test]
async fn stdout_goes_into_a_named_file_and_the_output_names_it() {
    let bench = Bench::new(SYSTEM);
    std::fs::write(
        bench.path("data/all"),
        "an earlier content that is longer than nothing",
    )
    .unwrap();
    let ran = command(
        &bench,
        r#"{run: [seq, "1", "400000"], output_file: all, cwd: data}"#,
    )
    .await;
    let file = bench.path("data/all");
    assert_eq!(ran.output("it"), &json!({"file": file, "bytes": 2_688_895}));
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 2_688_895);
    let (_, message) = command(&bench, r#"{run: ["true"], output_file: no/such}"#)
        .await
        .failure("it");
    assert!(message.contains("no/such"), "{message}");
}

#[tokio::test]
async fn a_program_gets_the_stdin_that_its_step_says() {
    let bench = Bench::new(SYSTEM);
    let long = "x".repeat(300_000);
    let ran = command(&bench, &format!("{{run: [wc, -c], stdin: {long}}}")).await;
    assert_eq!(ran.output("it")["text"], "300000");
    let ran = command(&bench, r#"{run: [cat], stdin: {a: [1, "${{ run.id }}"]}}"#).await;
    assert_eq!(ran.output("it")["a"][0], 1);
    assert!(
        !bench
            .path(".rekindle/staging")
            .join(ran.state().id.to_string())
            .join("it")
            .exists()
    );
}

#[tokio::test]
async fn a_program_names_its_outputs_in_the_file_that_it_is_given() {
    let bench = Bench::new(SYSTEM);
    let script =
        r#"echo '{"a": 1, "b": 2}'; printf 'b=two\nc<<E\nx\ny\nE\ns=%s\n' "$A_TOKEN" >> "$REKINDLE_OUTPUT""#;
    let with = json!({"run": ["sh", "-c", script], "env": {"A_TOKEN": "hunter22"}});
    let ran = command(&bench, &with.to_string()).await;
    assert_eq!(
        ran.output("it"),
        &json!({"a": 1, "b": "two", "c": "x\ny", "s": "***"})
    );

    for (script, why) in [
        (
            "echo nonsense >> $REKINDLE_OUTPUT",
            "line 1 has neither `=` nor `<<`",
        ),
        (
            "head -c 1100000 /dev/zero > $REKINDLE_OUTPUT",
            "more than the 1048576 bytes",
        ),
        ("rm $REKINDLE_OUTPUT; mkfifo $REKINDLE_OUTPUT", "no file any more"),
    ] {
        let (code, message) = command(&bench, &json!({"run": script, "shell": true}).to_string())
            .await
            .failure("it");
        assert_eq!(code, "bad_output");
        assert!(
            message.contains("REKINDLE_OUTPUT") && message.contains(why),
            "{message}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_started_is_named() {
    let bench = Bench::new(SYSTEM);
    let long = json!({"run": ["echo", "x".repeat(200_000)]}).to_string();
    for (with, words, hint) in [
        (
            r#"{cwd: /no/such, run: ["true"]}"#,
            "the working folder /no/such: No such file",
            "`cwd`",
        ),
        (r#"{cwd: system.yaml, run: ["true"]}"#, "No such file", "`cwd`"),
        (long.as_str(), "the longest argument 200000", "`stdin:`"),
        (
            r#"{run: [echo, "a\0b"]}"#,
            "argument 1 of echo holds a NUL byte",
            "`stdin:`",
        ),
        (
            r#"{run: ["true"], env: "${{ {'a=b': run.id} }}"}"#,
            "`a=b` cannot be a variable's name",
            "`env`",
        ),
        (
            r#"{run: "${{ 'echo ' ~ run.id }}"}"#,
            "expected a list with a program",
            "write a list: [echo, ",
        ),
    ] {
        let ran = command(&bench, with).await;
        let (_, message) = ran.failure("it");
        assert!(message.contains(words), "{message}");
        let state = ran.state().step(&rekindle_model::id::StepId::from("it")).state;
        let rekindle_model::step::StepState::Failed { error } = state else {
            unreachable!()
        };
        let said = error.hint.unwrap();
        assert!(said.contains(hint), "{said}");
    }
}

#[tokio::test]
async fn whole_numbers_are_never_rounded() {
    let bench = Bench::new(SYSTEM);
    let with =
        r#"{run: [echo, '{"n": 18446744073709551617, "m": [-9223372036854775809, 18446744073709551615]}']}"#;
    let ran = command(&bench, with).await;
    let expect =
        json!({"n": "18446744073709551617", "m": ["-9223372036854775809", 18446744073709551615_u64]});
    assert_eq!(ran.output("it"), &expect);
}

#[tokio::test]
async fn a_shell_runs_a_text_and_ends_at_the_first_command_that_fails() {
    let bench = Bench::new(SYSTEM);
    let ran = command(&bench, r#"{shell: true, run: "A=1; echo $A | tr 1 2"}"#).await;
    assert_eq!(ran.output("it")["text"], "2");
    let (_, message) = command(&bench, r#"{shell: true, run: "false\necho on"}"#)
        .await
        .failure("it");
    assert_eq!(message, "sh: exit status: 1");
}

#[tokio::test]
async fn a_secret_reaches_its_program_and_nothing_else() {
    let bench = Bench::new(SYSTEM);
    std::fs::write(bench.path("word"), "from-a-file\n").unwrap();
    let script = "echo \"$A $B $C\"; echo \"x=$B\" >> $REKINDLE_OUTPUT; [ \"$A$B$C\" = from-a-filefrom-a-program$HOME ]";
    let with = json!({"shell": true, "run": script, "secrets": {
        "A": {"file": "word"}, "B": {"command": ["echo", "from-a-program"]}, "C": {"env": "HOME"},
    }});
    let ran = command(&bench, &with.to_string()).await;
    assert_eq!(ran.output("it"), &json!({"text": "*** *** ***", "x": "***"}));
    let failing = json!({"shell": true, "run": "echo $B >&2; exit 3", "secrets": {"B": {"file": "word"}}});
    let failed = command(&bench, &failing.to_string()).await;
    assert_eq!(failed.failure("it").1, "sh: exit status: 3: ***");
    let told = serde_json::to_string(&(&ran.records, &failed.records)).unwrap();
    let said = logs(&bench)
        .into_iter()
        .flat_map(|(_, lines)| lines)
        .collect::<String>();
    for secret in ["from-a-file", "from-a-program"] {
        assert!(!told.contains(secret), "{told}");
        assert!(
            !said.replace("run echo from-a-program", "").contains(secret),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_secret_that_is_missing_is_named_and_the_passphrase_is_none() {
    let bench = Bench::new(SYSTEM);
    for (from, words) in [
        (
            json!({"env": "NO_SUCH_VARIABLE_HERE"}),
            "`NO_SUCH_VARIABLE_HERE` of Rekindle's environment gives none",
        ),
        (json!({"file": "no-such"}), "no-such: No such file"),
        (
            json!({"command": ["sh", "-c", "echo locked >&2; exit 7"]}),
            "exit status: 7: locked",
        ),
        (
            json!({"env": "${{ 'REKINDLE_PASSPHRASE' if run.id else '' }}"}),
            "gives none",
        ),
    ] {
        let with = json!({"run": ["true"], "secrets": {"A": from}}).to_string();
        let (code, message) = command(&bench, &with).await.failure("it");
        assert_eq!(code, "secret_missing");
        assert!(message.contains("`A`") && message.contains(words), "{message}");
    }
    let registry = registry(bench.site(None));
    for (secrets, words) in [
        (json!({"A": {"env": "REKINDLE_PASSPHRASE"}}), "opens every backup"),
        (json!({"A": {"env": "X", "file": "y"}}), "says it twice"),
        (json!({"A": "x"}), "where it comes from"),
        (json!({"A=B": {"env": "X"}}), "cannot be a variable's name"),
    ] {
        let found = registry.check("command", &json!({"run": ["true"], "secrets": secrets}));
        assert!(found.len() == 1 && found[0].message.contains(words), "{found:?}");
    }
}
