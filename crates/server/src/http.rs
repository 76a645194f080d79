//! The owner's routes. Errors are [`Problem`]s with the status 422, so that a client tells them from a broken server.
//!
//! | route | what it does |
//! |---|---|
//! | `GET /v1/owner` | who drives this workspace |
//! | `POST /v1/runs` | creates a run and drives it |
//! | `POST /v1/runs/{run}/resume` | takes an interrupted run over |
//! | `POST /v1/runs/{run}/requests` | cancel, pause, approve … |
//! | `GET /v1/runs/{run}/events?after=N` | the run's records after N and what happens to it, a JSON object a line |

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Json, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures::stream;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rekindle_engine::Request;
use rekindle_model::id::RunId;
use rekindle_model::problem::{Problem, ProblemKind};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::api::{OwnerInfo, RunUpdate, Submission};
use crate::owner::Owner;
use crate::run_service::RunService;
use crate::socket::ControlSocket;

/// The longest body that is accepted: a system and a workflow, each at its own limit.
const BODY_LIMIT: usize = 32 << 20;
/// How long a client may take to read its answer once the socket closes. An answer takes moments. A client that reads
/// nothing, such as a stopped process, delays the owner no longer than this.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Owner {
    /// Answers on the socket until `done`. Then answers the requests and connections that came before.
    pub async fn serve(&self, mut socket: ControlSocket, done: impl Future<Output = ()>) {
        let router = routes(self.clone());
        let mut connections = JoinSet::new();
        tokio::pin!(done);
        loop {
            tokio::select! {
                () = &mut done => break,
                Some(stream) = socket.accept() => {
                    connections.spawn(answer(stream, router.clone()));
                }
                Some(_) = connections.join_next() => {}
            }
        }
        for stream in socket.close() {
            connections.spawn(answer(stream, router.clone()));
        }
        // A client sends one request on each connection, and closes it.
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
            tracing::debug!("a client does not close its connection");
        }
    }
}

async fn answer(stream: UnixStream, router: Router) {
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection broke off");
    }
}

fn routes(owner: Owner) -> Router {
    Router::new()
        .route("/v1/owner", get(owner_info))
        .route("/v1/runs", post(submit))
        .route("/v1/runs/{run}/resume", post(resume))
        .route("/v1/runs/{run}/requests", post(request))
        .route("/v1/runs/{run}/events", get(events))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(owner)
}

/// A run that was created.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Created {
    pub(crate) run: RunId,
}

#[derive(Debug, Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

/// A problem as an HTTP answer.
struct Refusal(Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (StatusCode::UNPROCESSABLE_ENTITY, Json(self.0)).into_response()
    }
}

async fn owner_info(State(owner): State<Owner>) -> Json<OwnerInfo> {
    Json(owner.info())
}

async fn submit(
    State(owner): State<Owner>,
    Json(submission): Json<Submission>,
) -> Result<Json<Created>, Refusal> {
    // If the submitter disconnects meanwhile, the creation of the run must still finish.
    let created = tokio::spawn(async move { owner.submit(submission).await }).await;
    let run = created.map_err(|error| lost(&error))??;
    Ok(Json(Created { run }))
}

async fn resume(State(owner): State<Owner>, Path(run): Path<RunId>) -> Result<StatusCode, Refusal> {
    let resumed = tokio::spawn(async move { owner.resume(run).await }).await;
    resumed.map_err(|error| lost(&error))??;
    Ok(StatusCode::NO_CONTENT)
}

async fn request(
    State(owner): State<Owner>,
    Path(run): Path<RunId>,
    Json(asked): Json<Request>,
) -> Result<StatusCode, Refusal> {
    owner.request(run, asked).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn events(
    State(owner): State<Owner>,
    Path(run): Path<RunId>,
    Query(After { after }): Query<After>,
) -> Result<Response, Refusal> {
    let told = owner.follow(run, after).await?;
    let lines = stream::unfold(told, |mut told| async move {
        let line = line(&told.recv().await?);
        Some((Ok::<_, Infallible>(line), told))
    });
    Ok((
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response())
}

fn line(told: &RunUpdate) -> Bytes {
    let mut line = serde_json::to_vec(told).unwrap_or_else(|error| {
        tracing::error!(%error, "cannot write an event as JSON");
        Vec::new()
    });
    line.push(b'\n');
    line.into()
}

fn lost(error: &tokio::task::JoinError) -> Problem {
    Problem::new(
        ProblemKind::Failed,
        "internal",
        format!("the owner failed while it answered: {error}"),
    )
}
