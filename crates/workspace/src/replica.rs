//! The replicas of runs' journals, as operations and the owner use them: opened with the workspace's key, their notices
//! and faults with what to do next.

pub mod check;

use std::path::Path;
use std::sync::Arc;

use rekindle_journal::archive::Import;
use rekindle_journal_local::{OpenOptions, Upkeep};
use rekindle_model::id::RunId;
use rekindle_model::next_action::Action;
use rekindle_model::problem::ProblemKind;
use rekindle_model::system::System;
use rekindle_replica::fence::{self, FenceNote};
use rekindle_replica::repair::{RepairSources, Repaired};
use rekindle_replica::{Notice, REPLICATE_EVERY, Replication};
use rekindle_report::unfinished::Elsewhere;
use rekindle_vault::{Remembered, TierAccess};

use crate::Application;
use crate::context::WorkspaceContext;
use crate::error::{Error, adopt, resume};
use crate::keys::{self, OpenKey, UnlockBy};
use crate::layout::Layout;
use crate::load_system;
use crate::notice;
use crate::run_spec;

/// Returns what opens the tiers of a layout.
pub fn access(layout: &Layout, key: &OpenKey) -> Arc<TierAccess> {
    Arc::new(TierAccess {
        base: layout.system_dir(),
        keyring: Arc::clone(&key.keyring),
        wrapped_key: key.wrapped.clone(),
        remembered: Remembered::of(&layout.state),
    })
}

/// Returns what the replicators of a workspace need.
pub fn replication(context: &WorkspaceContext, key: &OpenKey) -> Replication {
    let notices = context.notices.clone();
    Replication {
        journal: Arc::clone(&context.journal),
        clock: Arc::clone(&context.clock),
        state: context.layout.state.clone(),
        access: access(&context.layout, key),
        read_system,
        notify: Arc::new(move |notice| notices.give(warning(&notice))),
        every: REPLICATE_EVERY,
    }
}

fn read_system(yaml: &str) -> Result<System, String> {
    match load_system("system.yaml", yaml) {
        Ok(loaded) => Ok(loaded.value),
        Err(faults) => Err(faults.to_string()),
    }
}

/// Returns a warning of replicas, with what to do where a person must decide.
fn warning(notice: &Notice) -> notice::Notice {
    let warning = notice::Notice::warning(notice.to_string());
    match notice {
        Notice::Behind {
            run, url, asks: true, ..
        } => warning.with_next(
            adopt(Some(url.clone()), *run),
            "asks which workspace continues it, and then writes its segments again",
        ),
        _ => warning,
    }
}

/// Returns which other workspace continues a run; none where this one may.
pub fn elsewhere(state: &Path, run: RunId) -> Option<Elsewhere> {
    match fence::read(state, run) {
        Ok(note) => note.map(|FenceNote { taken, adopting }| Elsewhere {
            adopting,
            host: taken.host.to_string(),
            workspace: taken.workspace.to_string(),
            since: Some(taken.at),
            adopt: adopt(Some(taken.url.to_string()), run),
        }),
        // It is refused all the same.
        Err(_) => Some(Elsewhere {
            adopting: false,
            host: "unknown".to_owned(),
            workspace: "unknown".to_owned(),
            since: None,
            adopt: adopt(None, run),
        }),
    }
}

/// Returns the action that continues an unfinished run.
pub fn way_on(state: &Path, run: RunId) -> Action {
    match fence::read(state, run) {
        Ok(None) => resume(Some(run)),
        Ok(Some(note)) => adopt(Some(note.taken.url.to_string()), run),
        Err(_) => adopt(None, run),
    }
}

/// Looks in the tiers for replicas of quarantined runs. Nothing is asked of a person: a key that is opened by a
/// passphrase which is not at hand opens nothing.
pub async fn find_repairs(
    app: &Application,
    layout: &Layout,
    quarantined: &[(RunId, String)],
) -> RepairSources {
    if quarantined.is_empty() || !keys::exists(layout) {
        return RepairSources::default();
    }
    let by_passphrase = |pinned: keys::PinnedKey| pinned.unlock == UnlockBy::Passphrase;
    if !app.unlocker.passphrase_at_hand && keys::pinned(layout).is_ok_and(by_passphrase) {
        app.notices.give(
            notice::Notice::warning("the tiers may have what is lost, and the passphrase is not at hand")
                .with_next(
                    Action::RebuildJournal,
                    "looks there, once the passphrase can be had without a question",
                ),
        );
        return RepairSources::default();
    }
    let (system, key) = match (run_spec::system(layout), keys::open(layout, &app.unlocker)) {
        (Ok(system), Ok(key)) => (system, key),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "the tiers are not asked for what is lost");
            return RepairSources::default();
        }
    };
    let runs = quarantined.iter().map(|(run, _)| *run);
    let (sources, notices) = RepairSources::find(&access(layout, &key), &system, runs).await;
    notices
        .iter()
        .for_each(|notice| app.notices.give(warning(notice)));
    sources
}

/// Repairs the journal of a workspace that no process has open. Gives notice of what it has repaired and what it could
/// not.
pub async fn repair(
    app: &Application,
    layout: &Layout,
    sources: RepairSources,
) -> Result<Vec<Repaired>, Error> {
    let state = layout.state.clone();
    let repairing = tokio::task::spawn_blocking(move || {
        let (mut upkeep, _) = Upkeep::open(&state, &OpenOptions::default())?;
        Ok::<_, Error>(sources.repair(|run, bundle, source| upkeep.mend(run, bundle, source)))
    });
    let (repaired, notices) = repairing
        .await
        .map_err(|error| Error::new(ProblemKind::Failed, "internal", error.to_string()))??;
    notices
        .iter()
        .for_each(|notice| app.notices.give(warning(notice)));
    for Repaired {
        run,
        records,
        tier,
        url,
    } in &repaired
    {
        app.notices.warn(format!(
            "run {run} had lost records and is whole again, {records} of them, by its replica in tier {tier} ({url})"
        ));
    }
    Ok(repaired)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use rekindle_engine::TakenOver;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_fenced_run_is_refused_with_the_action_that_takes_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId(Uuid::from_u128(7));
        assert_eq!(way_on(dir.path(), run), resume(Some(run)));
        let taken = TakenOver {
            run,
            host: "other".into(),
            workspace: Uuid::from_u128(9),
            at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            epoch: 2,
            tier: "near".into(),
            url: "file:///mnt/near".into(),
        };
        let refused = || Error::from(fence::refuse(dir.path(), run).unwrap_err());
        fence::note(dir.path(), &taken).unwrap();
        let adopt = adopt(Some("file:///mnt/near".to_owned()), run);
        let error = refused();
        assert_eq!((error.kind(), error.code()), (ProblemKind::Held, "taken_over"));
        assert_eq!(error.next()[0].action, Some(adopt.clone()));
        assert_eq!(elsewhere(dir.path(), run).unwrap().host, "other");
        assert_eq!(way_on(dir.path(), run), adopt);
        fence::note_adopting(dir.path(), &taken).unwrap();
        let error = refused();
        assert_eq!((error.kind(), error.code()), (ProblemKind::Held, "half_adopted"));
        assert_eq!(error.next()[0].action, Some(adopt.clone()));
        std::fs::write(dir.path().join(format!("fenced/{run}.json")), "torn").unwrap();
        assert!(elsewhere(dir.path(), run).is_some());
        assert_eq!(refused().kind(), ProblemKind::Held);
    }
}
