//! Deadlocks: runs that wait for each other. A search of the wait-for graph finds a cycle at the moment it closes.
//!
//! A run waits for the turn of its group until the runs that have the turn end. A run with a step that runs another
//! workflow waits until that run ends. So two runs may each have the turn of a group, and each a step whose run wants
//! the other's turn. None of these four runs would ever end.
//!
//! A run begins to wait at two moments only: when it asks for its group lock, and when it has begun another run. That other
//! run waits for nobody yet, so it closes no cycle. A run that asks for its group lock sees every cycle that it closes.

use std::collections::BTreeSet;

use rekindle_model::event::Waits;
use rekindle_model::id::RunId;

/// A run that another one waits for. If the other waits for a turn, also the group whose turn this run has.
pub(crate) type WaitsFor = (RunId, Option<String>);

/// Returns a cycle of waiting runs that contains this run, with this run first. If there is none, returns none.
pub(crate) fn cycle(run: RunId, waits_for: impl Fn(RunId) -> Vec<WaitsFor>) -> Option<Vec<Waits>> {
    let mut seen = BTreeSet::from([run]);
    // The path from `run` to the run that the search has reached; each with the runs it waits for, not yet visited.
    let mut way: Vec<(RunId, Vec<WaitsFor>)> = vec![(run, waits_for(run))];
    let mut groups: Vec<Option<String>> = Vec::new();
    while let Some((_, open)) = way.last_mut() {
        let Some((next, group)) = open.pop() else {
            way.pop();
            groups.pop();
            continue;
        };
        if next == run {
            groups.push(group);
            let runs = way.into_iter().map(|(run, _)| run);
            return Some(
                runs.zip(groups)
                    .map(|(run, group)| Waits { run, group })
                    .collect(),
            );
        }
        if seen.insert(next) {
            way.push((next, waits_for(next)));
            groups.push(group);
        }
    }
    None
}

/// Returns the youngest run of the cycle that waits for a turn. It gives way, since it has waited least and done least.
pub(crate) fn who_gives_way(cycle: &[Waits]) -> Option<RunId> {
    let waits = cycle.iter().filter(|waits| waits.group.is_some());
    waits.map(|waits| waits.run).max()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn run(number: u128) -> RunId {
        RunId(Uuid::from_u128(number))
    }

    /// Looks for the cycle that contains run 1. Each wait is of one run for another: for its lock of the
    /// named group, or without a group for the work of its step.
    fn of_first(waits: &[(u128, u128, &str)]) -> Option<Vec<(u128, String)>> {
        let found = cycle(run(1), |from| {
            waits
                .iter()
                .filter(|(waits, _, _)| run(*waits) == from)
                .map(|(_, to, group)| (run(*to), (!group.is_empty()).then(|| (*group).to_owned())))
                .collect()
        })?;
        let shown = found
            .into_iter()
            .map(|waits| (waits.run.0.as_u128(), waits.group.unwrap_or_default()));
        Some(shown.collect())
    }

    #[test]
    fn a_circle_is_found_whole_and_past_every_way_that_leads_nowhere() {
        let way = [(1, 2, "g"), (2, 3, ""), (2, 6, ""), (3, 4, "h"), (4, 5, "")];
        assert_eq!(of_first(&way), None);
        let closed = [&way[..], &[(6, 5, "h"), (4, 1, "")]].concat();
        let found = of_first(&closed).unwrap();
        let shown: Vec<(u128, &str)> = found.iter().map(|(run, group)| (*run, group.as_str())).collect();
        assert_eq!(shown, [(1, "g"), (2, ""), (3, "h"), (4, "")]);
    }

    #[test]
    fn a_circle_of_others_is_none_of_ones_own() {
        assert_eq!(of_first(&[(1, 2, "g"), (2, 3, ""), (3, 2, "h")]), None);
    }

    #[test]
    fn the_youngest_that_waits_for_a_lock_gives_way_and_no_younger_one_that_works() {
        let waits = |number, group: Option<&str>| Waits {
            run: run(number),
            group: group.map(str::to_owned),
        };
        let cycle = [
            waits(3, Some("g")),
            waits(1, None),
            waits(4, Some("h")),
            waits(9, None),
        ];
        assert_eq!(who_gives_way(&cycle), Some(run(4)));
    }
}
