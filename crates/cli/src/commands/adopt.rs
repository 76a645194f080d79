//! `rekindle adopt`

use rekindle_engine::Ask;
use rekindle_model::next_action::Action;
use rekindle_model::time;
use rekindle_workspace::operations::adopt::{self, AdoptRequest, Adoption, Found, Imported, Offer, TakeOver};
use rekindle_workspace::operations::requests;
use rekindle_workspace::{Error, OwnerLifetime, ReadWriteWorkspace};
use serde_json::json;

use crate::App;
use crate::drive;
use crate::exit::Exit;
use crate::prompt;

/// Take over an unfinished run of another host from its journal's replica in a tier, and continue it here
///
/// This imports the run's records into this workspace. Then it creates the run's next segment in the tier under this
/// workspace's name: that is the adoption. The other host finds that segment at its next step, stops, and exits with
/// 6. Until then, this command cannot undo what that host does to its own disk. On a new host, run `rekindle init
/// --from-kit KIT` first. Without RUN, this takes the only unfinished run; if there are several, it lists them. Before
/// it begins, it asks once. The question names the data that it would capture here, the programs that it would run
/// here, and any other host that may still have the run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The location of a tier of the run's system, as in its system.yaml: file:///mnt/near
    #[arg(value_name = "URL")]
    url: String,
    /// The run: a unique beginning or end of its id [default: the only unfinished one]
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// Only list the unfinished runs in the tier
    #[arg(long, conflicts_with = "run")]
    list: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Adopts.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let request = AdoptRequest {
        url: args.url.clone(),
        run: args.run.clone(),
        list: args.list,
    };
    let adoption = match adopt::find(&app.application, &request).await? {
        Found::Listed(offers) => return list(app, &args.url, &offers),
        Found::Prepared(adoption) => adoption,
    };
    confirm(app, args, &adoption)?;
    match adoption.import(&app.application).await? {
        Imported::Over { run, outcome } => {
            let body = json!({ "run": run, "outcome": outcome, "adopted": false });
            app.printer.data(&body, || {
                format!(
                    "run {run} is over ({}), and its history is here now\n  {}",
                    rekindle_report::steps::outcome(outcome),
                    app.printer.command(&Action::Show { run: Some(run) })
                )
            })?;
            Ok(Exit::Done)
        }
        Imported::Own { run, outcome, next } => {
            let next = app.printer.command(&next);
            let body = json!({ "run": run, "outcome": outcome, "adopted": false, "begun_anew_by": next });
            app.printer.data(&body, || {
                format!(
                    "run {run} is this workspace's, which has it whole; its segments in the tiers are written again when \
                     the next run ends\n  {next}"
                )
            })?;
            Ok(Exit::Done)
        }
        Imported::Unfinished(taken) => {
            // Another process may have taken the workspace meanwhile, and would drive the run as its own.
            let layout = app.application.layout()?;
            let workspace =
                ReadWriteWorkspace::open(&app.application, layout, OwnerLifetime::UntilIdle).await?;
            let exit = take_over(app, &workspace, &taken).await;
            workspace.close().await;
            exit
        }
    }
}

/// Takes the run over, and follows it to its end.
async fn take_over(app: &App, workspace: &ReadWriteWorkspace, taken: &TakeOver) -> Result<Exit, Error> {
    taken.take_over(workspace).await?;
    let TakeOver {
        run,
        state,
        tier,
        from,
        ..
    } = taken;
    let done = state.steps.values().filter(|step| step.state.is_final()).count();
    app.printer.say(format!(
        "adopted run {run}: {}, {done} steps done before, last heard of from host {} at {}",
        state.workflow,
        from.host,
        time::show(from.at)
    ));
    app.printer.note(
        "adopt",
        &json!({ "run": run, "workflow": state.workflow, "done": done, "from_host": from.host,
            "from_workspace": from.workspace, "from_at": from.at, "tier": tier }),
    );
    // A run that ends early goes on to its end although it is paused.
    if state.paused.is_some() && state.cancel.is_none() && state.expired.is_none() {
        requests::ask(&app.application, workspace, *run, Ask::Unpause, None).await?;
    }
    drive::attend(app, workspace, *run, state.seq).await
}

fn list(app: &App, url: &str, offers: &[Offer]) -> Result<Exit, Error> {
    let body: Vec<_> = offers
        .iter()
        .filter_map(|offer| Some((offer.run, offer.unfinished()?)))
        .map(|(run, head)| {
            json!({ "run": run, "workflow": head.workflow, "records": head.last, "epoch": head.epoch,
                "host": head.host, "workspace": head.workspace, "at": head.at })
        })
        .collect();
    app.printer
        .data(&json!({ "unfinished": body }), || match offers.is_empty() {
            true => format!("{url} has no unfinished run"),
            false => offers.iter().map(Offer::line).collect::<Vec<_>>().join("\n  "),
        })?;
    Ok(Exit::Done)
}

/// Asks one question for everything. Without a terminal, `--yes` is the answer.
fn confirm(app: &App, args: &Args, adoption: &Adoption) -> Result<(), Error> {
    let questions = &adoption.questions;
    if questions.is_empty() || args.yes {
        questions
            .iter()
            .for_each(|what| app.printer.warn(what.trim_end()));
        return Ok(());
    }
    let all = questions.join("; ").replace("\n; ", "\n");
    let (all, end) = match all.strip_suffix('\n') {
        Some(all) => (all, "\n"),
        None => (&*all, ". "),
    };
    match prompt::confirm(&format!("{all}{end}Adopt it?"))? {
        Some(true) => Ok(()),
        Some(false) => Err(prompt::declined()),
        None => Err(Error::usage(format!("adopting needs a yes: {all}"))
            .with_advice("there is no terminal: add --yes; nothing was done")),
    }
}
