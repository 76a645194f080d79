//! The origin of a run: its kind, and what triggered it.
//!
//! Both are journaled when the run is created, and nothing changes them later. Reports and guards choose by the kind,
//! never by the workflow's name: `rekindle backup` makes a backup whatever its workflow is called.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{RunId, StepId};

/// What a run is for. It decides which reports count the run as evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// Captures components and seals a recovery set.
    Backup,
    /// Restores components.
    Recover,
    /// Reads stored copies back.
    Verify,
    /// Rehearses a recovery in isolation.
    Drill,
    /// Anything else; also a kind that only a newer version knows.
    #[default]
    #[serde(other)]
    Custom,
}

impl RunKind {
    /// Returns the kind of a run of which only the workflow's name is known: `backup`, `recover`, `verify` and `drill`
    /// are kinds, every other name is [`RunKind::Custom`].
    ///
    /// Two callers need it: a submission of a workflow file (`rekindle run FILE`, a step that `uses: workflow`), where
    /// the file's `workflow:` key is all there is; and the fold of a history that was written before runs had kinds.
    pub fn of_workflow(name: &str) -> Self {
        [Self::Backup, Self::Recover, Self::Verify, Self::Drill]
            .into_iter()
            .find(|kind| kind.name() == name)
            .unwrap_or_default()
    }

    /// Returns the kind's name as it is journaled and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Recover => "recover",
            Self::Verify => "verify",
            Self::Drill => "drill",
            Self::Custom => "custom",
        }
    }

    /// Returns whether such a run loops, by default, only over components that have a source: there is nothing else to
    /// capture or to read back. A recovery also runs the steps of components without data of their own.
    pub fn needs_source(self) -> bool {
        matches!(self, Self::Backup | Self::Verify)
    }
}

impl fmt::Display for RunKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The step that runs another workflow, seen from the run that it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The run that the step belongs to.
    pub run: RunId,
    /// The step.
    pub step: StepId,
}

/// The person or process that asked for a run.
///
/// The journal has a command as a plain string, and every other trigger as a map with one key. Decide by the variant,
/// never by the text of a command: that text is for people, and may be shortened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A step of another run.
    Parent(Parent),
    /// A schedule.
    Schedule {
        /// Its name.
        name: String,
    },
    /// A client of the API.
    Api {
        /// How the client names itself.
        client: String,
    },
    /// A person's command, as people read it: `rekindle backup`.
    #[serde(untagged)]
    Command(String),
}

impl Trigger {
    /// Returns a person's command.
    pub fn command(line: impl Into<String>) -> Self {
        Self::Command(line.into())
    }

    /// Returns the step that began the run, for a run that is part of another: that one continues both.
    pub fn parent(&self) -> Option<&Parent> {
        match self {
            Self::Parent(parent) => Some(parent),
            Self::Schedule { .. } | Self::Api { .. } | Self::Command(_) => None,
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parent(Parent { run, step }) => write!(f, "run {run}/{step}"),
            Self::Schedule { name } => write!(f, "schedule {name}"),
            Self::Api { client } => write!(f, "API client {client}"),
            Self::Command(line) => f.write_str(line),
        }
    }
}

/// A run's kind and trigger as its first record means them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The kind.
    pub kind: RunKind,
    /// The trigger.
    pub trigger: Trigger,
}

impl Origin {
    /// Returns the origin from the fields in the journal.
    ///
    /// Only this function knows older data. Without a kind, the workflow's name gives the kind. The parent of a nested
    /// run was stored beside its trigger, which was a sentence.
    pub fn of_stored(
        workflow: &str,
        kind: Option<RunKind>,
        trigger: &Trigger,
        old_parent: Option<&Parent>,
    ) -> Self {
        Self {
            kind: kind.unwrap_or_else(|| RunKind::of_workflow(workflow)),
            trigger: old_parent.map_or_else(|| trigger.clone(), |parent| Trigger::Parent(parent.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_is_a_string_and_every_other_trigger_a_map() {
        let parent = Parent {
            run: RunId(uuid::Uuid::from_u128(7)),
            step: StepId::plain("call"),
        };
        let run = parent.run;
        for (trigger, stored, shown) in [
            (
                Trigger::command("rekindle backup"),
                json!("rekindle backup"),
                "rekindle backup".to_owned(),
            ),
            // A command with the name of a variant is still a command.
            (Trigger::command("parent"), json!("parent"), "parent".to_owned()),
            (
                Trigger::Parent(parent.clone()),
                json!({ "parent": { "run": run, "step": "call" } }),
                format!("run {run}/call"),
            ),
            (
                Trigger::Schedule {
                    name: "nightly".to_owned(),
                },
                json!({ "schedule": { "name": "nightly" } }),
                "schedule nightly".to_owned(),
            ),
            (
                Trigger::Api {
                    client: "dashboard".to_owned(),
                },
                json!({ "api": { "client": "dashboard" } }),
                "API client dashboard".to_owned(),
            ),
        ] {
            assert_eq!(serde_json::to_value(&trigger).unwrap(), stored);
            assert_eq!(serde_json::from_value::<Trigger>(stored).unwrap(), trigger);
            let packed = rmp_serde::to_vec_named(&trigger).unwrap();
            assert_eq!(rmp_serde::from_slice::<Trigger>(&packed).unwrap(), trigger);
            assert_eq!(trigger.to_string(), shown);
        }
    }

    #[test]
    fn the_name_of_a_workflow_gives_a_kind_only_where_it_is_one() {
        for (name, kind) in [
            ("backup", RunKind::Backup),
            ("recover", RunKind::Recover),
            ("verify", RunKind::Verify),
            ("drill", RunKind::Drill),
            ("custom", RunKind::Custom),
            ("nightly-backup", RunKind::Custom),
            ("Backup", RunKind::Custom),
        ] {
            assert_eq!(RunKind::of_workflow(name), kind, "{name}");
        }
    }

    #[test]
    fn a_kind_that_a_newer_version_knows_proves_nothing_here() {
        assert_eq!(
            serde_json::from_value::<RunKind>(json!("replicate")).unwrap(),
            RunKind::Custom
        );
    }
}
