//! Checks tiers, and makes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rekindle_actions::ReplicasReport;
use rekindle_journal_local::LogView;
use rekindle_model::problem::ProblemKind;
use rekindle_model::system::System;
use rekindle_replica::check::{self, CheckReport};
use rekindle_vault::{
    CancellationToken, CatalogCheck, Mended, Remembered, RepairReport, SegmentError, SegmentStore, Spool,
    Tier, TierMode, catalogs,
};

use crate::Application;
use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::keys::OpenKey;
use crate::open::ReadWriteWorkspace;
use crate::replica::check::with_advice;
use crate::tiers::{Lacking, Tiers, locations, open_tier};
use crate::{keys, names, run_spec};

/// The result of a check of one location of a tier.
#[derive(Default)]
pub struct LocationCheck {
    /// The tier.
    pub tier: String,
    /// The location; empty if the whole tier does not open.
    pub url: String,
    /// The fault, if there is one.
    pub fault: Option<String>,
    /// How many bytes were written and read.
    pub bytes: u64,
    /// How long writing took.
    pub write: Duration,
    /// How long reading took.
    pub read: Duration,
    /// What the location should hold and does not.
    pub lost: Vec<String>,
    /// The report on the journal replicas there.
    pub replicas: ReplicasReport,
    /// Why the replicas could not be read, if they could not.
    pub unread: Option<String>,
}

/// Checks every location of the tiers that answer: writes, reads back, lists and removes, opens every document that it
/// should hold, and reads every journal replica. `each` gets the result of one location after the other.
///
/// # Errors
/// The journal cannot be read, or `each` fails.
pub async fn check(
    app: &Application,
    tiers: &Tiers,
    mut each: impl FnMut(LocationCheck) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut replicas = Replicas::begin(&tiers.layout.state).await?;
    let lacking = tiers.lacking(CatalogCheck::Documents).await;
    for damaged in tiers.damaged() {
        each(LocationCheck {
            tier: damaged.tier.clone(),
            lost: vec![damaged.text.clone()],
            ..LocationCheck::default()
        })?;
    }
    for (name, tier) in tiers.reachable() {
        let stores = tier.segment_stores();
        for (probed, store) in tier.probe(&*app.clock).await.into_iter().zip(stores) {
            let (report, unread) = match replicas.read(&store, &app.stop).await {
                Ok(report) => (report, None),
                Err(error) => (CheckReport::default(), Some(error.to_string())),
            };
            let is_here = |lost: &&Lacking| {
                lost.tier == name
                    && lost
                        .location
                        .as_ref()
                        .is_none_or(|location| *location == probed.url)
            };
            each(LocationCheck {
                lost: lacking
                    .iter()
                    .filter(is_here)
                    .map(|lost| lost.text.clone())
                    .collect(),
                tier: name.to_owned(),
                url: probed.url,
                fault: probed.fault,
                bytes: probed.bytes,
                write: probed.write,
                read: probed.read,
                replicas: with_advice(report),
                unread,
            })?;
        }
    }
    Ok(())
}

/// The repair of one tier.
pub struct TierRepair {
    /// The tier.
    pub tier: String,
    /// The locations whose marker was written anew.
    pub mended: Vec<Mended>,
    /// What was done, and what is still wrong.
    pub report: RepairReport,
}

/// Repairs the tiers of those names, or all: from themselves and from each other. With `accept_lost`, what no tier has
/// any more is given up, and no longer named.
///
/// # Errors
/// A tier does not answer, or cannot be written.
pub async fn repair(
    workspace: &ReadWriteWorkspace,
    named: &[String],
    accept_lost: bool,
    stop: &CancellationToken,
) -> Result<Vec<TierRepair>, Error> {
    let context = &workspace.context;
    let system = run_spec::system(&context.layout)?;
    let key = context.key()?;
    let spool = Spool::open(&context.layout.state.join("spool"), Arc::clone(&key.keyring)).await?;
    let (dir, remembered) = (context.layout.system_dir(), Remembered::of(&context.layout.state));
    let chosen = Tiers::named(&system, named)?;
    let mut mended: BTreeMap<String, Vec<Mended>> = BTreeMap::new();
    for name in &chosen {
        let urls = locations(&system.tiers[name]);
        let done = rekindle_vault::mend(name, &urls, &dir, &key.keyring, &key.wrapped, &remembered).await?;
        mended.insert(name.clone(), done);
    }
    let mut open = open_all(context, &system, &key).await;
    let found = catalogs(&open).await;
    let now = context.clock.now();
    let mut separated = false;
    for tier in open
        .iter()
        .filter(|tier| chosen.iter().any(|name| name == tier.name()))
    {
        let mut done = rekindle_vault::separate(tier, &found, &key.wrapped, &now).await?;
        separated |= !done.is_empty();
        mended
            .entry(tier.name().to_owned())
            .or_default()
            .append(&mut done);
    }
    if separated {
        open = open_all(context, &system, &key).await;
    }
    let mut repaired = Vec::new();
    for name in chosen {
        let Some(tier) = open.iter().find(|tier| tier.name() == name) else {
            return Err(Error::new(
                ProblemKind::Failed,
                "tier_unavailable",
                format!("tier {name} does not answer"),
            ));
        };
        let others: Vec<Arc<Tier>> = open
            .iter()
            .filter(|other| other.name() != name)
            .cloned()
            .collect();
        let report = rekindle_vault::repair(tier, &others, &spool, accept_lost, &now, stop).await?;
        let mended = mended.remove(&name).unwrap_or_default();
        repaired.push(TierRepair {
            tier: name,
            mended,
            report,
        });
    }
    Ok(repaired)
}

/// Opens the tiers that answer, and warns of the others.
async fn open_all(context: &WorkspaceContext, system: &System, key: &OpenKey) -> Vec<Arc<Tier>> {
    let mut open = Vec::new();
    for (name, spec) in &system.tiers {
        match open_tier(&context.layout, key, name, spec).await {
            Ok(tier) => open.push(Arc::new(tier)),
            Err(error) => context.notices.warn(error.to_string()),
        }
    }
    open
}

/// Makes the missing parts of a tier; keeps a vault that is there.
///
/// # Errors
/// An unknown tier, or a location that cannot be written.
pub async fn create(app: &Application, tier: &str) -> Result<Tier, Error> {
    let layout = app.layout()?;
    let system = run_spec::system(&layout)?;
    let key = keys::open(&layout, &app.unlocker)?;
    let name = names::tiers(&system, &[tier.to_owned()])?.concat();
    let urls = locations(&system.tiers[&name]);
    let repository = key.keyring.repository();
    let keyring = Arc::clone(&key.keyring);
    let dir = layout.system_dir();
    let tier = Tier::open(&name, &urls, &dir, keyring, &key.wrapped, TierMode::Create).await?;
    Remembered::of(&layout.state)
        .note_anew(tier.name(), &tier.ids(), repository)
        .await?;
    Ok(tier)
}

/// The journal replicas of locations, compared with the journal's log in its present state.
struct Replicas {
    state: PathBuf,
    view: LogView,
}

impl Replicas {
    async fn begin(state: &Path) -> Result<Self, Error> {
        Ok(Self {
            state: state.to_owned(),
            view: LogView::open(state).await?.0,
        })
    }

    async fn read(&mut self, place: &SegmentStore, stop: &CancellationToken) -> Result<CheckReport, Error> {
        let mut report = CheckReport::default();
        let failed =
            |error: SegmentError| Error::new(ProblemKind::Failed, "tier_unavailable", error.to_string());
        for run in place.runs().await.map_err(failed)? {
            if stop.is_cancelled() {
                return Err(Error::new(
                    ProblemKind::Interrupted,
                    "interrupted",
                    "a stop was asked for",
                ));
            }
            let mut checked = check::check(place, run, &self.view, &self.state)
                .await
                .map_err(failed)?;
            if !checked.faults.is_empty() {
                // An owner may have continued the run since the log was read.
                self.view = LogView::open(&self.state).await?.0;
                checked = check::check(place, run, &self.view, &self.state)
                    .await
                    .map_err(failed)?;
            }
            report.add(checked);
        }
        Ok(report)
    }
}
