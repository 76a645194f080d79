//! The answers over HTTP without the thread that writes: nothing below the root changes, not even `run/`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use rekindle_model::time::Clock;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::http;
use super::writer::Shared;
use crate::error::FactoriaError;

/// A system that answers and writes nothing. Dropping it ends it.
#[derive(Debug)]
pub struct ReadOnly {
    socket: SocketAddr,
    stop: DropGuard,
    server: JoinHandle<()>,
}

impl ReadOnly {
    /// Returns where it listens.
    pub fn socket(&self) -> SocketAddr {
        self.socket
    }

    /// Ends it when the requests under way are answered.
    pub async fn stop(self) {
        drop(self.stop);
        // It can only fail by a defect, and then there is nothing left to end.
        let _ = self.server.await;
    }
}

/// Starts the answers on the system at `root`, on any free port of the loopback address. The root needs no marker and
/// is not locked, since nothing is written: it may be a copy, or a system that runs.
///
/// # Errors
/// [`FactoriaError::Bind`].
pub async fn read_only(root: &Path, clock: Arc<dyn Clock>) -> Result<ReadOnly, FactoriaError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bind = |source| FactoriaError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(bind)?;
    let socket = listener.local_addr().map_err(bind)?;
    let stop = CancellationToken::new();
    let shared = Arc::new(Shared::idle(Arc::clone(&clock)));
    let service = http::Service::new(root.to_owned(), clock, shared);
    let server = tokio::spawn(http::serve(listener, service, stop.clone()));
    Ok(ReadOnly {
        socket,
        stop: stop.drop_guard(),
        server,
    })
}
