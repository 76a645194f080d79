//! The sources, tiers and actions that ship, for tests of this crate.

use rekindle_model::system::SystemKinds;
use rekindle_plan::{Catalog, Problem};
use serde_json::Value;

pub(crate) const KINDS: SystemKinds = SystemKinds {
    sources: rekindle_sources::KEYS,
    tier_urls: rekindle_vault::store::TIER_URLS,
};

/// Knows the names of the actions and checks one thing: `level` of `verify` must not be `deep`.
pub(crate) struct Names;

impl Catalog for Names {
    fn names(&self) -> Vec<String> {
        let names = [
            "snapshot",
            "store",
            "verify",
            "verify-catalog",
            "verify-replicas",
            "seal-set",
            "locate-set",
            "set-aside",
            "restore",
            "validate",
            "system-integrity",
            "set-up",
            "damage",
            "detect-damage",
            "inject-faults",
            "load",
            "remove-sandbox",
            "command",
        ];
        names.map(str::to_owned).to_vec()
    }

    fn check(&self, uses: &str, with: &Value) -> Vec<Problem> {
        let deep = uses == "verify" && with.get("level").and_then(Value::as_str) == Some("deep");
        let problem = || Problem {
            at: vec!["level".to_owned()],
            message: "unknown level `deep`".to_owned(),
            help: None,
        };
        deep.then(problem).into_iter().collect()
    }
}
