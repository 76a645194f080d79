//! What a run is pinned to: the definition's bytes, the system's bytes, its inputs, and the plan that
//! follows from them. A resumed run is put together here from the journal exactly as a new one was.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_actions::{Site, SiteParts};
use rekindle_engine::Registry;
use rekindle_journal::Journal;
use rekindle_model::run::RunState;
use rekindle_model::system::System;
use rekindle_plan::{Catalog, Inputs, Plan, Problem, Workflow, expand, load_system, load_workflow};
use rekindle_server::Parts;
use rekindle_sources::place::resolve;
use serde_json::Value;

use crate::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::ground::Ground;
use crate::keys;
use crate::replica_adapter::Checker;
use crate::workspace::Workspace;
use crate::yaml_file::read_text;

/// A run's definition, system and inputs, before anything is opened for it.
pub struct Pinned {
    /// The workflow.
    pub workflow: Workflow,
    /// Its YAML.
    pub definition: Vec<u8>,
    /// The system.
    pub system: Arc<System>,
    /// Its YAML.
    pub system_yaml: Vec<u8>,
    /// Parameters and loops.
    pub inputs: Inputs,
}

/// A run, ready to be driven.
pub struct Ready {
    /// What it is pinned to.
    pub pinned: Pinned,
    /// The plan.
    pub plan: Arc<Plan>,
    /// Where its steps act.
    pub site: Arc<Site>,
    /// The actions, with the hooks around them.
    pub registry: Registry,
}

impl Pinned {
    /// Returns a new run's parts: a workflow's YAML, and the workspace's system as its file is now.
    pub fn new(
        app: &App,
        workspace: &Workspace,
        name: &str,
        yaml: &str,
        inputs: Inputs,
    ) -> Result<Self, CliError> {
        let (system, system_yaml) = system(app, workspace)?;
        Ok(Self {
            workflow: load_workflow(name, yaml)?,
            definition: yaml.as_bytes().to_vec(),
            system: Arc::new(system),
            system_yaml,
            inputs,
        })
    }

    /// Returns an existing run's parts, as its journal has them.
    pub async fn read(journal: &dyn Journal, state: &RunState, inputs: &Value) -> Result<Self, CliError> {
        let inputs = serde_json::from_value(inputs.clone()).map_err(|error| {
            CliError::new(
                Exit::DataLost,
                "corrupt_inputs",
                format!("the inputs of run {} cannot be read: {error}", state.id),
            )
        })?;
        Self::of(&Parts {
            workflow: state.workflow.clone(),
            definition: journal.blob(state.definition).await?,
            system: match state.system {
                Some(hash) => Some(journal.blob(hash).await?),
                None => None,
            },
            inputs,
        })
    }

    /// Returns a run from what it is pinned to.
    pub fn of(parts: &Parts) -> Result<Self, CliError> {
        let Some(system_yaml) = parts.system.clone() else {
            return Err(CliError::new(
                Exit::Failed,
                "no_system",
                "the run was made without a system",
            ));
        };
        Ok(Self {
            workflow: load_workflow(&parts.workflow, &String::from_utf8_lossy(&parts.definition))?,
            definition: parts.definition.clone(),
            system: Arc::new(load_system("system.yaml", &String::from_utf8_lossy(&system_yaml))?.value),
            system_yaml,
            inputs: parts.inputs.clone(),
        })
    }

    /// Returns a text parameter of the run, none where it is empty.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.inputs
            .params
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    }

    /// Returns the folder that the run recovers into, where it recovers.
    pub fn target_root(&self, system_dir: &Path) -> Option<PathBuf> {
        match (self.param("to"), self.workflow.params.contains_key("to")) {
            (Some(to), _) => Some(PathBuf::from(to)),
            // A recovery that was given no folder goes to the system's own; `recover` has checked that it may.
            (None, true) => Some(data_root(system_dir, &self.system)),
            (None, false) => None,
        }
    }

    /// Returns the plan without opening a key or a tier, for commands that only show it.
    pub fn plan(&self) -> Result<Plan, CliError> {
        Ok(expand(
            &self.workflow,
            Some(&self.system),
            &self.inputs,
            &AnyAction(self.names()),
        )?)
    }

    /// Opens what the run needs, and returns it ready to be driven.
    pub fn ready(self, ground: &Ground) -> Result<Ready, CliError> {
        let workspace = &ground.workspace;
        let key = ground.key()?;
        let system_dir = workspace.system_dir();
        let target_root = self.target_root(&system_dir);
        let executable =
            std::env::current_exe().map_err(|error| CliError::io("find this program", &error))?;
        let site = Arc::new(Site::new(SiteParts {
            system: Arc::clone(&self.system),
            system_yaml: self.system_yaml.clone(),
            system_dir,
            workspace_dir: workspace.state.clone(),
            keyring: Arc::clone(&key.keyring),
            wrapped_key: key.wrapped.clone(),
            clock: Arc::clone(&ground.clock),
            executable,
            target_root,
            system_file: workspace.system_file.clone(),
            key_dirs: key_dirs(workspace),
            replicas: Some(Arc::new(Checker {
                journal: Arc::clone(&ground.journal),
                state: workspace.state.clone(),
            })),
        }));
        let registry = (ground.hooks.registry)(rekindle_actions::registry(Arc::clone(&site)));
        let plan = Arc::new(expand(
            &self.workflow,
            Some(&self.system),
            &self.inputs,
            &registry,
        )?);
        Ok(Ready {
            pinned: self,
            plan,
            site,
            registry,
        })
    }

    fn names(&self) -> Vec<String> {
        let own = self.workflow.steps.iter().flat_map(|step| {
            let compensate = step.compensate.as_ref().map(|undo| undo.uses.clone());
            compensate.into_iter().chain([step.uses.clone()])
        });
        let recovery = self
            .system
            .components
            .values()
            .flat_map(|c| c.recovery.iter().map(|step| step.uses.clone()));
        own.chain(recovery).collect()
    }
}

impl Ready {
    /// Returns the folder of a recovery in place that minds whether somebody works there.
    pub(crate) fn may_displace(&self) -> Option<&Path> {
        let flag = |name: &str| self.plan.params.get(name).and_then(Value::as_bool) == Some(true);
        self.site
            .target_root()
            .filter(|_| flag("in_place") && !flag("while_running"))
    }

    /// Refuses a recovery in place by a workflow that would restore over what stands there.
    pub(crate) fn check_in_place(&self) -> Result<(), CliError> {
        let in_place = self.plan.params.get("in_place").and_then(Value::as_bool) == Some(true);
        let uses = |action: &str| self.plan.steps.iter().any(|step| step.uses == action);
        if in_place && uses("restore") && !uses("set-aside") {
            return Err(CliError::usage(format!(
                "workflow {} recovers in place and has no step that sets aside what stands there",
                self.plan.workflow
            ))
            .with_hint("let its restore need a step with `uses: set-aside`, as in the built-in workflow"));
        }
        Ok(())
    }
}

/// Returns the folders that may hold the key of a workspace.
pub(crate) fn key_dirs(workspace: &Workspace) -> Vec<PathBuf> {
    let own = keys::pinned(workspace)
        .ok()
        .and_then(|pinned| pinned.identity_dir)
        .map(|dir| workspace.dir.join(dir));
    keys::config_dir().ok().into_iter().chain(own).collect()
}

/// Returns the folder of the living system.
pub(crate) fn data_root(system_dir: &Path, system: &System) -> PathBuf {
    resolve(&system_dir.join(&system.root))
}

/// Reads the workspace's system file; its warnings are told.
pub(crate) fn system(app: &App, workspace: &Workspace) -> Result<(System, Vec<u8>), CliError> {
    let path = &workspace.system_file;
    let text = read_text(path)?;
    let loaded = load_system(&path.display().to_string(), &text)?;
    if !loaded.warnings.0.is_empty() {
        tracing::warn!("{}", loaded.warnings);
    }
    let _ = app;
    Ok((loaded.value, text.into_bytes()))
}

/// A catalog that takes any action's parameters as they are: a pinned plan was checked when it was made, and
/// showing it needs neither key nor tier.
struct AnyAction(Vec<String>);

impl Catalog for AnyAction {
    fn names(&self) -> Vec<String> {
        self.0.clone()
    }

    fn check(&self, _uses: &str, _with: &Value) -> Vec<Problem> {
        Vec::new()
    }
}
