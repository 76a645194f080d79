//! The shape of system and workflow files as JSON Schema (draft 2020-12), for editors that complete and check while one
//! types. What only the whole file shows (names that are referred to, cycles, arithmetic) is `lint`'s to judge.

use std::collections::BTreeMap;

use rekindle_model::system::System;
use serde_json::{Map, Value, json};

use crate::probe;
use crate::workflow::LONGEST_GROUP;

/// The shape of what each action takes as its parameters, by the action's name.
pub type Actions = BTreeMap<String, Value>;

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Returns the schema of a workflow file whose steps use these actions; of any other the parameters are open.
pub fn workflow(actions: &Actions) -> Value {
    let mut schema = json!({
        "$schema": DRAFT,
        "title": "A Rekindle workflow",
        "$ref": "#/$defs/workflow",
        "$defs": {
            "workflow": closed(&["workflow", "steps"], json!({
                "workflow": name("The workflow's name"),
                "description": text("What it is for"),
                "params": map("What a run may be given", "param"),
                "max_parallel": {"type": "integer", "minimum": 1, "description": "How many steps may be at work at once"},
                "deadline": {"description": "The most that a run may take, from its turn where it has a group", "$ref": "#/$defs/period"},
                "concurrency": group("The group of runs of which one is at work at a time; the others wait"),
                "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}},
                "on_failure": {"type": "array", "description": "Steps that run once all others have ended, where one failed", "items": {"$ref": "#/$defs/step"}},
            })),
            "param": closed(&["type"], json!({
                "type": {"enum": ["string", "integer", "number", "boolean", "list", "duration"]},
                "default": {"description": "What it is where nothing is given"},
                "description": text("What it is for"),
            })),
            "step": acting(actions, closed(&["id", "uses"], json!({
                "id": name("The step's name; a loop adds its keys in brackets"),
                "description": text("What it is for"),
                "for_each": {"description": "One step for each component, tier …", "$ref": "#/$defs/texts"},
                "needs": {"description": "Steps that end before it begins", "$ref": "#/$defs/texts"},
                "uses": uses(actions),
                "with": {"type": "object", "description": "The action's parameters; ${{ }} refers to params and to steps"},
                "run_if": text("success (default), failure, always, or an expression"),
                "retry": {"$ref": "#/$defs/retry"},
                "timeout": {"description": "The most that one attempt may take", "$ref": "#/$defs/period"},
                "deadline": {"description": "The most that all its attempts together may take", "$ref": "#/$defs/period"},
                "stall_timeout": {"description": "The most that an attempt may go on without a sign of progress", "$ref": "#/$defs/period"},
                "concurrency": group("The group of steps, of all runs, of which one is at work at a time"),
                "compensate": {"description": "What takes back what the step did, where the run fails or is cancelled", "$ref": "#/$defs/compensate"},
            }))),
            "compensate": acting(actions, closed(&["uses"], json!({
                "uses": text("The action; it must do no harm the second time"),
                "with": {"type": "object", "description": "Its parameters; ${{ output }} is what the step gave, null where it failed"},
            }))),
            "retry": closed(&[], json!({
                "max_attempts": {"type": "integer", "minimum": 1},
                "backoff": {"$ref": "#/$defs/backoff"},
                "non_retryable": {"description": "Codes of failures that are final", "$ref": "#/$defs/texts"},
                "interrupt_on": {"description": "Codes that interrupt the run, to be resumed", "$ref": "#/$defs/texts"},
            })),
            "backoff": closed(&[], json!({
                "initial": {"$ref": "#/$defs/period"},
                "factor": {"type": "number", "minimum": 1},
                "max": {"$ref": "#/$defs/period"},
                "jitter": {"type": "number", "minimum": 0, "maximum": 1},
            })),
        },
    });
    add_common(&mut schema);
    schema
}

/// Returns the schema of a system file whose recovery steps use these actions; of any other the parameters are open.
pub fn system(actions: &Actions) -> Value {
    let mut schema = json!({
        "$schema": DRAFT,
        "title": "A system that Rekindle protects",
        "$ref": "#/$defs/system",
        "$defs": {
            "system": closed(&["system", "components"], json!({
                "system": name("The system's name"),
                "description": text("What it is"),
                "root": text("The folder of its data, relative to this file"),
                "max_parallel": {"type": "integer", "minimum": 1, "maximum": System::MOST_PARALLEL,
                    "description": "How many steps of all runs may be at work at once in the workspace; 16 where nothing is said"},
                "components": map("Its recoverable parts", "component"),
                "data_classes": map("What recovery points are promised for", "data_class"),
                "impact_levels": map("How long an outage may last", "impact_level"),
                "objectives": {"$ref": "#/$defs/objectives"},
                "tiers": map("The places that keep backups", "tier"),
                "targets": {"type": "object", "additionalProperties": map("Measured numbers and what they must be", "target")},
                "rules": {"type": "object", "additionalProperties": {"type": "string"}},
                "health": {"type": "array", "items": {"$ref": "#/$defs/health"},
                    "description": "Where it answers while it runs: no recovery in place then"},
                "integrity": {"type": "array", "items": {"$ref": "#/$defs/probe"}},
                "scenarios": map("Disasters to be drilled", "scenario"),
            })),
            "component": closed(&[], json!({
                "description": text("What it is"),
                "aliases": {"description": "Other names of it", "$ref": "#/$defs/texts"},
                "priority": {"type": "integer", "minimum": 0, "description": "Lower ones come back first"},
                "impact": text("Its impact level"),
                "rto": {"description": "How soon it must be back", "$ref": "#/$defs/period"},
                "classes": {"description": "Its data classes", "$ref": "#/$defs/texts"},
                "after": {"description": "Components that come back before it", "$ref": "#/$defs/texts"},
                "reads": {"description": "Components that its checks read", "$ref": "#/$defs/texts"},
                "source": {"$ref": "#/$defs/source"},
                "recovery": {"type": "array", "items": {"$ref": "#/$defs/recovery_step"}},
                "validate": {"type": "array", "items": {"$ref": "#/$defs/probe"}},
            })),
            "source": {"anyOf": [
                closed(&["type"], json!({
                    "type": {"const": "files"},
                    "path": text("A folder or a file below the root; the root itself where nothing is said"),
                    "include": {"description": "Globs of what is taken", "$ref": "#/$defs/texts"},
                    "exclude": {"description": "Globs of what is left out", "$ref": "#/$defs/texts"},
                })),
                closed(&["type", "path"], json!({
                    "type": {"const": "sqlite"},
                    "path": text("The database below the root"),
                })),
                closed(&["type", "dump", "restore"], json!({
                    "type": {"const": "command"},
                    "dump": program("The program that prints the data"),
                    "restore": program("The program that reads them"),
                    "max_bytes": {"type": "integer", "minimum": 0, "description": "How much the dump may print"},
                })),
            ]},
            "recovery_step": acting(actions, closed(&["id", "uses"], json!({
                "id": name("The step's name"),
                "uses": uses(actions),
                "with": {"type": "object"},
                "timeout": {"$ref": "#/$defs/period"},
            }))),
            "probe": {"anyOf": probes()},
            "health": closed(&["url"], json!({
                "url": text("What to GET; only its path where address says where to"),
                "address": text("The file below the root in which the running system says where it listens"),
                "timeout": {"$ref": "#/$defs/period"},
            })),
            "data_class": closed(&[], json!({
                "rpo": {"description": "How much may be lost", "$ref": "#/$defs/period"},
                "description": text("What it is"),
            })),
            "impact_level": closed(&[], json!({
                "max_downtime": {"$ref": "#/$defs/period"},
                "description": text("What it means"),
            })),
            "objectives": closed(&[], json!({
                "default_rto": {"$ref": "#/$defs/period"},
                "complete_system_recovery": {"$ref": "#/$defs/period"},
            })),
            "tier": closed(&[], json!({
                "url": text("Its one location, such as file://./tiers/near"),
                "urls": {"description": "Its locations, each with everything", "$ref": "#/$defs/texts"},
                "every": {"description": "How often a recovery set is due", "$ref": "#/$defs/period"},
                "retain": {"description": "How long one is kept", "$ref": "#/$defs/period"},
                "storage_class": text("For people and reports"),
                "location": text("For people and reports"),
                "description": text("What it is for"),
            })),
            "target": {"anyOf": [{"$ref": "#/$defs/expect"}, closed(&["expect"], json!({
                "expect": {"$ref": "#/$defs/expect"},
                "component": text("Whose probe measures it"),
                "measure": text("Under which name"),
                "description": text("What it is"),
            }))]},
            "scenario": closed(&["affects"], json!({
                "description": text("What happens"),
                "affects": {"anyOf": [{"const": "all"}, {"$ref": "#/$defs/texts"}]},
                "rto": {"$ref": "#/$defs/period"},
                "rpo": {"$ref": "#/$defs/period"},
                "damage": {"description": "What a drill destroys"},
            })),
            "expect": {"type": "string", "pattern": "^ *(<|<=|==|!=|>=|>)? *[-0-9.].*$", "description": "A comparison such as \"<= 100\""},
        },
    });
    add_common(&mut schema);
    schema
}

/// Returns the shape of a step whose `with` is what its action takes.
fn acting(actions: &Actions, mut step: Value) -> Value {
    let takes = |(action, with): (&String, &Value)| {
        let needs = with["required"]
            .as_array()
            .is_some_and(|required| !required.is_empty());
        let required: &[&str] = if needs { &["with"] } else { &[] };
        json!({
            "if": {"properties": {"uses": {"const": action}}},
            "then": {"required": required, "properties": {"with": with}},
        })
    };
    step["allOf"] = actions.iter().map(takes).collect();
    step
}

/// Returns the shape of an action's name. The list is for whoever reads; a later version may know others.
fn uses(actions: &Actions) -> Value {
    let names: Vec<&str> = actions.keys().map(String::as_str).collect();
    text(&format!(
        "The action: {}, or approve, which asks a person",
        names.join(", ")
    ))
}

/// Returns the shape of each kind of probe, with the keys that `lint` knows of it.
fn probes() -> Vec<Value> {
    let own = |key: &str| match key {
        "run" => program("The program, which prints one JSON object of numbers"),
        "headers" => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        "values" => json!({
            "type": "object", "additionalProperties": {"type": "string"},
            "description": "JSON pointers into the answer, by the number's name",
        }),
        "include" | "exclude" => json!({"$ref": "#/$defs/texts"}),
        "url" => text("What to GET"),
        "database" => text("The SQLite file below the root"),
        "query" => text("A SELECT with one row, each column named for its number"),
        "path" => text("The file or folder below the root"),
        "digest" => text("What it should be, in hexadecimal"),
        _ => json!({}),
    };
    let shape = |form: &probe::Form| {
        let mut properties: Map<String, Value> = form
            .keys
            .iter()
            .map(|key| ((*key).to_owned(), own(key)))
            .collect();
        properties.insert("name".to_owned(), text("What people call it"));
        properties.insert("probe".to_owned(), json!({"const": form.kind}));
        properties.insert("timeout".to_owned(), json!({"$ref": "#/$defs/period"}));
        properties.insert("reads".to_owned(), json!({"$ref": "#/$defs/texts"}));
        properties.insert(
            "expect".to_owned(),
            json!({"type": "object", "additionalProperties": {"$ref": "#/$defs/expect"}}),
        );
        let needs = form.needs.iter().map(|(key, _)| *key);
        let required: Vec<&str> = std::iter::once("probe").chain(needs).collect();
        closed(&required, Value::Object(properties))
    };
    probe::FORMS.iter().map(shape).collect()
}

fn program(description: &str) -> Value {
    json!({
        "description": description,
        "anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": {"type": ["string", "number"]}}],
    })
}

fn add_common(schema: &mut Value) {
    let common = json!({
        "texts": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "period": {"type": "string", "description": "A length of time such as 90s, 15m or 7d"},
    });
    if let (Some(defs), Value::Object(common)) = (schema["$defs"].as_object_mut(), common) {
        defs.extend(common);
    }
}

fn closed(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}

fn map(description: &str, of: &str) -> Value {
    json!({
        "type": "object", "description": description,
        "additionalProperties": {"$ref": format!("#/$defs/{of}")},
    })
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn group(description: &str) -> Value {
    json!({"type": "string", "description": description, "minLength": 1, "maxLength": LONGEST_GROUP})
}

fn name(description: &str) -> Value {
    json!({"type": "string", "description": description, "minLength": 1})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{load_system, load_workflow};

    /// Every property of a closed object, with a value that is wrong in any place, so that only its name matters.
    fn keys<'s>(schema: &'s Value, of: &str) -> Vec<&'s String> {
        schema["$defs"][of]["properties"]
            .as_object()
            .unwrap()
            .keys()
            .collect()
    }

    #[test]
    fn every_key_of_the_schema_is_known_to_lint() {
        let workflow = workflow(&Actions::new());
        for (of, begin) in [
            ("workflow", ""),
            ("param", "workflow: w\nsteps: []\nparams:\n  p:\n    "),
            ("step", "workflow: w\nsteps:\n  - "),
            (
                "retry",
                "workflow: w\nsteps:\n  - id: a\n    uses: b\n    retry:\n      ",
            ),
            (
                "compensate",
                "workflow: w\nsteps:\n  - id: a\n    uses: b\n    compensate:\n      ",
            ),
            (
                "backoff",
                "workflow: w\nsteps:\n  - id: a\n    uses: b\n    retry:\n      backoff:\n        ",
            ),
        ] {
            for key in keys(&workflow, of) {
                let said = load_workflow("w", &format!("{begin}{key}: []\n"))
                    .err()
                    .map(|found| found.to_string());
                assert!(!said.unwrap_or_default().contains("unknown key"), "{of}.{key}");
            }
        }
        let system = system(&Actions::new());
        for (of, begin) in [
            ("system", ""),
            ("component", "system: s\ncomponents:\n  c:\n    "),
            (
                "recovery_step",
                "system: s\ncomponents:\n  c:\n    recovery:\n      - ",
            ),
            (
                "data_class",
                "system: s\ncomponents: {}\ndata_classes:\n  d:\n    ",
            ),
            (
                "impact_level",
                "system: s\ncomponents: {}\nimpact_levels:\n  d:\n    ",
            ),
            ("health", "system: s\ncomponents: {}\nhealth:\n  - "),
            ("objectives", "system: s\ncomponents: {}\nobjectives:\n  "),
            ("tier", "system: s\ncomponents: {}\ntiers:\n  t:\n    "),
            ("scenario", "system: s\ncomponents: {}\nscenarios:\n  t:\n    "),
        ] {
            for key in keys(&system, of) {
                let said = load_system("s", &format!("{begin}{key}: []\n"))
                    .err()
                    .map(|found| found.to_string());
                assert!(!said.unwrap_or_default().contains("unknown key"), "{of}.{key}");
            }
        }
    }

    #[test]
    fn sources_and_probes_have_the_keys_that_lint_knows_and_no_others() {
        let system = system(&Actions::new());
        for (of, key, begin) in [
            (
                "source",
                "type",
                "system: s\ncomponents:\n  c:\n    source:\n      ",
            ),
            ("probe", "probe", "system: s\ncomponents: {}\nintegrity:\n  - "),
        ] {
            for shape in system["$defs"][of]["anyOf"].as_array().unwrap() {
                assert_eq!(shape["additionalProperties"], false, "{shape}");
                let kind = shape["properties"][key]["const"].as_str().unwrap();
                let indent = " ".repeat(begin.len() - begin.rfind('\n').unwrap() - 1);
                for own in shape["properties"]
                    .as_object()
                    .unwrap()
                    .keys()
                    .filter(|own| *own != key)
                {
                    let file = format!("{begin}{key}: {kind}\n{indent}{own}: []\n");
                    let said = load_system("s", &file).err().map(|found| found.to_string());
                    assert!(!said.unwrap_or_default().contains("unknown key"), "{kind}.{own}");
                }
            }
        }
    }
}
