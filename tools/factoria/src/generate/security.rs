//! Policies, permissions, keys and the audit log.

use std::io::Write;

use serde_json::{Value, json};

use super::fill;
use super::writer::Writer;
use crate::audit::{self, Checkpoint, GENESIS};
use crate::error::FactoriaError;
use crate::layout::{AUDIT_CHECKPOINT, AUDIT_LOG};
use crate::probe::required::{ACTIONS, KEYS, POLICIES, ROLES};

pub(super) fn write(writer: &mut Writer) -> Result<(), FactoriaError> {
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
        writer.json(&path, 0o640, &policy)?;
    }
    let roles: serde_json::Map<String, Value> = ROLES
        .iter()
        .map(|(role, actions)| ((*role).to_owned(), json!({"actions": actions})))
        .collect();
    writer.json(
        "permissions.json",
        0o640,
        &json!({"version": 1, "actions": ACTIONS, "roles": roles}),
    )?;
    writer.folder("keys", 0o700)?;
    for name in KEYS {
        let path = format!("keys/{name}.key");
        // Made up from the seed: they open nothing, they only have to come back byte by byte.
        let mut secret = [0_u8; 32];
        writer.rng(&path).fill(&mut secret);
        writer.file(&path, 0o600, &secret)?;
    }
    audit_log(writer)
}

fn audit_log(writer: &mut Writer) -> Result<(), FactoriaError> {
    const OUTCOMES: [&str; 4] = ["allowed", "allowed", "allowed", "denied"];
    // The checkpoint that follows is about this long.
    let length = writer.left().saturating_sub(256).max(2_000);
    let mut prose = writer.prose("audit.log");
    let mut last = Checkpoint {
        seq: 0,
        hash: GENESIS.to_owned(),
    };
    let mut seconds = 0;
    writer.stream(below(AUDIT_LOG), 0o640, length, |out| {
        let start = out.len();
        last.seq += 1;
        seconds += prose.rng().below(90);
        let role = ROLES[prose.rng().below_usize(ROLES.len())].0;
        let user = 1 + prose.rng().below(5_000);
        let action = *prose.rng().pick(&ACTIONS);
        let outcome = *prose.rng().pick(&OUTCOMES);
        // Writing to memory does not fail.
        let _ = write!(
            out,
            "{{\"seq\":{},\"at\":\"{}\",\"actor\":\"{role}:{user}\",\"action\":\"{action}\",\"outcome\":\"{outcome}\",\"note\":\"",
            last.seq,
            fill::at(seconds),
        );
        prose.sentence(out);
        out.push(b'"');
        last.hash = audit::seal(out, start, &last.hash);
    })?;
    let checkpoint = serde_json::to_value(&last).map_err(FactoriaError::json(AUDIT_CHECKPOINT))?;
    writer.json(below(AUDIT_CHECKPOINT), 0o640, &checkpoint)
}

/// Returns a path of the layout relative to its folder.
fn below(path: &'static str) -> &'static str {
    path.split_once('/').map_or(path, |(_, rest)| rest)
}
