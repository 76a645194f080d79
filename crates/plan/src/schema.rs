//! The shape of system and workflow files as JSON Schema (draft 2020-12), for editors that complete and check while one
//! types. What only the whole file shows (names that are referred to, cycles, arithmetic) is `lint`'s to judge.

use serde_json::{Value, json};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What a step may use. Actions are added in other crates, so that editors are told and not held to it.
const ACTIONS: &str = "The action: snapshot, store, verify, seal-set, locate-set, set-aside, restore, validate, \
    system-integrity, command (runs a program), http (sends a request), notify (tells somebody), approve (asks a \
    person), workflow (runs another one, `with: {workflow: NAME or FILE, params: {…}}`), noop (nothing: gives back `output`, after `sleep` if it is given)";

/// Returns the schema of a workflow file.
pub fn workflow() -> Value {
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
                "deadline": {"description": "The most that a run may take", "$ref": "#/$defs/period"},
                "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}},
                "on_failure": {"type": "array", "description": "Steps that run once all others have ended, where one failed", "items": {"$ref": "#/$defs/step"}},
            })),
            "param": closed(&["type"], json!({
                "type": {"enum": ["string", "integer", "number", "boolean", "list", "duration"]},
                "default": {"description": "What it is where nothing is given"},
                "description": text("What it is for"),
            })),
            "step": closed(&["id", "uses"], json!({
                "id": name("The step's name; a loop adds its keys in brackets"),
                "description": text("What it is for"),
                "for_each": {"description": "One step for each component, tier …", "$ref": "#/$defs/texts"},
                "needs": {"description": "Steps that end before it begins", "$ref": "#/$defs/texts"},
                "uses": text(ACTIONS),
                "with": {"type": "object", "description": "The action's parameters; ${{ }} refers to params and to steps"},
                "run_if": text("success (default), failure, always, or an expression"),
                "retry": {"$ref": "#/$defs/retry"},
                "timeout": {"description": "The most that one attempt may take", "$ref": "#/$defs/period"},
                "deadline": {"description": "The most that all its attempts together may take", "$ref": "#/$defs/period"},
                "stall_timeout": {"description": "The most that an attempt may go on without a sign of progress", "$ref": "#/$defs/period"},
                "concurrency": text("The group of steps, of all runs, of which one is at work at a time"),
                "compensate": {"description": "What takes back what the step did, where the run fails or is cancelled", "$ref": "#/$defs/compensate"},
            })),
            "compensate": closed(&["uses"], json!({
                "uses": text("The action; it must do no harm the second time"),
                "with": {"type": "object", "description": "Its parameters; ${{ output }} is what the step gave, null where it failed"},
            })),
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

/// Returns the schema of a system file.
pub fn system() -> Value {
    let mut schema = json!({
        "$schema": DRAFT,
        "title": "A system that Rekindle protects",
        "$ref": "#/$defs/system",
        "$defs": {
            "system": closed(&["system", "components"], json!({
                "system": name("The system's name"),
                "description": text("What it is"),
                "root": text("The folder of its data, relative to this file"),
                "components": map("Its recoverable parts", "component"),
                "data_classes": map("What recovery points are promised for", "data_class"),
                "impact_levels": map("How long an outage may last", "impact_level"),
                "objectives": {"$ref": "#/$defs/objectives"},
                "tiers": map("The places that keep backups", "tier"),
                "targets": {"type": "object", "additionalProperties": map("Measured numbers and what they must be", "target")},
                "rules": {"type": "object", "additionalProperties": {"type": "string"}},
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
            "source": {"type": "object", "required": ["type"], "properties": {
                "type": text("files, sqlite, command …"),
                "path": text("Where it stands, below the root"),
                "include": {"$ref": "#/$defs/texts"},
                "exclude": {"$ref": "#/$defs/texts"},
            }},
            "recovery_step": closed(&["id", "uses"], json!({
                "id": name("The step's name"),
                "uses": text("The action"),
                "with": {"type": "object"},
                "timeout": {"$ref": "#/$defs/period"},
            })),
            "probe": {"type": "object", "required": ["probe"], "properties": {
                "name": text("What people call it"),
                "probe": text("How it is measured: command …"),
                "timeout": {"$ref": "#/$defs/period"},
                "reads": {"$ref": "#/$defs/texts"},
                "expect": {"type": "object", "additionalProperties": {"$ref": "#/$defs/expect"}},
            }},
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

fn name(description: &str) -> Value {
    json!({"type": "string", "description": description, "minLength": 1})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::{Sink, SourceText};
    use crate::{builtin, load_system, load_workflow};

    /// Says where a value leaves the schema, by the few words of it that are used here.
    fn faults(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.trim_start_matches("#/$defs/");
            return faults(root, &root["$defs"][name], value, at, found);
        }
        if let Some(ways) = schema["anyOf"].as_array() {
            let fits = |way: &Value| {
                let mut found = Vec::new();
                faults(root, way, value, at, &mut found);
                found.is_empty()
            };
            if !ways.iter().any(fits) {
                found.push(format!("{at}: fits no way"));
            }
            return;
        }
        let kind = schema["type"].as_str();
        let fits = match (kind, value) {
            (None, _) => schema.get("const").is_none_or(|only| only == value),
            (Some("object"), value) => value.is_object(),
            (Some("array"), value) => value.is_array(),
            (Some("string"), value) => value.is_string(),
            (Some("integer"), value) => value.is_u64(),
            (Some(_), value) => value.is_number(),
        };
        if !fits {
            found.push(format!("{at}: {value} is no {kind:?}"));
        }
        for required in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if value.get(required).is_none() {
                found.push(format!("{at}: lacks {required}"));
            }
        }
        for (key, below) in value.as_object().into_iter().flatten() {
            let at = format!("{at}.{key}");
            match (schema["properties"].get(key), schema.get("additionalProperties")) {
                (Some(known), _) => faults(root, known, below, &at, found),
                (None, Some(Value::Bool(false))) => found.push(format!("{at}: unknown")),
                (None, Some(others)) => faults(root, others, below, &at, found),
                (None, None) => {}
            }
        }
        for (number, below) in value.as_array().into_iter().flatten().enumerate() {
            faults(root, &schema["items"], below, &format!("{at}[{number}]"), found);
        }
    }

    fn judge(schema: &Value, yaml: &str) -> Vec<String> {
        let source = SourceText::new("shipped.yaml", yaml);
        let value = crate::yaml::read(yaml, &mut Sink::new(&source)).unwrap().value();
        let mut found = Vec::new();
        faults(schema, schema, &value, "", &mut found);
        found
    }

    #[test]
    fn what_is_shipped_fits_its_schema() {
        assert_eq!(judge(&system(), builtin::LA_FACTORIA), Vec::<String>::new());
        for (name, yaml) in builtin::WORKFLOWS {
            assert_eq!(judge(&workflow(), yaml), Vec::<String>::new(), "{name}");
        }
    }

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
        let workflow = workflow();
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
        let system = system();
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
}
