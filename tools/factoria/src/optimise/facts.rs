//! The catalogue of facts: what a context must hold to be of use for its task.
//!
//! ```text
//! quality/facts/<subject>-<unit>.json    {"<type>": {"<profile>": ["The … of … is 41.7 metres.", …]}}
//! ```
//!
//! A fact belongs to the least demanding profile whose tasks need it; more demanding tasks need it as well. It is
//! answerable from a context that states it. The catalogue is quality data: a context is judged against it and is
//! not made from it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{FIRST_UNIT, Profile, Request};
use crate::bounded;

/// The facts of one unit of a subject, by content type and profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts(pub BTreeMap<String, BTreeMap<Profile, Vec<String>>>);

impl Facts {
    /// Reads the facts of a request's unit; `None` where they are missing or malformed.
    pub fn read(root: &Path, request: &Request) -> Option<Self> {
        request.document().ok()?;
        let (subject, unit) = request
            .subject
            .split_once('/')
            .unwrap_or((&request.subject, FIRST_UNIT));
        bounded::json(&root.join("quality").join(path(subject, unit)))
    }

    /// Returns the facts that a request's task needs.
    pub fn needed<'a>(&'a self, request: &Request) -> impl Iterator<Item = &'a str> {
        let profile = request.profile;
        let of_type = self.0.get(&request.content_type).into_iter().flatten();
        // An empty statement would be found in every text.
        of_type
            .filter(move |(least, _)| **least <= profile)
            .flat_map(|(_, facts)| facts.iter().map(String::as_str))
            .filter(|fact| !fact.is_empty())
    }
}

/// Returns the path of a unit's facts, relative to `quality/`.
pub(crate) fn path(subject: &str, unit: &str) -> String {
    format!("facts/{subject}-{unit}.json")
}
