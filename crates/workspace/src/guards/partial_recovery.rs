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

use crate::App;
use crate::error::CliError;
use crate::ground::Ground;
use crate::pinned::{self, Pinned};
use crate::workspace::Workspace;

/// The parameter of a backup that names the runs whose outcome it accepts, with a space between two.
pub(crate) const ACCEPT: &str = "accept";

/// After all that was ever journaled.
const NOW: Place = Place {
    commit: u64::MAX,
    at: DateTime::<Utc>::MAX_UTC,
};

/// A recovery into the living system that did not come to a good end.
#[derive(Debug)]
pub(crate) struct Half {
    /// The run.
    pub(crate) run: RunId,
    /// What it has begun to bring back and has not; none of a run that cannot be read any more: any of them.
    pub(crate) components: Option<BTreeSet<String>>,
    /// The folders with what stood there before.
    pub(crate) aside: Vec<String>,
    /// Whether it can still be gone on with.
    pub(crate) resumable: bool,
}

impl Half {
    /// Returns which of some components it has left half recovered.
    pub(crate) fn of<'a>(&self, asked: &'a BTreeSet<String>) -> Vec<&'a str> {
        let hit = |name: &&String| self.components.as_ref().is_none_or(|own| own.contains(*name));
        asked.iter().filter(hit).map(String::as_str).collect()
    }
}

/// Returns every recovery into the living system that is neither settled nor accepted, newest first, those that
/// have not ended included. `accepted` are runs that are accepted as of now.
pub(crate) async fn half_recovered(
    ground: &Ground,
    system: &System,
    accepted: &[RunId],
) -> Result<Vec<Half>, CliError> {
    let root = pinned::data_root(&ground.workspace.system_dir(), system);
    let runs = ground.journal.runs(&RunFilter::default()).await?;
    let (good, other): (Vec<&RunSummary>, Vec<&RunSummary>) = runs
        .iter()
        .filter(|run| run.quarantined.is_none())
        .partition(|run| run.outcome == Some(Outcome::Succeeded));
    let mut past = Past {
        system_dir: ground.workspace.system_dir(),
        living: &root,
        attempts: Vec::new(),
        accepted: accepted.iter().map(|run| (*run, NOW)).collect(),
    };
    for run in other {
        past.read(ground, run).await;
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
            past.read(ground, run).await;
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
pub(crate) fn asides(root: &Path, run: RunId) -> Vec<String> {
    let found = displace::asides(root, run).into_iter();
    found.map(|folder| folder.display().to_string()).collect()
}

/// Returns where a run of which a record is lost has put what stood in the living system, and how to go on; none
/// where it has put nothing anywhere.
pub(crate) fn left(app: &App, workspace: &Workspace, run: RunId) -> Option<String> {
    let (system, _) = pinned::system(app, workspace).ok()?;
    let aside = asides(&pinned::data_root(&workspace.system_dir(), &system), run);
    (!aside.is_empty()).then(|| {
        format!(
            "run {run} was recovering in place: what stood there before is in {}; what stands there \
             now is backed up once `rekindle backup --accept {run}` has said so",
            aside.join(", ")
        )
    })
}

/// Returns the component that a step is about.
pub(crate) fn component(step: &PlanStep) -> Option<&str> {
    let fixed = step.with.get("component").and_then(Value::as_str);
    step.each.get("component").map(String::as_str).or(fixed)
}

/// Returns the folder that a path leads to, links followed, or the path where it leads nowhere.
pub(crate) fn same(path: &Path) -> PathBuf {
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
    async fn read(&mut self, ground: &Ground, run: &RunSummary) {
        // A backup brings nothing back, and where it accepts something its trigger says so.
        if run.workflow == "backup" && !run.trigger.contains("--accept") {
            return;
        }
        let read = async {
            let evidence = ground.evidence(run.run).await?;
            let pinned = Pinned::read(&*ground.journal, &evidence.state, &evidence.inputs).await?;
            let plan = pinned.plan()?;
            Ok::<_, CliError>((evidence, pinned, plan))
        };
        match read.await {
            Ok((evidence, pinned, plan)) => self.take(&evidence, &pinned, &plan),
            // One that cannot be read must not keep every other from running.
            Err(error) => ground.printer.warn(format!(
                "run {} cannot be read, so whether it has recovered in place is not known: {error}",
                run.run
            )),
        }
    }

    fn take(&mut self, evidence: &Evidence, pinned: &Pinned, plan: &Plan) {
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
pub(crate) fn runs(accepted: &str) -> Vec<RunId> {
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
