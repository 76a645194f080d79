use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Parser;
use rekindle_model::id::{RunId, StepId};
use serde_json::{Value, json};

use super::*;
use crate::args::Cli;

#[test]
fn options_that_the_next_command_finds_by_itself_are_left_out() {
    let named = |dir: &str| Global {
        workspace: Some(PathBuf::from(dir)),
        ..Global::default()
    };
    assert_eq!(options(&Global::default(), None), None);
    assert_eq!(options(&named("shop"), Some(OsStr::new("shop"))), None);
    assert_eq!(options(&named("shop"), None).unwrap(), " -w shop");
    assert_eq!(options(&named("my shop's"), None).unwrap(), " -w 'my shop'\\''s'");
    let system = Global {
        system: Some(PathBuf::from("a/my.yaml")),
        ..Global::default()
    };
    assert_eq!(options(&system, None).unwrap(), " -s a/my.yaml");
}

/// Returns each action, with what is written for it in the workspace `-w shop`.
fn all() -> Vec<(Action, &'static str)> {
    let run = RunId(uuid::Uuid::from_u128(7));
    let step = || StepId::looped("restore", &["a b"]);
    let file = || Some(PathBuf::from("my flow.yaml"));
    let init = |dir: Option<&str>, key| Action::Initialize {
        dir: dir.map(PathBuf::from),
        key,
    };
    let recover = |target| {
        Action::Recover(Recover {
            scenario: Some("all".to_owned()),
            components: vec!["a".to_owned(), "b c".to_owned()],
            from: Some("latest".to_owned()),
            target,
        })
    };
    let resume = |run, again| Action::Resume { run, again };
    let adopt = |run| Action::Adopt {
        url: Some("file:///mnt/near".to_owned()),
        run,
    };
    vec![
        (Action::AcceptRecovery { run }, "backup --accept RUN"),
        (adopt(Some(run)), "adopt file:///mnt/near RUN"),
        (adopt(None), "adopt file:///mnt/near"),
        (
            Action::Approve { run, step: step() },
            "approve RUN 'restore[a b]'",
        ),
        (Action::Backup, "backup"),
        (Action::CheckTiers, "tier check"),
        (
            Action::CreateTier {
                tier: "far".to_owned(),
            },
            "tier create far",
        ),
        (Action::RemoveLeftovers, "doctor --fix"),
        (
            Action::RepairTier {
                tier: "far".to_owned(),
            },
            "tier repair far",
        ),
        (Action::Diagnose, "doctor"),
        (Action::EndProcess { pid: 7 }, "kill -9 7"),
        (Action::ExportKit, "key export --kit FILE"),
        (
            Action::FindFile {
                pattern: "docs/*.md".to_owned(),
            },
            "find 'docs/*.md'",
        ),
        (init(None, KeyOrigin::Default), "rekindle init"),
        (
            init(Some("new"), KeyOrigin::Kit),
            "rekindle init new --from-kit KIT",
        ),
        (
            init(None, KeyOrigin::KitElsewhere),
            "rekindle init --from-kit KIT --tier-url URL",
        ),
        (
            init(Some("new"), KeyOrigin::Passphrase),
            "rekindle init new --ask-passphrase",
        ),
        (Action::Lint { file: file() }, "lint 'my flow.yaml'"),
        (Action::Lint { file: None }, "lint FILE"),
        (
            Action::ListFiles {
                snapshot: "0199".to_owned(),
                folder: Some("a b".to_owned()),
            },
            "ls 0199 'a b'",
        ),
        (Action::ListSets, "sets"),
        (Action::ListSnapshots, "snapshots"),
        (Action::ListRuns, "runs"),
        (
            Action::Plan {
                workflow: Some("recover".to_owned()),
            },
            "plan recover",
        ),
        (Action::Plan { workflow: None }, "plan WORKFLOW"),
        (Action::Prune, "prune"),
        (Action::RebuildJournal, "journal rebuild"),
        (
            recover(RecoverTarget::Elsewhere),
            "recover --scenario all --component a --component 'b c' --from latest --to DIR",
        ),
        (Action::Recover(Recover::default()), "recover"),
        (
            recover(RecoverTarget::InPlace),
            "recover --scenario all --component a --component 'b c' --from latest --in-place",
        ),
        (
            recover(RecoverTarget::InPlaceWhileRunning),
            "recover --scenario all --component a --component 'b c' --from latest --in-place --while-running",
        ),
        (
            Action::Restore {
                snapshot: Some("0199".to_owned()),
            },
            "restore 0199 --to DIR",
        ),
        (Action::Restore { snapshot: None }, "restore SNAPSHOT --to DIR"),
        (resume(Some(run), Again::Failed), "resume RUN --failed"),
        (resume(Some(run), Again::FromStep), "resume RUN --from STEP"),
        (resume(None, Again::Nothing), "resume"),
        (resume(None, Again::Failed), "resume RUN --failed"),
        (resume(None, Again::FromStep), "resume RUN --from STEP"),
        (
            Action::RunWorkflow {
                workflow: "mine.yaml".to_owned(),
                params: BTreeMap::from([("in".to_owned(), None), ("to".to_owned(), Some("a b".to_owned()))]),
            },
            "run mine.yaml -p in=VALUE -p 'to=a b'",
        ),
        (
            Action::Retry {
                run: Some(run),
                step: Some(step()),
            },
            "retry RUN 'restore[a b]'",
        ),
        (
            Action::Retry {
                run: None,
                step: None,
            },
            "retry RUN --failed",
        ),
        (Action::Serve, "serve"),
        (Action::Show { run: Some(run) }, "show RUN"),
        (Action::Show { run: None }, "show latest"),
        (Action::ShowHistory { run: None }, "history latest"),
        (
            Action::Skip {
                run,
                step: Some(step()),
            },
            "skip RUN 'restore[a b]' --why WHY",
        ),
        (Action::Skip { run, step: None }, "skip RUN STEP --why WHY"),
        (
            Action::Trust {
                path: "/srv/my shop".into(),
            },
            "rekindle trust '/srv/my shop'",
        ),
        (Action::Unpause { run: Some(run) }, "unpause RUN"),
        (Action::Verify, "verify"),
        (Action::VerifyJournal, "journal verify"),
        (Action::Watch { run }, "watch RUN"),
    ]
}

#[test]
fn every_action_is_written_as_a_command_in_the_same_workspace() {
    for (action, expect) in all() {
        let expect = match action {
            Action::EndProcess { .. } | Action::Trust { .. } | Action::Initialize { dir: Some(_), .. } => {
                expect.to_owned()
            }
            Action::Initialize { dir: None, .. } => expect.replacen("rekindle", "rekindle -w shop", 1),
            _ => format!("rekindle -w shop {expect}"),
        };
        let written = command(&action, " -w shop").replace(&uuid::Uuid::from_u128(7).to_string(), "RUN");
        assert_eq!(written, expect);
    }
}

/// Returns the action without each selection of the fields that it can do without.
fn variants(action: &Action) -> Vec<Action> {
    let Ok(Value::Object(whole)) = serde_json::to_value(action) else {
        panic!("{action:?} is no object");
    };
    let fields: Vec<&String> = whole.keys().filter(|field| *field != "action").collect();
    let selections = 0..1_u32 << fields.len();
    let without = selections.filter_map(|left_out| {
        let mut rest = whole.clone();
        for (n, field) in fields.iter().enumerate().filter(|(n, _)| left_out >> n & 1 == 1) {
            let _ = (n, rest.remove(*field));
        }
        serde_json::from_value(Value::Object(rest)).ok()
    });
    without.collect()
}

#[test]
fn every_command_is_one_of_this_program_whatever_fields_the_action_has() {
    let mut names = BTreeSet::new();
    for action in all().iter().flat_map(|(action, _)| variants(action)) {
        let written = command(&action, " -w 'my shop'");
        let words = shlex::split(&written).unwrap();
        if words[0] != "kill" {
            Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{written}: {error}"));
        }
        let stored = serde_json::to_value(&action).unwrap();
        names.insert(stored["action"].as_str().unwrap().to_owned());
    }
    // serde knows all names, and lists them.
    let unknown = serde_json::from_value::<Action>(json!({ "action": "" })).unwrap_err();
    let unknown = unknown.to_string();
    let (_, known) = unknown.split_once("expected one of ").unwrap();
    for name in known.split(", ").map(|name| name.trim_matches('`')) {
        assert!(names.contains(name), "{name} is not tried");
    }
}

#[test]
fn what_a_command_names_reaches_the_program_unchanged() {
    use std::os::unix::ffi::OsStringExt;
    for name in ["my shop", "it's", "$HOME", "a[1]*?", "-", "a\tb"] {
        let action = Action::CreateTier {
            tier: name.to_owned(),
        };
        let words = shlex::split(&command(&action, &workspace(Path::new(name)))).unwrap();
        // bash reads the octal digits of control characters, which shlex does not.
        if !name.contains('\t') {
            assert_eq!(words, ["rekindle", "-w", name, "tier", "create", name]);
        }
    }
    let bytes = std::ffi::OsString::from_vec(b"a\xff".to_vec());
    assert_eq!(workspace(Path::new(&bytes)), " -w $'a\\377'");
}
