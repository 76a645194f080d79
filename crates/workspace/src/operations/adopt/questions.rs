//! The questions that a person must agree to before a run of another host continues here. They name the data that it
//! captures, the programs that it runs, and any other workspace that may still continue it.

use std::path::Path;

use rekindle_model::id::RunId;
use rekindle_model::run::RunState;
use rekindle_model::system::{Component, System, TierSpec};
use rekindle_plan::{Plan, PlanStep};
use rekindle_replica::{lag, last_seen, open};
use rekindle_sources::Programs;
use rekindle_vault::SegmentStore;
use serde_json::Value;

use super::fetched::FetchedRun;
use super::same;
use crate::Application;
use crate::error::Error;
use crate::layout::Layout;
use crate::run_spec;

/// How many characters of a program's command line are shown.
const SHOWN: usize = 100;

/// Returns the questions that a person must agree to before the run continues here.
///
/// # Errors
/// The run cannot continue here, or the location does not answer.
pub(super) async fn questions(
    app: &Application,
    url: &str,
    layout: &Layout,
    place: &SegmentStore,
    (fetched, state): (&FetchedRun, &RunState),
    unread: &Unread,
) -> Result<Vec<String>, Error> {
    let run = fetched.run;
    let mut questions = unread.questions(run);
    if state.outcome.is_none() {
        let spec = fetched.spec(state)?;
        check_location(layout, run, &spec.system, url)?;
        let plan = spec.plan()?;
        if let Some(target) = spec.target_root(&layout.system_dir()) {
            say_target(app, run, &target);
        }
        if captures(&plan, state) {
            let living = run_spec::living(&layout.system_dir(), &spec.system);
            let places = run_spec::places(&living, spec.system.components.values());
            let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
            questions.push(format!(
                "run {run} has data left to capture: it captures from {} on this host",
                places.join(", ")
            ));
        }
        let programs = programs(&plan, &spec.system, state);
        if !programs.is_empty() {
            questions.push(format!(
                "run {run} runs these programs on this host:\n  {}\n",
                programs.join("\n  ")
            ));
        }
        match open::answer(place, place.is_exclusive()).await? {
            Ok(true) => {}
            Ok(false) => questions.push(format!(
                "{} cannot keep two workspaces from driving one run: make sure that host {} does not drive it",
                place.url(),
                fetched.tail().head.host
            )),
            Err(error) => return Err(super::failed(&error)),
        }
    }
    Ok(questions)
}

/// Refuses a location that the run does not know: it would write its segments elsewhere.
fn check_location(layout: &Layout, run: RunId, system: &System, url: &str) -> Result<(), Error> {
    let tiers = system.tiers.values();
    let known: Vec<&str> = tiers.flat_map(TierSpec::locations).collect();
    if known.iter().any(|known| same(layout, known, url)) {
        return Ok(());
    }
    let known = known.join(", ");
    Err(Error::usage(format!(
        "run {run} knows its tiers at {known}, and {url} is none of them"
    ))
    .with_advice("mount the tier where the run knows it, and name it so; nothing was changed"))
}

/// The faults in the replicas of a run, in the locations that answer.
#[derive(Default)]
pub(super) struct Unread {
    /// The locations with damaged segments.
    damaged: Vec<String>,
    /// The damaged locations whose newest segment cannot be read, each with that segment's number. Segments that this
    /// workspace knows as its own do not count.
    ends: Vec<(String, u64)>,
}

impl Unread {
    /// Reads the replicas of a run.
    pub(super) async fn read(layout: &Layout, places: &[SegmentStore], run: RunId) -> Self {
        let mut unread = Self::default();
        let seen = last_seen::read(&layout.state, run);
        for place in places {
            let walked = open::answer(place, place.walk(run)).await;
            let Ok(Ok(walked)) = walked else { continue };
            if walked.faults.is_empty() {
                continue;
            }
            unread.damaged.push(place.url().to_owned());
            if !walked.ends_readably() && seen.get(place.url()) != Some(&walked.last) {
                unread.ends.push((place.url().to_owned(), walked.last));
            }
        }
        unread
    }

    pub(super) fn questions(&self, run: RunId) -> Vec<String> {
        let asked = self.ends.iter().map(|(url, n)| {
            format!(
                "segment {n} of run {run} in {url} cannot be read. Another workspace may have written it to continue the \
                 run: make sure that none does"
            )
        });
        asked.collect()
    }

    /// Notes the person's answers: no other workspace continues the run, and each damaged chain starts again.
    pub(super) fn note(&self, layout: &Layout, run: RunId) -> Result<(), Error> {
        let failed =
            |error: std::io::Error| Error::io(format_args!("note what is known of run {run}"), &error);
        last_seen::advance(&layout.state, run, &self.ends.iter().cloned().collect()).map_err(failed)?;
        for url in &self.damaged {
            lag::add(&layout.state, run, url, true).map_err(failed)?;
        }
        Ok(())
    }
}

/// Returns the programs of the steps that have not ended, each with its step.
fn programs(plan: &Plan, system: &System, state: &RunState) -> Vec<String> {
    let left = plan.steps.iter().filter(|step| is_left(step, state));
    left.flat_map(|step| {
        let programs = programs_of(step, system).into_iter();
        programs.map(|program| format!("{}: {program}", step.id))
    })
    .collect()
}

/// Returns whether a step has not ended.
fn is_left(step: &PlanStep, state: &RunState) -> bool {
    !state.step(&step.id).state.is_final()
}

fn programs_of(step: &PlanStep, system: &System) -> Vec<String> {
    let component = step
        .each
        .get("component")
        .and_then(|name| system.components.get(name));
    match step.uses.as_str() {
        "command" | "notify" => words(step.with.get("run").or_else(|| step.with.get("command"))),
        "workflow" => step
            .with
            .get("workflow")
            .and_then(Value::as_str)
            .map(|name| format!("workflow {name}, and the programs of its steps"))
            .into_iter()
            .collect(),
        "snapshot" => listed(&programs_of_source(component).capture),
        "restore" => listed(&programs_of_source(component).restore),
        "validate" => component
            .into_iter()
            .flat_map(|component| &component.validate)
            .filter(|probe| !probe.run.is_empty())
            .map(|probe| line(&probe.run))
            .collect(),
        _ => Vec::new(),
    }
}

fn words(run: Option<&Value>) -> Vec<String> {
    let words = run.and_then(Value::as_array).into_iter().flatten();
    let words: Vec<String> = words
        .map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned))
        .collect();
    listed(&words)
}

/// Returns a program as a list: empty where there is none.
fn listed(words: &[String]) -> Vec<String> {
    match words.is_empty() {
        true => Vec::new(),
        false => vec![line(words)],
    }
}

/// Returns the programs of a component's source. A source of a type that this version does not know runs none: its
/// steps fail.
fn programs_of_source(component: Option<&Component>) -> Programs {
    let spec = component.and_then(|component| component.source.as_ref());
    let source = spec.and_then(|spec| rekindle_sources::open(spec).ok());
    source.map(|source| source.programs()).unwrap_or_default()
}

/// Returns a command line on one line, cut short.
fn line(words: &[String]) -> String {
    let line: String = words
        .join(" ")
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match line.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// Says where the run writes: into the folder that it names, and no other.
fn say_target(app: &Application, run: RunId, target: &Path) {
    let there = match (target.exists(), target.parent().is_some_and(Path::exists)) {
        (true, _) => "",
        (false, true) => ", which is not there yet",
        (false, false) => ", which this host does not have, nor the folder above it: both are made",
    };
    app.notices
        .say(format!("run {run} recovers into {}{there}", target.display()));
}

/// Returns whether the run has data left to capture.
fn captures(plan: &Plan, state: &RunState) -> bool {
    let mut captures = plan.steps.iter().filter(|step| step.uses == "snapshot");
    captures.any(|step| is_left(step, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_not_adopted_from_a_location_that_it_does_not_know() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let url = |name: &str| format!("file://{}", path(name).display());
        for name in ["shop", "near", "copy"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        let yaml = "system: shop\nroot: .\ncomponents: {a: {source: {type: files, path: a}}}\n\
                    tiers: {near: {url: \"file://../near\"}}\n";
        let system = crate::load_system("system.yaml", yaml).unwrap();
        let run = RunId(uuid::Uuid::from_u128(7));
        let layout = Layout::at(&path("shop"));
        let check = |url: &str| check_location(&layout, run, &system.value, url);
        check(&url("near")).unwrap();
        let error = check(&url("copy")).unwrap_err();
        assert!(
            error.to_string().contains("knows its tiers at file://../near"),
            "{error}"
        );
    }
}
