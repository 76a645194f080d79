//! Whether a recovery will meet its RTOs: a forecast from the pace of its restores.
//!
//! ```text
//!   disaster      first restore          now                     forecast      RTO
//!   ───┼────────────────┼─────────────────┼──────────────────────────┼──────────┼──►
//!      └──── elapsed ───┴─────────────────┘└─ what is left, as fast ─┘
//!                       └── bytes so far ─┘
//! ```
//! A restore at work goes on at its own pace. One that waits comes after all that are at work and all that wait before it,
//! at the pace of the whole run.

use std::time::Duration;

/// A pace that was measured for less time says little about the rest.
const MEASURED: Duration = Duration::from_secs(1);

/// Bytes that were moved, and the time that this took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// The bytes.
    pub bytes: u64,
    /// The time.
    pub took: Duration,
}

impl Pace {
    /// Returns how long so many bytes take; none if nothing was moved yet, or for too short a time.
    #[expect(clippy::cast_precision_loss, reason = "a forecast needs no exact bytes")]
    fn time_for(self, bytes: u64) -> Option<Duration> {
        if self.bytes == 0 || self.took < MEASURED {
            return None;
        }
        let seconds = self.took.as_secs_f64() * (bytes as f64 / self.bytes as f64);
        // A snapshot may claim any size.
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}

/// How far the restore of a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restoring {
    /// It has not begun.
    Waits,
    /// It is at work, at a pace of its own.
    Runs {
        /// The bytes that it has still to restore.
        left: u64,
        /// Its pace.
        pace: Pace,
    },
    /// It has ended, well or not.
    Over,
}

/// A component of a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub component: String,
    /// The bytes of its snapshot.
    pub bytes: u64,
    /// How far its restore is.
    pub restoring: Restoring,
}

/// When a recovery will be over, counted from the disaster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Each component's, in the order of the parts; none if its restore is over, or nothing tells.
    pub components: Vec<Option<Duration>>,
    /// That of all restores.
    pub whole: Option<Duration>,
}

/// Forecasts when each part is restored. The parts are in the order in which they begin; `elapsed` is the time since the
/// disaster, `pace` that of the whole run.
pub fn forecast(parts: &[Part], elapsed: Duration, pace: Pace) -> Forecast {
    let at_work: u64 = parts.iter().fold(0, |sum, part| match part.restoring {
        Restoring::Runs { left, .. } => sum.saturating_add(left),
        Restoring::Waits | Restoring::Over => sum,
    });
    let mut queue = at_work;
    let components: Vec<Option<Duration>> = parts
        .iter()
        .map(|part| {
            let left = match part.restoring {
                Restoring::Over => None,
                Restoring::Runs { left, pace } => pace.time_for(left),
                Restoring::Waits => {
                    queue = queue.saturating_add(part.bytes);
                    pace.time_for(queue)
                }
            };
            left.map(|left| elapsed.saturating_add(left))
        })
        .collect();
    let all_known = parts
        .iter()
        .zip(&components)
        .all(|(part, of_it)| part.restoring == Restoring::Over || of_it.is_some());
    let whole = components.iter().flatten().max().copied();
    Forecast {
        whole: whole.filter(|_| all_known),
        components,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(component: &str, bytes: u64, restoring: Restoring) -> Part {
        Part {
            component: component.to_owned(),
            bytes,
            restoring,
        }
    }

    fn pace(bytes: u64, seconds: u64) -> Pace {
        let took = Duration::from_secs(seconds);
        Pace { bytes, took }
    }

    fn seconds(forecast: &Forecast) -> (Vec<Option<u64>>, Option<u64>) {
        let of = |it: &Option<Duration>| it.map(|it| it.as_secs());
        (forecast.components.iter().map(of).collect(), of(&forecast.whole))
    }

    #[test]
    fn one_that_waits_comes_after_those_at_work_and_those_before_it() {
        let runs = |left, pace| Restoring::Runs { left, pace };
        let parts = [
            part("over", 500, Restoring::Over),
            part("fast", 100, runs(50, pace(50, 1))),
            part("slow", 100, runs(90, pace(10, 2))),
            part("next", 60, Restoring::Waits),
            part("last", 100, Restoring::Waits),
        ];
        let found = forecast(&parts, Duration::from_secs(20), pace(60, 2));
        // At 30 bytes a second: 140 are at work, then 60, then 100.
        let expected = vec![None, Some(21), Some(38), Some(26), Some(30)];
        assert_eq!(seconds(&found), (expected, Some(38)));
    }

    #[test]
    fn nothing_is_forecast_from_a_pace_that_was_hardly_measured() {
        let parts = [part("a", 100, Restoring::Waits)];
        let hardly = Pace {
            bytes: 10,
            took: Duration::from_millis(999),
        };
        for pace in [Pace::default(), hardly, pace(0, 60)] {
            let found = forecast(&parts, Duration::from_secs(1), pace);
            assert_eq!(seconds(&found), (vec![None], None));
        }
        let over = [part("a", 100, Restoring::Over)];
        assert_eq!(forecast(&over, Duration::ZERO, pace(1, 1)).whole, None);
    }

    #[test]
    fn a_size_that_no_disk_has_is_a_long_forecast_and_no_panic() {
        let parts = [
            part("a", u64::MAX, Restoring::Waits),
            part("b", u64::MAX, Restoring::Waits),
        ];
        let found = forecast(&parts, Duration::from_secs(1), pace(1, 3600));
        assert!(found.whole > Some(Duration::from_secs(u64::MAX / 4)));
    }
}
