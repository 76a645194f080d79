//! The tables of keys as JSON Schema (draft 2020-12), for editors that complete and check during typing.
//! References, cycles and arithmetic need the whole file: `lint` judges those.

use std::collections::BTreeMap;

use rekindle_model::keys::{Absent, Format, Key, Object, OneOf, Takes};
use serde_json::{Map, Value, json};

use crate::formats;
use crate::system::keys::SYSTEM;
use crate::workflow::keys::WORKFLOW;
use crate::yaml;

/// The schema of each action's parameters, by the action's name.
pub type Actions = BTreeMap<String, Value>;

/// Returns the schema of a workflow file whose steps use these actions; the parameters of any other are open.
pub fn workflow(actions: &Actions) -> Value {
    schema("A Rekindle workflow", WORKFLOW, actions, None)
}

/// Returns the schema of a system file whose recovery steps use these actions; the parameters of any other are open.
pub fn system(actions: &Actions, sources: &'static OneOf) -> Value {
    schema("A system that Rekindle protects", SYSTEM, actions, Some(sources))
}

fn schema(title: &str, root: &Object, actions: &Actions, sources: Option<&'static OneOf>) -> Value {
    let mut defs = Defs {
        actions,
        sources,
        found: Map::new(),
    };
    let mut schema = defs.object(root);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
    schema["$defs"] = Value::Object(defs.found);
    schema
}

/// The shapes of objects, by name.
struct Defs<'a> {
    actions: &'a Actions,
    sources: Option<&'static OneOf>,
    found: Map<String, Value>,
}

impl Defs<'_> {
    fn object(&mut self, of: &Object) -> Value {
        self.define(of.noun, |defs| defs.closed(of.keys.iter(), None))
    }

    fn one_of(&mut self, of: &OneOf) -> Value {
        self.define(of.noun, |defs| {
            let kinds = of.kinds.iter();
            let shapes =
                kinds.map(|kind| defs.closed(of.common.iter().chain(kind.keys), Some((of.tag, kind.noun))));
            json!({"anyOf": shapes.collect::<Vec<_>>()})
        })
    }

    /// Adds a schema unless it is known, and returns the reference to it.
    fn define(&mut self, noun: &str, shape: impl FnOnce(&mut Self) -> Value) -> Value {
        let name = noun.replace(' ', "_");
        if !self.found.contains_key(&name) {
            let shape = shape(self);
            self.found.insert(name.clone(), shape);
        }
        json!({"$ref": format!("#/$defs/{name}")})
    }

    /// Returns the shape of a map that has these keys, and no others but the tag.
    fn closed<'k>(&mut self, keys: impl Iterator<Item = &'k Key>, tag: Option<(&str, &str)>) -> Value {
        let mut required: Vec<&str> = tag.iter().map(|(tag, _)| *tag).collect();
        let mut properties = Map::new();
        properties.extend(tag.map(|(tag, kind)| (tag.to_owned(), json!({"const": kind}))));
        for key in keys {
            if key.absent == Absent::Fault {
                required.push(key.name);
            }
            properties.insert(key.name.to_owned(), self.key(key));
        }
        let acts = ["uses", "with"].iter().all(|key| properties.contains_key(*key));
        if let (true, Some(uses)) = (acts, properties.get_mut("uses")) {
            let names: Vec<&str> = self.actions.keys().map(String::as_str).collect();
            let about = uses["description"].as_str().unwrap_or_default();
            uses["description"] = json!(format!(
                "{about} One of {}, or approve, which asks a person.",
                names.join(", ")
            ));
        }
        let may_be_script = acts && properties.contains_key("shell");
        let mut shape = json!({
            "type": "object", "additionalProperties": false, "required": required, "properties": properties,
        });
        if may_be_script {
            shape["anyOf"] = json!([{"required": ["uses"]}, {"required": ["shell"]}]);
        }
        if acts {
            shape["allOf"] = self.actions.iter().map(takes).collect();
        }
        shape
    }

    fn key(&mut self, key: &Key) -> Value {
        let mut shape = self.value(key.takes);
        shape["description"] = json!(key.text);
        if let (Takes::Texts(_), Absent::Fault) = (key.takes, key.absent) {
            shape["minItems"] = json!(1);
        }
        if let Absent::Default(text) = key.absent {
            shape["default"] = yaml::plain(text);
        }
        shape
    }

    fn value(&mut self, takes: Takes) -> Value {
        match takes {
            Takes::Text(format) => text(format),
            Takes::Texts(format) => texts(format),
            Takes::AllOrTexts => json!({"anyOf": [{"const": "all"}, texts(Format::Plain)]}),
            Takes::Word(words) => json!({"enum": words}),
            Takes::Flag => json!({"type": "boolean"}),
            Takes::Integer(least, most) if most >= u64::from(u32::MAX) => {
                json!({"type": "integer", "minimum": least})
            }
            Takes::Integer(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
            Takes::Number(least, most) => json!({"type": "number", "minimum": least, "maximum": most}),
            Takes::Any => json!({}),
            Takes::With => json!({"type": "object"}),
            Takes::Loop => {
                let list = json!({"anyOf": [{"type": "string"}, {"type": "array"}]});
                json!({"anyOf": [{"type": "string"}, {"type": "array"},
                    {"type": "object", "additionalProperties": list}]})
            }
            Takes::TextMap(format) => json!({"type": "object", "additionalProperties": text(format)}),
            Takes::Named(_, of) => json!({"type": "object", "additionalProperties": self.value(*of)}),
            Takes::List(of @ Takes::Short(_)) => {
                let item = self.value(*of);
                json!({"anyOf": [item, {"type": "array", "items": item}]})
            }
            Takes::List(of) => json!({"type": "array", "items": self.value(*of)}),
            Takes::Object(of) => self.object(of),
            Takes::OneOf(of) => self.one_of(of),
            Takes::Source => self.sources.map_or_else(|| json!({}), |of| self.one_of(of)),
            Takes::Short(of) => {
                let short = of.keys.first().map(|key| self.value(key.takes));
                json!({"anyOf": [short, self.object(of)]})
            }
        }
    }
}

fn text(format: Format) -> Value {
    let about = formats::about(format);
    let mut shape = json!({"type": "string", "title": about.name});
    if !about.examples.is_empty() {
        shape["examples"] = json!(about.examples);
    }
    if !about.pattern.is_empty() {
        shape["pattern"] = json!(about.pattern);
    }
    shape
}

fn texts(format: Format) -> Value {
    let number = json!({"type": "number"});
    json!({"anyOf": [text(format), {"type": "array", "items": {"anyOf": [text(format), number]}}]})
}

/// Returns the rule that a step which uses an action has that action's parameters.
fn takes((action, with): (&String, &Value)) -> Value {
    let needs = with["required"]
        .as_array()
        .is_some_and(|required| !required.is_empty());
    let required: &[&str] = if needs { &["with"] } else { &[] };
    json!({
        "if": {"properties": {"uses": {"const": action}}, "required": ["uses"]},
        "then": {"required": required, "properties": {"with": with}},
    })
}
