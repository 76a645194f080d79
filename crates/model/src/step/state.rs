//! The states of a step. The transition table says how a step gets from one to another.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::event::{Measures, Payload, SkipReason, Verdict};
use crate::failure::Failure;

/// The state of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StepState {
    /// Not begun, or invalidated.
    #[default]
    Pending,
    /// An attempt has begun and has no outcome: it runs now, or it was cut off.
    Running,
    /// An attempt was cut off, and the action has said what it found.
    Reconciled {
        /// What follows.
        verdict: Verdict,
    },
    /// An attempt failed; the next is due.
    Backoff {
        /// When.
        retry_at: DateTime<Utc>,
        /// Why the last one failed.
        error: Failure,
    },
    /// Done.
    Succeeded {
        /// What it produced.
        output: Payload,
        /// What it measured.
        measures: Measures,
    },
    /// Failed for good.
    Failed {
        /// Why.
        error: Failure,
    },
    /// Will not run.
    Skipped {
        /// Why not.
        why: SkipReason,
    },
}

impl StepState {
    /// Returns whether nothing more happens to the step, unless it is invalidated.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Succeeded { .. } | Self::Failed { .. } | Self::Skipped { .. }
        )
    }

    /// Returns the state's name, as people see it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Reconciled { .. } => "reconciled",
            Self::Backoff { .. } => "backoff",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
        }
    }
}
