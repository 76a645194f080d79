//! A small system with a real vault, a real database and the real engine, for the claims beside this file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_actions::{Site, SiteParts, registry};
use rekindle_engine::{Control, Ended, Engine, NewRun, Registry};
use rekindle_journal::{Journal, MemoryJournal};
use rekindle_model::event::{Event, Payload, Record, Worker};
use rekindle_model::id::{RunId, StepId};
use rekindle_model::origin::{RunKind, Trigger};
use rekindle_model::run::RunState;
use rekindle_model::step::StepState;
use rekindle_model::system::SystemKinds;
use rekindle_model::time::SystemClock;
use rekindle_plan::{Inputs, builtin, expand, load_system, load_workflow};
use rekindle_vault::key::{Identity, Keyring};
use serde_json::{Value, json};

/// Two components with data, one without, two tiers.
pub(crate) const SYSTEM: &str = r#"
system: shop
root: ./data
components:
  pages:
    priority: 2
    source: {type: files, path: pages}
    validate:
      - probe: command
        run: [sh, "-c", "echo {\\\"files\\\": $(ls ${{ target.root }}/pages/deep | wc -l)}"]
        expect: {files: ">= 2"}
  orders:
    priority: 1
    source: {type: sqlite, path: db/orders.db}
  service: {priority: 3}
tiers:
  hot: {url: "file://./tiers/hot", every: 1h}
  cold: {url: "file://./tiers/cold", every: 1d}
"#;

/// A system in a temporary folder.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) journal: Arc<dyn Journal>,
    system: String,
    keyring: Arc<Keyring>,
    wrapped: Vec<u8>,
}

impl Bench {
    /// Makes the system's data: a tree with a link and an empty folder, and a live database in WAL mode.
    pub(crate) fn new(system: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pages = dir.path().join("data/pages");
        std::fs::create_dir_all(pages.join("deep/empty")).unwrap();
        std::fs::create_dir_all(dir.path().join("data/db")).unwrap();
        for (name, size) in [("a.md", 10), ("deep/b.md", 300_000), ("deep/c.md", 3_000_000)] {
            std::fs::write(pages.join(name), noise(name, size)).unwrap();
        }
        std::os::unix::fs::symlink("a.md", pages.join("link")).unwrap();
        let database = rusqlite::Connection::open(dir.path().join("data/db/orders.db")).unwrap();
        database
            .execute_batch(
                "PRAGMA journal_mode = WAL; CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT);
                 INSERT INTO orders (what) VALUES ('bread'), ('milk'), ('coal');",
            )
            .unwrap();
        drop(database);
        let keyring = Arc::new(Keyring::generate());
        let wrapped = keyring.wrap_to(&[Identity::generate().recipient()]).unwrap();
        let journal = Arc::new(MemoryJournal::new());
        Self {
            dir,
            journal,
            system: system.to_owned(),
            keyring,
            wrapped,
        }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Returns a fresh site, as another process would make it.
    pub(crate) fn site(&self, to: Option<&str>) -> Arc<Site> {
        let kinds = SystemKinds {
            sources: rekindle_sources::KEYS,
            tier_urls: rekindle_vault::store::TIER_URLS,
        };
        let loaded =
            load_system("system.yaml", &self.system, kinds).unwrap_or_else(|faults| panic!("{faults}"));
        Arc::new(Site::new(SiteParts {
            system: Arc::new(loaded.value),
            system_yaml: self.system.clone().into_bytes(),
            system_dir: self.dir.path().to_path_buf(),
            workspace_dir: self.path(".rekindle"),
            keyring: Arc::clone(&self.keyring),
            wrapped_key: self.wrapped.clone(),
            clock: Arc::new(SystemClock),
            executable: PathBuf::from(env!("CARGO_BIN_EXE_supervise-under-test")),
            target_root: to.map(|to| self.path(to)),
            is_sandbox: false,
            is_drill: false,
            scenario: None,
            recovered: Vec::new(),
            system_file: self.path("system.yaml"),
            key_dirs: Vec::new(),
            replicas: None,
            trust: None,
        }))
    }

    pub(crate) fn engine(&self, registry: Registry) -> Engine {
        let worker = Worker {
            host: "here".into(),
            pid: 1,
            version: "0".into(),
        };
        Engine::new(Arc::clone(&self.journal), registry, Arc::new(SystemClock), worker)
    }

    /// Runs a workflow from its beginning to its end.
    pub(crate) async fn run(&self, workflow: &str, yaml: &str, params: Value, to: Option<&str>) -> Ran {
        let site = self.site(to);
        let registry = registry(Arc::clone(&site));
        let engine = self.engine(registry.clone());
        let inputs = self.inputs(&site, params);
        let run = engine
            .create(self.new_run(workflow, yaml, &inputs))
            .await
            .unwrap();
        self.drive(&engine, run, yaml, &inputs, &site, &registry, &Control::default())
            .await
    }

    /// Returns what a run is created with.
    pub(crate) fn new_run(&self, workflow: &str, yaml: &str, inputs: &Inputs) -> NewRun {
        NewRun {
            workflow: workflow.to_owned(),
            kind: RunKind::of_workflow(workflow),
            definition: yaml.as_bytes().to_vec(),
            system: Some(self.system.clone().into_bytes()),
            inputs: inputs.clone(),
            trigger: Trigger::command("test"),
            disaster_at: None,
            disaster_at_told: false,
        }
    }

    /// Drives a run that exists.
    #[expect(clippy::too_many_arguments, reason = "what a run is made of, spelt out once")]
    pub(crate) async fn drive(
        &self,
        engine: &Engine,
        run: RunId,
        yaml: &str,
        inputs: &Inputs,
        site: &Site,
        registry: &Registry,
        control: &Control,
    ) -> Ran {
        let definition = load_workflow("workflow.yaml", yaml).unwrap_or_else(|faults| panic!("{faults}"));
        let plan = expand(&definition, Some(site.system()), inputs, registry)
            .unwrap_or_else(|faults| panic!("{faults}"));
        let ended = engine
            .drive(run, Arc::new(plan), site.scope(), control)
            .await
            .unwrap();
        let records = Arc::unwrap_or_clone(self.journal.read(run).await.unwrap());
        let mut outputs = BTreeMap::new();
        for (id, step) in &ended.state().steps {
            if let StepState::Succeeded { output, .. } = &step.state {
                outputs.insert(id.as_str().to_owned(), self.value(output).await);
            }
        }
        Ran {
            ended,
            records,
            outputs,
        }
    }

    pub(crate) fn inputs(&self, site: &Site, params: Value) -> Inputs {
        let components = site
            .system()
            .components_by_priority()
            .into_iter()
            .map(str::to_owned)
            .collect();
        let loops = [
            ("component".to_owned(), components),
            ("tier".to_owned(), site.tiers_hot_first()),
        ];
        Inputs {
            params: params.as_object().unwrap().clone(),
            loops: loops.into(),
        }
    }

    async fn value(&self, payload: &Payload) -> Value {
        match payload {
            Payload::Inline(value) => value.clone(),
            Payload::Blob(hash) => serde_json::from_slice(&self.journal.blob(*hash).await.unwrap()).unwrap(),
        }
    }

    pub(crate) async fn back_up(&self) -> Ran {
        self.run("backup", builtin::BACKUP, json!({}), None).await
    }

    pub(crate) async fn recover(&self, to: &str) -> Ran {
        self.run("recover", builtin::RECOVER, json!({}), Some(to)).await
    }

    /// Asserts that `to` holds the data as it was made: names, bytes, links, rows.
    pub(crate) fn assert_restored(&self, to: &str) {
        let pages = self.path(to).join("pages");
        for (name, size) in [("a.md", 10), ("deep/b.md", 300_000), ("deep/c.md", 3_000_000)] {
            assert!(
                std::fs::read(pages.join(name)).unwrap() == noise(name, size),
                "{name}"
            );
        }
        assert_eq!(std::fs::read_link(pages.join("link")).unwrap(), Path::new("a.md"));
        assert!(pages.join("deep/empty").is_dir());
        assert_eq!(self.orders(to), 3);
        let beside: Vec<_> = std::fs::read_dir(self.path(to))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(beside.len(), 2, "nothing but the components stays: {beside:?}");
    }

    pub(crate) fn orders(&self, to: &str) -> u32 {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let database =
            rusqlite::Connection::open_with_flags(self.path(to).join("db/orders.db"), flags).unwrap();
        database
            .query_row("SELECT count(*) FROM orders", [], |row| row.get(0))
            .unwrap()
    }
}

/// A run that has ended or was stopped.
pub(crate) struct Ran {
    pub(crate) ended: Ended,
    pub(crate) records: Vec<Record>,
    pub(crate) outputs: BTreeMap<String, Value>,
}

impl Ran {
    pub(crate) fn state(&self) -> &RunState {
        self.ended.state()
    }

    /// Returns a succeeded step's output.
    #[track_caller]
    pub(crate) fn output(&self, step: &str) -> &Value {
        match self.outputs.get(step) {
            Some(output) => output,
            None => panic!(
                "{step} did not succeed: {:?}",
                self.state().step(&StepId::from(step)).state
            ),
        }
    }

    /// Returns the code and the sentence with which a step failed.
    #[track_caller]
    pub(crate) fn failure(&self, step: &str) -> (String, String) {
        match self.state().step(&StepId::from(step)).state {
            StepState::Failed { error } => (error.code, error.message),
            other => panic!("{step} did not fail: {other:?}"),
        }
    }

    pub(crate) fn count(&self, name: &str, step: &str) -> usize {
        let of_step = |event: &Event| event.step().is_some_and(|id| id.as_str() == step);
        self.records
            .iter()
            .filter(|record| record.event.name() == name && of_step(&record.event))
            .count()
    }
}

/// Returns bytes that do not compress, the same for the same name.
fn noise(name: &str, size: usize) -> Vec<u8> {
    let mut state = name.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
