//! Writes next actions as commands of this program that work in the workspace which the person named.
//!
//! A person who types `rekindle -w shop recover` is in another folder. There `rekindle resume` alone would look for a
//! workspace in the wrong place, so each command has the options that lead to the same workspace.

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::path::Path;

use rekindle_model::next_action::{Action, Again, KeyOrigin, NextAction, Recover, RecoverTarget};
use rekindle_model::shell::word;

use crate::global::Global;

/// Returns the options that lead to the workspace from the person's folder. Returns none if the next command finds the
/// workspace as this one did: from the folder, or from the environment.
pub(crate) fn options(global: &Global, environment: Option<&OsStr>) -> Option<String> {
    let named = |dir: &&std::path::PathBuf| Some(dir.as_os_str()) != environment;
    let workspace = global.workspace.as_ref().filter(named).map(|dir| ("-w", dir));
    let system = global.system.as_ref().map(|file| ("-s", file));
    let options: String = workspace
        .into_iter()
        .chain(system)
        .map(|(option, path)| format!(" {option} {}", word(path)))
        .collect();
    (!options.is_empty()).then_some(options)
}

/// Returns the option that names a workspace's folder.
pub(crate) fn workspace(dir: &Path) -> String {
    format!(" -w {}", word(dir))
}

/// Returns advice as one text, with a line for each piece of advice.
pub(crate) fn advice(next: &[NextAction], options: &str) -> String {
    let line = |one: &NextAction| match &one.action {
        Some(action) => format!("`{}` {}", command(action, options), one.text)
            .trim_end()
            .to_owned(),
        None => one.text.clone(),
    };
    next.iter().map(line).collect::<Vec<_>>().join("\n  ")
}

/// Returns the command for an action; `options` lead to the workspace.
pub(crate) fn command(action: &Action, options: &str) -> String {
    let rekindle = |rest: String| format!("rekindle{options} {rest}");
    let or = |value: Option<String>, unnamed: &str| value.unwrap_or_else(|| unnamed.to_owned());
    match action {
        Action::AcceptRecovery { run } => rekindle(format!("backup --accept {run}")),
        Action::Adopt { url, run } => {
            let run = run.map_or_else(String::new, |run| format!(" {run}"));
            let url = or(url.as_ref().map(word), "URL");
            rekindle(format!("adopt {url}{run}"))
        }
        Action::Approve { run, step } => rekindle(format!("approve {run} {}", word(step.as_str()))),
        Action::Backup => rekindle("backup".to_owned()),
        Action::CheckTiers => rekindle("tier check".to_owned()),
        Action::CreateTier { tier } => rekindle(format!("tier create {}", word(tier))),
        Action::RemoveLeftovers => rekindle("doctor --fix".to_owned()),
        Action::RepairTier { tier } => rekindle(format!("tier repair {}", word(tier))),
        Action::Diagnose => rekindle("doctor".to_owned()),
        Action::EndProcess { pid } => format!("kill -9 {pid}"),
        Action::ExportKit => rekindle("key export --kit FILE".to_owned()),
        Action::Initialize { dir, key } => {
            let dir = dir.as_ref();
            let dir = dir.map_or_else(String::new, |dir| format!(" {}", word(dir)));
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
        Action::FindFile { pattern } => rekindle(format!("find {}", word(pattern))),
        Action::Lint { file } => {
            let file = or(file.as_ref().map(word), "FILE");
            rekindle(format!("lint {file}"))
        }
        Action::ListFiles { snapshot, folder } => {
            let folder = folder.as_ref().map(|folder| format!(" {}", word(folder)));
            rekindle(format!("ls {}{}", word(snapshot), folder.unwrap_or_default()))
        }
        Action::ListSets => rekindle("sets".to_owned()),
        Action::ListSnapshots => rekindle("snapshots".to_owned()),
        Action::ListRuns => rekindle("runs".to_owned()),
        Action::Plan { workflow } => {
            let workflow = or(workflow.as_ref().map(word), "WORKFLOW");
            rekindle(format!("plan {workflow}"))
        }
        Action::Prune => rekindle("prune".to_owned()),
        Action::RebuildJournal => rekindle("journal rebuild".to_owned()),
        Action::Recover(choice) => rekindle(recover(choice)),
        Action::Restore { snapshot } => {
            let snapshot = or(snapshot.as_ref().map(word), "SNAPSHOT");
            rekindle(format!("restore {snapshot} --to DIR"))
        }
        Action::Resume { run, again } => {
            let run = run.map(|run| format!(" {run}"));
            // Only a named run begins again somewhere.
            let (unnamed, again) = match again {
                Again::Nothing => ("", ""),
                Again::Failed => (" RUN", " --failed"),
                Again::FromStep => (" RUN", " --from STEP"),
            };
            rekindle(format!("resume{}{again}", or(run, unnamed)))
        }
        Action::RunWorkflow { workflow, params } => {
            let params: String = params
                .iter()
                .map(|(name, value)| match value {
                    Some(value) => format!(" -p {}", word(&format!("{name}={value}"))),
                    None => format!(" -p {}=VALUE", word(name)),
                })
                .collect();
            rekindle(format!("run {}{params}", word(workflow)))
        }
        Action::Retry { run, step } => {
            let run = or(run.map(|run| run.to_string()), "RUN");
            let step = or(step.as_ref().map(|step| word(step.as_str())), "--failed");
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
            let step = or(step.as_ref().map(|step| word(step.as_str())), "STEP");
            rekindle(format!("skip {run} {step} --why WHY"))
        }
        // The path is absolute, so the command needs no workspace.
        Action::Trust { path } => format!("rekindle trust {}", word(path)),
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
