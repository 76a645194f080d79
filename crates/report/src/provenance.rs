//! The origin of a recovery's data: which components of the recovery set it restored, and which data another
//! tier gave in place of the preferred one.

use std::fmt::Write;

use rekindle_model::id::StepId;
use rekindle_plan::Plan;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::evidence::Evidence;
use crate::units;

/// The components of the recovery set, each named once.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OfSet {
    /// Restored.
    pub recovered: Vec<String>,
    /// Asked for, and not restored (yet).
    pub missing: Vec<String>,
    /// Components that nobody asked for.
    pub not_asked_for: Vec<String>,
    /// Components that nobody asked for, and that the run's system does not have either.
    pub not_in_system: Vec<String>,
}

impl OfSet {
    /// Returns whether the user asked for the whole set.
    pub fn all_asked_for(&self) -> bool {
        self.not_asked_for.is_empty() && self.not_in_system.is_empty()
    }

    /// Returns how many components the set holds.
    pub fn len(&self) -> usize {
        self.recovered.len() + self.missing.len() + self.not_asked_for.len() + self.not_in_system.len()
    }

    /// Returns whether the set holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How many files a sentence names.
const FILES_NAMED: usize = 5;

/// The data that one tier served in place of the preferred one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fallback {
    /// The tier that served.
    pub tier: String,
    /// Files with some content from it.
    pub files: u64,
    /// Bytes of content that came from it.
    pub bytes: u64,
    /// Whether the snapshot's document, or a part of its list of files, came from it.
    pub list: bool,
    /// Some of those files.
    pub named: Vec<String>,
    /// Why the preferred tier did not serve.
    pub why: String,
}

impl Fallback {
    /// Returns in a sentence which data of a component came from this tier instead, and why.
    pub fn sentence(&self, component: &str) -> String {
        let mut what = Vec::new();
        if self.files > 0 {
            let files = if self.files == 1 { "file" } else { "files" };
            what.push(format!("{} of {} {files}", units::bytes(self.bytes), self.files));
        }
        if self.list {
            what.push("the list of its files, or a part of it,".to_owned());
        }
        let mut text = format!(
            "{component}: {} came from tier {} instead",
            what.join(" and "),
            self.tier
        );
        let named = self.named.iter().take(FILES_NAMED);
        let named: Vec<&str> = named.map(String::as_str).collect();
        if !named.is_empty() {
            let more = self.files.saturating_sub(named.len() as u64);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            let _ = write!(text, " ({}{more})", named.join(", "));
        }
        if !self.why.is_empty() {
            let _ = write!(text, ": {}", self.why);
        }
        text
    }
}

/// Sorts the components of the set that `locate-set` found: restored, missing, or not asked for.
///
/// `restored` returns none for a component that nobody asked for; otherwise whether it was restored.
pub(crate) fn of_set(
    evidence: &Evidence,
    plan: &Plan,
    restored: impl Fn(&str) -> Option<bool>,
    in_system: impl Fn(&str) -> bool,
) -> OfSet {
    let mut of_set = OfSet::default();
    let locate = plan.steps.iter().find(|step| step.uses == "locate-set");
    let members = locate.and_then(|step| evidence.output(&step.id)["components"].as_object());
    for name in members.into_iter().flatten().map(|(name, _)| name) {
        let group = match restored(name) {
            Some(true) => &mut of_set.recovered,
            Some(false) => &mut of_set.missing,
            None if in_system(name) => &mut of_set.not_asked_for,
            None => &mut of_set.not_in_system,
        };
        group.push(name.clone());
    }
    of_set
}

/// Returns the data that a restore took from another tier than the preferred one. For an unfinished restore,
/// returns the entries of its last checkpoint.
pub(crate) fn fallbacks(evidence: &Evidence, restore: &StepId) -> Vec<Fallback> {
    let said = &evidence.output(restore)["elsewhere"];
    if let Ok(said) = Vec::deserialize(said) {
        return said;
    }
    let reached = evidence.state.step(restore).checkpoint;
    let reached = reached.map_or(Value::Null, |progress| evidence.resolve(&progress));
    Vec::deserialize(&reached["restored"]["elsewhere"]).unwrap_or_default()
}
