//! `rekindle adopt`

mod asks;
mod brought;

use rekindle_engine::Ask;
use rekindle_journal::{Journal, LogView};
use rekindle_model::id::RunId;
use rekindle_model::run::RunState;
use rekindle_model::system::System;
use rekindle_server::Problem;
use rekindle_vault::slot::Link;
use rekindle_vault::store::is_same_location;
use rekindle_vault::{SlotHead, SlotPlace};
use serde_json::json;

use self::asks::Unread;
use self::brought::Brought;
use crate::App;
use crate::commands::requests;
use crate::drive;
use crate::error::CliError;
use crate::exit::Exit;
use crate::keys::{self, OpenKey};
use crate::moment;
use crate::pinned;
use crate::session::{Seat, Session};
use crate::slots::writer::Writer;
use crate::slots::{self, fenced, gather};
use crate::workspace::Workspace;

/// Take over an unfinished run of another host, from the copy of its journal in a tier, and go on with it here
///
/// The run's records come into this workspace, and the next copy of them is created in the tier under this workspace's
/// name: that is the adoption. Whoever had the run before finds that copy at its next step, stops, and exits with 6; it
/// cannot undo what that host has done to its own disk until then. On a new host: `rekindle init --from-kit KIT`, then
/// this. Without RUN, the only unfinished one is taken; several are listed. What it would capture here, the programs
/// that it would run here and what nobody can tell of who else has the run are named first, and asked about once.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where a tier of the run's system stands, as its system.yaml says: file:///mnt/near
    #[arg(value_name = "URL")]
    url: String,
    /// The run: a unique beginning of its id [default: the only unfinished one]
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// Only list the unfinished runs that the tier tells of
    #[arg(long, conflicts_with = "run")]
    list: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Adopts.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    let workspace = Workspace::find_here(&app.global)?;
    let (system, _) = pinned::system(app, &workspace)?;
    let key = keys::open(&workspace)?;
    let (tier, place) = open(&workspace, &system, &key, &args.url).await?;
    let told = tell_of(app, &place).await?;
    let Some(run) = choose(app, args, &told)? else {
        return Ok(Exit::Done);
    };
    let (mut places, silent) = gather::places(&workspace, &system, &key).await;
    silent.iter().for_each(|why| app.printer.warn(why));
    if places
        .iter()
        .all(|known| !same(&workspace, known.url(), &args.url))
    {
        places.push(place.clone());
    }
    let unread = Unread::read(&workspace, &places, run).await;
    let (brought, faults) = Brought::gather(&places, run).await;
    let Some(brought) = brought else {
        return nowhere_whole(app, args, &workspace, run, &unread, &faults).await;
    };
    faults.iter().for_each(|fault| app.printer.warn(fault));
    let state = brought.state()?;
    asks::check(app, args, &workspace, &place, (&brought, &state), &unread).await?;
    brought.import(app, &workspace, &state).await?;
    unread.note(&workspace, run)?;
    if let Some(outcome) = state.outcome {
        fenced::clear(&workspace.state, run)?;
        let body = json!({ "run": run, "outcome": outcome, "adopted": false });
        app.printer.data(&body, || {
            format!(
                "run {run} is over ({}), and its history is here now\n  rekindle show {run}",
                rekindle_report::steps::outcome(outcome)
            )
        })?;
        return Ok(Exit::Done);
    }
    // Another process may have taken the workspace while nobody had it: it would drive the run as its own.
    let session = Session::open(app, workspace, Seat::Leaves).await?;
    let exit = go_on(app, &session, &brought, &state, (&tier, &place)).await;
    session.close().await;
    exit
}

/// No location has the run whole. Where this workspace has it, and nobody else does, its slots are begun anew.
async fn nowhere_whole(
    app: &App,
    args: &Args,
    workspace: &Workspace,
    run: RunId,
    unread: &Unread,
    faults: &[String],
) -> Result<Exit, CliError> {
    let (view, _) = LogView::open(&workspace.state).await?;
    let own = Journal::read(&view, run).await.ok();
    let state = own.and_then(|records| RunState::from_records(&records).ok());
    let noted = fenced::noted(&workspace.state, run);
    let nobodys = matches!(&noted, Ok(note) if note.as_ref().is_none_or(|note| note.taken.is_by_unknown()));
    let (Some(state), true) = (state, nobodys) else {
        return Err(CliError::new(
            Exit::DataLost,
            "slots_damaged",
            format!("no location has run {run} whole:\n  {}", faults.join("\n  ")),
        )
        .with_hint("nothing was changed; bring back a tier that does not answer, and run this again"));
    };
    unread.settle(app, args, workspace, run)?;
    fenced::clear(&workspace.state, run)?;
    let next = match state.outcome {
        None => fenced::way_on(&workspace.state, run),
        Some(_) => "rekindle verify".to_owned(),
    };
    let body = json!({ "run": run, "outcome": state.outcome, "adopted": false, "begun_anew_by": next });
    app.printer.data(&body, || {
        format!(
            "run {run} is this workspace's, which has it whole; its slots in the tiers are begun anew when the next run \
             ends\n  {next}"
        )
    })?;
    Ok(Exit::Done)
}

/// Takes the run over, and attends it to its end.
async fn go_on(
    app: &App,
    session: &Session,
    brought: &Brought,
    state: &RunState,
    (tier, place): (&str, &SlotPlace),
) -> Result<Exit, CliError> {
    let Some(owner) = session.owner() else {
        return Err(session.held_by_other());
    };
    let run = brought.run;
    let writer = Writer::kept(&session.ground.workspace.state)?;
    let from = &brought.tail().head;
    let why = format!("adopted from host {} by tier {tier}", from.host);
    let ours = writer.workspace;
    let held = async {
        // The location that it was adopted from must say so too: whoever had it looks there.
        let tail = tokio::time::timeout(slots::READS_WITHIN, place.tail(run)).await;
        let tail = tail
            .map_err(|_| unheld(run, place, "it does not answer"))?
            .map_err(|error| unheld(run, place, &error.to_string()))?;
        match tail {
            Some(Link { head, .. }) if head.workspace == ours && head.epoch > state.epoch => {
                Ok(fenced::clear(&session.ground.workspace.state, run)?)
            }
            _ => Err(unheld(run, place, "it does not have the slot of this adoption")),
        }
    };
    owner.bring(run, &why, ours, held).await?;
    let done = state.steps.values().filter(|step| step.state.is_final()).count();
    app.printer.say(format!(
        "adopted run {run}: {}, {done} steps done before, last heard of from host {} at {}",
        state.workflow,
        from.host,
        moment::show(from.at)
    ));
    app.printer.note(
        "adopt",
        &json!({ "run": run, "workflow": state.workflow, "done": done, "from_host": from.host,
            "from_workspace": from.workspace, "from_at": from.at, "tier": tier }),
    );
    if state.paused.is_some() {
        requests::ask(session, run, Ask::Unpause, None).await?;
    }
    drive::attend(app, session, run, state.seq).await
}

fn unheld(run: RunId, place: &SlotPlace, why: &str) -> Problem {
    Problem::new(
        Exit::Failed.code(),
        "tier_unavailable",
        format!(
            "run {run} could not be taken over in {}: {why}; nothing of it was driven",
            place.url()
        ),
    )
    .with_hint("run the same command again when the tier answers")
}

/// An unfinished run that a tier tells of.
struct Told {
    run: RunId,
    /// None where it cannot be read.
    tail: Option<Link>,
}

impl Told {
    /// Returns what the last slot says, where the run is neither over nor another's part.
    fn unfinished(&self) -> Option<&SlotHead> {
        let head = &self.tail.as_ref()?.head;
        (head.outcome.is_none() && head.parent.is_none()).then_some(head)
    }
}

/// Opens the location at a URL, under the name of the system's tier that stands there.
async fn open(
    workspace: &Workspace,
    system: &System,
    key: &OpenKey,
    url: &str,
) -> Result<(String, SlotPlace), CliError> {
    let named = system.tiers.iter().find(|(_, tier)| {
        let mut locations = tier.locations().into_iter();
        locations.any(|location| same(workspace, location, url))
    });
    let name = named.map_or_else(|| url.to_owned(), |(name, _)| name.clone());
    let tier = slots::open(workspace, key, &name, vec![url.to_owned()]).await;
    let tier = tier.ok_or_else(|| slots::unanswered(url, slots::OPENS_WITHIN))??;
    match tier.slot_places().into_iter().next() {
        Some(place) => Ok((name, place)),
        None => Err(CliError::new(
            Exit::Failed,
            "tier_unavailable",
            format!("{url} did not open"),
        )),
    }
}

/// Returns whether two URLs lead to one location.
fn same(workspace: &Workspace, one: &str, other: &str) -> bool {
    is_same_location(one, other, &workspace.system_dir())
}

/// Returns the unfinished runs that a location tells of, but for those that belong to others.
async fn tell_of(app: &App, place: &SlotPlace) -> Result<Vec<Told>, CliError> {
    let listing = async {
        let mut told = Vec::new();
        for run in place.runs().await.map_err(|error| failed(&error))? {
            match place.tail(run).await {
                Ok(None) => {}
                Ok(tail) => told.push(Told { run, tail }),
                Err(error) => {
                    app.printer.warn(error.to_string());
                    told.push(Told { run, tail: None });
                }
            }
        }
        Ok(told)
    };
    let listed = tokio::time::timeout(slots::READS_WITHIN, listing).await;
    listed.unwrap_or_else(|_| Err(slots::unanswered(place.url(), slots::READS_WITHIN)))
}

fn failed(error: &rekindle_vault::SlotError) -> CliError {
    match error.is_damage() {
        true => CliError::new(Exit::DataLost, "tier_damaged", error.to_string()),
        false => CliError::new(Exit::Failed, "tier_unavailable", error.to_string()),
    }
}

/// Returns the run that was named, or the only unfinished one; none where it is only listed what there is.
fn choose(app: &App, args: &Args, told: &[Told]) -> Result<Option<RunId>, CliError> {
    let plain = |text: &str| text.replace('-', "").to_lowercase();
    if let Some(word) = &args.run {
        let prefix = plain(word);
        let fits = |told: &&Told| !prefix.is_empty() && plain(&told.run.to_string()).starts_with(&prefix);
        let found: Vec<&Told> = told.iter().filter(fits).collect();
        return match found[..] {
            [one] => Ok(Some(one.run)),
            [] => Err(
                CliError::usage(format!("{} tells of no run {word:?}", args.url)).with_hint(
                    match told.is_empty() {
                        true => "there are no slots of any run there".to_owned(),
                        false => format!("it tells of\n  {}", lines(told.iter())),
                    },
                ),
            ),
            _ => Err(CliError::usage(format!("{word:?} begins {} runs", found.len()))
                .with_hint(format!("name one:\n  {}", lines(found.iter().copied())))),
        };
    }
    let unfinished: Vec<&Told> = told.iter().filter(|told| told.unfinished().is_some()).collect();
    if let ([one], false) = (&unfinished[..], args.list) {
        return Ok(Some(one.run));
    }
    if unfinished.len() > 1 && !args.list {
        return Err(CliError::usage(format!(
            "{} tells of {} unfinished runs",
            args.url,
            unfinished.len()
        ))
        .with_hint(format!("name one:\n  {}", lines(unfinished.into_iter()))));
    }
    let body: Vec<_> = unfinished
        .iter()
        .filter_map(|told| Some((told.run, told.unfinished()?)))
        .map(|(run, head)| {
            json!({ "run": run, "workflow": head.workflow, "records": head.last, "epoch": head.epoch,
                "host": head.host, "workspace": head.workspace, "at": head.at })
        })
        .collect();
    app.printer
        .data(&json!({ "unfinished": body }), || match unfinished.is_empty() {
            true => format!("{} tells of no unfinished run", args.url),
            false => lines(unfinished.iter().copied()),
        })?;
    Ok(None)
}

fn lines<'a>(told: impl Iterator<Item = &'a Told>) -> String {
    let line = |told: &Told| match &told.tail {
        None => format!("{}  its last slot cannot be read", told.run),
        Some(Link { head, .. }) => format!(
            "{}  {}  {} records, the last at {} from host {}{}",
            told.run,
            head.workflow,
            head.last,
            moment::show(head.at),
            head.host,
            head.outcome.map_or("", |_| ", over")
        ),
    };
    told.map(line).collect::<Vec<_>>().join("\n  ")
}
