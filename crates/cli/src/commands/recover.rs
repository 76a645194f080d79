//! `rekindle recover`

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_model::failure::Failure;
use rekindle_model::system::{Affects, System};
use rekindle_plan::{Inputs, builtin, graph};
use serde_json::{Map, Value, json};

use crate::App;
use crate::commands::backup::{components, tiers};
use crate::commands::plan;
use crate::commands::run::loops;
use crate::drive::{self, Request};
use crate::error::CliError;
use crate::exit::Exit;
use crate::pinned::{self, Pinned};
use crate::session::Session;
use crate::target::{self, Ways};
use crate::{moment, names, prompt};

/// Bring components back in priority order, and prove that they meet their targets
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the scenario affects, against its own objectives
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Only this component, by name or alias
    #[arg(long = "component", value_name = "NAME")]
    components: Vec<String>,
    /// Recover into this folder instead of the system's own; nothing may stand there yet
    #[arg(long, value_name = "DIR", conflicts_with = "in_place")]
    to: Option<PathBuf>,
    /// Recover into the system's own folder, moving what stands there to <root>.before-<run>/, or where that would
    /// be on another file system, to a folder inside
    #[arg(long)]
    in_place: bool,
    /// Recover in place although somebody has files open there: what they write from then on is in the folder for
    /// what was moved
    #[arg(long, requires = "in_place")]
    while_running: bool,
    /// From this recovery set, from the newest before a time, or from the newest
    #[arg(long, value_name = "SET|TIME|latest", default_value = "latest")]
    from: String,
    /// From this tier [default: the fastest that has it]
    #[arg(long, value_name = "NAME")]
    tier: Option<String>,
    /// When the disaster struck: an instant with its offset, or "2h ago" [default: now, and labelled assumed]
    #[arg(long, value_name = "TIME")]
    disaster_at: Option<String>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Count a missed objective as a partial failure (exit 3)
    #[arg(long)]
    strict: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Leave the run to the owner of the workspace (`rekindle serve`) and return at once with its id
    #[arg(long, conflicts_with = "dry_run")]
    detach: bool,
}

/// How long the tiers may take to say which sets there are before the run is begun without that answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Failures of the search for a set that only another command line mends.
const UNKNOWN_SET: [&str; 3] = ["no_recovery_set", "ambiguous_set", "bad_parameter"];

/// Recovers.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    Session::here(app, async |session| recover(app, args, session).await).await
}

async fn recover(app: &App, args: &Args, session: &Session) -> Result<Exit, CliError> {
    let (system, _) = pinned::system(app, &session.ground.workspace)?;
    let now = app.clock.now().utc;
    let disaster_at = args
        .disaster_at
        .as_deref()
        .map(|text| moment::parse(text, now))
        .transpose()?;
    if disaster_at.is_some_and(|instant| instant > now) {
        return Err(CliError::usage("the disaster cannot be in the future"));
    }
    let affected = affected(&system, args)?;
    let own_root = pinned::data_root(&session.ground.workspace.system_dir(), &system);
    let ways = ways(args, &own_root);
    let target = args
        .to
        .as_deref()
        .map(|to| target::named(&session.ground.workspace, &system, to, &ways))
        .transpose()?;
    let root = target
        .as_ref()
        .map_or_else(|| own_root.clone(), |place| place.path().to_owned());
    let never = plan::site(app, &session.ground.workspace, &system).kept().never;
    let occupied = occupied(&system, &affected, &root, &never)?;
    let unseen = unseen(&system, &affected);
    let interrupted = target::interrupted(&session.ground, &root).await;
    match (&target, interrupted.as_ref()) {
        (Some(place), _) => target::empty(&session.ground, place, &ways).await?,
        (None, Some(run)) if args.in_place => app.printer.warn(run.warning(&root)),
        (None, _) if args.in_place => {}
        (None, run) if !occupied.is_empty() => return Err(ways.occupied(&occupied, run)),
        (None, run) if unseen.is_some() => return Err(ways.unseen(&unseen.unwrap_or_default(), run)),
        (None, Some(run)) => return Err(ways.interrupted(&root, run)),
        (None, None) => {}
    }
    let wanted = from(&args.from, now);
    let preferred = tier(&system, args)?;
    let params = Map::from_iter([
        ("from".to_owned(), Value::from(wanted.clone())),
        ("tier".to_owned(), Value::from(preferred.clone())),
        ("to".to_owned(), Value::from(root.to_string_lossy().into_owned())),
        ("in_place".to_owned(), Value::from(args.in_place)),
        ("while_running".to_owned(), Value::from(args.while_running)),
        (
            "scenario".to_owned(),
            Value::from(args.scenario.clone().unwrap_or_default()),
        ),
        ("strict".to_owned(), Value::from(args.strict)),
    ]);
    let mut loops = loops(&system);
    loops.insert("component".to_owned(), affected);
    let pinned = Pinned::new(
        app,
        &session.ground.workspace,
        "recover",
        builtin::RECOVER,
        Inputs { params, loops },
    )?;
    if args.dry_run {
        return dry_run(app, &pinned, &root, &occupied);
    }
    let ready = pinned.ready(&session.ground)?;
    let struck = disaster_at.unwrap_or(now);
    let found = rekindle_actions::find_set(&ready.site, &wanted, &preferred, Some(struck));
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(Err(failure)) if UNKNOWN_SET.contains(&failure.code.as_str()) => {
            let error = CliError::new(Exit::Usage, "unknown_set", failure.message);
            return Err(match failure.hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            });
        }
        // Whoever names a tier wants that one, and may have reasons not to wait for it.
        Ok(Err(failure)) if !preferred.is_empty() => return Err(unserved(&preferred, failure)),
        // Tiers that do not answer now are the run's to wait for.
        _ => {}
    }
    if args.in_place && !args.yes && (!occupied.is_empty() || unseen.is_some()) {
        let question = format!(
            "recover {} in place? What stands there moves to {}.before-<run>/",
            root.display(),
            root.display()
        );
        match prompt::confirm(&question)? {
            Some(true) => {}
            Some(false) => return Err(CliError::new(Exit::Failed, "declined", "nothing was done")),
            None => {
                return Err(CliError::usage("a recovery in place needs a yes")
                    .with_hint("there is no terminal: add --yes"));
            }
        }
    }
    let trigger = "rekindle recover".to_owned();
    drive::begin(
        app,
        session,
        ready.pinned,
        Request {
            trigger,
            disaster_at,
            detach: args.detach,
        },
    )
    .await
}

fn affected(system: &System, args: &Args) -> Result<Vec<String>, CliError> {
    let of_scenario = match &args.scenario {
        Some(name) => {
            let known = || system.scenarios.keys().map(String::as_str);
            let scenario = system
                .scenarios
                .get(name)
                .ok_or_else(|| names::unknown("scenario", name, known()))?;
            match &scenario.affects {
                Affects::All(_) => None,
                Affects::These(these) => Some(components(system, these)?),
            }
        }
        None => None,
    };
    let all = || {
        system
            .components_by_priority()
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    let mut affected: Vec<String> = of_scenario.unwrap_or_else(all);
    if !args.components.is_empty() {
        let named = components(system, &args.components)?;
        if let Some(other) = named.iter().find(|name| !affected.contains(name)) {
            let scenario = args.scenario.as_deref().unwrap_or_default();
            return Err(CliError::usage(format!(
                "scenario {scenario:?} does not affect component {other:?}"
            ))
            .with_hint(format!("it affects {}", affected.join(", "))));
        }
        affected = named;
    }
    Ok(affected)
}

/// Returns the first thing that stands at each target which is neither absent nor empty.
///
/// A component that claims part of a folder by globs is occupied only by what it claims.
pub(crate) fn occupied(
    system: &System,
    affected: &[String],
    root: &Path,
    never: &[PathBuf],
) -> Result<Vec<PathBuf>, CliError> {
    let mut occupied = Vec::new();
    for source in affected
        .iter()
        .filter_map(|name| system.components.get(name)?.source.as_ref())
    {
        let existing = rekindle_sources::open(source)?.existing(root, never)?;
        occupied.extend(existing.files.first().map(|path| root.join(path)));
    }
    Ok(occupied)
}

/// Returns the first of these components whose place only programs know.
fn unseen(system: &System, affected: &[String]) -> Option<String> {
    let source = |name: &str| system.components.get(name)?.source.as_ref();
    affected
        .iter()
        .map(String::as_str)
        .find(|name| {
            source(name).is_some_and(|spec| rekindle_sources::open(spec).is_ok_and(|it| it.claim().is_none()))
        })
        .map(str::to_owned)
}

/// Returns how a recovery of the same choice goes on that cannot write where it was sent.
fn ways(args: &Args, own_root: &Path) -> Ways {
    let mut chosen = String::new();
    if let Some(scenario) = &args.scenario {
        chosen.push_str(&format!(" --scenario {scenario}"));
    }
    for component in &args.components {
        chosen.push_str(&format!(" --component {component}"));
    }
    if args.from != "latest" {
        chosen.push_str(&format!(" --from {:?}", args.from));
    }
    Ways {
        elsewhere: format!("rekindle recover{chosen} --to DIR"),
        in_place: format!("rekindle recover{chosen} --in-place"),
        other_source: None,
        root: own_root.to_owned(),
    }
}

/// A time is journaled as the instant that it means now; anything else names a set.
fn from(text: &str, now: DateTime<Utc>) -> String {
    moment::parse(text, now).map_or_else(|_| text.to_owned(), |instant| instant.to_rfc3339())
}

fn tier(system: &System, args: &Args) -> Result<String, CliError> {
    match &args.tier {
        Some(tier) => Ok(tiers(system, std::slice::from_ref(tier))?.concat()),
        None => Ok(String::new()),
    }
}

/// Refuses a recovery from a tier that cannot serve it.
fn unserved(tier: &str, failure: Failure) -> CliError {
    let message = format!("cannot recover from tier {tier}: {}", failure.message);
    let then =
        format!("bring tier {tier} back, or leave --tier out to take the fastest tier that holds a set");
    let hint = failure
        .hint
        .clone()
        .map_or_else(|| then.clone(), |hint| format!("{hint}\n  {then}"));
    CliError::from(Failure { message, ..failure }).with_hint(hint)
}

fn dry_run(app: &App, pinned: &Pinned, root: &Path, occupied: &[PathBuf]) -> Result<Exit, CliError> {
    let plan = pinned.plan()?;
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
