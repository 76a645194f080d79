//! Commands that are told to a person mean the workspace that the person named.
//!
//! Whoever says `rekindle -w shop recover` stands elsewhere: a hint that names `rekindle resume` would look for a
//! workspace where they stand. All that is said goes through here on its way out, so no hint needs to know.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;

use crate::args::Global;

/// The commands that work in a workspace.
const COMMANDS: [&str; 32] = [
    "adopt",
    "approve",
    "backup",
    "cancel",
    "diff",
    "doctor",
    "graph",
    "history",
    "journal",
    "key",
    "lint",
    "logs",
    "pause",
    "plan",
    "prune",
    "recover",
    "reject",
    "restore",
    "resume",
    "retry",
    "run",
    "runs",
    "serve",
    "sets",
    "show",
    "skip",
    "snapshots",
    "status",
    "tier",
    "unpause",
    "verify",
    "watch",
];

/// Returns the options that lead to the workspace from where the person stands; none where the next command finds it
/// as this one did: from the folder, or from the environment.
pub(crate) fn options(global: &Global, environment: Option<&OsStr>) -> Option<String> {
    let told = |dir: &&std::path::PathBuf| Some(dir.as_os_str()) != environment;
    let workspace = global.workspace.as_ref().filter(told).map(|dir| ("-w", dir));
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
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(format!("'{}'", text.replace('\'', "'\\''"))),
    }
}

/// Returns a text with the options in each command that works in a workspace.
pub(crate) fn in_commands<'a>(text: &'a str, options: &str) -> Cow<'a, str> {
    const NAME: &str = "rekindle";
    let mut out = String::new();
    let mut done = 0;
    for (at, _) in text.match_indices(NAME) {
        let end = at + NAME.len();
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        // Not a part of a path or of another word.
        let apart = before.is_none_or(|c| !c.is_alphanumeric() && !"-_/.".contains(c));
        let rest = text.get(end..).unwrap_or_default();
        let command = rest.strip_prefix(' ').unwrap_or_default();
        let command = command.split(|c: char| !c.is_ascii_lowercase()).next();
        if apart && command.is_some_and(|command| COMMANDS.contains(&command)) {
            out.push_str(text.get(done..end).unwrap_or_default());
            out.push_str(options);
            done = end;
        }
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn every_command_of_a_workspace_gets_the_options_and_nothing_else_does() {
        for (text, expect) in [
            ("rekindle resume 0199", "rekindle -w shop resume 0199"),
            (
                "`rekindle backup`, or rekindle tier create far",
                "`rekindle -w shop backup`, or rekindle -w shop tier create far",
            ),
            ("rekindle -w other show", "rekindle -w other show"),
            ("`rekindle init` makes one", "`rekindle init` makes one"),
            ("rekindle demo", "rekindle demo"),
            ("/opt/rekindle backup", "/opt/rekindle backup"),
            ("rekindle backups", "rekindle backups"),
            (".rekindle run", ".rekindle run"),
            ("", ""),
        ] {
            assert_eq!(in_commands(text, " -w shop"), expect);
        }
    }

    #[test]
    fn what_the_next_command_finds_anyway_is_not_told() {
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

    #[test]
    fn the_commands_are_those_of_the_command_line() {
        use clap::CommandFactory;
        let line = crate::args::Cli::command();
        for command in line.get_subcommands().map(clap::Command::get_name) {
            let elsewhere = ["demo", "init", "schema", "completions", "factoria"].contains(&command);
            assert!(elsewhere != COMMANDS.contains(&command), "{command}");
        }
    }
}
