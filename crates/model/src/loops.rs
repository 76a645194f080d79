//! The default keys of a run's loops: `for_each: component` and `for_each: tier`.

use std::collections::BTreeMap;

use crate::origin::RunKind;
use crate::system::System;

impl System {
    /// Returns the default loops of a run of this kind: components by priority, tiers by name.
    ///
    /// A backup and a verification leave out components without a source, see [`RunKind::needs_source`].
    pub fn default_loops(&self, kind: RunKind) -> BTreeMap<String, Vec<String>> {
        let components = self.components_by_priority().into_iter();
        let components = components
            .filter(|name| !kind.needs_source() || self.has_source(name))
            .map(str::to_owned)
            .collect();
        let tiers = self.tiers.keys().cloned().collect();
        BTreeMap::from([("component".to_owned(), components), ("tier".to_owned(), tiers)])
    }

    /// Returns whether the component of that name has data of its own.
    pub fn has_source(&self, name: &str) -> bool {
        self.components
            .get(name)
            .is_some_and(|component| component.source.is_some())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_backup_and_a_verification_leave_out_components_without_a_source() {
        let system: System = serde_json::from_value(json!({
            "system": "s",
            "root": ".",
            "components": {
                "cache": { "priority": 2 },
                "notes": { "priority": 1, "source": { "type": "files" } },
            },
            "tiers": { "near": { "url": "file://./near" } },
        }))
        .unwrap();
        for (kind, components) in [
            (RunKind::Backup, vec!["notes"]),
            (RunKind::Verify, vec!["notes"]),
            (RunKind::Recover, vec!["notes", "cache"]),
            (RunKind::Drill, vec!["notes", "cache"]),
            (RunKind::Custom, vec!["notes", "cache"]),
        ] {
            let loops = system.default_loops(kind);
            assert_eq!(loops["component"], components, "{kind}");
            assert_eq!(loops["tier"], ["near"], "{kind}");
        }
    }
}
