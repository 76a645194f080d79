//! The context service: started on the system's data, asked over HTTP, and stopped.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rekindle_model::time::{Clock, SystemClock};

use crate::client::Connection;
use crate::error::FactoriaError;
use crate::load::target_of;
use crate::optimise::{Context, Request, Settings, Tokenizer, mix};
use crate::serve::Address;

/// How long the service may take to say where it listens, and to answer one request.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it may take to end once it was asked to.
const END: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// Measures:
/// - `service_answers`: the share of the requests asked that were answered right: with the context of the document
///   that was asked for, no document of it missing, and as many tokens as its text has, counted here. 0 if the service
///   did not start.
/// - `service_start_ms`: from the start of the process until it says where it listens.
/// - `service_first_context_ms`: from there until the first right answer. Both are left out where there was none.
/// - `service_requests`, and `service_tokens`: tokens of all right answers.
pub(super) fn measure(root: &Path, program: &Path) -> Result<BTreeMap<String, f64>, FactoriaError> {
    let units = Settings::read(root).config.map_or(1, |config| config.units);
    let mix = mix(units);
    let mut measures = BTreeMap::from([
        ("service_answers".to_owned(), 0.0),
        ("service_requests".to_owned(), mix.len() as f64),
        ("service_tokens".to_owned(), 0.0),
    ]);
    let tokenizer = Tokenizer::load()?;
    let clock = SystemClock;
    let begun = clock.now();
    let Some((service, address)) = Service::start(root, program) else {
        return Ok(measures);
    };
    let started = clock.now();
    let start_ms = started.since(&begun).duration.as_secs_f64() * 1e3;
    measures.insert("service_start_ms".to_owned(), start_ms);
    let since_start = || clock.now().since(&started).duration.as_secs_f64() * 1e3;
    // A runtime of its own on a thread of its own: the caller may be within one, and may not.
    let answers = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let answers = runtime.map(|runtime| runtime.block_on(ask(address, &mix, since_start)));
            answers.unwrap_or_default()
        });
        asking.join().unwrap_or_default()
    });
    service.stop();
    let right: Vec<&(Context, f64)> = mix
        .iter()
        .zip(&answers)
        .filter_map(|(request, answer)| {
            answer
                .as_ref()
                .filter(|(context, _)| is_right(request, context, tokenizer))
        })
        .collect();
    // Right answers have as many tokens as their texts, so no sum overflows.
    let tokens: u64 = right.iter().map(|(context, _)| context.tokens).sum();
    measures.insert(
        "service_answers".to_owned(),
        right.len() as f64 / mix.len() as f64,
    );
    measures.insert("service_tokens".to_owned(), tokens as f64);
    if let Some((_, at_ms)) = right.first() {
        measures.insert("service_first_context_ms".to_owned(), *at_ms);
    }
    Ok(measures)
}

/// Asks each request. Returns the contexts, each with the time of its answer; `None` where there is none.
async fn ask(address: SocketAddr, mix: &[Request], now: impl Fn() -> f64) -> Vec<Option<(Context, f64)>> {
    let mut answers = Vec::new();
    for request in mix {
        let answer = match Connection::open(address).await {
            Ok(mut connection) => connection.get(&target_of(request), PATIENCE).await,
            Err(error) => Err(error),
        };
        let at_ms = now();
        let context = match answer {
            Ok((200, body)) => serde_json::from_slice(&body).ok(),
            Ok(_) | Err(_) => None,
        };
        answers.push(context.map(|context| (context, at_ms)));
    }
    answers
}

fn is_right(request: &Request, context: &Context, tokenizer: Tokenizer) -> bool {
    let asked_for = request
        .document()
        .is_ok_and(|document| document == context.document);
    let counted = context.tokens > 0 && context.tokens == tokenizer.count(&context.text);
    asked_for && counted && context.missing.is_empty()
}

/// The service, while it runs. It ends when its stdin is closed, also by the end of this process.
pub(crate) struct Service {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Service {
    /// Starts it on a folder, by the running program, to only read there.
    ///
    /// # Errors
    /// [`FactoriaError::NotServed`] if it does not say where it listens.
    pub(crate) fn start_on(root: &Path) -> Result<(Self, SocketAddr), FactoriaError> {
        let program = std::env::current_exe().map_err(FactoriaError::io("find the program of", root))?;
        Self::start(root, &program).ok_or_else(|| FactoriaError::NotServed {
            at: root.display().to_string(),
            why: "it did not start".to_owned(),
        })
    }

    fn start(root: &Path, program: &Path) -> Option<(Self, SocketAddr)> {
        let mut child = Command::new(program)
            .args([
                "--json",
                "factoria",
                "serve",
                "--read-only",
                "--until-eof",
                "--root",
            ])
            .arg(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let service = Self { child, stdin };
        let (sender, first) = mpsc::channel();
        // A thread, because reading a pipe has no time limit. It ends with the service.
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout?).lines();
            let line = lines.next()?.ok()?;
            sender.send(line).ok()?;
            // The last line as well: a service that writes into a closed pipe would fail.
            lines.last()?.ok()
        });
        let line = first.recv_timeout(PATIENCE).ok()?;
        let address: Address = serde_json::from_str(&line).ok()?;
        let socket = address.listening.strip_prefix("http://")?.parse().ok()?;
        Some((service, socket))
    }

    /// Ends it in good order.
    fn stop(mut self) {
        drop(self.stdin.take());
        let clock = SystemClock;
        let begun = clock.now();
        while matches!(self.child.try_wait(), Ok(None)) && clock.now().since(&begun).duration < END {
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended already if it was stopped; then both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
