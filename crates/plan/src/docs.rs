//! The tables of keys in `docs/system-yaml.md` and `docs/workflow-yaml.md`, and the examples there.
//!
//! A table is between `<!-- keys: NOUN -->` and `<!-- end -->`. After a change of keys, write the tables again:
//!
//! ```sh
//! REKINDLE_WRITE_DOCS=1 cargo test -p rekindle-plan docs
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use rekindle_model::keys::{Absent, Format, Key, Object, OneOf, Takes};
use rekindle_model::system::SystemKinds;
use serde_json::{Map, Value, json};

use crate::elsewhere;
use crate::formats;
use crate::plan::Retry;
use crate::system::keys::SYSTEM;
use crate::system::load_system;
use crate::workflow::keys::WORKFLOW;
use crate::workflow::load_workflow;

const DOCUMENTS: [(&str, &Object); 2] = [("system-yaml.md", SYSTEM), ("workflow-yaml.md", WORKFLOW)];

const KINDS: SystemKinds = SystemKinds {
    sources: rekindle_sources::KEYS,
    tier_urls: rekindle_vault::store::TIER_URLS,
};

fn path(document: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../docs", document]
        .iter()
        .collect()
}

/// All lists of keys below an object, by what a document calls them: `tier`, `probe`, `probe: http`.
pub(crate) fn lists(of: &Object, found: &mut BTreeMap<String, Vec<Key>>) {
    if found.insert(of.noun.to_owned(), of.keys.to_vec()).is_none() {
        of.keys.iter().for_each(|key| below(key.takes, found));
    }
}

fn below(takes: Takes, found: &mut BTreeMap<String, Vec<Key>>) {
    match takes {
        Takes::Object(of) | Takes::Short(of) => lists(of, found),
        Takes::Named(_, of) | Takes::List(of) => below(*of, found),
        Takes::OneOf(OneOf {
            noun, common, kinds, ..
        }) => {
            found.insert((*noun).to_owned(), common.to_vec());
            for kind in *kinds {
                found.insert(format!("{noun}: {}", kind.noun), kind.keys.to_vec());
            }
        }
        Takes::Source => below(Takes::OneOf(rekindle_sources::KEYS), found),
        _ => {}
    }
}

/// Returns the lists of a document, and the names of lists that the other document has: a system's hooks have the steps
/// of a workflow.
fn lists_of(root: &Object) -> (BTreeMap<String, Vec<Key>>, BTreeSet<String>) {
    let (mut all, mut elsewhere) = (BTreeMap::new(), BTreeMap::new());
    lists(root, &mut all);
    if root.noun != WORKFLOW.noun {
        lists(WORKFLOW, &mut elsewhere);
    }
    all.retain(|noun, keys| !keys.is_empty() && !elsewhere.contains_key(noun));
    (all, elsewhere.into_keys().collect())
}

fn table(keys: &[Key], elsewhere: &BTreeSet<String>) -> String {
    let mut out = "| key | type | default | meaning |\n|---|---|---|---|\n".to_owned();
    for key in keys {
        let default = match key.absent {
            Absent::Nothing => String::new(),
            Absent::Fault => "*required*".to_owned(),
            Absent::Default(text) => format!("`{text}`"),
        };
        let (kind, text) = (kind(key.takes, elsewhere), key.text);
        writeln!(out, "| `{}` | {kind} | {default} | {text} |", key.name).unwrap();
    }
    out
}

fn kind(takes: Takes, elsewhere: &BTreeSet<String>) -> String {
    let kind = |takes| kind(takes, elsewhere);
    let link = |noun: &str| {
        let document = match elsewhere.contains(noun) {
            true => "workflow-yaml.md",
            false => "",
        };
        format!("[{noun}]({document}#{})", noun.to_lowercase().replace(' ', "-"))
    };
    match takes {
        Takes::Text(format) => formats::about(format).name.to_owned(),
        Takes::Texts(format) => format!("list of {}", formats::about(format).name),
        Takes::AllOrTexts => "`all`, or a list of text".to_owned(),
        Takes::Word(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            words.join(", ")
        }
        Takes::Flag => "`true` or `false`".to_owned(),
        Takes::Integer(least, most) if most >= u64::from(u32::MAX) => {
            format!("whole number, at least {least}")
        }
        Takes::Integer(least, most) => format!("whole number, {least} to {most}"),
        Takes::Number(least, most) => format!("number, {least} to {most}"),
        Takes::Any => "any value".to_owned(),
        Takes::With => "map".to_owned(),
        Takes::Loop => "loop key, list, expression, or map of lists".to_owned(),
        Takes::TextMap(format) => format!("map of {}", formats::about(format).name),
        Takes::Named(_, of) => format!("map of {}", kind(*of)),
        Takes::List(of) => format!("list of {}", kind(*of)),
        Takes::Object(of) => link(of.noun),
        Takes::OneOf(of) => link(of.noun),
        Takes::Source => link("source"),
        Takes::Short(of) => {
            let short = of.keys.first().map(|key| kind(key.takes)).unwrap_or_default();
            format!("{short}; or a {}", link(of.noun))
        }
    }
}

/// Returns a document with its tables written again, and which tables it has.
fn rewritten(
    document: &str,
    lists: &BTreeMap<String, Vec<Key>>,
    elsewhere: &BTreeSet<String>,
) -> (String, Vec<String>) {
    let (mut out, mut shown) = (String::new(), Vec::new());
    let mut rest = document;
    while let Some((before, after)) = rest.split_once("<!-- keys: ") {
        let (noun, after) = after.split_once(" -->\n").unwrap();
        let (_, after) = after.split_once("<!-- end -->").unwrap();
        let keys = lists.get(noun).unwrap_or_else(|| panic!("no keys of {noun}"));
        let table = table(keys, elsewhere);
        write!(out, "{before}<!-- keys: {noun} -->\n{table}<!-- end -->").unwrap();
        shown.push(noun.to_owned());
        rest = after;
    }
    (out + rest, shown)
}

#[test]
fn every_word_of_another_tool_leads_to_its_key_in_some_object() {
    let mut objects = BTreeMap::new();
    lists(SYSTEM, &mut objects);
    lists(WORKFLOW, &mut objects);
    for (word, ours) in elsewhere::NAMES {
        let leads = objects.values().any(|keys| {
            let is_unknown = keys.iter().all(|key| key.name != word);
            let specs: Vec<&Key> = keys.iter().collect();
            is_unknown && elsewhere::meant(word, &specs).is_some_and(|key| key.name == ours)
        });
        assert!(leads, "`{word}` never leads to `{ours}`");
    }
}

#[test]
fn docs_have_the_tables_of_all_keys() {
    for (name, root) in DOCUMENTS {
        let (all, elsewhere) = lists_of(root);
        let written = std::fs::read_to_string(path(name)).unwrap();
        let (fresh, mut shown) = rewritten(&written, &all, &elsewhere);
        if std::env::var_os("REKINDLE_WRITE_DOCS").is_some() {
            std::fs::write(path(name), &fresh).unwrap();
        } else {
            assert!(
                written == fresh,
                "{name} is stale: REKINDLE_WRITE_DOCS=1 cargo test -p rekindle-plan docs"
            );
        }
        shown.sort();
        let expected: Vec<String> = all.into_keys().collect();
        assert_eq!(shown, expected, "the tables of {name}");
    }
}

/// Every block of YAML says in its info string what it is: `yaml system` or `yaml workflow`.
#[test]
fn docs_have_examples_that_load() {
    for (name, _) in DOCUMENTS {
        let document = std::fs::read_to_string(path(name)).unwrap();
        let mut examples = 0;
        for block in document.split("\n```yaml").skip(1) {
            let (kind, text) = block.split_once('\n').unwrap();
            let (text, _) = text.split_once("\n```").unwrap();
            let faults = match kind.trim() {
                "system" => load_system(name, text, KINDS).err(),
                "workflow" => load_workflow(name, text).err(),
                other => panic!("{name}: a block of `yaml{other}`: say `yaml system` or `yaml workflow`"),
            };
            assert_eq!(faults.map(|faults| faults.to_string()), None, "{name}:\n{text}");
            examples += 1;
        }
        assert!(examples > 0, "{name} has no example");
    }
}

/// Returns a value that has every key; of maps of several kinds, that of the kind with this number.
fn example(takes: Takes, number: usize) -> Value {
    match takes {
        Takes::Text(format) => example_text(format),
        Takes::Texts(format) => json!([example_text(format)]),
        Takes::AllOrTexts => json!("all"),
        Takes::Word(words) => json!(words[0]),
        Takes::Flag => json!(true),
        Takes::Integer(least, _) => json!(least),
        Takes::Number(least, _) => json!(least),
        Takes::Any | Takes::With => json!("text"),
        Takes::Loop => json!("component"),
        Takes::TextMap(format) => json!({"any": example_text(format)}),
        Takes::Named(_, of) => json!({"any": example(*of, number)}),
        Takes::List(of) => json!([example(*of, number)]),
        Takes::Object(of) | Takes::Short(of) => object(of.keys.iter(), number),
        Takes::Source => example(Takes::OneOf(rekindle_sources::KEYS), number),
        Takes::OneOf(of) => {
            let kind = &of.kinds[number % of.kinds.len()];
            let mut value = object(of.common.iter().chain(kind.keys), number);
            value[of.tag] = json!(kind.noun);
            value
        }
    }
}

fn example_text(format: Format) -> Value {
    let digest = "0".repeat(64);
    let fits = ["text", "success", "1s", "<= 1", "/pointer", "file:///x", &digest]
        .into_iter()
        .find(|text| formats::check(format, text).is_ok());
    json!(fits.unwrap_or_else(|| panic!("no example of {}", formats::about(format).name)))
}

fn object<'k>(keys: impl Iterator<Item = &'k Key>, number: usize) -> Value {
    keys.map(|key| (key.name.to_owned(), example(key.takes, number)))
        .collect::<Map<_, _>>()
        .into()
}

/// No type that is read ignores a key that it does not know, so a table cannot name one that nothing reads.
#[test]
fn every_key_of_the_tables_is_read() {
    for number in 0..4 {
        let text = example(Takes::Object(SYSTEM), number).to_string();
        let faults = load_system("s", &text, KINDS).unwrap_err().to_string();
        assert!(faults.contains("unknown impact level `text`"), "{faults}");
        assert!(!faults.contains("cannot be read"), "{faults}\n{text}");
        let text = example(Takes::Object(WORKFLOW), number).to_string();
        let faults = load_workflow("w", &text).unwrap_err().to_string();
        assert!(faults.contains("the step `text` is there twice"), "{faults}");
        assert!(!faults.contains("cannot be read"), "{faults}\n{text}");
    }
}

#[test]
fn defaults_of_the_tables_are_those_of_the_types() {
    let text =
        json!({"system": "s", "components": {"c": {"source": {"type": "files", "path": "."}}}, "tiers": {}});
    let read = load_system("s", &text.to_string(), KINDS).unwrap().value;
    assert_eq!(read, serde_json::from_value(text).unwrap());
    let step = json!({"id": "a", "uses": "b", "retry": {"max_attempts": 1, "backoff": {}}});
    let text = json!({"workflow": "w", "steps": [step]}).to_string();
    assert_eq!(
        load_workflow("w", &text).unwrap().steps[0].retry,
        Retry::default()
    );
}
