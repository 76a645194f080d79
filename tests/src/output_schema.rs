//! Holds what `--json` prints against the schema that the product prints: `rekindle schema output`.
//!
//! The schema lets a program meet fields that it does not know. Here such a field is a fault: a field that nobody has
//! described must not be printed.

use std::process::Output;
use std::sync::LazyLock;

use serde_json::Value;

use crate::schema;

/// The schema, with no room for fields that it does not name.
static STRICT: LazyLock<Value> = LazyLock::new(|| {
    let mut schema = published();
    forbid_others(&mut schema["$defs"]);
    schema
});

/// Returns the schema as it is published.
///
/// # Panics
/// It is no JSON.
pub fn published() -> Value {
    match serde_json::from_str(include_str!("../../crates/cli/output.schema.json")) {
        Ok(schema) => schema,
        Err(error) => panic!("output.schema.json: {error}"),
    }
}

fn forbid_others(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(forbid_others);
            if object.contains_key("properties") && object.get("type").is_some_and(|kind| kind == "object") {
                object.entry("additionalProperties").or_insert(Value::Bool(false));
            }
        }
        Value::Array(array) => array.iter_mut().for_each(forbid_others),
        _ => {}
    }
}

/// Returns the name of a command line's command; `status` if it names none.
pub fn command(args: &[&str]) -> String {
    let mut words = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match *arg {
            "-w" | "-s" | "--workspace" | "--system" => drop(rest.next()),
            option if option.starts_with('-') => {}
            word => words.push(word),
        }
    }
    let depth = match words.first() {
        Some(&("tier" | "journal" | "key" | "factoria")) => 2,
        Some(_) => 1,
        None => return "status".to_owned(),
    };
    words[..depth.min(words.len())].join(" ")
}

/// Returns what is wrong with the output of a command line that says `--json`.
pub fn faults(args: &[&str], stdout: &str, stderr: &str) -> Vec<String> {
    let mut found = Vec::new();
    let command = command(args);
    let defs = &STRICT["$defs"];
    let mut objects = 0;
    for object in serde_json::Deserializer::from_str(stdout).into_iter::<Value>() {
        objects += 1;
        match object {
            Err(error) => found.push(format!("stdout: {error}")),
            Ok(object) => {
                let shape = match object.get("error") {
                    Some(error) if error.get("exit").is_some() => "error",
                    _ => &command,
                };
                match defs.get(shape) {
                    None => found.push(format!("no schema describes {shape}")),
                    Some(shape) => found.extend(schema::faults_of(&STRICT, shape, &object)),
                }
            }
        }
    }
    let one = defs[&command]["x-form"] == "object";
    if one && objects > 1 {
        found.push(format!("{objects} objects in place of one"));
    }
    for line in stderr.lines() {
        match serde_json::from_str(line) {
            Err(error) => found.push(format!("stderr: {error}: {line}")),
            Ok(line) => found.extend(schema::faults_of(&STRICT, &defs["narration"], &line)),
        }
    }
    found
}

/// Expects that a command line which says `--json` prints what the schema says.
///
/// # Panics
/// It prints something else.
pub fn expect(args: &[&str], output: &Output) {
    // A command that was killed may have been at a word. These print what belongs to other formats.
    let other = ["schema", "cat"].contains(&&*command(args)) || args.contains(&"--help");
    if !args.contains(&"--json") || output.status.code().is_none() || other {
        return;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let found = faults(args, &stdout, &stderr);
    assert!(found.is_empty(), "{args:?}: {found:#?}\n{stdout}\n{stderr}");
}
