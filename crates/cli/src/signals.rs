//! Ctrl-C, SIGTERM and SIGHUP: the first asks for a graceful stop; a second Ctrl-C or SIGTERM ends the process at once.
//!
//! To end at once is as safe as a kill, and every run survives a kill. A hang-up never counts as the second signal:
//! when a connection is lost, the kernel and the shell send one each. A process that was started with SIGHUP ignored,
//! as `nohup` does, continues to ignore it.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;
use crate::printer::Printer;

/// A process that has not ended after this time says that it received the signal.
const SOON: Duration = Duration::from_millis(300);

/// Begins to listen, and returns the token that the first signal cancels. Needs a runtime.
pub fn listen(printer: Printer) -> CancellationToken {
    let stop = CancellationToken::new();
    if let (Ok(interrupt), Ok(terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    {
        let hangup = (!hangup_is_ignored())
            .then(|| signal(SignalKind::hangup()).ok())
            .flatten();
        tokio::spawn(wait(printer, stop.clone(), interrupt, terminate, hangup));
    }
    stop
}

/// Returns whether this process was started with SIGHUP ignored, from the mask `SigIgn` of /proc/self/status: bit 0 is
/// signal 1.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores_hangup(&status)
}

fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

#[expect(
    clippy::exit,
    reason = "the second signal ends the process at once, whatever still runs"
)]
async fn wait(
    printer: Printer,
    stop: CancellationToken,
    mut interrupt: Signal,
    mut terminate: Signal,
    mut hangup: Option<Signal>,
) {
    let hung_up = async {
        match &mut hangup {
            Some(hangup) => drop(hangup.recv().await),
            None => std::future::pending().await,
        }
    };
    let mut next = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::select! {
        () = next() => {}
        () = hung_up => {}
    }
    stop.cancel();
    // A process that ends at once says nothing.
    if tokio::time::timeout(SOON, next()).await.is_err() {
        printer.say("stopping; again to stop at once, which is as safe");
        next().await;
    }
    std::process::exit(i32::from(Exit::Interrupted.code()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_up_that_was_to_be_ignored_is() {
        for (status, expect) in [
            ("Name:\trekindle\nSigIgn:\t0000000000001001\nSigCgt:\t0\n", true),
            ("SigIgn:\t0000000000001000\n", false),
            ("SigCgt:\t0000000000000001\n", false),
            ("", false),
        ] {
            assert_eq!(ignores_hangup(status), expect, "{status:?}");
        }
    }
}
