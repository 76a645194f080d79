//! Ed25519 keys of a system: what they sign, and where both halves are.
//!
//! ```text
//! security/keys/<name>.key        the private half: 32 bytes, the seed of RFC 8032; mode 0600
//! security/public/<name>.pub      the public half: 32 bytes
//! security/public/keyring.sig     signature over all public halves, by `policy-signing`
//! security/policies/<name>.json.sig, security/permissions.json.sig   signatures by `policy-signing`
//! security/audit.log              every 64th line is signed, by `audit-signing`; see `audit`
//! ```
//! A signature is 128 hex digits, over a purpose, a line feed and the bytes. The purpose keeps a signature of one
//! thing from being shown as that of another.

use std::fmt::Write;
use std::path::Path;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::error::FactoriaError;
use crate::probe::bounded;

/// Signs the audit log.
pub(crate) const AUDIT_SIGNING: &str = "audit-signing";
/// Signs policies, permissions and the list of public keys.
pub(crate) const POLICY_SIGNING: &str = "policy-signing";
/// Bytes of a private and of a public half.
pub(crate) const KEY_BYTES: usize = 32;
/// Hex digits of a signature.
const SIGNATURE_DIGITS: usize = 128;

/// What a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A policy, or the permissions.
    Policy,
    /// The public halves of all keys.
    Keyring,
    /// The audit log up to a line.
    Audit,
}

impl Purpose {
    fn over(self, bytes: &[u8]) -> Vec<u8> {
        let purpose: &[u8] = match self {
            Self::Policy => b"la-factoria policy\n",
            Self::Keyring => b"la-factoria keyring\n",
            Self::Audit => b"la-factoria audit\n",
        };
        [purpose, bytes].concat()
    }
}

/// A private half, ready to sign.
pub(crate) struct Signer(Ed25519KeyPair);

impl Signer {
    /// Takes a key out of its file's content; `None` where that has not 32 bytes.
    pub(crate) fn from_seed(seed: &[u8]) -> Option<Self> {
        Ed25519KeyPair::from_seed_unchecked(seed).ok().map(Self)
    }

    /// Reads the key of that name of the system at `root`.
    pub(crate) fn read(root: &Path, name: &str) -> Result<Self, FactoriaError> {
        let path = root.join(format!("security/keys/{name}.key"));
        let seed = bounded(&path, KEY_BYTES as u64);
        seed.and_then(|seed| Self::from_seed(&seed))
            .ok_or(FactoriaError::Key { path })
    }

    /// Returns the public half.
    pub(crate) fn public(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// Signs; the same key and bytes give the same signature (RFC 8032).
    pub(crate) fn sign(&self, purpose: Purpose, bytes: &[u8]) -> String {
        let signature = self.0.sign(&purpose.over(bytes));
        let mut digits = String::with_capacity(SIGNATURE_DIGITS);
        for byte in signature.as_ref() {
            // Writing to memory does not fail.
            let _ = write!(digits, "{byte:02x}");
        }
        digits
    }
}

/// Returns whether a signature, in hex, is that of the owner of a public half.
pub(crate) fn verify(public: &[u8], purpose: Purpose, bytes: &[u8], signature: &str) -> bool {
    let digits = signature.as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    let byte = |pair: &[u8; 2]| {
        let value = |digit: u8| char::from(digit).to_digit(16);
        u8::try_from(value(pair[0])? * 16 + value(pair[1])?).ok()
    };
    let signature: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    let Some(signature) = signature.filter(|_| rest.is_empty() && digits.len() == SIGNATURE_DIGITS) else {
        return false;
    };
    UnparsedPublicKey::new(&ED25519, public)
        .verify(&purpose.over(bytes), &signature)
        .is_ok()
}

/// Returns what the signature of the keyring is over.
pub(crate) fn keyring<'a>(halves: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, public) in halves {
        out.extend_from_slice(name.as_bytes());
        out.push(b' ');
        out.extend_from_slice(public);
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_its_purpose_and_its_bytes_alone() {
        let key = Signer::from_seed(&[7; KEY_BYTES]).unwrap();
        let other = Signer::from_seed(&[8; KEY_BYTES]).unwrap();
        let signature = key.sign(Purpose::Policy, b"text");
        assert!(verify(key.public(), Purpose::Policy, b"text", &signature));
        assert!(!verify(other.public(), Purpose::Policy, b"text", &signature));
        assert!(!verify(key.public(), Purpose::Audit, b"text", &signature));
        assert!(!verify(key.public(), Purpose::Policy, b"texts", &signature));
        for broken in ["", "zz", &signature[1..], &signature.replace('0', "z"), "ü"] {
            assert!(
                !verify(key.public(), Purpose::Policy, b"text", broken),
                "{broken:?}"
            );
        }
        assert!(Signer::from_seed(&[7; 31]).is_none());
    }
}
