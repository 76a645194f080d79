//! The search for the newest recovery set whose components are valid. A drill proves a set; one that fails is passed over, and
//! the next older one is tried. Each drill is a run of its own.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use rekindle_actions::FoundSet;
use rekindle_model::id::{RunId, SetId};
use rekindle_report::recovery::{RecoveryTable, Validity, recovery_table};

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::open::ReadWriteWorkspace;
use crate::operations::judged;
use crate::operations::recover::{self, CheckedSet, From, Prepared, RecoverRequest, Target};
use crate::operations::run::RunRequest;
use crate::run_spec::LoadedSpec;
use rekindle_model::problem::ProblemKind;

/// The search, as far as it is.
pub struct Search {
    /// The drill of the next set.
    request: RecoverRequest,
    /// Why sets were passed over, the newest first.
    passed_over: Vec<String>,
}

/// What to do next.
pub enum Next {
    /// Let this drill of a set end, and hand its run to [`Search::judge`].
    Drill(Box<RunRequest>, SetId),
    /// This set is good: these runs found its components valid.
    Good(SetId, BTreeSet<RunId>),
}

/// What a drill found of a set.
pub enum Verdict {
    /// Nothing of it is invalid. These components have no validation, or nothing was measured.
    Good(Vec<String>),
    /// It is passed over, for this reason.
    Bad(String),
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
        })
    }

    /// Returns the sets that were passed over, as sentences, the newest first.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
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
        if let Some(by) = proven(&workspace.context, &found, components).await? {
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
    /// The run cannot be read.
    pub async fn judge(
        &mut self,
        context: &WorkspaceContext,
        set: SetId,
        run: RunId,
    ) -> Result<Verdict, Error> {
        let evidence = context.evidence(run).await?;
        let spec = LoadedSpec::read(&*context.journal, &evidence.state, &evidence.inputs).await?;
        let table = recovery_table(&evidence, &spec.plan()?, &spec.system);
        let why = faults(&table);
        if why.is_empty() {
            let unproven = table
                .components
                .iter()
                .filter(|row| row.valid == Validity::NoData);
            return Ok(Verdict::Good(unproven.map(|row| row.component.clone()).collect()));
        }
        let why = why.join("; ");
        self.passed_over.push(format!("set {set}: {why}"));
        Ok(Verdict::Bad(why))
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

fn is_bad(restored: Option<bool>, valid: Validity) -> bool {
    restored == Some(false) || valid == Validity::No
}

/// Returns why a set is not good.
fn faults(table: &RecoveryTable) -> Vec<String> {
    let rows = table.components.iter();
    let bad = rows.filter(|row| is_bad(row.restored, row.valid));
    let why = bad.map(|row| {
        let why = row.error.clone().unwrap_or_else(|| "not restored".to_owned());
        format!("{}: {why}", row.component)
    });
    why.collect()
}

/// Returns the runs that found all of a set valid: each of these components that it holds.
async fn proven(
    context: &WorkspaceContext,
    found: &FoundSet,
    components: &[String],
) -> Result<Option<BTreeSet<RunId>>, Error> {
    let judged = judged::copies(context, components).await?;
    let members = components.iter().filter_map(|name| found.set.members.get(name));
    let by: Option<BTreeSet<RunId>> = members.map(|member| judged.valid(member.snapshot)).collect();
    Ok(by.filter(|by| !by.is_empty()))
}
