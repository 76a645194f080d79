//! `rekindle status`, or no command: the four answers, each with the run that proves it.

use rekindle_workspace::keys::kit;
use rekindle_workspace::tiers;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rekindle_journal::{RunFilter, RunSummary};
use rekindle_model::event::Outcome;
use rekindle_model::next_action::{Action, NextAction};
use rekindle_model::system::System;
use rekindle_plan::Plan;
use rekindle_report::Evidence;
use rekindle_report::backup::{BackupTable, backup_table};
use rekindle_report::copies::{Sighting, place, sightings};
use rekindle_report::recovery::{RecoveryTable, recovery_table};
use rekindle_report::status::{Findings, Proven, status};
use rekindle_report::text;
use rekindle_report::unfinished::Unfinished;
use rekindle_vault::Tier;

use crate::App;
use crate::exit::Exit;
use rekindle_workspace::Error;
use rekindle_workspace::guards::partial_recovery;
use rekindle_workspace::keys;
use rekindle_workspace::lookup;
use rekindle_workspace::open::ReadOnlyWorkspace;
use rekindle_workspace::replica;
use rekindle_workspace::run_spec::{self, LoadedSpec};

/// Tell where you stand, as `rekindle` without a command does: can we come back, how long will it take, how much will we
/// lose, where is the proof; what is at work, what waits for whom, what to do next
#[derive(Debug, clap::Args)]
pub struct Args {}

/// How many runs are looked at whatever they did, the newest first: what proves something is near.
const LOOKED_AT: usize = 200;
/// How long a tier may take to say that it is there. An answer must not wait for a location that hangs.
const TIER_PATIENCE: Duration = Duration::from_secs(1);

/// Answers.
pub(crate) async fn run(app: &App) -> Result<Exit, Error> {
    let look = ReadOnlyWorkspace::open_and_notice(&app.application).await?;
    let answered = answer(app, &look).await;
    look.close().await;
    answered
}

async fn answer(app: &App, look: &ReadOnlyWorkspace) -> Result<Exit, Error> {
    let (system, _) = run_spec::system(&look.context.layout)?;
    let seen = Seen::read(app, look).await?;
    let half = partial_recovery::half_recovered(&look.context, &system, &[]).await?;
    let findings = Findings {
        system: &system,
        backups: &seen.backups,
        recoveries: &seen.recoveries,
        sightings: &seen.sightings,
        tiers: tiers(&system, &look.context.layout.system_dir()).await,
        unfinished: seen.unfinished.clone(),
        half_recovered: half.first().map(|half| half.run),
        now: app.application.clock.now().utc,
    };
    let mut status = status(&findings);
    let workspace = &look.context.layout;
    let fault = keys::pinned(workspace).map(|pinned| kit::kit_fault(&pinned, &tiers::urls(workspace)));
    if let Ok(Some(_)) = fault {
        status.next.push(NextAction::new(
            Action::ExportKit,
            "without the kit, the loss of this machine is the loss of the backups",
        ));
    }
    app.printer.data(&status, || {
        text::status(&status, &|action| app.printer.command(action))
    })?;
    Ok(Exit::Done)
}

/// What the runs prove, the newest first.
#[derive(Default)]
struct Seen {
    backups: Vec<Proven<BackupTable>>,
    recoveries: Vec<Proven<RecoveryTable>>,
    sightings: Vec<Sighting>,
    unfinished: Vec<Unfinished>,
}

impl Seen {
    async fn read(app: &App, look: &ReadOnlyWorkspace) -> Result<Self, Error> {
        let mut seen = Self::default();
        let runs = look.context.journal.runs(&RunFilter::default()).await?;
        let driven = look.driven().await;
        let open: Vec<&RunSummary> = lookup::open(&runs).collect();
        for (n, run) in runs.iter().enumerate() {
            let is_open = open.iter().any(|one| one.run == run.run);
            if n >= LOOKED_AT && !is_open && !seen.lacks(&run.workflow) {
                continue;
            }
            let evidence = match look.context.evidence(run.run).await {
                Ok(evidence) => evidence,
                // One run that is damaged must not keep the others from answering.
                Err(error) if Exit::of_error(&error) == Exit::DataLost => {
                    app.printer.warn(format!("run {} is left out: {error}", run.run));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let read = LoadedSpec::read(&*look.context.journal, &evidence.state, &evidence.inputs).await;
            let read = read.and_then(|pinned| Ok((pinned.plan()?, pinned.system)));
            if is_open {
                let plan = read.as_ref().ok().map(|(plan, _)| plan);
                let driven = driven.as_ref().map(|driven| driven.contains(&run.run));
                let mut unfinished = Unfinished::of(&evidence, plan, driven);
                unfinished.elsewhere = replica::elsewhere(&look.context.layout.state, run.run);
                seen.unfinished.push(unfinished);
            }
            match read {
                Ok((plan, system)) => seen.take(&evidence, &plan, &system),
                // A workflow that this version does not understand any more proves nothing about copies.
                Err(error) => app.printer.warn(format!("run {} is left out: {error}", run.run)),
            }
        }
        Ok(seen)
    }

    /// Returns whether a run of this workflow may prove what no newer run has proven: behind many others there may be
    /// the backup that everything rests on, and what was seen of its copies since.
    fn lacks(&self, workflow: &str) -> bool {
        let ready = |backup: &Proven<BackupTable>| backup.table.recovery_ready == Some(true);
        match workflow {
            "backup" | "verify" => !self.backups.iter().any(ready),
            "recover" => self.recoveries.is_empty() || !self.backups.iter().any(ready),
            _ => false,
        }
    }

    fn take(&mut self, evidence: &Evidence, plan: &Plan, system: &System) {
        let state = &evidence.state;
        self.sightings.extend(sightings(evidence, plan));
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
