//! `rekindle` without a command: the four answers, each with the run that proves it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use rekindle_journal::RunFilter;
use rekindle_model::event::Outcome;
use rekindle_model::id::RunId;
use rekindle_model::step::StepState;
use rekindle_model::system::System;
use rekindle_plan::Plan;
use rekindle_report::Evidence;
use rekindle_report::backup::{BackupTable, backup_table};
use rekindle_report::copies::{Place, Sighting, place, sightings};
use rekindle_report::recovery::{RecoveryTable, recovery_table, set_aside};
use rekindle_report::status::{Findings, Proven, status};
use rekindle_report::text;
use rekindle_vault::Tier;

use crate::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::keys;
use crate::pinned::{self, Pinned};
use crate::session::Look;

/// How many runs are looked at, the newest first: what proves something is near.
const LOOKED_AT: usize = 200;
/// How long a tier may take to say that it is there. An answer must not wait for a location that hangs.
const TIER_PATIENCE: Duration = Duration::from_secs(1);

/// Answers.
pub(crate) async fn run(app: &App) -> Result<Exit, CliError> {
    let look = Look::here(app).await?;
    let answered = answer(app, &look).await;
    look.close().await;
    answered
}

async fn answer(app: &App, look: &Look) -> Result<Exit, CliError> {
    let (system, _) = pinned::system(app, &look.ground.workspace)?;
    let seen = Seen::read(app, look).await?;
    let findings = Findings {
        system: &system,
        backups: &seen.backups,
        recoveries: &seen.recoveries,
        sightings: &seen.sightings,
        tiers: tiers(&system, &look.ground.workspace.system_dir()).await,
        interrupted: seen.interrupted.clone(),
        half_recovered: seen.half_recovered(),
        now: app.clock.now().utc,
    };
    let mut status = status(&findings);
    if keys::pinned(&look.ground.workspace).is_ok_and(|pinned| pinned.kit_exported.is_none()) {
        status.next.push(
            "rekindle key export --kit FILE   (without it a lost machine loses the backups)".to_owned(),
        );
    }
    app.printer.data(&status, || text::status(&status))?;
    Ok(Exit::Done)
}

/// What the runs prove, the newest first.
#[derive(Default)]
struct Seen {
    backups: Vec<Proven<BackupTable>>,
    recoveries: Vec<Proven<RecoveryTable>>,
    sightings: Vec<Sighting>,
    interrupted: Vec<RunId>,
    in_place: Vec<InPlace>,
}

/// A recovery in place that has begun to move or to restore.
struct InPlace {
    run: RunId,
    place: Place,
    components: BTreeSet<String>,
    outcome: Option<Outcome>,
}

impl Seen {
    async fn read(app: &App, look: &Look) -> Result<Self, CliError> {
        let mut seen = Self::default();
        let mut runs = look.ground.journal.runs(&RunFilter::default()).await?;
        let unseen = runs.split_off(runs.len().min(LOOKED_AT));
        seen.interrupted = runs
            .iter()
            .chain(&unseen)
            // What another process may be working on right now is not there to be resumed.
            .filter(|run| run.outcome.is_none() && run.quarantined.is_none() && !look.held)
            .map(|run| run.run)
            .collect();
        for run in &runs {
            let evidence = match look.ground.evidence(run.run).await {
                Ok(evidence) => evidence,
                // One run that is damaged must not keep the others from answering.
                Err(error) if error.exit() == Exit::DataLost => {
                    app.printer.warn(format!("run {} is left out: {error}", run.run));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let read = Pinned::read(&*look.ground.journal, &evidence.state, &evidence.inputs).await;
            match read.and_then(|pinned| Ok((pinned.plan()?, pinned.system))) {
                Ok((plan, system)) => seen.take(&evidence, &plan, &system),
                // A workflow that this version does not understand any more proves nothing about copies.
                Err(error) => app.printer.warn(format!("run {} is left out: {error}", run.run)),
            }
        }
        Ok(seen)
    }

    fn take(&mut self, evidence: &Evidence, plan: &Plan, system: &System) {
        let state = &evidence.state;
        self.sightings.extend(sightings(evidence, plan));
        if state.workflow == "recover" {
            self.in_place.extend(in_place(evidence, plan));
        }
        if !matches!(state.outcome, Some(outcome) if outcome != Outcome::Cancelled) {
            return;
        }
        match state.workflow.as_str() {
            "backup" => self.backups.push(proven(evidence, backup_table(evidence, plan))),
            "recover" => {
                let table = recovery_table(evidence, plan, system);
                self.recoveries.push(proven(evidence, table));
            }
            _ => {}
        }
    }

    /// Returns the newest recovery in place that is not over, or did not succeed, and that no later one has made
    /// good. One that is over is history once a backup of what there is has come through.
    fn half_recovered(&self) -> Option<RunId> {
        let newest_ready = self
            .backups
            .iter()
            .find(|backup| backup.table.recovery_ready == Some(true))
            .map(|backup| backup.place);
        let mut came = BTreeSet::new();
        for one in &self.in_place {
            match one.outcome {
                Some(Outcome::Succeeded) => came.extend(one.components.iter()),
                _ if one.components.iter().all(|name| came.contains(name)) => {}
                Some(_) if newest_ready > Some(one.place) => {}
                _ => return Some(one.run),
            }
        }
        None
    }
}

fn proven<T>(evidence: &Evidence, table: T) -> Proven<T> {
    Proven {
        run: evidence.state.id,
        at: evidence.state.updated.utc,
        place: place(evidence),
        interruptions: evidence.state.adoptions.len(),
        table,
    }
}

fn in_place(evidence: &Evidence, plan: &Plan) -> Option<InPlace> {
    let begun = |step: &&rekindle_plan::PlanStep| {
        let record = evidence.state.step(&step.id);
        record.attempts > 0 || !matches!(record.state, StepState::Pending | StepState::Skipped { .. })
    };
    let restores = || plan.steps.iter().filter(|step| step.uses == "restore");
    let moved = !set_aside(evidence, plan).is_empty();
    (evidence.param("in_place") == true && (moved || restores().any(|step| begun(&step)))).then(|| InPlace {
        run: evidence.state.id,
        place: place(evidence),
        components: restores()
            .filter_map(|step| step.each.get("component").cloned())
            .collect(),
        outcome: evidence.state.outcome,
    })
}

/// Asks every tier of the system whether it is there, all at once; it needs no key for that.
async fn tiers(system: &System, base: &Path) -> BTreeMap<String, Option<String>> {
    let mut asked = tokio::task::JoinSet::new();
    for (name, tier) in &system.tiers {
        let urls: Vec<String> = tier.locations().into_iter().map(str::to_owned).collect();
        let (name, base) = (name.clone(), base.to_owned());
        asked.spawn(async move {
            let mut why = None;
            for url in urls {
                match tokio::time::timeout(TIER_PATIENCE, Tier::read_wrapped_key(&url, &base)).await {
                    Ok(Ok(_)) => return (name, None),
                    Ok(Err(error)) => why = Some(error.to_string()),
                    Err(_) => why = Some(format!("{url} took longer than {TIER_PATIENCE:?}")),
                }
            }
            (name, Some(why.unwrap_or_else(|| "it has no location".to_owned())))
        });
    }
    let mut found = BTreeMap::new();
    while let Some(answer) = asked.join_next().await {
        found.extend(answer);
    }
    found
}
