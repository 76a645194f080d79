//! Ctrl-C and SIGTERM: the first asks for a graceful stop, the second ends the process at once.
//!
//! Ending at once is as safe as a kill, which is what every run must survive anyway.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;
use crate::printer::Printer;

/// A process that has not ended by then says that it was heard.
const SOON: Duration = Duration::from_millis(300);

/// Whether somebody wants the process to stop.
#[derive(Clone, Debug)]
pub struct Signals {
    stop: CancellationToken,
}

impl Signals {
    /// Begins to listen; needs a runtime.
    pub fn listen(printer: Printer) -> Self {
        let stop = CancellationToken::new();
        let listener = stop.clone();
        if let (Ok(interrupt), Ok(terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        {
            tokio::spawn(async move { wait(printer, listener, interrupt, terminate).await });
        }
        Self { stop }
    }

    /// Returns the token that is cancelled by the first signal.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }
}

#[expect(
    clippy::exit,
    reason = "the second signal ends the process at once, whatever still runs"
)]
async fn wait(printer: Printer, stop: CancellationToken, mut interrupt: Signal, mut terminate: Signal) {
    let mut next = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    next().await;
    stop.cancel();
    // What ends at once, or only leaves others to go on, has nothing to say about it.
    if tokio::time::timeout(SOON, next()).await.is_err() {
        printer.say("stopping; again to stop at once, which is as safe");
        next().await;
    }
    std::process::exit(i32::from(Exit::Interrupted.code()));
}
