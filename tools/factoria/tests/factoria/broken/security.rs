//! Keys, policies, permissions and the audit log.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rekindle_factoria::ProbeKind::Security;
use rekindle_factoria::audit;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::Value;

use super::Bench;
use crate::common::{Kept, measure};

/// Signs as the system does, with a key that is not the system's.
fn forge(seed: u8, purpose: &str, bytes: &[u8]) -> String {
    let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let signature = key.sign(&[purpose.as_bytes(), b"\n", bytes].concat());
    signature
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn a_swapped_or_foreign_key_a_forged_policy_and_a_cut_or_forged_log_show() {
    let bench = Bench::new();
    let (session, users) = ("security/keys/session.key", "security/keys/users-at-rest.key");
    let swap = |root: &Path| {
        let (one, two) = (Kept::of(&root.join(session)), Kept::of(&root.join(users)));
        one.overwrite(two.bytes());
        two.overwrite(one.bytes());
    };
    bench.breaks(
        "two private keys swapped",
        &[session, users],
        swap,
        &[(Security, "keys_present")],
    );

    let half = "security/public/session.pub";
    let foreign = |root: &Path| {
        let key = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
        Kept::of(&root.join(session)).overwrite(&[9; 32]);
        Kept::of(&root.join(half)).overwrite(key.public_key().as_ref());
    };
    bench.breaks(
        "a key pair replaced by a foreign one",
        &[session, half],
        foreign,
        &[(Security, "keys_present"), (Security, "keys_kept")],
    );

    let (private, public) = (
        "security/keys/policy-signing.key",
        "security/public/policy-signing.pub",
    );
    let foreign = |root: &Path| {
        let key = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
        Kept::of(&root.join(private)).overwrite(&[9; 32]);
        Kept::of(&root.join(public)).overwrite(key.public_key().as_ref());
    };
    bench.breaks(
        "the signing pair replaced by a foreign one",
        &[private, public],
        foreign,
        &[
            (Security, "policies_signed"),
            (Security, "policies_intact"),
            (Security, "keys_kept"),
        ],
    );

    let (policy, signature) = (
        "security/policies/encryption_at_rest.json",
        "security/policies/encryption_at_rest.json.sig",
    );
    let signed_by_another = |root: &Path| {
        let kept = Kept::of(&root.join(policy));
        let text =
            String::from_utf8_lossy(kept.bytes()).replace("\"review_days\": 90", "\"review_days\": 900");
        assert_ne!(text.as_bytes(), kept.bytes());
        kept.overwrite(text.as_bytes());
        let forged = forge(9, "la-factoria policy", text.as_bytes());
        Kept::of(&root.join(signature)).overwrite(forged.as_bytes());
    };
    bench.breaks(
        "a policy changed and signed with another key",
        &[policy, signature],
        signed_by_another,
        &[
            (Security, "policies_signed"),
            (Security, "policies_intact"),
            (Security, "policies_kept"),
        ],
    );
    bench.edits(
        "a role may do more",
        "security/permissions.json",
        |permissions| permissions["roles"]["student"]["actions"] = serde_json::json!(["read", "delete"]),
        &[(Security, "permissions_intact"), (Security, "policies_signed")],
    );
    for (path, mode) in [
        ("security/keys/session.key", 0o640),
        ("security/policies/data_retention.json", 0o666),
    ] {
        let open = |root: &Path| fs::set_permissions(root.join(path), Permissions::from_mode(mode)).unwrap();
        bench.breaks(
            &format!("{path} {mode:o}"),
            &[path],
            open,
            &[(Security, "permissions_intact")],
        );
    }
}

#[test]
fn a_log_cut_to_its_checkpoint_or_forged_beyond_it_shows_against_what_was_journaled() {
    let bench = Bench::new();
    let path = "security/audit.log";
    let old = fs::read(bench.root.join(path)).unwrap();
    // The system runs on: its log grows beyond the checkpoint. Here that is done by hand, without the key.
    let kept = Kept::of(&bench.root.join(path));
    let grown = |note: &str, lines: u64| {
        let mut out = old.clone();
        let last: Value =
            serde_json::from_slice(old[..old.len() - 1].rsplit(|byte| *byte == b'\n').next().unwrap())
                .unwrap();
        let (mut seq, mut hash) = (
            last["seq"].as_u64().unwrap(),
            last["hash"].as_str().unwrap().to_owned(),
        );
        for _ in 0..lines {
            seq += 1;
            let start = out.len();
            out.extend_from_slice(format!("{{\"seq\":{seq},\"at\":\"later\",\"note\":\"{note}\"").as_bytes());
            hash = audit::seal(&mut out, start, &hash);
        }
        out
    };
    kept.overwrite(&grown("as it was", 5));
    let reaches = [(Security, "audit_log_reaches_baseline")];
    bench.breaks(
        "the log cut to its old checkpoint",
        &[path],
        |root| fs::write(root.join(path), &old).unwrap(),
        &reaches,
    );
    bench.breaks(
        "the log's end forged",
        &[path],
        |root| fs::write(root.join(path), grown("as it never was", 5)).unwrap(),
        &reaches,
    );
    // By itself a cut log is sound: that is why the head is journaled.
    kept.overwrite(&old);
    assert_eq!(measure(Security, &bench.root)["audit_log_gapless"], 1.0);
    bench.breaks(
        "64 lines forged without the key",
        &[path],
        |root| fs::write(root.join(path), grown("forged", 64)).unwrap(),
        &[(Security, "audit_log_signed")],
    );
    let checkpoint = "security/audit.checkpoint.json";
    bench.edits(
        "the checkpoint's signature changed",
        checkpoint,
        |checkpoint| checkpoint["signature"] = "00".into(),
        &[(Security, "audit_log_signed")],
    );
}
