//! Every value on the command line that names something completes.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, Command, CommandFactory, ValueHint};

use crate::args::Cli;
use crate::complete::{ASKS, kinds, script, selected};

/// Values that a person makes up, or that only a run, a file or another host knows.
const FREE: [&str; 14] = [
    "PERIOD",
    "TEXT",
    "TIME",
    "STEP",
    "URL",
    "PATH",
    "PATTERN",
    "GLOB",
    "KEY=VALUE",
    "10%",
    "N",
    "SIZE",
    "SEED",
    "COMMAND",
];
/// The demo's system has names of its own.
const ELSEWHERE: &str = "factoria";

fn values(command: &Command, found: &mut Vec<(String, Arg)>) {
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        if argument
            .get_num_args()
            .is_some_and(|number| number.takes_values())
        {
            found.push((
                format!("{} {}", command.get_name(), argument.get_id()),
                argument.clone(),
            ));
        }
    }
    let others = command
        .get_subcommands()
        .filter(|below| below.get_name() != ELSEWHERE);
    others.for_each(|below| values(below, found));
}

#[test]
fn every_value_that_names_something_completes() {
    let mut command = Cli::command();
    command.build();
    let mut found = Vec::new();
    values(&command, &mut found);
    assert!(found.len() > 60, "{}", found.len());
    let silent = found.iter().filter(|(_, argument)| {
        let is_path = argument.get_value_hint() == ValueHint::AnyPath;
        let is_word = !argument.get_possible_values().is_empty();
        let placeholder = argument.get_value_names().unwrap_or_default().join(" ");
        !is_path && !is_word && !FREE.contains(&placeholder.as_str()) && kinds(argument).is_empty()
    });
    let silent: Vec<String> = silent
        .map(|(name, argument)| format!("{name} {:?}", argument.get_value_names()))
        .collect();
    assert_eq!(silent, [""; 0], "neither completes nor is free");
}

#[test]
fn the_words_so_far_name_the_workspace() {
    let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
    for (line, workspace, system) in [
        ("rekindle -w shop show", Some("shop"), None),
        ("rekindle show --workspace=shop -s", Some("shop"), None),
        (
            "rekindle sets --system a.yaml --workspace shop",
            Some("shop"),
            Some("a.yaml"),
        ),
    ] {
        let global = selected(&words(line));
        assert_eq!(global.workspace, workspace.map(PathBuf::from), "{line}");
        assert_eq!(global.system, system.map(PathBuf::from), "{line}");
    }
}

#[test]
fn there_is_a_script_for_each_shell() {
    use clap::ValueEnum;
    for shell in clap_complete::Shell::value_variants() {
        let script = script(&shell.to_string()).unwrap();
        assert!(script.contains(ASKS), "{shell}: {script}");
    }
}
