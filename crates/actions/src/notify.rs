//! `notify`: notifies people of a run's outcome, by a program or by a webhook.
//!
//! Both receive one JSON object, `{"run", "workflow_step", "outcome", "message"}`: the program on its stdin, the
//! webhook as the body of a POST. After a crash the step sends the object again, since twice is better than never. The
//! webhook then receives the same `Idempotency-Key`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::Failure;
use rekindle_model::system::Period;
use rekindle_plan::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::idempotency_key;
use crate::http_client::{self, HTTP_FAILED, Request};
use crate::params::{self, Field, Kind};
use crate::prober::word;
use crate::process::{self, Program, Stdout};
use crate::redact::Redactor;
use crate::scratch::Scratch;
use crate::site::Site;

/// See the module's documentation.
pub(crate) struct Notify(pub(crate) Arc<Site>);

pub(crate) const FIELDS: &[Field] = &[
    Field::optional("command", Kind::Words),
    Field::optional("webhook", Kind::Text),
    Field::optional("env", Kind::Env),
    Field::optional("outcome", Kind::Text),
    Field::required("message", Kind::Text),
    Field::optional("timeout", Kind::Period),
];

/// The default time for a notice. It is short, since only the end of the run waits for it.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Params {
    #[serde(default)]
    command: Vec<Value>,
    webhook: Option<String>,
    /// For the program.
    #[serde(default)]
    env: BTreeMap<String, Value>,
    /// The outcome of the run, as the workflow knows it.
    outcome: Option<String>,
    message: String,
    timeout: Option<Period>,
}

#[async_trait]
impl Action for Notify {
    fn check(&self, with: &Value) -> Vec<Problem> {
        let mut problems = params::check(with, FIELDS);
        if with.get("command").is_some() == with.get("webhook").is_some() {
            problems.push(Problem {
                at: Vec::new(),
                message: "expected either `command` or `webhook`".to_owned(),
                help: Some("one step tells one place".to_owned()),
            });
        }
        problems
    }

    fn can_be_gone(&self) -> bool {
        false
    }

    async fn reconcile(&self, _cx: &StepContext, _checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        let why = "a message that was cut off is sent again: twice is better than never";
        Ok(Reconciled::redo(why))
    }

    async fn run(&self, cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        let params: Params = params::read(&cx.with)?;
        let notice = json!({
            "run": cx.run.to_string(),
            "workflow_step": cx.step.id.as_str(),
            "outcome": params.outcome,
            "message": params.message,
        })
        .to_string();
        let timeout = params.timeout.map_or(TIMEOUT, |period| period.0);
        let told = match &params.webhook {
            Some(webhook) => post(cx, webhook, notice, timeout).await?,
            None => self.tell(cx, &params, &notice, timeout).await?,
        };
        Ok(Output {
            value: told,
            measures: Measures::new(),
        })
    }
}

impl Notify {
    /// Runs the program with the notice on its stdin.
    async fn tell(
        &self,
        cx: &StepContext,
        params: &Params,
        notice: &str,
        timeout: Duration,
    ) -> Result<Value, Failure> {
        let words: Vec<String> = params.command.iter().map(word).collect();
        let text = |(name, value): (&String, &Value)| (name.clone(), word(value));
        let env = params.env.iter().map(text).collect();
        let scratch = Scratch::new(&self.0, cx).await?;
        let file = scratch.file("notice.json", notice)?;
        let program = Program {
            words: &words,
            cwd: self.0.system_dir(),
            env: &env,
            secrets: &Default::default(),
            timeout: Some(timeout),
            detach: false,
            stdin: Some(&file),
            stdout: Stdout::Log,
        };
        let ended = process::run(&self.0, cx, &program).await?;
        if ended.status.success() {
            return Ok(json!({ "told": "command" }));
        }
        let program = words.first().map_or("", String::as_str);
        Err(Failure::transient(
            "command_failed",
            format!("{program}: {}", ended.account()),
        ))
    }
}

async fn post(cx: &StepContext, webhook: &str, notice: String, timeout: Duration) -> Result<Value, Failure> {
    // The path of a webhook is a secret: with it, anyone can post.
    let redactor = Redactor::with(
        secret_part(webhook)
            .into_iter()
            .chain(http_client::secrets_of(webhook)),
    );
    let request = Request {
        method: "POST".to_owned(),
        url: webhook.to_owned(),
        headers: vec![
            ("Content-Type".to_owned(), "application/json".to_owned()),
            ("Idempotency-Key".to_owned(), idempotency_key(cx)),
        ],
        body: Some(notice),
        timeout,
    };
    let shown = request.shown();
    let response = http_client::send(cx, request)
        .await
        .map_err(|none| redactor.failure(none.failure))?;
    if (200..300).contains(&response.status) {
        return Ok(json!({ "told": "webhook", "status": response.status }));
    }
    let message = format!("{shown}: status {}", response.status);
    Err(redactor.failure(match response.status {
        408 | 429 | 500.. => Failure::transient(HTTP_FAILED, message),
        _ => Failure::permanent(HTTP_FAILED, message),
    }))
}

/// Returns the path of a URL without its first slash, if the URL has a path.
pub(crate) fn secret_part(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (_, path) = rest.split_once('/')?;
    let path = path.split(['?', '#']).next().unwrap_or_default();
    (!path.is_empty()).then(|| path.to_owned())
}
