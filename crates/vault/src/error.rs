//! The errors of the vault: one enum for opening a tier, one for all other work.

use rekindle_model::failure::{Failure, code};
use rekindle_model::id::SnapshotId;

use crate::object::ObjectName;
use crate::store::StoreError;

/// What is wrong with one stored object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum ObjectFault {
    /// The object is missing.
    #[error("is missing")]
    Missing,
    /// It is shorter than its format says.
    #[error("is truncated: {have} bytes, at least {need} are needed")]
    Truncated {
        /// Bytes that are there.
        have: u64,
        /// Bytes that the format needs.
        need: u64,
    },
    /// It is larger than its kind can be; it was not read.
    #[error("is damaged: it has {len} bytes, more than its kind can have")]
    TooLarge {
        /// Its length in bytes.
        len: u64,
    },
    /// Something other than a file is in its place.
    #[error("is damaged: {what}")]
    NotAFile {
        /// What is there.
        what: &'static str,
    },
    /// The hash of its stored bytes is not its name.
    #[error("is damaged: its bytes do not match its name")]
    NameMismatch,
    /// It does not begin with the magic of its kind.
    #[error("is damaged: it does not begin as its kind does")]
    BadMagic,
    /// Its seal does not open: a byte changed, or the object is in the place of another.
    #[error("is damaged: the seal of {what} does not open")]
    SealBroken {
        /// Which part of the object.
        what: String,
    },
    /// It opens, but its content makes no sense.
    #[error("is damaged: {why}")]
    Malformed {
        /// What does not fit.
        why: String,
    },
    /// It was written in a format that this program does not read any more.
    #[error("has the earlier format version {found}; read it with the version of rekindle that wrote it")]
    OlderFormat {
        /// The version in the object.
        found: u32,
    },
    /// The location has been put back to an earlier state.
    #[error(
        "is missing; the location was put back to an earlier state, with head {newest} as its newest; this one was \
         written at {}",
        rekindle_model::time::show(*.at)
    )]
    OlderThanKnown {
        /// The number of the newest head there; 0 if there is none.
        newest: u64,
        /// When the missing head was written.
        at: chrono::DateTime<chrono::Utc>,
    },
    /// The location states the id of another one.
    #[error("states the same id as {of}; the location was copied from there")]
    CopyOf {
        /// The tier and the URL of the other one.
        of: String,
    },
    /// It was written in a format that this program does not know.
    #[error("has format version {found}, this program reads up to {known}; update rekindle")]
    NewerFormat {
        /// The version in the object.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// It is sealed under a key generation that the keyring does not hold.
    #[error("is sealed under key generation {0}, which this keyring does not hold")]
    UnknownGeneration(u32),
}

impl ObjectFault {
    /// Returns what is wrong with the object itself; none if storage failed.
    pub(crate) fn of(error: &StoreError) -> Option<Self> {
        match error {
            StoreError::NotFound { .. } => Some(Self::Missing),
            StoreError::NotAFile { what, .. } => Some(Self::NotAFile { what }),
            StoreError::TooLarge { len, .. } => Some(Self::TooLarge { len: *len }),
            StoreError::DiskFull { .. } | StoreError::NotExclusive { .. } | StoreError::Failed { .. } => None,
        }
    }

    /// Returns whether the stored bytes are at fault, and not this program or its keyring.
    pub(crate) fn is_damage(&self) -> bool {
        !matches!(
            self,
            Self::NewerFormat { .. } | Self::OlderFormat { .. } | Self::UnknownGeneration(_)
        )
    }
}

/// A tier could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum TierError {
    /// A location is not a URL that can be used.
    #[error("tier {tier}: {url} is not a usable location: {why}")]
    BadUrl {
        /// The tier's name.
        tier: String,
        /// The location as it was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// No kind of storage of this version has the URL's scheme.
    #[error("tier {tier}: {url} cannot be opened: this version opens {}", schemes(.known))]
    UnknownScheme {
        /// The tier's name.
        tier: String,
        /// The location as it was given.
        url: String,
        /// Its scheme.
        scheme: String,
        /// The schemes that this version opens.
        known: Vec<&'static str>,
    },
    /// A tier without a location.
    #[error("tier {tier} has no location; give it a `url`")]
    NoLocation {
        /// The tier's name.
        tier: String,
    },
    /// There is no vault at the location.
    #[error("tier {tier}: there is no vault at {url}; check the location")]
    NotAVault {
        /// The tier's name.
        tier: String,
        /// The location.
        url: String,
    },
    /// The vault that this workspace used at the location is gone.
    #[error("tier {tier}: {url} is missing or empty, and this workspace has stored there before; mount it")]
    Gone {
        /// The tier's name.
        tier: String,
        /// The location.
        url: String,
    },
    /// The note of this workspace's locations cannot be used.
    #[error("tier {tier}: {}: {why}", .path.display())]
    Note {
        /// The tier's name.
        tier: String,
        /// The note.
        path: std::path::PathBuf,
        /// What went wrong.
        why: String,
    },
    /// The location holds other files, and no vault is created among them.
    #[error("tier {tier}: {url} is not empty and holds no vault ({found}); choose an empty folder")]
    NotEmpty {
        /// The tier's name.
        tier: String,
        /// The location.
        url: String,
        /// The first thing found there.
        found: String,
    },
    /// The location holds the vault of another repository.
    #[error("tier {tier}: {url} belongs to repository {found}, not to {expected}; point the tier elsewhere")]
    Foreign {
        /// The tier's name.
        tier: String,
        /// The location.
        url: String,
        /// The repository that the location names.
        found: uuid::Uuid,
        /// The repository of the keyring.
        expected: uuid::Uuid,
    },
    /// The location's key is not the pinned one.
    #[error("tier {tier}: the key at {url} is not the pinned one ({why}); do not use it before you know why")]
    KeyMismatch {
        /// The tier's name.
        tier: String,
        /// The location.
        url: String,
        /// What differs.
        why: String,
    },
    /// The location was written by a newer program.
    #[error(
        "tier {tier}: {url} has format version {found}, this program reads up to {known}; update rekindle"
    )]
    NewerFormat {
        /// The tier's name.
        tier: String,
        /// The location.
        url: String,
        /// The version that the location names.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The location was written in an earlier format.
    #[error(
        "tier {tier}: {url} has the earlier format version {found}; use a new location, or the version of rekindle \
         that wrote it"
    )]
    OlderFormat {
        /// The tier's name.
        tier: String,
        /// The location.
        url: String,
        /// The version that the location names.
        found: u32,
    },
    /// The location's marker or its key file is missing or damaged. A repair of the tier writes it anew.
    #[error("tier {tier}: {object} at {url} {fault}")]
    Damaged {
        /// The tier's name.
        tier: String,
        /// The location.
        url: String,
        /// Which of the two.
        object: ObjectName,
        /// What is wrong with it.
        fault: ObjectFault,
    },
    /// The location cannot be reached.
    #[error("tier {tier}: {source}")]
    Unreachable {
        /// The tier's name.
        tier: String,
        /// What the storage said.
        source: StoreError,
    },
}

impl TierError {
    /// Returns whether the vault at the location is damaged. Waiting does not help then, and a repair may.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::KeyMismatch { .. })
    }
}

/// Lists schemes as URLs begin with them.
fn schemes(known: &[&str]) -> String {
    let known: Vec<String> = known.iter().map(|scheme| format!("{scheme}://")).collect();
    known.join(", ")
}

/// Reading from or writing to the vault failed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The disk under a location is full. Nothing is lost, and the same call resumes once there is room.
    #[error("{0}")]
    DiskFull(StoreError),
    /// Storage failed to do what was asked.
    #[error("{0}")]
    Store(StoreError),
    /// A stored object is missing or damaged.
    #[error("{object} in {location} {fault}")]
    Object {
        /// Where it is stored.
        location: String,
        /// Which object.
        object: ObjectName,
        /// What is wrong with it.
        fault: ObjectFault,
    },
    /// No location holds the snapshot.
    #[error("snapshot {0} is in none of the given locations")]
    UnknownSnapshot(SnapshotId),
    /// No location holds the recovery set.
    #[error("recovery set {0} is in none of the given locations")]
    UnknownSet(rekindle_model::id::SetId),
    /// No location can give a chunk.
    #[error("chunk {chunk} is lost: {}", .attempts.join("; "))]
    ChunkLost {
        /// The chunk's id.
        chunk: crate::object::ChunkId,
        /// What each location answered.
        attempts: Vec<String>,
    },
    /// The source could not be read.
    #[error(transparent)]
    Source(#[from] Failure),
    /// The source's entries are not in the order that a snapshot needs.
    #[error("the source returned {found:?} after {after:?}, which is not the order of paths")]
    Unordered {
        /// The path that came first.
        after: String,
        /// The path that followed.
        found: String,
    },
    /// A location of the tier was down when the tier was opened.
    #[error("tier {tier}: {url} could not be reached: {why}")]
    LocationDown {
        /// The tier's name.
        tier: String,
        /// The location.
        url: String,
        /// What it answered.
        why: String,
    },
    /// Other writers took every number that was tried.
    #[error("{location} is being written by others all the time; try again")]
    Busy {
        /// The location.
        location: String,
    },
    /// The workspace's notes of its tiers cannot be read or written.
    #[error(transparent)]
    Notes(#[from] TierError),
    /// The caller asked to stop; the same call can resume later.
    #[error("interrupted")]
    Interrupted,
    /// A bug in Rekindle.
    #[error("the vault broke its own rules: {0}")]
    Internal(String),
}

impl From<StoreError> for VaultError {
    fn from(error: StoreError) -> Self {
        if error.is_disk_full() {
            Self::DiskFull(error)
        } else {
            Self::Store(error)
        }
    }
}

impl VaultError {
    /// Returns this error as the failure of a step.
    pub fn into_failure(self) -> Failure {
        let message = self.to_string();
        match self {
            Self::Source(failure) => failure,
            Self::DiskFull(_) => Failure::transient(code::DISK_FULL, message)
                .with_hint("make room, then resume; stored data is kept"),
            Self::Store(ref error) if ObjectFault::of(error).is_some() => {
                Failure::permanent(code::DATA_LOST, message)
            }
            Self::Notes(ref error) if error.is_damage() => Failure::permanent(code::DATA_LOST, message),
            Self::Store(_) | Self::LocationDown { .. } | Self::Busy { .. } => {
                Failure::transient(code::TIER_UNAVAILABLE, message)
            }
            // A step knows the snapshot or the set from a place that holds it or held it.
            Self::Object { .. } | Self::ChunkLost { .. } | Self::UnknownSnapshot(_) | Self::UnknownSet(_) => {
                Failure::permanent(code::DATA_LOST, message)
            }
            Self::Interrupted => Failure::transient("interrupted", message),
            Self::Notes(_) => Failure::permanent("bad_notes", message),
            Self::Unordered { .. } | Self::Internal(_) => Failure::permanent(code::INTERNAL, message),
        }
    }
}
