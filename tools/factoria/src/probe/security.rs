//! Security: policies, permissions, keys, audit log. What counts is what the keys say, and modes as they are on disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::baseline::Baseline;
use super::required::{ACTIONS, KEYS, POLICIES, ROLES};
use super::tally::Tally;
use super::{Digest, bounded, document, regular};
use crate::audit::{Audit, Checkpoint, Head, read};
use crate::layout::{AUDIT_CHECKPOINT, AUDIT_LOG};
use crate::signing::{AUDIT_SIGNING, POLICY_SIGNING, Purpose, Signer, keyring, verify};

/// The largest policy and signature that are read, in bytes; those of a system have a few kB.
const LARGEST: u64 = 4 << 20;

/// Measures, all but the counts as shares:
/// - `policies_intact`: policies that are there, are well-formed, are signed by `policy-signing` and have the mode
///   0640. `policies_signed` is about the signatures alone.
/// - `permissions_intact`: roles that may do exactly what they may, signed, and modes on disk: 0600 for keys, 0700 for
///   their folder, 0640 for policies, permissions and the audit log.
/// - `keys_present`: private halves that are there, have the mode 0600, and fit their public half; and the list of
///   public halves is signed.
/// - `audit_log_gapless`: sound lines among those that must be there ([`Audit::gapless`]).
/// - `audit_log_signed`: every 64th line of those that must be there, and the checkpoint's file, with a signature of
///   `audit-signing` that holds.
/// - `audit_last_seq`, and `audit_head`: number of the newest line, and 48 bits of the hash of the newest sound one.
///   With a baseline `audit_log_reaches_baseline`: 1 if a sound line has the number and the hash of the baseline.
/// - `keys_digest`, `policies_digest`: 48 bits of the BLAKE3 of all public halves, and of all policies with the
///   permissions. With a baseline `keys_kept`, `policies_kept`: 1 or 0. Only they show a key pair that replaced
///   another together with everything that it signs.
/// - `audit_lines`, `audit_torn_tail`, `policies`, `keys`: counts.
pub(super) fn measure(root: &Path, baseline: &Baseline) -> BTreeMap<String, f64> {
    let folder = Folder::open(root);
    let mut permissions = roles(document(&folder.base.join("permissions.json")).as_ref());
    let policies = folder.policies(&mut permissions);
    let keys = folder.keys(&mut permissions);
    let sought = baseline.get("audit_last_seq").zip(baseline.get("audit_head"));
    let sought = sought.map(|(seq, head)| Head { seq, head });
    let log = Log::read(root, &folder.public(AUDIT_SIGNING), sought);
    let mut measures: BTreeMap<String, f64> = [
        ("policies_intact", policies.intact.share()),
        ("policies_signed", policies.signed.share()),
        ("policies_digest", policies.digest.value()),
        ("policies", policies.count as f64),
        ("permissions_intact", permissions.share()),
        ("keys_present", keys.present.share()),
        ("keys_digest", keys.digest.value()),
        ("keys", names(&folder.base.join("keys"), ".key").len() as f64),
        ("audit_log_gapless", log.gapless),
        ("audit_log_signed", log.signed),
        ("audit_last_seq", log.audit.last_seq as f64),
        ("audit_head", log.audit.head),
        ("audit_lines", log.audit.lines as f64),
        ("audit_torn_tail", f64::from(u8::from(log.audit.torn_tail))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if sought.is_some() {
        let reached = f64::from(u8::from(log.audit.reached));
        measures.insert("audit_log_reaches_baseline".to_owned(), reached);
    }
    baseline.same(&mut measures, "keys_digest", "keys_kept");
    baseline.same(&mut measures, "policies_digest", "policies_kept");
    measures
}

/// The folder, with the key that its documents are signed with.
struct Folder {
    base: PathBuf,
    /// The public half of `policy-signing`; empty where it is absent, and then no signature holds.
    signing: Vec<u8>,
}

#[derive(Default)]
struct Policies {
    intact: Tally,
    /// The permissions count here as well.
    signed: Tally,
    digest: Digest,
    /// Policies that are there.
    count: usize,
}

#[derive(Default)]
struct Keys {
    present: Tally,
    /// Over all public halves.
    digest: Digest,
}

impl Folder {
    fn open(root: &Path) -> Self {
        let mut folder = Self {
            base: root.join("security"),
            signing: Vec::new(),
        };
        folder.signing = folder.public(POLICY_SIGNING);
        folder
    }

    fn policies(&self, permissions: &mut Tally) -> Policies {
        let known = POLICIES.map(|name| format!("{name}.json"));
        let there = names(&self.base.join("policies"), ".json");
        let mut policies = Policies {
            count: there.len(),
            ..Policies::default()
        };
        // Policies beyond the required ones must be signed as well.
        let beyond = there.iter().filter(|name| !known.contains(name));
        for file in known.iter().chain(beyond) {
            let path = format!("policies/{file}");
            let name = file.trim_end_matches(".json");
            let document = document(&self.base.join(&path));
            policies
                .intact
                .check(policies.signed.check(self.is_signed(&path)));
            policies
                .intact
                .check(permissions.check(self.has_mode(&path, 0o640)));
            policies
                .intact
                .check(document.is_some_and(|policy| well_formed(&policy, name)));
            policies.digest.add(file.as_bytes());
            policies.digest.add(&self.read(&path));
        }
        policies.digest.add(&self.read("permissions.json"));
        permissions.check(policies.signed.check(self.is_signed("permissions.json")));
        for path in ["permissions.json", "audit.log", "audit.checkpoint.json"] {
            permissions.check(self.has_mode(path, 0o640));
        }
        policies
    }

    fn keys(&self, permissions: &mut Tally) -> Keys {
        permissions.check(self.has_mode("keys", 0o700));
        let mut keys = Keys::default();
        let halves = KEYS.map(|name| (name, self.public(name)));
        for (name, public) in &halves {
            let path = format!("keys/{name}.key");
            let private = permissions.check(self.has_mode(&path, 0o600));
            let pair = Signer::from_seed(&self.read(&path)).is_some_and(|key| key.public() == public);
            keys.present.check(private && pair);
        }
        let list = keyring(halves.iter().map(|(name, public)| (*name, public.as_slice())));
        let signature = self.read("public/keyring.sig");
        keys.present
            .check(self.holds(Purpose::Keyring, &list, &signature));
        keys.digest.add(&list);
        keys
    }

    /// Returns whether a document has a signature beside it that holds. What cannot be read has none.
    fn is_signed(&self, path: &str) -> bool {
        let text = self.read(path);
        !text.is_empty() && self.holds(Purpose::Policy, &text, &self.read(&format!("{path}.sig")))
    }

    fn holds(&self, purpose: Purpose, bytes: &[u8], signature: &[u8]) -> bool {
        let signature = String::from_utf8_lossy(signature);
        verify(&self.signing, purpose, bytes, signature.trim_end())
    }

    fn has_mode(&self, path: &str, mode: u32) -> bool {
        fs::symlink_metadata(self.base.join(path))
            .is_ok_and(|about| !about.is_symlink() && about.permissions().mode() & 0o7777 == mode)
    }

    fn public(&self, name: &str) -> Vec<u8> {
        self.read(&format!("public/{name}.pub"))
    }

    /// Returns the content of a file; nothing where it is absent, no regular file, or too large.
    fn read(&self, path: &str) -> Vec<u8> {
        bounded(&self.base.join(path), LARGEST).unwrap_or_default()
    }
}

fn well_formed(policy: &Value, name: &str) -> bool {
    policy["policy"] == name
        && policy["version"].as_u64().is_some_and(|version| version > 0)
        && policy["rules"].as_array().is_some_and(|rules| {
            !rules.is_empty()
                && rules
                    .iter()
                    .all(|rule| rule["text"].as_str().is_some_and(|text| !text.is_empty()))
        })
}

/// Checks that each role is there and may do what it must and nothing else.
fn roles(document: Option<&Value>) -> Tally {
    let mut tally = Tally::default();
    let actions = document.and_then(|document| document["actions"].as_array());
    tally.check(actions.is_some_and(|actions| actions.iter().map(Value::as_str).eq(ACTIONS.map(Some))));
    let known = document.and_then(|document| document["roles"].as_object());
    tally.check(known.is_some_and(|known| known.len() == ROLES.len()));
    for (role, may) in ROLES {
        let granted = known.and_then(|known| known.get(role)?["actions"].as_array());
        tally.check(granted.is_some_and(|granted| {
            granted.len() == may.len() && granted.iter().zip(may).all(|(granted, may)| granted == may)
        }));
    }
    tally
}

/// The audit log, judged.
struct Log {
    audit: Audit,
    gapless: f64,
    signed: f64,
}

impl Log {
    fn read(root: &Path, public: &[u8], sought: Option<Head>) -> Self {
        let anchor = document(&root.join(AUDIT_CHECKPOINT));
        let signature = anchor.as_ref().and_then(|anchor| anchor["signature"].as_str());
        let checkpoint: Option<Checkpoint> = anchor
            .as_ref()
            .and_then(|anchor| serde_json::from_value(anchor.clone()).ok());
        let path = root.join(AUDIT_LOG);
        let audit = regular(&path)
            .and_then(|()| File::open(&path))
            .and_then(|log| {
                let log = BufReader::with_capacity(1 << 20, log);
                read(log, checkpoint.as_ref(), public, sought)
            })
            .unwrap_or_default();
        let mut signed = Tally::default();
        signed.check(checkpoint.as_ref().is_some_and(|checkpoint| {
            verify(
                public,
                Purpose::Audit,
                &checkpoint.message(),
                signature.unwrap_or(""),
            )
        }));
        let expected = audit.checkpoints.max(audit.last_seq / crate::audit::SIGNED_EVERY);
        signed.add(Tally {
            passed: audit.signed,
            made: expected,
        });
        Self {
            gapless: audit.gapless(checkpoint.as_ref()),
            signed: signed.share(),
            audit,
        }
    }
}

/// Returns the names of the regular files in a folder that end so, sorted.
fn names(folder: &Path, end: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let mut names: Vec<String> = files
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(end))
        .collect();
    names.sort();
    names
}
