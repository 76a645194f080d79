//! `rekindle adopt`

use std::path::Path;
use std::sync::Arc;

use rekindle_engine::Ask;
use rekindle_journal::archive::{Bundle, Format};
use rekindle_journal::{Journal, JournalError, LogView, OpenOptions, Upkeep, codec};
use rekindle_model::id::RunId;
use rekindle_model::run::RunState;
use rekindle_model::system::System;
use rekindle_plan::Plan;
use rekindle_server::{Parts, Problem};
use rekindle_sources::place::resolve;
use rekindle_vault::slot::Link;
use rekindle_vault::{Remembered, SlotPlace, Tier, TierMode};
use serde_json::json;

use crate::App;
use crate::commands::journal::{blocking, write_new};
use crate::commands::requests;
use crate::drive;
use crate::error::CliError;
use crate::exit::Exit;
use crate::keys::{self, OpenKey};
use crate::moment;
use crate::pinned::{self, Pinned};
use crate::prompt;
use crate::session::{Seat, Session};
use crate::slots::fenced;
use crate::slots::gather::{self, Gathered};
use crate::slots::writer::Writer;
use crate::workspace::Workspace;

/// Take over an unfinished run of another host, from the copy of its journal in a tier, and go on with it here
///
/// The run's records come into this workspace, and the next copy of them is created in the tier under this workspace's
/// name: that is the adoption. Whoever had the run before finds that copy at its next step, stops, and exits with 6; it
/// cannot undo what that host has done to its own disk until then. On a new host: `rekindle init --from-kit KIT`, then
/// this. Without RUN, the only unfinished one is taken; several are listed.
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
    let brought = Brought::gather(app, &places, run).await?;
    let state = brought.state()?;
    brought.check(app, args, &workspace, &place, &state).await?;
    brought.import(app, &workspace, &state).await?;
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
        let tail = place
            .tail(run)
            .await
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
    tail: Link,
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
    let urls = [url.to_owned()];
    let (base, keyring) = (workspace.system_dir(), Arc::clone(&key.keyring));
    let remembered = Remembered::of(&workspace.state);
    let mode = TierMode::Existing;
    let tier = Tier::open_known(&name, &urls, &base, keyring, &key.wrapped, mode, &remembered).await?;
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
    let folder = |url: &str| Tier::folder(url, &workspace.system_dir()).map(|folder| resolve(&folder));
    one == other || folder(one).is_some_and(|folder_of_one| folder(other) == Some(folder_of_one))
}

/// Returns the unfinished runs that a location tells of, but for those that belong to others.
async fn tell_of(app: &App, place: &SlotPlace) -> Result<Vec<Told>, CliError> {
    let mut told = Vec::new();
    let runs = place.runs().await.map_err(|error| slots(&error))?;
    for run in &runs {
        match place.tail(*run).await {
            Ok(Some(tail)) => told.push(Told { run: *run, tail }),
            Ok(None) => {}
            Err(error) => app.printer.warn(error.to_string()),
        }
    }
    Ok(told)
}

fn slots(error: &rekindle_vault::SlotError) -> CliError {
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
    let unfinished: Vec<&Told> = told
        .iter()
        .filter(|told| told.tail.head.outcome.is_none() && told.tail.head.parent.is_none())
        .collect();
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
        .map(
            |Told {
                 run,
                 tail: Link { head, .. },
             }| {
                json!({ "run": run, "workflow": head.workflow, "records": head.last, "epoch": head.epoch,
                "host": head.host, "workspace": head.workspace, "at": head.at })
            },
        )
        .collect();
    app.printer
        .data(&json!({ "unfinished": body }), || match unfinished.is_empty() {
            true => format!("{} tells of no unfinished run", args.url),
            false => lines(unfinished.iter().copied()),
        })?;
    Ok(None)
}

fn lines<'a>(told: impl Iterator<Item = &'a Told>) -> String {
    let line = |Told {
                    run,
                    tail: Link { head, .. },
                }: &Told| {
        format!(
            "{run}  {}  {} records, the last at {} from host {}{}",
            head.workflow,
            head.last,
            moment::show(head.at),
            head.host,
            head.outcome.map_or("", |_| ", over")
        )
    };
    told.map(line).collect::<Vec<_>>().join("\n  ")
}

/// A run that is brought here, with those that its steps run.
struct Brought {
    run: RunId,
    /// The run itself first.
    runs: Vec<Gathered>,
}

impl Brought {
    /// Reads a run, and those that it runs, from all locations that answer.
    async fn gather(app: &App, places: &[SlotPlace], run: RunId) -> Result<Self, CliError> {
        let sought = gather::gather(places, run).await;
        let first = sought.found.into_iter().next();
        let Some(first) = first else {
            return Err(CliError::new(
                Exit::DataLost,
                "slots_damaged",
                format!(
                    "no location has run {run} whole:\n  {}",
                    sought.faults.join("\n  ")
                ),
            )
            .with_hint("nothing was changed; bring back a tier that does not answer, and run this again"));
        };
        sought.faults.iter().for_each(|fault| app.printer.warn(fault));
        let mut runs = vec![first];
        // Those of its steps, and theirs: few, and each is named by its last slot.
        let mut parents = vec![run];
        let mut children: Vec<(RunId, RunId)> = Vec::new();
        for place in places {
            for id in place.runs().await.unwrap_or_default() {
                if let Ok(Some(tail)) = place.tail(id).await
                    && let Some(parent) = tail.head.parent
                {
                    children.push((parent, id));
                }
            }
        }
        children.sort_unstable();
        children.dedup();
        while let Some(parent) = parents.pop() {
            for (_, child) in children.iter().filter(|(of, _)| *of == parent) {
                parents.push(*child);
                let sought = gather::gather(places, *child).await;
                match sought.found.into_iter().next() {
                    Some(found) => runs.push(found),
                    None => sought.faults.iter().for_each(|fault| app.printer.warn(fault)),
                }
            }
        }
        Ok(Self { run, runs })
    }

    fn tail(&self) -> &Link {
        &self.runs[0].tail
    }

    /// Returns where the run stands.
    fn state(&self) -> Result<RunState, CliError> {
        let values = self.runs[0].bundle.values(self.run);
        let records = (1..)
            .zip(values)
            .map(|(seq, value)| codec::decode(&codec::key(self.run, seq), value))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(RunState::from_records(&records)?)
    }

    /// Makes sure that the run can be gone on with here, and that a person wants what it would do here.
    async fn check(
        &self,
        app: &App,
        args: &Args,
        workspace: &Workspace,
        place: &SlotPlace,
        state: &RunState,
    ) -> Result<(), CliError> {
        if state.outcome.is_some() {
            return Ok(());
        }
        let run = self.run;
        let pinned = self.pinned(state)?;
        let locations: Vec<String> = pinned
            .system
            .tiers
            .values()
            .flat_map(|tier| tier.locations().into_iter().map(str::to_owned))
            .collect();
        if !locations.iter().any(|url| same(workspace, url, &args.url)) {
            return Err(CliError::usage(format!(
                "run {run} knows its tiers at {}, and {} is none of them",
                locations.join(", "),
                args.url
            ))
            .with_hint("mount the tier where the run knows it, and name it so; nothing was changed"));
        }
        let plan = pinned.plan()?;
        let mut questions = Vec::new();
        if let Some(target) = pinned.target_root(&workspace.system_dir()) {
            tell_of_target(app, run, &target);
        }
        if captures(&plan, state) {
            let root = pinned::data_root(&workspace.system_dir(), &pinned.system);
            questions.push(format!(
                "what run {run} has not captured yet, it captures from {} on this host",
                root.display()
            ));
        }
        match place.is_exclusive().await {
            Ok(true) => {}
            Ok(false) => questions.push(format!(
                "{} cannot keep two workspaces from going on with one run: make sure that host {} does not",
                place.url(),
                self.tail().head.host
            )),
            Err(error) => return Err(slots(&error)),
        }
        if questions.is_empty() || args.yes {
            questions.iter().for_each(|what| app.printer.warn(what));
            return Ok(());
        }
        match prompt::confirm(&format!("{}. Adopt it?", questions.join("; ")))? {
            Some(true) => Ok(()),
            Some(false) => Err(CliError::new(Exit::Failed, "declined", "nothing was done")),
            None => Err(
                CliError::usage(format!("adopting needs a yes: {}", questions.join("; ")))
                    .with_hint("there is no terminal: add --yes"),
            ),
        }
    }

    /// Returns what the run is pinned to, from its own blobs.
    fn pinned(&self, state: &RunState) -> Result<Pinned, CliError> {
        let bundle = &self.runs[0].bundle;
        let blob = |hash| {
            let found = bundle.blob(hash).map(<[u8]>::to_vec);
            found.ok_or_else(|| CliError::from(JournalError::UnknownBlob(hash)))
        };
        let inputs = match &state.inputs {
            rekindle_model::event::Payload::Inline(value) => serde_json::from_value(value.clone()),
            rekindle_model::event::Payload::Blob(hash) => serde_json::from_slice(&blob(*hash)?),
        };
        let inputs = inputs.map_err(|error| {
            let message = format!("the inputs of run {} cannot be read: {error}", state.id);
            CliError::new(Exit::DataLost, "corrupt_inputs", message)
        })?;
        Pinned::of(&Parts {
            workflow: state.workflow.clone(),
            definition: blob(state.definition)?,
            system: state.system.map(blob).transpose()?,
            inputs,
        })
    }

    /// Brings the records into this workspace's journal. What the journal has beyond them stays; what it has in their
    /// place is kept in an archive, and does not count any more.
    ///
    /// An unfinished run that is brought here stays the other's, also after a crash, until the tier has the slot of its
    /// adoption: whoever goes on with what is interrupted here, a server above all, would else do so beside the other
    /// where no tier answers.
    async fn import(&self, app: &App, workspace: &Workspace, state: &RunState) -> Result<(), CliError> {
        let (view, _) = LogView::open(&workspace.state).await?;
        let mut bundle = Bundle::default();
        let mut source = None;
        for gathered in &self.runs {
            let run = gathered.tail.head.run;
            let theirs = gathered.bundle.values(run);
            match Journal::values(&view, run, 0).await {
                Ok(ours) if ours.starts_with(theirs) => continue,
                Ok(ours) if !theirs.starts_with(&ours) => {
                    let file = fenced::archive(&workspace.state, run);
                    keep(&view, run, &file).await?;
                    app.printer.warn(format!(
                        "what this workspace had appended to run {run} does not count any more; it is kept in {}",
                        file.display()
                    ));
                }
                Ok(_) | Err(JournalError::UnknownRun(_) | JournalError::Quarantined { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            source.get_or_insert_with(|| gathered.source());
            bundle.extend(gathered.bundle.clone());
        }
        drop(view);
        let Some(source) = source else { return Ok(()) };
        if state.outcome.is_none() && !bundle.values(self.run).is_empty() {
            let taken = self.runs[0].holder();
            fenced::note(&workspace.state, &taken)
                .map_err(|error| CliError::io(format_args!("note who has run {}", self.run), &error))?;
        }
        let (state, now) = (workspace.state.clone(), app.clock.now().utc);
        blocking(move || {
            let (mut upkeep, _) = Upkeep::open(&state, &OpenOptions::default())?;
            upkeep.replace(&bundle, source, now)?;
            Ok::<_, CliError>(())
        })
        .await?
    }
}

/// Writes what this workspace has of a run to an archive.
async fn keep(view: &LogView, run: RunId, file: &Path) -> Result<(), CliError> {
    let (bytes, _) = Bundle::of(view, [run])?.encode(Format::Archive)?;
    let path = file.to_owned();
    blocking(move || {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)
                .map_err(|error| CliError::io(format_args!("make {}", dir.display()), &error))?;
        }
        write_new(&path, &bytes)
    })
    .await?
}

/// Tells where the run writes: the folder that it names, and no other.
fn tell_of_target(app: &App, run: RunId, target: &Path) {
    let there = match (target.exists(), target.parent().is_some_and(Path::exists)) {
        (true, _) => "",
        (false, true) => ", which is not there yet",
        (false, false) => ", which this host does not have, nor the folder above it: both are made",
    };
    app.printer
        .say(format!("run {run} recovers into {}{there}", target.display()));
}

/// Returns whether there is something that the run has yet to capture.
fn captures(plan: &Plan, state: &RunState) -> bool {
    let left = |step: &&rekindle_plan::PlanStep| {
        step.uses == "snapshot"
            && state
                .steps
                .get(&step.id)
                .is_none_or(|step| !step.state.is_final())
    };
    plan.steps.iter().any(|step| left(&step))
}
