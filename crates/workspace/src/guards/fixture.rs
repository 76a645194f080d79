//! A workspace in a temporary folder, for the tests of the guards. Its journal is in memory.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rekindle_journal::{Append, MemoryJournal, RunFilter};
use rekindle_model::event::{Event, Outcome, Payload};
use rekindle_model::failure::Failure;
use rekindle_model::id::{Hash32, RunId, StepId};
use rekindle_model::origin::{RunKind, Trigger};
use rekindle_model::system::System;
use rekindle_model::time::{Clock, SystemClock};
use rekindle_plan::{Inputs, builtin};
use rekindle_vault::key::Keyring;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::Error;
use crate::context::WorkspaceContext;
use crate::hooks::Hooks;
use crate::keys::{OpenKey, PinnedKey, UnlockBy, Unlocker};
use crate::layout::Layout;
use crate::notice::Notices;
use crate::run_spec::{self, LoadedSpec, ReadyRun};

const SYSTEM: &str = "
system: shop
root: data
components:
  notes: {source: {type: files, path: notes}}
  orders: {source: {type: files, path: orders}}
tiers: {near: {url: \"file://../near\"}}
";

/// A shop: its data are in `shop/data`, its tier is in `near`.
pub(super) struct Shop {
    folder: TempDir,
    pub(super) context: WorkspaceContext,
}

impl Shop {
    /// Makes the shop, with a file in each component. `more` is the rest of its system.yaml.
    pub(super) fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().canonicalize().unwrap().join("shop");
        for component in ["notes", "orders"] {
            std::fs::create_dir_all(dir.join("data").join(component)).unwrap();
            std::fs::write(dir.join("data").join(component).join("1.txt"), "one").unwrap();
        }
        std::fs::write(dir.join("system.yaml"), format!("{SYSTEM}{more}")).unwrap();
        let keyring = Arc::new(Keyring::generate());
        let pinned = PinnedKey {
            fingerprint: keyring.fingerprint(),
            repository: keyring.repository().to_string(),
            unlock: UnlockBy::Identity,
            created: SystemClock.now().utc,
            identity_dir: None,
            kit_exported: None,
            kit_tiers: Vec::new(),
        };
        let key = OpenKey {
            keyring,
            wrapped: Vec::new(),
            pinned,
        };
        let context = WorkspaceContext {
            layout: Layout::at(&dir),
            journal: Arc::new(MemoryJournal::new()),
            clock: Arc::new(SystemClock),
            hooks: Hooks::default(),
            unlocker: Unlocker {
                config_dir: None,
                named_dir: None,
                dir_setting: "",
                passphrase_at_hand: false,
                ask: Arc::new(|_| Err(Error::usage("nobody is there"))),
            },
            executable: PathBuf::from("rekindle"),
            notices: Notices::none(),
            key: Arc::new(OnceLock::from(Arc::new(key))),
        };
        Self { folder, context }
    }

    /// Returns a path beside the shop.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// Returns a path in the shop's data.
    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.beside("shop/data").join(name)
    }

    pub(super) fn system(&self) -> System {
        run_spec::system(&self.context.layout).unwrap()
    }

    /// Returns a run of a built-in workflow over some components.
    pub(super) fn spec(&self, workflow: &str, components: &[&str], params: &Value) -> LoadedSpec {
        let (name, yaml) = builtin::WORKFLOWS
            .into_iter()
            .find(|(name, _)| *name == workflow)
            .unwrap();
        let mut loops = self.system().default_loops(RunKind::of_workflow(name));
        let components = components.iter().map(|name| (*name).to_owned()).collect();
        loops.insert("component".to_owned(), components);
        let params = params.as_object().unwrap().clone();
        LoadedSpec::new(&self.context.layout, name, yaml, Inputs { params, loops }).unwrap()
    }

    /// Returns the same, ready to be driven.
    pub(super) fn ready(&self, workflow: &str, components: &[&str], params: &Value) -> ReadyRun {
        let spec = self.spec(workflow, components, params);
        spec.ready(&self.context).unwrap()
    }

    /// Journals a recovery, and what happened to it.
    pub(super) async fn recovery(&self, components: &[&str], params: &Value, events: Vec<Event>) -> RunId {
        let spec = self.spec("recover", components, params);
        let (journal, now) = (&self.context.journal, SystemClock.now());
        let blob = async |bytes: &[u8]| -> Hash32 { journal.put_blob(bytes.to_vec()).await.unwrap() };
        let created = Event::RunCreated {
            workflow: "recover".to_owned(),
            definition: blob(&spec.definition).await,
            system: Some(blob(&spec.system_yaml).await),
            inputs: Payload::Inline(serde_json::to_value(&spec.inputs).unwrap()),
            kind: Some(RunKind::Recover),
            trigger: Trigger::command("test"),
            disaster_at: None,
            disaster_at_told: false,
            old_parent: None,
        };
        // Ids that were made within one millisecond have no order.
        let runs = journal.runs(&RunFilter::default()).await.unwrap().len();
        let run = RunId(Uuid::from_u128(runs as u128 + 1));
        let append = Append {
            run,
            expected_seq: 0,
            epoch: 1,
            events: [vec![created], events].concat(),
            now,
        };
        journal.append(append).await.unwrap();
        run
    }

    /// Journals a recovery in place that has moved the notes aside, into this folder.
    pub(super) async fn half_recovery(&self, aside: &Path, then: Vec<Event>) -> RunId {
        let step = StepId::looped("set_aside", &["notes"]);
        let progress = Payload::Inline(json!({ "aside": [aside], "root": self.data("") }));
        let checkpoint = Event::StepCheckpoint {
            step: step.clone(),
            attempt: 1,
            progress,
        };
        let events = vec![Event::StepStarted { step, attempt: 1 }, checkpoint];
        let params = json!({ "in_place": true });
        self.recovery(&["notes"], &params, [events, then].concat()).await
    }
}

/// Returns the start and the success of a step for the notes.
pub(super) fn done(step: &str) -> Vec<Event> {
    let step = StepId::looped(step, &["notes"]);
    let succeeded = Event::StepSucceeded {
        step: step.clone(),
        attempt: 1,
        output: Payload::NONE,
        measures: Default::default(),
    };
    vec![Event::StepStarted { step, attempt: 1 }, succeeded]
}

/// Returns the failure of the step that moves the notes aside, and of its run.
pub(super) fn failed() -> Vec<Event> {
    let failed = Event::StepFailed {
        step: StepId::looped("set_aside", &["notes"]),
        attempt: 1,
        error: Failure::permanent("test", "it failed"),
        retry_at: None,
        measures: Default::default(),
    };
    vec![failed, finished(Outcome::Failed)]
}

pub(super) fn finished(outcome: Outcome) -> Event {
    Event::RunFinished {
        outcome,
        summary: Value::Null,
    }
}
