//! `set-aside`: in a recovery in place, moves existing content away from a component's place before its restore.
//!
//! It begins only once the restore has what it needs: a set with the component, a tier that answers, a snapshot that
//! opens, and a copy without a missing pack. The step records the planned moves before the first rename. After a kill,
//! the next attempt does the moves that remain.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::entry::TreePath;
use rekindle_model::event::Measures;
use rekindle_model::failure::{Failure, code};
use rekindle_plan::Problem;
use rekindle_sources::blocking;
use rekindle_vault::{ProgressSink, VerifyLevel};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::displace::{self, Move, Reach};
use crate::failures;
use crate::params::{self, Field, Kind};
use crate::restore::Job;
use crate::site::Site;

/// See the module's documentation.
pub(crate) struct SetAside(pub(crate) Arc<Site>);

pub(crate) const FIELDS: &[Field] = &[
    Field::optional("in_place", Kind::Flag),
    Field::optional("component", Kind::Text),
    Field::optional("root", Kind::Text),
    Field::optional("snapshot", Kind::Text),
    Field::optional("tiers", Kind::Names),
];

/// How often it looks again for something to move. It must not compete for ever with a service that continues to
/// write.
const ROUNDS: usize = 3;

#[derive(Deserialize)]
struct Params {
    #[serde(default)]
    in_place: bool,
}

/// The planned moves, recorded before the first of them.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Intent {
    /// The aside folders, for people who read the history.
    aside: BTreeSet<String>,
    root: PathBuf,
    moves: Vec<Move>,
}

#[async_trait]
impl Action for SetAside {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, FIELDS)
    }

    async fn reconcile(&self, _cx: &StepContext, checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        let Some(intent) = checkpoint.and_then(|value| Intent::deserialize(value).ok()) else {
            return Ok(Reconciled::redo("nothing was moved yet"));
        };
        let left = intent.moves.iter().filter(|it| it.is_left(&intent.root)).count();
        let evidence = json!({
            "aside": intent.aside, "moved": intent.moves.len() - left, "still_standing": left,
        });
        // Even if all moves are done, a process may have written since: the next attempt looks again.
        Ok(Reconciled::Continue { evidence })
    }

    async fn run(&self, cx: &StepContext, checkpoint: Option<Value>) -> Result<Output, Failure> {
        let Params { in_place } = params::read(&cx.with)?;
        if !in_place {
            return Ok(Output {
                value: json!({ "in_place": false, "aside": [] }),
                measures: Measures::new(),
            });
        }
        let mut intent: Intent = checkpoint
            .and_then(|value| Intent::deserialize(value).ok())
            .unwrap_or_default();
        let Some(job) = Job::of(&self.0, cx).await? else {
            return Ok(output(&intent));
        };
        for round in 0..=ROUNDS {
            let moves = self.left(cx, &job, &intent).await?;
            if moves.is_empty() {
                return Ok(output(&intent));
            }
            if round == ROUNDS {
                break;
            }
            if intent.moves.is_empty() {
                whole_somewhere(cx, &job).await?;
            }
            let known: HashSet<&TreePath> = intent.moves.iter().map(|it| &it.path).collect();
            let new: Vec<Move> = moves
                .iter()
                .filter(|it| !known.contains(&it.path))
                .cloned()
                .collect();
            if !new.is_empty() {
                intent.root.clone_from(&job.target);
                intent
                    .aside
                    .extend(new.iter().map(|it| it.aside.display().to_string()));
                intent.moves.extend(new);
                let progress = serde_json::to_value(&intent).map_err(|error| {
                    Failure::permanent(
                        params::BAD_PARAMETER,
                        format!("a folder's name cannot be recorded: {error}"),
                    )
                    .with_hint("nothing was moved; recover into another folder")
                })?;
                cx.checkpoint(progress).await?;
            }
            // Nothing moves before every tier that answers knows of it, since another host may continue the run.
            cx.barrier().await;
            let root = job.target.clone();
            blocking(move || {
                for it in &moves {
                    displace::set_aside(&root, it)?;
                }
                displace::sync(&root, &moves)
            })
            .await?;
        }
        let message = format!("something goes on writing to {}", job.place.display());
        Err(Failure::permanent("in_use", message).with_hint(format!(
            "stop it and recover again; what was moved is in {}",
            list(&intent)
        )))
    }
}

impl SetAside {
    /// Returns the moves that remain.
    async fn left(&self, cx: &StepContext, job: &Job, intent: &Intent) -> Result<Vec<Move>, Failure> {
        let mut others = Vec::new();
        let (root, run, mut kept) = (job.target.clone(), cx.run, self.0.kept());
        // On a file system without attributes, a capture does not tell the aside folders apart. Another component may
        // make its own while this one moves.
        let mut roots = BTreeSet::from([root.clone(), job.seen_from.folder().to_owned()]);
        for (name, component) in &self.0.system().components {
            let Some(other) = component.source.as_ref().filter(|_| *name != job.name) else {
                continue;
            };
            let placed = rekindle_sources::place(other, &job.seen_from)?;
            if let Some(claim) = placed.source.claim() {
                others.push(Reach::of(&placed.root, &claim)?);
            }
            roots.insert(placed.root);
        }
        kept.never
            .extend(roots.iter().flat_map(|root| displace::aside_places(root, run)));
        let source = Arc::clone(&job.source);
        let target = root.clone();
        let mut moves = blocking(move || match root.exists() {
            true => displace::moves(&root, run, source.as_ref(), &others, &kept),
            false => Ok(Vec::new()),
        })
        .await?;
        // A copied file stays in place, and is copied only once.
        moves.retain(|it| it.is_left(&target));
        // For a path whose move has begun, the recorded move counts.
        let known: HashMap<&TreePath, &Move> = intent.moves.iter().map(|it| (&it.path, it)).collect();
        for it in &mut moves {
            if let Some(known) = known.get(&it.path) {
                it.clone_from(known);
            }
        }
        Ok(moves)
    }
}

/// Checks, before anything moves, that some tier lacks nothing of the snapshot.
async fn whole_somewhere(cx: &StepContext, job: &Job) -> Result<(), Failure> {
    let mut first = None;
    let mut unread = None;
    for tier in &job.tiers {
        let none = ProgressSink::none();
        match rekindle_vault::verify(tier, job.snapshot.id, VerifyLevel::Exists, &none, &cx.stop).await {
            Ok(report) if report.faults.is_empty() => return Ok(()),
            Ok(report) => {
                let message = format!(
                    "tier {} lacks {} of its objects",
                    tier.name(),
                    report.faults.len()
                );
                first.get_or_insert(message);
            }
            Err(error) => {
                let failure = failures::vault(error);
                if failure.code == failures::INTERRUPTED {
                    return Err(failure);
                }
                first.get_or_insert_with(|| failure.message.clone());
                // A tier that could not be asked shows nothing about its copy.
                if failure.code != code::DATA_LOST {
                    unread.get_or_insert(failure);
                }
            }
        }
    }
    let message = format!(
        "nothing was moved: no tier holds all of snapshot {} of {}; {}",
        job.snapshot.id,
        job.name,
        first.unwrap_or_default()
    );
    let failure = match unread {
        Some(unread) => Failure { message, ..unread },
        None => Failure::permanent(code::DATA_LOST, message),
    };
    Err(failure.with_hint("choose another recovery set, or recover what there is into another folder"))
}

fn list(intent: &Intent) -> String {
    intent.aside.iter().cloned().collect::<Vec<_>>().join(", ")
}

fn output(intent: &Intent) -> Output {
    let moved = intent.moves.len();
    Output {
        value: json!({ "in_place": true, "aside": intent.aside, "moved": moved, "root": shown(&intent.root) }),
        measures: Measures::from([("moved".to_owned(), crate::measure::number(moved as u64))]),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
