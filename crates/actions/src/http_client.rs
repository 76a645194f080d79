//! Sends one HTTP request and reads its answer, within bounds.
//!
//! It follows no redirect and uses no proxy, so that it measures the named server.

use std::io::Read;
use std::sync::OnceLock;
use std::time::Duration;

use rekindle_engine::StepContext;
use rekindle_model::failure::{Failure, code};
use rekindle_sources::blocking;
use ureq::http;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::failures;
use crate::params::BAD_PARAMETER;
use crate::redact::{Redactor, looks_secret};

/// The code of a request without an answer.
pub(crate) const HTTP_FAILED: &str = "http_failed";
/// How much of an answer is read; the rest is dropped.
pub(crate) const BODY_BYTES: u64 = 1 << 20;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<String>,
    /// The time limit for everything: name, connection, request and answer.
    pub(crate) timeout: Duration,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The time from before the request to the last byte of the answer.
    pub(crate) latency: Duration,
    /// At most 1 MiB of it.
    pub(crate) body: String,
    /// Whether that is all of it.
    pub(crate) is_whole: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct NoResponse {
    pub(crate) failure: Failure,
    /// Whether the server certainly has not seen the request.
    pub(crate) unsent: bool,
}

impl From<Failure> for NoResponse {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            unsent: false,
        }
    }
}

impl Request {
    /// Returns the request as it may be shown: without user info, and without the query, which may hold a key.
    pub(crate) fn shown(&self) -> String {
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        let url = Redactor::default().text(url).into_owned();
        format!("{} {url}", self.method)
    }
}

/// Returns the secret parts of a URL: the user info, its password, the query, and the query's values with
/// secret-looking names. A server's answer may repeat any of them.
pub(crate) fn secrets_of(url: &str) -> Vec<String> {
    let mut secrets = Vec::new();
    let (address, query) = url
        .split('#')
        .next()
        .unwrap_or_default()
        .split_once('?')
        .unwrap_or((url, ""));
    let authority = address
        .split_once("://")
        .map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    if let Some((user_info, _)) = authority.rsplit_once('@') {
        secrets.push(user_info.to_owned());
        secrets.extend(user_info.split_once(':').map(|(_, password)| password.to_owned()));
    }
    secrets.push(query.to_owned());
    let values = query.split('&').filter_map(|pair| pair.split_once('='));
    secrets.extend(
        values
            .filter(|(name, _)| looks_secret(name))
            .map(|(_, value)| value.to_owned()),
    );
    secrets
}

/// Returns whether a header of this name carries credentials.
pub(crate) fn is_secret_header(name: &str) -> bool {
    let lower = name.to_lowercase();
    looks_secret(name) || lower.contains("authorization") || lower.contains("cookie")
}

/// Returns a redactor for the secrets of a request and of its URL.
pub(crate) fn redactor(url: &str, headers: impl Iterator<Item = (String, String)>) -> Redactor {
    let headers = headers
        .filter(|(name, _)| is_secret_header(name))
        .map(|(_, value)| value);
    Redactor::with(headers.chain(secrets_of(url)))
}

/// Sends the request and reads the answer, even if the answer is a refusal.
pub(crate) async fn send(cx: &StepContext, request: Request) -> Result<Response, NoResponse> {
    let shown = request.shown();
    let begun = cx.clock.now();
    let clock = std::sync::Arc::clone(&cx.clock);
    let sent = blocking(move || {
        Ok(exchange(request).map(|(status, mut bytes)| {
            let latency = clock.now().since(&begun).duration;
            let is_whole = bytes.len() as u64 <= BODY_BYTES;
            bytes.truncate(BODY_BYTES as usize);
            let body = String::from_utf8_lossy(&bytes).into_owned();
            Response {
                status,
                latency,
                body,
                is_whole,
            }
        }))
    });
    let answer = tokio::select! {
        answer = sent => answer?,
        // The thread continues until the request's time is up; its answer then has no reader.
        () = cx.stop.cancelled() => return Err(failures::interrupted().into()),
    };
    answer.map_err(|error| refused(&shown, &error))
}

/// Sends the request and reads the status and the body of its answer, at most one byte more than [`BODY_BYTES`]; it
/// blocks.
pub(crate) fn exchange(request: Request) -> Result<(u16, Vec<u8>), ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(request.timeout))
        .tls_config(TlsConfig::builder().root_certs(trusted_roots()).build())
        .user_agent(concat!("rekindle/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let mut builder = http::Request::builder()
        .method(request.method.as_str())
        .uri(&request.url);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let answer = match request.body {
        Some(body) => agent.run(builder.body(body)?)?,
        None => agent.run(builder.body(())?)?,
    };
    let status = answer.status().as_u16();
    let mut bytes = Vec::new();
    answer
        .into_body()
        .into_reader()
        .take(BODY_BYTES + 1)
        .read_to_end(&mut bytes)?;
    Ok((status, bytes))
}

/// Returns the certificates that the host trusts: its store, or what SSL_CERT_FILE and SSL_CERT_DIR name. A host
/// without any gets those that this program ships.
fn trusted_roots() -> RootCerts {
    static OF_HOST: OnceLock<RootCerts> = OnceLock::new();
    let read = || {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "certificates of the host cannot be read");
        }
        match found.certs.as_slice() {
            [] => RootCerts::WebPki,
            certs => certs
                .iter()
                .map(|one| Certificate::from_der(one).to_owned())
                .into(),
        }
    };
    OF_HOST.get_or_init(read).clone()
}

/// Returns the message of an error, and whether the request was sent.
pub(crate) fn refused(shown: &str, error: &ureq::Error) -> NoResponse {
    use ureq::Error;
    let message = format!("{shown}: {error}");
    let unsent = match error {
        Error::HostNotFound | Error::ConnectionFailed => true,
        Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        _ => false,
    };
    let failure = match error {
        Error::Timeout(_) => Failure::transient(code::TIMEOUT, message),
        Error::Http(_) | Error::BadUri(_) => Failure::permanent(BAD_PARAMETER, message),
        _ => Failure::transient(HTTP_FAILED, message).with_hint("see whether the server runs and answers"),
    };
    NoResponse { failure, unsent }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_info_and_query_of_a_url_are_secrets_and_the_rest_is_none() {
        for (url, secrets) in [
            ("http://host/path#part", &[""][..]),
            ("http://ann:word@host/a@b", &["ann:word", "word", ""]),
            ("https://tok@host", &["tok", ""]),
            ("http://host/p?a=b&api_key=x#token=y", &["a=b&api_key=x", "x"]),
            ("http://host?token=x", &["token=x", "x"]),
        ] {
            assert_eq!(secrets_of(url), secrets, "{url}");
        }
    }
}
