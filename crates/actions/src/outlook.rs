//! Whether a component's recovery will meet its RTO: a forecast from the throughput of the step that restores it.
//!
//! ```text
//!   disaster        attempt began          now                 forecast    RTO
//!   ───┼──────────────────┼─────────────────┼──────────────────────┼────────┼──►
//!                         └── bytes so far ─┘└─ the rest, as fast ─┘
//! ```
//! The step's checkpoint journals each change for the worse. So the warning is there before the miss.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_engine::StepContext;
use rekindle_model::time::Stamp;
use serde::{Deserialize, Serialize};

use crate::site::Site;

/// What a checkpoint says about the RTO of its component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Objective {
    /// The component.
    pub(crate) component: String,
    /// The time from the disaster to the end of the restore, as far as can be told now, in seconds.
    pub(crate) forecast_seconds: f64,
    /// The RTO, in seconds.
    pub(crate) target_seconds: f64,
    /// Whether the RTO has passed already.
    pub(crate) missed: bool,
}

/// Whether an RTO will be met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum RtoState {
    #[default]
    OnTrack,
    AtRisk,
    Missed,
}

/// Watches the RTO of one component during one attempt.
pub(crate) struct Outlook {
    component: String,
    rto: Duration,
    /// Time between the disaster and the beginning of the attempt.
    before: Duration,
    began: Stamp,
    /// Bytes that were there when the attempt began; known from its first report.
    first: Option<(u64, Stamp)>,
    state: RtoState,
}

impl Outlook {
    /// Returns the outlook of a component's recovery; none if the component has no RTO.
    pub(crate) fn of(site: &Site, cx: &StepContext, name: &str) -> Option<Self> {
        // Nothing is down while copies are proven in a sandbox.
        if site.sandbox().is_some() {
            return None;
        }
        let component = site.system().components.get(name)?;
        let began = site.clock().now();
        let struck = cx.disaster_at.or_else(|| cx.run.created())?;
        Some(Self::new(name, site.system().rto(component)?, struck, began))
    }

    /// Waits until the RTO has passed, and returns what to journal then.
    pub(crate) async fn missed(mut self) -> Objective {
        tokio::time::sleep(self.rto.saturating_sub(self.before)).await;
        self.state = RtoState::Missed;
        self.objective(self.rto)
    }

    fn objective(&self, forecast: Duration) -> Objective {
        Objective {
            component: self.component.clone(),
            forecast_seconds: forecast.as_secs_f64(),
            target_seconds: self.rto.as_secs_f64(),
            missed: self.state == RtoState::Missed,
        }
    }

    fn new(name: &str, rto: Duration, struck: DateTime<Utc>, began: Stamp) -> Self {
        Self {
            component: name.to_owned(),
            rto,
            // A clock that was set in between may place the disaster after now.
            before: (began.utc - struck).to_std().unwrap_or_default(),
            began,
            first: None,
            state: RtoState::OnTrack,
        }
    }

    /// Takes how far the attempt is, and returns what to journal if that is worse than before.
    pub(crate) fn progressed(&mut self, now: &Stamp, done: u64, total: u64) -> Option<Objective> {
        let elapsed = self.before + now.since(&self.began).duration;
        let (first, since) = self.first.get_or_insert((done, *now));
        let (moved, took) = (done.saturating_sub(*first), now.since(since).duration);
        let left = match moved {
            0 => Duration::ZERO,
            moved => {
                let left = took.as_secs_f64() * ratio(total.saturating_sub(done), moved);
                // A snapshot may claim any size.
                Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX)
            }
        };
        let forecast = elapsed.saturating_add(left);
        let state = match () {
            () if elapsed > self.rto => RtoState::Missed,
            () if forecast > self.rto => RtoState::AtRisk,
            () => RtoState::OnTrack,
        };
        if state <= self.state {
            return None;
        }
        self.state = state;
        Some(self.objective(forecast))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a forecast needs no exact bytes")]
fn ratio(part: u64, of: u64) -> f64 {
    part as f64 / of as f64
}

#[cfg(test)]
mod tests {
    use rekindle_model::time::{Clock, ManualClock};

    use super::*;

    #[test]
    fn a_size_that_no_disk_has_is_a_long_forecast_and_no_panic() {
        let clock = ManualClock::at(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let mut outlook = Outlook::new("a", Duration::from_secs(60), clock.now().utc, clock.now());
        assert_eq!(outlook.progressed(&clock.now(), 0, u64::MAX), None);
        clock.advance(Duration::from_secs(30));
        let warned = outlook.progressed(&clock.now(), 1, u64::MAX).unwrap();
        assert!(!warned.missed && warned.forecast_seconds > 1e19);
    }

    #[test]
    fn a_slow_restore_warns_before_its_rto_and_when_it_has_passed() {
        let clock = ManualClock::at(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let struck = clock.now().utc - chrono::Duration::seconds(20);
        let mut outlook = Outlook::new("orders", Duration::from_secs(60), struck, clock.now());
        let mut after = |seconds, done| {
            clock.advance(Duration::from_secs(seconds));
            outlook.progressed(&clock.now(), done, 1000)
        };
        assert_eq!(after(1, 0), None, "nothing has moved yet");
        // 100 bytes in 3 s: the rest takes 27 s, and 24 s have passed.
        assert_eq!(after(3, 100), None);
        // 150 bytes in 6 s: the rest takes 34 s, and 27 s have passed.
        let warned = after(3, 150).unwrap();
        assert_eq!((warned.missed, warned.target_seconds), (false, 60.0));
        assert!((warned.forecast_seconds - 61.0).abs() < 0.1, "{warned:?}");
        assert_eq!(after(1, 160), None, "it warns once");
        assert!(after(40, 300).unwrap().missed);
        assert_eq!(after(1, 300), None);
    }
}
