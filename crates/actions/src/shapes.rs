//! The parameters of each action in its `with:`, as JSON Schema, for editors.

use std::collections::BTreeMap;

use rekindle_engine::WORKFLOW;
use serde_json::{Map, Value, json};

use crate::findings::Verification as _;
use crate::params::{Field, Kind};
use crate::{
    COMMAND, DAMAGE, DETECT_DAMAGE, INJECT_FAULTS, LOAD, REMOVE_SANDBOX, SET_UP, VERIFY_CATALOG,
    VERIFY_REPLICAS, command, copy, http, inject_faults, locate_set, noop, notify, restore, set_aside,
    snapshot, system_integrity, validate, verify, verify_catalog, verify_replicas, workflow,
};

/// The fields of the output of a restore.
const RESTORED: &[&str] = &[
    "nothing_to_restore",
    "component_restored",
    "root",
    "place",
    "files",
    "dirs",
    "symlinks",
    "nodes",
    "bytes",
    "bytes_written",
    "bytes_kept",
    "unheld",
    "preferred_tier",
    "bytes_elsewhere",
    "elsewhere",
    "snapshot",
    "consistency_point",
    "consistency_stamp",
    "content_digest",
    "baseline",
    "checkpoint_refuted",
];

/// The fields of each action's output, so that a check finds a misspelt one. Of a program, a workflow or `noop`, the
/// output is not the action's own.
pub(crate) const OUTPUT_FIELDS: &[(&str, &[&str])] = &[
    (
        "snapshot",
        &[
            "component",
            "snapshot",
            "captured_by",
            "nothing_to_capture",
            "consistency_point",
            "bytes",
            "files",
            "dirs",
            "symlinks",
            "hard_links",
            "nodes",
            "content_digest",
            "parent",
            "metadata",
            "unreadable",
            "unreadable_accepted",
            "before",
            "noted",
            "living",
        ],
    ),
    (DAMAGE, &["scenario", "damage"]),
    (DETECT_DAMAGE, &["components", "detected"]),
    (LOAD, &["load", "checks", "baseline"]),
    (
        INJECT_FAULTS,
        &[
            "tier",
            "skipped",
            "seed",
            "injected",
            "detected",
            "faults",
            "missed",
            "false_alarms",
        ],
    ),
    (
        REMOVE_SANDBOX,
        &["sandbox", "removed", "isolation", "isolation_lacks"],
    ),
    (
        "store",
        &[
            "component",
            "snapshot",
            "tier",
            "bytes_stored",
            "objects_stored",
            "bytes_present",
        ],
    ),
    (
        "verify",
        &[
            "component",
            "snapshot",
            "tier",
            "level",
            "sample",
            "verified",
            "objects",
            "chunks",
            "bytes",
            "unlisted",
            "warnings",
            "faults",
            "faults_total",
            "healed",
            "healed_total",
        ],
    ),
    (
        VERIFY_CATALOG,
        &["tier", "verified", "sets", "heads", "faults", "faults_total"],
    ),
    (
        VERIFY_REPLICAS,
        &[
            "tier",
            "verified",
            "chains",
            "segments",
            "records",
            "segment_faults",
            "faults_total",
        ],
    ),
    (
        "seal-set",
        &[
            "set",
            "recovery_ready",
            "recoverable",
            "success_rate",
            "all_verified",
            "components",
            "missing",
            "incomplete",
            "unproven",
            "proofs",
            "skew_ms",
            "rule",
            "stored_in",
            "predecessor",
        ],
    ),
    (
        "locate-set",
        &[
            "set",
            "created",
            "recovery_ready",
            "recoverable",
            "skew_ms",
            "newer_lost",
            "passed_over",
            "confirmed",
            "tier_order",
            "tiers_silent",
            "components",
            "without_data",
        ],
    ),
    ("set-aside", &["in_place", "aside", "moved", "root"]),
    (SET_UP, RESTORED),
    ("restore", RESTORED),
    (
        "validate",
        &["component", "valid", "checks", "baseline", "unmeasured"],
    ),
    (
        "system-integrity",
        &[
            "operational",
            "success_rate",
            "system_operational",
            "skew_ms",
            "rule",
            "checks",
            "unmeasured",
            "failed",
            "no_data",
        ],
    ),
    ("http", &["status", "body"]),
    ("approve", &["by", "note", "at"]),
];

/// Returns the schema of each action's parameters, by the action's name.
pub fn shapes() -> BTreeMap<String, Value> {
    let fields: [(&str, &[Field]); 22] = [
        ("snapshot", snapshot::FIELDS),
        ("store", copy::FIELDS),
        ("verify", verify::Verify::FIELDS),
        (VERIFY_CATALOG, verify_catalog::VerifyCatalog::FIELDS),
        (VERIFY_REPLICAS, verify_replicas::VerifyReplicas::FIELDS),
        ("seal-set", &[]),
        ("locate-set", locate_set::FIELDS),
        ("set-aside", set_aside::FIELDS),
        ("restore", restore::FIELDS),
        ("validate", validate::FIELDS),
        ("system-integrity", system_integrity::FIELDS),
        (SET_UP, restore::FIELDS),
        (DAMAGE, &[]),
        (DETECT_DAMAGE, &[]),
        (LOAD, &[]),
        (INJECT_FAULTS, inject_faults::FIELDS),
        (REMOVE_SANDBOX, &[]),
        ("http", http::FIELDS),
        ("notify", notify::FIELDS),
        (COMMAND, command::FIELDS),
        (WORKFLOW, workflow::FIELDS),
        ("noop", noop::FIELDS),
    ];
    fields
        .into_iter()
        .map(|(action, fields)| (action.to_owned(), shape(fields)))
        .collect()
}

fn shape(fields: &[Field]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| (field.name.to_owned(), or_expression(field.kind)))
        .collect();
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| field.required)
        .map(|field| field.name)
        .collect();
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}

/// Returns the schema of a value that may also be an expression, which only a run can evaluate.
fn or_expression(kind: Kind) -> Value {
    let shape = match kind {
        Kind::Text | Kind::Period => return json!({"type": "string"}),
        Kind::Any => return json!({}),
        Kind::Word(words) => json!({"enum": words}),
        Kind::Names => json!({"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "string"}}]}),
        Kind::Words => json!({"type": "array", "minItems": 1, "items": {"type": ["string", "number"]}}),
        Kind::Run => {
            json!({"type": ["array", "string"], "minItems": 1, "items": {"type": ["string", "number"]}})
        }
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Share => {
            json!({"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^ *[0-9.]+ *%? *$"}]})
        }
        Kind::Texts | Kind::Env => json!({
            "type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]},
        }),
        Kind::Secrets => return json!({"type": "object", "additionalProperties": {"type": "object"}}),
        Kind::Status => json!({"type": "integer", "minimum": 100, "maximum": 599}),
    };
    json!({"anyOf": [shape, {"type": "string", "pattern": "\\$\\{\\{"}]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_parameters_and_expressions_are_told() {
        let shapes = shapes();
        assert_eq!(shapes["command"]["required"], json!(["run"]));
        assert_eq!(shapes["seal-set"]["properties"], json!({}));
        let level = &shapes["verify"]["properties"]["level"]["anyOf"];
        assert_eq!(
            (&level[0]["enum"], &level[1]["pattern"]),
            (&json!(["exists", "read"]), &json!("\\$\\{\\{"))
        );
    }

    #[test]
    fn the_document_has_every_action_with_its_parameters() {
        let document = include_str!("../../../docs/workflow-yaml.md");
        let (_, document) = document.split_once("## Actions").unwrap();
        for (action, shape) in shapes() {
            let begin = format!("| `{action}` |");
            let row = document.lines().find(|line| line.starts_with(&begin));
            let row = row.unwrap_or_else(|| panic!("no row of {action}"));
            for parameter in shape["properties"].as_object().unwrap().keys() {
                assert!(
                    row.contains(&format!("`{parameter}`")),
                    "{action}: {parameter} is not in {row}"
                );
            }
        }
    }
}
