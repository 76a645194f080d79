//! What `rekindle --version` says: the version, the commit, and the formats that this program writes.

use std::sync::LazyLock;

use crate::printer::SCHEMA_VERSION;

/// The version and the commit, on one line.
pub(crate) const SHORT: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("REKINDLE_COMMIT"), ")");

/// The same, and a line for each format: one who moves a workspace or a tier to another version compares them.
pub(crate) fn long() -> &'static str {
    static LONG: LazyLock<String> = LazyLock::new(|| {
        let formats = rekindle_workspace::FORMATS;
        let lines = formats.map(|(name, version)| format!("\n{name} format {version}"));
        format!("{SHORT}{}\nJSON output format {SCHEMA_VERSION}", lines.concat())
    });
    &LONG
}
