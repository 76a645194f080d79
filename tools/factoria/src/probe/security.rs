//! Security: policies, permissions, keys, audit log. What counts is what the keys say, and modes as they are on disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::baseline::Baseline;
use super::required::{ACTIONS, KEYS, POLICIES, ROLES};
use super::tally::Tally;
use super::{Digest, bounded, document, regular};
use crate::audit::{Audit, Checkpoint, Head, read};
use crate::layout::{AUDIT_CHECKPOINT, AUDIT_LOG};
use crate::signing::{AUDIT_SIGNING, KEY_BYTES, POLICY_SIGNING, Purpose, Signer, keyring, verify};

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
    let base = root.join("security");
    let public = |name: &str| bounded(&base.join(format!("public/{name}.pub")), KEY_BYTES as u64);
    let signing = public(POLICY_SIGNING).unwrap_or_default();
    let has_mode = |path: &str, mode: u32| {
        fs::symlink_metadata(base.join(path))
            .is_ok_and(|about| !about.is_symlink() && about.permissions().mode() & 0o7777 == mode)
    };
    let signed = |path: &str| {
        let signature = bounded(&base.join(format!("{path}.sig")), LARGEST);
        bounded(&base.join(path), LARGEST).is_some_and(|text| {
            signature.is_some_and(|signature| {
                let signature = String::from_utf8_lossy(&signature);
                verify(&signing, Purpose::Policy, &text, signature.trim_end())
            })
        })
    };

    let mut policies = Tally::default();
    let mut signatures = Tally::default();
    let mut permissions = roles(document(&base.join("permissions.json")).as_ref());
    let mut digest = Digest::default();
    // Policies beyond the required ones must be signed as well.
    let known = POLICIES.map(|name| format!("{name}.json"));
    let there = names(&base.join("policies"), ".json");
    let beyond = there.iter().filter(|name| !known.contains(name));
    for file in known.iter().chain(beyond) {
        let path = format!("policies/{file}");
        let name = file.trim_end_matches(".json");
        policies.check(signatures.check(signed(&path)));
        policies.check(permissions.check(has_mode(&path, 0o640)));
        policies.check(document(&base.join(&path)).is_some_and(|policy| well_formed(&policy, name)));
        digest.add(file.as_bytes());
        digest.add(&bounded(&base.join(&path), LARGEST).unwrap_or_default());
    }
    digest.add(&bounded(&base.join("permissions.json"), LARGEST).unwrap_or_default());
    permissions.check(signatures.check(signed("permissions.json")));
    for path in ["permissions.json", "audit.log", "audit.checkpoint.json"] {
        permissions.check(has_mode(path, 0o640));
    }
    permissions.check(has_mode("keys", 0o700));

    let mut keys = Tally::default();
    let mut halves = Vec::new();
    for name in KEYS {
        let path = format!("keys/{name}.key");
        let half = public(name).unwrap_or_default();
        let private = permissions.check(has_mode(&path, 0o600));
        let pair = bounded(&base.join(&path), KEY_BYTES as u64)
            .and_then(|seed| Signer::from_seed(&seed))
            .is_some_and(|key| key.public() == half);
        keys.check(private && pair);
        halves.push((name, half));
    }
    let list = keyring(halves.iter().map(|(name, half)| (*name, half.as_slice())));
    let signature = bounded(&base.join("public/keyring.sig"), LARGEST).unwrap_or_default();
    let signature = String::from_utf8_lossy(&signature);
    keys.check(verify(&signing, Purpose::Keyring, &list, signature.trim_end()));
    let mut public_halves = Digest::default();
    public_halves.add(&list);

    let sought = baseline.get("audit_last_seq").zip(baseline.get("audit_head"));
    let sought = sought.map(|(seq, head)| Head { seq, head });
    let log = Log::read(root, &public(AUDIT_SIGNING).unwrap_or_default(), sought);
    let mut measures = BTreeMap::from([
        ("policies_intact".to_owned(), policies.share()),
        ("policies_signed".to_owned(), signatures.share()),
        ("policies_digest".to_owned(), digest.value()),
        ("permissions_intact".to_owned(), permissions.share()),
        ("keys_present".to_owned(), keys.share()),
        ("keys_digest".to_owned(), public_halves.value()),
        ("audit_log_gapless".to_owned(), log.gapless),
        ("audit_log_signed".to_owned(), log.signed),
        ("audit_last_seq".to_owned(), log.audit.last_seq as f64),
        ("audit_head".to_owned(), log.audit.head),
        ("audit_lines".to_owned(), log.audit.lines as f64),
        (
            "audit_torn_tail".to_owned(),
            f64::from(u8::from(log.audit.torn_tail)),
        ),
        ("policies".to_owned(), there.len() as f64),
        ("keys".to_owned(), names(&base.join("keys"), ".key").len() as f64),
    ]);
    if sought.is_some() {
        let reached = f64::from(u8::from(log.audit.reached));
        measures.insert("audit_log_reaches_baseline".to_owned(), reached);
    }
    baseline.same(&mut measures, "keys_digest", "keys_kept");
    baseline.same(&mut measures, "policies_digest", "policies_kept");
    measures
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
