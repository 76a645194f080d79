//! Runs a system: records are written all the time, and HTTP answers on this machine.
//!
//! | part | what it does |
//! |---|---|
//! | `run_dir` | one process a system: the lock, and the address for others |
//! | `writer` | gives the stamps and paces the records |
//! | `store` | the three stores: audit log, content database, metrics log |
//! | `health` | opens every part of the system and says which is not whole |
//! | `http` | `GET /health`, `GET /context`, `GET /generate` |
//! | `generate` | a piece of content, made and assessed |
//!
//! One thread writes one record after the other, and each is durable before the next one's stamp is given. So on
//! a system that was killed the stamps have no gap over all stores, and in a copy of it none within each store.
//! The counter goes on from the newest stamp found on disk.
//!
//! A system can also be started to answer only: it then writes nothing below its root, and takes no lock. A probe does
//! that on restored data.
//!
//! A store that is deleted or replaced under the running system is written no more, and `/health` says so: a
//! recovery must not find new lines in what it is putting down. The system is started again when its data is back.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rekindle_model::time::Clock;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::damage::check_marker;
use crate::error::FactoriaError;
use crate::optimise::Optimiser;

mod generate;
mod health;
mod http;
mod run_dir;
mod store;
mod writer;

pub use health::{ComponentHealth, Health};
pub use run_dir::Address;
use run_dir::RunDir;
pub use store::StoreHealth;
use writer::{Shared, Writer};

/// Records a second, over all three stores, where nothing else is asked for.
pub const DEFAULT_RATE: f64 = 20.0;

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The system's folder; it must carry the marker of a generated system.
    pub root: PathBuf,
    /// Where to listen; a loopback address. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// Records a second, over all three stores; above 0.
    pub rate: f64,
    /// Whether it only answers: it then writes nothing below the root, neither records nor `run/`.
    pub read_only: bool,
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
}

/// A system that runs. Dropping it ends it without ceremony; [`Serving::stop`] ends it cleanly.
#[derive(Debug)]
pub struct Serving {
    address: Address,
    socket: SocketAddr,
    stop: DropGuard,
    server: JoinHandle<()>,
    root: PathBuf,
    shared: Arc<Shared>,
    /// What writes; absent where it only answers.
    writing: Option<(Writer, RunDir)>,
}

/// What a system did while it ran.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Served {
    /// How long it ran, in seconds.
    pub seconds: f64,
    /// Records written.
    pub records: u64,
    /// Records written a second.
    pub rate: f64,
    /// HTTP requests answered.
    pub requests: u64,
    /// How each store was left.
    pub stores: std::collections::BTreeMap<String, StoreHealth>,
}

impl Serving {
    /// Starts a system; it is reachable when this returns. Needs a runtime of several threads.
    ///
    /// Stores that cannot be opened do not keep it from starting: `/health` tells them.
    ///
    /// # Errors
    /// [`FactoriaError::NotLoopback`], [`FactoriaError::NotFactoria`], [`FactoriaError::AlreadyServed`],
    /// [`FactoriaError::Bind`], and errors of writing to `run/`.
    pub async fn start(options: ServeOptions) -> Result<Self, FactoriaError> {
        let ServeOptions {
            root,
            listen,
            rate,
            read_only,
            clock,
        } = options;
        if !listen.ip().is_loopback() {
            return Err(FactoriaError::NotLoopback { address: listen });
        }
        if !read_only {
            check_marker(&root)?;
        }
        let run_dir = match read_only {
            true => None,
            false => Some(RunDir::lock(&root)?),
        };
        let optimiser = Optimiser::open(&root)?;
        let bind = |source| FactoriaError::Bind {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(bind)?;
        let socket = listener.local_addr().map_err(bind)?;
        let address = Address::new(socket, &*clock);
        let (shared, writing) = match run_dir {
            Some(run_dir) => {
                let writer = Writer::start(&root, rate, Arc::clone(&clock))?;
                run_dir.announce(&address)?;
                (writer.shared(), Some((writer, run_dir)))
            }
            None => (Arc::new(Shared::idle(Arc::clone(&clock))), None),
        };
        let stop = CancellationToken::new();
        let service = http::Service::new(root.clone(), optimiser, clock, Arc::clone(&shared));
        let server = tokio::spawn(http::serve(listener, service, stop.clone()));
        Ok(Self {
            address,
            socket,
            stop: stop.drop_guard(),
            server,
            root,
            shared,
            writing,
        })
    }

    /// Returns where it listens.
    pub fn socket(&self) -> SocketAddr {
        self.socket
    }

    /// Returns the content of `run/address`.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Ends it: requests under way are answered, the newest record is durable, the database's log is folded into
    /// it, and `run/address` is gone.
    ///
    /// # Errors
    /// Errors of closing the stores and of removing the address; [`FactoriaError::WriterEnded`].
    pub async fn stop(self) -> Result<Served, FactoriaError> {
        drop(self.stop);
        // The server first: a request that still reads the database would keep its log from being folded in.
        let _ = self.server.await;
        let Some((writer, run_dir)) = self.writing else {
            return Ok(self.shared.served());
        };
        let root = self.root;
        let ended = tokio::task::spawn_blocking(move || writer.stop()).await;
        let served = ended.unwrap_or(Err(FactoriaError::WriterEnded { root }));
        run_dir.leave()?;
        served
    }
}

/// Runs a system until `stop` or, where it is given, until `limit` has passed. `started` is told the address.
///
/// # Errors
/// Those of [`Serving::start`] and [`Serving::stop`].
pub async fn serve(
    options: ServeOptions,
    limit: Option<Duration>,
    started: impl FnOnce(&Address),
    stop: impl Future<Output = ()>,
) -> Result<Served, FactoriaError> {
    let serving = Serving::start(options).await?;
    started(serving.address());
    tokio::select! {
        () = stop => {}
        () = elapsed(limit) => {}
    }
    serving.stop().await
}

async fn elapsed(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}
