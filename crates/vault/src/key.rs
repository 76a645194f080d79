//! The keyring of a repository: generations of secrets, and the encrypted file that keeps them.
//!
//! A generation is one random secret, from which every key of that generation is derived. A repository begins
//! with generation 1. Objects name their generation, so a rotation, which nothing implements yet, can add one
//! and old objects stay readable.
//!
//! Disks and tiers keep the keyring as JSON, encrypted in the `age` format: `age -d` opens it. Secrets are
//! never printed, and wiped from memory when they are dropped.

use std::fmt;
use std::io::{Read, Write};
use std::iter;

use age::secrecy::{ExposeSecret, SecretString};
use rekindle_model::id::Hash32;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::object::ChunkId;

/// The version of the wrapped keyring's JSON.
const KEYRING_VERSION: u32 = 1;

/// scrypt's work factor (log2 N) for passphrases: the default of `age`, about a second and 256 MiB.
const PASSPHRASE_WORK: u8 = 18;

/// The largest work factor accepted from a key file, so that a forged one cannot stall the reader for long.
const PASSPHRASE_WORK_MAX: u8 = 22;

/// The largest wrapped keyring that is read. A keyring takes about 120 bytes a generation.
const KEYRING_MAX: u64 = 1 << 20;

/// A keyring could not be wrapped, opened or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The passphrase does not open the key file.
    #[error("the passphrase does not open this key file; check it, or use the one of the recovery kit")]
    WrongPassphrase,
    /// The key file is not wrapped to this identity.
    #[error("this identity is none of those that the key file is wrapped to")]
    WrongIdentity,
    /// The key file is wrapped to recipients, and the caller gave a passphrase.
    #[error("the key file is wrapped to an identity, not to a passphrase; give the identity")]
    NeedsIdentity,
    /// The key file is wrapped with a passphrase, and the caller gave an identity.
    #[error("the key file is wrapped with a passphrase; give the passphrase")]
    NeedsPassphrase,
    /// The text is not an age identity.
    #[error("expected an age identity (AGE-SECRET-KEY-1…): {0}")]
    BadIdentity(String),
    /// The text is not an age recipient.
    #[error("expected an age recipient (age1…): {0}")]
    BadRecipient(String),
    /// The list of recipients is empty.
    #[error("a keyring must be wrapped to at least one recipient")]
    NoRecipient,
    /// The key file was written by a newer program.
    #[error("the keyring has format version {found}, this program reads up to {known}; update rekindle")]
    NewerFormat {
        /// The version in the file.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The file is damaged, or is not a key file.
    #[error("the key file is damaged: {0}; take the copy of a tier or of the recovery kit")]
    Damaged(String),
    /// The key file could not be encrypted.
    #[error("the keyring could not be wrapped: {0}")]
    Wrap(String),
}

/// All key generations of one repository.
#[derive(Clone)]
pub struct Keyring {
    repository: Uuid,
    /// Ascending by number, never empty.
    generations: Vec<Generation>,
}

/// The keys of one generation, derived from its secret with BLAKE3's `derive_key`.
#[derive(Clone)]
pub(crate) struct Generation {
    pub(crate) number: u32,
    secret: [u8; 32],
    /// Keys chunk ids.
    chunk_id: [u8; 32],
    /// Keys packs.
    pub(crate) pack: [u8; 32],
    /// Keys indexes, snapshots, recovery sets and the marker.
    pub(crate) document: [u8; 32],
    /// Seeds the chunker's gear table.
    pub(crate) chunker_seed: u64,
}

impl Zeroize for Generation {
    fn zeroize(&mut self) {
        // Every field is named, so that a new key is not forgotten.
        let Self {
            number,
            secret,
            chunk_id,
            pack,
            document,
            chunker_seed,
        } = self;
        number.zeroize();
        for key in [secret, chunk_id, pack, document] {
            key.zeroize();
        }
        chunker_seed.zeroize();
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for Generation {}

impl Generation {
    fn new(number: u32, secret: [u8; 32]) -> Self {
        let derive =
            |purpose: &str| blake3::derive_key(&format!("rekindle 2026 vault v1 {purpose}"), &secret);
        let seed = derive("chunker");
        let seed = seed
            .first_chunk::<8>()
            .map_or(1, |bytes| u64::from_le_bytes(*bytes));
        Self {
            number,
            secret,
            chunk_id: derive("chunk id"),
            pack: derive("pack"),
            document: derive("document"),
            chunker_seed: seed,
        }
    }

    /// Returns the id of a chunk with this content.
    pub(crate) fn chunk_id(&self, plain: &[u8]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(&self.chunk_id, plain).as_bytes())
    }
}

/// The JSON inside a wrapped keyring.
#[derive(Serialize, Deserialize)]
struct StoredKeyring {
    format: String,
    version: u32,
    repository: Uuid,
    generations: Vec<StoredGeneration>,
}

#[derive(Serialize, Deserialize)]
struct StoredGeneration {
    number: u32,
    secret: Hash32,
}

impl Drop for StoredGeneration {
    fn drop(&mut self) {
        self.secret.0.zeroize();
    }
}

impl Keyring {
    /// Returns the keyring of a new repository, with one generation.
    ///
    /// # Panics
    /// If the operating system has no random numbers: a key made without them would be unsafe.
    pub fn generate() -> Self {
        Self {
            repository: Uuid::new_v4(),
            generations: vec![Generation::new(1, random())],
        }
    }

    /// Returns the repository that this keyring belongs to.
    pub fn repository(&self) -> Uuid {
        self.repository
    }

    /// Returns the fingerprint that people and workspaces pin: 32 hexadecimal digits. It depends on the
    /// repository and its first secret, so it never changes, however the keyring is wrapped.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("rekindle 2026 vault v1 fingerprint");
        hasher.update(self.repository.as_bytes());
        if let Some(first) = self.generations.first() {
            hasher.update(&first.secret);
        }
        Hash32(*hasher.finalize().as_bytes())
            .to_string()
            .chars()
            .take(32)
            .collect()
    }

    /// Encrypts the keyring so that each of the recipients can open it.
    pub fn wrap_to(&self, recipients: &[Recipient]) -> Result<Vec<u8>, KeyError> {
        if recipients.is_empty() {
            return Err(KeyError::NoRecipient);
        }
        let recipients = recipients
            .iter()
            .map(|recipient| &recipient.0 as &dyn age::Recipient);
        self.wrap(age::Encryptor::with_recipients(recipients))
    }

    /// Encrypts the keyring with a passphrase.
    pub fn wrap_with_passphrase(&self, passphrase: &str) -> Result<Vec<u8>, KeyError> {
        let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase.to_owned()));
        recipient.set_work_factor(PASSPHRASE_WORK);
        self.wrap(age::Encryptor::with_recipients(iter::once(
            &recipient as &dyn age::Recipient,
        )))
    }

    fn wrap(&self, encryptor: Result<age::Encryptor, age::EncryptError>) -> Result<Vec<u8>, KeyError> {
        let stored = StoredKeyring {
            format: "rekindle-keyring".to_owned(),
            version: KEYRING_VERSION,
            repository: self.repository,
            generations: self
                .generations
                .iter()
                .map(|generation| StoredGeneration {
                    number: generation.number,
                    secret: Hash32(generation.secret),
                })
                .collect(),
        };
        let failed = |error: &dyn fmt::Display| KeyError::Wrap(error.to_string());
        let plain = Zeroizing::new(serde_json::to_vec(&stored).map_err(|error| failed(&error))?);
        let mut wrapped = Vec::new();
        let mut writer = encryptor
            .map_err(|error| failed(&error))?
            .wrap_output(&mut wrapped)
            .map_err(|error| failed(&error))?;
        writer.write_all(&plain).map_err(|error| failed(&error))?;
        writer.finish().map_err(|error| failed(&error))?;
        Ok(wrapped)
    }

    /// Opens a wrapped key file.
    ///
    /// Compare its [`fingerprint`](Self::fingerprint) with the pinned one before you use it: anyone can wrap
    /// another keyring to a public recipient.
    pub fn unwrap(wrapped: &[u8], unlock: &Unlock) -> Result<Self, KeyError> {
        let damaged = |error: age::DecryptError| KeyError::Damaged(error.to_string());
        let decryptor = age::Decryptor::new_buffered(wrapped).map_err(damaged)?;
        let reader = match (unlock, decryptor.is_scrypt()) {
            (Unlock::Identity(_), true) => return Err(KeyError::NeedsPassphrase),
            (Unlock::Passphrase(_), false) => return Err(KeyError::NeedsIdentity),
            (Unlock::Identity(identity), false) => decryptor
                .decrypt(iter::once(&identity.0 as &dyn age::Identity))
                .map_err(|error| match error {
                    age::DecryptError::NoMatchingKeys => KeyError::WrongIdentity,
                    error => damaged(error),
                }),
            (Unlock::Passphrase(passphrase), true) => {
                let mut identity = age::scrypt::Identity::new(SecretString::from(passphrase.clone()));
                identity.set_max_work_factor(PASSPHRASE_WORK_MAX);
                decryptor
                    .decrypt(iter::once(&identity as &dyn age::Identity))
                    .map_err(|error| match error {
                        age::DecryptError::NoMatchingKeys
                        | age::DecryptError::DecryptionFailed
                        | age::DecryptError::KeyDecryptionFailed => KeyError::WrongPassphrase,
                        error => damaged(error),
                    })
            }
        }?;
        let mut plain = Zeroizing::new(Vec::new());
        reader
            .take(KEYRING_MAX)
            .read_to_end(&mut plain)
            .map_err(|error| KeyError::Damaged(error.to_string()))?;
        Self::parse(&plain)
    }

    fn parse(plain: &[u8]) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let damaged = |error: serde_json::Error| KeyError::Damaged(error.to_string());
        let head: Head = serde_json::from_slice(plain).map_err(damaged)?;
        if head.format != "rekindle-keyring" {
            return Err(KeyError::Damaged(format!(
                "it holds {:?}, not a keyring",
                head.format
            )));
        }
        if head.version > KEYRING_VERSION {
            return Err(KeyError::NewerFormat {
                found: head.version,
                known: KEYRING_VERSION,
            });
        }
        let stored: StoredKeyring = serde_json::from_slice(plain).map_err(damaged)?;
        let ascending = stored
            .generations
            .windows(2)
            .all(|pair| pair[0].number < pair[1].number);
        if stored.generations.is_empty() || !ascending {
            return Err(KeyError::Damaged("its generations are not in order".to_owned()));
        }
        let generations = stored
            .generations
            .iter()
            .map(|stored| Generation::new(stored.number, stored.secret.0))
            .collect();
        Ok(Self {
            repository: stored.repository,
            generations,
        })
    }

    /// Returns the generation that new objects are sealed under.
    pub(crate) fn newest(&self) -> &Generation {
        &self.generations[self.generations.len() - 1]
    }

    /// Returns the generation of that number.
    pub(crate) fn generation(&self, number: u32) -> Option<&Generation> {
        self.generations
            .iter()
            .find(|generation| generation.number == number)
    }

    /// Returns whether the id belongs to this content under any generation.
    pub(crate) fn chunk_matches(&self, id: &ChunkId, plain: &[u8]) -> bool {
        // blake3 compares hashes in constant time.
        let id = blake3::Hash::from_bytes(id.0);
        self.generations
            .iter()
            .rev()
            .any(|generation| id == generation.chunk_id(plain).0)
    }

    /// Returns whether a keyring holder wrote a location's marker with this proof. The time that this takes does not
    /// depend on the proof.
    pub(crate) fn proves(&self, message: &[u8], proof: &Hash32) -> bool {
        blake3::Hash::from_bytes(self.prove(message).0) == proof.0
    }

    /// Returns the proof that a keyring holder wrote a location's marker.
    pub(crate) fn prove(&self, message: &[u8]) -> Hash32 {
        let key = self.generations.first().map_or([0; 32], |first| {
            blake3::derive_key("rekindle 2026 vault v1 marker", &first.document)
        });
        Hash32(*blake3::keyed_hash(&key, message).as_bytes())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("repository", &self.repository)
            .finish_non_exhaustive()
    }
}

/// The secret that opens a wrapped keyring.
#[derive(Clone)]
pub enum Unlock {
    /// An identity, for a key file that is wrapped to recipients.
    Identity(Identity),
    /// A passphrase.
    Passphrase(String),
}

impl Drop for Unlock {
    fn drop(&mut self) {
        // An identity wipes itself.
        if let Self::Passphrase(passphrase) = self {
            passphrase.zeroize();
        }
    }
}

impl fmt::Debug for Unlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity(_) => "Identity(…)",
            Self::Passphrase(_) => "Passphrase(…)",
        })
    }
}

/// An age X25519 identity: the secret half.
#[derive(Clone)]
pub struct Identity(age::x25519::Identity);

/// An age X25519 recipient: the public half.
#[derive(Clone)]
pub struct Recipient(age::x25519::Recipient);

impl Identity {
    /// Returns a new random identity.
    pub fn generate() -> Self {
        Self(age::x25519::Identity::generate())
    }

    /// Reads an identity (`AGE-SECRET-KEY-1…`).
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        text.trim()
            .parse()
            .map(Self)
            .map_err(|why: &str| KeyError::BadIdentity(why.to_owned()))
    }

    /// Returns the identity as text. It is a secret: it opens every backup.
    #[expect(
        clippy::inherent_to_string,
        reason = "a Display would let a secret slip into a message"
    )]
    pub fn to_string(&self) -> String {
        self.0.to_string().expose_secret().to_owned()
    }

    /// Returns the recipient of this identity.
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

impl std::str::FromStr for Recipient {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        text.trim()
            .parse()
            .map(Self)
            .map_err(|why: &str| KeyError::BadRecipient(why.to_owned()))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns fresh random bytes.
#[expect(
    clippy::expect_used,
    reason = "without random numbers no key and no salt may be made"
)]
pub(crate) fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system has random numbers");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_that_is_dropped_leaves_none_of_its_keys() {
        fn wipes_itself<T: ZeroizeOnDrop>(_: &T) {}
        let mut generation = Generation::new(1, [7; 32]);
        wipes_itself(&generation);
        assert!(std::mem::needs_drop::<Generation>());
        // This is what a drop runs.
        generation.zeroize();
        let keys = [
            generation.secret,
            generation.chunk_id,
            generation.pack,
            generation.document,
        ];
        assert_eq!((keys, generation.chunker_seed), ([[0; 32]; 4], 0));
    }

    #[test]
    fn a_wrapped_keyring_opens_to_the_same_keys_for_each_recipient() {
        let keyring = Keyring::generate();
        let people = [Identity::generate(), Identity::generate()];
        let wrapped = keyring
            .wrap_to(&people.each_ref().map(Identity::recipient))
            .unwrap();
        for person in people {
            let opened = Keyring::unwrap(&wrapped, &Unlock::Identity(person)).unwrap();
            assert_eq!(opened.fingerprint(), keyring.fingerprint());
            assert_eq!(opened.repository(), keyring.repository());
            assert_eq!(opened.newest().chunk_id(b"x"), keyring.newest().chunk_id(b"x"));
        }
        let stranger = Unlock::Identity(Identity::generate());
        assert!(matches!(
            Keyring::unwrap(&wrapped, &stranger),
            Err(KeyError::WrongIdentity)
        ));
        let passphrase = Unlock::Passphrase("p".to_owned());
        assert!(matches!(
            Keyring::unwrap(&wrapped, &passphrase),
            Err(KeyError::NeedsIdentity)
        ));
    }

    #[test]
    fn a_wrong_passphrase_is_told_from_a_damaged_file() {
        let keyring = Keyring::generate();
        let wrapped = keyring.wrap_with_passphrase("correct horse").unwrap();
        let opened = Keyring::unwrap(&wrapped, &Unlock::Passphrase("correct horse".to_owned())).unwrap();
        assert_eq!(opened.fingerprint(), keyring.fingerprint());
        let wrong = Keyring::unwrap(&wrapped, &Unlock::Passphrase("battery staple".to_owned()));
        assert!(matches!(wrong, Err(KeyError::WrongPassphrase)), "{wrong:?}");
        let cut = Keyring::unwrap(
            &wrapped[..wrapped.len() - 9],
            &Unlock::Passphrase("correct horse".to_owned()),
        );
        assert!(matches!(cut, Err(KeyError::Damaged(_))), "{cut:?}");
        let identity = Unlock::Identity(Identity::generate());
        assert!(matches!(
            Keyring::unwrap(&wrapped, &identity),
            Err(KeyError::NeedsPassphrase)
        ));
    }

    #[test]
    fn a_keyring_of_a_newer_program_is_refused_as_newer() {
        let newer = br#"{"format":"rekindle-keyring","version":2,"something":"else"}"#;
        assert!(matches!(
            Keyring::parse(newer),
            Err(KeyError::NewerFormat { found: 2, known: 1 })
        ));
    }

    #[test]
    fn an_identity_survives_its_text_and_never_shows_in_debug() {
        let identity = Identity::generate();
        let text = identity.to_string();
        assert_eq!(
            Identity::parse(&text).unwrap().recipient().to_string(),
            identity.recipient().to_string()
        );
        assert!(!format!("{identity:?}{:?}", Unlock::Identity(identity.clone())).contains("SECRET"));
        assert!(Identity::parse("AGE-SECRET-KEY-1nonsense").is_err());
    }
}
