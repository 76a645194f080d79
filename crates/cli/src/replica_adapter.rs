//! Journal replicas, as commands and the owner use them: opened with the workspace's key, their notices printed, their
//! faults told with the command that goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_actions::{ReplicaFault, ReplicaReader, ReplicasReport};
use rekindle_engine::TakenOver;
use rekindle_journal::{Journal, OpenOptions, Upkeep};
use rekindle_model::id::RunId;
use rekindle_model::system::System;
use rekindle_plan::load_system;
use rekindle_replica::check::{self, CheckReport, Remedy, SegmentFault};
use rekindle_replica::fence::{self, FenceNote};
use rekindle_replica::repair::{RepairSources, Repaired};
use rekindle_replica::{Notice, REPLICATE_EVERY, Replication};
use rekindle_report::unfinished::Elsewhere;
use rekindle_vault::{CancellationToken, Remembered, SegmentError, Tier, TierAccess};

use crate::App;
use crate::commands::journal::blocking;
use crate::error::CliError;
use crate::ground::Ground;
use crate::keys::{self, OpenKey, UnlockBy};
use crate::workspace::Workspace;
use crate::yaml_file::read_text;

/// Returns what opens the tiers of a workspace.
pub(crate) fn access(workspace: &Workspace, key: &OpenKey) -> Arc<TierAccess> {
    Arc::new(TierAccess {
        base: workspace.system_dir(),
        keyring: Arc::clone(&key.keyring),
        wrapped_key: key.wrapped.clone(),
        remembered: Remembered::of(&workspace.state),
    })
}

/// Returns what the replicators of a workspace need.
pub(crate) fn replication(ground: &Ground, key: &OpenKey) -> Replication {
    let printer = ground.printer;
    Replication {
        journal: Arc::clone(&ground.journal),
        clock: Arc::clone(&ground.clock),
        state: ground.workspace.state.clone(),
        access: access(&ground.workspace, key),
        read_system,
        notify: Arc::new(move |notice| printer.warn(sentence(&notice))),
        every: REPLICATE_EVERY,
    }
}

fn read_system(yaml: &str) -> Result<System, String> {
    match load_system("system.yaml", yaml) {
        Ok(loaded) => Ok(loaded.value),
        Err(faults) => Err(faults.to_string()),
    }
}

/// Returns a notice with the command that goes on, where there is one.
fn sentence(notice: &Notice) -> String {
    match notice {
        Notice::Behind {
            run, url, asks: true, ..
        } => format!("{notice}; `rekindle adopt {url} {run}` asks, and then its segments are begun anew"),
        _ => notice.to_string(),
    }
}

/// Reads replicas for the action that verifies them.
pub(crate) struct Checker {
    pub(crate) journal: Arc<dyn Journal>,
    /// The workspace's own folder.
    pub(crate) state: PathBuf,
}

#[async_trait]
impl ReplicaReader for Checker {
    async fn read(
        &self,
        tier: &Tier,
        stop: &CancellationToken,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<ReplicasReport, SegmentError> {
        let report = check::check_tier(tier, &*self.journal, &self.state, stop, progress).await?;
        Ok(with_advice(report))
    }
}

/// Returns a report whose faults say what to do.
pub(crate) fn with_advice(report: CheckReport) -> ReplicasReport {
    ReplicasReport {
        chains: report.chains,
        segments: report.segments,
        records: report.records,
        faults: report.faults.into_iter().map(advised).collect(),
    }
}

fn advised(fault: SegmentFault) -> ReplicaFault {
    let SegmentFault {
        tier,
        location,
        run,
        segment,
        what,
        remedy,
    } = fault;
    let next = match remedy {
        Remedy::BeginAnew => {
            "this workspace has the run: when `rekindle verify` ends, its segments are begun anew there"
                .to_owned()
        }
        Remedy::Ask(last) => format!(
            "segment {last} may be another workspace's: `rekindle adopt {location} {run}` asks, and then they are begun \
             anew"
        ),
        Remedy::Elsewhere => "another workspace has the run, and begins its segments there anew".to_owned(),
        Remedy::Adopt => format!(
            "this workspace does not have the run whole: `rekindle adopt URL {run}` brings it here from a location that \
             does, and then its segments are begun anew"
        ),
    };
    ReplicaFault {
        tier,
        location,
        run,
        segment,
        what,
        next,
    }
}

/// Returns which other workspace goes on with a run, for those who list it.
pub(crate) fn elsewhere(state: &Path, run: RunId) -> Option<Elsewhere> {
    match fence::read(state, run) {
        Ok(note) => note.map(|FenceNote { taken, adopting }| Elsewhere {
            adopting,
            host: taken.host.to_string(),
            workspace: taken.workspace.to_string(),
            since: Some(taken.at),
            adopt: adopt(&taken),
        }),
        // It is refused all the same.
        Err(_) => Some(Elsewhere {
            adopting: false,
            host: "unknown".to_owned(),
            workspace: "unknown".to_owned(),
            since: None,
            adopt: format!("rekindle adopt URL {run}"),
        }),
    }
}

/// Returns the command that goes on with an unfinished run.
pub(crate) fn way_on(state: &Path, run: RunId) -> String {
    elsewhere(state, run).map_or_else(|| format!("rekindle resume {run}"), |held| held.adopt)
}

fn adopt(taken: &TakenOver) -> String {
    format!("rekindle adopt {} {}", taken.url, taken.run)
}

/// Looks in the tiers for replicas of quarantined runs. Nothing is asked of a person: a key that is opened by a
/// passphrase which is not at hand opens nothing.
pub(crate) async fn find_repairs(
    app: &App,
    workspace: &Workspace,
    quarantined: &[(RunId, String)],
) -> RepairSources {
    if quarantined.is_empty() || !keys::exists(workspace) {
        return RepairSources::default();
    }
    let at_hand = std::env::var_os(keys::PASSPHRASE_VAR).is_some();
    let by_passphrase = |pinned: keys::Pinned| pinned.unlock == UnlockBy::Passphrase;
    if !at_hand && keys::pinned(workspace).is_ok_and(by_passphrase) {
        app.printer.warn(format!(
            "the tiers may have what is lost; with {} set, `rekindle journal rebuild` looks there",
            keys::PASSPHRASE_VAR
        ));
        return RepairSources::default();
    }
    let (system, key) = match (system(workspace), keys::open(workspace)) {
        (Ok(system), Ok(key)) => (system, key),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "the tiers are not asked for what is lost");
            return RepairSources::default();
        }
    };
    let runs = quarantined.iter().map(|(run, _)| *run);
    let (sources, notices) = RepairSources::find(&access(workspace, &key), &system, runs).await;
    notices
        .iter()
        .for_each(|notice| app.printer.warn(sentence(notice)));
    sources
}

fn system(workspace: &Workspace) -> Result<System, CliError> {
    let path = &workspace.system_file;
    Ok(load_system(&path.display().to_string(), &read_text(path)?)?.value)
}

/// Repairs the journal of a workspace, which nobody has open, and tells what was repaired and what was not.
pub(crate) async fn repair(
    app: &App,
    workspace: &Workspace,
    sources: RepairSources,
) -> Result<Vec<Repaired>, CliError> {
    let state = workspace.state.clone();
    let (repaired, notices) = blocking(move || {
        let (mut upkeep, _) = Upkeep::open(&state, &OpenOptions::default())?;
        Ok::<_, CliError>(sources.repair(|run, bundle, source| upkeep.mend(run, bundle, source)))
    })
    .await??;
    notices
        .iter()
        .for_each(|notice| app.printer.warn(sentence(notice)));
    for Repaired {
        run,
        records,
        tier,
        url,
    } in &repaired
    {
        app.printer.warn(format!(
            "run {run} had lost records and is whole again, {records} of them, by its replica in tier {tier} ({url})"
        ));
    }
    Ok(repaired)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_fenced_run_is_refused_with_the_command_that_takes_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId(Uuid::from_u128(7));
        assert_eq!(way_on(dir.path(), run), format!("rekindle resume {run}"));
        let taken = TakenOver {
            run,
            host: "other".into(),
            workspace: Uuid::from_u128(9),
            at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            epoch: 2,
            tier: "near".into(),
            url: "file:///mnt/near".into(),
        };
        let refused = || CliError::from(fence::refuse(dir.path(), run).unwrap_err());
        fence::note(dir.path(), &taken).unwrap();
        let adopt = format!("rekindle adopt file:///mnt/near {run}");
        let error = refused();
        assert_eq!((error.exit(), error.code()), (Exit::Held, "taken_over"));
        assert!(error.hint().contains(&adopt), "{}", error.hint());
        assert_eq!(elsewhere(dir.path(), run).unwrap().host, "other");
        assert_eq!(way_on(dir.path(), run), adopt);
        fence::note_adopting(dir.path(), &taken).unwrap();
        let error = refused();
        assert_eq!((error.exit(), error.code()), (Exit::Held, "half_adopted"));
        assert!(error.hint().contains(&adopt), "{}", error.hint());
        std::fs::write(dir.path().join(format!("fenced/{run}.json")), "torn").unwrap();
        assert!(elsewhere(dir.path(), run).is_some());
        assert_eq!(refused().exit(), Exit::Held);
    }
}
