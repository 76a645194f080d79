//! The answers over HTTP, and the connections they go over.
//!
//! | request | answer |
//! |---|---|
//! | `GET /health` | [`Health`](super::Health), with 200, or 503 where something is not whole |
//! | `GET /context?layer=L1&path=…` | the document with everything it imports, and how long that took |
//! | `GET /context?layer=L1` | the documents of a layer |
//! | `GET /generate?type=study_guide` | a piece of content of that type, assessed; `audience`, `subject` and `seed` may be given |
//!
//! Everything else, errors included, is `{"error": …}`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{MatchedPath, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rekindle_model::time::Clock;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::generate::{Wish, piece};
use super::health::{measure, milliseconds};
use super::writer::Shared;
use crate::context::{self, ContextError};

/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 64;
/// How long a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(10);
/// How long requests under way may take to be answered once the end was asked for.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait after a connection could not be accepted: the usual reason is a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What the answers are made from.
#[derive(Clone)]
pub(super) struct Service(Arc<Parts>);

struct Parts {
    root: PathBuf,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
}

impl Service {
    pub(super) fn new(root: PathBuf, clock: Arc<dyn Clock>, shared: Arc<Shared>) -> Self {
        Self(Arc::new(Parts { root, clock, shared }))
    }
}

/// Answers until `stop`, then answers what is under way.
pub(super) async fn serve(listener: TcpListener, service: Service, stop: CancellationToken) {
    let router = Router::new()
        .route("/health", get(health))
        .route("/context", get(load))
        .route("/generate", get(make))
        .fallback(unknown)
        .layer(from_fn_with_state(service.clone(), count))
        .with_state(service);
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let accept = async {
            let permit = Arc::clone(&connections).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            accepted = accept => accepted,
            () = stop.cancelled() => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that goes away is its own affair.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    // A client that holds on to its connection does not keep the system from ending.
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
}

async fn count(State(service): State<Service>, request: Request, next: Next) -> Response {
    service.0.shared.live.requests.fetch_add(1, Ordering::Relaxed);
    next.run(request).await
}

async fn health(State(service): State<Service>) -> Response {
    let looked = tokio::task::spawn_blocking(move || {
        let Parts { root, clock, shared } = &*service.0;
        measure(root, &**clock, shared)
    });
    match looked.await {
        Ok(health) => {
            let status = if health.status == "ok" {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            (status, Json(health)).into_response()
        }
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// What `/context` is asked for.
#[derive(Debug, Deserialize)]
struct Wanted {
    layer: String,
    path: Option<String>,
}

async fn load(
    State(service): State<Service>,
    route: MatchedPath,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let Query(Wanted { layer, path }) = match wanted {
        Ok(wanted) => wanted,
        Err(error) => {
            let example = format!("{}?layer=L1&path=…", route.as_str());
            return refused(error.status(), format!("{}; ask as {example}", error.body_text()));
        }
    };
    let loaded = tokio::task::spawn_blocking(move || {
        let Parts { root, clock, shared } = &*service.0;
        let begun = clock.now();
        let Some(path) = path else {
            let documents = context::documents(root, &layer)?;
            return Ok(json!({
                "layer": layer, "documents": documents, "measured_ms": milliseconds(&**clock, &begun),
            }));
        };
        let context = context::load(root, &layer, &path)?;
        let measured_ms = milliseconds(&**clock, &begun);
        // Never 0, which stands for "none was loaded yet".
        let micros = ((measured_ms * 1e3) as u64).max(1);
        shared.live.context_us.store(micros, Ordering::Relaxed);
        Ok(json!({
            "layer": layer, "document": context.document, "documents": context.documents,
            "imports": context.imports, "bytes": context.text.len(), "measured_ms": measured_ms,
            "text": context.text,
        }))
    });
    match loaded.await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(error)) => refused(status(&error), error.to_string()),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn make(State(service): State<Service>, wish: Result<Query<Wish>, QueryRejection>) -> Response {
    let Query(wish) = match wish {
        Ok(wish) => wish,
        Err(error) => {
            let said = error.body_text();
            return refused(
                error.status(),
                format!("{said}; ask as /generate?type=study_guide"),
            );
        }
    };
    match tokio::task::spawn_blocking(move || piece(&service.0.root, &wish)).await {
        Ok(Ok(piece)) => Json(piece).into_response(),
        Ok(Err((status, error))) => refused(status, error),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn status(error: &ContextError) -> StatusCode {
    match error {
        ContextError::UnknownLayer { .. } | ContextError::Outside { .. } => StatusCode::BAD_REQUEST,
        ContextError::Unknown { .. } => StatusCode::NOT_FOUND,
        ContextError::Broken { .. } => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn unknown() -> Response {
    refused(
        StatusCode::NOT_FOUND,
        "ask for /health, /context?layer=L1&path=… or /generate?type=…".to_owned(),
    )
}

fn refused(status: StatusCode, error: String) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}
