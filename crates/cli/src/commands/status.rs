//! `rekindle` without a command: the four answers, each with the run that proves it.

use rekindle_journal::RunFilter;
use rekindle_model::event::Outcome;
use rekindle_report::backup::{BackupTable, backup_table};
use rekindle_report::recovery::{RecoveryTable, recovery_table};
use rekindle_report::status::{Findings, Proven, status};
use rekindle_report::text;

use crate::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::keys;
use crate::pinned::{self, Pinned};
use crate::session::Session;

/// How many runs of each workflow are looked at: the newest that proves something is near.
const LOOKED_AT: usize = 20;

/// Answers.
pub(crate) async fn run(app: &App) -> Result<Exit, CliError> {
    let session = Session::open_here(app).await?;
    let answered = answer(app, &session).await;
    session.close().await;
    answered
}

async fn answer(app: &App, session: &Session) -> Result<Exit, CliError> {
    let (system, _) = pinned::system(app, &session.workspace)?;
    let mut backups: Vec<Proven<BackupTable>> = Vec::new();
    let mut recoveries: Vec<Proven<RecoveryTable>> = Vec::new();
    for workflow in ["backup", "recover"] {
        let filter = RunFilter {
            workflow: Some(workflow.to_owned()),
            finished: Some(true),
            limit: Some(LOOKED_AT),
            ..RunFilter::default()
        };
        for run in session.journal.runs(&filter).await? {
            if run.outcome == Some(Outcome::Cancelled) {
                continue;
            }
            let evidence = session.evidence(run.run).await?;
            let pinned = Pinned::read(&*session.journal, &evidence.state, &evidence.inputs).await?;
            let plan = pinned.plan()?;
            let at = run.updated.utc;
            match workflow {
                "backup" => backups.push(Proven {
                    run: run.run,
                    at,
                    table: backup_table(&evidence, &plan),
                }),
                _ => {
                    let table = recovery_table(&evidence, &plan, &pinned.system);
                    recoveries.push(Proven {
                        run: run.run,
                        at,
                        table,
                    });
                }
            }
        }
    }
    let interrupted = session.interrupted().await?.iter().map(|run| run.run).collect();
    let findings = Findings {
        system: &system,
        backups: &backups,
        recoveries: &recoveries,
        interrupted,
        now: app.clock.now().utc,
    };
    let mut status = status(&findings);
    if keys::pinned(&session.workspace).is_ok_and(|pinned| pinned.kit_exported.is_none()) {
        status.next.push(
            "rekindle key export --kit FILE   (without it a lost machine loses the backups)".to_owned(),
        );
    }
    app.printer.data(&status, || text::status(&status))?;
    Ok(Exit::Done)
}
