//! Back up, destroy, recover: the actions through the real engine, a real vault and a real database.

use std::sync::Arc;

use crate::bench::{Bench, Ran, SYSTEM};
use rekindle_engine::{Action, Control, Ended, Output, Reconciled, StepContext};
use rekindle_model::event::{Event, Outcome, Record, Verdict};
use rekindle_model::failure::Failure;
use rekindle_model::id::RunId;
use rekindle_model::time::{Clock, Stamp, SystemClock};
use rekindle_plan::{Inputs, Problem, builtin};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn what_was_backed_up_and_destroyed_comes_back_whole_and_measured() {
    let bench = Bench::new(SYSTEM);
    let backup = bench.back_up().await;
    assert_eq!(
        backup.state().outcome,
        Some(Outcome::Succeeded),
        "{:#?}",
        backup.state().steps
    );
    let seal = backup.output("seal");
    assert_eq!(seal["recovery_ready"], true, "{seal:#}");
    assert_eq!(
        (&seal["success_rate"], &seal["all_verified"]),
        (&json!(1.0), &json!(true))
    );
    assert_eq!(seal["stored_in"], json!(["hot", "cold"]));
    assert_eq!(
        seal["components"].as_object().unwrap().len(),
        2,
        "the service has no data"
    );
    assert_eq!(backup.output("verify[orders,cold]")["verified"], true);
    assert_eq!(
        backup.output("snapshot[pages]")["metadata"],
        json!({"source": "files", "shape": "folder"})
    );
    let left = walk(&bench.path(".rekindle/spool/packs")).len();
    assert_eq!(left, 0, "what every due tier holds does not stay in the spool");

    std::fs::remove_dir_all(bench.path("data")).unwrap();
    let recovery = bench.recover("back").await;
    assert_eq!(
        recovery.state().outcome,
        Some(Outcome::Succeeded),
        "{:#?}",
        recovery.state().steps
    );
    bench.assert_restored("back");
    let located = recovery.output("locate");
    assert_eq!(located["set"], seal["set"]);
    assert_eq!(located["tier_order"], json!(["hot", "cold"]));
    let pages = recovery.output("restore[pages]");
    assert_eq!(
        pages["content_digest"],
        backup.output("snapshot[pages]")["content_digest"]
    );
    assert_eq!(
        (&pages["bytes_written"], &pages["bytes_kept"]),
        (&json!(3_300_010), &json!(0))
    );
    let valid = recovery.output("validate[pages]");
    assert_eq!(
        (&valid["valid"], &valid["checks"][0]["actual"]),
        (&json!(true), &json!(3.0))
    );
    assert_eq!(
        recovery.output("validate[orders]")["valid"],
        Value::Null,
        "no probe is no data"
    );
    let integrity = recovery.output("integrity");
    assert_eq!(integrity["operational"], Value::Null, "{integrity:#}");
    assert_eq!(integrity["system_operational"], Value::Null);
    assert_eq!(integrity["no_data"], json!(["orders", "service"]));
}

#[tokio::test]
async fn a_tier_that_is_down_fails_its_own_steps_and_nobody_elses() {
    let bench = Bench::new(SYSTEM);
    // A file where the tier's folder would be: the location cannot be used by any user.
    std::fs::create_dir_all(bench.path("tiers")).unwrap();
    std::fs::write(bench.path("tiers/cold"), "").unwrap();
    let yaml = builtin::BACKUP.replace("retry:", "retry: {max_attempts: 1} #");
    let backup = bench.run("backup", &yaml, json!({}), None).await;
    assert_eq!(backup.state().outcome, Some(Outcome::Partial));
    backup.failure("store[pages,cold]");
    assert_eq!(backup.output("verify[pages,hot]")["verified"], true);
    let seal = backup.output("seal");
    assert_eq!(
        (&seal["recovery_ready"], &seal["recoverable"], &seal["stored_in"]),
        (&json!(false), &json!(true), &json!(["hot"])),
        "{seal:#}"
    );
    assert_eq!(seal["rule"]["inputs"]["backup"]["success_rate"], json!(0.0));
    assert_ne!(
        walk(&bench.path(".rekindle/spool/packs")).len(),
        0,
        "pinned for the tier"
    );

    std::fs::remove_file(bench.path("tiers/cold")).unwrap();
    let again = bench.run("backup", &yaml, json!({}), None).await;
    assert_eq!(
        again.state().outcome,
        Some(Outcome::Succeeded),
        "{:#?}",
        again.state().steps
    );
    assert_eq!(again.output("seal")["stored_in"], json!(["hot", "cold"]));
    let left = walk(&bench.path(".rekindle/spool/packs")).len();
    assert_eq!(left, 0, "once the tier has caught up nothing is pinned");
}

#[tokio::test]
async fn an_unreadable_component_fails_alone_and_is_inherited_with_its_age() {
    let bench = Bench::new(SYSTEM);
    let first = bench.back_up().await;
    std::fs::rename(bench.path("data/pages"), bench.path("data/elsewhere")).unwrap();
    let yaml = builtin::BACKUP.replace("retry:", "retry: {max_attempts: 1} #");
    let second = bench.run("backup", &yaml, json!({}), None).await;
    assert_eq!(second.state().outcome, Some(Outcome::Partial));
    assert_eq!(second.failure("snapshot[pages]").0, "source_unreadable");
    let (seal, before) = (second.output("seal"), first.output("seal"));
    assert_eq!(seal["success_rate"], json!(0.5));
    assert_eq!(seal["recovery_ready"], false);
    assert_eq!(seal["components"]["pages"]["inherited"], true);
    assert_eq!(seal["components"]["orders"]["inherited"], false);
    assert_eq!(
        seal["components"]["pages"]["snapshot"],
        before["components"]["pages"]["snapshot"]
    );
    assert!(
        seal["skew_ms"].as_u64().unwrap() > 0,
        "the skew is measured across the ages"
    );

    let recovery = bench.recover("back").await;
    assert_eq!(
        recovery.output("locate")["set"],
        before["set"],
        "latest is the newest recovery-ready set"
    );
}

#[tokio::test]
async fn a_system_whose_first_backup_lacks_a_component_is_never_recovery_ready() {
    // Not even a rule that always holds makes it ready.
    let bench = Bench::new(&format!("{SYSTEM}rules: {{recovery_ready: \"true\"}}\n"));
    std::fs::remove_dir_all(bench.path("data/pages")).unwrap();
    let yaml = builtin::BACKUP.replace("retry:", "retry: {max_attempts: 1} #");
    let backup = bench.run("backup", &yaml, json!({}), None).await;
    let seal = backup.output("seal");
    assert_eq!(
        (&seal["recovery_ready"], &seal["missing"]),
        (&json!(false), &json!(["pages"]))
    );

    let retries = builtin::RECOVER.replace("retry:", "retry: {max_attempts: 1} #");
    let latest = bench.run("recover", &retries, json!({}), Some("back")).await;
    let (code, _) = latest.failure("locate");
    assert_eq!(code, "no_recovery_set");
    assert!(!bench.path("back").exists(), "nothing was written");

    let prefix = &seal["set"].as_str().unwrap()[..8];
    let by_name = bench
        .run("recover", &retries, json!({"from": prefix}), Some("back"))
        .await;
    assert_eq!(by_name.state().outcome, Some(Outcome::Partial));
    assert_eq!(by_name.failure("restore[pages]").0, "not_in_set");
    assert_eq!(bench.orders("back"), 3);
}

#[tokio::test]
async fn lost_files_are_named_and_the_rest_is_restored() {
    let bench = Bench::new(SYSTEM);
    bench.back_up().await;
    // Every pack of both tiers that holds content of the large file loses its bytes.
    for tier in ["hot", "cold"] {
        for pack in walk(&bench.path(&format!("tiers/{tier}/packs"))) {
            if std::fs::metadata(&pack).unwrap().len() > 1_000_000 {
                let mut permissions = std::fs::metadata(&pack).unwrap().permissions();
                std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
                std::fs::set_permissions(&pack, permissions).unwrap();
                std::fs::write(&pack, "gone").unwrap();
            }
        }
    }
    let yaml = builtin::RECOVER.replace("retry:", "retry: {max_attempts: 1} #");
    let recovery = bench.run("recover", &yaml, json!({}), Some("back")).await;
    let (code, message) = recovery.failure("restore[pages]");
    assert_eq!(code, "data_lost", "{message}");
    assert!(message.contains("deep/c.md"), "{message}");
    assert!(
        bench.path("back/pages/link").is_symlink(),
        "what needs no lost chunk stands"
    );
    assert_eq!(bench.orders("back"), 3);
}

#[tokio::test]
async fn a_component_that_is_not_as_expected_fails_with_both_numbers() {
    let bench = Bench::new(&SYSTEM.replace(">= 2", ">= 9"));
    bench.back_up().await;
    let yaml = builtin::RECOVER.replace("retry:", "retry: {max_attempts: 1} #");
    let recovery = bench.run("recover", &yaml, json!({}), Some("back")).await;
    let (code, message) = recovery.failure("validate[pages]");
    assert_eq!(code, "invalid");
    assert!(message.contains("command.files is 3, expected >= 9"), "{message}");
    assert_eq!(
        recovery.count("step_checkpoint", "validate[pages]"),
        1,
        "the numbers are in the journal"
    );
    assert_eq!(recovery.output("integrity")["success_rate"], json!(0.0));
}

#[tokio::test]
async fn a_recovery_that_lost_its_process_adopts_what_stands_and_writes_it_once() {
    let bench = Bench::new(SYSTEM);
    bench.back_up().await;
    // One process restores both components, and dies before it can journal that it did.
    let resumed = killed_and_resumed(&bench, "recover", builtin::RECOVER, "restore", 2).await;
    assert_eq!(
        resumed.state().outcome,
        Some(Outcome::Succeeded),
        "{:#?}",
        resumed.state().steps
    );
    bench.assert_restored("back");
    for step in ["restore[pages]", "restore[orders]"] {
        assert_eq!(
            resumed.count("step_started", step),
            1,
            "{step} is adopted, not run again"
        );
        assert_eq!(resumed.count("step_reconciled", step), 1);
        assert_eq!(resumed.output(step)["bytes_written"], json!(0));
    }
}

#[tokio::test]
async fn a_backup_that_lost_its_process_adopts_what_was_whole_and_seals_one_set() {
    for action in ["snapshot", "store", "seal-set"] {
        let bench = Bench::new(SYSTEM);
        let resumed = killed_and_resumed(&bench, "backup", builtin::BACKUP, action, 1).await;
        assert_eq!(
            resumed.state().outcome,
            Some(Outcome::Succeeded),
            "{action}: {:#?}",
            resumed.state().steps
        );
        let template = if action == "seal-set" { "seal" } else { action };
        let adopted = |record: &Record| match &record.event {
            Event::StepReconciled {
                step,
                verdict: Verdict::Complete,
                ..
            } => step.template() == template,
            _ => false,
        };
        assert!(
            resumed.records.iter().any(adopted),
            "{action} is adopted where it was done"
        );
        let seal = resumed.output("seal");
        assert_eq!(
            (&seal["recovery_ready"], &seal["stored_in"]),
            (&json!(true), &json!(["hot", "cold"]))
        );
        for tier in ["hot", "cold"] {
            assert_eq!(
                walk(&bench.path(&format!("tiers/{tier}/sets"))).len(),
                1,
                "{action}: one set in {tier}"
            );
        }
        bench.recover("back").await;
        bench.assert_restored("back");
    }
}

#[tokio::test]
async fn a_damaged_copy_is_found_and_named_no_set_relies_on_it_and_the_next_backup_heals_it() {
    let bench = Bench::new(SYSTEM);
    bench.back_up().await;
    for pack in walk(&bench.path("tiers/cold/packs")) {
        let mut bytes = std::fs::read(&pack).unwrap();
        if bytes.len() < 1_000_000 {
            continue;
        }
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::set_permissions(&pack, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&pack, bytes).unwrap();
    }
    // What has not changed is not stored again, so the backup meets the damaged packs when it reads them back.
    let backup = builtin::BACKUP.replace("retry:", "retry: {max_attempts: 1} #");
    let met = bench.run("backup", &backup, json!({}), None).await;
    let seal = met.output("seal");
    assert_eq!(seal["stored_in"], json!(["hot"]), "{seal:#}");
    assert_eq!(
        (&seal["all_verified"], &seal["recovery_ready"]),
        (&json!(false), &json!(false))
    );
    let verify = builtin::VERIFY.replace("retry:", "retry: {max_attempts: 1} #");
    let verified = bench.run("verify", &verify, json!({}), None).await;
    assert_eq!(verified.output("verify[pages,hot]")["verified"], true);
    let (code, message) = verified.failure("verify[pages,cold]");
    assert_eq!(code, "data_lost");
    assert!(message.contains("deep/c.md"), "{message}");

    // Now that they are known to be damaged, they are stored again.
    let healed = bench.run("backup", &backup, json!({}), None).await;
    let seal = healed.output("seal");
    assert_eq!(seal["stored_in"], json!(["hot", "cold"]), "{seal:#}");
    assert_eq!(
        (&seal["all_verified"], &seal["recovery_ready"]),
        (&json!(true), &json!(true))
    );
}

/// Runs a workflow in a process that dies once `action` has done its work `times` times and before it could
/// journal that, then resumes it in another.
async fn killed_and_resumed(bench: &Bench, workflow: &str, yaml: &str, action: &str, times: u32) -> Ran {
    let site = bench.site(Some("back"));
    let registry = rekindle_actions::registry(Arc::clone(&site));
    let done = Arc::new(Semaphore::new(0));
    let dying = registry.map(|name, inner| match name == action {
        true => Arc::new(DiesAfter {
            action: inner,
            done: Arc::clone(&done),
        }),
        false => inner,
    });
    let engine = bench.engine(dying.clone());
    let inputs = bench.inputs(&site, json!({}));
    let run = engine
        .create(bench.new_run(workflow, yaml, &inputs))
        .await
        .unwrap();
    let control = Control::default();
    let killed = tokio::select! {
        _ = bench.drive(&engine, run, yaml, &inputs, &site, &dying, &control) => false,
        _ = done.acquire_many(times) => true,
    };
    assert!(killed, "{action} is part of {workflow}");
    drop(engine);

    let site = bench.site(Some("back"));
    let registry = rekindle_actions::registry(Arc::clone(&site));
    let engine = bench.engine(registry.clone());
    engine.adopt(run, "it died").await.unwrap();
    bench
        .drive(&engine, run, yaml, &inputs, &site, &registry, &control)
        .await
}

/// Begins a recovery of more entries than one window of a restore takes, and stops it after the first.
async fn stopped_after_a_window(bench: &Bench) -> (RunId, Inputs) {
    std::fs::create_dir(bench.path("data/pages/many")).unwrap();
    for n in 0..4_200 {
        std::fs::write(
            bench.path(&format!("data/pages/many/{n:04}")),
            format!("page {n}"),
        )
        .unwrap();
    }
    bench.back_up().await;

    let site = bench.site(Some("back"));
    let registry = rekindle_actions::registry(site.clone());
    let control = Control::default();
    let stopping = registry.clone().map(|name, action| match name {
        "restore" => Arc::new(StopsAtFirstWindow {
            action,
            stop: control.stop.clone(),
        }),
        _ => action,
    });
    let engine = bench.engine(stopping.clone());
    let inputs = bench.inputs(&site, json!({}));
    let run = engine
        .create(bench.new_run("recover", builtin::RECOVER, &inputs))
        .await
        .unwrap();
    let stopped = bench
        .drive(
            &engine,
            run,
            builtin::RECOVER,
            &inputs,
            &site,
            &stopping,
            &control,
        )
        .await;
    assert!(matches!(stopped.ended, Ended::Interrupted(_)));
    assert_eq!(
        stopped.count("step_checkpoint", "restore[pages]"),
        1,
        "one before the stop, none in between"
    );
    assert!(!bench.path("back/pages/many/4199").exists());
    (run, inputs)
}

async fn resumed(bench: &Bench, run: RunId, inputs: &Inputs) -> Ran {
    let site = bench.site(Some("back"));
    let registry = rekindle_actions::registry(site.clone());
    let engine = bench.engine(registry.clone());
    engine.adopt(run, "resumed").await.unwrap();
    let control = Control::default();
    let resumed = bench
        .drive(&engine, run, builtin::RECOVER, inputs, &site, &registry, &control)
        .await;
    assert_eq!(
        resumed.state().outcome,
        Some(Outcome::Succeeded),
        "{:#?}",
        resumed.state().steps
    );
    bench.assert_restored("back");
    assert_eq!(
        std::fs::read_dir(bench.path("back/pages/many")).unwrap().count(),
        4_200
    );
    resumed
}

#[tokio::test]
async fn a_restore_that_is_stopped_records_how_far_it_got_and_goes_on_from_there() {
    let bench = Bench::new(SYSTEM);
    let (run, inputs) = stopped_after_a_window(&bench).await;
    let resumed = resumed(&bench, run, &inputs).await;
    let pages = resumed.output("restore[pages]");
    let (written, kept) = (
        pages["bytes_written"].as_u64().unwrap(),
        pages["bytes_kept"].as_u64().unwrap(),
    );
    // How far it had come when the stop took effect depends on the machine; what it had done is kept.
    assert!(
        written > 0 && kept > 0,
        "what stood there is not done again: {pages:#}"
    );
    assert_eq!(written + kept, pages["bytes"].as_u64().unwrap());
}

#[tokio::test]
async fn a_checkpoint_is_not_believed_against_what_stands_there_and_the_history_says_so() {
    let bench = Bench::new(SYSTEM);
    let (run, inputs) = stopped_after_a_window(&bench).await;
    // Neither its length nor its time gives it away.
    let path = bench.path("back/pages/a.md");
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, vec![0; 10]).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(time).unwrap();
    let resumed = resumed(&bench, run, &inputs).await;
    let refuted = resumed.records.iter().find_map(|record| match &record.event {
        Event::StepReconciled {
            step,
            verdict,
            evidence,
            ..
        } if step.as_str() == "restore[pages]" => Some((*verdict, evidence["checkpoint_refuted"].clone())),
        _ => None,
    });
    let expected = json!({ "path": "a.md", "aspect": "content" });
    assert_eq!(refuted, Some((Verdict::Redo, expected)));
    let kept = resumed.output("restore[pages]")["bytes_kept"].as_u64().unwrap();
    assert!(kept >= 300_000, "what is right is kept: {kept}");
}

/// Asks for a stop as soon as the restore looks at its clock, which it does after each window.
struct StopsAtFirstWindow {
    action: Arc<dyn Action>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct StoppingClock(CancellationToken);

impl Clock for StoppingClock {
    fn now(&self) -> Stamp {
        self.0.cancel();
        SystemClock.now()
    }
}

#[async_trait::async_trait]
impl Action for StopsAtFirstWindow {
    fn check(&self, with: &Value) -> Vec<Problem> {
        self.action.check(with)
    }

    async fn reconcile(&self, cx: &StepContext, checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        self.action.reconcile(cx, checkpoint).await
    }

    async fn run(&self, cx: &StepContext, checkpoint: Option<Value>) -> Result<Output, Failure> {
        let mut cx = cx.clone();
        if cx.step.id.as_str() == "restore[pages]" {
            cx.clock = Arc::new(StoppingClock(self.stop.clone()));
        }
        self.action.run(&cx, checkpoint).await
    }
}

/// Does its work and then never returns: the process was killed between act and outcome.
struct DiesAfter {
    action: Arc<dyn Action>,
    /// Gets a permit for each that has done its work.
    done: Arc<Semaphore>,
}

#[async_trait::async_trait]
impl Action for DiesAfter {
    fn check(&self, with: &Value) -> Vec<Problem> {
        self.action.check(with)
    }

    async fn reconcile(&self, cx: &StepContext, checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        self.action.reconcile(cx, checkpoint).await
    }

    async fn run(&self, cx: &StepContext, checkpoint: Option<Value>) -> Result<Output, Failure> {
        let output = self.action.run(cx, checkpoint).await?;
        if !output.value["snapshot"].is_null() || !output.value["set"].is_null() {
            self.done.add_permits(1);
            std::future::pending::<()>().await;
        }
        Ok(output)
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path))
        } else {
            found.push(path)
        }
    }
    found
}
