//! `rekindle recover`

use std::path::{Path, PathBuf};

use rekindle_actions::FoundSet;
use rekindle_model::id::SetId;
use rekindle_model::time;
use rekindle_plan::graph;
use rekindle_report::forecast::Took;
use rekindle_report::text;
use rekindle_workspace::operations::forecast;
use rekindle_workspace::operations::last_known_good::{Next, Search, Verdict};
use rekindle_workspace::operations::recover::{
    self, CheckedSet, From, Prepared, Question, RecoverRequest, Target,
};
use rekindle_workspace::operations::run::RunRequest;
use rekindle_workspace::run_spec::ReadyRun;
use rekindle_workspace::{Error, ReadWriteWorkspace};
use serde_json::{Value, json};

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
    /// Recover into this folder instead of the system's own; it must be empty or absent. An absolute path of a component
    /// is below it: /etc is DIR/etc
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
    /// Take the newest recovery set whose components are valid: each set that was not validated yet is proven by a drill first,
    /// the newest first
    #[arg(long, conflicts_with_all = ["dry_run", "detach"])]
    last_known_good: bool,
    /// When the disaster struck: "2026-11-23 10:00", or "2h ago" [default: now, and labelled assumed]
    #[arg(long, value_name = "TIME")]
    disaster_at: Option<String>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Count a missed objective or target as a partial failure (exit 3)
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
    let asked = request(app, args)?;
    let application = &app.application;
    ReadWriteWorkspace::with(application, async |workspace| {
        let mut request = asked.clone();
        if args.last_known_good {
            // What forbids the recovery itself is said before any drill.
            recover::prepare(workspace, &request).await?;
            // The search is part of the time that the recovery takes.
            let began = app.application.clock.now().utc;
            match last_known_good(app, workspace, &request).await? {
                Ok(set) => request.from = From::Set(set.to_string()),
                Err(stopped) => return Ok(stopped),
            }
            request.disaster_at.get_or_insert(began);
        }
        let Prepared {
            run,
            question,
            root,
            places,
            occupied,
        } = recover::prepare(workspace, &request).await?;
        let CheckedSet { mut ready, set } = recover::check_set(workspace, &request, run.spec)
            .await
            .map_err(advised)?;
        if args.dry_run {
            let took = forecast::took_before(&workspace.context).await?;
            return dry_run(app, &ready, &set?, &took, (&root, &places), &occupied);
        }
        if let Some(question) = question.filter(|_| !args.yes) {
            confirm(app, &question, set.as_ref())?;
            if let Ok(found) = &set {
                // What a person has agreed to is that set, not one that another machine seals meanwhile.
                let from = ("from".to_owned(), Value::from(found.set.id.to_string()));
                ready.spec.inputs.params.extend([from]);
            }
        }
        let run = RunRequest {
            spec: ready.spec,
            ..run
        };
        drive::begin(app, workspace, run, "rekindle recover", args.detach).await
    })
    .await
}

fn request(app: &App, args: &Args) -> Result<RecoverRequest, Error> {
    let disaster_at = args
        .disaster_at
        .as_deref()
        .map(|text| time_args::instant(app, text))
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
        from: from_arg(app, &args.from)?,
        tier: args.tier.clone(),
        accept_older: args.accept_older,
        disaster_at,
        strict: args.strict,
        no_owner: args.no_owner,
    })
}

/// Returns the recovery set that `--from` names.
pub(super) fn from_arg(app: &App, text: &str) -> Result<From, Error> {
    let now = app.application.clock.now().utc;
    Ok(match (text, time_args::parse(text, now)) {
        ("latest", _) => From::Latest,
        (text, Ok(_)) => From::Before(time_args::instant(app, text)?),
        (id, Err(_)) => From::Set(id.to_owned()),
    })
}

/// Adds the options that mend the choice of a set.
pub(super) fn advised(error: Error) -> Error {
    match error.code() {
        "unknown_set" => error.with_advice("choose a set with --from SET"),
        "newer_set_lost" => error.with_advice("add --accept-older, or choose a set with --from SET"),
        _ => error,
    }
}

/// Searches for the newest set that is good, and says which sets it passes over. Returns the exit code instead if a drill is
/// interrupted.
async fn last_known_good(
    app: &App,
    workspace: &ReadWriteWorkspace,
    request: &RecoverRequest,
) -> Result<Result<SetId, Exit>, Error> {
    let mut search = Search::new(request)?;
    // The result of this command is that of the recovery.
    let beside = App {
        printer: app.printer.beside(),
        application: app.application.clone(),
    };
    let tell = |news: Vec<String>| {
        news.iter()
            .for_each(|other| app.printer.say(format!("passed over: {other}")));
    };
    loop {
        let next = search.next(workspace).await.map_err(advised);
        tell(search.news());
        let (set, run) = match next? {
            Next::Good(set, by) => {
                app.printer.say(format!("set {set} is good: run {by} proved it"));
                return Ok(Ok(set));
            }
            Next::Drill(run, set) => (set, *run),
        };
        let run = drive::submit(&beside, workspace, run, "rekindle recover --last-known-good").await?;
        let exit = drive::attend(&beside, workspace, run, 0).await?;
        if exit == Exit::Interrupted {
            app.printer.warn(
                "nothing is recovered yet: run `rekindle recover --last-known-good` again; what was proven is kept",
            );
            return Ok(Err(exit));
        }
        let verdict = search.judge(&workspace.context, set, run).await?;
        tell(search.news());
        if let Verdict::Good(unproven) = verdict {
            app.printer.say(format!("set {set} is good: run {run} proved it"));
            if !unproven.is_empty() {
                app.printer
                    .warn(format!("nothing validates {}", unproven.join(", ")));
            }
            return Ok(Ok(set));
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}

fn confirm(app: &App, question: &Question, set: Result<&FoundSet, &Error>) -> Result<(), Error> {
    let Question::RecoverInPlace { places, asides } = question;
    let from = match set {
        Ok(found) => format!("set {}, {}", found.set.id, age(app, found)),
        Err(error) => format!("a set that is not known yet ({error})"),
    };
    let text = format!(
        "recover {} in place from {from}? What is there moves to {}",
        list(places),
        list(asides)
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

/// Returns how old a set is.
fn age(app: &App, found: &FoundSet) -> String {
    let now = app.application.clock.now().utc;
    match (now - found.set.created.utc).to_std() {
        Ok(age) => format!("{} old", text::duration(age)),
        Err(_) => "made by a clock that is ahead of this one".to_owned(),
    }
}

/// Prints what a recovery would do: the set and its age, the tiers that hold it, what it has of each component, what
/// would move aside, and the steps in their order.
fn dry_run(
    app: &App,
    ready: &ReadyRun,
    found: &FoundSet,
    took: &Took,
    (root, places): (&Path, &[PathBuf]),
    occupied: &[PathBuf],
) -> Result<Exit, Error> {
    let set = &found.set;
    let empty = Vec::new();
    let wanted = ready.spec.inputs.loops.get("component").unwrap_or(&empty);
    let has_data = |name: &&String| {
        let component = ready.spec.system.components.get(*name);
        component.is_some_and(|component| component.source.is_some())
    };
    let members: Vec<_> = wanted
        .iter()
        .filter_map(|name| set.members.get_key_value(name))
        .collect();
    let missing: Vec<&String> = wanted
        .iter()
        .filter(has_data)
        .filter(|name| !set.members.contains_key(*name))
        .collect();
    let bytes: u64 = members.iter().map(|(_, member)| member.bytes).sum();
    let components: Vec<Value> = members
        .iter()
        .map(|(name, member)| {
            json!({
                "component": name, "bytes": member.bytes, "files": member.files,
                "consistency_point": member.consistency_point.utc, "inherited": member.inherited,
                "forecast_seconds": took.component(name, member.bytes).map(|took| took.as_secs_f64()),
            })
        })
        .collect();
    let whole = took.whole(bytes);
    let body = json!({
        "set": set.id, "created": set.created.utc, "recovery_ready": set.recovery_ready, "recoverable": set.recoverable, "tiers": found.tiers,
        "tiers_silent": found.silent, "newer_lost": found.newer_lost, "passed_over": found.passed_over, "components": components, "missing": missing,
        "bytes": bytes, "forecast_seconds": whole.map(|took| took.as_secs_f64()),
        "root": root, "moved_aside": occupied, "plan": *ready.plan,
    });
    app.printer.data(&body, || {
        let ready_for_it = match (set.recovery_ready, set.recoverable) {
            (true, _) => "recovery-ready",
            (false, true) => "recoverable, though not recovery-ready",
            (false, false) => "NOT recoverable as a whole",
        };
        let mut said = format!(
            "would recover set {} of {}, {}, {ready_for_it}, from {}\n",
            set.id,
            time::show(set.created.utc),
            age(app, found),
            found.tiers.join(", then "),
        );
        for (tier, why) in &found.silent {
            said.push_str(&format!("tier {tier} does not answer: {why}\n"));
        }
        for lost in &found.newer_lost {
            said.push_str(&format!(
                "it is not the latest: {lost} is known, and no tier gives it\n"
            ));
        }
        for other in &found.passed_over {
            said.push_str(&format!("passed over: {other}\n"));
        }
        for (name, member) in &members {
            let of = match member.inherited {
                true => ", from an older backup",
                false => "",
            };
            let forecast = took.component(name, member.bytes);
            said.push_str(&format!(
                "  {name}: {} in {}, as of {}{of}{}\n",
                text::bytes(member.bytes),
                text::count(usize::try_from(member.files).unwrap_or(usize::MAX), "file"),
                time::show(member.consistency_point.utc),
                forecast.map_or_else(String::new, |took| format!("; forecast {}", text::duration(took))),
            ));
        }
        for name in &missing {
            said.push_str(&format!("  {name}: NOT in this set\n"));
        }
        said.push_str(&format!(
            "would write {} into {}\n",
            text::bytes(bytes),
            list(places)
        ));
        said.push_str(&match whole {
            Some(took) => format!(
                "forecast: {} for all, as earlier recoveries went\n",
                text::duration(took)
            ),
            None => "forecast: no data, since no recovery has succeeded yet\n".to_owned(),
        });
        for path in occupied {
            said.push_str(&format!("would move aside {}\n", path.display()));
        }
        said.push('\n');
        said.push_str(&graph::text(&ready.plan));
        said
    })?;
    Ok(Exit::Done)
}
