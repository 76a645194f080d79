//! Stamps and clocks. `now` is passed in everywhere; only [`SystemClock`] reads the machine.
//!
//! A stamp carries wall time for people and CLOCK_BOOTTIME for durations. Two stamps of one boot give an
//! exact duration even when the wall clock jumped in between; across boots only wall time is left, and
//! [`Stamp::since`] says so.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One instant, on the wall and since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Wall time.
    pub utc: DateTime<Utc>,
    /// Nanoseconds of CLOCK_BOOTTIME, which also counts while the machine is suspended.
    pub boot_ns: u64,
    /// The boot that `boot_ns` counts from (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: Uuid,
}

/// Time between two stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    /// How long it was; zero where the later stamp shows an earlier wall time.
    pub duration: Duration,
    /// Whether it rests on wall time across a reboot, so that a changed clock would falsify it.
    pub clock_uncertain: bool,
}

impl Stamp {
    /// Returns the time from `earlier` to this stamp: by CLOCK_BOOTTIME within one boot, else by wall time.
    pub fn since(&self, earlier: &Stamp) -> Elapsed {
        if self.boot_id == earlier.boot_id {
            let nanos = self.boot_ns.saturating_sub(earlier.boot_ns);
            return Elapsed {
                duration: Duration::from_nanos(nanos),
                clock_uncertain: false,
            };
        }
        let duration = (self.utc - earlier.utc).to_std().unwrap_or(Duration::ZERO);
        Elapsed {
            duration,
            clock_uncertain: true,
        }
    }

    /// Returns whether the wall clock was set between `earlier` and this stamp, so that the difference of their wall
    /// times says nothing. Across boots that does not show.
    pub fn was_set_since(&self, earlier: &Stamp) -> bool {
        if self.boot_id != earlier.boot_id {
            return false;
        }
        let passed = Duration::from_nanos(self.boot_ns.abs_diff(earlier.boot_ns));
        let passed_signed = chrono::TimeDelta::from_std(passed).unwrap_or(chrono::TimeDelta::MAX);
        let shown = match self.boot_ns >= earlier.boot_ns {
            true => self.utc - earlier.utc,
            false => earlier.utc - self.utc,
        };
        (shown - passed_signed).abs().to_std().unwrap_or(Duration::MAX) > STEPPED + passed / SLEWED
    }
}

/// How far wall time and CLOCK_BOOTTIME may differ over a period although no clock was set: some seconds of steps by a
/// time service …
const STEPPED: Duration = Duration::from_secs(2);
/// … and a thousandth of the period: a clock is slewed by at most 500 ppm.
const SLEWED: u32 = 1000;

/// Where `now` comes from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Returns the present instant.
    fn now(&self) -> Stamp;
}

/// The machine's own clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the wall clock"
    )]
    fn now(&self) -> Stamp {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(boot.tv_nsec).unwrap_or(0);
        Stamp {
            utc: Utc::now(),
            boot_ns: seconds * 1_000_000_000 + nanos,
            boot_id: boot_id(),
        }
    }
}

/// Returns this boot's id, read once; a machine that has none gets an id of this process, so that stamps
/// of two processes there are never taken for one boot.
pub fn boot_id() -> Uuid {
    static BOOT_ID: OnceLock<Uuid> = OnceLock::new();
    *BOOT_ID.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()
            .and_then(|text| Uuid::parse_str(text.trim()).ok())
            .unwrap_or_else(Uuid::new_v4)
    })
}

/// A clock that only a test advances, for timers and retention.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Stamp>>);

impl ManualClock {
    /// Returns a clock that shows `utc` in a boot of its own.
    pub fn at(utc: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(Stamp {
            utc,
            boot_ns: 0,
            boot_id: Uuid::nil(),
        })))
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        let mut stamp = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        stamp.utc += by;
        stamp.boot_ns += u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Stamp {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Returns an instant in the form for people: UTC, to the second.
pub fn show(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Returns an instant for a table whose heading names UTC: `2026-11-29 18:38:10`.
pub fn in_utc(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_jumps_back_does_not_change_a_duration_within_one_boot() {
        let start = SystemClock.now();
        let later = Stamp {
            utc: start.utc - Duration::from_secs(86_400),
            boot_ns: start.boot_ns + 5_000,
            ..start
        };
        assert_eq!(
            later.since(&start),
            Elapsed {
                duration: Duration::from_nanos(5_000),
                clock_uncertain: false
            }
        );
    }

    #[test]
    fn a_clock_that_was_set_shows_within_a_boot_and_one_that_is_slewed_is_none() {
        let start = SystemClock.now();
        let hour = Duration::from_secs(3600);
        let later = |shown: chrono::TimeDelta| Stamp {
            utc: start.utc + shown,
            boot_ns: start.boot_ns + 3_600_000_000_000,
            ..start
        };
        let true_hour = chrono::TimeDelta::from_std(hour).unwrap();
        let (second, day) = (chrono::TimeDelta::seconds(1), chrono::TimeDelta::days(1));
        for fine in [true_hour, true_hour + second, true_hour - second * 5] {
            assert!(!later(fine).was_set_since(&start), "{fine}");
            assert!(!start.was_set_since(&later(fine)), "{fine}");
        }
        for set in [true_hour + day, true_hour - day, true_hour + second * 10] {
            assert!(later(set).was_set_since(&start), "{set}");
            assert!(start.was_set_since(&later(set)), "{set}");
        }
        let booted = Stamp {
            boot_id: Uuid::from_u128(7),
            ..later(day)
        };
        assert!(!booted.was_set_since(&start));
    }

    #[test]
    fn across_boots_a_duration_is_uncertain_and_never_negative() {
        let start = SystemClock.now();
        let other = Stamp {
            utc: start.utc - Duration::from_secs(9),
            boot_ns: 0,
            boot_id: Uuid::nil(),
        };
        assert_eq!(
            other.since(&start),
            Elapsed {
                duration: Duration::ZERO,
                clock_uncertain: true
            }
        );
    }
}
