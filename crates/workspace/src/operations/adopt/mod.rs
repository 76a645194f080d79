//! An adoption: an unfinished run of another workspace, from its replica in a tier, continued here.
//!
//! [`find`] lists what a tier offers, or prepares one run with the questions that a person must answer. Once they have,
//! [`Adoption::import`] puts the run into the journal here, and [`TakeOver::take_over`] adopts it as the owner.

mod fetched;
mod questions;

use chrono::{DateTime, Utc};
use rekindle_journal::Journal;
use rekindle_journal_local::LogView;
use rekindle_model::event::Outcome;
use rekindle_model::id::{RunId, is_named};
use rekindle_model::next_action::Action;
use rekindle_model::problem::{Problem, ProblemKind};
use rekindle_model::run::RunState;
use rekindle_model::system::System;
use rekindle_model::time;
use rekindle_replica::{Notice, Writer, fence, open as within};
use rekindle_vault::segment::Link;
use rekindle_vault::store::is_same_location;
use rekindle_vault::{SegmentHead, SegmentStore};

use self::fetched::FetchedRun;
use self::questions::Unread;
use crate::Application;
use crate::error::Error;
use crate::keys::{self, OpenKey};
use crate::layout::Layout;
use crate::open::ReadWriteWorkspace;
use crate::{replica, run_spec};

/// The run to adopt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptRequest {
    /// Where a tier of the run's system is.
    pub url: String,
    /// A unique beginning of the run's id; none for the only unfinished one.
    pub run: Option<String>,
    /// Whether only the list of unfinished runs is wanted.
    pub list: bool,
}

/// The result of a search in a tier.
pub enum Found {
    /// The unfinished runs: a list was asked for, or there are none.
    Listed(Vec<Offer>),
    /// One run, ready to be adopted once a person agrees.
    Prepared(Box<Adoption>),
}

/// A run whose replica is in a tier.
pub struct Offer {
    /// The run.
    pub run: RunId,
    /// Its last segment; none where that cannot be read.
    tail: Option<Link>,
}

/// A run that can be adopted.
pub struct Adoption {
    /// The run.
    pub run: RunId,
    /// What a person must agree to; empty where there is nothing to ask.
    pub questions: Vec<String>,
    layout: Layout,
    tier: String,
    place: SegmentStore,
    unread: Unread,
    /// None where no location has the run whole, and this workspace has.
    fetched: Option<FetchedRun>,
    state: RunState,
}

/// The result of an import.
pub enum Imported {
    /// The run is over; its history is here now.
    Over {
        /// The run.
        run: RunId,
        /// How it ended.
        outcome: Outcome,
    },
    /// The run has always been this workspace's. Its segments are written again when the next run ends.
    Own {
        /// The run.
        run: RunId,
        /// How it ended, where it has.
        outcome: Option<Outcome>,
        /// The action that writes its segments again.
        next: Action,
    },
    /// The run is here and unfinished; the owner of this workspace can take it over.
    Unfinished(Box<TakeOver>),
}

/// A run that was imported, for the owner to take over.
pub struct TakeOver {
    /// The run.
    pub run: RunId,
    /// Its state at the import.
    pub state: RunState,
    /// The tier that it was adopted from.
    pub tier: String,
    /// The run's last segment, as it was fetched.
    pub from: SegmentHead,
    place: SegmentStore,
}

/// Looks in a tier for the runs that it offers, and prepares the one that the person named.
///
/// # Errors
/// The tier does not answer, offers no such run or several, or has the run damaged.
pub async fn find(app: &Application, request: &AdoptRequest) -> Result<Found, Error> {
    let layout = app.layout()?;
    let system = run_spec::system(&layout)?;
    let key = keys::open(&layout, &app.unlocker)?;
    let (tier, place) = open(&layout, &system, &key, &request.url).await?;
    let offers = offers(app, &place).await?;
    let Some(run) = choose(request, &offers)? else {
        let unfinished = |offer: &Offer| offer.unfinished().is_some();
        return Ok(Found::Listed(offers.into_iter().filter(unfinished).collect()));
    };
    let (mut places, silent) = within::locations(&replica::access(&layout, &key), &system).await;
    silent.iter().for_each(|why| app.notices.warn(why.to_string()));
    if places
        .iter()
        .all(|known| !same(&layout, known.url(), &request.url))
    {
        places.push(place.clone());
    }
    let unread = Unread::read(&layout, &places, run).await;
    let (fetched, faults) = FetchedRun::fetch(&places, run).await;
    let (state, questions) = match &fetched {
        Some(fetched) => {
            faults
                .iter()
                .for_each(|fault| app.notices.warn(fault.to_string()));
            let state = fetched.state()?;
            let found = (fetched, &state);
            let questions = questions::questions(app, &request.url, &layout, &place, found, &unread).await?;
            (state, questions)
        }
        None => (whole_here(&layout, run, &faults).await?, unread.questions(run)),
    };
    Ok(Found::Prepared(Box::new(Adoption {
        run,
        questions,
        layout,
        tier,
        place,
        unread,
        fetched,
        state,
    })))
}

impl Adoption {
    /// Imports the run into the journal here. The person has agreed to every question.
    ///
    /// # Errors
    /// The journal cannot be written, or another process has it.
    pub async fn import(self, app: &Application) -> Result<Imported, Error> {
        let Self {
            run,
            layout,
            tier,
            place,
            unread,
            fetched,
            state,
            ..
        } = self;
        let Some(fetched) = fetched else {
            unread.note(&layout, run)?;
            fence::clear(&layout.state, run)?;
            let next = match state.outcome {
                None => replica::way_on(&layout.state, run),
                Some(_) => Action::Verify,
            };
            return Ok(Imported::Own {
                run,
                outcome: state.outcome,
                next,
            });
        };
        fetched.import(app, &layout, &state).await?;
        unread.note(&layout, run)?;
        if let Some(outcome) = state.outcome {
            fence::clear(&layout.state, run)?;
            return Ok(Imported::Over { run, outcome });
        }
        Ok(Imported::Unfinished(Box::new(TakeOver {
            run,
            from: fetched.tail().head.clone(),
            state,
            tier,
            place,
        })))
    }
}

impl TakeOver {
    /// Takes the run over as the owner of the workspace, which drives it from then on.
    ///
    /// # Errors
    /// Another process owns the workspace, or the tier does not have the adoption.
    pub async fn take_over(&self, workspace: &ReadWriteWorkspace) -> Result<(), Error> {
        let Some(owner) = workspace.owner() else {
            return Err(workspace.held_by_other());
        };
        let Self {
            run,
            state,
            tier,
            from,
            place,
        } = self;
        let run = *run;
        let folder = &workspace.context.layout.state;
        let ours = Writer::kept(folder)?.workspace;
        let why = format!("adopted from host {} by tier {tier}", from.host);
        let held = async {
            // The location that the run was adopted from must have the adoption too: the former owner looks there.
            let tail = within::answer(place, place.tail(run)).await;
            let tail = tail
                .map_err(|_| unheld(run, place, "it does not answer"))?
                .map_err(|error| unheld(run, place, &error.to_string()))?;
            match tail {
                Some(Link { head, .. }) if head.workspace == ours && head.epoch > state.epoch => {
                    fence::clear(folder, run).map_err(|error| Error::from(error).into())
                }
                _ => Err(unheld(
                    run,
                    place,
                    "it does not have the segment of this adoption",
                )),
            }
        };
        owner.bring(run, &why, ours, held).await?;
        Ok(())
    }
}

/// Returns the state of a run that no location has whole, if this workspace has it and no other one is known to hold
/// it.
async fn whole_here(layout: &Layout, run: RunId, faults: &[Notice]) -> Result<RunState, Error> {
    let (view, _) = LogView::open(&layout.state).await?;
    let own = Journal::read(&view, run).await.ok();
    let state = own.and_then(|records| RunState::from_records(&records).ok());
    let noted = fence::read(&layout.state, run);
    let nobodys = matches!(&noted, Ok(note) if note.as_ref().is_none_or(|note| note.taken.is_by_unknown()));
    if let (Some(state), true) = (state, nobodys) {
        return Ok(state);
    }
    let faults: Vec<String> = faults.iter().map(Notice::to_string).collect();
    let message = format!("no location has run {run} whole:\n  {}", faults.join("\n  "));
    Err(Error::new(ProblemKind::DataLost, "replica_damaged", message)
        .with_advice("nothing was changed; mount a tier that does not answer, and run this again"))
}

fn unheld(run: RunId, place: &SegmentStore, why: &str) -> Problem {
    Problem::new(
        ProblemKind::Failed,
        "tier_unavailable",
        format!(
            "run {run} could not be taken over in {}: {why}; nothing of it was driven",
            place.url()
        ),
    )
    .with_advice("try again when the tier answers")
}

impl Offer {
    /// Returns what its last segment says, where the run is neither over nor another's part.
    pub fn unfinished(&self) -> Option<&SegmentHead> {
        let head = &self.tail.as_ref()?.head;
        (head.outcome.is_none() && head.parent.is_none()).then_some(head)
    }

    /// Returns the run on one line, for people.
    pub fn line(&self) -> String {
        let Some(Link { head, .. }) = &self.tail else {
            return format!("{}  its last segment cannot be read", self.run);
        };
        let at: DateTime<Utc> = head.at;
        format!(
            "{}  {}  {} records, the last at {} from host {}{}",
            self.run,
            head.workflow,
            head.last,
            time::show(at),
            head.host,
            head.outcome.map_or("", |_| ", over")
        )
    }
}

fn list<'a>(offers: impl Iterator<Item = &'a Offer>) -> String {
    offers.map(Offer::line).collect::<Vec<_>>().join("\n  ")
}

/// Opens the location at a URL, under the name of the system's tier that has this location.
async fn open(
    layout: &Layout,
    system: &System,
    key: &OpenKey,
    url: &str,
) -> Result<(String, SegmentStore), Error> {
    let named = system.tiers.iter().find(|(_, tier)| {
        let mut locations = tier.locations().into_iter();
        locations.any(|location| same(layout, location, url))
    });
    let name = named.map_or_else(|| url.to_owned(), |(name, _)| name.clone());
    let access = replica::access(layout, key);
    let tier = within::tier(&access, &name, vec![url.to_owned()]).await?;
    match tier.segment_stores().into_iter().next() {
        Some(place) => Ok((name, place)),
        None => Err(Error::new(
            ProblemKind::Failed,
            "tier_unavailable",
            format!("{url} did not open"),
        )),
    }
}

/// Returns whether two URLs lead to one location.
fn same(layout: &Layout, one: &str, other: &str) -> bool {
    is_same_location(one, other, &layout.system_dir())
}

/// Returns the runs that have a replica in a location.
async fn offers(app: &Application, place: &SegmentStore) -> Result<Vec<Offer>, Error> {
    let listing = async {
        let mut offers = Vec::new();
        for run in place.runs().await.map_err(|error| failed(&error))? {
            match place.tail(run).await {
                Ok(None) => {}
                Ok(tail) => offers.push(Offer { run, tail }),
                Err(error) => {
                    app.notices.warn(error.to_string());
                    offers.push(Offer { run, tail: None });
                }
            }
        }
        Ok(offers)
    };
    within::answer(place, listing).await?
}

fn failed(error: &rekindle_vault::SegmentError) -> Error {
    match error.is_damage() {
        true => Error::new(ProblemKind::DataLost, "tier_damaged", error.to_string()),
        false => Error::new(ProblemKind::Failed, "tier_unavailable", error.to_string()),
    }
}

/// Returns the run that the person named, or the only unfinished one. None if a list is wanted or there is none.
fn choose(request: &AdoptRequest, offers: &[Offer]) -> Result<Option<RunId>, Error> {
    if let Some(word) = &request.run {
        let found: Vec<&Offer> = offers.iter().filter(|offer| is_named(&offer.run, word)).collect();
        return match found[..] {
            [one] => Ok(Some(one.run)),
            [] => Err(
                Error::usage(format!("{} has no run {word:?}", request.url)).with_advice(
                    match offers.is_empty() {
                        true => "there is no replica of any run there".to_owned(),
                        false => format!("it has\n  {}", list(offers.iter())),
                    },
                ),
            ),
            _ => Err(Error::usage(format!("{word:?} begins {} runs", found.len()))
                .with_advice(format!("name one:\n  {}", list(found.iter().copied())))),
        };
    }
    let unfinished: Vec<&Offer> = offers
        .iter()
        .filter(|offer| offer.unfinished().is_some())
        .collect();
    match (&unfinished[..], request.list) {
        (_, true) | ([], _) => Ok(None),
        ([one], false) => Ok(Some(one.run)),
        (several, false) => {
            Err(
                Error::usage(format!("{} has {} unfinished runs", request.url, several.len()))
                    .with_advice(format!("name one:\n  {}", list(several.iter().copied()))),
            )
        }
    }
}
