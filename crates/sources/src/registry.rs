//! The types of source that this version knows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_model::failure::Failure;
use rekindle_model::keys::{Object, OneOf};
use rekindle_model::source::SourceSpec;
use serde_json::Value;

use crate::component_source::ComponentSource;
use crate::place::Root;
use crate::source_type::SourceType;
use crate::{command, files, sqlite};

/// Every type of source; a new one is a folder of this crate and a line here.
pub const TYPES: &[SourceType] = &[files::TYPE, sqlite::TYPE, command::TYPE];

/// The keys of a component's `source:`, by its type.
pub static KEYS: &OneOf = &OneOf {
    noun: "source",
    tag: "type",
    common: &[],
    kinds: &KINDS,
};

static KINDS: [&Object; TYPES.len()] = {
    let mut kinds = [TYPES[0].keys; TYPES.len()];
    let mut at = 1;
    while at < TYPES.len() {
        kinds[at] = TYPES[at].keys;
        at += 1;
    }
    kinds
};

/// Returns a component's source with its settings.
///
/// # Errors
/// `unknown_source` if this version has no such type, `bad_source` if the settings do not fit the type.
pub fn open(spec: &SourceSpec) -> Result<Arc<dyn ComponentSource>, Failure> {
    let Some(found) = TYPES.iter().find(|known| known.name() == spec.kind) else {
        let known: Vec<&str> = TYPES.iter().map(|known| known.name()).collect();
        return Err(Failure::permanent(
            "unknown_source",
            format!("there is no source of type {:?}", spec.kind),
        )
        .with_hint(format!("this version knows {}", known.join(", "))));
    };
    (found.read)(Value::Object(spec.settings.clone())).map_err(|error| {
        Failure::permanent(
            "bad_source",
            format!(
                "the settings of a `{}` source cannot be used: {error}",
                found.name()
            ),
        )
        .with_hint("check `source` in system.yaml")
    })
}

/// A component's source, and the folder that its path is relative to.
#[derive(Clone)]
pub struct Placed {
    /// The source. Its path is relative.
    pub source: Arc<dyn ComponentSource>,
    /// The folder.
    pub root: PathBuf,
}

/// Returns a component's source at its place below or beside a root. Sources never see an absolute path, so none can
/// lead a recovery out of its folder.
///
/// # Errors
/// As [`open`].
pub fn place(spec: &SourceSpec, root: &Root) -> Result<Placed, Failure> {
    let (folder, spec) = match spec.path().map(Path::new).filter(|path| path.is_absolute()) {
        None => (root.folder().to_owned(), spec.clone()),
        Some(path) => {
            let (folder, own) = root.split(path);
            let own = if own.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &own
            };
            (folder, spec.clone().with_path(&own.to_string_lossy()))
        }
    };
    Ok(Placed {
        source: open(&spec)?,
        root: folder,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rekindle_model::keys::{Absent, Key, Takes};
    use serde_json::json;

    use super::*;

    #[test]
    fn types_have_names_of_their_own_and_keys_with_a_text() {
        let names: BTreeSet<&str> = TYPES.iter().map(SourceType::name).collect();
        assert_eq!(names.len(), TYPES.len());
        for known in TYPES {
            let keys: BTreeSet<&str> = known.keys.keys.iter().map(|key| key.name).collect();
            assert_eq!(keys.len(), known.keys.keys.len(), "{}", known.name());
            assert!(!keys.contains("type"), "{}", known.name());
            for key in known.keys.keys {
                assert!(key.text.ends_with('.'), "{}.{}", known.name(), key.name);
            }
        }
    }

    /// Returns a value that a key accepts.
    fn sample(key: &Key) -> Value {
        match key.takes {
            Takes::Text(_) => json!("data"),
            Takes::Texts(_) => json!(["data"]),
            Takes::Integer(least, _) => json!(least),
            other => panic!("say here what {other:?} takes"),
        }
    }

    #[test]
    fn the_keys_that_a_type_lists_are_those_that_it_reads() {
        for known in TYPES {
            // The reader of YAML writes `shell: true` out: a type sees the list of words that it stands for.
            let keys = known.keys.keys.iter().filter(|key| key.name != "shell");
            let samples = keys.clone().map(|key| (key.name.to_owned(), sample(key)));
            let all: serde_json::Map<String, Value> = samples.collect();
            let read = |settings: &serde_json::Map<String, Value>| (known.read)(json!(settings));
            assert!(read(&all).is_ok(), "{}", known.name());
            for key in keys {
                let mut without = all.clone();
                without.remove(key.name);
                let required = key.absent == Absent::Fault;
                assert_eq!(read(&without).is_err(), required, "{}.{}", known.name(), key.name);
            }
            let mut more = all.clone();
            more.insert("colour".to_owned(), json!("red"));
            assert!(
                read(&more).is_err(),
                "{} reads a key that it does not list",
                known.name()
            );
        }
    }

    #[test]
    fn a_type_that_is_not_known_is_named_with_those_that_are() {
        let failure = open(&SourceSpec::new("mainframe", [])).err().unwrap();
        assert_eq!(failure.code, "unknown_source");
        assert!(failure.message.contains("mainframe"), "{failure}");
        let hint = failure.hint.unwrap();
        assert!(TYPES.iter().all(|known| hint.contains(known.name())), "{hint}");
        let failure = open(&SourceSpec::new("sqlite", [])).err().unwrap();
        assert_eq!(failure.code, "bad_source");
        assert!(failure.message.contains("path"), "{failure}");
    }
}
