//! The tiers of the workspace, opened for reading. One that does not answer is told and left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use rekindle_model::id::SnapshotId;
use rekindle_model::system::{System, TierSpec};
use rekindle_vault::{Remembered, Tier, TierMode};

use crate::App;
use crate::commands::backup;
use crate::error::CliError;
use crate::exit::Exit;
use crate::workspace::Workspace;
use crate::{keys, moment, names, pinned};

/// How many known snapshots a refusal lists at most.
const LISTED: usize = 10;

/// Tiers that answered.
pub(crate) struct Tiers {
    /// The workspace whose tiers they are.
    pub(crate) workspace: Workspace,
    /// Its system.
    pub(crate) system: System,
    open: Vec<(String, Arc<Tier>)>,
    asked: usize,
}

impl Tiers {
    /// Opens the tiers of those names, or all of the system's.
    pub(crate) async fn open(app: &App, named: &[String]) -> Result<Self, CliError> {
        let workspace = Workspace::find_here(&app.global)?;
        let (system, _) = pinned::system(app, &workspace)?;
        let key = keys::open(&workspace)?;
        let chosen = Self::named(&system, named)?;
        let mut open = Vec::new();
        let mut last = None;
        for name in &chosen {
            let urls: Vec<String> = system
                .tiers
                .get(name)
                .map(|t| t.locations().into_iter().map(str::to_owned).collect())
                .unwrap_or_default();
            let dir = workspace.system_dir();
            match Tier::open_known(
                name,
                &urls,
                &dir,
                Arc::clone(&key.keyring),
                &key.wrapped,
                TierMode::Existing,
                &Remembered::of(&workspace.state),
            )
            .await
            {
                Ok(tier) => open.push((name.clone(), Arc::new(tier))),
                Err(error) => {
                    app.printer.warn(error.to_string());
                    last = Some(error);
                }
            }
        }
        match (open.is_empty(), last) {
            (true, Some(error)) => Err(error.into()),
            _ => Ok(Self {
                workspace,
                system,
                open,
                asked: chosen.len(),
            }),
        }
    }

    /// Returns the own names of those tiers, of all where none is named.
    pub(crate) fn named(system: &System, named: &[String]) -> Result<Vec<String>, CliError> {
        match named {
            [] => Ok(system.tiers.keys().cloned().collect()),
            named => backup::tiers(system, named),
        }
    }

    /// Returns those that answered, by name.
    pub(crate) fn reachable(&self) -> impl Iterator<Item = (&str, &Arc<Tier>)> {
        self.open.iter().map(|(name, tier)| (name.as_str(), tier))
    }

    /// Returns done, or done in part where a tier did not answer.
    pub(crate) fn exit(&self) -> Exit {
        if self.open.len() == self.asked {
            Exit::Done
        } else {
            Exit::Partial
        }
    }

    /// Returns what the system says of a tier.
    pub(crate) fn spec(&self, name: &str) -> Option<&TierSpec> {
        self.system.tiers.get(name)
    }

    /// Returns the own name of a component.
    pub(crate) fn component(&self, name: &str) -> Result<String, CliError> {
        match self.system.component(name) {
            Some((own, _)) => Ok(own.to_owned()),
            None => Err(names::unknown(
                "component",
                name,
                self.system.components_by_priority(),
            )),
        }
    }

    /// Returns the snapshot whose id begins with `word` in any tier.
    pub(crate) async fn snapshot(&self, word: &str) -> Result<SnapshotId, CliError> {
        let plain = |text: &str| text.replace('-', "").to_lowercase();
        let prefix = plain(word);
        let mut all = BTreeMap::new();
        for (_, tier) in self.reachable() {
            for id in tier.snapshots().await? {
                all.entry(id).or_insert(tier);
            }
        }
        let fits = |id: &SnapshotId| !prefix.is_empty() && plain(&id.to_string()).starts_with(&prefix);
        let found: Vec<SnapshotId> = all.keys().copied().filter(fits).collect();
        let (message, among) = match found.as_slice() {
            [one] => return Ok(*one),
            [] => (
                format!("there is no snapshot {word:?} in the tiers that answer"),
                all.keys().copied().collect(),
            ),
            several => (format!("{word:?} begins {} snapshots", several.len()), found),
        };
        if among.is_empty() {
            return Err(CliError::usage(message)
                .with_hint("the tiers that answer hold none; `rekindle backup` makes the first ones"));
        }
        let mut lines = vec!["known, newest first (`rekindle snapshots` lists all):".to_owned()];
        for id in among.iter().rev().take(LISTED) {
            let told = match all.get(id) {
                Some(tier) => tier.snapshot(*id).await.ok(),
                None => None,
            };
            lines.push(told.map_or_else(
                || id.to_string(),
                |snapshot| {
                    let at = moment::show(snapshot.consistency_point.utc);
                    format!("{id} ({}, {at})", snapshot.component)
                },
            ));
        }
        Err(CliError::usage(message).with_hint(lines.join("\n  ")))
    }
}
