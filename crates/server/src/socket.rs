//! `control.sock`, on which the owner of a workspace listens.
//!
//! The owner binds it under the workspace's lock. So an existing socket file comes from a dead owner, and the
//! new owner replaces it. A Unix socket's address holds 107 bytes, so long paths go through the folder's
//! descriptor in `/proc/self/fd`, whose path is short.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};

/// The socket's name in the workspace's folder.
pub const NAME: &str = "control.sock";

/// Why no owner can be talked to.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// There is no socket, or no process listens on it any more.
    #[error("no process listens on {}", path.display())]
    Nobody {
        /// The socket.
        path: PathBuf,
    },
    /// It belongs to another user.
    #[error("{} belongs to another user", path.display())]
    OtherUser {
        /// The socket.
        path: PathBuf,
    },
    /// The owner ended before it had sent the whole answer.
    #[error("the owner of this workspace ended while it was asked on {}", path.display())]
    BrokeOff {
        /// The socket.
        path: PathBuf,
    },
    /// A process listens and does not answer.
    #[error("the owner of this workspace does not answer on {}", path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// The machine refuses.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// The call.
        what: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A bound control socket; dropping this removes its file.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    listener: Option<UnixListener>,
}

impl ControlSocket {
    /// Binds the socket in a workspace's folder. The caller holds the workspace's lock; needs a runtime.
    ///
    /// # Errors
    /// [`Unreachable::Io`]: a file system without sockets, a full or a read-only one.
    pub fn bind(dir: &Path) -> Result<Self, Unreachable> {
        let path = dir.join(NAME);
        let failed = |what| {
            let path = path.clone();
            move |source| Unreachable::Io { what, path, source }
        };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("replace the socket")(error));
            }
            _ => {}
        }
        let short = Short::of(dir).map_err(failed("open the folder of"))?;
        let listener = UnixListener::bind(short.path()).map_err(failed("listen on"))?;
        // A client may connect before this call. The owner checks the user of every connection anyway.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed("protect"))?;
        Ok(Self {
            path,
            listener: Some(listener),
        })
    }

    /// Returns the path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the socket and returns the connections that were waiting. Removes the file first: a later
    /// client then finds no owner, and does not wait on a dead socket.
    pub(crate) fn close(&mut self) -> Vec<UnixStream> {
        let Some(listener) = self.listener.take() else {
            return Vec::new();
        };
        let _ = std::fs::remove_file(&self.path);
        let Ok(listener) = listener.into_std() else {
            return Vec::new();
        };
        // The listener does not block: when the queue is empty, `accept` fails.
        let knocked = std::iter::from_fn(|| Some(listener.accept().ok()?.0));
        knocked
            .filter_map(|stream| {
                stream.set_nonblocking(true).ok()?;
                UnixStream::from_std(stream).ok()
            })
            .filter(is_ours)
            .collect()
    }

    /// Returns the next connection of this user, or none once the socket is closed. Rejects other users.
    pub(crate) async fn accept(&self) -> Option<UnixStream> {
        loop {
            match self.listener.as_ref()?.accept().await {
                Ok((stream, _)) if is_ours(&stream) => return Some(stream),
                Ok(_) => tracing::warn!(socket = %self.path.display(), "another user was turned away"),
                Err(error) => {
                    // Most likely the process is out of descriptors. Open ones will close.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // If the file remains, the next client finds that no process listens on it.
        self.close();
    }
}

/// Connects to the owner of a workspace.
///
/// # Errors
/// [`Unreachable`].
pub async fn connect(dir: &Path) -> Result<UnixStream, Unreachable> {
    let path = dir.join(NAME);
    let short = match Short::of(dir) {
        Ok(short) => short,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unreachable::Nobody { path }),
        Err(source) => {
            return Err(Unreachable::Io {
                what: "open the folder of",
                path,
                source,
            });
        }
    };
    match UnixStream::connect(short.path()).await {
        Ok(stream) if is_ours(&stream) => Ok(stream),
        Ok(_) => Err(Unreachable::OtherUser { path }),
        Err(error) => Err(match error.kind() {
            // An owner that closes its socket resets a connection that a client is just making.
            io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Unreachable::Nobody { path },
            io::ErrorKind::PermissionDenied => Unreachable::OtherUser { path },
            // The queue of a listener that accepts no connection is full.
            io::ErrorKind::WouldBlock => Unreachable::Silent { path },
            _ => Unreachable::Io {
                what: "connect to",
                path,
                source: error,
            },
        }),
    }
}

/// Returns whether the other end runs as this user, or as root.
fn is_ours(stream: &UnixStream) -> bool {
    let us = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == us || peer.uid() == 0)
}

/// A short path to the socket in a folder, as long as this lives.
struct Short(File);

impl Short {
    fn of(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(File::from(rustix::fs::open(dir, flags, Mode::empty())?)))
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{NAME}", self.0.as_raw_fd()))
    }
}
