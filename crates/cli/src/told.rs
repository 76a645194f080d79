//! The reasons of failures that were told on stderr. One lost tier fails many steps; a person reads why once.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A shorter reason does not tell which failure is meant.
const SHORTEST: usize = 24;

/// The words in place of a reason that was told before.
const AS_ABOVE: &str = "as said above";

/// The reasons that one process told.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<BTreeSet<String>>);

impl Told {
    /// Returns whether this reason was told.
    pub(crate) fn has(&self, reason: &str) -> bool {
        self.reasons().contains(reason)
    }

    /// Notes a reason that was told.
    pub(crate) fn note(&self, reason: String) {
        self.reasons().insert(reason);
    }

    fn reasons(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a text without the reasons that were told.
    pub(crate) fn shorten<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let told = self.reasons();
        // The tier's name stays: it is what the text is about.
        let mut reasons: Vec<&str> = told.iter().map(|reason| without_tier(reason)).collect();
        // One may begin as another does.
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.len()));
        reasons
            .into_iter()
            .filter(|reason| reason.len() >= SHORTEST)
            .fold(Cow::Borrowed(text), |text, reason| match has(&text, reason) {
                true => Cow::Owned(text.replace(reason, AS_ABOVE)),
                false => text,
            })
    }
}

/// Returns whether a text has a reason, and each time all of it: a longer one only begins so.
fn has(text: &str, reason: &str) -> bool {
    let rests = text
        .match_indices(reason)
        .map(|(at, _)| text.get(at + reason.len()..).unwrap_or_default());
    let mut rests = rests.peekable();
    rests.peek().is_some() && rests.all(|rest| rest.is_empty() || rest.starts_with([';', ':', '\n', ',']))
}

/// Returns the reason behind `tier NAME: `.
fn without_tier(reason: &str) -> &str {
    let rest = reason
        .strip_prefix("tier ")
        .and_then(|rest| rest.split_once(": "));
    rest.map_or(reason, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_was_told_is_not_told_again() {
        let told = Told::default();
        told.note("tier far: file:///mnt/far is missing; mount it".to_owned());
        told.note("exit 1".to_owned());
        for (text, shortened) in [
            (
                "store[a,far]: tier far: file:///mnt/far is missing; mount it\n1 of 2 stored",
                "store[a,far]: tier far: as said above\n1 of 2 stored",
            ),
            ("b: exit 1", "b: exit 1"),
            (
                "tier far: file:///mnt/far is missing; mount it or not",
                "tier far: file:///mnt/far is missing; mount it or not",
            ),
        ] {
            assert_eq!(told.shorten(text), shortened);
        }
    }
}
