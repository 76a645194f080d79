//! The job of one `restore` step: the snapshot, the tiers that have it, and the folders on its way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_engine::StepContext;
use rekindle_model::entry::Entry;
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::SnapshotId;
use rekindle_sources::place::{Root, below, resolve};
use rekindle_sources::{ComponentSource, Placed, RestorePlan, Shape, SourceContext};
use rekindle_vault::restore::{
    self, Depth, Difference, Inspection, RestoreCheckpoint, RestoreRequest, RestoreRoot, Window,
};
use rekindle_vault::{Snapshot, SnapshotReader, Tier, TierMode};
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Progress;
use crate::failures;
use crate::params;
use crate::programs::SourcePrograms;
use crate::put_back;
use crate::seal_set::newest_set;
use crate::site::Site;
use crate::views;

#[derive(Deserialize)]
struct Params {
    component: Option<String>,
    root: Option<PathBuf>,
    snapshot: Option<String>,
    #[serde(default)]
    tiers: params::Names,
    #[serde(default)]
    no_owner: bool,
}

/// The data to restore, and the place.
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) source: Arc<dyn ComponentSource>,
    pub(crate) snapshot: Snapshot,
    pub(crate) tiers: Vec<Arc<Tier>>,
    /// The preferred tier.
    pub(super) prefer: Preferred,
    /// What the paths of the system's file are seen from.
    pub(crate) seen_from: Root,
    /// The folder that the source's path is relative to: the one into which the system is recovered, or the parent of an
    /// absolute path of the living system.
    pub(crate) target: PathBuf,
    /// The place of the component's data. If the source hands the data over, the staging folder.
    pub(crate) place: PathBuf,
    /// The folder that is the root of the tree at its final place.
    pub(super) root: PathBuf,
    /// The folder into which the vault restores the tree. It is the root itself, unless the source does the last part.
    pub(super) into: PathBuf,
    /// The folder that a person named. Below it the vault follows no link.
    pub(super) named: PathBuf,
    /// The folder for data that the restore displaces, if the source replaces its data as a whole.
    pub(super) aside: Option<PathBuf>,
    /// Whether the files get the owners that were captured.
    owners: bool,
}

/// The tier to read from if possible: the one that was asked for, else the fastest that holds the set.
#[derive(Clone, Default)]
pub(super) struct Preferred {
    pub(super) tier: Option<String>,
    /// Why it does not answer, if it does not.
    pub(super) silent: Option<String>,
}

impl Job {
    /// Returns the job of a step; none for a component without data.
    pub(crate) async fn of(site: &Site, cx: &StepContext) -> Result<Option<Self>, Failure> {
        let params: Params = params::read(&cx.with)?;
        let (name, component) = site.component(&views::looped(cx, "component", params.component)?)?;
        let Some(spec) = &component.source else {
            return Ok(None);
        };
        let located = views::located(&cx.steps);
        // A backup proves the copies that it has just verified, where it has one.
        let fresh = match (&params.snapshot, &located) {
            (None, None) => match views::verified_copies(&cx.steps).remove(name) {
                None if site.sandbox().is_some() => inherited(site, cx, name).await?,
                verified => verified,
            },
            _ => None,
        };
        let snapshot = match (&params.snapshot, &fresh) {
            (Some(text), _) => text.parse().map_err(|_| {
                let message = format!("{text:?} is not the id of a snapshot");
                Failure::permanent(params::BAD_PARAMETER, message)
                    .with_hint("name one that the list of snapshots has")
            })?,
            (None, Some((snapshot, _))) => *snapshot,
            (None, None) => located_member(located.as_ref(), name)?,
        };
        let order = match (params.tiers, located, fresh) {
            (params::Names::These(tiers), _, _) => tiers,
            (params::Names::All, Some(located), _) => located.tier_order,
            (params::Names::All, None, Some((_, verified_in))) => verified_in,
            (params::Names::All, None, None) => site.tiers_hot_first(),
        };
        let tiers = site.tiers_that_answer(&order).await;
        if tiers.is_empty() {
            let message = format!("none of {} answers", order.join(", "));
            return Err(Failure::transient(code::TIER_UNAVAILABLE, message)
                .with_hint("make a tier available again, then resume the run"));
        }
        let reader = SnapshotReader::open(&tiers, snapshot)
            .await
            .map_err(failures::vault)?;
        let snapshot = reader.snapshot().clone();
        let target = params
            .root
            .or_else(|| site.target_root().map(Path::to_path_buf))
            .ok_or_else(|| {
                // The living system is never the default target.
                Failure::permanent(params::BAD_PARAMETER, "the step does not say where to restore to")
                    .with_hint("give it `root:`, or say where the run recovers to")
            })?;
        let seen_from = site.root(resolve(&site.system_dir().join(target)));
        let Placed { source, root: target } = rekindle_sources::place(spec, &seen_from)?;
        let mut job = Self {
            name: name.to_owned(),
            source,
            snapshot,
            tiers,
            prefer: Preferred::default(),
            seen_from,
            target,
            place: PathBuf::new(),
            root: PathBuf::new(),
            into: PathBuf::new(),
            named: PathBuf::new(),
            aside: None,
            // A program or a server gets the bytes, and knows nothing of the owners of staged files.
            owners: !params.no_owner,
        };
        job.owners &= !job.is_given_away();
        job.choose_folders(site, cx)?;
        job.prefer = job.preferred(site, order.into_iter().next()).await;
        Ok(Some(job))
    }

    fn choose_folders(&mut self, site: &Site, cx: &StepContext) -> Result<(), Failure> {
        if self.is_given_away() {
            let staging = site.staging_dir(&cx.run.to_string(), &self.name);
            self.named.clone_from(&staging);
            self.place.clone_from(&staging);
            self.root.clone_from(&staging);
            self.into = staging;
            return Ok(());
        }
        self.named.clone_from(&self.target);
        let claim = self.source.claim();
        self.place = claim.map_or_else(|| self.target.clone(), |claim| below(&self.target, &claim.path));
        self.root = Shape::named_in(&self.snapshot.metadata)?.root(&self.place);
        self.into.clone_from(&self.root);
        if let RestorePlan::Beside(_) = self.source.restore_plan() {
            // It is beside the place, so that the last move is a rename on one file system.
            let staging = format!(".rekindle-staging-{}-{}", cx.run, self.name);
            self.into = self.root.join(staging);
            self.aside = Some(put_back::aside_folder(&self.target, &self.root, cx.run));
        }
        Ok(())
    }

    /// Returns the preferred tier, and why it does not answer if it does not.
    async fn preferred(&self, site: &Site, tier: Option<String>) -> Preferred {
        let silent = match &tier {
            Some(name) if self.tiers.iter().all(|tier| tier.name() != name) => {
                let asked = site.tier(name, TierMode::Existing).await;
                asked.err().map(|failure| failure.message)
            }
            _ => None,
        };
        Preferred { tier, silent }
    }

    /// Returns whether the source hands the data over to a program or a server. Then the result cannot be compared.
    pub(super) fn is_given_away(&self) -> bool {
        matches!(self.source.restore_plan(), RestorePlan::HandOver(_))
    }

    /// Returns whether a file beside the data belongs to earlier data, or shows that a process has the data open.
    pub(super) fn is_disturbed(&self) -> bool {
        match self.source.restore_plan() {
            RestorePlan::Beside(source) => source.is_disturbed(&self.place),
            RestorePlan::AtPlace | RestorePlan::HandOver(_) => false,
        }
    }

    /// Lets the source hand over the data in the staging folder.
    pub(super) async fn give(&self, site: &Site, cx: &StepContext) -> Result<(), Failure> {
        let RestorePlan::HandOver(source) = self.source.restore_plan() else {
            return Ok(());
        };
        let (name, _) = site.component(&self.name)?;
        source
            .give(&SourceContext {
                component: name,
                attempt: cx.attempt,
                root: &self.target,
                staging: &self.into,
                never: &site.never_captured(),
                stop: &cx.stop,
                programs: &SourcePrograms { site, cx, name },
            })
            .await
    }

    /// Returns the request to restore the tree at `folder`.
    pub(super) fn request(&self, folder: &Path, checkpoint: Option<RestoreCheckpoint>) -> RestoreRequest {
        RestoreRequest {
            snapshot: self.snapshot.id,
            root: RestoreRoot::beneath(&self.named, folder),
            include: Vec::new(),
            checkpoint,
            window: window(&self.snapshot),
            prefer: self.prefer.tier.clone(),
            owners: self.owners,
        }
    }

    /// Returns the checkpoint if it is about the same snapshot at the same place.
    pub(super) fn usable(&self, checkpoint: Option<&Value>) -> Option<RestoreCheckpoint> {
        let progress = Progress::deserialize(checkpoint?).ok()?;
        let same = progress.snapshot == self.snapshot.id && progress.root == self.into;
        // If the folder is gone, the checkpoint covers nothing.
        (same && self.into.exists()).then_some(progress.restored)
    }

    /// Returns the first entry that the checkpoint counts as restored but that is missing or different. `whole` is the
    /// result of an inspection of the place. If the vault restores straight to the place, `whole` has the answer.
    pub(super) async fn refuted(
        &self,
        checkpoint: Option<RestoreCheckpoint>,
        whole: Inspection,
        stop: &CancellationToken,
    ) -> Result<Option<Difference>, Failure> {
        if checkpoint.is_none() || self.into == self.root {
            return Ok(whole.refuted);
        }
        let request = self.request(&self.into, checkpoint);
        let counts = |_: &Entry, _| true;
        Ok(restore::first_difference(&self.tiers, &request, Depth::Content, counts, stop).await?)
    }
}

/// Returns how much is restored between two checkpoints: an eighth of the snapshot, so that a kill also costs little
/// of a small component; at most the vault's own window.
fn window(snapshot: &Snapshot) -> Window {
    let most = Window::default();
    let entries = usize::try_from(snapshot.entries()).unwrap_or(usize::MAX);
    Window {
        bytes: (snapshot.bytes / 8).clamp(1 << 20, most.bytes),
        entries: (entries / 8).clamp(64, most.entries),
    }
}

/// Returns the snapshot of a component that this run does not capture, as the newest set has it, and its tiers. A proof
/// of another component may read it.
async fn inherited(
    site: &Site,
    cx: &StepContext,
    name: &str,
) -> Result<Option<(SnapshotId, Vec<String>)>, Failure> {
    if views::captures(cx, name) {
        return Ok(None);
    }
    let tiers = site.tiers_that_answer(&site.tiers_hot_first()).await;
    let newest = newest_set(&tiers).await?;
    let member = newest.and_then(|mut set| set.members.remove(name));
    Ok(member.map(|member| (member.snapshot, member.tiers)))
}

fn located_member(located: Option<&views::Located>, name: &str) -> Result<SnapshotId, Failure> {
    let Some(located) = located else {
        let message =
            format!("no earlier step of this run located a recovery set, or verified a copy of {name}");
        return Err(Failure::permanent(views::NOTHING_TO_WORK_ON, message)
            .with_hint("let the step need a step that uses locate-set, or name a snapshot"));
    };
    located
        .components
        .get(name)
        .map(|member| member.snapshot)
        .ok_or_else(|| {
            let message = format!("recovery set {} holds nothing of {name}", located.set);
            Failure::permanent("not_in_set", message).with_hint("choose a recovery set that holds it")
        })
}
