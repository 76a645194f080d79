//! The reasons of failures that were told on stderr. One lost tier fails many steps; a person reads why once.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A shorter reason does not tell which failure is meant.
const SHORTEST: usize = 24;

/// What stands for a reason that was told before.
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
        let reasons = told.iter().map(|reason| without_tier(reason));
        reasons
            .filter(|reason| reason.len() >= SHORTEST)
            .fold(Cow::Borrowed(text), |text, reason| match text.contains(reason) {
                true => Cow::Owned(text.replace(reason, AS_ABOVE)),
                false => text,
            })
    }
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
        ] {
            assert_eq!(told.shorten(text), shortened);
        }
    }
}
