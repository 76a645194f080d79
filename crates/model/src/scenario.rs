//! Disasters that a system plans for: what they hit, how soon it must be back, and how a drill causes them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::period::Period;
use crate::probe::Probe;

/// A disaster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What happens, for people.
    #[serde(default)]
    pub description: Option<String>,
    /// The components that it hits.
    pub affects: Affects,
    /// How soon they must be back.
    #[serde(default)]
    pub rto: Option<Period>,
    /// How much of their data may be lost.
    #[serde(default)]
    pub rpo: Option<Period>,
    /// How a drill causes it; empty if everything that it hits is gone.
    #[serde(default)]
    pub damage: Vec<Damage>,
    /// In place of a recovery, its drill proves that a verification notices damaged copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inject: Option<Inject>,
    /// Puts the system under load, before the disaster and again while its drill recovers. What is measured first is the
    /// baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Probe>,
}

/// How many stored objects a verification reads damaged copies of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inject {
    /// How many of each tier.
    #[serde(default)]
    pub count: Option<u32>,
    /// Chooses them. Without it each drill chooses others.
    #[serde(default)]
    pub seed: Option<u64>,
}

/// The components that a disaster hits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Affects {
    /// The word `all`.
    All(All),
    /// These.
    These(Vec<String>),
}

/// The word `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum All {
    /// `all`
    #[serde(rename = "all")]
    All,
}

/// A damage to the files of components. Either `how` or `run` is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Damage {
    /// What happens to the files.
    #[serde(default)]
    pub how: Option<How>,
    /// A program that does the damage, with its arguments. It runs once for each component.
    #[serde(default)]
    pub run: Vec<Value>,
    /// The components; empty for all that the scenario affects.
    #[serde(default)]
    pub components: Vec<String>,
    /// How many files of each component; none for all.
    #[serde(default)]
    pub count: Option<u32>,
    /// Chooses the files and bytes. Without it each drill chooses others.
    #[serde(default)]
    pub seed: Option<u64>,
}

/// What happens to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// They are gone.
    Delete,
    /// A few bytes of each are other ones, as a failing disk leaves them.
    Corrupt,
    /// A digit or a letter of each is another one, as an intruder leaves it.
    Tamper,
    /// They are encrypted and have other names, as ransomware leaves them.
    Encrypt,
}
