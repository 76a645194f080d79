//! Asks a system on this machine over HTTP/1.1.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The longest answer that is read, in bytes.
const ANSWER_BYTES: usize = 16 << 20;

/// A connection; one request at a time goes over it.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Body>,
    host: String,
}

/// Why there is no answer. People read it as the reason of another error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be written: {0}")]
    Target(#[from] hyper::http::Error),
    #[error("the answer cannot be read: {0}")]
    Body(#[from] axum::Error),
    #[error("no answer after {} s", .0.as_secs())]
    Late(Duration),
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, ClientError> {
        let stream = TcpStream::connect(address).await?;
        // Without it, a small request may wait for the acknowledgement of the one before.
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with the sender, whose requests are told every error.
        tokio::spawn(connection);
        let host = address.to_string();
        Ok(Self { sender, host })
    }

    /// Asks for a target and returns status and body.
    pub(crate) async fn get(
        &mut self,
        target: &str,
        patience: Duration,
    ) -> Result<(u16, Vec<u8>), ClientError> {
        let request = Request::get(target)
            .header("host", &self.host)
            .body(Body::empty())?;
        let answer = async {
            self.sender.ready().await?;
            let answer = self.sender.send_request(request).await?;
            let status = answer.status().as_u16();
            Ok((status, read(answer.into_body()).await?))
        };
        match tokio::time::timeout(patience, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Late(patience)),
        }
    }
}

async fn read(body: Incoming) -> Result<Vec<u8>, ClientError> {
    Ok(axum::body::to_bytes(Body::new(body), ANSWER_BYTES).await?.into())
}
