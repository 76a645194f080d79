//! A client of another process's owner, through its socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{Method, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rekindle_engine::Request;
use rekindle_model::id::RunId;
use rekindle_model::next_action::{Action, Again};
use rekindle_model::problem::{Problem, ProblemKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::api::{NOBODY, OWNER_GONE, OwnerInfo, RunUpdate, Submission};
use crate::http::Created;
use crate::run_service::RunService;
use crate::socket::{self, Unreachable};

/// How long an owner may take to answer. The socket serves no request that takes longer: a client follows a run that
/// it created by the run's events.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many messages of a run may wait for its follower.
const BACKLOG: usize = 256;
/// The longest line that is read: a record is at most 4 KiB in the journal, and some longer as JSON.
const LINE_LIMIT: usize = 1 << 20;

/// The owner of a workspace, in another process.
#[derive(Clone, Debug)]
pub struct Client {
    dir: PathBuf,
    info: OwnerInfo,
}

impl Client {
    /// Looks for the owner of the workspace with this folder (`.rekindle`).
    ///
    /// # Errors
    /// [`Unreachable::Nobody`] when there is none, or it left before it answered; [`Unreachable::Silent`] when it does
    /// not answer within 5 s.
    pub async fn connect(dir: &Path) -> Result<Self, Unreachable> {
        let mut client = Self {
            dir: dir.to_owned(),
            info: OwnerInfo {
                pid: 0,
                version: String::new(),
                since: chrono::DateTime::UNIX_EPOCH,
                stays: false,
                runs: Vec::new(),
            },
        };
        let answer = match client.call(Method::GET, "/v1/owner", Bytes::new()).await {
            // The owner has done nothing for this client yet.
            Err(Unreachable::BrokeOff { path }) => return Err(Unreachable::Nobody { path }),
            answer => answer?,
        };
        client.info = match serde_json::from_slice(&answer.body) {
            Ok(info) if answer.status == StatusCode::OK => info,
            _ => return Err(Unreachable::Silent { path: client.path() }),
        };
        Ok(client)
    }

    /// Returns the owner's description as of the connection, with the runs that it drove then.
    pub fn info(&self) -> &OwnerInfo {
        &self.info
    }

    fn path(&self) -> PathBuf {
        self.dir.join(socket::NAME)
    }

    /// Sends one request and waits for the head of its answer.
    async fn send(
        &self,
        method: Method,
        route: &str,
        body: Bytes,
    ) -> Result<hyper::Response<Incoming>, Unreachable> {
        let path = self.path();
        let broken = |error: hyper::Error| {
            tracing::debug!(%error, "the owner broke off");
            // A process that ends closes its connections. A process whose answer is no HTTP is no owner.
            match error.is_parse() {
                true => Unreachable::Silent { path: path.clone() },
                false => Unreachable::BrokeOff { path: path.clone() },
            }
        };
        let exchange = async {
            let stream = socket::connect(&self.dir).await?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .map_err(broken)?;
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "the connection to the owner broke off");
                }
            });
            let request = hyper::Request::builder()
                .method(method)
                .uri(route)
                .header(header::HOST, "workspace")
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::new(body))
                .map_err(|error| Unreachable::Io {
                    what: "ask on",
                    path: path.clone(),
                    source: std::io::Error::other(error),
                })?;
            sender.send_request(request).await.map_err(broken)
        };
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(answered) => answered,
            Err(_) => Err(Unreachable::Silent { path: path.clone() }),
        }
    }

    async fn call(&self, method: Method, route: &str, body: Bytes) -> Result<Answer, Unreachable> {
        let response = self.send(method, route, body).await?;
        let status = response.status();
        let body = match tokio::time::timeout(PATIENCE, response.into_body().collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return Err(Unreachable::BrokeOff { path: self.path() }),
            Err(_) => return Err(Unreachable::Silent { path: self.path() }),
        };
        Ok(Answer { status, body })
    }

    async fn post<T: DeserializeOwned>(
        &self,
        route: &str,
        body: &impl Serialize,
    ) -> Result<Option<T>, Problem> {
        let body = serde_json::to_vec(body).map_err(|error| garbled(&error))?;
        self.call(Method::POST, route, body.into()).await?.read()
    }
}

struct Answer {
    status: StatusCode,
    body: Bytes,
}

impl Answer {
    fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, Problem> {
        match self.status {
            StatusCode::NO_CONTENT => Ok(None),
            StatusCode::OK => serde_json::from_slice(&self.body)
                .map(Some)
                .map_err(|error| garbled(&error)),
            _ => Err(problem(self.status, &self.body)),
        }
    }
}

fn problem(status: StatusCode, body: &[u8]) -> Problem {
    serde_json::from_slice(body).unwrap_or_else(|_| {
        let said = String::from_utf8_lossy(body);
        Problem::new(
            ProblemKind::Failed,
            "owner",
            format!("the owner of this workspace answered {status}: {said}"),
        )
        .with_advice("it may be another version of Rekindle; run the command again when it has ended")
    })
}

fn garbled(error: &serde_json::Error) -> Problem {
    Problem::new(
        ProblemKind::Failed,
        "owner",
        format!("the owner of this workspace cannot be understood: {error}"),
    )
    .with_advice("it may be another version of Rekindle; run the command again when it has ended")
}

fn resume() -> Action {
    Action::Resume {
        run: None,
        again: Again::Nothing,
    }
}

impl From<Unreachable> for Problem {
    fn from(error: Unreachable) -> Self {
        let message = error.to_string();
        match error {
            Unreachable::Nobody { .. } => Self::new(ProblemKind::Interrupted, NOBODY, message)
                .with_next(resume(), "continues the runs that the process has left"),
            Unreachable::BrokeOff { .. } => Self::new(ProblemKind::Interrupted, OWNER_GONE, message)
                .with_next(Action::ListRuns, "shows whether the request had begun")
                .with_next(resume(), "continues it where it had"),
            Unreachable::Silent { .. } => Self::new(ProblemKind::Held, "owner_silent", message).with_next(
                Action::Diagnose,
                "names the process; it is safe to kill, its runs are resumable",
            ),
            Unreachable::OtherUser { .. } => Self::new(ProblemKind::Held, "other_user", message)
                .with_advice("run the command as that user"),
            Unreachable::Io { .. } => Self::new(ProblemKind::Failed, "io", message),
        }
    }
}

#[async_trait]
impl RunService for Client {
    async fn submit(&self, submission: Submission) -> Result<RunId, Problem> {
        let created: Option<Created> = self.post("/v1/runs", &submission).await?;
        created.map(|created| created.run).ok_or_else(|| {
            Problem::new(
                ProblemKind::Failed,
                "owner",
                "the owner of this workspace did not name the run",
            )
        })
    }

    async fn resume(&self, run: RunId) -> Result<(), Problem> {
        let _: Option<()> = self.post(&format!("/v1/runs/{run}/resume"), &()).await?;
        Ok(())
    }

    async fn request(&self, run: RunId, request: Request) -> Result<(), Problem> {
        let _: Option<()> = self.post(&format!("/v1/runs/{run}/requests"), &request).await?;
        Ok(())
    }

    async fn follow(&self, run: RunId, after: u64) -> Result<mpsc::Receiver<RunUpdate>, Problem> {
        let route = format!("/v1/runs/{run}/events?after={after}");
        let response = self.send(Method::GET, &route, Bytes::new()).await?;
        let status = response.status();
        if status != StatusCode::OK {
            let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await;
            let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes());
            return Err(problem(status, &body.unwrap_or_default()));
        }
        let (told, receiver) = mpsc::channel(BACKLOG);
        tokio::spawn(read_lines(response.into_body(), told));
        Ok(receiver)
    }
}

/// Passes on the owner's updates until the owner ends, the connection breaks off or the receiver is dropped.
async fn read_lines(mut body: Incoming, told: mpsc::Sender<RunUpdate>) {
    let mut rest = Vec::new();
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = told.closed() => return,
        };
        let Some(Ok(frame)) = frame else { return };
        let Ok(data) = frame.into_data() else { continue };
        rest.extend_from_slice(&data);
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(message) => {
                    if told.send(message).await.is_err() {
                        return;
                    }
                }
                // An update of a newer version's owner.
                Err(error) => {
                    tracing::warn!(%error, "the owner told something that this version does not understand")
                }
            }
        }
        if rest.len() > LINE_LIMIT {
            tracing::warn!("the owner sent an endless line");
            return;
        }
    }
}
