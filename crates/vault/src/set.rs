//! Recovery sets: each component's newest snapshot at one instant, as one sealed document.

use std::collections::BTreeMap;

use rekindle_model::id::{Hash32, SetId, SnapshotId};
use rekindle_model::time::Stamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The document from which a system is recovered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecoverySet {
    /// Its name.
    pub id: SetId,
    /// When it was sealed.
    pub created: Stamp,
    /// The system's name.
    pub system: String,
    /// The components that have a snapshot.
    pub members: BTreeMap<String, Member>,
    /// The components that should have a snapshot and have none.
    pub missing: Vec<String>,
    /// Whether the set met the system's rule for recovery.
    pub recovery_ready: bool,
    /// Whether it can be recovered from the tiers that hold it: whether it would meet the rule if no other tier were due.
    pub recoverable: bool,
    /// Time between the oldest and the newest consistency point, in milliseconds.
    pub skew_ms: u64,
    /// The figures that decided the rule, for people and reports.
    pub summary: Value,
    /// The system definition of that moment, so that a bare machine needs nothing else. In JSON it is text.
    #[serde(with = "text")]
    pub system_definition: Vec<u8>,
    /// The set before this one, so that a tier that lost its newest sets is noticed.
    pub predecessor: Option<SetId>,
    /// The newest proof of each component that was ever proven: a recovery of its stored copy into a sandbox.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub proofs: BTreeMap<String, Proof>,
}

/// The result of a recovery of a component's stored copy into a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The snapshot that was recovered; none for a component without data of its own.
    pub snapshot: Option<SnapshotId>,
    /// When.
    pub at: Stamp,
    /// Whether the component's validations found it valid there; none if something was not measured.
    pub valid: Option<bool>,
    /// Why it is not valid, or not known to be; empty if it is.
    pub why: String,
    /// Whether the living system passed its validations at the capture; none if nothing was measured.
    pub living: Option<bool>,
}

impl RecoverySet {
    /// Returns why a component is known to be invalid: the proof of the very snapshot that the set names failed.
    pub fn invalid(&self, component: &str) -> Option<&Proof> {
        let proof = self.proofs.get(component)?;
        let own = self.members.get(component).map(|member| member.snapshot);
        (proof.valid == Some(false) && proof.snapshot == own).then_some(proof)
    }
}

/// One component of a recovery set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The snapshot to recover from.
    pub snapshot: SnapshotId,
    /// The instant of its content.
    pub consistency_point: Stamp,
    /// Whether it is older than the run that sealed the set.
    pub inherited: bool,
    /// Whether it was read back and found whole.
    pub verified: bool,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Its number of files.
    pub files: u64,
    /// Paths of the source that could not be read. If there are any, the member is incomplete.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unreadable: u64,
    /// The digest of its content.
    pub content_digest: Hash32,
    /// The tiers that hold it.
    pub tiers: Vec<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

mod text {
    //! A definition should be UTF-8; if it is not, its bytes are a list of numbers.
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum TextOrBytes {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_seq(bytes),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Ok(match TextOrBytes::deserialize(deserializer)? {
            TextOrBytes::Text(text) => text.into_bytes(),
            TextOrBytes::Bytes(bytes) => bytes,
        })
    }
}
