//! A recovery: which components, from which set, into which folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_actions::FoundSet;
use rekindle_model::failure::{Failure, code};
use rekindle_model::next_action::{Action, Recover, RecoverTarget};
use rekindle_model::origin::RunKind;
use rekindle_model::problem::ProblemKind;
use rekindle_model::system::System;
use rekindle_plan::{Inputs, builtin};
use rekindle_sources::place::Root;
use serde_json::{Map, Value};

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::guards::target::{self, Alternatives, Interrupted};
use crate::names;
use crate::open::ReadWriteWorkspace;
use crate::operations::run::RunRequest;
use crate::operations::{disaster, judged, plan};
use crate::run_spec::{self, LoadedSpec, ReadyRun, SANDBOX};
use crate::staging;
use crate::tiers;

/// What to recover, from where, and to where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoverRequest {
    /// The scenario whose components and objectives count.
    pub scenario: Option<String>,
    /// These components, by name or alias; empty for all that the scenario affects.
    pub components: Vec<String>,
    /// Where to write.
    pub target: Target,
    /// From which recovery set.
    pub from: From,
    /// Only from this tier.
    pub tier: Option<String>,
    /// Whether an older set will do if the latest that is known is lost.
    pub accept_older: bool,
    /// When the disaster struck; none assumes now.
    pub disaster_at: Option<DateTime<Utc>>,
    /// Whether a missed objective is a partial failure.
    pub strict: bool,
    /// Whether everything is to belong to the user who recovers, without set-id bits.
    pub no_owner: bool,
}

/// Where a recovery writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The system's own folder, where nothing may be yet.
    #[default]
    Own,
    /// This folder, where nothing may be yet.
    Folder(PathBuf),
    /// The system's own folder; what is there moves aside.
    InPlace {
        /// Whether it begins although a program has files open there, or the system answers.
        while_running: bool,
    },
    /// A sandbox in the workspace, to prove the copies. It is removed at the end.
    Sandbox,
}

/// From which recovery set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// The newest that was sealed before the disaster.
    #[default]
    Latest,
    /// The newest that was sealed before an instant.
    Before(DateTime<Utc>),
    /// The set whose id begins so.
    Set(String),
}

/// A recovery that has passed every check.
pub struct Prepared {
    /// The run.
    pub run: RunRequest,
    /// The folder that it writes into.
    pub root: PathBuf,
    /// The places that it writes to: the folder, and absolute paths of the living system.
    pub places: Vec<PathBuf>,
    /// The first path at each target that is not empty. Its content moves aside.
    pub occupied: Vec<PathBuf>,
    /// The question that a person must answer with yes before the run is submitted.
    pub question: Option<Question>,
}

/// A question that a person answers with yes or no before anything is touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The content of these places moves aside.
    RecoverInPlace {
        /// The places.
        places: Vec<PathBuf>,
        /// Where their content moves, with `<run>` for the id of the run.
        asides: Vec<PathBuf>,
    },
}

/// How long the tiers may take to say which sets they hold. After that, the run starts without the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Failures of the search for a set that only another request mends.
const UNKNOWN_SET: [&str; 3] = ["no_recovery_set", "ambiguous_set", "bad_parameter"];

/// Checks a recovery, without asking a tier: enough to show what it would do.
///
/// # Errors
/// A name is unknown, the disaster is in the future, or a target is not empty.
pub async fn prepare(workspace: &ReadWriteWorkspace, request: &RecoverRequest) -> Result<Prepared, Error> {
    let context = &workspace.context;
    let system = run_spec::system(&context.layout)?;
    if request
        .disaster_at
        .is_some_and(|instant| instant > context.clock.now().utc)
    {
        return Err(Error::usage("the disaster cannot be in the future"));
    }
    let in_sandbox = request.target == Target::Sandbox;
    if !in_sandbox && !matches!(request.target, Target::Folder(_)) {
        run_spec::check_places(&context.layout)?;
    }
    let mut affected = affected(&system, request)?;
    let mut of_disaster = Map::new();
    match &request.scenario {
        Some(scenario) if in_sandbox => of_disaster = disaster::params(&system, scenario, &affected)?,
        // A set is proven with all that its validations read.
        None if in_sandbox => {
            let all = system.sandboxed(affected.iter().map(String::as_str));
            affected = all.into_iter().map(str::to_owned).collect();
        }
        _ => {}
    }
    let checked = check_target(context, &system, request, &affected).await?;
    // A person who names a set gets it.
    let distrust: Vec<String> = match request.from {
        From::Set(_) => Vec::new(),
        From::Latest | From::Before(_) => {
            let judged = judged::copies(context, &affected).await?;
            judged.invalid().map(|snapshot| snapshot.to_string()).collect()
        }
    };
    let mut params = vec![
        ("from", Value::from(request.from.as_param())),
        ("tier", Value::from(tier(&system, request)?)),
        (
            "scenario",
            Value::from(request.scenario.clone().unwrap_or_default()),
        ),
        ("strict", Value::from(request.strict)),
        ("accept_older", Value::from(request.accept_older)),
    ];
    let (workflow, builtin, kind) = match in_sandbox {
        true => ("drill", builtin::DRILL, RunKind::Drill),
        false => ("recover", builtin::RECOVER, RunKind::Recover),
    };
    if in_sandbox {
        params.push((SANDBOX, Value::from(staging::sandbox())));
    } else {
        params.extend([
            ("to", Value::from(checked.root.to_string_lossy())),
            ("in_place", Value::from(request.target.is_in_place())),
            (
                "while_running",
                Value::from(request.target == Target::InPlace { while_running: true }),
            ),
            ("no_owner", Value::from(request.no_owner)),
        ]);
    }
    let params = params.into_iter().map(|(name, value)| (name.to_owned(), value));
    let mut params: Map<String, Value> = params.chain(of_disaster).collect();
    if !distrust.is_empty() {
        params.insert("distrust".to_owned(), Value::from(distrust));
    }
    let mut loops = system.default_loops(kind);
    loops.insert("component".to_owned(), affected);
    let spec = LoadedSpec::new(&context.layout, workflow, builtin, Inputs { params, loops })?;
    let question =
        (request.target.is_in_place() && checked.moves_something).then(|| Question::RecoverInPlace {
            places: checked.places.clone(),
            asides: target::asides(&checked.displaced_roots),
        });
    Ok(Prepared {
        run: RunRequest {
            spec,
            kind,
            disaster_at: request.disaster_at,
        },
        root: checked.root,
        places: checked.places,
        occupied: checked.occupied,
        question,
    })
}

/// A recovery that can be submitted, and the set that it would use.
pub struct CheckedSet {
    /// The run.
    pub ready: ReadyRun,
    /// The set; or why it is not known now, which the run would wait for.
    pub set: Result<FoundSet, Error>,
}

/// Asks the tiers whether they hold the set that a recovery wants. If a tier does not answer now, the run waits for
/// it.
///
/// # Errors
/// No tier holds such a set, no tier ever held one, or the tier that the person named cannot serve it.
pub async fn check_set(
    workspace: &ReadWriteWorkspace,
    request: &RecoverRequest,
    spec: LoadedSpec,
) -> Result<CheckedSet, Error> {
    let context = &workspace.context;
    let ready = spec.ready(context)?;
    let preferred = tier(&ready.spec.system, request)?;
    let wanted = request.from.as_param();
    let struck = request.disaster_at.unwrap_or_else(|| context.clock.now().utc);
    let accept = request.accept_older;
    let distrust = ready.distrust();
    let found = rekindle_actions::find_set(&ready.site, &wanted, &preferred, Some(struck), accept, &distrust);
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(Err(failure)) if failure.code == code::NEWER_SET_LOST => Err(Error::from(failure)),
        Ok(Err(failure)) if UNKNOWN_SET.contains(&failure.code.as_str()) => {
            let next = failure.advice();
            Err(Error::new(ProblemKind::Invalid, "unknown_set", failure.message).with_all(next))
        }
        // A person who names a tier wants that one, and may have reasons not to wait for it.
        Ok(Err(failure)) if !preferred.is_empty() => Err(unserved(request, &preferred, failure)),
        Ok(Err(_)) if never_stored(context, &ready.spec.system)? => {
            let none = Error::new(
                ProblemKind::Invalid,
                "no_backup",
                "there is no backup yet to recover from",
            )
            .with_next(Action::Backup, "makes the first one")
            .with_advice("if the tiers hold backups of this system, mount them, then run the command again");
            Err(none)
        }
        Ok(Err(failure)) => Ok(CheckedSet {
            ready,
            set: Err(failure.into()),
        }),
        Ok(Ok(set)) => Ok(CheckedSet { ready, set: Ok(set) }),
        Err(_) => {
            let message = format!("the tiers took longer than {PATIENCE:?}");
            let error = Error::new(ProblemKind::Failed, code::TIER_UNAVAILABLE, message);
            Ok(CheckedSet {
                ready,
                set: Err(error.with_advice("see that the tiers answer")),
            })
        }
    }
}

/// Returns whether no tier of the system was ever seen to hold a vault. Then there is nothing to wait for.
fn never_stored(context: &WorkspaceContext, system: &System) -> Result<bool, Error> {
    let key = context.key()?;
    let mut names = system.tiers.keys();
    Ok(names.all(|name| tiers::is_new(&context.layout, &key, name)))
}

impl std::convert::From<&Target> for RecoverTarget {
    fn from(target: &Target) -> Self {
        match target {
            Target::Own | Target::Sandbox => Self::Empty,
            Target::Folder(_) => Self::Elsewhere,
            Target::InPlace { while_running: false } => Self::InPlace,
            Target::InPlace { while_running: true } => Self::InPlaceWhileRunning,
        }
    }
}

/// A target that a recovery may write to.
#[derive(Default)]
struct CheckedTarget {
    root: PathBuf,
    /// The places of the components.
    places: Vec<PathBuf>,
    /// The folders that a recovery in place moves content from.
    displaced_roots: Vec<PathBuf>,
    occupied: Vec<PathBuf>,
    moves_something: bool,
}

async fn check_target(
    context: &WorkspaceContext,
    system: &System,
    request: &RecoverRequest,
    affected: &[String],
) -> Result<CheckedTarget, Error> {
    if request.target == Target::Sandbox {
        return Ok(CheckedTarget::default());
    }
    let living = run_spec::living(&context.layout.system_dir(), system);
    let components = || affected.iter().filter_map(|name| system.components.get(name));
    let alternatives = Alternatives {
        elsewhere: again(request, RecoverTarget::Elsewhere),
        in_place: again(request, RecoverTarget::InPlace),
        other_source: None,
        roots: run_spec::displaced_roots(&living, components()),
    };
    let folder = match &request.target {
        Target::Folder(to) => Some(target::named(&context.layout, system, to, &alternatives)?),
        Target::Own | Target::InPlace { .. } | Target::Sandbox => None,
    };
    let root = folder
        .as_ref()
        .map_or_else(|| living.folder().to_owned(), |place| place.path().to_owned());
    let never = plan::site(context, system).kept().never;
    let seen_from = Root::of(root.clone(), living.folder());
    let occupied = target::occupied(system, affected, &seen_from, &never)?;
    if request.target.is_in_place() {
        target::no_links(system, affected, &seen_from, &never)?;
    }
    let unseen = unseen(system, affected);
    let interrupted = target::interrupted(context, &root).await;
    match (&folder, interrupted.as_ref()) {
        (Some(place), _) => target::empty(context, place, &alternatives).await?,
        (None, Some(run)) if request.target.is_in_place() => context.notices.give(run.warning(&root)),
        (None, _) if request.target.is_in_place() => {}
        (None, run) => refuse_own_root(&alternatives, &root, &occupied, unseen.as_deref(), run)?,
    }
    Ok(CheckedTarget {
        places: run_spec::places(&seen_from, components()),
        displaced_roots: alternatives.roots,
        root,
        moves_something: !occupied.is_empty() || unseen.is_some(),
        occupied,
    })
}

/// Refuses the system's own folder if it is not or may not be empty, or if a recovery into it was interrupted.
fn refuse_own_root(
    alternatives: &Alternatives,
    root: &Path,
    occupied: &[PathBuf],
    unseen: Option<&str>,
    interrupted: Option<&Interrupted>,
) -> Result<(), Error> {
    match (occupied, unseen, interrupted) {
        ([], None, None) => Ok(()),
        ([], None, Some(run)) => Err(alternatives.interrupted(root, run)),
        ([], Some(component), run) => Err(alternatives.unseen(component, run)),
        (occupied, _, run) => Err(alternatives.occupied(occupied, run)),
    }
}

impl Target {
    fn is_in_place(&self) -> bool {
        matches!(self, Self::InPlace { .. })
    }
}

impl From {
    /// Returns the workflow's parameter: a time is journaled as the instant that it means now.
    pub(super) fn as_param(&self) -> String {
        match self {
            Self::Latest => "latest".to_owned(),
            Self::Before(instant) => instant.to_rfc3339(),
            Self::Set(id) => id.clone(),
        }
    }
}

fn affected(system: &System, request: &RecoverRequest) -> Result<Vec<String>, Error> {
    let of_scenario = match &request.scenario {
        Some(name) => {
            let known = || system.scenarios.keys().map(String::as_str);
            let scenario = system
                .scenarios
                .get(name)
                .ok_or_else(|| names::unknown("scenario", name, known()))?;
            let affected = system.affected_by(scenario).into_iter();
            Some(affected.map(str::to_owned).collect())
        }
        None => None,
    };
    let all = || {
        system
            .components_by_priority()
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    let affected: Vec<String> = of_scenario.unwrap_or_else(all);
    if request.components.is_empty() {
        return Ok(affected);
    }
    let named = names::components(system, &request.components)?;
    match named.iter().find(|name| !affected.contains(name)) {
        None => Ok(named),
        Some(other) => Err(Error::usage(format!(
            "scenario {:?} does not affect component {other:?}",
            request.scenario.as_deref().unwrap_or_default()
        ))
        .with_advice(format!("it affects {}", affected.join(", ")))),
    }
}

/// Returns the first of these components whose place only a program knows.
fn unseen(system: &System, affected: &[String]) -> Option<String> {
    let source = |name: &str| system.components.get(name)?.source.as_ref();
    affected
        .iter()
        .map(String::as_str)
        .find(|name| {
            source(name).is_some_and(|spec| rekindle_sources::open(spec).is_ok_and(|it| it.claim().is_none()))
        })
        .map(str::to_owned)
}

/// Returns the same recovery, from any tier, with another target.
fn again(request: &RecoverRequest, target: RecoverTarget) -> Action {
    Action::Recover(Recover {
        scenario: request.scenario.clone(),
        components: request.components.clone(),
        from: (request.from != From::Latest).then(|| request.from.as_param()),
        target,
    })
}

fn tier(system: &System, request: &RecoverRequest) -> Result<String, Error> {
    match &request.tier {
        Some(tier) => Ok(names::tiers(system, std::slice::from_ref(tier))?.concat()),
        None => Ok(String::new()),
    }
}

/// Refuses a recovery from a tier that cannot serve it.
fn unserved(request: &RecoverRequest, tier: &str, failure: Failure) -> Error {
    let message = format!("cannot recover from tier {tier}: {}", failure.message);
    let error =
        Error::from(Failure { message, ..failure }).with_advice(format!("mount tier {tier}, or name none"));
    if request.target == Target::Sandbox {
        return error;
    }
    error.with_next(
        again(request, RecoverTarget::from(&request.target)),
        "recovers from the fastest tier that holds a set",
    )
}
