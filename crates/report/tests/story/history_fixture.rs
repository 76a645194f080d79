//! Writes histories as a journal would: a system, plans over it, and the records of two runs.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::DateTime;
use rekindle_model::event::{Event, Measures, Outcome, Payload, Record, SkipReason, Verdict, Worker};
use rekindle_model::failure::Failure;
use rekindle_model::id::{Hash32, RunId, StepId};
use rekindle_model::next_action::Action;
use rekindle_model::origin::{RunKind, Trigger};
use rekindle_model::system::{System, SystemKinds};
use rekindle_model::time::{Clock, ManualClock, Stamp};
use rekindle_plan::{Catalog, Inputs, Plan, Problem, expand, load_system, load_workflow};
use rekindle_report::Evidence;
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) const SYSTEM: &str = "\
system: shop
components:
  orders: {priority: 1, rto: 10m, classes: [orders], source: {type: files, path: orders}}
  images: {priority: 2, rto: 30s, classes: [images], source: {type: files, path: images}}
  front: {priority: 3}
data_classes: {orders: {rpo: 1m}, images: {rpo: 1h}}
objectives: {default_rto: 1h, complete_system_recovery: 2h}
tiers:
  far: {url: \"file://./far\"}
  near: {url: \"file://./near\"}
";

pub(crate) struct AnyAction;

impl Catalog for AnyAction {
    fn names(&self) -> Vec<String> {
        [
            "snapshot",
            "store",
            "verify",
            "seal-set",
            "locate-set",
            "set-aside",
            "restore",
            "validate",
            "system-integrity",
            "command",
            "approve",
        ]
        .map(str::to_owned)
        .to_vec()
    }
    fn check(&self, _: &str, _: &Value) -> Vec<Problem> {
        Vec::new()
    }
}

pub(crate) fn system() -> System {
    let kinds = SystemKinds {
        sources: rekindle_sources::KEYS,
        tier_urls: rekindle_vault::store::TIER_URLS,
    };
    load_system("system.yaml", SYSTEM, kinds).unwrap().value
}

pub(crate) fn inputs(components: &[&str]) -> Inputs {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    Inputs {
        params: serde_json::Map::new(),
        loops: [
            ("component".to_owned(), list(components)),
            ("tier".to_owned(), list(&["far", "near"])),
        ]
        .into(),
    }
}

pub(crate) fn plan(yaml: &str, components: &[&str]) -> Plan {
    expand(
        &load_workflow("w.yaml", yaml).unwrap(),
        Some(&system()),
        &inputs(components),
        &AnyAction,
    )
    .unwrap()
}

/// Writes records as a journal would: gap-free, each at its own time.
pub(crate) struct History {
    clock: ManualClock,
    boot: Uuid,
    epoch: u64,
    records: Vec<Record>,
}

impl History {
    fn new(workflow: &str, components: &[&str], disaster: Option<i64>) -> Self {
        let clock = ManualClock::at(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let mut history = Self {
            clock,
            boot: Uuid::nil(),
            epoch: 1,
            records: Vec::new(),
        };
        history.write(
            0,
            Event::RunCreated {
                workflow: workflow.to_owned(),
                definition: Hash32::ZERO,
                system: Some(Hash32::ZERO),
                inputs: Payload::Inline(serde_json::to_value(inputs(components)).unwrap()),
                kind: Some(RunKind::of_workflow(workflow)),
                trigger: Trigger::Command(format!("rekindle {workflow}")),
                disaster_at: disaster.and_then(|at| DateTime::from_timestamp(at, 0)),
                disaster_at_told: disaster.is_some(),
                old_parent: None,
            },
        );
        history
    }

    /// Appends an event `after` milliseconds.
    fn write(&mut self, after: u64, event: Event) {
        self.clock.advance(Duration::from_millis(after));
        let time = Stamp {
            boot_id: self.boot,
            ..self.clock.now()
        };
        let run = RunId(Uuid::from_u128(0x0199_aaaa_0000_7000_8000_0000_0000_0001));
        let seq = self.records.len() as u64 + 1;
        self.records.push(Record {
            run,
            seq,
            epoch: self.epoch,
            time,
            prev: Hash32::ZERO,
            head: None,
            event,
        });
    }

    fn adopt(&mut self, after: u64, why: &str) {
        self.adopt_on("alpha", after, why);
    }

    fn adopt_on(&mut self, host: &str, after: u64, why: &str) {
        self.epoch += 1;
        let worker = Worker {
            host: host.to_owned(),
            pid: 40 + self.epoch as u32,
            version: "0.1.0".to_owned(),
        };
        self.write(
            after,
            Event::RunAdopted {
                epoch: self.epoch,
                worker,
                why: why.to_owned(),
                workspace: None,
            },
        );
    }

    fn start(&mut self, step: &str, attempt: u32) {
        self.write(
            0,
            Event::StepStarted {
                step: step.into(),
                attempt,
            },
        );
    }

    fn succeed(&mut self, after: u64, step: &str, attempt: u32, output: Value, measures: &[(&str, f64)]) {
        let measures: Measures = measures
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect();
        self.write(
            after,
            Event::StepSucceeded {
                step: step.into(),
                attempt,
                output: Payload::Inline(output),
                measures,
            },
        );
    }

    fn fail(&mut self, after: u64, step: &str, attempt: u32, error: Failure) {
        let measures = Measures::new();
        self.write(
            after,
            Event::StepFailed {
                step: step.into(),
                attempt,
                error,
                retry_at: None,
                measures,
            },
        );
    }

    fn fail_for_now(&mut self, after: u64, step: &str, attempt: u32, error: Failure, again: i64) {
        let at = self.clock.now().utc + Duration::from_millis(after);
        self.write(
            after,
            Event::StepFailed {
                step: step.into(),
                attempt,
                error,
                retry_at: Some(at + chrono::TimeDelta::seconds(again)),
                measures: Measures::new(),
            },
        );
    }

    fn finish(&mut self, outcome: Outcome) {
        self.write(
            0,
            Event::RunFinished {
                outcome,
                summary: Value::Null,
            },
        );
    }

    fn evidence(self) -> Evidence {
        Evidence::new(self.records, BTreeMap::new()).unwrap()
    }
}

pub(crate) const RECOVERED: [&str; 3] = ["orders", "images", "front"];

/// Killed 20 s after the start, resumed 40 s later; disaster 10 s before the run.
pub(crate) fn killed_and_resumed(reboot: bool) -> Evidence {
    let mut history = History::new("recover", &RECOVERED, Some(1_799_999_990));
    let restored = |point: &str, bytes: u64| json!({"consistency_point": point, "bytes": bytes, "files": 3});
    history.start("locate", 1);
    history.succeed(
        500,
        "locate",
        1,
        json!({"set": "0199bbbb-0000-7000-8000-000000000009"}),
        &[],
    );
    for component in RECOVERED {
        let step = format!("set_aside[{component}]");
        history.start(&step, 1);
        history.succeed(0, &step, 1, json!({"in_place": false, "aside": []}), &[]);
    }
    history.start("restore[orders]", 1);
    history.start("restore[images]", 1);
    let orders = restored("2027-01-15T07:59:00Z", 4_000_000);
    history.succeed(
        3_000,
        "restore[orders]",
        1,
        orders,
        &[("bytes_written", 4e6), ("bytes_total", 4e6)],
    );
    history.start("validate[orders]", 1);
    history.succeed(
        700,
        "validate[orders]",
        1,
        json!({"valid": true, "checks": []}),
        &[],
    );
    for progress in [10, 20] {
        let progress = Payload::Inline(json!({ "window": progress }));
        history.write(
            8_000,
            Event::StepCheckpoint {
                step: "restore[images]".into(),
                attempt: 1,
                progress,
            },
        );
    }
    if reboot {
        history.boot = Uuid::from_u128(7);
    }
    history.adopt(40_000, "resumed by hand");
    history.write(
        10,
        Event::StepReconciled {
            step: "restore[images]".into(),
            attempt: 1,
            verdict: Verdict::Continue,
            evidence: json!({"files_whole": 61, "files_expected": 90}),
        },
    );
    history.start("restore[images]", 2);
    let measures = [("bytes_written", 3e6), ("bytes_kept", 7e6), ("bytes_total", 1e7)];
    history.succeed(
        5_000,
        "restore[images]",
        2,
        restored("2027-01-15T07:50:00Z", 10_000_000),
        &measures,
    );
    history.start("validate[images]", 1);
    history.succeed(
        1_000,
        "validate[images]",
        1,
        json!({"valid": true, "checks": []}),
        &[],
    );
    history.start("restore[front]", 1);
    history.succeed(1, "restore[front]", 1, json!({"bytes": 0}), &[]);
    history.start("validate[front]", 1);
    history.succeed(1, "validate[front]", 1, json!({"valid": null, "checks": []}), &[]);
    history.start("integrity", 1);
    history.succeed(1, "integrity", 1, json!({"operational": null}), &[]);
    history.finish(Outcome::Succeeded);
    history.evidence()
}

/// A recovery that failed, was opened again by somebody's retry, and taken up by another process.
pub(crate) fn reopened() -> Evidence {
    let mut history = History::new("recover", &["orders"], None);
    history.start("locate", 1);
    let down = Failure::permanent("tier_unavailable", "tier far does not answer");
    history.fail(1_000, "locate", 1, down);
    history.finish(Outcome::Failed);
    let (by, why) = ("ann".to_owned(), Some("the tier is back".to_owned()));
    history.write(
        5_000,
        Event::RunReopened {
            by: by.clone(),
            why: why.clone(),
        },
    );
    let step = StepId::from("locate");
    history.write(
        0,
        Event::RetryRequested {
            step: step.clone(),
            by,
            why,
        },
    );
    let why = "ann asked for it to run again: the tier is back".to_owned();
    history.write(0, Event::StepInvalidated { step, why });
    history.adopt(500, "asked for again");
    let step = StepId::from("locate");
    history.write(1_000, Event::StepStarted { step, attempt: 2 });
    history.succeed(2_000, "locate", 2, json!({}), &[]);
    history.evidence()
}

pub(crate) fn backed_up() -> Evidence {
    let mut history = History::new("backup", &["orders", "images"], None);
    for component in ["orders", "images"] {
        let id = StepId::looped("snapshot", &[component]);
        history.start(id.as_str(), 1);
        let output = json!({"snapshot": "s", "bytes": 5_000_000, "files": 12});
        history.succeed(
            1_500,
            id.as_str(),
            1,
            output,
            &[("bytes_new", 1.25e6), ("bytes_read", 5e6)],
        );
        for tier in ["far", "near"] {
            let store = StepId::looped("store", &[component, tier]);
            let verify = StepId::looped("verify", &[component, tier]);
            history.start(store.as_str(), 1);
            if (component, tier) == ("images", "far") {
                history.fail(
                    10,
                    store.as_str(),
                    1,
                    Failure::permanent("tier_unavailable", "tier \"far\" does not answer")
                        .with_hint("check its URL"),
                );
                let why = SkipReason::Needs { failed: store };
                history.write(0, Event::StepSkipped { step: verify, why });
                continue;
            }
            history.succeed(
                100,
                store.as_str(),
                1,
                json!({"tier": tier}),
                &[("bytes_written", 1.3e6)],
            );
            history.start(verify.as_str(), 1);
            history.succeed(
                100,
                verify.as_str(),
                1,
                json!({"tier": tier, "verified": true}),
                &[],
            );
        }
    }
    history.start("seal", 1);
    let sealed = json!({"set": "0199cccc-0000-7000-8000-000000000001", "recovery_ready": false,
        "rule": {"name": "recovery_ready", "formula": "backup.success_rate >= 0.95", "stated_by_system": true,
            "inputs": {"backup": {"success_rate": 0.5}, "integrity": {"all_verified": null}}, "holds": false},
        "components": {
            "orders": {"consistency_point": "2027-01-15T08:00:00Z", "snapshot": "s", "tiers": ["far", "near"]},
            "images": {"consistency_point": "2027-01-15T08:00:00Z", "snapshot": "s", "tiers": ["near"]}}});
    history.succeed(5, "seal", 1, sealed, &[]);
    history.finish(Outcome::Partial);
    history.evidence()
}

/// A recovery of one component in which people have a say: one asked for the search to be done again, one left the
/// validation out, one rejected a first question and a second one waits; the run is paused.
pub(crate) fn decided_by_people() -> Evidence {
    let step = |name: &str| StepId::from(name);
    let (ann, bob) = (|| "ann".to_owned(), || "bob".to_owned());
    let mut history = History::new("recover", &["orders"], Some(1_799_999_990));
    let started = |name: &str, attempt| Event::StepStarted {
        step: step(name),
        attempt,
    };
    let asked = |name: &str, prompt: &str| Event::ApprovalRequested {
        step: step(name),
        attempt: 1,
        prompt: prompt.to_owned(),
    };
    let failed = |name: &str, error| Event::StepFailed {
        step: step(name),
        attempt: 1,
        error,
        retry_at: None,
        measures: Measures::new(),
    };
    let down = Failure::transient("tier_unavailable", "tier far does not answer");
    let no = Failure::permanent("rejected", "bob rejected it: not today");
    for event in [
        started("locate", 1),
        failed("locate", down),
        Event::RetryRequested {
            step: step("locate"),
            by: ann(),
            why: Some("the tier is back".to_owned()),
        },
        Event::StepInvalidated {
            step: step("locate"),
            why: "ann asked for it to run again: the tier is back".to_owned(),
        },
        started("locate", 2),
        started("announce", 1),
        asked("announce", "tell the customers?"),
        Event::Rejected {
            step: step("announce"),
            attempt: 1,
            by: bob(),
            note: Some("not today".to_owned()),
        },
        failed("announce", no),
        started("confirm", 1),
        asked("confirm", "overwrite orders?"),
        Event::StepSkipped {
            step: step("validate[orders]"),
            why: SkipReason::Requested {
                by: bob(),
                why: "it is known to be slow".to_owned(),
            },
        },
        Event::PauseRequested {
            by: ann(),
            why: Some("lunch".to_owned()),
        },
    ] {
        history.write(250, event);
    }
    Evidence::new(history.records, BTreeMap::new()).unwrap()
}

/// A workflow in which all can go wrong that can.
pub(crate) const NIGHT: &str = r#"
workflow: switch-over
steps:
  - {id: lock, uses: command, compensate: {uses: command}}
  - {id: copy, needs: [lock], uses: command, timeout: 30s, retry: {max_attempts: 3}}
  - {id: confirm, needs: [copy], uses: approve, with: {message: "switch over?"}}
  - {id: switch, needs: [confirm], uses: command, compensate: {uses: command}}
  - {id: check, needs: [switch], uses: command}
  - {id: tell, needs: [check], uses: command}
"#;

/// A bad night: an attempt that took too long, one that failed, a question, a crash, a takeover by another host, a
/// failure for good, and what was taken back for it.
pub(crate) fn night() -> Evidence {
    let mut history = History::new("switch-over", &[], None);
    history.start("lock", 1);
    history.succeed(1200, "lock", 1, Value::Null, &[]);
    history.start("copy", 1);
    let late = Failure::transient("timeout", "the attempt took longer than its timeout of 30s");
    history.fail_for_now(30_000, "copy", 1, late, 2);
    history.clock.advance(Duration::from_secs(2));
    history.start("copy", 2);
    history.fail_for_now(
        400,
        "copy",
        2,
        Failure::transient("busy", "tier \"far\" is busy"),
        4,
    );
    history.clock.advance(Duration::from_secs(4));
    history.start("copy", 3);
    history.succeed(9000, "copy", 3, Value::Null, &[("bytes_written", 4e6)]);
    history.start("confirm", 1);
    let (step, by) = (|| StepId::plain("confirm"), "ann on alpha".to_owned());
    history.write(
        0,
        Event::ApprovalRequested {
            step: step(),
            attempt: 1,
            prompt: "switch over?".to_owned(),
        },
    );
    let note = Some("customers are told".to_owned());
    history.write(
        310_000,
        Event::Approved {
            step: step(),
            attempt: 1,
            by,
            note,
        },
    );
    history.succeed(0, "confirm", 1, Value::Null, &[]);
    history.start("switch", 1);
    let evidence =
        json!({ "why": "a program that was cut off may have done any part of its work; it runs again" });
    let cut_off = |attempt| Event::StepReconciled {
        step: StepId::plain("switch"),
        attempt,
        verdict: Verdict::Redo,
        evidence: evidence.clone(),
    };
    history.adopt(42_000, "resumed");
    history.write(5, cut_off(1));
    history.start("switch", 2);
    history.adopt_on("beta", 600_000, "adopted from tier far");
    history.write(5, cut_off(2));
    history.start("switch", 3);
    history.succeed(800, "switch", 3, Value::Null, &[]);
    history.start("check", 1);
    let refused = Failure::permanent("exit_code", "./check ended with 1")
        .with_next(Action::Verify, "reads the copies")
        .with_hint("see what it wrote");
    history.fail(500, "check", 1, refused);
    let why = SkipReason::Needs {
        failed: StepId::plain("check"),
    };
    history.write(
        0,
        Event::StepSkipped {
            step: StepId::plain("tell"),
            why,
        },
    );
    for step in ["switch", "lock"] {
        history.write(
            0,
            Event::UndoStarted {
                step: step.into(),
                attempt: 1,
            },
        );
        history.write(
            700,
            Event::UndoSucceeded {
                step: step.into(),
                attempt: 1,
            },
        );
    }
    history.finish(Outcome::Failed);
    history.evidence()
}

/// Writes an action as no face does: its name, and what it is about.
pub(crate) fn write(action: &Action) -> String {
    let action = json!(action);
    let name = action["action"].as_str();
    let about = ["run", "step"].map(|key| action[key].as_str());
    let words: Vec<&str> = name.into_iter().chain(about.into_iter().flatten()).collect();
    format!("<{}>", words.join(" "))
}
