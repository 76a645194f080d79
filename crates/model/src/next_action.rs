//! The next actions of a person, as data. The command line writes each as a command, another face as a button.

mod stored;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::{RunId, StepId};
pub use stored::StoredAdvice;

/// One possible next action of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredAdvice", into = "StoredAdvice")]
pub struct NextAction {
    /// What Rekindle does for the person; none if the person acts without Rekindle.
    pub action: Option<Action>,
    /// What the action achieves ("names the damage"), or the whole advice if there is no action. It is empty if the
    /// action needs no explanation.
    pub text: String,
}

impl NextAction {
    /// Returns the advice to use an action; `text` continues the sentence: "`rekindle doctor` names what is wrong".
    pub fn new(action: Action, text: impl Into<String>) -> Self {
        Self {
            action: Some(action),
            text: text.into(),
        }
    }

    /// Returns advice that needs no action of Rekindle.
    pub fn advice(text: impl Into<String>) -> Self {
        Self {
            action: None,
            text: text.into(),
        }
    }
}

impl From<Action> for NextAction {
    /// Returns the advice to use an action that needs no explanation.
    fn from(action: Action) -> Self {
        Self::new(action, "")
    }
}

/// An action that every face offers to a person. [`StoredAdvice`] is its form in the journal and on the socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Back the system up, and accept the result of a failed recovery in place.
    AcceptRecovery {
        /// The recovery.
        run: RunId,
    },
    /// Take over a run from its replica in a tier.
    Adopt {
        /// The tier's location; none where the person knows which.
        url: Option<String>,
        /// The run; none lists those that can be adopted.
        run: Option<RunId>,
    },
    /// Let a step that waits for approval succeed.
    Approve {
        /// The run.
        run: RunId,
        /// The step.
        step: StepId,
    },
    /// Back the system up.
    Backup,
    /// Test whether each tier can be read and written.
    CheckTiers,
    /// Make a tier's vault if it has none.
    CreateTier {
        /// The tier.
        tier: String,
    },
    /// Look for every fault of the workspace.
    Diagnose,
    /// End a process at once.
    EndProcess {
        /// Its id.
        pid: u32,
    },
    /// Write the recovery kit to a file.
    ExportKit,
    /// Look for a file in the snapshots.
    FindFile {
        /// A name, a path or a glob.
        pattern: String,
    },
    /// Make a workspace and its key.
    Initialize {
        /// The folder; none for the current one.
        dir: Option<PathBuf>,
        /// What the key comes from.
        key: KeyOrigin,
    },
    /// Check a YAML file.
    Lint {
        /// The file; none where the person knows which.
        file: Option<PathBuf>,
    },
    /// List the files of a snapshot.
    ListFiles {
        /// The snapshot: a unique beginning or end of its id.
        snapshot: String,
        /// The folder in it; none for all of it.
        folder: Option<String>,
    },
    /// List the recovery sets in the tiers.
    ListSets,
    /// List the snapshots in the tiers.
    ListSnapshots,
    /// List the runs of the workspace.
    ListRuns,
    /// Show the steps of a workflow, without running it.
    Plan {
        /// Its file or name; none where the person knows which.
        workflow: Option<String>,
    },
    /// Remove from the tiers what their retention no longer keeps.
    Prune,
    /// Rebuild the journal's index from its log.
    RebuildJournal,
    /// Recover components.
    Recover(Recover),
    /// Remove what killed processes have left in the workspace and the tiers.
    RemoveLeftovers,
    /// Bring a tier what it must hold and does not, from the other tiers.
    RepairTier {
        /// The tier.
        tier: String,
    },
    /// Write a snapshot into a folder.
    Restore {
        /// The snapshot: a unique beginning or end of its id.
        snapshot: Option<String>,
    },
    /// Continue a run.
    Resume {
        /// The run; none for the one that is interrupted.
        run: Option<RunId>,
        /// Where it begins again.
        again: Again,
    },
    /// Run a workflow with these parameters.
    RunWorkflow {
        /// Its file or name.
        workflow: String,
        /// The parameters that differ from their defaults; none for a value that the person chooses.
        params: BTreeMap<String, Option<String>>,
    },
    /// Ask for a step to run again.
    Retry {
        /// The run; none where the person knows which.
        run: Option<RunId>,
        /// The step; none for every step that failed.
        step: Option<StepId>,
    },
    /// Drive the runs of the workspace until a person stops it.
    Serve,
    /// Show what became of a run.
    Show {
        /// The run; none for the newest.
        run: Option<RunId>,
    },
    /// Show every record of a run.
    ShowHistory {
        /// The run; none for the newest.
        run: Option<RunId>,
    },
    /// Do without a step.
    Skip {
        /// The run.
        run: RunId,
        /// The step; none where the person knows which.
        step: Option<StepId>,
    },
    /// Trust a path that other users can change.
    Trust {
        /// The path.
        path: PathBuf,
    },
    /// Let a paused run continue.
    Unpause {
        /// The run; none where the person knows which.
        run: Option<RunId>,
    },
    /// Read the stored copies back.
    Verify,
    /// Compare every part of the journal with every other.
    VerifyJournal,
    /// Follow a run to its end.
    Watch {
        /// The run.
        run: RunId,
    },
}

/// Where a resumed run starts again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Again {
    /// Nowhere: finished steps stay finished.
    #[default]
    Nothing,
    /// At every step that failed.
    Failed,
    /// At a step that the person names.
    FromStep,
}

/// Where the key of a new workspace comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyOrigin {
    /// A new one, or one that opens with an identity of this user.
    #[default]
    Default,
    /// A tier, opened with a recovery kit.
    Kit,
    /// The same, from a location that the person names.
    KitElsewhere,
    /// A tier, opened with a passphrase.
    Passphrase,
}

/// The choices of a recovery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recover {
    /// The scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// The components; empty for all that the scenario affects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// The set, or the time before which it was sealed; none for the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Where it writes.
    pub target: RecoverTarget,
}

/// Where a recovery writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoverTarget {
    /// The system's own folder, which must be empty or absent.
    #[default]
    Empty,
    /// A folder that the person names.
    Elsewhere,
    /// The system's own folder; what is there is moved aside.
    InPlace,
    /// The same, although programs have files open there.
    InPlaceWhileRunning,
}
