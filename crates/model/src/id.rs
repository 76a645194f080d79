//! Names of runs, steps, snapshots, recovery sets and blobs.
//!
//! Runs, snapshots and sets are UUIDv7, so that their order is the order of their creation on one machine.
//! Steps have stable names (`restore[context_cache]`), never indices into a graph: a journal outlives the
//! code that lays graphs out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::Stamp;

/// How many characters of the end of an id name it at least.
const LEAST_OF_THE_END: usize = 4;
/// How many characters of the end of an id people see where there is no room for all of it.
const SHOWN_OF_THE_END: usize = 8;

/// Returns whether a person means this id: the word begins it, or ends it. Dashes and case do not count.
///
/// Ids of the same minute begin alike, and end at random.
pub fn is_named(id: &impl ToString, word: &str) -> bool {
    let plain = |text: &str| text.replace('-', "").to_lowercase();
    let (id, word) = (plain(&id.to_string()), plain(word));
    !word.is_empty() && (id.starts_with(&word) || (word.len() >= LEAST_OF_THE_END && id.ends_with(&word)))
}

/// Returns the end of an id, which [`is_named`] takes for it.
pub fn end(id: &str) -> &str {
    let at = id.len().saturating_sub(SHOWN_OF_THE_END);
    id.get(at..).unwrap_or(id)
}

/// Returns the ends of ids that are shown together: so many characters of each that no two look alike.
pub fn ends(ids: &BTreeSet<String>) -> BTreeMap<&str, &str> {
    let at = |id: &str, len: usize| id.len().saturating_sub(len);
    let mut len = SHOWN_OF_THE_END;
    loop {
        let ends: BTreeMap<&str, &str> = ids
            .iter()
            .map(|id| (id.as_str(), id.get(at(id, len)..).unwrap_or(id)))
            .collect();
        let different = ends.values().collect::<BTreeSet<_>>().len();
        if different == ids.len() || ids.iter().all(|id| id.len() <= len) {
            return ends;
        }
        len += 1;
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Returns a new id whose leading 48 bits are the UTC milliseconds of `now`.
            pub fn new(now: &Stamp) -> Self {
                let millis = now.utc.timestamp_millis().max(0);
                let seconds = u64::try_from(millis / 1000).unwrap_or(0);
                let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
                Self(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)))
            }

            /// Returns the time in the id; none if it is not a UUIDv7.
            pub fn created(&self) -> Option<DateTime<Utc>> {
                let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
                DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
            }

            /// Returns the 16 bytes of the id, in the order that sorts by creation time.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id! {
    /// One execution of a workflow.
    RunId
}
uuid_id! {
    /// One component's content at one instant.
    SnapshotId
}
uuid_id! {
    /// One recovery set: each component's newest verified snapshot at one instant.
    SetId
}

/// The stable name of a step: its template's id, and the keys of its loop in brackets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(String);

impl StepId {
    /// Returns the name of a step outside a loop.
    pub fn plain(template: &str) -> Self {
        Self(template.to_owned())
    }

    /// Returns the name of one iteration, `template[key]` or `template[key,key]`.
    pub fn looped<K: AsRef<str>>(template: &str, keys: &[K]) -> Self {
        if keys.is_empty() {
            return Self::plain(template);
        }
        let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
        Self(format!("{template}[{}]", keys.join(",")))
    }

    /// Returns the template's id: the part before the bracket.
    pub fn template(&self) -> &str {
        self.0.split('[').next().unwrap_or(&self.0)
    }

    /// Returns the loop keys; empty for a step outside a loop.
    pub fn keys(&self) -> Vec<&str> {
        match self.0.split_once('[') {
            Some((_, rest)) => rest.trim_end_matches(']').split(',').collect(),
            None => Vec::new(),
        }
    }

    /// Returns the whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for StepId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A 32-byte BLAKE3 hash, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash32(pub [u8; 32]);

impl Hash32 {
    /// The `prev` hash of the first record of a chain.
    pub const ZERO: Self = Self([0; 32]);

    /// Returns the first 12 hexadecimal digits, enough to tell two apart on a screen.
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

impl fmt::Display for Hash32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not 64 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("expected 64 hexadecimal digits, found {0:?}")]
pub struct BadHash(String);

impl FromStr for Hash32 {
    type Err = BadHash;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadHash(text.to_owned());
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Hash32 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash32 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_looped_step_names_its_template_and_keys() {
        let id = StepId::looped("store", &["context_cache", "hot"]);
        assert_eq!(id.as_str(), "store[context_cache,hot]");
        assert_eq!(id.template(), "store");
        assert_eq!(id.keys(), ["context_cache", "hot"]);
        assert!(StepId::plain("locate").keys().is_empty());
    }

    #[test]
    fn an_id_has_the_milliseconds_of_its_creation_in_it() {
        let at = DateTime::from_timestamp_millis(1_800_000_000_123).unwrap();
        let set = SetId::new(&crate::time::Clock::now(&crate::time::ManualClock::at(at)));
        assert_eq!(set.created(), Some(at));
        assert_eq!(SetId(Uuid::from_u128(7)).created(), None);
    }

    #[test]
    fn a_hash_survives_its_text() {
        let hash = Hash32([0xa5; 32]);
        assert_eq!(hash.to_string().parse::<Hash32>().unwrap(), hash);
        assert!("zz".parse::<Hash32>().is_err());
        assert!("é".repeat(32).parse::<Hash32>().is_err());
    }
}
