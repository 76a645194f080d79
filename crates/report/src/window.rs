//! The targets of a system over a period, from the runs that ended in it.
//!
//! ```text
//!   from                                     to
//!   ──┼────b────r────b────d────b────d────b───┼──►     b backup, r recovery, d drill
//!     recovery      shares of r and d, summed up
//!     testing       shares of d, summed up
//!     availability  shares of b; and the tiers as they are at the end
//!     all others    as the newest run measured them
//! ```
//! What no run of the period measured is *no data*.

use std::collections::BTreeMap;

use rekindle_model::event::Outcome;
use rekindle_model::id::RunId;
use rekindle_model::origin::RunKind;
use rekindle_model::system::{System, Target};
use rekindle_plan::Plan;

use crate::backup::backup_table;
use crate::drill::{drill_table, shares_of_drill};
use crate::evidence::Evidence;
use crate::recovery::recovery_table;
use crate::status::TierAge;
use crate::targets::{self, Figure, Share, TargetRow, judged};

/// A run of the period, judged by itself.
pub struct JudgedRun {
    run: RunId,
    kind: RunKind,
    succeeded: bool,
    rows: Vec<TargetRow>,
    /// Its shares of the group `testing`, if it is a drill.
    tested: BTreeMap<&'static str, Share>,
}

impl JudgedRun {
    /// Judges a backup, a recovery or a drill that ended; none for other runs, and for one that was cancelled.
    pub fn of(evidence: &Evidence, plan: &Plan, system: &System) -> Option<Self> {
        let state = &evidence.state;
        let outcome = state.outcome.filter(|outcome| *outcome != Outcome::Cancelled)?;
        let mut tested = BTreeMap::new();
        let mut succeeded = outcome == Outcome::Succeeded;
        let rows = match state.kind {
            RunKind::Backup => targets::of_backup(evidence, plan, system, &backup_table(evidence, plan)),
            RunKind::Recover | RunKind::Drill => {
                let table = recovery_table(evidence, plan, system);
                let rows = targets::of_recovery(evidence, plan, system, &table);
                if let Some(drill) = drill_table(evidence, plan, system, &table) {
                    succeeded = drill.success;
                }
                // A look at an older set says nothing about a disaster now.
                if state.kind == RunKind::Drill && evidence.param("from").as_str() == Some("latest") {
                    tested = shares_of_drill(evidence, plan, &table, &rows);
                }
                rows
            }
            RunKind::Verify | RunKind::Custom => return None,
        };
        Some(Self {
            run: state.id,
            kind: state.kind,
            succeeded,
            rows,
            tested,
        })
    }
}

/// Judges every target of a system by the runs of a period, the newest first, and by the tiers at its end.
pub fn over(system: &System, runs: &[JudgedRun], tiers: &[TierAge]) -> Vec<TargetRow> {
    let groups = system.targets.iter();
    let all =
        groups.flat_map(|(group, targets)| targets.iter().map(move |(name, target)| (group, name, target)));
    all.map(|(group, name, target)| match group.as_str() {
        "recovery" => recovered(runs, group, name, target),
        "testing" => tested(runs, group, name, target),
        "availability" => available(runs, tiers, group, name, target),
        _ => newest(runs, group, name, target),
    })
    .collect()
}

/// Sums up the shares of runs.
fn summed<'a>(
    shares: impl Iterator<Item = (RunId, &'a Share)>,
    (group, name, target): (&str, &str, &Target),
    nothing: &str,
) -> TargetRow {
    let mut runs = Vec::new();
    let mut sum: Option<Share> = None;
    for (run, share) in shares {
        runs.push(run);
        match &mut sum {
            Some(sum) => sum.add(share),
            None => sum = Some(share.clone()),
        }
    }
    let figure = sum.map_or_else(|| Figure::none("", nothing), Figure::of_share);
    judged(group, name, target, runs, figure)
}

fn recovered(runs: &[JudgedRun], group: &str, name: &str, target: &Target) -> TargetRow {
    let shares = runs.iter().filter_map(|run| {
        let row = run
            .rows
            .iter()
            .find(|row| row.group == group && row.target == name)?;
        Some((run.run, row.share.as_ref().filter(|share| share.all.1 > 0)?))
    });
    summed(
        shares,
        (group, name, target),
        "no recovery and no drill of the period measured it",
    )
}

fn tested(runs: &[JudgedRun], group: &str, name: &str, target: &Target) -> TargetRow {
    let drills = || runs.iter().filter(|run| !run.tested.is_empty());
    let nothing = "no drill of the period measured it";
    if name == "scenario_success_rate" {
        let of = |run: &JudgedRun| {
            Share::new(
                ("drills that succeeded", usize::from(run.succeeded)),
                ("drills", 1),
            )
        };
        let shares: Vec<(RunId, Share)> = drills().map(|run| (run.run, of(run))).collect();
        return summed(
            shares.iter().map(|(run, share)| (*run, share)),
            (group, name, target),
            nothing,
        );
    }
    let shares = drills().filter_map(|run| {
        let share = run.tested.get(name)?;
        (share.all.1 > 0).then_some((run.run, share))
    });
    summed(shares, (group, name, target), nothing)
}

fn available(runs: &[JudgedRun], tiers: &[TierAge], group: &str, name: &str, target: &Target) -> TargetRow {
    let row = |runs, figure| judged(group, name, target, runs, figure);
    match name {
        "backup_system" => {
            let backups: Vec<&JudgedRun> = runs.iter().filter(|run| run.kind == RunKind::Backup).collect();
            let well = backups.iter().filter(|run| run.succeeded).count();
            let share = Share::new(
                ("backups that ended well", well),
                ("backups that ended", backups.len()),
            );
            row(
                backups.iter().map(|run| run.run).collect(),
                Figure::of_share(share),
            )
        }
        "recovery_readiness" => {
            let ready = |tier: &&TierAge| tier.newest.is_some() && !tier.overdue && tier.fault.is_none();
            let share = Share::new(
                (
                    "tiers with a set that is not overdue",
                    tiers.iter().filter(ready).count(),
                ),
                ("tiers", tiers.len()),
            );
            row(Vec::new(), Figure::of_share(share))
        }
        _ => row(
            Vec::new(),
            Figure::none("", "nothing observes the system between runs"),
        ),
    }
}

/// Returns what the newest run that measured it says.
fn newest(runs: &[JudgedRun], group: &str, name: &str, target: &Target) -> TargetRow {
    let rows = runs.iter().flat_map(|run| &run.rows);
    let mut of_it = rows.filter(|row| row.group == group && row.target == name);
    let measured = of_it.find(|row| row.figure.is_some());
    measured.cloned().unwrap_or_else(|| {
        judged(
            group,
            name,
            target,
            Vec::new(),
            Figure::none("", "no run of the period measured it"),
        )
    })
}

#[cfg(test)]
mod tests {
    use rekindle_model::time::{Clock, SystemClock};

    use super::*;

    const TARGETS: [(&str, &str); 7] = [
        ("availability", "backup_system"),
        ("availability", "recovery_readiness"),
        ("availability", "system"),
        ("recovery", "success_rate"),
        ("testing", "rto_compliance"),
        ("testing", "scenario_success_rate"),
        ("own", "speed"),
    ];

    fn system() -> System {
        let mut system = System::default();
        for (group, name) in TARGETS {
            let target = Target::Expect(">= 0.5".parse().unwrap());
            let group = system.targets.entry(group.to_owned()).or_default();
            group.insert(name.to_owned(), target);
        }
        system
    }

    fn run(kind: RunKind, succeeded: bool) -> JudgedRun {
        JudgedRun {
            run: RunId::new(&SystemClock.now()),
            kind,
            succeeded,
            rows: Vec::new(),
            tested: BTreeMap::new(),
        }
    }

    fn row(system: &System, group: &str, name: &str, figure: Figure) -> TargetRow {
        judged(group, name, &system.targets[group][name], Vec::new(), figure)
    }

    fn tier(newest: bool, overdue: bool, fault: Option<&str>) -> TierAge {
        TierAge {
            tier: "t".to_owned(),
            newest: newest.then(|| SystemClock.now().utc),
            age: None,
            every: None,
            overdue,
            fault: fault.map(str::to_owned),
        }
    }

    fn figures(rows: &[TargetRow]) -> BTreeMap<&str, (Option<f64>, Option<bool>, usize)> {
        let of = |row: &'_ TargetRow| (row.figure, row.met, row.runs.len());
        rows.iter().map(|row| (row.target.as_str(), of(row))).collect()
    }

    #[test]
    fn without_runs_and_tiers_nothing_is_measured() {
        let rows = over(&system(), &[], &[]);
        assert_eq!(rows.len(), TARGETS.len());
        for row in rows {
            assert_eq!((row.figure, row.met), (None, None), "{}", row.target);
            assert!(row.why.is_some(), "{}", row.target);
        }
    }

    #[test]
    fn shares_of_runs_are_summed_up_and_not_averaged() {
        let system = system();
        let recovery = |good, open, all| {
            let mut share = Share::new(("valid", good), ("components", all));
            share.open = open;
            JudgedRun {
                rows: vec![row(&system, "recovery", "success_rate", Figure::of_share(share))],
                ..run(RunKind::Recover, true)
            }
        };
        let runs = [recovery(1, 0, 1), recovery(0, 0, 3)];
        assert_eq!(
            figures(&over(&system, &runs, &[]))["success_rate"],
            (Some(0.25), Some(false), 2)
        );
        // One of two is valid. Nothing is known of the other, and it cannot change the verdict.
        let runs = [recovery(1, 1, 2)];
        assert_eq!(
            figures(&over(&system, &runs, &[]))["success_rate"],
            (Some(0.5), Some(true), 1)
        );
        let runs = [recovery(0, 1, 2), recovery(0, 1, 1)];
        assert_eq!(
            figures(&over(&system, &runs, &[]))["success_rate"],
            (Some(0.0), None, 2)
        );
    }

    #[test]
    fn drills_of_the_latest_set_count_and_others_do_not() {
        let system = system();
        let drill = |succeeded, within| JudgedRun {
            tested: BTreeMap::from([("rto_compliance", Share::new(("within", within), ("drills", 1)))]),
            ..run(RunKind::Drill, succeeded)
        };
        let of_an_older_set = run(RunKind::Drill, false);
        let runs = [drill(true, 1), of_an_older_set, drill(false, 0)];
        let rows = over(&system, &runs, &[]);
        assert_eq!(
            figures(&rows)["scenario_success_rate"],
            (Some(0.5), Some(true), 2)
        );
        assert_eq!(figures(&rows)["rto_compliance"], (Some(0.5), Some(true), 2));
    }

    #[test]
    fn a_tier_is_ready_only_with_a_set_that_is_in_time_and_where_nothing_is_lost() {
        let tiers = [
            tier(true, false, None),
            tier(true, true, None),
            tier(true, false, Some("does not answer")),
            tier(false, false, None),
        ];
        let runs = [run(RunKind::Backup, true), run(RunKind::Backup, false)];
        let rows = over(&system(), &runs, &tiers);
        assert_eq!(figures(&rows)["recovery_readiness"], (Some(0.25), Some(false), 0));
        assert_eq!(figures(&rows)["backup_system"], (Some(0.5), Some(true), 2));
        assert_eq!(figures(&rows)["system"], (None, None, 0), "nothing observes it");
    }

    #[test]
    fn a_number_of_a_probe_is_that_of_the_newest_run_that_measured_it() {
        let system = system();
        let share = |good| Figure::of_share(Share::new(("fast", good), ("requests", 4)));
        let with = |figure| JudgedRun {
            rows: vec![row(&system, "own", "speed", figure)],
            ..run(RunKind::Backup, true)
        };
        let runs = [
            with(Figure::none("", "no probe ran")),
            with(share(3)),
            with(share(1)),
        ];
        assert_eq!(figures(&over(&system, &runs, &[]))["speed"].0, Some(0.75));
    }
}
