//! Partial recoveries: recoveries into the living system that restored only a part of it.
//!
//! A partial recovery leaves the system as a mixture of two instants, so no backup may capture it. It is settled when
//! a later recovery restores the same components, or when a person accepts it: a run with the parameter `accept` names
//! it. This module reads all of this from the journal, and from the folders that hold the files which a recovery moved
//! aside.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rekindle_actions::displace;
use rekindle_journal::{RunFilter, RunSummary};
use rekindle_model::event::{Event, Outcome, Payload, Record};
use rekindle_model::id::RunId;
use rekindle_model::origin::RunKind;
use rekindle_model::step::StepState;
use rekindle_model::system::System;
use rekindle_plan::{Plan, PlanStep};
use rekindle_report::Evidence;
use rekindle_report::copies::{Position, position};
use rekindle_report::recovery::{Displaced, set_aside};
use rekindle_sources::place::Root;
use serde_json::Value;

use rekindle_model::next_action::Action;

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::layout::Layout;
use crate::notice::Notice;
use crate::run_spec::{self, LoadedSpec};

/// The parameter that names the recoveries whose outcome a run accepts: run ids, separated by spaces.
pub const ACCEPT: &str = "accept";

/// The position after every journaled run.
const NOW: Position = Position {
    commit: u64::MAX,
    at: DateTime::<Utc>::MAX_UTC,
};

/// A recovery into the living system that restored only a part of it.
#[derive(Debug)]
pub struct PartialRecovery {
    /// The run.
    pub run: RunId,
    /// The components that the run began to restore and did not finish. None if the run cannot be read any more: then
    /// it may be any component.
    pub components: Option<BTreeSet<String>>,
    /// The folders with the files that the run moved aside.
    pub aside: Vec<Displaced>,
    /// Whether the run can still be resumed.
    pub resumable: bool,
}

impl PartialRecovery {
    /// Returns which of these components the run left half recovered.
    pub fn of<'a>(&self, asked: &'a BTreeSet<String>) -> Vec<&'a str> {
        let hit = |name: &&String| self.components.as_ref().is_none_or(|own| own.contains(*name));
        asked.iter().filter(hit).map(String::as_str).collect()
    }
}

/// Returns the partial recoveries that are not settled, newest first, also those that have not ended. The caller
/// accepts the runs in `accepted` as of now.
pub async fn unsettled(
    context: &WorkspaceContext,
    system: &System,
    accepted: &[RunId],
) -> Result<Vec<PartialRecovery>, Error> {
    let root = run_spec::data_root(&context.layout.system_dir(), system);
    let runs = context.journal.runs(&RunFilter::default()).await?;
    // A backup restores nothing; it only accepts.
    let (backups, others): (Vec<&RunSummary>, Vec<&RunSummary>) = runs
        .iter()
        .filter(|run| run.quarantined.is_none())
        .partition(|run| run.kind == RunKind::Backup);
    let mut recoveries = Recoveries {
        system_dir: context.layout.system_dir(),
        living: &root,
        attempts: Vec::new(),
        accepted: accepted.iter().map(|run| (*run, NOW)).collect(),
    };
    let succeeded = |run: &&&RunSummary| run.outcome == Some(Outcome::Succeeded);
    for run in others.iter().filter(|run| !succeeded(run)) {
        recoveries.read(context, run).await;
    }
    let lost: Vec<(RunId, Vec<Displaced>)> = runs
        .iter()
        .filter(|run| run.quarantined.is_some())
        .map(|run| (run.run, asides(&root, system, run.run)))
        .filter(|(_, aside)| !aside.is_empty())
        .collect();
    // Only a partial recovery can be settled: if there is none, the other runs need not be read.
    if !lost.is_empty() || recoveries.attempts.iter().any(|attempt| !attempt.half.is_empty()) {
        for run in others.iter().filter(succeeded) {
            recoveries.read(context, run).await;
        }
        for run in backups {
            recoveries.read_accepted(context, run.run).await;
        }
    }
    let mut unsettled = recoveries.unsettled();
    unsettled.extend(
        lost.into_iter()
            .filter(|(run, _)| !recoveries.accepted.iter().any(|(accepted, _)| accepted == run))
            .map(|(run, aside)| PartialRecovery {
                run,
                components: None,
                aside,
                resumable: false,
            }),
    );
    unsettled.sort_by_key(|partial| std::cmp::Reverse(partial.run));
    Ok(unsettled)
}

/// Returns the folders with the files that a run moved aside, found by the run's id alone. `root` is the system's.
fn asides(root: &Path, system: &System, run: RunId) -> Vec<Displaced> {
    let living = Root::living(root.to_owned());
    let mut roots = run_spec::displaced_roots(&living, system.components.values());
    if !roots.iter().any(|own| own == root) {
        roots.push(root.to_owned());
    }
    let of_root = |root: &PathBuf| {
        let found = displace::asides(root, run).into_iter();
        let root = root.display().to_string();
        found.map(move |folder| Displaced {
            folder: folder.display().to_string(),
            root: root.clone(),
        })
    };
    roots.iter().flat_map(of_root).collect()
}

/// Returns a notice on a run of which a record is lost: where it moved the content of the living system, and what to
/// do. None if it has moved nothing.
pub fn left(layout: &Layout, run: RunId) -> Option<Notice> {
    let system = run_spec::system(layout).ok()?;
    let root = run_spec::data_root(&layout.system_dir(), &system);
    let aside: Vec<String> = asides(&root, &system, run)
        .into_iter()
        .map(|it| it.folder)
        .collect();
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

/// Returns the folder that a path leads to, with links followed. If the path leads nowhere, returns the path.
pub fn same(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Reads a run, with what it is pinned to and its plan.
pub(super) async fn read_run(
    context: &WorkspaceContext,
    run: RunId,
) -> Result<(Evidence, LoadedSpec, Plan), Error> {
    let evidence = context.evidence(run).await?;
    let pinned = LoadedSpec::read(&*context.journal, &evidence.state, &evidence.inputs).await?;
    let plan = pinned.plan()?;
    Ok((evidence, pinned, plan))
}

/// One recovery into the living system.
struct Attempt {
    run: RunId,
    position: Position,
    over: bool,
    /// The components that it began to restore and did not.
    half: BTreeSet<String>,
    /// The components that it restored, and that are valid where a probe measured them.
    restored: BTreeSet<String>,
    aside: Vec<Displaced>,
}

/// The recoveries into the living system, and the runs that a later run accepts.
struct Recoveries<'a> {
    system_dir: PathBuf,
    living: &'a Path,
    attempts: Vec<Attempt>,
    /// The accepted runs, each with the position of the run that accepts it.
    accepted: Vec<(RunId, Position)>,
}

impl Recoveries<'_> {
    async fn read(&mut self, context: &WorkspaceContext, run: &RunSummary) {
        match read_run(context, run.run).await {
            Ok((evidence, pinned, plan)) => self.take(&evidence, &pinned, &plan),
            // A run that cannot be read must not block all others.
            Err(error) => context.notices.warn(format!(
                "run {} cannot be read, so whether it has recovered in place is not known: {error}",
                run.run
            )),
        }
    }

    fn take(&mut self, evidence: &Evidence, pinned: &LoadedSpec, plan: &Plan) {
        if let Some(created) = evidence.records.first() {
            self.accept(created, &evidence.inputs);
        }
        let target = pinned.target_root(&self.system_dir);
        if target.is_some_and(|target| same(&target) == same(self.living)) {
            self.attempts.push(attempt(evidence, plan));
        }
    }

    /// Reads what a run accepts from its first record, without its steps.
    async fn read_accepted(&mut self, context: &WorkspaceContext, run: RunId) {
        let read = async {
            let records = context.journal.read(run).await?;
            let Some(created) = records.first() else {
                return Ok(None);
            };
            let inputs = match &created.event {
                Event::RunCreated { inputs, .. } => inputs,
                _ => &Payload::NONE,
            };
            let inputs = match inputs {
                Payload::Inline(value) => value.clone(),
                Payload::Blob(hash) => {
                    let bytes = context.journal.blob(*hash).await?;
                    // Inputs that are no JSON name no run.
                    serde_json::from_slice(&bytes).unwrap_or_default()
                }
            };
            Ok::<_, Error>(Some((created.clone(), inputs)))
        };
        match read.await {
            Ok(Some((created, inputs))) => self.accept(&created, &inputs),
            Ok(None) => {}
            Err(error) => context.notices.warn(format!(
                "run {run} cannot be read, so whether it accepts a recovery is not known: {error}"
            )),
        }
    }

    /// Notes the runs that a run's parameter names. The run may come from a command, another run or the API.
    fn accept(&mut self, created: &Record, inputs: &Value) {
        let since = Position {
            commit: created.head.map_or(0, |head| head.commit),
            at: created.time.utc,
        };
        let named = runs(inputs["params"][ACCEPT].as_str().unwrap_or_default());
        self.accepted.extend(named.into_iter().map(|run| (run, since)));
    }

    /// Returns the partial recoveries of which a component is not settled.
    fn unsettled(&self) -> Vec<PartialRecovery> {
        let open = self.attempts.iter().filter_map(|attempt| {
            let settled = |name: &&String| !self.is_settled(attempt, name);
            let open: BTreeSet<String> = attempt.half.iter().filter(settled).cloned().collect();
            (!open.is_empty()).then(|| PartialRecovery {
                run: attempt.run,
                components: Some(open),
                aside: attempt.aside.clone(),
                resumable: !attempt.over,
            })
        });
        open.collect()
    }

    /// Returns whether a later recovery restored the component, or a person accepted what this attempt or a later one
    /// left of it.
    fn is_settled(&self, attempt: &Attempt, name: &String) -> bool {
        let later = |other: &&Attempt| other.position > attempt.position;
        let mut since = self.attempts.iter().filter(later);
        if since.any(|other| other.restored.contains(name)) {
            return true;
        }
        // A run that can still be resumed is not over because a person accepts it.
        attempt.over
            && self.accepted.iter().any(|(run, since)| {
                let named = self.attempts.iter().find(|other| other.run == *run);
                named.is_some_and(|named| {
                    *since > named.position && named.position >= attempt.position && named.half.contains(name)
                })
            })
    }
}

/// Returns the runs that the parameter names; a word that is no run id names none.
pub fn runs(accepted: &str) -> Vec<RunId> {
    let words = accepted.split_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
}

fn attempt(evidence: &Evidence, plan: &Plan) -> Attempt {
    let mut begun: BTreeSet<&str> = BTreeSet::new();
    let mut restored: BTreeMap<&str, bool> = BTreeMap::new();
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
            *restored.entry(name).or_insert(true) &= succeeded;
        }
    }
    let half = |name: &&&str| restored.get(**name) != Some(&true);
    Attempt {
        run: evidence.state.id,
        position: position(evidence),
        over: evidence.state.outcome.is_some(),
        half: begun.iter().filter(half).map(|name| (*name).to_owned()).collect(),
        restored: restored
            .iter()
            .filter(|(_, whole)| **whole)
            .map(|(name, _)| (*name).to_owned())
            .collect(),
        aside: set_aside(evidence, plan),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{Shop, done, failed, finished};
    use super::*;

    /// Returns the runs that are not settled, each with the components that it left half recovered.
    async fn unsettled_of(shop: &Shop, accepted: &[RunId]) -> Vec<(RunId, Vec<String>)> {
        let found = unsettled(&shop.context, &shop.system(), accepted).await.unwrap();
        let components = |half: PartialRecovery| half.components.into_iter().flatten().collect();
        found
            .into_iter()
            .map(|half| (half.run, components(half)))
            .collect()
    }

    #[tokio::test]
    async fn a_failed_recovery_in_place_is_unsettled_until_a_person_accepts_it() {
        let shop = Shop::new("");
        let run = shop.half_recovery(&shop.beside("aside"), failed()).await;
        let half = unsettled(&shop.context, &shop.system(), &[])
            .await
            .unwrap()
            .remove(0);
        assert_eq!(half.aside[0].folder, shop.beside("aside").display().to_string());
        assert!(!half.resumable);
        assert_eq!(unsettled_of(&shop, &[]).await, [(run, vec!["notes".to_owned()])]);
        assert_eq!(unsettled_of(&shop, &[run]).await, []);
    }

    #[tokio::test]
    async fn a_recovery_that_can_be_resumed_is_unsettled_although_a_person_accepts_it() {
        let shop = Shop::new("");
        let run = shop.half_recovery(&shop.beside("aside"), Vec::new()).await;
        assert_eq!(
            unsettled_of(&shop, &[run]).await,
            [(run, vec!["notes".to_owned()])]
        );
    }

    #[tokio::test]
    async fn a_later_recovery_settles_an_earlier_one_if_it_restores_and_validates_the_component() {
        let shop = Shop::new("");
        let first = shop.half_recovery(&shop.beside("aside"), failed()).await;
        let restored = [done("restore"), vec![finished(Outcome::Partial)]].concat();
        let second = shop
            .recovery(&["notes"], &json!({"in_place": true}), restored)
            .await;
        let both = [second, first].map(|run| (run, vec!["notes".to_owned()]));
        assert_eq!(unsettled_of(&shop, &[]).await, both, "nothing has validated it");
        let whole = [
            done("restore"),
            done("validate"),
            vec![finished(Outcome::Succeeded)],
        ]
        .concat();
        shop.recovery(&["notes"], &json!({"in_place": true}), whole).await;
        assert_eq!(unsettled_of(&shop, &[]).await, []);
    }

    #[tokio::test]
    async fn a_recovery_into_another_folder_leaves_the_living_system_whole() {
        let shop = Shop::new("");
        let restored = [done("restore"), vec![finished(Outcome::Partial)]].concat();
        let elsewhere = json!({ "to": shop.beside("out") });
        shop.recovery(&["notes"], &elsewhere, restored.clone()).await;
        assert_eq!(unsettled_of(&shop, &[]).await, []);
        let run = shop
            .recovery(&["notes"], &json!({ "to": shop.data("") }), restored)
            .await;
        assert_eq!(unsettled_of(&shop, &[]).await, [(run, vec!["notes".to_owned()])]);
    }

    #[test]
    fn a_quarantined_recovery_is_found_by_the_folder_that_it_moved_files_into() {
        let shop = Shop::new("");
        let run = RunId(uuid::Uuid::from_u128(7));
        assert!(left(&shop.context.layout, run).is_none());
        std::fs::create_dir(shop.beside(&format!("shop/data.before-{run}"))).unwrap();
        let notice = left(&shop.context.layout, run).unwrap();
        assert_eq!(notice.next[0].action, Some(Action::AcceptRecovery { run }));
    }
}
