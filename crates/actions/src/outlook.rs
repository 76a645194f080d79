//! Whether a recovery will meet its RTOs, while it restores.
//!
//! Each restore tells the run's [`Outlook`] how far it is, and journals in its checkpoint what now stands worse than before:
//! its own component, one that still waits, or the whole. So the warning is there before the miss.
//! [`rekindle_model::burndown`] has the forecast.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_model::burndown::{Pace, Part, Restoring, forecast};
use rekindle_model::time::Stamp;
use serde::{Deserialize, Serialize};

/// What a checkpoint says about an RTO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Objective {
    /// The component; none for the recovery as a whole.
    pub(crate) component: Option<String>,
    /// The time from the disaster to the end of the restore, as far as can be told now, in seconds.
    pub(crate) forecast_seconds: f64,
    /// The RTO, in seconds.
    pub(crate) target_seconds: f64,
    /// Whether the RTO has passed already.
    pub(crate) missed: bool,
}

impl Objective {
    pub(crate) fn new(component: Option<&str>, forecast: Duration, rto: Duration, missed: bool) -> Self {
        Self {
            component: component.map(str::to_owned),
            forecast_seconds: forecast.as_secs_f64(),
            target_seconds: rto.as_secs_f64(),
            missed,
        }
    }
}

/// Whether an RTO will be met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum RtoState {
    #[default]
    OnTrack,
    AtRisk,
    Missed,
}

/// How the restores of a run stand.
#[derive(Debug)]
pub(crate) struct Outlook {
    /// The time between the disaster and `began`.
    before: Duration,
    /// When this process began to restore.
    began: Stamp,
    /// In the order in which they begin.
    components: Vec<Row>,
    /// The RTO of all of them.
    rto: Option<Duration>,
    state: RtoState,
}

/// One component.
#[derive(Debug)]
pub(crate) struct Row {
    name: String,
    bytes: u64,
    rto: Option<Duration>,
    state: RtoState,
    at: At,
}

#[derive(Debug)]
enum At {
    Waits,
    /// An attempt is at work.
    Runs {
        /// The bytes that were there at its first report, and when that was; none before it.
        first: Option<(u64, Stamp)>,
        done: u64,
    },
    /// With the bytes that this process has restored.
    Over {
        moved: u64,
    },
}

impl Outlook {
    pub(crate) fn new(
        struck: DateTime<Utc>,
        now: Stamp,
        components: Vec<Row>,
        rto: Option<Duration>,
    ) -> Self {
        Self {
            before: since(struck, &now),
            began: now,
            components,
            rto,
            state: RtoState::OnTrack,
        }
    }

    /// Takes note that an attempt to restore a component begins.
    pub(crate) fn begin(&mut self, name: &str, bytes: u64, rto: Option<Duration>) {
        let at = At::Runs { first: None, done: 0 };
        match self.components.iter_mut().find(|row| row.name == name) {
            Some(row) => row.at = at,
            None => {
                let row = Row::new(name, bytes, rto);
                self.components.push(Row { at, ..row });
            }
        }
    }

    /// Takes note that an attempt to restore a component has ended, well or not.
    pub(crate) fn ended(&mut self, name: &str) {
        if let Some(row) = self.components.iter_mut().find(|row| row.name == name) {
            row.at = At::Over { moved: row.moved() };
        }
    }

    /// Takes how far a restore is, and returns what now stands worse than before.
    pub(crate) fn progressed(&mut self, name: &str, now: &Stamp, done: u64) -> Vec<Objective> {
        if let Some(row) = self.components.iter_mut().find(|row| row.name == name)
            && let At::Runs { first, done: so_far } = &mut row.at
        {
            first.get_or_insert((done, *now));
            *so_far = done;
        }
        let run = now.since(&self.began).duration;
        let elapsed = self.before.saturating_add(run);
        let pace = Pace {
            bytes: self
                .components
                .iter()
                .map(Row::moved)
                .fold(0, u64::saturating_add),
            took: run,
        };
        let parts: Vec<Part> = self.components.iter().map(|row| row.part(now)).collect();
        let found = forecast(&parts, elapsed, pace);
        let mut worse = Vec::new();
        for (row, ends) in self.components.iter_mut().zip(found.components) {
            if !matches!(row.at, At::Over { .. }) {
                let name = Some(row.name.as_str());
                worse.extend(judge(name, &mut row.state, row.rto, elapsed, ends));
            }
        }
        worse.extend(judge(None, &mut self.state, self.rto, elapsed, found.whole));
        worse
    }
}

impl Row {
    pub(crate) fn new(name: &str, bytes: u64, rto: Option<Duration>) -> Self {
        Self {
            name: name.to_owned(),
            bytes,
            rto,
            state: RtoState::OnTrack,
            at: At::Waits,
        }
    }

    /// Returns the row of a component that an earlier process has restored.
    pub(crate) fn over(self) -> Self {
        Self {
            at: At::Over { moved: 0 },
            ..self
        }
    }

    /// Returns the bytes that this process has restored.
    fn moved(&self) -> u64 {
        match self.at {
            At::Waits | At::Runs { first: None, .. } => 0,
            At::Runs {
                first: Some((first, _)),
                done,
            } => done.saturating_sub(first),
            At::Over { moved } => moved,
        }
    }

    fn part(&self, now: &Stamp) -> Part {
        let restoring = match self.at {
            At::Waits => Restoring::Waits,
            At::Over { .. } => Restoring::Over,
            At::Runs { first, done } => Restoring::Runs {
                left: self.bytes.saturating_sub(done),
                pace: Pace {
                    bytes: self.moved(),
                    took: first.map_or(Duration::ZERO, |(_, since)| now.since(&since).duration),
                },
            },
        };
        Part {
            component: self.name.clone(),
            bytes: self.bytes,
            restoring,
        }
    }
}

/// Returns what to journal about an RTO, if it stands worse than before.
fn judge(
    component: Option<&str>,
    state: &mut RtoState,
    rto: Option<Duration>,
    elapsed: Duration,
    ends: Option<Duration>,
) -> Option<Objective> {
    let rto = rto?;
    let ends = ends.unwrap_or(elapsed);
    let now = match () {
        () if elapsed > rto => RtoState::Missed,
        () if ends > rto => RtoState::AtRisk,
        () => RtoState::OnTrack,
    };
    let worse = now > *state;
    *state = now.max(*state);
    worse.then(|| Objective::new(component, ends, rto, now == RtoState::Missed))
}

/// A clock that was set in between may place the disaster after now.
pub(crate) fn since(struck: DateTime<Utc>, now: &Stamp) -> Duration {
    (now.utc - struck).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rekindle_model::time::{Clock, ManualClock};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Returns an outlook 20 s after the disaster, at the start of the restore of `orders`. It has 1,000 bytes and an RTO
    /// of a minute; what the others have is given.
    fn outlook(clock: &ManualClock, waiting: &[(&str, u64, Duration)], rto: Option<Duration>) -> Outlook {
        let struck = clock.now().utc - chrono::Duration::seconds(20);
        let orders = Row::new("orders", 1000, Some(MINUTE));
        let waiting = waiting
            .iter()
            .map(|(name, bytes, rto)| Row::new(name, *bytes, Some(*rto)));
        let rows = std::iter::once(orders).chain(waiting).collect();
        let mut outlook = Outlook::new(struck, clock.now(), rows, rto);
        outlook.begin("orders", 1000, None);
        outlook
    }

    fn clock() -> ManualClock {
        ManualClock::at(DateTime::from_timestamp(1_800_000_000, 0).unwrap())
    }

    fn names(worse: &[Objective]) -> Vec<(String, bool)> {
        let name = |it: &'_ Objective| it.component.clone().unwrap_or_else(|| "all".to_owned());
        worse.iter().map(|it| (name(it), it.missed)).collect()
    }

    #[test]
    fn a_slow_restore_warns_before_its_rto_and_when_it_has_passed() {
        let clock = clock();
        let mut outlook = outlook(&clock, &[], None);
        let mut after = |seconds, done| {
            clock.advance(Duration::from_secs(seconds));
            outlook.progressed("orders", &clock.now(), done)
        };
        assert_eq!(after(1, 0), [], "nothing has moved yet");
        // 100 bytes in 3 s: the rest takes 27 s, and 24 s have passed.
        assert_eq!(after(3, 100), []);
        // 150 bytes in 6 s: the rest takes 34 s, and 27 s have passed.
        let warned = after(3, 150);
        assert_eq!(names(&warned), [("orders".to_owned(), false)]);
        assert!(
            (warned[0].forecast_seconds - 61.0).abs() < 0.1 && (warned[0].target_seconds - 60.0).abs() < 0.1,
            "{warned:?}"
        );
        assert_eq!(after(1, 160), [], "it warns once");
        assert_eq!(names(&after(40, 300)), [("orders".to_owned(), true)]);
        assert_eq!(after(1, 300), []);
    }

    #[test]
    fn components_that_wait_and_the_whole_are_warned_of_before_their_restores_begin() {
        let clock = clock();
        let hour = MINUTE * 60;
        let waiting = [("reports", 9_000, MINUTE * 2), ("archive", 1_000, hour)];
        let mut outlook = outlook(&clock, &waiting, Some(MINUTE * 3));
        let mut after = |seconds, name: &str, done| {
            clock.advance(Duration::from_secs(seconds));
            outlook.progressed(name, &clock.now(), done)
        };
        assert_eq!(after(1, "orders", 0), []);
        // 500 bytes in 11 s: reports would be restored 240 s after the disaster, the archive 262 s after it.
        let warned = after(10, "orders", 500);
        assert_eq!(
            names(&warned),
            [("reports".to_owned(), false), ("all".to_owned(), false)]
        );
        assert!((warned[0].forecast_seconds - 240.0).abs() < 1.0, "{warned:?}");
        assert_eq!(after(1, "orders", 1000), [], "each is warned of once");
        outlook.ended("orders");
        outlook.begin("reports", 9_000, None);
        let mut after = |seconds, name: &str, done| {
            clock.advance(Duration::from_secs(seconds));
            outlook.progressed(name, &clock.now(), done)
        };
        assert_eq!(names(&after(100, "reports", 100)), [("reports".to_owned(), true)]);
        assert_eq!(names(&after(60, "reports", 200)), [("all".to_owned(), true)]);
    }
}
