//! Checks tiers, and makes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rekindle_actions::ReplicasReport;
use rekindle_journal_local::LogView;
use rekindle_model::problem::ProblemKind;
use rekindle_replica::check::{self, CheckReport};
use rekindle_vault::{CancellationToken, Remembered, SegmentError, SegmentStore, Tier, TierMode};

use crate::Application;
use crate::error::Error;
use crate::replica::check::with_advice;
use crate::tiers::{Tiers, locations};
use crate::{keys, names, run_spec};

/// The result of a check of one location of a tier.
pub struct LocationCheck {
    /// The tier.
    pub tier: String,
    /// The location.
    pub url: String,
    /// The fault, if there is one.
    pub fault: Option<String>,
    /// How many bytes were written and read.
    pub bytes: u64,
    /// How long writing took.
    pub write: Duration,
    /// How long reading took.
    pub read: Duration,
    /// The report on the journal replicas there.
    pub replicas: ReplicasReport,
    /// Why the replicas could not be read, if they could not.
    pub unread: Option<String>,
}

/// Checks every location of the tiers that answer: writes, reads back, lists and removes, and reads every journal
/// replica. `each` gets the result of one location after the other.
///
/// # Errors
/// The journal cannot be read, or `each` fails.
pub async fn check(
    app: &Application,
    tiers: &Tiers,
    mut each: impl FnMut(LocationCheck) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut replicas = Replicas::begin(&tiers.layout.state).await?;
    for (name, tier) in tiers.reachable() {
        let stores = tier.segment_stores();
        for (probed, store) in tier.probe(&*app.clock).await.into_iter().zip(stores) {
            let (report, unread) = match replicas.read(&store, &app.stop).await {
                Ok(report) => (report, None),
                Err(error) => (CheckReport::default(), Some(error.to_string())),
            };
            each(LocationCheck {
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

/// Makes the missing parts of a tier; keeps a vault that is there.
///
/// # Errors
/// An unknown tier, or a location that cannot be written.
pub async fn create(app: &Application, tier: &str) -> Result<Tier, Error> {
    let layout = app.layout()?;
    let (system, _) = run_spec::system(&layout)?;
    let key = keys::open(&layout, &app.unlocker)?;
    let name = names::tiers(&system, &[tier.to_owned()])?.concat();
    let urls = locations(&system.tiers[&name]);
    let repository = key.keyring.repository();
    let keyring = Arc::clone(&key.keyring);
    let dir = layout.system_dir();
    let tier = Tier::open(&name, &urls, &dir, keyring, &key.wrapped, TierMode::Create).await?;
    Remembered::of(&layout.state)
        .note(tier.name(), &tier.urls(), repository)
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
