//! The protected system, running: `factoria serve` as a child of the demo, which ends with it in any case.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rekindle_actions::{Answer, ask_health};
use rekindle_factoria::serve::Address;
use rekindle_factoria::{StoreMark, watermark};
use rekindle_model::system::System;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::child::{Stage, broken, interrupted};
use crate::Shown;
use crate::factoria;
use rekindle_workspace::Error;

/// How many records a second it writes: quick enough that there are some before, while and after it is backed up.
const RATE: &str = "200";
/// How long it may take to write the next few records. A machine on which one takes seconds protects nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often is looked whether it has.
const PAUSE: Duration = Duration::from_millis(10);

/// How far each store reaches.
pub(super) type Reach = std::collections::BTreeMap<String, StoreMark>;

/// The system, while it runs.
pub(super) struct Service {
    /// It ends when its stdin is closed: by a drop of this, or by the end of the demo, whatever that was.
    child: Child,
    /// Where it listens, and its process.
    pub(super) address: Address,
    root: PathBuf,
}

impl Stage<'_> {
    /// Starts the system at `root`; it is reachable when this returns.
    pub(super) async fn serve(&self, root: &Path) -> Result<Service, Error> {
        let failed = |error: std::io::Error| Error::io("start the system", &error);
        let mut child = Command::new(&self.app.application.executable)
            .args([
                "--json",
                "factoria",
                "serve",
                "--rate",
                RATE,
                "--until-eof",
                "--root",
            ])
            .arg(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| failed(std::io::Error::other("no stdout")))?;
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next_line().await.map_err(failed)?.unwrap_or_default();
        let address = serde_json::from_str(&first).map_err(|_| {
            broken("the system did not start").with_advice(format!(
                "try it by hand: rekindle factoria serve --root {}",
                root.display()
            ))
        })?;
        // The demo does not need its last line, but the system would fail to write it into a full or closed pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Service {
            child,
            address,
            root: root.to_owned(),
        })
    }
}

impl Service {
    /// Returns an error unless all the system's health URLs answer that it is whole.
    pub(super) async fn is_healthy(&self, system: &System) -> Result<(), Error> {
        for health in &system.health {
            let answer = ask_health(&self.root, health).await;
            if !matches!(answer, Answer::Answered { status: 200, .. }) {
                return Err(broken(format!("the system is not healthy: {answer:?}"))
                    .with_advice(format!("it says more: {}/health", self.address.listening)));
            }
        }
        Ok(())
    }

    /// Waits until each store has some newer records than `since`, and returns how far they reach then.
    pub(super) async fn writes_on(&self, app: Shown<'_>, since: &Reach) -> Result<Reach, Error> {
        let begun = app.application.clock.now();
        loop {
            let reach = watermark(&self.root).map_err(factoria::error)?;
            let newer = |(store, mark): (&String, &StoreMark)| {
                mark.newest > since.get(store).and_then(|before| before.newest)
            };
            if reach.iter().all(newer) {
                return Ok(reach);
            }
            if app.application.clock.now().since(&begun).duration > PATIENCE {
                return Err(broken("the system runs and writes nothing")
                    .with_advice(format!("it says why: {}/health", self.address.listening)));
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = app.application.stop.cancelled() => return Err(interrupted()),
            }
        }
    }

    /// Ends it by SIGKILL, as a disaster does.
    pub(super) async fn kill(mut self) -> Result<(), Error> {
        self.child
            .kill()
            .await
            .map_err(|error| Error::io("kill the system", &error))
    }

    /// Ends it in good order.
    pub(super) async fn stop(mut self) -> Result<(), Error> {
        let failed = |error: std::io::Error| Error::io("stop the system", &error);
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).map_err(|error| failed(error.into()))?;
        }
        let ended: ExitStatus = self.child.wait().await.map_err(failed)?;
        match ended.success() {
            true => Ok(()),
            false => Err(broken(format!("the system ended with {ended}"))
                .with_advice("keep what it left: rekindle demo --keep DIR")),
        }
    }
}
