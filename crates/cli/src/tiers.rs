//! The tiers of the workspace, opened for reading. One that does not answer is told and left out.

use std::sync::Arc;

use rekindle_model::system::System;
use rekindle_vault::{Tier, TierMode};

use crate::App;
use crate::commands::backup;
use crate::error::CliError;
use crate::exit::Exit;
use crate::workspace::Workspace;
use crate::{keys, names, pinned};

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
        let chosen = match named {
            [] => system.tiers.keys().cloned().collect(),
            named => backup::tiers(&system, named)?,
        };
        let mut open = Vec::new();
        let mut last = None;
        for name in &chosen {
            let urls: Vec<String> = system
                .tiers
                .get(name)
                .map(|t| t.locations().into_iter().map(str::to_owned).collect())
                .unwrap_or_default();
            let dir = workspace.system_dir();
            match Tier::open(
                name,
                &urls,
                &dir,
                Arc::clone(&key.keyring),
                &key.wrapped,
                TierMode::Existing,
            )
            .await
            {
                Ok(tier) => open.push((name.clone(), Arc::new(tier))),
                Err(error) => {
                    app.printer.warn(format!("tier {name}: {error}"));
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
}
