//! The search for the newest recovery set that is good: it restores, its recovery steps run, and no validation finds anything
//! invalid. A drill proves a set; one that is not good is passed over, and the next older one is tried. Each drill is a run of
//! its own.

use chrono::TimeDelta;
use rekindle_model::event::Outcome;
use rekindle_model::failure::{Failure, code};
use rekindle_model::id::{RunId, SetId};
use rekindle_model::next_action::Action;
use rekindle_model::problem::ProblemKind;
use rekindle_model::step::StepState;
use rekindle_plan::{Plan, PlanStep, workflow::RECOVERY};
use rekindle_report::Evidence;
use rekindle_report::copies::is_damage;
use rekindle_report::recovery::{Validity, recovery_table};

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::open::ReadWriteWorkspace;
use crate::operations::judged;
use crate::operations::recover::{self, CheckedSet, From, Prepared, RecoverRequest, Target};
use crate::operations::run::RunRequest;
use crate::run_spec::LoadedSpec;

/// The search, as far as it is.
pub struct Search {
    /// The drill of the next set.
    request: RecoverRequest,
    /// The sets that were passed over, each with the reason.
    passed_over: Vec<String>,
    /// How many of these were told.
    told: usize,
}

/// What to do next.
pub enum Next {
    /// Let this drill of a set end, and hand its run to [`Search::judge`].
    Drill(Box<RunRequest>, SetId),
    /// This set is good: this run proved it.
    Good(SetId, RunId),
}

/// What a drill found of a set.
pub enum Verdict {
    /// It is good. Nothing validates these components.
    Good(Vec<String>),
    /// It is passed over.
    Bad,
}

impl Search {
    /// Begins with the newest set that the request allows.
    ///
    /// # Errors
    /// The request names a set.
    pub fn new(request: &RecoverRequest) -> Result<Self, Error> {
        if matches!(request.from, From::Set(_)) {
            let error = Error::usage("a search for the last known good set takes no set");
            return Err(
                error.with_advice("write --from TIME for the newest one before a time, or leave --from out")
            );
        }
        Ok(Self {
            request: RecoverRequest {
                target: Target::Sandbox,
                strict: false,
                ..request.clone()
            },
            passed_over: Vec::new(),
            told: 0,
        })
    }

    /// Returns the sets that were passed over since the last call, as sentences.
    pub fn news(&mut self) -> Vec<String> {
        let news = self.passed_over.split_off(self.told.min(self.passed_over.len()));
        self.passed_over.extend(news.iter().cloned());
        self.told = self.passed_over.len();
        news
    }

    /// Returns what to do about the newest set that was not tried.
    ///
    /// # Errors
    /// No set is left, or the tiers do not say which sets they hold.
    pub async fn next(&mut self, workspace: &ReadWriteWorkspace) -> Result<Next, Error> {
        let Prepared { run, .. } = recover::prepare(workspace, &self.request).await?;
        let checked = recover::check_set(workspace, &self.request, run.spec).await;
        let CheckedSet { ready, set } = match checked {
            Err(error) if error.code() == "unknown_set" && !self.passed_over.is_empty() => {
                return Err(self.none_left());
            }
            checked => checked?,
        };
        let found = set?;
        let set = found.set.id;
        for other in &found.passed_over {
            if !self.passed_over.contains(other) {
                self.passed_over.push(other.clone());
            }
        }
        let empty = Vec::new();
        let components = ready.spec.inputs.loops.get("component").unwrap_or(&empty);
        let judged = judged::copies(&workspace.context, components).await?;
        if let Some(by) = judged.proof(&found.set, components) {
            return Ok(Next::Good(set, by));
        }
        // If this one is not good, the next is one of which all data is older.
        let points = found
            .set
            .members
            .values()
            .map(|member| member.consistency_point.utc);
        let newest = points.max().unwrap_or(found.set.created.utc);
        self.request.from = From::Before(newest - TimeDelta::nanoseconds(1));
        let mut spec = ready.spec;
        // The drill proves this set, not one that another machine seals meanwhile.
        spec.inputs
            .params
            .insert("from".to_owned(), set.to_string().into());
        Ok(Next::Drill(Box::new(RunRequest { spec, ..run }), set))
    }

    /// Returns what the drill of a set found. If that is not good, the set is passed over.
    ///
    /// # Errors
    /// The drill did not come so far that the set can be judged, nothing validates the set, or the run cannot be read.
    pub async fn judge(
        &mut self,
        context: &WorkspaceContext,
        set: SetId,
        run: RunId,
    ) -> Result<Verdict, Error> {
        let evidence = context.evidence(run).await?;
        let spec = LoadedSpec::read(&*context.journal, &evidence.state, &evidence.inputs).await?;
        let plan = spec.plan()?;
        let (bad, unclear) = failures(&evidence, &plan);
        if !bad.is_empty() {
            self.passed_over.push(format!("set {set}: {}", bad.join("; ")));
            return Ok(Verdict::Bad);
        }
        if let Some(why) = unclear {
            let message =
                format!("nothing is recovered: the drill of set {set} ended before it could judge: {why}");
            return Err(Error::new(ProblemKind::Failed, "drill_without_verdict", message)
                .with_next(Action::Show { run: Some(run) }, "shows what happened")
                .with_advice("mend the cause, then run the command again; what was proven is kept"));
        }
        let table = recovery_table(&evidence, &plan, &spec.system);
        let of = |valid| table.components.iter().filter(move |row| row.valid == valid);
        if of(Validity::Yes).next().is_none() {
            let message = format!("nothing validates set {set}, so whether it is good is not known");
            return Err(Error::new(ProblemKind::Invalid, "nothing_validates", message).with_advice(
                "add `validate` with a probe that names `${{ target.root }}`, or leave --last-known-good out",
            ));
        }
        Ok(Verdict::Good(
            of(Validity::NoData).map(|row| row.component.clone()).collect(),
        ))
    }

    fn none_left(&self) -> Error {
        let message = format!(
            "no recovery set is good; passed over: {}",
            self.passed_over.join("; ")
        );
        Error::new(ProblemKind::Invalid, "no_good_set", message)
            .with_advice("choose a set with --from SET: what is valid of it is recovered all the same")
    }
}

/// Returns the failures of a drill that speak against its set, and the first failure that says nothing about it.
fn failures(evidence: &Evidence, plan: &Plan) -> (Vec<String>, Option<String>) {
    let (mut bad, mut unclear) = (Vec::new(), None);
    for step in &plan.steps {
        if let StepState::Failed { error } = evidence.state.step(&step.id).state {
            let said = format!("{}: {error}", step.id);
            match speaks_against_the_set(step, &error) {
                true => bad.push(said),
                false => drop(unclear.get_or_insert(said)),
            }
        }
    }
    if evidence.state.outcome == Some(Outcome::Cancelled) {
        return (Vec::new(), Some("it was cancelled".to_owned()));
    }
    let whole = matches!(
        evidence.state.outcome,
        Some(Outcome::Succeeded | Outcome::Partial)
    );
    let unclear = unclear.or_else(|| (!whole).then(|| "it did not end well".to_owned()));
    (bad, unclear)
}

/// Returns whether a failed step shows that the set is not good. A tier that is down, a full disk or a cancellation does not.
fn speaks_against_the_set(step: &PlanStep, error: &Failure) -> bool {
    match step.uses.as_str() {
        // A probe that breaks or hangs on the restored data has found it unusable.
        "validate" | "system-integrity" => {
            [code::INVALID, code::TIMEOUT, "probe_failed"].contains(&error.code.as_str())
        }
        "restore" => is_damage(error),
        _ => step.id.template() == RECOVERY && error.code != code::CANCELLED,
    }
}
