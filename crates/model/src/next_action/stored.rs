//! The form in which advice is journaled and sent. It is frozen: every version reads the advice of every other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Action, NextAction};

/// The key of an action's name among its fields.
const NAME: &str = "action";

/// Advice as data. A reader that does not know the action, or one of its fields, shows it as plain text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAdvice {
    /// The action: its name under `action`, and the fields that it states. None for plain advice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<BTreeMap<String, Value>>,
    /// The text of [`NextAction`].
    pub text: String,
}

impl From<NextAction> for StoredAdvice {
    fn from(NextAction { action, text }: NextAction) -> Self {
        Self {
            action: action.as_ref().and_then(stored),
            text,
        }
    }
}

impl From<StoredAdvice> for NextAction {
    fn from(StoredAdvice { action, text }: StoredAdvice) -> Self {
        let Some(mut fields) = action else {
            return Self::advice(text);
        };
        fields.retain(|_, value| !value.is_null());
        match serde_json::from_value(fields.clone().into_iter().collect()) {
            // serde passes over a field that it does not know. Without that field, this is other advice.
            Ok(action) if stored(&action).as_ref() == Some(&fields) => Self::new(action, text),
            _ => {
                let name = fields.get(NAME).and_then(Value::as_str).unwrap_or_default();
                let words = [name.replace('_', " "), text];
                let words: Vec<String> = words.into_iter().filter(|part| !part.is_empty()).collect();
                Self::advice(words.join(": "))
            }
        }
    }
}

/// Returns an action's name and fields; none where a path in it is not UTF-8.
fn stored(action: &Action) -> Option<BTreeMap<String, Value>> {
    let Ok(Value::Object(fields)) = serde_json::to_value(action) else {
        return None;
    };
    Some(fields.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::id::{RunId, StepId};
    use crate::next_action::{Again, KeyOrigin, Recover, RecoverTarget};

    const RUN: &str = "00000000-0000-0000-0000-000000000007";

    /// Every action, and what is stored of it. This is persisted: a line may be added, none may change.
    fn golden() -> Vec<(Action, Value)> {
        let run = RunId(uuid::Uuid::from_u128(7));
        let step = StepId::looped("restore", &["a"]);
        let (text, some_run, some_step) = (str::to_owned, Some(run), Some(step.clone()));
        let recover = Recover {
            scenario: Some(text("fire")),
            components: vec![text("db")],
            from: Some(text("01b")),
            target: RecoverTarget::InPlaceWhileRunning,
        };
        let params = [(text("keep"), Some(text("7"))), (text("to"), None)].into();
        vec![
            (
                Action::AcceptRecovery { run },
                json!({"action": "accept_recovery", "run": RUN}),
            ),
            (
                Action::Adopt {
                    url: Some(text("file:///near")),
                    run: some_run,
                },
                json!({"action": "adopt", "url": "file:///near", "run": RUN}),
            ),
            (
                Action::Approve { run, step },
                json!({"action": "approve", "run": RUN, "step": "restore[a]"}),
            ),
            (Action::Backup, json!({"action": "backup"})),
            (Action::CheckTiers, json!({"action": "check_tiers"})),
            (
                Action::CreateTier { tier: text("near") },
                json!({"action": "create_tier", "tier": "near"}),
            ),
            (Action::Diagnose, json!({"action": "diagnose"})),
            (
                Action::EndProcess { pid: 70_000 },
                json!({"action": "end_process", "pid": 70_000}),
            ),
            (Action::ExportKit, json!({"action": "export_kit"})),
            (
                Action::FindFile {
                    pattern: text("a.md"),
                },
                json!({"action": "find_file", "pattern": "a.md"}),
            ),
            (
                Action::Initialize {
                    dir: Some("/srv".into()),
                    key: KeyOrigin::Kit,
                },
                json!({"action": "initialize", "dir": "/srv", "key": "kit"}),
            ),
            (
                Action::Lint {
                    file: Some("w.yaml".into()),
                },
                json!({"action": "lint", "file": "w.yaml"}),
            ),
            (
                Action::ListFiles {
                    snapshot: text("01c"),
                    folder: Some(text("docs")),
                },
                json!({"action": "list_files", "snapshot": "01c", "folder": "docs"}),
            ),
            (Action::ListSets, json!({"action": "list_sets"})),
            (Action::ListSnapshots, json!({"action": "list_snapshots"})),
            (Action::ListRuns, json!({"action": "list_runs"})),
            (Action::Plan { workflow: None }, json!({"action": "plan"})),
            (Action::Prune, json!({"action": "prune"})),
            (Action::RebuildJournal, json!({"action": "rebuild_journal"})),
            (
                Action::Recover(recover),
                json!({
                    "action": "recover", "scenario": "fire", "components": ["db"], "from": "01b",
                    "target": "in_place_while_running",
                }),
            ),
            (
                Action::Recover(Recover::default()),
                json!({"action": "recover", "target": "empty"}),
            ),
            (Action::RemoveLeftovers, json!({"action": "remove_leftovers"})),
            (
                Action::RepairTier { tier: text("near") },
                json!({"action": "repair_tier", "tier": "near"}),
            ),
            (
                Action::Restore {
                    snapshot: Some(text("01c")),
                },
                json!({"action": "restore", "snapshot": "01c"}),
            ),
            (
                Action::Resume {
                    run: None,
                    again: Again::FromStep,
                },
                json!({"action": "resume", "again": "from_step"}),
            ),
            (
                Action::RunWorkflow {
                    workflow: text("backup"),
                    params,
                },
                json!({"action": "run_workflow", "workflow": "backup", "params": {"keep": "7", "to": null}}),
            ),
            (
                Action::Retry {
                    run: some_run,
                    step: some_step.clone(),
                },
                json!({"action": "retry", "run": RUN, "step": "restore[a]"}),
            ),
            (Action::Serve, json!({"action": "serve"})),
            (
                Action::Show { run: some_run },
                json!({"action": "show", "run": RUN}),
            ),
            (
                Action::ShowHistory { run: None },
                json!({"action": "show_history"}),
            ),
            (
                Action::Skip { run, step: some_step },
                json!({"action": "skip", "run": RUN, "step": "restore[a]"}),
            ),
            (
                Action::Trust {
                    path: "/srv/shop".into(),
                },
                json!({"action": "trust", "path": "/srv/shop"}),
            ),
            (
                Action::Unpause { run: some_run },
                json!({"action": "unpause", "run": RUN}),
            ),
            (Action::Verify, json!({"action": "verify"})),
            (Action::VerifyJournal, json!({"action": "verify_journal"})),
            (Action::Watch { run }, json!({"action": "watch", "run": RUN})),
        ]
    }

    #[test]
    fn every_action_is_stored_in_its_frozen_form_and_comes_back_the_same() {
        for (action, fields) in golden() {
            let next = NextAction::new(action, "helps");
            let stored = json!({ "action": fields, "text": "helps" });
            assert_eq!(serde_json::to_value(&next).unwrap(), stored);
            assert_eq!(serde_json::from_value::<NextAction>(stored).unwrap(), next);
            let packed = rmp_serde::to_vec_named(&next).unwrap();
            assert_eq!(rmp_serde::from_slice::<NextAction>(&packed).unwrap(), next);
        }
        // serde knows all names, and lists them.
        let unknown = serde_json::from_value::<Action>(json!({ "action": "" })).unwrap_err();
        let unknown = unknown.to_string();
        let (_, names) = unknown.split_once("expected one of ").unwrap();
        let names: BTreeSet<String> = names.split(", ").map(|name| name.replace('`', "")).collect();
        let golden = golden();
        let listed = golden
            .iter()
            .map(|(_, fields)| fields[NAME].as_str().unwrap().to_owned());
        assert_eq!(listed.collect::<BTreeSet<_>>(), names);
    }

    #[test]
    fn an_action_that_is_not_known_is_plain_advice_and_keeps_what_is_stored() {
        for (fields, text, shown) in [
            (
                json!({"action": "heal_tier", "tier": "near"}),
                "mends it",
                "heal tier: mends it",
            ),
            (json!({"action": "heal_tier"}), "", "heal tier"),
            // A newer version may restrict an action: without that field it would do more.
            (
                json!({"action": "verify", "tier": "near"}),
                "reads it",
                "verify: reads it",
            ),
            (
                json!({"action": "watch", "run": 7}),
                "shows it",
                "watch: shows it",
            ),
            (json!({"action": "watch"}), "shows it", "watch: shows it"),
            (json!({}), "mend it", "mend it"),
            (json!(null), "mend it", "mend it"),
        ] {
            let stored: StoredAdvice =
                serde_json::from_value(json!({ "action": fields, "text": text })).unwrap();
            let packed = rmp_serde::to_vec_named(&stored).unwrap();
            assert_eq!(rmp_serde::from_slice::<StoredAdvice>(&packed).unwrap(), stored);
            assert_eq!(NextAction::from(stored), NextAction::advice(shown));
        }
    }
}
