//! A step that waits for a person: the question and the decision.

use serde::{Deserialize, Serialize};

use crate::time::Stamp;

/// A question to a person. The attempt of such a step consists of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// What is asked.
    pub prompt: String,
    /// When it was asked. A timeout counts from here, whichever process waits.
    pub asked: Stamp,
    /// The decision; none while the step waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// A person's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether the step may succeed.
    pub granted: bool,
    /// Who decided.
    pub by: String,
    /// What they said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When.
    pub at: Stamp,
}

impl Approval {
    /// Returns whether it was approved.
    pub fn is_granted(&self) -> bool {
        self.decision.as_ref().is_some_and(|decision| decision.granted)
    }
}
