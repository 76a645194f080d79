//! One measurement, as a line of JSON; the programs of other engines print the same.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Outcome;

/// So many steps, done by one subject under one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// The measured program: `raw`, `sled`, `rekindle`, `rekindle-memory`, `restate`, `dbos-sqlite`,
    /// `dbos-postgres`.
    pub(crate) subject: String,
    /// How many runs were under way at once.
    pub(crate) runs: u32,
    /// How many steps each of them had.
    pub(crate) steps: u32,
    /// From the first start to the last end.
    pub(crate) seconds: f64,
    /// Half of the steps took at most so long, in microseconds.
    pub(crate) p50_us: f64,
    /// 99 of 100 steps took at most so long, in microseconds.
    pub(crate) p99_us: f64,
}

impl Figure {
    /// Returns the figure of a load and of how long each of its steps took.
    pub(crate) fn of(subject: &str, runs: u32, steps: u32, whole: Duration, each: Vec<Duration>) -> Self {
        let mut each = each;
        each.sort_unstable();
        Self {
            subject: subject.to_owned(),
            runs,
            steps,
            seconds: whole.as_secs_f64(),
            p50_us: percentile(&each, 50),
            p99_us: percentile(&each, 99),
        }
    }

    /// Returns how many steps were done in a second.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(self.runs) * f64::from(self.steps) / self.seconds
    }
}

/// Something measured of a large journal or plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scaled {
    /// What.
    pub(crate) what: String,
    /// How long it took, in milliseconds.
    pub(crate) ms: f64,
    /// How long sled alone took to open in the same round, in milliseconds, where that is part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sled_ms: Option<f64>,
    /// The most memory that the process had resident, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peak_bytes: Option<u64>,
}

/// Returns the time by the clock that measures latencies best.
#[expect(
    clippy::disallowed_methods,
    reason = "what is measured here is the machine, not a run"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Prints a measurement as a line of JSON.
pub(crate) fn print(figure: &impl Serialize) -> Outcome<()> {
    println!("{}", serde_json::to_string(figure)?);
    Ok(())
}

/// Returns the nearest-rank percentile of sorted durations, in microseconds; 0 where there are none.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    let at = sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default();
    at.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let each = (1..=200).rev().map(Duration::from_micros).collect();
        let figure = Figure::of("raw", 2, 100, Duration::from_millis(10), each);
        assert_eq!((figure.p50_us, figure.p99_us), (100.0, 198.0));
        assert_eq!(figure.rate(), 20_000.0);
    }

    #[test]
    fn nothing_measured_is_no_time() {
        assert_eq!(percentile(&[], 99), 0.0);
    }
}
