//! What recoveries have made of the living system, as the journal and the folders beside it tell: which of them did
//! not come to a good end, and which of those a later one has made good or a person has accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rekindle_actions::displace;
use rekindle_journal::{RunFilter, RunSummary};
use rekindle_model::event::Outcome;
use rekindle_model::id::RunId;
use rekindle_model::step::StepState;
use rekindle_model::system::System;
use rekindle_plan::{Plan, PlanStep};
use rekindle_report::Evidence;
use rekindle_report::copies::{Place, place};
use rekindle_report::recovery::set_aside;
use serde_json::Value;

use rekindle_model::next_action::Action;

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::layout::Layout;
use crate::notice::Notice;
use crate::run_spec::{self, LoadedSpec};

/// The parameter of a backup that names the runs whose outcome it accepts, with a space between two.
pub const ACCEPT: &str = "accept";

/// After all that was ever journaled.
const NOW: Place = Place {
    commit: u64::MAX,
    at: DateTime::<Utc>::MAX_UTC,
};

/// A recovery into the living system that did not come to a good end.
#[derive(Debug)]
pub struct Half {
    /// The run.
    pub run: RunId,
    /// What it has begun to bring back and has not; none of a run that cannot be read any more: any of them.
    pub components: Option<BTreeSet<String>>,
    /// The folders with what stood there before.
    pub aside: Vec<String>,
    /// Whether it can still be gone on with.
    pub resumable: bool,
}

impl Half {
    /// Returns which of some components it has left half recovered.
    pub fn of<'a>(&self, asked: &'a BTreeSet<String>) -> Vec<&'a str> {
        let hit = |name: &&String| self.components.as_ref().is_none_or(|own| own.contains(*name));
        asked.iter().filter(hit).map(String::as_str).collect()
    }
}

/// Returns every recovery into the living system that is neither settled nor accepted, newest first, those that
/// have not ended included. `accepted` are runs that are accepted as of now.
pub async fn half_recovered(
    context: &WorkspaceContext,
    system: &System,
    accepted: &[RunId],
) -> Result<Vec<Half>, Error> {
    let root = run_spec::data_root(&context.layout.system_dir(), system);
    let runs = context.journal.runs(&RunFilter::default()).await?;
    let (good, other): (Vec<&RunSummary>, Vec<&RunSummary>) = runs
        .iter()
        .filter(|run| run.quarantined.is_none())
        .partition(|run| run.outcome == Some(Outcome::Succeeded));
    let mut past = Past {
        system_dir: context.layout.system_dir(),
        living: &root,
        attempts: Vec::new(),
        accepted: accepted.iter().map(|run| (*run, NOW)).collect(),
    };
    for run in other {
        past.read(context, run).await;
    }
    let lost: Vec<(RunId, Vec<String>)> = runs
        .iter()
        .filter(|run| run.quarantined.is_some())
        .map(|run| (run.run, asides(&root, run.run)))
        .filter(|(_, aside)| !aside.is_empty())
        .collect();
    // Only where something is open does it matter what came after.
    if !lost.is_empty() || past.attempts.iter().any(|attempt| !attempt.half.is_empty()) {
        for run in good {
            past.read(context, run).await;
        }
    }
    let mut half = past.open();
    half.extend(
        lost.into_iter()
            .filter(|(run, _)| !past.accepted.iter().any(|(accepted, _)| accepted == run))
            .map(|(run, aside)| Half {
                run,
                components: None,
                aside,
                resumable: false,
            }),
    );
    half.sort_by_key(|half| std::cmp::Reverse(half.run));
    Ok(half)
}

/// Returns the folders in which a run has put what stood at `root`, found by its id alone.
pub fn asides(root: &Path, run: RunId) -> Vec<String> {
    let found = displace::asides(root, run).into_iter();
    found.map(|folder| folder.display().to_string()).collect()
}

/// Returns where a run of which a record is lost has moved the content of the living system, and what to do; none where
/// it has moved nothing.
pub fn left(layout: &Layout, run: RunId) -> Option<Notice> {
    let (system, _) = run_spec::system(layout).ok()?;
    let aside = asides(&run_spec::data_root(&layout.system_dir(), &system), run);
    (!aside.is_empty()).then(|| {
        let text = format!(
            "run {run} was recovering in place: the content from before is in {}; nothing is backed up until the \
             content of now is accepted",
            aside.join(", ")
        );
        Notice::warning(text).with_next(Action::AcceptRecovery { run }, "accepts it")
    })
}

/// Returns the component that a step is about.
pub fn component(step: &PlanStep) -> Option<&str> {
    let fixed = step.with.get("component").and_then(Value::as_str);
    step.each.get("component").map(String::as_str).or(fixed)
}

/// Returns the folder that a path leads to, links followed, or the path where it leads nowhere.
pub fn same(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// What one recovery has made of the living system.
struct Attempt {
    run: RunId,
    place: Place,
    over: bool,
    /// What it has begun to bring back, and has not.
    half: BTreeSet<String>,
    /// What it has brought back, and found valid where that was measured.
    came: BTreeSet<String>,
    aside: Vec<String>,
}

/// All that bears on what stands in the living system.
struct Past<'a> {
    system_dir: PathBuf,
    living: &'a Path,
    attempts: Vec<Attempt>,
    /// What was accepted, and when.
    accepted: Vec<(RunId, Place)>,
}

impl Past<'_> {
    async fn read(&mut self, context: &WorkspaceContext, run: &RunSummary) {
        // A backup brings nothing back, and where it accepts something its trigger says so.
        if run.workflow == "backup" && !run.trigger.contains("--accept") {
            return;
        }
        let read = async {
            let evidence = context.evidence(run.run).await?;
            let pinned = LoadedSpec::read(&*context.journal, &evidence.state, &evidence.inputs).await?;
            let plan = pinned.plan()?;
            Ok::<_, Error>((evidence, pinned, plan))
        };
        match read.await {
            Ok((evidence, pinned, plan)) => self.take(&evidence, &pinned, &plan),
            // One that cannot be read must not keep every other from running.
            Err(error) => context.notices.warn(format!(
                "run {} cannot be read, so whether it has recovered in place is not known: {error}",
                run.run
            )),
        }
    }

    fn take(&mut self, evidence: &Evidence, pinned: &LoadedSpec, plan: &Plan) {
        if let Some(accepted) = pinned.param(ACCEPT) {
            let first = evidence.records.first().and_then(|record| record.head);
            let since = Place {
                commit: first.map_or(0, |head| head.commit),
                at: evidence.state.created.utc,
            };
            self.accepted
                .extend(runs(accepted).into_iter().map(|run| (run, since)));
        }
        let target = pinned.target_root(&self.system_dir);
        if target.is_some_and(|target| same(&target) == same(self.living)) {
            self.attempts.push(attempt(evidence, plan));
        }
    }

    /// Returns what nothing has settled.
    fn open(&self) -> Vec<Half> {
        let open = self.attempts.iter().filter_map(|attempt| {
            let settled = |name: &&String| !self.is_settled(attempt, name);
            let open: BTreeSet<String> = attempt.half.iter().filter(settled).cloned().collect();
            (!open.is_empty()).then(|| Half {
                run: attempt.run,
                components: Some(open),
                aside: attempt.aside.clone(),
                resumable: !attempt.over,
            })
        });
        open.collect()
    }

    /// Returns whether a later recovery has brought a component back, or what this one, or a later one, has left of
    /// it was accepted.
    fn is_settled(&self, attempt: &Attempt, name: &String) -> bool {
        let later = |other: &&Attempt| other.place > attempt.place;
        let mut since = self.attempts.iter().filter(later);
        if since.any(|other| other.came.contains(name)) {
            return true;
        }
        // What can be gone on with is not over because somebody says so.
        attempt.over
            && self.accepted.iter().any(|(run, since)| {
                let named = self.attempts.iter().find(|other| other.run == *run);
                named.is_some_and(|named| {
                    *since > named.place && named.place >= attempt.place && named.half.contains(name)
                })
            })
    }
}

/// Returns the runs that a parameter names; what is no id names none.
pub fn runs(accepted: &str) -> Vec<RunId> {
    let words = accepted.split_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
}

fn attempt(evidence: &Evidence, plan: &Plan) -> Attempt {
    let mut begun: BTreeSet<&str> = BTreeSet::new();
    let mut came: BTreeMap<&str, bool> = BTreeMap::new();
    for step in &plan.steps {
        let Some(name) = component(step) else {
            continue;
        };
        let record = evidence.state.step(&step.id);
        let succeeded = matches!(record.state, StepState::Succeeded { .. });
        let has_begun = match step.uses.as_str() {
            // It records what it is about to move before it moves any of it.
            "set-aside" => record.checkpoint.is_some(),
            "restore" => record.attempts > 0,
            _ => false,
        };
        if has_begun {
            begun.insert(name);
        }
        if matches!(step.uses.as_str(), "restore" | "validate") {
            *came.entry(name).or_insert(true) &= succeeded;
        }
    }
    let half = |name: &&&str| came.get(**name) != Some(&true);
    Attempt {
        run: evidence.state.id,
        place: place(evidence),
        over: evidence.state.outcome.is_some(),
        half: begun.iter().filter(half).map(|name| (*name).to_owned()).collect(),
        came: came
            .iter()
            .filter(|(_, came)| **came)
            .map(|(name, _)| (*name).to_owned())
            .collect(),
        aside: set_aside(evidence, plan),
    }
}
