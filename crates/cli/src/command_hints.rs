//! Writes next actions as commands of this program that work in the workspace which the person named.
//!
//! A person who types `rekindle -w shop recover` is in another folder. There `rekindle resume` alone would look for a
//! workspace in the wrong place, so each command has the options that lead to the same workspace.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;

use rekindle_model::next_action::{Action, Again, KeyOrigin, NextAction, Recover, RecoverTarget};

use crate::args::Global;

/// Returns the options that lead to the workspace from where the person is; none where the next command finds it as this
/// one did: from the folder, or from the environment.
pub(crate) fn options(global: &Global, environment: Option<&OsStr>) -> Option<String> {
    let named = |dir: &&std::path::PathBuf| Some(dir.as_os_str()) != environment;
    let workspace = global.workspace.as_ref().filter(named).map(|dir| ("-w", dir));
    let system = global.system.as_ref().map(|file| ("-s", file));
    let options: String = workspace
        .into_iter()
        .chain(system)
        .map(|(option, path)| format!(" {option} {}", word(&path.to_string_lossy())))
        .collect();
    (!options.is_empty()).then_some(options)
}

/// Returns the option that names a workspace's folder.
pub(crate) fn workspace(dir: &Path) -> String {
    format!(" -w {}", word(&dir.to_string_lossy()))
}

/// Returns a word as a shell reads it back.
fn word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,[]".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(format!("'{}'", text.replace('\'', "'\\''"))),
    }
}

/// Returns advice as one text: a line for each thing that can be done.
pub(crate) fn advice(next: &[NextAction], options: &str) -> String {
    let line = |one: &NextAction| match &one.action {
        Some(action) => format!("`{}` {}", command(action, options), one.text)
            .trim_end()
            .to_owned(),
        None => one.text.clone(),
    };
    next.iter().map(line).collect::<Vec<_>>().join("\n  ")
}

/// Returns the command that does an action; `options` lead to the workspace.
pub(crate) fn command(action: &Action, options: &str) -> String {
    let rekindle = |rest: String| format!("rekindle{options} {rest}");
    let or = |value: Option<String>, unnamed: &str| value.unwrap_or_else(|| unnamed.to_owned());
    match action {
        Action::AcceptRecovery { run } => rekindle(format!("backup --accept {run}")),
        Action::Adopt { url, run } => {
            let run = run.map_or_else(String::new, |run| format!(" {run}"));
            rekindle(format!("adopt {}{run}", word(url)))
        }
        Action::Approve { run, step } => rekindle(format!("approve {run} {}", word(step.as_str()))),
        Action::Backup => rekindle("backup".to_owned()),
        Action::CheckTiers => rekindle("tier check".to_owned()),
        Action::CreateTier { tier } => rekindle(format!("tier create {}", word(tier))),
        Action::Diagnose => rekindle("doctor".to_owned()),
        Action::EndProcess { pid } => format!("kill -9 {pid}"),
        Action::ExportKit => rekindle("key export --kit FILE".to_owned()),
        Action::Initialize { dir, key } => {
            let dir = dir.as_ref();
            let dir = dir.map_or_else(String::new, |dir| format!(" {}", word(&dir.to_string_lossy())));
            let key = match key {
                KeyOrigin::Default => "",
                KeyOrigin::Kit => " --from-kit KIT",
                KeyOrigin::KitElsewhere => " --from-kit KIT --tier-url URL",
                KeyOrigin::Passphrase => " --ask-passphrase",
            };
            match dir.is_empty() {
                true => rekindle(format!("init{key}")),
                false => format!("rekindle init{dir}{key}"),
            }
        }
        Action::Lint { file } => {
            let file = or(
                file.as_ref()
                    .map(|file| word(&file.to_string_lossy()).into_owned()),
                "FILE",
            );
            rekindle(format!("lint {file}"))
        }
        Action::ListSets => rekindle("sets".to_owned()),
        Action::ListSnapshots => rekindle("snapshots".to_owned()),
        Action::ListRuns => rekindle("runs".to_owned()),
        Action::Plan { workflow } => {
            let workflow = workflow.as_deref().map_or(Cow::Borrowed("WORKFLOW"), word);
            rekindle(format!("plan {workflow}"))
        }
        Action::Prune => rekindle("prune".to_owned()),
        Action::RebuildJournal => rekindle("journal rebuild".to_owned()),
        Action::Recover(choice) => rekindle(recover(choice)),
        Action::Restore { snapshot } => {
            let snapshot = or(snapshot.clone(), "SNAPSHOT");
            rekindle(format!("restore {snapshot} --to DIR"))
        }
        Action::Resume { run, again } => {
            let run = run.map_or_else(String::new, |run| format!(" {run}"));
            let again = match again {
                Again::Nothing => "",
                Again::Failed => " --failed",
                Again::FromStep => " --from STEP",
            };
            rekindle(format!("resume{run}{again}"))
        }
        Action::RunWorkflow { workflow, params } => {
            let params: String = params
                .iter()
                .map(|(name, value)| format!(" -p {}", word(&format!("{name}={value}"))))
                .collect();
            rekindle(format!("run {}{params}", word(workflow)))
        }
        Action::Retry { run, step } => {
            let run = or(run.map(|run| run.to_string()), "RUN");
            let step = or(
                step.as_ref().map(|step| word(step.as_str()).into_owned()),
                "--failed",
            );
            rekindle(format!("retry {run} {step}"))
        }
        Action::Serve => rekindle("serve".to_owned()),
        Action::Show { run } => {
            let run = or(run.map(|run| run.to_string()), "latest");
            rekindle(format!("show {run}"))
        }
        Action::ShowHistory { run } => {
            let run = or(run.map(|run| run.to_string()), "latest");
            rekindle(format!("history {run}"))
        }
        Action::Skip { run, step } => {
            let step = step
                .as_ref()
                .map_or(Cow::Borrowed("STEP"), |step| word(step.as_str()));
            rekindle(format!("skip {run} {step} --why WHY"))
        }
        Action::Unpause { run } => {
            let run = or(run.map(|run| run.to_string()), "RUN");
            rekindle(format!("unpause {run}"))
        }
        Action::Verify => rekindle("verify".to_owned()),
        Action::VerifyJournal => rekindle("journal verify".to_owned()),
        Action::Watch { run } => rekindle(format!("watch {run}")),
    }
}

fn recover(choice: &Recover) -> String {
    let mut command = "recover".to_owned();
    if let Some(scenario) = &choice.scenario {
        command.push_str(&format!(" --scenario {}", word(scenario)));
    }
    for component in &choice.components {
        command.push_str(&format!(" --component {}", word(component)));
    }
    if let Some(from) = &choice.from {
        command.push_str(&format!(" --from {}", word(from)));
    }
    command.push_str(match choice.target {
        RecoverTarget::Empty => "",
        RecoverTarget::Elsewhere => " --to DIR",
        RecoverTarget::InPlace => " --in-place",
        RecoverTarget::InPlaceWhileRunning => " --in-place --while-running",
    });
    command
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use rekindle_model::id::{RunId, StepId};

    use super::*;

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
            url: "file:///mnt/near".to_owned(),
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
            (Action::Diagnose, "doctor"),
            (Action::EndProcess { pid: 7 }, "kill -9 7"),
            (Action::ExportKit, "key export --kit FILE"),
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
                init(None, KeyOrigin::Passphrase),
                "rekindle init --ask-passphrase",
            ),
            (Action::Lint { file: file() }, "lint 'my flow.yaml'"),
            (Action::Lint { file: None }, "lint FILE"),
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
            (
                Action::RunWorkflow {
                    workflow: "mine.yaml".to_owned(),
                    params: BTreeMap::from([("to".to_owned(), "a b".to_owned())]),
                },
                "run mine.yaml -p 'to=a b'",
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
                Action::EndProcess { .. } | Action::Initialize { dir: Some(_), .. } => expect.to_owned(),
                Action::Initialize { dir: None, .. } => expect.replacen("rekindle", "rekindle -w shop", 1),
                _ => format!("rekindle -w shop {expect}"),
            };
            let written = command(&action, " -w shop").replace(&uuid::Uuid::from_u128(7).to_string(), "RUN");
            assert_eq!(written, expect);
        }
    }

    #[test]
    fn every_command_is_one_of_this_program() {
        use clap::Parser;
        for (action, _) in all() {
            let written = command(&action, " -w 'my shop'");
            let words = words(&written);
            if words[0] != "kill" {
                crate::args::Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{written}: {error}"));
            }
        }
    }

    /// Returns the words of a command as a shell reads them; a quoted word has no quote in it.
    fn words(command: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        for (n, part) in command.split('\'').enumerate() {
            for (m, word) in part.split(if n % 2 == 0 { ' ' } else { '\'' }).enumerate() {
                if m > 0 {
                    words.push(String::new());
                }
                words.last_mut().unwrap().push_str(word);
            }
        }
        words
    }
}
