//! Every command that a message, a help text or a document names works when a person pastes it: the program's own parser
//! reads it.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use rekindle_cli::args::Cli;

/// What a person types in place of a word that only stands for something.
const SAMPLES: [(&str, &str); 3] = [("SHELL", "bash"), ("COMMAND", "show"), ("…", "")];

/// Where a command is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a text that the program prints: it is there to be pasted.
    Message,
    /// In a help text, a comment or a document, where the bare name of a command may stand for the command.
    Prose,
}

/// A command, and where it is.
#[derive(Debug)]
struct Hint {
    at: String,
    place: Place,
    text: String,
}

/// The document whose recorded commands are mistakes in part.
const RECORDED_MISTAKES: &str = "first-hour.md";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the files below a folder whose names end so.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("list a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Returns the commands in backticks. A text may go on in the next line, of a comment or of a string.
fn in_backticks(file: &str, text: &str, is_code: bool) -> Vec<Hint> {
    let mut found = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let is_comment = !is_code || line.trim_start().starts_with("//");
        for (start, _) in line.match_indices("`rekindle ") {
            let mut words = line[start + 1..].to_owned();
            for next in &lines[at + 1..lines.len().min(at + 3)] {
                let next = next.trim_start().trim_start_matches(['/', '!']).trim_start();
                words = format!("{} {next}", words.trim_end().trim_end_matches('\\').trim_end());
            }
            let Some((command, _)) = words.split_once('`') else {
                continue;
            };
            found.push(Hint {
                at: format!("{file}:{}", at + 1),
                place: if is_comment { Place::Prose } else { Place::Message },
                text: command.to_owned(),
            });
        }
    }
    found
}

/// Returns the commands in the blocks of a document, up to what the shell does with them.
fn in_blocks(file: &str, text: &str) -> Vec<Hint> {
    let mut in_block = false;
    let lines = text.lines().enumerate().filter(|(_, line)| {
        in_block ^= line.trim_start().starts_with("```");
        in_block
    });
    let commands = lines.filter_map(|(at, line)| {
        let line = line.trim_start();
        let command = line.strip_prefix("$ ").unwrap_or(line);
        command.starts_with("rekindle ").then(|| Hint {
            at: format!("{file}:{}", at + 1),
            place: Place::Message,
            text: before_the_shell(command).to_owned(),
        })
    });
    commands.collect()
}

fn before_the_shell(command: &str) -> &str {
    // A remark of the product itself follows after three blanks.
    let ends = ["   ", " | ", " > ", " >> ", " 2> ", " && ", " || ", "; ", "  #"];
    let end = ends.iter().filter_map(|end| command.find(end)).min();
    &command[..end.unwrap_or(command.len())]
}

/// Returns a command with a value in place of each word that stands for one.
fn filled(text: &str) -> String {
    let mut text = text.to_owned();
    for (word, sample) in SAMPLES {
        text = text.replace(word, sample);
    }
    // A value that a format string puts in.
    while let Some((before, rest)) = text.split_once('{') {
        let (_, after) = rest.split_once('}').expect("the end of a value");
        text = format!("{before}value{after}");
    }
    // `[RUN]` may be left out, of `RUN|FILE` one is chosen.
    text.replace(['[', ']'], "")
        .split(' ')
        .filter_map(|word| word.split('|').next())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Returns whether the words are the name of a command or of a group of commands, and nothing else.
fn is_name(words: &[String]) -> bool {
    let mut command = Cli::command();
    words[1..].iter().all(|word| {
        let below = command.find_subcommand(word).cloned();
        below.map(|below| command = below).is_some()
    })
}

/// Returns why a command cannot be pasted; none if it can.
fn fault(hint: &Hint) -> Option<String> {
    let filled = filled(&hint.text);
    let fault = |why: &str| Some(format!("{}: `{}`: {why}", hint.at, hint.text));
    let Some(words) = shlex::split(&filled) else {
        return fault("a quote has no end");
    };
    // Our own processes, which no person starts.
    if words.get(1).is_some_and(|word| word.starts_with("__")) {
        return None;
    }
    match Cli::try_parse_from(&words) {
        Ok(_) => None,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => None,
        Err(_) if hint.place == Place::Prose && is_name(&words) => None,
        Err(error) => fault(error.to_string().lines().next().unwrap_or_default()),
    }
}

fn all() -> Vec<Hint> {
    let root = root();
    let mut found = Vec::new();
    let mut read = |path: &Path, is_code: bool| {
        let text = fs::read_to_string(path).expect("read a file");
        let name = path.strip_prefix(&root).unwrap_or(path).display().to_string();
        let text = if is_code {
            text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
        } else {
            &text
        };
        found.extend(in_backticks(&name, text, is_code));
        // A recorded command may be a mistake on purpose; the recording test knows how each ends.
        if !is_code && !name.ends_with(RECORDED_MISTAKES) {
            found.extend(in_blocks(&name, text));
        }
    };
    let sources = ["crates", "tools/factoria"].map(|folder| files(&root.join(folder), ".rs"));
    for path in sources.iter().flatten() {
        let name = path.to_string_lossy();
        if name.contains("/src/") && !name.ends_with("tests.rs") && !name.contains("/tests/") {
            read(path, true);
        }
    }
    let documents = [root.join("docs"), root.join("crates"), root.join("workflows")];
    let documents = documents.iter().flat_map(|folder| files(folder, ".md"));
    for path in documents.chain(["README.md", "SECURITY.md", "ARCHITECTURE.md"].map(|name| root.join(name))) {
        read(&path, false);
    }
    found
}

#[test]
fn every_command_that_is_named_works_when_pasted() {
    let all = all();
    let messages = all.iter().filter(|hint| hint.place == Place::Message).count();
    assert!(
        all.len() > 200 && messages > 40,
        "{} found, {messages} to paste",
        all.len()
    );
    let faults: Vec<String> = all.iter().filter_map(fault).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_command_that_does_not_work_is_noticed() {
    let source = "/// Use `rekindle retry RUN --form STEP`, or `rekindle show`.\nlet help = \"`rekindle lint \\\n  {}` says \
                  more, `rekindle restore` too, and `rekindle retry`\";";
    let found = in_backticks("x.rs", source, true);
    assert_eq!(found[2].text, "rekindle lint {}");
    let faults: Vec<bool> = found.iter().map(|hint| fault(hint).is_some()).collect();
    assert_eq!(faults, [true, false, false, true, true], "{found:#?}");
    let document = "see\n```sh\n$ rekindle recvoer --to x   # now\nrekindle schema system > it.json\n```\n";
    let faults: Vec<bool> = in_blocks("x.md", document)
        .iter()
        .map(|hint| fault(hint).is_some())
        .collect();
    assert_eq!(faults, [true, false]);
}

#[test]
fn help_is_also_a_command() {
    for words in [
        "rekindle help",
        "rekindle help recover",
        "rekindle help tier create",
    ] {
        let shown = Cli::try_parse_from(words.split(' ')).expect_err("help ends the parsing");
        assert_eq!(shown.kind(), ErrorKind::DisplayHelp, "{words}: {shown}");
        assert!(shown.to_string().contains("Usage: rekindle"), "{words}: {shown}");
    }
}
