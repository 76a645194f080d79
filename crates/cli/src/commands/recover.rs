//! `rekindle recover`

use std::path::PathBuf;

use rekindle_plan::graph;
use rekindle_workspace::operations::recover::{self, From, Prepared, Question, RecoverRequest, Target};
use rekindle_workspace::{Error, ReadWriteWorkspace};
use serde_json::json;

use crate::App;
use crate::drive;
use crate::exit::Exit;
use crate::prompt;
use crate::time_args;

/// Bring components back in priority order, and prove that they meet their targets
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recover the components that this scenario affects, and judge them by its objectives
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Only this component, by name or alias
    #[arg(long = "component", value_name = "NAME")]
    components: Vec<String>,
    /// Recover into this folder instead of the system's own; it must be empty or absent
    #[arg(long, value_name = "DIR", conflicts_with = "in_place")]
    to: Option<PathBuf>,
    /// Recover into the system's own folder; existing data moves to <root>.before-<run>/, or if that is on another
    /// file system, to a folder inside
    #[arg(long)]
    in_place: bool,
    /// Recover in place even if a process has files open there; what it writes from then on is in the folder with the
    /// moved data
    #[arg(long, requires = "in_place")]
    while_running: bool,
    /// From this recovery set, from the newest before a time, or from the newest
    #[arg(long, value_name = "SET|TIME|latest", default_value = "latest")]
    from: String,
    /// From this tier [default: the fastest that has it]
    #[arg(long, value_name = "NAME")]
    tier: Option<String>,
    /// Take the newest recovery set that can be read, although a newer one is known and lost
    #[arg(long)]
    accept_older: bool,
    /// When the disaster struck: an instant with its offset, or "2h ago" [default: now, and labelled assumed]
    #[arg(long, value_name = "TIME")]
    disaster_at: Option<String>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Count a missed objective as a partial failure (exit 3)
    #[arg(long)]
    strict: bool,
    /// Leave owners and set-id bits out: everything belongs to the user who recovers. Without this, owners that cannot
    /// be set are named, and count as a partial failure (exit 3)
    #[arg(long)]
    no_owner: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Submit the run to the workspace's owner (`rekindle serve`), and return at once with its id
    #[arg(long, conflicts_with = "dry_run")]
    detach: bool,
}

/// Recovers.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let request = request(app, args)?;
    let application = &app.application;
    ReadWriteWorkspace::with(application, async |workspace| {
        let prepared = recover::prepare(workspace, &request).await?;
        if args.dry_run {
            return dry_run(app, &prepared);
        }
        let Prepared { run, question, .. } = prepared;
        let ready = recover::check_set(workspace, &request, run.spec)
            .await
            .map_err(|error| match error.code() {
                "unknown_set" => error.with_advice("choose a set with --from SET"),
                "newer_set_lost" => error.with_advice("add --accept-older, or choose a set with --from SET"),
                _ => error,
            })?;
        if let Some(question) = question.filter(|_| !args.yes) {
            confirm(&question)?;
        }
        let run = rekindle_workspace::operations::run::RunRequest {
            spec: ready.spec,
            ..run
        };
        drive::begin(app, workspace, run, "rekindle recover", args.detach).await
    })
    .await
}

fn request(app: &App, args: &Args) -> Result<RecoverRequest, Error> {
    let now = app.application.clock.now().utc;
    let disaster_at = args
        .disaster_at
        .as_deref()
        .map(|text| time_args::parse(text, now))
        .transpose()?;
    Ok(RecoverRequest {
        scenario: args.scenario.clone(),
        components: args.components.clone(),
        target: match &args.to {
            Some(folder) => Target::Folder(folder.clone()),
            None if args.in_place => Target::InPlace {
                while_running: args.while_running,
            },
            None => Target::Own,
        },
        from: match (args.from.as_str(), time_args::parse(&args.from, now)) {
            ("latest", _) => From::Latest,
            (_, Ok(instant)) => From::Before(instant),
            (id, Err(_)) => From::Set(id.to_owned()),
        },
        tier: args.tier.clone(),
        accept_older: args.accept_older,
        disaster_at,
        strict: args.strict,
        no_owner: args.no_owner,
    })
}

fn confirm(question: &Question) -> Result<(), Error> {
    let Question::RecoverInPlace { root, aside } = question;
    let text = format!(
        "recover {} in place? Its content moves to {}/",
        root.display(),
        aside.display()
    );
    match prompt::confirm(&text)? {
        Some(true) => Ok(()),
        Some(false) => Err(prompt::declined()),
        None => {
            Err(Error::usage("a recovery in place needs a yes")
                .with_advice("there is no terminal: add --yes"))
        }
    }
}

fn dry_run(app: &App, prepared: &Prepared) -> Result<Exit, Error> {
    let Prepared {
        run, root, occupied, ..
    } = prepared;
    let plan = run.spec.plan()?;
    let body = json!({ "plan": plan, "root": root, "moved_aside": occupied });
    app.printer.data(&body, || {
        let mut said = format!("would recover into {}\n", root.display());
        for path in occupied {
            said.push_str(&format!("would move aside {}\n", path.display()));
        }
        said.push('\n');
        said.push_str(&graph::text(&plan));
        said
    })?;
    Ok(Exit::Done)
}
