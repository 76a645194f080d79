//! How long a recovery will take, from what an earlier one took.

use std::collections::BTreeMap;
use std::time::Duration;

use rekindle_model::event::Outcome;
use rekindle_plan::Plan;

use crate::evidence::Evidence;
use crate::recovery::RecoveryTable;

/// What an earlier recovery took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Took {
    /// Each component that came back: the bytes restored, and the time from the start of its restore to the end of its
    /// validation.
    pub components: BTreeMap<String, (u64, Duration)>,
    /// All bytes restored, and the time from the start of the run to its end.
    pub all: Option<(u64, Duration)>,
}

impl Took {
    /// Returns what a recovery took; its components that failed are left out.
    pub fn of(evidence: &Evidence, plan: &Plan, table: &RecoveryTable) -> Self {
        let state = &evidence.state;
        let mut took = Self::default();
        for row in &table.components {
            let steps = || {
                let own = plan.steps.iter();
                own.filter(|step| step.each.get("component") == Some(&row.component))
            };
            let begun = steps()
                .filter(|step| step.uses == "restore")
                .find_map(|step| state.step(&step.id).first_started);
            let ended = steps()
                .filter(|step| step.uses == "validate")
                .filter_map(|step| state.step(&step.id).ended)
                .max_by_key(|ended| ended.utc);
            if let (Some(begun), Some(ended), Some(bytes), None) = (begun, ended, row.bytes, &row.error) {
                let component = row.component.clone();
                took.components
                    .insert(component, (bytes, ended.since(&begun).duration));
            }
        }
        // A drill that causes its disaster does more than a recovery.
        let recovers = !table.disaster_caused && !table.components.is_empty();
        if recovers && state.outcome == Some(Outcome::Succeeded) {
            let bytes = table.components.iter().filter_map(|row| row.bytes).sum();
            took.all = Some((bytes, state.updated.since(&state.created).duration));
        }
        took
    }

    /// Returns how long so many bytes of a component will take; none if it never came back.
    pub fn component(&self, name: &str, bytes: u64) -> Option<Duration> {
        self.components.get(name).map(|took| scaled(*took, bytes))
    }

    /// Returns how long a recovery of so many bytes will take.
    pub fn whole(&self, bytes: u64) -> Option<Duration> {
        self.all.map(|took| scaled(took, bytes))
    }
}

/// A recovery of more bytes takes longer; one of fewer still has its fixed costs.
#[expect(clippy::cast_precision_loss, reason = "a forecast needs no exact bytes")]
fn scaled((bytes_then, took): (u64, Duration), bytes: u64) -> Duration {
    match bytes > bytes_then && bytes_then > 0 {
        true => {
            let longer = took.as_secs_f64() * (bytes as f64 / bytes_then as f64);
            // A set may claim any size.
            Duration::try_from_secs_f64(longer).unwrap_or(Duration::MAX)
        }
        false => took,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_the_bytes_take_twice_the_time_and_fewer_take_no_less() {
        let took = Took {
            components: BTreeMap::from([("a".to_owned(), (100, Duration::from_secs(4)))]),
            all: None,
        };
        assert_eq!(took.component("a", 200), Some(Duration::from_secs(8)));
        assert_eq!(took.component("a", 10), Some(Duration::from_secs(4)));
        assert_eq!(took.component("b", 10), None);
        assert_eq!(took.whole(1), None);
        let took = Took {
            all: Some((1, Duration::from_secs(4))),
            ..Took::default()
        };
        assert_eq!(took.whole(u64::MAX), Some(Duration::MAX), "no panic");
    }
}
