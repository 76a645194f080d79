//! The types of source that this version knows, and how one reads its settings.

use std::sync::Arc;

use rekindle_model::failure::Failure;
use rekindle_model::source::SourceSpec;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::component_source::ComponentSource;
use crate::setting::Setting;
use crate::{command, files, sqlite};

/// Every type of source; a new one is a folder of this crate and a line here.
pub const TYPES: &[SourceType] = &[files::TYPE, sqlite::TYPE, command::TYPE];

/// A type of source.
#[derive(Clone, Copy, Debug)]
pub struct SourceType {
    /// The `type` that `system.yaml` names.
    pub name: &'static str,
    /// What it captures, for people.
    pub text: &'static str,
    /// Its settings, in the order in which they are explained.
    pub settings: &'static [Setting],
    /// Reads the settings of one source.
    pub read: fn(Value) -> serde_json::Result<Arc<dyn ComponentSource>>,
}

/// Reads settings into the type that implements a source.
pub(crate) fn read<S: ComponentSource + DeserializeOwned + 'static>(
    settings: Value,
) -> serde_json::Result<Arc<dyn ComponentSource>> {
    Ok(Arc::new(serde_json::from_value::<S>(settings)?))
}

/// Returns a component's source, its settings read.
///
/// # Errors
/// `unknown_source` where this version has no such type, `bad_source` where the settings are not the type's.
pub fn open(spec: &SourceSpec) -> Result<Arc<dyn ComponentSource>, Failure> {
    let Some(found) = TYPES.iter().find(|known| known.name == spec.kind) else {
        let known: Vec<&str> = TYPES.iter().map(|known| known.name).collect();
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
                found.name
            ),
        )
        .with_hint("check `source` in system.yaml")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn types_have_names_of_their_own_and_settings_with_a_text() {
        let names: BTreeSet<&str> = TYPES.iter().map(|known| known.name).collect();
        assert_eq!(names.len(), TYPES.len());
        for known in TYPES {
            let keys: BTreeSet<&str> = known.settings.iter().map(|setting| setting.name).collect();
            assert_eq!(keys.len(), known.settings.len(), "{}", known.name);
            assert!(!keys.contains("type"), "{}", known.name);
            for setting in known.settings {
                assert!(setting.text.ends_with('.'), "{}.{}", known.name, setting.name);
                assert!(
                    !(setting.required && setting.default.is_some()),
                    "{}",
                    setting.name
                );
            }
        }
    }

    #[test]
    fn the_settings_that_a_type_lists_are_those_that_it_reads() {
        let sample = |setting: &Setting| match setting.kind {
            crate::SettingKind::Path => json!("data"),
            crate::SettingKind::Globs | crate::SettingKind::Program => json!(["x"]),
            crate::SettingKind::Bytes => json!(7),
        };
        for known in TYPES {
            let all: serde_json::Map<String, Value> = known
                .settings
                .iter()
                .map(|it| (it.name.to_owned(), sample(it)))
                .collect();
            let read = |settings: &serde_json::Map<String, Value>| (known.read)(json!(settings));
            assert!(read(&all).is_ok(), "{}", known.name);
            for setting in known.settings {
                let mut without = all.clone();
                without.remove(setting.name);
                assert_eq!(
                    read(&without).is_err(),
                    setting.required,
                    "{}.{}",
                    known.name,
                    setting.name
                );
            }
            let mut more = all.clone();
            more.insert("colour".to_owned(), json!("red"));
            assert!(
                read(&more).is_err(),
                "{} reads a setting that it does not list",
                known.name
            );
        }
    }

    #[test]
    fn a_type_that_is_not_known_is_named_with_those_that_are() {
        let failure = open(&SourceSpec::new("mainframe", [])).err().unwrap();
        assert_eq!(failure.code, "unknown_source");
        assert!(failure.message.contains("mainframe"), "{failure}");
        let hint = failure.hint.unwrap();
        assert!(TYPES.iter().all(|known| hint.contains(known.name)), "{hint}");
        let failure = open(&SourceSpec::new("sqlite", [])).err().unwrap();
        assert_eq!(failure.code, "bad_source");
        assert!(failure.message.contains("path"), "{failure}");
    }
}
