//! The metrics log of a running system: what it counts and measures of itself, one value a line.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::log::Log;
use super::{Live, Store, Turn};
use crate::error::FactoriaError;
use crate::layout::METRICS_LOG;
use crate::stamps::Numbers;

/// The metrics log, open at its end.
pub(in crate::serve) struct MetricsStore {
    log: Log,
    seq: u64,
    newest: Option<u64>,
}

impl MetricsStore {
    /// Opens the log of the system at `root` and finds its last line.
    pub(in crate::serve) fn open(root: &Path) -> Result<Self, FactoriaError> {
        let (log, line) = Log::open(&root.join(METRICS_LOG), |last, rest| {
            let before = last.map_or(Some(0), |last| Numbers::of_line(last).map(|line| line.seq));
            let seq = Numbers::of_line(rest).map(|line| line.seq);
            Ok(before.is_some_and(|before| seq == before.checked_add(1)))
        })?;
        let (seq, newest) = match line {
            None => (0, None),
            Some(line) => {
                let line = Numbers::of_line(&line)
                    .ok_or_else(|| log.unsound("its last line is no line of a metrics log"))?;
                (line.seq, line.stamp)
            }
        };
        Ok(Self { log, seq, newest })
    }
}

impl Store for MetricsStore {
    fn newest(&self) -> Option<u64> {
        self.newest
    }

    fn append(&mut self, turn: &Turn<'_>) -> Result<(), FactoriaError> {
        let seq = self.seq + 1;
        let (metric, value) = measured(seq, turn.live);
        let line = format!(
            "{{\"seq\":{seq},\"stamp\":{},\"at\":\"{}\",\"metric\":\"{metric}\",\"value\":{value}}}\n",
            turn.stamp, turn.at
        );
        self.log.append(line.as_bytes())?;
        self.seq = seq;
        self.newest = Some(turn.stamp);
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), FactoriaError> {
        Ok(())
    }
}

/// Returns one of the measures, each in its turn. A context that was never loaded has no time to tell.
fn measured(turn: u64, live: &Live) -> (&'static str, f64) {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    match turn % 5 {
        0 => ("requests", count(&live.requests)),
        1 => ("items_generated", count(&live.items)),
        2 => ("queue_length", count(&live.behind)),
        3 if live.context_us.load(Ordering::Relaxed) > 0 => {
            ("context_load_ms", count(&live.context_us) / 1e3)
        }
        _ => ("write_ms", count(&live.write_us) / 1e3),
    }
}
