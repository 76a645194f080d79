//! Security: policies, permissions, keys, audit log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::required::{ACTIONS, KEYS, POLICIES, ROLES};
use super::tally::Tally;
use super::{document, regular};
use crate::audit::{Audit, Checkpoint, read};
use crate::layout::{AUDIT_CHECKPOINT, AUDIT_LOG};
use crate::manifest::{Found, Manifest};

/// Measures, all but the counts as shares:
/// - `policies_intact`: policies that are there, are well-formed and are what the manifest lists.
/// - `permissions_intact`: roles that may do exactly what they may, and files with the modes they had.
/// - `keys_present`: keys that are there, unchanged, and readable by their owner alone.
/// - `audit_log_gapless`: sound lines among those that must be there ([`Audit::gapless`]).
/// - `audit_last_seq`, `audit_lines`, `audit_torn_tail`, `policies`, `keys`: counts.
pub(super) fn measure(root: &Path) -> BTreeMap<String, f64> {
    let base = root.join("security");
    let manifest = Manifest::read(&base);
    let found = |path: &str| {
        let entry = manifest.as_ref()?.entries.get(path)?;
        Some(entry.compare(&base, path))
    };
    let unchanged = |path: &str| matches!(found(path), Some(Found::Same | Found::OtherMode));

    let mut policies = Tally::default();
    for name in POLICIES {
        let path = format!("policies/{name}.json");
        policies.check(unchanged(&path));
        policies.check(document(&base.join(&path)).is_some_and(|policy| well_formed(&policy, name)));
    }
    // Policies beyond the required ones count as soon as the manifest lists them.
    for path in listed(manifest.as_ref(), "policies/") {
        policies.check(unchanged(path));
    }

    let mut permissions = roles(document(&base.join("permissions.json")).as_ref());
    permissions.check(unchanged("permissions.json"));
    for path in listed(manifest.as_ref(), "") {
        permissions.check(found(path) == Some(Found::Same) || found(path) == Some(Found::Altered));
    }

    let mut keys = Tally::default();
    for name in KEYS {
        let path = format!("keys/{name}.key");
        let private = fs::symlink_metadata(base.join(&path))
            .is_ok_and(|on_disk| on_disk.is_file() && on_disk.permissions().mode() & 0o077 == 0);
        keys.check(private && unchanged(&path));
    }

    let (audit, gapless) = audit(root);
    BTreeMap::from([
        ("policies_intact".to_owned(), policies.share()),
        ("permissions_intact".to_owned(), permissions.share()),
        ("keys_present".to_owned(), keys.share()),
        ("audit_log_gapless".to_owned(), gapless),
        ("audit_last_seq".to_owned(), audit.last_seq as f64),
        ("audit_lines".to_owned(), audit.lines as f64),
        ("audit_torn_tail".to_owned(), f64::from(u8::from(audit.torn_tail))),
        ("policies".to_owned(), count(&base.join("policies"))),
        ("keys".to_owned(), count(&base.join("keys"))),
    ])
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

fn listed<'a>(manifest: Option<&'a Manifest>, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let entries = manifest.into_iter().flat_map(|manifest| manifest.entries.keys());
    entries
        .map(String::as_str)
        .filter(move |path| path.starts_with(prefix))
}

fn audit(root: &Path) -> (Audit, f64) {
    let checkpoint: Option<Checkpoint> =
        document(&root.join(AUDIT_CHECKPOINT)).and_then(|value| serde_json::from_value(value).ok());
    let path = root.join(AUDIT_LOG);
    let audit = regular(&path)
        .and_then(|()| File::open(&path))
        .and_then(|log| read(BufReader::with_capacity(1 << 20, log), checkpoint.as_ref()))
        .unwrap_or_default();
    (audit, audit.gapless(checkpoint.as_ref()))
}

/// Counts the regular files in a folder.
fn count(folder: &Path) -> f64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0.0;
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .count() as f64
}
