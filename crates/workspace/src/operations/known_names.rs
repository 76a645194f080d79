//! The names that a person may give a command, for a shell that completes words.
//!
//! This writes nothing and waits for nobody: it reads the journal's log beside its owner, and opens the key only if that
//! needs no passphrase. A workspace that other users can change is not read.

use std::collections::BTreeMap;
use std::path::Path;

use rekindle_journal::{Journal, RunFilter};
use rekindle_journal_local::LogView;
use rekindle_model::time;

use crate::error::Error;
use crate::tiers::Tiers;
use crate::{Application, run_spec, yaml_file};

/// How many runs, sets and snapshots are named at most: a list that a person can look through.
const NEWEST: usize = 50;

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The runs of the workspace.
    Run,
    /// The recovery sets in the tiers.
    Set,
    /// The snapshots in the tiers.
    Snapshot,
    /// The components of the system, with their aliases.
    Component,
    /// The tiers of the system.
    Tier,
    /// The scenarios of the system.
    Scenario,
    /// The workflows: built-in ones, those of the workspace, and files in the folder that the word leads to.
    Workflow,
}

/// A name, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The word that a command takes.
    pub word: String,
    /// A remark on it; empty if there is nothing to say.
    pub about: String,
}

impl Name {
    fn new(word: impl Into<String>, about: impl Into<String>) -> Self {
        Self {
            word: word.into(),
            about: about.into(),
        }
    }
}

/// Returns the names of a kind; runs, sets and snapshots with the newest first. `begun` is the beginning of the word.
///
/// # Errors
/// There is no workspace, or what names them cannot be read.
pub async fn known_names(app: &Application, kind: Kind, begun: &str) -> Result<Vec<Name>, Error> {
    match kind {
        Kind::Run => runs(app).await,
        Kind::Set => sets(app).await,
        Kind::Snapshot => snapshots(app).await,
        Kind::Workflow => {
            // Any name that begins so leads to the folder, also after the `/` at a folder's end.
            let file = format!("{begun}*");
            let known = yaml_file::known(app, Path::new(&file));
            Ok(known.into_iter().map(|word| Name::new(word, "")).collect())
        }
        Kind::Component | Kind::Tier | Kind::Scenario => of_system(app, kind),
    }
}

fn of_system(app: &Application, kind: Kind) -> Result<Vec<Name>, Error> {
    let system = run_spec::system(&app.layout()?)?;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Ok(match kind {
        Kind::Tier => {
            let tiers = system.tiers.iter();
            tiers
                .map(|(name, tier)| Name::new(name, text(&tier.description)))
                .collect()
        }
        Kind::Scenario => {
            let scenarios = system.scenarios.iter();
            scenarios
                .map(|(name, one)| Name::new(name, text(&one.description)))
                .collect()
        }
        _ => {
            let components = system.components.iter().flat_map(|(name, component)| {
                let aliases = component.aliases.iter();
                let aliases = aliases.map(move |alias| Name::new(alias, format!("alias of {name}")));
                std::iter::once(Name::new(name, text(&component.description))).chain(aliases)
            });
            components.collect()
        }
    })
}

async fn runs(app: &Application) -> Result<Vec<Name>, Error> {
    let (log, _) = LogView::open(&app.layout()?.state).await?;
    let newest = RunFilter {
        limit: Some(NEWEST),
        ..RunFilter::default()
    };
    let runs = log.runs(&newest).await?;
    let name = |run: rekindle_journal::RunSummary| {
        Name::new(
            run.run.to_string(),
            format!("{} of {}", run.workflow, time::show(run.created.utc)),
        )
    };
    Ok(runs.into_iter().map(name).collect())
}

async fn sets(app: &Application) -> Result<Vec<Name>, Error> {
    let mut found = BTreeMap::new();
    for (tier, opened) in Tiers::open(app, &[]).await?.reachable() {
        for id in opened.sets().await.unwrap_or_default() {
            found
                .entry(id.to_string())
                .or_insert_with(|| format!("set in tier {tier}"));
        }
    }
    Ok(newest(found))
}

async fn snapshots(app: &Application) -> Result<Vec<Name>, Error> {
    let mut found = BTreeMap::new();
    for (tier, opened) in Tiers::open(app, &[]).await?.reachable() {
        for id in opened.snapshots().await.unwrap_or_default() {
            found
                .entry(id.to_string())
                .or_insert_with(|| format!("snapshot in tier {tier}"));
        }
    }
    Ok(newest(found))
}

/// Returns the newest ids: they begin with their time.
fn newest(found: BTreeMap<String, String>) -> Vec<Name> {
    let newest = found.into_iter().rev().take(NEWEST);
    newest.map(|(id, about)| Name::new(id, about)).collect()
}
