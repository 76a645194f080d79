//! How a folder describes its type of source: a name, the keys of its settings, and their reader.

use std::sync::Arc;

use rekindle_model::keys::Object;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::component_source::ComponentSource;

/// A type of source.
#[derive(Clone, Copy, Debug)]
pub struct SourceType {
    /// Its content, for people.
    pub text: &'static str,
    /// Its `type` in `system.yaml`, and its other keys.
    pub keys: &'static Object,
    /// Reads the settings of one source.
    pub read: fn(Value) -> serde_json::Result<Arc<dyn ComponentSource>>,
}

impl SourceType {
    /// Returns its `type` in `system.yaml`.
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
