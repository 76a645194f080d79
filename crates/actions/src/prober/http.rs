//! Probe `http`: GETs a URL. It measures `status`, `latency_ms`, and the numbers that JSON pointers find in the
//! answer.

use std::time::Duration;

use rekindle_engine::StepContext;
use rekindle_model::failure::Failure;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

use crate::checks::{self, Numbers};
use crate::http_client::{self, BODY_BYTES, HTTP_FAILED, Request};

/// The default time for an answer. A service that needs longer is not back.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is measured, rendered.
#[derive(Deserialize)]
pub(super) struct Params {
    pub(super) url: String,
    pub(super) headers: BTreeMap<String, String>,
    /// JSON pointers (RFC 6901) by the name of the number that each finds.
    pub(super) values: BTreeMap<String, String>,
}

/// The status of an error counts as a measured number; only a missing answer is a failure. If a pointer finds no
/// number, that number is not measured.
pub(super) async fn measure(
    cx: &StepContext,
    params: &Params,
    timeout: Option<Duration>,
) -> Result<Numbers, Failure> {
    let headers: Vec<_> = params.headers.clone().into_iter().collect();
    let redactor = http_client::redactor(&params.url, headers.iter().cloned());
    let request = Request {
        method: "GET".to_owned(),
        url: params.url.clone(),
        headers,
        body: None,
        timeout: timeout.unwrap_or(TIMEOUT),
    };
    let response = http_client::send(cx, request)
        .await
        .map_err(|none| redactor.failure(none.failure))?;
    if !response.is_whole && !params.values.is_empty() {
        let message = format!("the answer has more than the {BODY_BYTES} bytes that are read");
        return Err(Failure::permanent(HTTP_FAILED, message)
            .with_hint("ask for a shorter answer, or measure it by a `command` probe"));
    }
    let mut numbers = Numbers::from([
        ("status".to_owned(), f64::from(response.status)),
        ("latency_ms".to_owned(), response.latency.as_secs_f64() * 1000.0),
    ]);
    if let Ok(body) = serde_json::from_str::<Value>(&response.body) {
        let found = params.values.iter().filter_map(|(name, pointer)| {
            let number = checks::number(body.pointer(pointer)?)?;
            Some((name.clone(), number))
        });
        numbers.extend(found);
    }
    Ok(numbers)
}
