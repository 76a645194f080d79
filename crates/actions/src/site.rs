//! The place where a run's steps act: the system to which the run is pinned, the folders, the key, the tiers.
//!
//! A [`Site`] belongs to one run. Its system is the one that the run's journal names, not the present `system.yaml`.
//! It opens a tier when a step first needs it, and keeps it open. If a tier does not answer, the step that asked
//! fails, and the next step tries again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rekindle_model::failure::{Failure, code};
use rekindle_model::system::{Component, System};
use rekindle_model::time::Clock;
use rekindle_sources::place::{Root, resolve};
use rekindle_vault::key::Keyring;
use rekindle_vault::store::occupied_folder;
use rekindle_vault::{Catalogs, Remembered, Spool, Tier, TierMode, catalogs};
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

use crate::displace::Kept;
use crate::failures;
use crate::isolation;
use crate::outlook::Outlook;
use crate::replica_reader::ReplicaReader;
use crate::supervise::Isolation;
use crate::trust::Trust;

/// How long a tier may take to open, which reads two small files. After that, it counts as a tier that does not
/// answer.
const OPENS_WITHIN: Duration = Duration::from_secs(10);

/// The parts of a [`Site`]. The caller has read and checked all of them.
#[derive(Clone)]
pub struct SiteParts {
    /// The system that the run is pinned to; the default if it has none.
    pub system: Arc<System>,
    /// Its YAML, byte for byte. Every recovery set keeps it.
    pub system_yaml: Vec<u8>,
    /// The folder of `system.yaml`, which `root` and local tier URLs are relative to.
    pub system_dir: PathBuf,
    /// The workspace (`.rekindle`), with the spool and the staging folders.
    pub workspace_dir: PathBuf,
    /// The repository's keys. Of a workspace without a system, a key that nothing uses.
    pub keyring: Arc<Keyring>,
    /// The keyring as it is written into tiers, wrapped in the `age` format.
    pub wrapped_key: Vec<u8>,
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
    /// The running program. It is the value of `${{ rekindle }}` in probes and commands, and the supervisor of all of
    /// them.
    pub executable: PathBuf,
    /// The folder that a recovery writes into; none for a run that recovers nothing.
    pub target_root: Option<PathBuf>,
    /// Whether that folder is a sandbox in the workspace, to prove a copy. Nothing may reach the living system then.
    pub is_sandbox: bool,
    /// Whether the run rehearses a disaster in that sandbox. Where the machine allows it, its programs reach nothing else.
    pub is_drill: bool,
    /// The scenario that the run recovers from, if it names one.
    pub scenario: Option<String>,
    /// The components that the run recovers, in the order of their steps; none for a run that recovers nothing.
    pub recovered: Vec<String>,
    /// The system's file. A recovery in place copies it aside and never moves it.
    pub system_file: PathBuf,
    /// The folders that hold the key. A recovery in place does not touch them.
    pub key_dirs: Vec<PathBuf>,
    /// Compares the replicas in a tier with the journal; none if a plan is only shown.
    pub replicas: Option<Arc<dyn ReplicaReader>>,
    /// The paths that may decide which programs run; none if a plan is only shown.
    pub trust: Option<Trust>,
}

/// A tier, and how it was opened.
type OpenTier = (TierMode, Arc<Tier>);

/// Where a run's steps act.
pub struct Site {
    parts: SiteParts,
    spool: OnceCell<Arc<Spool>>,
    /// The tiers that are open. Each has a lock of its own: if one tier opens slowly, only the steps that need it
    /// wait.
    tiers: BTreeMap<String, Mutex<Option<OpenTier>>>,
    /// What the tiers must hold, as a step of this run first found it.
    stated: OnceCell<Catalogs>,
    /// How the restores of this run stand against their RTOs.
    outlook: std::sync::Mutex<Option<Outlook>>,
    /// How the programs of a drill are isolated, once one was started; or why they are not.
    isolation: OnceCell<Result<Isolation, String>>,
}

impl Site {
    /// Returns the site; it opens and creates nothing yet. It makes relative folders absolute, since probes and
    /// commands run in another folder than this process. The target root is relative to the system's folder.
    pub fn new(mut parts: SiteParts) -> Self {
        // This fails only if the working folder is gone. Then a relative path leads nowhere anyway.
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        parts.system_dir = absolute(&parts.system_dir);
        parts.workspace_dir = absolute(&parts.workspace_dir);
        parts.target_root = parts
            .target_root
            .map(|root| resolve(&parts.system_dir.join(root)));
        let tiers = parts
            .system
            .tiers
            .keys()
            .map(|name| (name.clone(), Mutex::new(None)))
            .collect();
        Self {
            parts,
            spool: OnceCell::new(),
            tiers,
            stated: OnceCell::new(),
            outlook: std::sync::Mutex::new(None),
            isolation: OnceCell::new(),
        }
    }

    /// Returns the system.
    pub fn system(&self) -> &Arc<System> {
        &self.parts.system
    }

    /// Returns the system's YAML, byte for byte.
    pub fn system_yaml(&self) -> &[u8] {
        &self.parts.system_yaml
    }

    /// Returns the folder of `system.yaml`.
    pub fn system_dir(&self) -> &Path {
        &self.parts.system_dir
    }

    /// Returns the folder that holds the living system's data.
    pub fn data_root(&self) -> PathBuf {
        resolve(&self.parts.system_dir.join(&self.parts.system.root))
    }

    /// Returns what the system's paths are seen from, for data in `folder`.
    pub fn root(&self, folder: PathBuf) -> Root {
        Root::of(folder, &self.data_root())
    }

    /// Returns the root of the living system.
    pub fn living(&self) -> Root {
        Root::living(self.data_root())
    }

    /// Returns the workspace's folder.
    pub fn workspace_dir(&self) -> &Path {
        &self.parts.workspace_dir
    }

    /// Returns which paths may decide what runs; none if nothing runs.
    pub(crate) fn trust(&self) -> Option<&Trust> {
        self.parts.trust.as_ref()
    }

    /// Returns the repository's keys.
    pub(crate) fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.parts.keyring)
    }

    /// Returns the keyring as tiers have it.
    pub(crate) fn wrapped_key(&self) -> &[u8] {
        &self.parts.wrapped_key
    }

    /// Returns the running program.
    pub(crate) fn executable(&self) -> &Path {
        &self.parts.executable
    }

    /// Returns the reader that compares the replicas in a tier with the journal.
    pub(crate) fn replicas(&self) -> Option<&dyn ReplicaReader> {
        self.parts.replicas.as_deref()
    }

    /// Returns the clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.parts.clock
    }

    /// Returns the folder that a recovery writes into.
    pub fn target_root(&self) -> Option<&Path> {
        self.parts.target_root.as_deref()
    }

    /// Returns the sandbox of a run that proves copies.
    pub(crate) fn sandbox(&self) -> Option<&Path> {
        self.target_root().filter(|_| self.parts.is_sandbox)
    }

    /// Returns how the programs of a drill are isolated; none if the machine does not allow it, or the run is no drill.
    ///
    /// # Errors
    /// Whether the machine allows it could not be tried.
    pub(crate) async fn isolation(&self) -> Result<Option<&Isolation>, Failure> {
        let Some(sandbox) = self.drill() else {
            return Ok(None);
        };
        let tried = || isolation::of_drill(self.executable(), sandbox);
        let isolation = self.isolation.get_or_try_init(tried).await?;
        Ok(isolation.as_ref().ok())
    }

    /// Returns the sandbox of a run that rehearses a disaster.
    pub(crate) fn drill(&self) -> Option<&Path> {
        self.sandbox().filter(|_| self.parts.is_drill)
    }

    /// Returns the scenario that the run recovers from.
    pub(crate) fn scenario(&self) -> Option<&str> {
        self.parts.scenario.as_deref()
    }

    /// Returns the components that the run recovers.
    pub(crate) fn recovered(&self) -> &[String] {
        &self.parts.recovered
    }

    /// Returns how the restores of this run stand; none before the first one.
    pub(crate) fn outlook(&self) -> std::sync::MutexGuard<'_, Option<Outlook>> {
        self.outlook.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what expressions see as `disaster`.
    pub(crate) fn disaster(&self) -> Value {
        json!({ "type": self.parts.scenario })
    }

    /// Returns the folder for content that `purpose` of `run` stages: before it is captured, or before it is put in
    /// place.
    pub(crate) fn staging_dir(&self, run: &str, purpose: &str) -> PathBuf {
        self.parts.workspace_dir.join("staging").join(run).join(purpose)
    }

    /// Returns the paths that no source captures: the workspace, every tier on this machine, and the identities. An
    /// identity in a backup would let the key of this system open others.
    pub fn never_captured(&self) -> Vec<PathBuf> {
        let mut paths = vec![resolve(&self.parts.workspace_dir)];
        paths.extend(self.parts.key_dirs.iter().map(|dir| resolve(dir)));
        for tier in self.parts.system.tiers.values() {
            paths.extend(
                tier.locations()
                    .into_iter()
                    .filter_map(|url| occupied_folder(url, &self.parts.system_dir))
                    .map(|folder| resolve(&folder)),
            );
        }
        paths
    }

    /// Returns the paths that a recovery in place never moves.
    pub fn kept(&self) -> Kept {
        if self.sandbox().is_some() {
            // A sandbox is in the workspace, and all that is in it was recovered into it.
            return Kept::default();
        }
        Kept {
            never: self.never_captured(),
            copied: vec![self.parts.system_file.clone()],
        }
    }

    /// Returns the values that expressions see in every step of the run: `rekindle`, and `system` and `target` if
    /// there is one. The engine adds `params`, `steps`, `each`, `component` and `run`.
    pub fn scope(&self) -> Value {
        let mut scope = json!({ "rekindle": self.parts.executable.to_string_lossy() });
        if let Some(system) = self.parts.system.present() {
            scope["system"] = json!(system);
        }
        if let Some(root) = &self.parts.target_root {
            scope["target"] = json!({ "root": root.to_string_lossy() });
            scope["disaster"] = self.disaster();
        }
        scope
    }

    /// Returns the component of that name or alias.
    pub(crate) fn component(&self, name: &str) -> Result<(&str, &Component), Failure> {
        self.parts.system.component(name).ok_or_else(|| {
            let known = self.parts.system.components_by_priority().join(", ");
            Failure::permanent(
                "unknown_component",
                format!("the system has no component {name:?}"),
            )
            .with_hint(format!("it has {known}"))
        })
    }

    /// Returns the tiers' names, the fastest first: by how often a set is due, then by name.
    ///
    /// The order is by use, since a system's tiers have no order of their own: the tier that is written most often is
    /// the near one.
    pub fn tiers_hot_first(&self) -> Vec<String> {
        let mut names: Vec<&String> = self.tiers.keys().collect();
        let every = |name: &String| self.parts.system.tiers.get(name).and_then(|tier| tier.every);
        names.sort_by_key(|name| (every(name).is_none(), every(name), (*name).clone()));
        names.into_iter().cloned().collect()
    }

    /// Returns the tier, opened. A new place becomes a tier only if `mode` says so, and never if it has held this
    /// workspace's vault before.
    pub(crate) async fn tier(&self, name: &str, mode: TierMode) -> Result<Arc<Tier>, Failure> {
        let (Some(opened), Some(spec)) = (self.tiers.get(name), self.parts.system.tiers.get(name)) else {
            let known = self.tiers_hot_first().join(", ");
            return Err(
                Failure::permanent("unknown_tier", format!("the system has no tier {name:?}"))
                    .with_hint(format!("it has {known}")),
            );
        };
        let urls: Vec<String> = spec.locations().into_iter().map(str::to_owned).collect();
        let open = async {
            let mut opened = opened.lock().await;
            // A step that only looks leaves a location out that is still to be made.
            let known = opened.as_ref().filter(|(before, tier)| {
                mode != TierMode::Create || *before == TierMode::Create || tier.down().is_empty()
            });
            if let Some((_, tier)) = known {
                return Ok(Arc::clone(tier));
            }
            let tier = Tier::open_remembered(
                name,
                &urls,
                &self.parts.system_dir,
                Arc::clone(&self.parts.keyring),
                &self.parts.wrapped_key,
                mode,
                &Remembered::of(&self.parts.workspace_dir),
            )
            .await
            .map_err(|error| failures::tier(&error))?;
            let (_, tier) = opened.insert((mode, Arc::new(tier)));
            Ok(Arc::clone(tier))
        };
        let opened = tokio::time::timeout(OPENS_WITHIN, open).await;
        opened.unwrap_or_else(|_| {
            Err(Failure::transient(
                code::TIER_UNAVAILABLE,
                format!("tier {name} has not answered within {OPENS_WITHIN:?}"),
            )
            .with_hint("see that the tier's location is mounted and can be reached, then resume the run"))
        })
    }

    /// Returns those tiers that are vaults and answer, in the given order.
    pub(crate) async fn tiers_that_answer(&self, names: &[String]) -> Vec<Arc<Tier>> {
        let mut tiers = Vec::new();
        for name in names {
            match self.tier(name, TierMode::Existing).await {
                Ok(tier) => tiers.push(tier),
                Err(failure) => tracing::info!(tier = name, %failure, "a tier is left out"),
            }
        }
        tiers
    }

    /// Returns what the tiers must hold. They are asked once in a run: every check of a copy needs it.
    pub(crate) async fn stated(&self) -> &Catalogs {
        let ask = || async { catalogs(&self.tiers_that_answer(&self.tiers_hot_first()).await).await };
        self.stated.get_or_init(ask).await
    }

    /// Notes the newest heads of the tiers in the workspace. If it cannot be written, nothing else depends on it now.
    pub(crate) async fn note_heads(&self, found: &Catalogs, tiers: &[Arc<Tier>]) {
        if let Err(error) = found.note(tiers).await {
            tracing::warn!(%error, "the newest heads are not noted");
        }
    }

    /// Returns the workspace's spool.
    pub(crate) async fn spool(&self) -> Result<Arc<Spool>, Failure> {
        let dir = self.parts.workspace_dir.join("spool");
        let open = || async {
            Spool::open(&dir, Arc::clone(&self.parts.keyring))
                .await
                .map(Arc::new)
                .map_err(failures::vault)
        };
        self.spool.get_or_try_init(open).await.cloned()
    }
}
