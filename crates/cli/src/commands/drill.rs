//! `rekindle drill`

use rekindle_engine::Ask;
use rekindle_workspace::operations::drill::{self, DrillRequest};
use rekindle_workspace::operations::recover::From;
use rekindle_workspace::operations::requests::ask;
use rekindle_workspace::{Error, ReadWriteWorkspace};

use super::recover::{advised, from_arg};
use crate::App;
use crate::drive;
use crate::exit::Exit;

/// Rehearse a disaster in a sandbox, recover from the stored copies there, and prove the result
///
/// The scenario of system.yaml says what is damaged, and how. A drill restores what survives the disaster into a sandbox in
/// the workspace, damages it, and checks that the validations notice that. Then it recovers as `recover` would, runs the
/// validations and the checks across components, and removes the sandbox, also after a failure. The living system and the
/// stored copies are only read. Exits with 1 if the drill fails, or misses the RTO or the RPO of its scenario.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The scenarios of system.yaml
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// Every scenario of system.yaml, one after the other
    #[arg(long, conflicts_with = "scenarios")]
    all: bool,
    /// Use this recovery set, the newest before a time, or the newest
    #[arg(long, value_name = "SET|TIME|latest")]
    from: Option<String>,
    /// The tier to read from if possible [default: the fastest that holds the set]
    #[arg(long, value_name = "NAME")]
    tier: Option<String>,
    /// Take the newest recovery set that can be read, although a newer one is known and lost
    #[arg(long)]
    accept_older: bool,
    /// Begin no drill: end those that were interrupted, and remove their sandboxes
    #[arg(long, conflicts_with_all = ["scenarios", "all", "from", "tier", "accept_older"])]
    clean: bool,
}

/// Rehearses disasters.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let app = &App {
        printer: app.printer.several(),
        application: app.application.clone(),
    };
    if args.clean {
        return clean(app).await;
    }
    let from = args.from.as_deref();
    let from = from.map_or(Ok(From::Latest), |text| from_arg(app, text))?;
    ReadWriteWorkspace::with(&app.application, async |workspace| {
        let mut runs = Vec::new();
        // Nothing begins before all can.
        for scenario in drill::scenarios(workspace, &args.scenarios, args.all)? {
            let request = DrillRequest {
                scenario: scenario.clone(),
                from: from.clone(),
                tier: args.tier.clone(),
                accept_older: args.accept_older,
            };
            let run = drill::prepare(workspace, &request).await.map_err(advised)?;
            runs.push((scenario, run));
        }
        let mut worst = Exit::Done;
        for (scenario, run) in runs {
            app.printer.say(format!("drill of {scenario}"));
            let exit = drive::begin(app, workspace, run, format!("rekindle drill {scenario}"), false).await?;
            if exit == Exit::Interrupted {
                return Ok(exit);
            }
            worst = worse(worst, exit);
        }
        Ok(worst)
    })
    .await
}

/// Returns the exit code that says more: lost data, then a failure.
fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit| {
        [Exit::Done, Exit::Partial, Exit::Failed, Exit::DataLost]
            .iter()
            .position(|it| *it == exit)
    };
    match rank(other) > rank(one) || rank(other).is_none() {
        true => other,
        false => one,
    }
}

/// Ends the drills that were interrupted.
async fn clean(app: &App) -> Result<Exit, Error> {
    ReadWriteWorkspace::with(&app.application, async |workspace| {
        let drills = drill::interrupted(workspace).await?;
        if drills.is_empty() {
            app.printer.say("no drill is interrupted".to_owned());
        }
        for run in drills {
            // A second request would also end the clean-up.
            if workspace.context.evidence(run).await?.state.cancel.is_none() {
                ask(&app.application, workspace, run, Ask::Cancel, None).await?;
            }
            if drive::go_on(app, workspace, run).await? == Exit::Interrupted {
                return Ok(Exit::Interrupted);
            }
        }
        match drill::sweep(workspace).await {
            None => Ok(Exit::Done),
            Some(folder) => {
                app.printer.warn(format!("{} is still there", folder.display()));
                Ok(Exit::Failed)
            }
        }
    })
    .await
}
