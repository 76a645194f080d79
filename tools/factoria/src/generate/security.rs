//! Keys, and what they sign: policies, permissions and the audit log.

use std::io::Write;

use serde_json::{Value, json};

use super::fill;
use super::writer::Writer;
use crate::audit::{self, Checkpoint};
use crate::error::FactoriaError;
use crate::layout::{AUDIT_CHECKPOINT, AUDIT_LOG};
use crate::probe::required::{ACTIONS, KEYS, POLICIES, ROLES};
use crate::signing::{AUDIT_SIGNING, KEY_BYTES, POLICY_SIGNING, Purpose, Signer, keyring};

/// Writes the folder and returns the number of the newest line of the audit log.
pub(super) fn write(writer: &mut Writer) -> Result<u64, FactoriaError> {
    keys(writer)?;
    for (number, name) in POLICIES.iter().enumerate() {
        let path = format!("policies/{name}.json");
        let mut prose = writer.prose(&path);
        let rules: Vec<Value> = (1..=4)
            .map(|rule| {
                let severity = *prose.rng().pick(&["advice", "warning", "block"]);
                json!({"id": format!("{name}-{rule}"), "severity": severity, "text": prose.sentence_text()})
            })
            .collect();
        let policy = json!({
            "policy": name, "version": 1 + number % 3, "review_days": 90,
            "applies_to": ["content", "users", "prompts"], "rules": rules,
        });
        signed(writer, &path, &policy)?;
    }
    let roles: serde_json::Map<String, Value> = ROLES
        .iter()
        .map(|(role, actions)| ((*role).to_owned(), json!({"actions": actions})))
        .collect();
    let permissions = json!({"version": 1, "actions": ACTIONS, "roles": roles});
    signed(writer, "permissions.json", &permissions)?;
    audit_log(writer)
}

/// Returns the key of that name. It follows from the seed, and protects nothing but this system.
fn key(writer: &Writer, name: &str) -> Result<([u8; KEY_BYTES], Signer), FactoriaError> {
    let path = format!("keys/{name}.key");
    let mut seed = [0_u8; KEY_BYTES];
    writer.rng(&path).fill(&mut seed);
    let signer = Signer::from_seed(&seed).ok_or(FactoriaError::Key { path: path.into() })?;
    Ok((seed, signer))
}

fn keys(writer: &mut Writer) -> Result<(), FactoriaError> {
    writer.folder("keys", 0o700)?;
    let mut halves = Vec::new();
    for name in KEYS {
        let (seed, signer) = key(writer, name)?;
        writer.file(&format!("keys/{name}.key"), 0o600, &seed)?;
        writer.file(&format!("public/{name}.pub"), 0o644, signer.public())?;
        halves.push((name, signer));
    }
    let list = keyring(halves.iter().map(|(name, signer)| (*name, signer.public())));
    let (_, signer) = key(writer, POLICY_SIGNING)?;
    let signature = signer.sign(Purpose::Keyring, &list) + "\n";
    writer.file("public/keyring.sig", 0o644, signature.as_bytes())
}

/// Writes a document and its signature beside it.
fn signed(writer: &mut Writer, path: &str, document: &Value) -> Result<(), FactoriaError> {
    let (_, signer) = key(writer, POLICY_SIGNING)?;
    let mut text = serde_json::to_vec_pretty(document).map_err(FactoriaError::json(path))?;
    text.push(b'\n');
    writer.file(path, 0o640, &text)?;
    let signature = signer.sign(Purpose::Policy, &text) + "\n";
    writer.file(&format!("{path}.sig"), 0o640, signature.as_bytes())
}

fn audit_log(writer: &mut Writer) -> Result<u64, FactoriaError> {
    const OUTCOMES: [&str; 4] = ["allowed", "allowed", "allowed", "denied"];
    // The checkpoint that follows is about this long.
    let length = writer.left().saturating_sub(512).max(2_000);
    let mut prose = writer.prose("audit.log");
    let (_, signer) = key(writer, AUDIT_SIGNING)?;
    let mut last = Checkpoint::genesis();
    let mut seconds = 0;
    writer.stream(below(AUDIT_LOG), 0o640, length, |out| {
        let start = out.len();
        let seq = last.seq + 1;
        seconds += prose.rng().below(90);
        let role = ROLES[prose.rng().below_usize(ROLES.len())].0;
        let user = 1 + prose.rng().below(5_000);
        let action = *prose.rng().pick(&ACTIONS);
        let outcome = *prose.rng().pick(&OUTCOMES);
        // Writing to memory does not fail.
        let _ = write!(
            out,
            "{{\"seq\":{seq},\"at\":\"{}\",\"actor\":\"{role}:{user}\",\"action\":\"{action}\",\"outcome\":\"{outcome}\",\"note\":\"",
            fill::at(seconds),
        );
        prose.sentence(out);
        out.push(b'"');
        out.extend_from_slice(audit::signature(&signer, seq, &last).as_bytes());
        let hash = audit::seal(out, start, &last.hash);
        last = Checkpoint { seq, hash };
    })?;
    let checkpoint = json!({
        "seq": last.seq, "hash": last.hash,
        "signature": signer.sign(Purpose::Audit, &last.message()),
    });
    writer.json(below(AUDIT_CHECKPOINT), 0o640, &checkpoint)?;
    Ok(last.seq)
}

/// Returns a path of the layout relative to its folder.
fn below(path: &'static str) -> &'static str {
    path.split_once('/').map_or(path, |(_, rest)| rest)
}
