//! The parameters of each action in its `with:`, as JSON Schema, for editors.

use std::collections::BTreeMap;

use rekindle_engine::WORKFLOW;
use serde_json::{Map, Value, json};

use crate::findings::Verification as _;
use crate::params::{Field, Kind};
use crate::{
    COMMAND, VERIFY_CATALOG, VERIFY_REPLICAS, command, copy, http, locate_set, noop, notify, restore,
    set_aside, snapshot, system_integrity, validate, verify, verify_catalog, verify_replicas, workflow,
};

/// Returns the schema of each action's parameters, by the action's name.
pub fn shapes() -> BTreeMap<String, Value> {
    let fields: [(&str, &[Field]); 16] = [
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
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Share => {
            json!({"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^ *[0-9.]+ *%? *$"}]})
        }
        Kind::Texts => json!({
            "type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]},
        }),
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
