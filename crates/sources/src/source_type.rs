//! A type of source as its folder describes it: a name, the keys of its settings, and how they are read.

use std::sync::Arc;

use rekindle_model::keys::Object;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::component_source::ComponentSource;

/// A type of source.
#[derive(Clone, Copy, Debug)]
pub struct SourceType {
    /// What it captures, for people.
    pub text: &'static str,
    /// The `type` that `system.yaml` names, and the keys that it has beside `type`.
    pub keys: &'static Object,
    /// Reads the settings of one source.
    pub read: fn(Value) -> serde_json::Result<Arc<dyn ComponentSource>>,
}

impl SourceType {
    /// Returns the `type` that `system.yaml` names.
    pub fn name(&self) -> &'static str {
        self.keys.noun
    }
}

/// Reads settings into the struct that implements a source.
pub(crate) fn read<S: ComponentSource + DeserializeOwned + 'static>(
    settings: Value,
) -> serde_json::Result<Arc<dyn ComponentSource>> {
    Ok(Arc::new(serde_json::from_value::<S>(settings)?))
}
