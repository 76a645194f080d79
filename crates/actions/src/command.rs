//! `command`: runs a program, such as a step of a component's own recovery.
//!
//! Everything that the program started ends with it. If the program must leave something running, such as a daemon,
//! the step says `detach: true`. But if a stop, a timeout or the end of Rekindle ends the program, it also ends what
//! the program started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::Failure;
use rekindle_model::system::Period;
use rekindle_plan::{Problem, expr, list_form};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::json;
use crate::named_outputs;
use crate::params::{self, Field, Kind};
use crate::prober::word;
use crate::process::{self, OUTPUT_BYTES, Printed, Program, Stdout};
use crate::redact::Redactor;
use crate::scratch::Scratch;
use crate::secrets::{self, Secrets};
use crate::site::Site;

/// See the module's documentation.
pub(crate) struct RunCommand(pub(crate) Arc<Site>);

pub(crate) const FIELDS: &[Field] = &[
    Field::required("run", Kind::Run),
    Field::optional("shell", Kind::Flag),
    Field::optional("env", Kind::Env),
    Field::optional("secrets", Kind::Secrets),
    Field::optional("cwd", Kind::Text),
    Field::optional("stdin", Kind::Any),
    Field::optional("output_file", Kind::Text),
    Field::optional("timeout", Kind::Period),
    Field::optional("detach", Kind::Flag),
];

/// How much of an output that is too long is given back.
const HEAD_BYTES: usize = 4096;

#[derive(Deserialize)]
struct Params {
    /// The words; or a text, with `shell`.
    run: Value,
    #[serde(default)]
    shell: bool,
    #[serde(default)]
    env: BTreeMap<String, Value>,
    #[serde(default)]
    secrets: Secrets,
    /// Relative to the folder of `system.yaml`, which is also the default.
    cwd: Option<PathBuf>,
    /// A text is given as it is; any other value as JSON.
    stdin: Option<Value>,
    /// Relative to `cwd`.
    output_file: Option<PathBuf>,
    timeout: Option<Period>,
    #[serde(default)]
    detach: bool,
}

impl Params {
    fn words(&self) -> Result<Vec<String>, Failure> {
        match (&self.run, self.shell) {
            (Value::Array(words), false) => Ok(words.iter().map(word).collect()),
            (Value::String(script), true) => Ok(shell(script)),
            (_, shell) => {
                let problem = not_runnable(&self.run, shell);
                let failure = Failure::permanent(params::BAD_PARAMETER, problem.message);
                Err(failure.with_hint(problem.help.unwrap_or_default()))
            }
        }
    }

    fn env(&self) -> BTreeMap<String, String> {
        let text = |(name, value): (&String, &Value)| (name.clone(), word(value));
        self.env.iter().map(text).collect()
    }
}

/// Returns the command line that lets a shell run a script. The script ends at the first command that fails.
pub(crate) fn shell(script: &str) -> Vec<String> {
    ["sh", "-e", "-c", script].map(str::to_owned).into()
}

/// Returns the fault of a `run` that does not fit the `shell` beside it.
fn not_runnable(run: &Value, shell: bool) -> Problem {
    let (message, help) = match (run, shell) {
        (Value::String(text), false) => (
            "expected a list with a program and its arguments, found a text".to_owned(),
            list_form(text),
        ),
        (_, true) => (
            "with `shell: true`, `run` is a text for the shell".to_owned(),
            "leave `shell` out to run a list as it is".to_owned(),
        ),
        (other, false) => (
            format!("expected a list with a program and its arguments, found {other}"),
            "write a list: [PROGRAM, ARGUMENT, …]".to_owned(),
        ),
    };
    Problem {
        at: vec!["run".to_owned()],
        message,
        help: Some(help),
    }
}

#[async_trait]
impl Action for RunCommand {
    fn check(&self, with: &Value) -> Vec<Problem> {
        let mut problems = params::check(with, FIELDS);
        problems.extend(with.get("secrets").map(secrets::check).into_iter().flatten());
        let shell = with.get("shell").and_then(Value::as_bool);
        // Whether an expression yields a list or a text, only the run knows.
        let fits = match with.get("run") {
            Some(Value::String(text)) => {
                (shell != Some(false) && with.get("shell").is_some()) || expr::is_whole(text)
            }
            Some(Value::Array(_)) => shell != Some(true),
            _ => true,
        };
        if !fits {
            problems.push(not_runnable(&with["run"], shell == Some(true)));
        }
        if with.get("output_file").is_some() && with.get("detach").is_some_and(|detach| detach != false) {
            problems.push(Problem {
                at: vec!["output_file".to_owned()],
                message: "`output_file` and `detach` cannot be together".to_owned(),
                help: Some("what runs on would hold the file; let the program write it".to_owned()),
            });
        }
        problems
    }

    fn can_be_gone(&self) -> bool {
        false
    }

    async fn reconcile(&self, cx: &StepContext, _checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        let why = "a program that was cut off may have done any part of its work; it runs again";
        let redactor = Redactor::of(&params::read::<Params>(&cx.with)?.env());
        let words = redactor.value(json!(cx.with.get("run")));
        Ok(Reconciled::Redo {
            evidence: json!({ "why": why, "run": words }),
        })
    }

    async fn run(&self, cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        let params: Params = params::read(&cx.with)?;
        let words = params.words()?;
        let mut env = params.env();
        let cwd = self
            .0
            .system_dir()
            .join(params.cwd.as_deref().unwrap_or(Path::new("")));
        let scratch = Scratch::new(&self.0, cx).await?;
        let outputs = scratch.file("outputs", "")?;
        env.insert(
            named_outputs::VARIABLE.to_owned(),
            outputs.to_string_lossy().into_owned(),
        );
        let stdin = params
            .stdin
            .as_ref()
            .map(|text| scratch.file("stdin", &word(text)));
        let stdin = stdin.transpose()?;
        let output_file = params.output_file.as_ref().map(|file| cwd.join(file));
        let secrets = secrets::read(&self.0, cx, &cwd, &params.secrets).await?;
        let program = Program {
            words: &words,
            cwd: &cwd,
            env: &env,
            secrets: &secrets,
            timeout: params.timeout.map(|period| period.0),
            detach: params.detach,
            stdin: stdin.as_deref(),
            stdout: output_file.as_deref().map_or(Stdout::Log, Stdout::Named),
        };
        let ended = process::run(&self.0, cx, &program).await?;
        if !ended.status.success() {
            let program = words.first().map_or("", String::as_str);
            let failure = Failure::transient("command_failed", format!("{program}: {}", ended.account()))
                .with_hint(format!("run it by hand: {}", words.join(" ")));
            return Err(ended.redactor.failure(failure));
        }
        let mut value = match &output_file {
            Some(file) => Map::from_iter([
                ("file".to_owned(), json!(file.to_string_lossy())),
                ("bytes".to_owned(), json!(ended.stdout.bytes)),
            ]),
            None => output(&ended.stdout),
        };
        // What the program names counts more than what it prints by the way.
        value.extend(named_outputs::read(&outputs).map_err(|failure| ended.redactor.failure(failure))?);
        if let Some(lost) = &ended.log_lost {
            value.insert("log_lost".to_owned(), json!(lost));
        }
        Ok(Output {
            value: ended.redactor.value(Value::Object(value)),
            measures: Measures::new(),
        })
    }
}

/// Returns the fields of the JSON object that a program printed, else its text. Of one that is too long, returns the
/// beginning and a warning. The step has succeeded all the same: the program has done its work, and may only talk much.
fn output(printed: &Printed) -> Map<String, Value> {
    let fields = match json::read(printed.text.trim()) {
        _ if !printed.is_whole() => {
            let mut end = HEAD_BYTES.min(printed.text.len());
            while !printed.text.is_char_boundary(end) {
                end -= 1;
            }
            let warning = format!(
                "it printed {} bytes, more than the {OUTPUT_BYTES} that an output may have: `head` has the beginning; \
                 `output_file:` keeps all of it",
                printed.bytes
            );
            json!({
                "truncated": true, "bytes": printed.bytes, "head": printed.text[..end], "warnings": [warning],
            })
        }
        Ok(fields @ Value::Object(_)) => fields,
        _ => json!({ "text": printed.text.trim_end() }),
    };
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
