//! docs/cli.md is true of the command line: it has a section for each command, and in it each option, and no other.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use rekindle_cli::args::Cli;

/// The demo's system, whose commands its own `--help` describes.
const DESCRIBED_ELSEWHERE: &str = "factoria";

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    fs::read_to_string(path).expect("read docs/cli.md")
}

/// Returns the commands that do something, each with its whole name.
fn leaves(command: &Command, name: &str) -> Vec<(String, Command)> {
    let visible = command.get_subcommands().filter(|below| !below.is_hide_set());
    visible
        .flat_map(|below| {
            let name = format!("{name} {}", below.get_name());
            let is_leaf = below.get_subcommands().next().is_none() || below.get_name() == DESCRIBED_ELSEWHERE;
            match is_leaf {
                true => vec![(name, below.clone())],
                false => leaves(below, &name),
            }
        })
        .collect()
}

/// Returns what the document has below the heading that names the command.
fn section<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    document.split("\n### ").skip(1).find(|section| {
        let heading = section.lines().next().unwrap_or_default();
        [format!("`{name}`"), format!("`{name} ")]
            .iter()
            .any(|named| heading.contains(named))
    })
}

/// Returns the long options in the first column of a section's tables.
fn described(section: &str) -> BTreeSet<String> {
    let rows = section.lines().filter(|line| line.starts_with("| `-"));
    let cells = rows.filter_map(|line| line.split('|').nth(1));
    cells
        .flat_map(|cell| cell.split(['`', ' ', ',', '=']))
        .filter_map(|word| word.strip_prefix("--"))
        .map(str::to_owned)
        .collect()
}

fn options(command: &Command) -> BTreeSet<String> {
    let visible = command.get_arguments().filter(|argument| !argument.is_hide_set());
    visible
        .filter_map(|argument| argument.get_long())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_and_option_is_described_and_no_other() {
    let document = document();
    let cli = Cli::command();
    for (name, command) in leaves(&cli, "rekindle") {
        let section =
            section(&document, &name).unwrap_or_else(|| panic!("docs/cli.md has no section on {name}"));
        if name.ends_with(DESCRIBED_ELSEWHERE) {
            continue;
        }
        assert_eq!(
            described(section),
            options(&command),
            "{name}: described, and there"
        );
    }
}

#[test]
fn the_options_of_every_command_are_described() {
    let document = document();
    let section = document
        .split("\n## ")
        .find(|section| section.starts_with("Options of every command"))
        .expect("a section on them");
    let there: BTreeSet<String> = options(&Cli::command());
    let described = described(section);
    assert!(
        there.is_subset(&described),
        "described: {described:?}, and there: {there:?}"
    );
}

#[test]
fn the_options_of_every_command_come_last_in_its_help() {
    let mut cli = Cli::command();
    cli.build();
    let leaves = leaves(&cli, "rekindle").into_iter();
    for (name, mut command) in leaves.filter(|(name, _)| !name.contains(" help")) {
        let help = command.render_long_help().to_string();
        let (own, common) = help
            .split_once("\nOptions of every command:\n")
            .unwrap_or_else(|| panic!("{name}: {help}"));
        assert!(
            own.contains("--help") && !own.contains("--workspace"),
            "{name}: {help}"
        );
        let first = common.lines().next().unwrap_or_default();
        assert!(first.contains("--workspace"), "{name}: {help}");
        assert!(
            !common.contains("\nOptions:") && common.contains("--verbose"),
            "{name}: {help}"
        );
    }
}
