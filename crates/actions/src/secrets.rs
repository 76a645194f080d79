//! The secrets of a step's program: environment variables whose values come from our own environment, a file or a
//! program. They are read when the step runs. No log, output, failure or record shows them: the redactor knows each
//! value.

use std::collections::BTreeMap;
use std::path::Path;

use rekindle_engine::StepContext;
use rekindle_model::failure::Failure;
use rekindle_plan::Problem;
use serde::Deserialize;
use serde_json::Value;

use crate::params;
use crate::prober::word;
use crate::process::{self, OUR_SECRETS, Program, Stdout};
use crate::site::Site;

/// Secrets by the names of their variables.
pub(crate) type Secrets = BTreeMap<String, Secret>;

/// Where one secret comes from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Secret {
    /// A variable of our own environment.
    Env(String),
    /// A file, relative to the program's folder.
    File(String),
    /// A program that prints it.
    Command(Vec<Value>),
}

/// How to write one.
const FORM: &str = "write one of {env: NAME}, {file: PATH} and {command: [PROGRAM, ARGUMENT, …]}";

/// Returns the faults that can be known before the run.
pub(crate) fn check(secrets: &Value) -> Vec<Problem> {
    let problem = |at: &[&str], message: String, help: &str| Problem {
        at: ["secrets"]
            .iter()
            .chain(at)
            .map(|part| (*part).to_owned())
            .collect(),
        message,
        help: Some(help.to_owned()),
    };
    let Some(entries) = secrets.as_object() else {
        return vec![problem(
            &[],
            "expected secrets by the names of their variables".to_owned(),
            FORM,
        )];
    };
    let mut problems = Vec::new();
    for (name, value) in entries {
        if let Err(why) = params::check_variable(name, "") {
            problems.push(problem(
                &[name],
                why,
                "a program gets the secret as a variable of this name",
            ));
        }
        match serde_json::from_value::<Secret>(value.clone()) {
            Err(_) => problems.push(problem(
                &[name],
                format!("the secret `{name}` does not say where it comes from, or says it twice"),
                FORM,
            )),
            Ok(Secret::Env(own)) if own.starts_with(OUR_SECRETS) => problems.push(problem(
                &[name],
                format!("`{own}` opens every backup, and no program gets it"),
                "give the program a secret of its own",
            )),
            Ok(Secret::Command(words)) if words.is_empty() => {
                problems.push(problem(&[name], "there is no program to run".to_owned(), FORM));
            }
            Ok(_) => {}
        }
    }
    problems
}

/// Reads the secrets, for a program that runs in `cwd`.
pub(crate) async fn read(
    site: &Site,
    cx: &StepContext,
    cwd: &Path,
    secrets: &Secrets,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut values = BTreeMap::new();
    for (name, secret) in secrets {
        let (value, from) = match secret {
            Secret::Env(own) => {
                let from = format!("the variable `{own}` of Rekindle's environment");
                // The passphrase must not reach a program by an expression either.
                let value = std::env::var(own).ok().filter(|_| !own.starts_with(OUR_SECRETS));
                (value.unwrap_or_default(), from)
            }
            Secret::File(path) => {
                let path = cwd.join(path);
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| missing(name, &format!("{}: {error}", path.display())))?;
                (text, path.display().to_string())
            }
            Secret::Command(words) => {
                let words: Vec<String> = words.iter().map(word).collect();
                (
                    printed(site, cx, cwd, name, &words).await?,
                    format!("`{}`", words.join(" ")),
                )
            }
        };
        let value = value.trim_end_matches(['\n', '\r']);
        if value.is_empty() {
            return Err(missing(name, &format!("{from} gives none")));
        }
        values.insert(name.clone(), value.to_owned());
    }
    Ok(values)
}

async fn printed(
    site: &Site,
    cx: &StepContext,
    cwd: &Path,
    name: &str,
    words: &[String],
) -> Result<String, Failure> {
    let program = Program {
        words,
        cwd,
        env: &BTreeMap::new(),
        secrets: &BTreeMap::new(),
        timeout: None,
        detach: false,
        stdin: None,
        stdout: Stdout::Unlogged,
    };
    let ended = process::run(site, cx, &program).await?;
    match ended.status.success() {
        true => Ok(ended.stdout.text),
        false => Err(missing(
            name,
            &format!("{}: {}", words.join(" "), ended.account()),
        )),
    }
}

fn missing(name: &str, why: &str) -> Failure {
    Failure::permanent(
        "secret_missing",
        format!("the secret `{name}` cannot be read: {why}"),
    )
    .with_hint("provide it where the step's `secrets` says, then retry the step")
}
