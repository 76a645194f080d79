//! `rekindle man` writes a page for each command.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use rekindle_cli::Hooks;
use rekindle_cli::args::Cli;

/// Adds a command and those below it, each with the name of its page and an option that it has.
fn pages(command: &Command, name: &str, found: &mut BTreeMap<String, Vec<String>>) {
    let options = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let options = options.filter_map(|argument| argument.get_long().map(str::to_owned));
    found.insert(format!("{name}.1"), options.collect());
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages(below, &format!("{name}-{}", below.get_name()), found);
    }
}

#[test]
fn there_is_a_manual_page_for_each_command_with_each_of_its_options() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("man1").display().to_string();
    let exit = rekindle_cli::run(["rekindle", "man", &dir], Hooks::default());
    assert_eq!(format!("{exit:?}"), format!("{:?}", ExitCode::SUCCESS));
    let mut expect = BTreeMap::new();
    pages(&Cli::command(), "rekindle", &mut expect);
    let written = fs::read_dir(&dir).expect("list the pages").flatten();
    let mut written: Vec<String> = written
        .map(|page| page.file_name().to_string_lossy().into_owned())
        .collect();
    written.sort();
    let mut names: Vec<String> = expect.keys().cloned().collect();
    names.sort();
    assert_eq!(written, names);
    assert!(names.contains(&"rekindle-tier-create.1".to_owned()), "{names:?}");
    for (name, options) in expect {
        let page = fs::read_to_string(folder.path().join("man1").join(&name)).expect("read a page");
        assert!(
            page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"),
            "{name}: {page}"
        );
        for option in options {
            let written = format!("\\-\\-{}", option.replace('-', "\\-"));
            assert!(page.contains(&written), "{name} lacks {option}: {page}");
        }
    }
}
