//! Warns of expressions inside code: `[sh, -c, "cat > ${{ target.root }}/dump"]`. A value with a `;` in it would run as a
//! command. A program that gets the value as an argument of its own, or in its environment, takes it as it is.
//!
//! Every list of a file is judged, under every key: sources, probes, steps and notices all name programs so.

use crate::diagnostic::Sink;
use crate::yaml::{Key, Kind, Node};

/// Programs that run code, and the options that the code follows. `c` also stands for a cluster such as `-ec`.
const INTERPRETERS: &[(&[&str], &[&str])] = &[
    (
        &[
            "sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish", "csh", "tcsh",
        ],
        &["c"],
    ),
    (
        &["su", "runuser", "script", "flock"],
        &["c", "--command", "--session-command"],
    ),
    (&["python", "pypy"], &["c"]),
    (&["perl", "ruby"], &["e", "E"]),
    (&["node", "bun", "deno"], &["e", "p", "--eval", "--print"]),
    (&["php"], &["r"]),
    (&["lua", "luajit"], &["e"]),
    (&["psql"], &["c", "--command"]),
    (&["mysql", "mariadb"], &["e", "--execute"]),
];

/// How an expression begins.
const EXPRESSION: &str = "${{";

/// Warns of every expression in a file that is part of some code.
pub(crate) fn check(node: &Node, sink: &mut Sink<'_>) {
    match &node.kind {
        Kind::Scalar { .. } => {}
        Kind::List(items) => {
            check_words(items, sink);
            items.iter().for_each(|item| check(item, sink));
        }
        Kind::Map(entries) => {
            check_scripts(entries, sink);
            entries.iter().for_each(|(_, child)| check(child, sink));
        }
    }
}

/// Warns of expressions in the script of `shell: SCRIPT`, or in those beside `shell: true`.
fn check_scripts(entries: &[(Key, Node)], sink: &mut Sink<'_>) {
    let Some((_, shell)) = entries.iter().find(|(key, _)| key.text == "shell") else {
        return;
    };
    let scripts = entries.iter().filter(|(key, _)| match shell.raw() {
        Some("true") => matches!(key.text.as_str(), "run" | "dump" | "restore"),
        _ => key.text == "shell",
    });
    for (_, script) in scripts {
        if script.raw().is_some_and(|code| code.contains(EXPRESSION)) {
            let message = "an expression inside a script: its value can run as a command";
            let help =
                "give it as a variable: `env: {VALUE: \"${{ … }}\"}`, and write \"$VALUE\" in the script";
            sink.warn(script.span, message, Some(help.to_owned()));
        }
    }
}

fn check_words(words: &[Node], sink: &mut Sink<'_>) {
    // A program may start another: `[runuser, -u, postgres, --, sh, -c, …]`.
    for (at, word) in words.iter().enumerate() {
        let Some((name, options)) = word.raw().and_then(interpreter) else {
            continue;
        };
        let rest = words.get(at + 1..).unwrap_or_default();
        let Some(code) = code(rest, options) else { continue };
        if code.raw().is_some_and(|code| code.contains(EXPRESSION)) {
            let message =
                format!("an expression inside the code of `{name}`: its value can run as a command");
            let help = "pass it as an argument: [sh, -c, 'cat > \"$1/dump\"', sh, \"${{ target.root }}\"], or by `env`";
            sink.warn(code.span, message, Some(help.to_owned()));
            return;
        }
    }
}

/// Returns the interpreter that a word names, with or without a folder and a version, and its options.
fn interpreter(word: &str) -> Option<(&str, &'static [&'static str])> {
    let file = word.rsplit('/').next()?;
    let name = file.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    let found = INTERPRETERS.iter().find(|(names, _)| names.contains(&name))?;
    Some((name, found.1))
}

/// Returns the code among the words after an interpreter.
fn code<'n>(words: &'n [Node], options: &[&str]) -> Option<&'n Node> {
    for (at, word) in words.iter().enumerate() {
        let text = word.raw()?;
        let is_code = options.iter().any(|option| match option.strip_prefix("--") {
            Some(_) => text == *option,
            None => is_cluster(text, option),
        });
        if is_code {
            return words.get(at + 1);
        }
        // `--command=code`.
        let joined = |option: &&str| {
            option.starts_with("--")
                && text
                    .strip_prefix(*option)
                    .is_some_and(|rest| rest.starts_with('='))
        };
        if options.iter().any(joined) {
            return Some(word);
        }
        // The interpreter takes no option after this word.
        if text == "--" {
            return None;
        }
    }
    None
}

/// Returns whether a word is a cluster of one-letter options that ends with `option`.
fn is_cluster(text: &str, option: &str) -> bool {
    text.strip_prefix('-').is_some_and(|letters| {
        letters.len() <= 6 && letters.ends_with(option) && letters.chars().all(|c| c.is_ascii_alphabetic())
    })
}

#[cfg(test)]
mod tests {
    use crate::diagnostic::SourceText;
    use crate::yaml;

    use super::*;

    /// Returns how many warnings a list of words has.
    fn warnings(words: &str) -> usize {
        let text = format!("steps: [{{with: {{any: {words}}}}}]\n");
        let source = SourceText::new("x.yaml", &text);
        let mut sink = Sink::new(&source);
        let root = yaml::read(&text, &mut sink).unwrap();
        check(&root, &mut sink);
        sink.finish().0.len()
    }

    #[test]
    fn an_expression_inside_code_is_warned_of_and_one_beside_it_is_not() {
        for (words, expect) in [
            (r#"[sh, -c, "cat > ${{ target.root }}/dump"]"#, 1),
            (r#"[/bin/bash, -euc, "cat > ${{ target.root }}"]"#, 1),
            (r#"[bash, -o, pipefail, -c, "a ${{ x }}"]"#, 1),
            (r#"[runuser, -u, postgres, --, dash, -c, "a ${{ x }}"]"#, 1),
            (r#"[su, postgres, --command, "a ${{ x }}"]"#, 1),
            (r#"[su, postgres, "--command=a ${{ x }}"]"#, 1),
            (r#"[env, A=1, python3.12, -c, "print(${{ x }})"]"#, 1),
            (r#"[perl, -ne, "${{ x }}"]"#, 1),
            (r#"[zsh, "-c", "${{ x }}"]"#, 1),
            (r#"[ksh, -c, "${{ x }}"]"#, 1),
            (r#"[sh, -c, 'cat > "$1/dump"', sh, "${{ target.root }}"]"#, 0),
            (r#"[sh, -c, "true"]"#, 0),
            (r#"[sh, "${{ params.script }}"]"#, 0),
            (r#"[pg_restore, -c, "${{ target.root }}"]"#, 0),
            (r#"[tar, -c, "${{ target.root }}"]"#, 0),
        ] {
            assert_eq!(warnings(words), expect, "{words}");
        }
    }
}
