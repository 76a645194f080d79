//! The data that a run is pinned to: the definition's bytes, the system's bytes, its inputs, and the plan that follows
//! from them. A resumed run is assembled here from the journal in the same way as a new one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_actions::trust::Trust;
use rekindle_actions::{REMOVE_SANDBOX, Site, SiteParts};
use rekindle_engine::Registry;
use rekindle_journal::Journal;
use rekindle_model::id::SnapshotId;
use rekindle_model::next_action::{Action, KeyOrigin};
use rekindle_model::origin::RunKind;
use rekindle_model::run::RunState;
use rekindle_model::source::SourceSpec;
use rekindle_model::system::{Component, Escape, System};
use rekindle_plan::{
    Catalog, Inputs, Loaded, OF_A_SYSTEM, Plan, Problem, Severity, Workflow, expand, load_workflow,
};
use rekindle_server::RunSpec;
use rekindle_sources::place::{Root, resolve};
use rekindle_vault::key::Keyring;
use serde_json::Value;

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::keys;
use crate::layout::Layout;
use crate::load_system;
use crate::replica::check::Checker;
use crate::staging;
use crate::yaml_file::read_text;
use rekindle_model::problem::ProblemKind;

/// A run's definition, system and inputs, before anything is opened for it.
pub struct LoadedSpec {
    /// The workflow.
    pub workflow: Workflow,
    /// Its YAML.
    pub definition: Vec<u8>,
    /// The system; the default if there is none.
    pub system: Arc<System>,
    /// Its YAML; empty if there is none.
    pub system_yaml: Vec<u8>,
    /// Parameters and loops.
    pub inputs: Inputs,
}

/// A run, ready to be driven.
pub struct ReadyRun {
    /// What it is pinned to.
    pub spec: LoadedSpec,
    /// The plan.
    pub plan: Arc<Plan>,
    /// Where its steps act.
    pub site: Arc<Site>,
    /// The actions, with the hooks around them.
    pub registry: Registry,
}

impl LoadedSpec {
    /// Returns a new run's parts: a workflow's YAML, and the workspace's system as its file is now, if it has one.
    pub fn new(layout: &Layout, name: &str, yaml: &str, inputs: Inputs) -> Result<Self, Error> {
        let mut workflow = load_workflow(name, yaml)?;
        let system = match crate::keys::has_system(layout) {
            true => Some(loaded(layout)?),
            false => None,
        };
        let system_yaml = system.as_ref().map(|loaded| loaded.text.as_bytes().to_vec());
        let kind = RunKind::of_workflow(&workflow.name);
        Ok(Self {
            system: with_hooks(system, &mut workflow, kind)?,
            workflow,
            definition: yaml.as_bytes().to_vec(),
            system_yaml: system_yaml.unwrap_or_default(),
            inputs,
        })
    }

    /// Returns an existing run's parts, as its journal has them.
    pub async fn read(journal: &dyn Journal, state: &RunState, inputs: &Value) -> Result<Self, Error> {
        let inputs = serde_json::from_value(inputs.clone()).map_err(|error| {
            Error::new(
                ProblemKind::DataLost,
                "corrupt_inputs",
                format!("the inputs of run {} cannot be read: {error}", state.id),
            )
        })?;
        Self::of(&RunSpec {
            workflow: state.workflow.clone(),
            definition: journal.blob(state.definition).await?,
            system: match state.system {
                Some(hash) => Some(journal.blob(hash).await?),
                None => None,
            },
            inputs,
            origin: state.origin(),
        })
    }

    /// Returns a run from what it is pinned to.
    pub fn of(parts: &RunSpec) -> Result<Self, Error> {
        let text = String::from_utf8_lossy;
        let system = match &parts.system {
            Some(yaml) => Some(load_system("system.yaml", &text(yaml))?),
            None => None,
        };
        let mut workflow = load_workflow(&parts.workflow, &text(&parts.definition))?;
        // A run that is a step of another has no hooks: the other has them, and one of them may run this workflow.
        let kind = match parts.origin.trigger.parent() {
            Some(_) => RunKind::Custom,
            None => parts.origin.kind,
        };
        Ok(Self {
            system: with_hooks(system, &mut workflow, kind)?,
            workflow,
            definition: parts.definition.clone(),
            system_yaml: parts.system.clone().unwrap_or_default(),
            inputs: parts.inputs.clone(),
        })
    }

    /// Returns a text parameter of the run; none if it is empty.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.inputs
            .params
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    }

    /// Returns the folder that the run recovers into, if it recovers.
    pub fn target_root(&self, system_dir: &Path) -> Option<PathBuf> {
        self.system.present()?;
        match (self.param("to"), self.workflow.params.contains_key("to")) {
            (Some(to), _) => Some(PathBuf::from(to)),
            // If a recovery names no folder, it goes to the system's own; `recover` has checked that it may.
            (None, true) => Some(data_root(system_dir, &self.system)),
            (None, false) => None,
        }
    }

    /// Returns the sandbox of a run that proves copies and removes it at its end: a backup or a drill.
    pub fn sandbox(&self, state: &Path) -> Option<PathBuf> {
        let removes = |uses: &str| ["seal-set", REMOVE_SANDBOX].contains(&uses);
        let removes_it = self.workflow.steps.iter().any(|step| removes(&step.uses));
        let name = self.param(SANDBOX).filter(|_| removes_it)?;
        staging::sandbox_folder(state, name)
    }

    /// Returns the plan without opening a key or a tier, to show it.
    pub fn plan(&self) -> Result<Plan, Error> {
        self.check_system()?;
        Ok(expand(
            &self.workflow,
            self.system.present(),
            &self.inputs,
            &AnyAction(self.names()),
        )?)
    }

    /// Opens what the run needs, and returns it ready to be driven.
    pub fn ready(self, context: &WorkspaceContext) -> Result<ReadyRun, Error> {
        self.check_system()?;
        let layout = &context.layout;
        let (keyring, wrapped_key) = match self.needs_key() {
            true => {
                let key = context.key()?;
                (Arc::clone(&key.keyring), key.wrapped.clone())
            }
            false => (Arc::new(Keyring::generate()), Vec::new()),
        };
        let system_dir = layout.system_dir();
        let sandbox = self.sandbox(&layout.state);
        let is_sandbox = sandbox.is_some();
        let target_root = sandbox.or_else(|| self.target_root(&system_dir));
        let site = Arc::new(Site::new(SiteParts {
            system: Arc::clone(&self.system),
            system_yaml: self.system_yaml.clone(),
            system_dir,
            workspace_dir: layout.state.clone(),
            keyring,
            wrapped_key,
            clock: Arc::clone(&context.clock),
            executable: context.executable.clone(),
            target_root,
            is_sandbox,
            is_drill: self.recovers_into_sandbox() && self.param("scenario").is_some(),
            scenario: self.param("scenario").map(str::to_owned),
            recovered: self.inputs.loops.get("component").cloned().unwrap_or_default(),
            system_file: layout.system_file.clone(),
            key_dirs: keys::folders(layout, &context.unlocker),
            replicas: Some(Arc::new(Checker {
                journal: Arc::clone(&context.journal),
                state: layout.state.clone(),
            })),
            trust: Some(Trust::of_this_user(context.unlocker.config_dir.as_deref())),
        }));
        if is_sandbox {
            self.check_escapes()?;
        } else if self.recovers_into_sandbox() {
            let message = format!(
                "workflow {} recovers into a sandbox, and has none",
                self.workflow.name
            );
            return Err(Error::usage(message)
                .with_advice("start it by `rekindle drill`, or `rekindle verify --level restore`"));
        }
        let registry = (context.hooks.registry)(rekindle_actions::registry(Arc::clone(&site)));
        let plan = Arc::new(expand(
            &self.workflow,
            self.system.present(),
            &self.inputs,
            &registry,
        )?);
        Ok(ReadyRun {
            spec: self,
            plan,
            site,
            registry,
        })
    }

    /// Returns whether all that the run recovers goes into a sandbox: whether it is a drill.
    fn recovers_into_sandbox(&self) -> bool {
        self.workflow.steps.iter().any(|step| step.uses == REMOVE_SANDBOX)
    }

    /// Refuses a recovery into a sandbox that would act on the living system.
    fn check_escapes(&self) -> Result<(), Error> {
        let looped = self.inputs.loops.get("component").into_iter().flatten();
        let looped = looped
            .filter(|_| self.recovers_into_sandbox())
            .map(String::as_str);
        // A backup proves only some of its components.
        let proven = self.inputs.params.get("sandboxed").and_then(Value::as_array);
        let proven = proven.into_iter().flatten().filter_map(Value::as_str);
        // A drill sets up what its disaster leaves over.
        let set_up = self.inputs.params.get(SET_UP).and_then(Value::as_array);
        let set_up = set_up.into_iter().flatten().filter_map(Value::as_str);
        let recovered = looped
            .chain(proven)
            .chain(set_up)
            .filter_map(|name| self.system.component(name));
        let escaping = recovered.flat_map(|(name, component)| {
            let said = |escape| match escape {
                Escape::Restore => format!("`restore` of {name}"),
                Escape::Recovery(at) => {
                    let step = component.recovery.get(at).map_or("?", |step| step.id.as_str());
                    format!("recovery step `{step}` of {name}")
                }
            };
            component.escapes().into_iter().map(said).collect::<Vec<_>>()
        });
        let escaping: BTreeSet<String> = escaping.collect();
        if escaping.is_empty() {
            return Ok(());
        }
        let escaping: Vec<String> = escaping.into_iter().collect();
        let message = format!(
            "cannot recover into a sandbox, since this does not name the target and would act on the living system: {}",
            escaping.join(", ")
        );
        let error = Error::new(ProblemKind::Invalid, "escapes_sandbox", message);
        Err(error
            .with_advice("let it name `${{ target.root }}`, or choose other components with --component"))
    }

    /// Refuses a workflow that works on a system, if there is none.
    fn check_system(&self) -> Result<(), Error> {
        if self.system.present().is_some() {
            return Ok(());
        }
        let needs = self.workflow.needs_system(Severity::Error);
        if needs.has_errors() {
            Err(needs.into())
        } else {
            Ok(())
        }
    }

    /// Returns whether the run needs the workspace's key: for its steps, or for the copies of its journal in tiers.
    fn needs_key(&self) -> bool {
        let of_system = |uses: &String| OF_A_SYSTEM.contains(&uses.as_str());
        !self.system.tiers.is_empty() || self.names().iter().any(of_system)
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

impl ReadyRun {
    /// Returns whether a parameter of the run is true.
    pub fn flag(&self, name: &str) -> bool {
        self.plan.params.get(name).and_then(Value::as_bool) == Some(true)
    }

    /// Returns the snapshots that a validation found invalid: the run prefers a set without them.
    pub fn distrust(&self) -> BTreeSet<SnapshotId> {
        let list = self.plan.params.get("distrust").and_then(Value::as_array);
        let ids = list.into_iter().flatten().filter_map(Value::as_str);
        ids.filter_map(|id| id.parse().ok()).collect()
    }

    /// Returns the folder of a recovery in place, if the recovery refuses a system that is in use.
    pub fn may_displace(&self) -> Option<&Path> {
        let minds = self.flag("in_place") && !self.flag("while_running");
        self.site.target_root().filter(|_| minds)
    }

    /// Refuses a recovery in place by a workflow that would restore over existing content.
    pub fn check_in_place(&self) -> Result<(), Error> {
        let uses = |action: &str| self.plan.steps.iter().any(|step| step.uses == action);
        if self.flag("in_place") && uses("restore") && !uses("set-aside") {
            return Err(Error::usage(format!(
                "workflow {} recovers in place and has no step that sets the existing content aside",
                self.plan.workflow
            ))
            .with_advice("let its restore need a step with `uses: set-aside`, as in the built-in workflow"));
        }
        Ok(())
    }
}

/// The parameter with the name of the sandbox into which a run recovers copies to prove them.
pub const SANDBOX: &str = "sandbox";
/// The parameter with the components that the disaster of a drill leaves over.
pub const SET_UP: &str = "set_up";

/// Returns the folder of the living system.
pub fn data_root(system_dir: &Path, system: &System) -> PathBuf {
    resolve(&system_dir.join(&system.root))
}

/// Returns what the paths of the living system are seen from.
pub fn living(system_dir: &Path, system: &System) -> Root {
    Root::living(data_root(system_dir, system))
}

/// Returns the folders that a recovery in place of these components moves content from, with nothing twice: the root, and
/// the parents of absolute paths.
pub fn displaced_roots<'a>(root: &Root, components: impl IntoIterator<Item = &'a Component>) -> Vec<PathBuf> {
    let own = || root.folder().to_owned();
    let of = |source: &SourceSpec| {
        source
            .path()
            .map_or_else(own, |path| root.split(Path::new(path)).0)
    };
    let roots: BTreeSet<PathBuf> = sources(components).map(of).collect();
    roots.into_iter().collect()
}

/// Returns the places of these components, with nothing twice: the root with all that is below it, and absolute paths of
/// the living system.
pub fn places<'a>(root: &Root, components: impl IntoIterator<Item = &'a Component>) -> Vec<PathBuf> {
    let of = |source: &SourceSpec| match source.path().map(|path| root.place(path)) {
        Some(place) if !place.starts_with(root.folder()) => place,
        _ => root.folder().to_owned(),
    };
    let places: BTreeSet<PathBuf> = sources(components).map(of).collect();
    places.into_iter().collect()
}

/// Returns whether data of the system belong below its root. It may have absolute paths only.
pub fn uses_root(system: &System) -> bool {
    let outside = |source: &SourceSpec| source.path().is_some_and(|path| Path::new(path).is_absolute());
    let mut sources = sources(system.components.values()).peekable();
    sources.peek().is_none() || !sources.all(outside)
}

fn sources<'a>(components: impl IntoIterator<Item = &'a Component>) -> impl Iterator<Item = &'a SourceSpec> {
    components
        .into_iter()
        .filter_map(|component| component.source.as_ref())
}

/// Gives a workflow the hooks of the system, if a run of this kind has any, and returns the system.
fn with_hooks(
    system: Option<Loaded<System>>,
    workflow: &mut Workflow,
    kind: RunKind,
) -> Result<Arc<System>, Error> {
    let Some(system) = system else {
        return Ok(Arc::default());
    };
    add_hooks(workflow, &system, kind)?;
    Ok(Arc::new(system.value))
}

/// Gives a workflow the hooks of a system, if a run of this kind has any.
pub fn add_hooks(workflow: &mut Workflow, system: &Loaded<System>, kind: RunKind) -> Result<(), Error> {
    match kind {
        RunKind::Backup | RunKind::Recover | RunKind::Verify => Ok(workflow.add_hooks(&system.hooks)?),
        RunKind::Drill | RunKind::Custom => Ok(()),
    }
}

/// Reads the workspace's system file, and logs its warnings.
pub fn system(layout: &Layout) -> Result<System, Error> {
    Ok(loaded(layout)?.value)
}

/// Reads the workspace's system file with its hooks, and logs its warnings.
pub fn loaded(layout: &Layout) -> Result<Loaded<System>, Error> {
    let path = &layout.system_file;
    if !crate::keys::has_system(layout) {
        let message = format!(
            "there is no {}: this workspace only runs workflows",
            path.display()
        );
        return Err(Error::usage(message).with_next(
            Action::Initialize {
                dir: None,
                key: KeyOrigin::Default,
            },
            "makes a system of it, to back up and to recover",
        ));
    }
    let text = read_text(path)?;
    let loaded = load_system(&path.display().to_string(), &text)?;
    if !loaded.warnings.0.is_empty() {
        tracing::warn!("{}", loaded.warnings);
    }
    Ok(loaded)
}

/// Refuses two components whose files are the same on this machine, as through a link. Only what reads or writes the
/// living system asks: on the machine of a rescue the links may be others.
///
/// # Errors
/// The components, and the file that both claim.
pub(crate) fn check_places(layout: &Layout) -> Result<(), Error> {
    let clashes = loaded(layout)?.check_places(&layout.system_dir());
    match clashes.has_errors() {
        true => Err(clashes.into()),
        false => Ok(()),
    }
}

/// Reads the workspace's system file. A workspace that only runs workflows has none: then the default.
pub fn system_if_any(layout: &Layout) -> Result<System, Error> {
    match crate::keys::has_system(layout) {
        true => system(layout),
        false => Ok(System::default()),
    }
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
