//! The files that a source claims, as far as its settings tell: `path`, and the globs of `include` and
//! `exclude`.

use rekindle_model::source::{Claim, SourceSpec};
use serde_json::Value;

/// Returns the files that a source claims; none if its settings name no path.
pub(crate) fn claim(source: &SourceSpec) -> Option<Claim> {
    let globs = |key: &str| {
        let globs = source
            .settings
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        globs.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    Some(Claim {
        path: source.path()?.to_owned(),
        include: globs("include"),
        exclude: globs("exclude"),
    })
}
