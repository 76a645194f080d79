//! The tiers of the workspace, opened for reading. If a tier does not open, this warns and leaves it out.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rekindle_model::id::{SnapshotId, is_named};
use rekindle_model::system::{System, TierSpec};
pub use rekindle_vault::{CatalogCheck, Lacking};
use rekindle_vault::{Remembered, Snapshot, Tier, TierError, TierMode, catalogs};

use crate::Application;
use rekindle_model::next_action::Action;

use crate::error::{Error, MENDS};
use crate::keys::OpenKey;
use crate::layout::Layout;
use crate::notice::Notice;
use crate::{keys, names, run_spec, yaml_file};
use rekindle_model::time;

/// How many known snapshots a refusal lists at most.
const LISTED: usize = 10;

/// Tiers that answered.
pub struct Tiers {
    /// The workspace whose tiers they are.
    pub layout: Layout,
    /// Its system.
    pub system: System,
    open: Vec<(String, Arc<Tier>)>,
    /// The tiers that answer and do not open, since their vault is damaged.
    damaged: Vec<Lacking>,
    asked: usize,
}

/// A snapshot, as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one whose id begins or ends so.
    Id(String),
    /// The newest of a component, or the newest whose content is not later than an instant.
    Component {
        /// The component, by name or alias.
        name: String,
        /// The instant.
        at: Option<DateTime<Utc>>,
    },
}

impl Tiers {
    /// Opens the tiers of those names, or all of the system's.
    pub async fn open(app: &Application, named: &[String]) -> Result<Self, Error> {
        let layout = app.layout()?;
        let system = run_spec::system(&layout)?;
        let key = keys::open(&layout, &app.unlocker)?;
        let chosen = Self::named(&system, named)?;
        let mut open = Vec::new();
        let mut damaged = Vec::new();
        let mut last: Option<TierError> = None;
        for name in &chosen {
            match open_tier(&layout, &key, name, &system.tiers[name]).await {
                Ok(tier) => open.push((name.clone(), Arc::new(tier))),
                Err(error) => {
                    let mut notice = Notice::warning(error.to_string());
                    if error.is_damage() {
                        damaged.push(Lacking::unopened(name, None, &error.to_string()));
                        let repair = Action::RepairTier { tier: name.clone() };
                        notice = notice.with_next(repair, MENDS);
                    }
                    app.notices.give(notice);
                    if last.as_ref().is_none_or(|last| !last.is_damage()) {
                        last = Some(error);
                    }
                }
            }
        }
        match (open.is_empty(), last) {
            (true, Some(error)) => Err(error.into()),
            _ => Ok(Self {
                layout,
                system,
                open,
                damaged,
                asked: chosen.len(),
            }),
        }
    }

    /// Returns the own names of those tiers, of all where none is named.
    pub fn named(system: &System, named: &[String]) -> Result<Vec<String>, Error> {
        match named {
            [] => Ok(system.tiers.keys().cloned().collect()),
            named => names::tiers(system, named),
        }
    }

    /// Returns those that answered, by name.
    pub fn reachable(&self) -> impl Iterator<Item = (&str, &Arc<Tier>)> {
        self.open.iter().map(|(name, tier)| (name.as_str(), tier))
    }

    /// Returns what the tiers should hold and do not, and what is unknown of it. Notes the newest heads that it saw, if
    /// the workspace can be written.
    pub async fn lacking(&self, check: CatalogCheck) -> Vec<Lacking> {
        let open: Vec<Arc<Tier>> = self.reachable().map(|(_, tier)| Arc::clone(tier)).collect();
        let found = catalogs(&open).await;
        let lacking = rekindle_vault::lacking(&open, &found, check).await;
        if let Err(error) = found.note(&open).await {
            tracing::info!(%error, "the newest heads are not noted");
        }
        lacking
    }

    /// Returns the tiers that answer and do not open, since their vault is damaged. A warning has named them.
    pub fn damaged(&self) -> &[Lacking] {
        &self.damaged
    }

    /// Returns whether every tier that was asked for has answered.
    pub fn all_answered(&self) -> bool {
        self.open.len() == self.asked
    }

    /// Returns what the system says of a tier.
    pub fn spec(&self, name: &str) -> Option<&TierSpec> {
        self.system.tiers.get(name)
    }

    /// Returns the own name of a component.
    pub fn component(&self, name: &str) -> Result<String, Error> {
        match self.system.component(name) {
            Some((own, _)) => Ok(own.to_owned()),
            None => Err(names::unknown(
                "component",
                name,
                self.system.components_by_priority(),
            )),
        }
    }

    /// Returns every snapshot of the tiers that answer, oldest first, with a tier that holds it.
    pub async fn snapshots(&self) -> Result<BTreeMap<SnapshotId, &Arc<Tier>>, Error> {
        let mut all = BTreeMap::new();
        for (_, tier) in self.reachable() {
            for id in tier.snapshots().await? {
                all.entry(id).or_insert(tier);
            }
        }
        Ok(all)
    }

    /// Returns the snapshot that a person means.
    ///
    /// # Errors
    /// No tier that answers has it, or the word names several.
    pub async fn snapshot(&self, wanted: &Wanted) -> Result<SnapshotId, Error> {
        match wanted {
            Wanted::Id(word) => self.by_id(word).await,
            Wanted::Component { name, at } => {
                let own = self.component(name)?;
                self.newest(&own, *at).await
            }
        }
    }

    /// Returns the newest snapshot of a component, or the newest whose content is not later than an instant.
    async fn newest(&self, component: &str, at: Option<DateTime<Utc>>) -> Result<SnapshotId, Error> {
        let mut oldest = None;
        for id in self.snapshots().await?.into_keys().rev() {
            let Some(snapshot) = self.document(id).await else {
                continue;
            };
            if snapshot.component != component {
                continue;
            }
            let point = snapshot.consistency_point.utc;
            if at.is_none_or(|at| point <= at) {
                return Ok(id);
            }
            oldest = Some(point);
        }
        let message = match (at, oldest) {
            (Some(at), Some(oldest)) => format!(
                "{component} has no snapshot from before {}: its oldest is of {}",
                time::show(at),
                time::show(oldest)
            ),
            _ => format!("the tiers that answer have no snapshot of {component}"),
        };
        Err(Error::usage(message).with_next(Action::ListSnapshots, "lists all"))
    }

    /// Returns the document of a snapshot, from any tier. If none has it whole, warns: nothing is known of that snapshot.
    pub async fn document(&self, id: SnapshotId) -> Option<Snapshot> {
        let mut last = None;
        for (_, tier) in self.reachable() {
            match tier.snapshot(id).await {
                Ok(snapshot) => return Some(snapshot),
                Err(error) => last = Some(error),
            }
        }
        if let Some(error) = last {
            tracing::warn!(snapshot = %id, %error, "a snapshot is left out");
        }
        None
    }

    async fn by_id(&self, word: &str) -> Result<SnapshotId, Error> {
        let all = self.snapshots().await?;
        let found: Vec<SnapshotId> = all.keys().copied().filter(|id| is_named(id, word)).collect();
        let (message, among) = match found.as_slice() {
            [one] => return Ok(*one),
            [] => (
                format!("there is no snapshot {word:?} in the tiers that answer"),
                all.keys().copied().collect(),
            ),
            several => (format!("{word:?} names {} snapshots", several.len()), found),
        };
        if among.is_empty() {
            return Err(Error::usage(message).with_next(
                Action::Backup,
                "makes the first snapshots: the tiers that answer hold none",
            ));
        }
        let mut lines = vec!["lists all; the newest:".to_owned()];
        for id in among.iter().rev().take(LISTED) {
            let snapshot = match all.get(id) {
                Some(tier) => tier.snapshot(*id).await.ok(),
                None => None,
            };
            lines.push(snapshot.map_or_else(
                || id.to_string(),
                |snapshot| {
                    let at = time::show(snapshot.consistency_point.utc);
                    format!("{id} ({}, {at})", snapshot.component)
                },
            ));
        }
        Err(Error::usage(message).with_next(Action::ListSnapshots, lines.join("\n  ")))
    }
}

/// Returns what the tiers should hold and do not, and what is unknown of it.
pub async fn lacking(tiers: &[Arc<Tier>], check: CatalogCheck) -> Vec<Lacking> {
    let found = catalogs(tiers).await;
    rekindle_vault::lacking(tiers, &found, check).await
}

/// Returns whether this workspace has neither stored in a tier nor found a vault there.
pub(crate) fn is_new(layout: &Layout, key: &OpenKey, name: &str) -> bool {
    let stored = Remembered::of(&layout.state).read(name, key.keyring.repository());
    stored.is_ok_and(|stored| stored.is_empty())
}

/// Opens a tier that exists. If a location that held its vault is now missing or empty, this is an error.
pub async fn open_tier(
    layout: &Layout,
    key: &OpenKey,
    name: &str,
    spec: &TierSpec,
) -> Result<Tier, TierError> {
    let (urls, dir, keyring) = (locations(spec), layout.system_dir(), Arc::clone(&key.keyring));
    let remembered = Remembered::of(&layout.state);
    let mode = TierMode::Existing;
    Tier::open_known(name, &urls, &dir, keyring, &key.wrapped, mode, &remembered).await
}

/// Returns the message of a tier's error, without the tier's name in front.
pub(crate) fn bare(name: &str, error: &TierError) -> String {
    let said = error.to_string();
    let bare = said.strip_prefix(&format!("tier {name}: ")).map(str::to_owned);
    bare.unwrap_or(said)
}

/// Returns the URLs of a tier.
pub fn locations(spec: &TierSpec) -> Vec<String> {
    spec.locations().into_iter().map(str::to_owned).collect()
}

/// Returns the names and URLs of the tiers of a system file that can be read; none of one that cannot.
pub fn urls(layout: &Layout) -> Vec<(String, String)> {
    yaml_file::readable(layout).map_or_else(Vec::new, |system| urls_of(&system))
}

/// Returns the names and URLs of a system's tiers.
pub fn urls_of(system: &System) -> Vec<(String, String)> {
    let tiers = system.tiers.iter();
    tiers
        .flat_map(|(name, tier)| locations(tier).into_iter().map(move |url| (name.clone(), url)))
        .collect()
}
