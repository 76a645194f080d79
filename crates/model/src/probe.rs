//! Probes: how a system is measured, and when.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::expect::Expect;
use crate::period::Period;

/// When a validation runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// On the restored data, after a recovery and in a proof.
    #[default]
    Recovery,
    /// On the living system, while a backup captures the component. Its numbers are the baseline.
    Backup,
    /// At both.
    Both,
}

impl At {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether it runs while a backup captures the component.
    pub fn backup(self) -> bool {
        self != Self::Recovery
    }

    /// Returns whether it runs on the restored data.
    pub fn recovery(self) -> bool {
        self != Self::Backup
    }
}

/// A measurement of the living system, and the expected numbers. The kind decides which fields have a meaning; the
/// others are empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Its name; the kind of probe by default.
    #[serde(default)]
    pub name: Option<String>,
    /// The kind: `command`, `http`, `sql`, `files`, or under `integrity:` also `set`.
    pub probe: String,
    /// The program and its arguments, for `command`; it prints one JSON object of numbers.
    #[serde(default)]
    pub run: Vec<String>,
    /// The URL to GET, for `http`; it measures `status` and `latency_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The request's headers, for `http`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The places of numbers in the JSON that `http` gets: JSON pointers (RFC 6901) by the number's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// The SQLite database, for `sql`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The query of `sql`, with one row whose columns name the numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The file or folder, for `files`; it measures `count` and `bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Globs of the files that `files` counts, relative to `path`; everything by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Globs of what `files` leaves out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// The expected digest of the files, in hexadecimal; with it `files` measures `digest`, true or false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// When it runs.
    #[serde(default, skip_serializing_if = "At::is_default")]
    pub at: At,
    /// How long it may take.
    #[serde(default)]
    pub timeout: Option<Period>,
    /// Components whose data it reads. If one of them is absent and the run does not recover it, the probe has *no data*.
    #[serde(default)]
    pub reads: Vec<String>,
    /// The condition for each measured number. If the probe does not print a number, that number is *no data*.
    #[serde(default)]
    pub expect: BTreeMap<String, Expect>,
}

/// Returns whether a text has an expression that names the target of a recovery.
pub fn names_target(text: &str) -> bool {
    let mut expressions = text.split("${{").skip(1);
    expressions.any(|rest| {
        rest.split("}}")
            .next()
            .is_some_and(|inside| inside.contains("target."))
    })
}

impl Probe {
    /// Returns whether it measures the data at the target, wherever that is. Others may measure the living system: they
    /// prove nothing about a sandbox.
    pub fn follows_target(&self) -> bool {
        let names_target = |text: &String| names_target(text);
        match self.probe.as_str() {
            "command" => self.run.iter().any(names_target),
            "http" => self.url.as_ref().is_some_and(names_target),
            // Their paths are below the target.
            _ => true,
        }
    }
}
