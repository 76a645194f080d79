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
use rekindle_plan::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::params::{self, Field, Kind};
use crate::prober::word;
use crate::process::{self, Program};
use crate::redact::Redactor;
use crate::site::Site;

/// See the module's documentation.
pub(crate) struct RunCommand(pub(crate) Arc<Site>);

pub(crate) const FIELDS: &[Field] = &[
    Field::required("run", Kind::Words),
    Field::optional("env", Kind::Texts),
    Field::optional("cwd", Kind::Text),
    Field::optional("timeout", Kind::Period),
    Field::optional("detach", Kind::Flag),
];

/// How much of a program's text is kept as the step's output, in characters.
const TEXT_CHARS: usize = 4096;

#[derive(Deserialize)]
struct Params {
    run: Vec<Value>,
    #[serde(default)]
    env: BTreeMap<String, Value>,
    /// Relative to the folder of `system.yaml`, which is also the default.
    cwd: Option<PathBuf>,
    timeout: Option<Period>,
    #[serde(default)]
    detach: bool,
}

impl Params {
    fn env(&self) -> BTreeMap<String, String> {
        let text = |(name, value): (&String, &Value)| (name.clone(), word(value));
        self.env.iter().map(text).collect()
    }
}

#[async_trait]
impl Action for RunCommand {
    fn check(&self, with: &Value) -> Vec<Problem> {
        params::check(with, FIELDS)
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
        let words: Vec<String> = params.run.iter().map(word).collect();
        let env = params.env();
        let cwd = self
            .0
            .system_dir()
            .join(params.cwd.as_deref().unwrap_or(Path::new("")));
        let timeout = params.timeout.map(|period| period.0);
        let program = Program {
            words: &words,
            cwd: &cwd,
            env: &env,
            timeout,
            detach: params.detach,
            stdin: None,
            stdout: None,
        };
        let ended = process::run(&self.0, cx, &program).await?;
        if !ended.status.success() {
            let program = words.first().map_or("", String::as_str);
            let failure = Failure::transient("command_failed", format!("{program}: {}", ended.account()))
                .with_hint(format!("run it by hand: {}", words.join(" ")));
            return Err(ended.redactor.failure(failure));
        }
        Ok(Output {
            value: ended.redactor.value(output(&ended.stdout)),
            measures: Measures::new(),
        })
    }
}

/// Returns the text as JSON if it is a JSON object, else as a text.
fn output(stdout: &str) -> Value {
    match serde_json::from_str(stdout.trim()) {
        Ok(value @ Value::Object(_)) => value,
        _ => {
            let text: String = stdout.trim_end().chars().take(TEXT_CHARS).collect();
            json!({ "truncated": text.len() < stdout.trim_end().len(), "text": text })
        }
    }
}
