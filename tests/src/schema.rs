//! Checks data against the keywords of JSON Schema that our schemas use. It ignores all others.

use serde_json::Value;

/// Returns where `value` leaves the schema `root`, each place with what is wrong there.
pub fn faults(root: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    judge(root, root, value, "", &mut found);
    found
}

/// Returns where `value` leaves `schema`, a part of `root`.
pub fn faults_of(root: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    judge(root, schema, value, "", &mut found);
    found
}

fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    let mut found = Vec::new();
    judge(root, schema, value, "", &mut found);
    found.is_empty()
}

fn judge(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.trim_start_matches("#/$defs/");
        judge(root, &root["$defs"][name], value, at, found);
    }
    if let Some(ways) = schema["anyOf"].as_array()
        && !ways.iter().any(|way| fits(root, way, value))
    {
        // The way that is nearest tells most.
        let faults = ways.iter().map(|way| {
            let mut faults = Vec::new();
            judge(root, way, value, at, &mut faults);
            faults
        });
        let nearest = faults.min_by_key(Vec::len).unwrap_or_default();
        found.push(format!("{at}: fits no way; the nearest: {}", nearest.join("; ")));
    }
    for rule in schema["allOf"].as_array().into_iter().flatten() {
        if fits(root, &rule["if"], value) {
            judge(root, &rule["then"], value, at, found);
        }
    }
    if schema.get("const").is_some_and(|only| only != value) {
        found.push(format!("{at}: {value} is not {}", schema["const"]));
    }
    let words = schema["enum"].as_array();
    if words.is_some_and(|words| !words.contains(value)) {
        found.push(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    let is = |kind: &Value| match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("null") => value.is_null(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => false,
    };
    let kinds = match &schema["type"] {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(is),
        kind => is(kind),
    };
    if !kinds {
        found.push(format!("{at}: {value} is no {}", schema["type"]));
    }
    // The one pattern that decides between two ways is that of an expression.
    if schema["pattern"] == "\\$\\{\\{" && value.as_str().is_some_and(|text| !text.contains("${{")) {
        found.push(format!("{at}: {value} is no expression"));
    }
    let required = schema["required"].as_array().into_iter().flatten();
    for required in required.filter_map(Value::as_str) {
        if value.get(required).is_none() {
            found.push(format!("{at}: lacks {required}"));
        }
    }
    for (key, below) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{key}");
        match (schema["properties"].get(key), schema.get("additionalProperties")) {
            (Some(known), _) => judge(root, known, below, &at, found),
            (None, Some(Value::Bool(false))) => found.push(format!("{at}: unknown")),
            (None, Some(others)) => judge(root, others, below, &at, found),
            (None, None) => {}
        }
    }
    let items = value.as_array().into_iter().flatten().enumerate();
    for (number, below) in items.filter(|_| schema.get("items").is_some()) {
        judge(root, &schema["items"], below, &format!("{at}[{number}]"), found);
    }
}
