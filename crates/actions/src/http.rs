//! `http`: sends a request, such as a call to a service's own interface.
//!
//! After a crash, it is unknown whether the server has seen the request. If the request's method is idempotent, the
//! next attempt sends it again. Else the next attempt sends it again only with `idempotency_key: true`: then each
//! attempt sends the same `Idempotency-Key`, derived from the run and the step, and the server recognises the
//! repetition. Without that key the step fails and says so, since sending twice could mean paying twice.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use rekindle_engine::{Action, Output, Reconciled, StepContext};
use rekindle_model::event::Measures;
use rekindle_model::failure::Failure;
use rekindle_model::system::Period;
use rekindle_plan::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http_client::{self, BODY_BYTES, HTTP_FAILED, Request};
use crate::json;
use crate::params::{self, Field, Kind};
use crate::prober::word;
use crate::redact::Redactor;

/// See the module's documentation.
pub(crate) struct SendRequest;

const METHODS: &[&str] = &["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH"];
/// The methods for which sending twice has the same effect as sending once (RFC 9110, 9.2.2).
const IDEMPOTENT: &[&str] = &["GET", "HEAD", "PUT", "DELETE"];
/// The methods that carry a body.
const WITH_BODY: &[&str] = &["PUT", "POST", "PATCH"];

pub(crate) const FIELDS: &[Field] = &[
    Field::optional("method", Kind::Word(METHODS)),
    Field::required("url", Kind::Text),
    Field::optional("headers", Kind::Texts),
    Field::optional("body", Kind::Any),
    Field::optional("expect_status", Kind::Status),
    Field::optional("timeout", Kind::Period),
    Field::optional("idempotency_key", Kind::Flag),
];

/// The default time for a request: long enough for a slow server, short enough for a waiting person.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an answer that is too long is given back, in characters.
const HEAD_CHARS: usize = 4096;

#[derive(Deserialize)]
struct Params {
    method: Option<String>,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, Value>,
    /// A text is sent without change; any other value as JSON.
    body: Option<Value>,
    /// By default, 200 to 299.
    expect_status: Option<u16>,
    timeout: Option<Period>,
    #[serde(default)]
    idempotency_key: bool,
}

impl Params {
    fn method(&self) -> &str {
        self.method.as_deref().unwrap_or("GET")
    }

    /// Returns whether sending it twice has the same effect as sending it once.
    fn may_be_sent_again(&self) -> bool {
        self.idempotency_key || IDEMPOTENT.contains(&self.method())
    }

    fn request(&self, cx: &StepContext) -> Request {
        let mut headers: Vec<(String, String)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), word(value)))
            .collect();
        if self.idempotency_key {
            headers.push(("Idempotency-Key".to_owned(), idempotency_key(cx)));
        }
        if self.body.as_ref().is_some_and(|body| !body.is_string()) && !has(&headers, "content-type") {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        Request {
            method: self.method().to_owned(),
            url: self.url.clone(),
            headers,
            body: self.body.as_ref().map(word),
            timeout: self.timeout.map_or(TIMEOUT, |period| period.0),
        }
    }

    /// Returns a redactor for the secrets in headers and in the URL.
    fn redactor(&self) -> Redactor {
        let headers = self.headers.iter();
        http_client::redactor(
            &self.url,
            headers.map(|(name, value)| (name.clone(), word(value))),
        )
    }
}

#[async_trait]
impl Action for SendRequest {
    fn check(&self, with: &Value) -> Vec<Problem> {
        let mut problems = params::check(with, FIELDS);
        let method = with.get("method").and_then(Value::as_str).unwrap_or("GET");
        if with.get("body").is_some() && METHODS.contains(&method) && !WITH_BODY.contains(&method) {
            problems.push(Problem {
                at: vec!["body".to_owned()],
                message: format!("a {method} request carries no body"),
                help: Some("name the method: POST, PUT or PATCH".to_owned()),
            });
        }
        problems
    }

    fn can_be_gone(&self) -> bool {
        false
    }

    async fn reconcile(&self, cx: &StepContext, _checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        let params: Params = params::read(&cx.with)?;
        let shown = params.request(cx).shown();
        if params.may_be_sent_again() {
            let why = "sent again it does what it does once";
            return Ok(Reconciled::Redo {
                evidence: json!({ "why": why, "request": shown }),
            });
        }
        Err(unknown(&shown))
    }

    async fn run(&self, cx: &StepContext, _checkpoint: Option<Value>) -> Result<Output, Failure> {
        let params: Params = params::read(&cx.with)?;
        let redactor = params.redactor();
        sent(cx, &params)
            .await
            .map_err(|failure| redactor.failure(failure))
            .map(|mut output| {
                output.value = redactor.value(output.value);
                output
            })
    }
}

async fn sent(cx: &StepContext, params: &Params) -> Result<Output, Failure> {
    let request = params.request(cx);
    let shown = request.shown();
    let response = http_client::send(cx, request).await.map_err(|none| {
        let mut failure = none.failure;
        if !none.unsent && !params.may_be_sent_again() {
            // The server may have received the request.
            failure.retryable = false;
            failure.hint = unknown(&shown).hint;
        }
        failure
    })?;
    let as_expected = match params.expect_status {
        Some(status) => response.status == status,
        None => (200..300).contains(&response.status),
    };
    let latency_ms = response.latency.as_secs_f64() * 1000.0;
    if !as_expected {
        let message = format!("{shown}: status {}: {}", response.status, excerpt(&response.body));
        let may_pass = matches!(response.status, 408 | 429 | 500..) && params.may_be_sent_again();
        return Err(match may_pass {
            true => Failure::transient(HTTP_FAILED, message),
            false => Failure::permanent(HTTP_FAILED, message),
        });
    }
    let text = &response.body;
    let value = match response.is_whole {
        true => {
            let body = json::read(text).unwrap_or_else(|_| json!(text));
            json!({ "status": response.status, "body": body })
        }
        false => {
            let head: String = text.chars().take(HEAD_CHARS).collect();
            let warning = format!(
                "the answer has more than the {BODY_BYTES} bytes that an output may have: `head` has the beginning; \
                 a `command` such as curl with `output_file:` keeps all of it"
            );
            json!({ "status": response.status, "truncated": true, "head": head, "warnings": [warning] })
        }
    };
    Ok(Output {
        value,
        measures: Measures::from([("latency_ms".to_owned(), latency_ms)]),
    })
}

/// Returns the key by which a server recognises a repeated request. It is the same for every attempt.
pub(crate) fn idempotency_key(cx: &StepContext) -> String {
    // A header holds visible ASCII only.
    let step = crate::step_log::safe(cx.step.id.as_str());
    format!("{}-{step}", cx.run)
}

fn unknown(shown: &str) -> Failure {
    Failure::permanent(
        "unknown_outcome",
        format!("{shown}: it was cut off, and the server may have done what it asks"),
    )
    .with_hint(
        "see at the server whether it did; a request with `idempotency_key: true` is sent again by itself",
    )
}

fn has(headers: &[(String, String)], name: &str) -> bool {
    headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
}

fn excerpt(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(200).collect()
}
