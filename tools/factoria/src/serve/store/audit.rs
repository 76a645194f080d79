//! The audit log of a running system: each line tells what the content database recorded last, and every 64th is
//! signed.

use std::io::Write;
use std::path::Path;
use std::sync::PoisonError;

use super::log::Log;
use super::{Act, Store, Turn};
use crate::audit::{Checkpoint, claims, follows, seal, signature};
use crate::error::FactoriaError;
use crate::layout::{AUDIT_CHECKPOINT, AUDIT_LOG};
use crate::probe::document;
use crate::signing::{AUDIT_SIGNING, Signer};
use crate::stamps::Numbers;

/// Why a log that lacks its end is not continued.
const SHORT: &str = "it ends before its checkpoint";

/// The audit log, open at its end.
pub(in crate::serve) struct AuditStore {
    log: Log,
    last: Checkpoint,
    signer: Signer,
    newest: Option<u64>,
}

impl AuditStore {
    /// Opens the log of the system at `root` and finds its last line.
    pub(in crate::serve) fn open(root: &Path) -> Result<Self, FactoriaError> {
        let genesis = Checkpoint::genesis();
        // Without its key the log would go on without signatures, as a forged one does.
        let signer = Signer::read(root, AUDIT_SIGNING)?;
        // The checkpoint says what must be there. Going on from less would bury the loss under new lines.
        let anchor: Option<Checkpoint> =
            document(&root.join(AUDIT_CHECKPOINT)).and_then(|document| serde_json::from_value(document).ok());
        let short = |last: &Checkpoint| anchor.as_ref().is_some_and(|anchor| anchor.seq > last.seq);
        let (log, line) = Log::open(&root.join(AUDIT_LOG), |last, rest| {
            let before = last.map_or(Some(genesis.clone()), claims);
            let whole = before.as_ref().and_then(|before| follows(before, rest));
            match whole.as_ref().or(before.as_ref()) {
                Some(end) if short(end) => Err(SHORT),
                _ => Ok(whole.is_some()),
            }
        })?;
        let last = match line.as_deref() {
            None => genesis,
            Some(line) => {
                claims(line).ok_or_else(|| log.unsound("its last line is no line of an audit log"))?
            }
        };
        if short(&last) {
            return Err(log.unsound(SHORT));
        }
        let newest = line
            .and_then(|line| Numbers::of_line(&line))
            .and_then(|line| line.stamp);
        Ok(Self {
            log,
            last,
            signer,
            newest,
        })
    }
}

impl Store for AuditStore {
    fn newest(&self) -> Option<u64> {
        self.newest
    }

    fn append(&mut self, turn: &Turn<'_>) -> Result<(), FactoriaError> {
        let act = turn
            .live
            .act
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Act {
            role,
            user,
            action,
            note,
        } = act.unwrap_or_else(|| Act {
            role: "administrator",
            user: 0,
            action: "configure",
            note: "the system started".to_owned(),
        });
        let seq = self.last.seq + 1;
        let mut line = Vec::new();
        // Writing to memory does not fail.
        let _ = write!(
            line,
            "{{\"seq\":{seq},\"stamp\":{},\"at\":\"{}\",\"actor\":\"{role}:{user}\",\"action\":\"{action}\",\"outcome\":\"allowed\",\"note\":\"{note}\"{}",
            turn.stamp,
            turn.at,
            signature(&self.signer, seq, &self.last),
        );
        let hash = seal(&mut line, 0, &self.last.hash);
        self.log.append(&line)?;
        self.last = Checkpoint { seq, hash };
        self.newest = Some(turn.stamp);
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), FactoriaError> {
        Ok(())
    }
}
