//! The four answers: can we come back, how long will it take, how much will we lose, where is the proof?
//!
//! Each answer names the run that proves it. Without such a run the answer is *no data*. Whether we can come back
//! rests on the newest evidence about each stored copy, from any kind of run (see [`crate::copies`]):
//! a copy that was found damaged after its backup proves nothing any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_model::event::Outcome;
use rekindle_model::id::RunId;
use rekindle_model::next_action::{Action, NextAction, Recover, RecoverTarget};
use rekindle_model::system::System;
use serde::Serialize;

use crate::backup::BackupTable;
use crate::copies::{Position, Sighting};
use crate::recovery::{RecoveryTable, Validity};
use crate::unfinished::Unfinished;

mod set_health;

use set_health::{SetHealth, set_health};

/// A run's table with its run.
#[derive(Clone, Debug)]
pub struct Proven<T> {
    /// The run that proves it.
    pub run: RunId,
    /// When that run ended.
    pub at: DateTime<Utc>,
    /// The run's position among the others.
    pub position: Position,
    /// How often it was interrupted and taken over.
    pub interruptions: usize,
    /// The proof: its table.
    pub table: T,
}

/// The evidence behind the answers.
#[derive(Clone, Debug)]
pub struct Findings<'a> {
    /// The system as its file has it now.
    pub system: &'a System,
    /// Finished backups, newest first.
    pub backups: &'a [Proven<BackupTable>],
    /// Finished recoveries, newest first.
    pub recoveries: &'a [Proven<RecoveryTable>],
    /// The sightings of stored copies in all runs, in any order.
    pub sightings: &'a [Sighting],
    /// The system's tiers: why one does not answer now; none if it does.
    pub tiers: BTreeMap<String, Option<String>>,
    /// What the tiers should hold and do not.
    pub lost: Vec<Lost>,
    /// Why it is not known of some tiers what they should hold and do not.
    pub unchecked: Vec<String>,
    /// Runs without an end, newest first, without those that another run drives.
    pub unfinished: Vec<Unfinished>,
    /// The newest partial recovery: a recovery in place that is not over or did not succeed, and is not settled.
    pub partial_recovery: Option<RunId>,
    /// The present instant, which losses are counted to.
    pub now: DateTime<Utc>,
}

/// An object that a tier should hold and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The tier.
    pub tier: String,
    /// The id of the recovery set or of the snapshot; none if it is neither.
    pub id: Option<String>,
    /// What is wrong, as a sentence.
    pub text: String,
}

/// The four answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The system's name.
    pub system: String,
    /// Can we come back?
    pub come_back: Answer,
    /// How long will it take?
    pub how_long: Answer,
    /// How much will we lose?
    pub how_much: Answer,
    /// Where is the proof?
    pub proof: Answer,
    /// Runs that were interrupted.
    pub interrupted: Vec<RunId>,
    /// Runs without an end, the interrupted ones included, newest first.
    pub unfinished: Vec<Unfinished>,
    /// What to do next, most urgent first.
    pub next: Vec<NextAction>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Good, bad, or not known.
    pub verdict: Verdict,
    /// In a sentence.
    pub text: String,
    /// The run that proves it.
    pub run: Option<RunId>,
    /// The figure in seconds, if the answer is one.
    #[serde(with = "crate::seconds")]
    pub figure: Option<Duration>,
}

/// How an answer sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Good, but some evidence speaks against it.
    Unsure,
    /// Nothing was measured.
    NoData,
}

/// Answers from evidence.
pub fn status(findings: &Findings<'_>) -> Status {
    let ready = findings
        .backups
        .iter()
        .find(|backup| backup.table.recovery_ready == Some(true));
    let proven = findings.recoveries.first();
    let health = ready.map(|backup| set_health(findings, backup));
    Status {
        system: findings.system.system.clone(),
        come_back: come_back(findings, ready.zip(health.as_ref()), proven),
        how_long: how_long(findings),
        how_much: how_much(findings, ready.zip(health.as_ref())),
        proof: proof(proven),
        interrupted: interrupted(findings).collect(),
        unfinished: findings.unfinished.clone(),
        next: next(findings, health.as_ref(), proven.is_some()),
    }
}

fn interrupted(findings: &Findings<'_>) -> impl Iterator<Item = RunId> {
    let unfinished = findings.unfinished.iter();
    unfinished.filter(|run| run.is_interrupted()).map(|run| run.run)
}

fn next(findings: &Findings<'_>, health: Option<&SetHealth>, proven: bool) -> Vec<NextAction> {
    let mut next: Vec<NextAction> = findings.unfinished.iter().flat_map(Unfinished::next).collect();
    // No backup is made of it before that.
    if let Some(run) = findings
        .partial_recovery
        .filter(|run| findings.unfinished.iter().all(|one| one.run != *run))
    {
        next.push(recover(RecoverTarget::InPlace).into());
        next.push(NextAction::new(
            Action::AcceptRecovery { run },
            "backs up the system as the recovery left it",
        ));
    }
    let answers = findings.tiers.values().any(Option::is_none);
    if findings.backups.is_empty() && answers {
        next.push(NextAction::new(
            Action::ListSets,
            "lists the recovery sets in the tiers",
        ));
        next.push(NextAction::new(Action::Verify, "shows whether they can be read"));
    }
    match health {
        None => next.push(Action::Backup.into()),
        Some(health) => {
            if let Some(run) = health.shown() {
                next.push(Action::Show { run: Some(run) }.into());
            }
            let repairs = findings
                .lost
                .iter()
                .map(|lost| lost.tier.clone())
                .collect::<BTreeSet<_>>();
            next.extend(repairs.into_iter().map(|tier| {
                NextAction::new(
                    Action::RepairTier { tier },
                    "copies the missing objects from the other tiers",
                )
            }));
            if !health.is_sound() {
                let shows = match findings.unchecked.is_empty() {
                    true => "shows which copies can be read",
                    false => "asks for what it needs, and shows which copies can be read and what is lost",
                };
                next.push(NextAction::new(Action::Verify, shows));
            }
            if !health.bad.is_empty() && findings.partial_recovery.is_none() {
                next.push(Action::Backup.into());
            }
        }
    }
    if health.is_some_and(|health| health.bad.is_empty()) && !proven {
        next.push(NextAction::new(
            recover(RecoverTarget::Elsewhere),
            "tries a recovery; none was ever tried",
        ));
    }
    next
}

fn recover(target: RecoverTarget) -> Action {
    Action::Recover(Recover {
        target,
        ..Recover::default()
    })
}

fn come_back(
    findings: &Findings<'_>,
    ready: Option<(&Proven<BackupTable>, &SetHealth)>,
    proven: Option<&Proven<RecoveryTable>>,
) -> Answer {
    if let Some(run) = findings.partial_recovery {
        return Answer {
            verdict: Verdict::Bad,
            text: "not yet: a recovery in place did not succeed, \
                   so parts of the system are still as they were before it"
                .to_owned(),
            run: Some(run),
            figure: None,
        };
    }
    let Some((backup, health)) = ready else {
        return match findings.backups.first() {
            Some(failed) => Answer {
                verdict: Verdict::Bad,
                text: "no: no recovery set is recovery-ready".to_owned(),
                run: Some(failed.run),
                figure: None,
            },
            None if findings.tiers.values().any(Option::is_none) => {
                no_data("this workspace has no evidence of a backup; what the tiers hold is not judged")
            }
            None => no_data("this workspace has no evidence of a backup, and no tier with backups answers"),
        };
    };
    let set = short(backup.table.set.as_deref().unwrap_or("?"));
    let age = ago(findings.now, backup.at);
    if let Some(first) = health.bad.first() {
        return Answer {
            verdict: Verdict::Bad,
            text: format!(
                "no: set {set}, {age}, cannot be brought back whole: {}",
                sentences(&health.bad)
            ),
            run: first.run.or(Some(backup.run)),
            figure: None,
        };
    }
    if let Some(first) = health.unsure.first() {
        return Answer {
            verdict: Verdict::Unsure,
            text: format!(
                "not sure: set {set} is recovery-ready, {age}, but {}",
                sentences(&health.unsure)
            ),
            run: first.run.or(Some(backup.run)),
            figure: None,
        };
    }
    let tried = match proven {
        Some(_) => "",
        None => "; a recovery from it was never tried",
    };
    let verified = match health.whole == health.all {
        true => "verified in every tier".to_owned(),
        false => format!(
            "{} of {} components verified in every tier",
            health.whole, health.all
        ),
    };
    let but = match health.flaws.as_slice() {
        [] => String::new(),
        flaws => format!("; but {}", sentences(flaws)),
    };
    let newest = match findings.backups.first() {
        Some(newest) if newest.run != backup.run => "; a newer backup is not recovery-ready",
        _ => "",
    };
    Answer {
        verdict: if health.flaws.is_empty() {
            Verdict::Good
        } else {
            Verdict::Unsure
        },
        text: format!("yes: set {set} is recovery-ready, {verified}, {age}{tried}{but}{newest}"),
        run: health.flaws.iter().find_map(|flaw| flaw.run).or(Some(backup.run)),
        figure: None,
    }
}

fn sentences(claims: &[set_health::Claim]) -> String {
    /// More than these would hide the first; the count has them all.
    const SAID: usize = 3;
    let said: Vec<&str> = claims
        .iter()
        .take(SAID)
        .map(|claim| claim.text.as_str())
        .collect();
    match claims.len().saturating_sub(SAID) {
        0 => said.join("; "),
        more => format!("{}; and {more} more", said.join("; ")),
    }
}

/// Takes the figure from the newest recovery of all components, and prefers one without interruptions.
/// Without such a recovery, the newest measured one counts. The answer names how many components it covers,
/// and the reasons for doubt.
fn how_long(findings: &Findings<'_>) -> Answer {
    let all = findings.system.components.len();
    let measured = || {
        findings
            .recoveries
            .iter()
            .filter(|recovery| recovery.table.system_rto.actual.is_some())
    };
    let of_all = || measured().filter(|recovery| recovery.table.components.len() == all);
    let vouched = |recovery: &&Proven<RecoveryTable>| {
        recovery.interruptions == 0 && !recovery.table.system_rto.clock_uncertain
    };
    let Some((recovery, actual)) = of_all()
        .find(vouched)
        .or_else(|| of_all().next())
        .or_else(|| measured().find(vouched))
        .or_else(|| measured().next())
        .and_then(|found| Some((found, found.table.system_rto.actual?)))
    else {
        return match findings.recoveries.first() {
            None => no_data("no recovery has been measured yet"),
            Some(_) => no_data("no recovery has brought back all that it was asked for"),
        };
    };
    let target = recovery.table.system_rto.target;
    let against = target
        .map(|target| format!(", target {}", crate::units::duration(target)))
        .unwrap_or_default();
    let of = recovery.table.components.len();
    let mut rests_on = String::new();
    if recovery.interruptions > 0 {
        rests_on.push_str("; it was interrupted, and the wait until it was resumed counts");
    }
    if recovery.table.system_rto.clock_uncertain {
        rests_on.push_str("; the clock may have changed in between");
    }
    Answer {
        verdict: match target {
            _ if recovery.table.system_rto.clock_uncertain => Verdict::Unsure,
            Some(target) if actual > target => Verdict::Bad,
            _ => Verdict::Good,
        },
        text: format!(
            "{} the last time, for {of} of {all} components{against}{rests_on}",
            crate::units::duration(actual)
        ),
        run: Some(recovery.run),
        figure: Some(actual),
    }
}

/// A disaster now would lose the data written since the newest set. The answer names classes with a tighter
/// RPO.
fn how_much(findings: &Findings<'_>, ready: Option<(&Proven<BackupTable>, &SetHealth)>) -> Answer {
    let Some((backup, health)) = ready else {
        return match findings.backups.is_empty() {
            true => no_data("this workspace has no evidence of a backup"),
            false => no_data("without a recovery-ready set, everything"),
        };
    };
    if !health.bad.is_empty() {
        return no_data("the newest recovery-ready set cannot be brought back whole");
    }
    let since = backup.table.oldest_point.unwrap_or(backup.at);
    let Ok(loss) = (findings.now - since).to_std() else {
        // A loss of zero would be a figure without a measurement.
        return no_data("clock uncertain: the newest set was made by a clock that is ahead of this one");
    };
    let classes = &findings.system.data_classes;
    let missed: Vec<&str> = classes
        .iter()
        .filter(|(_, class)| class.rpo.0 < loss)
        .map(|(name, _)| name.as_str())
        .collect();
    let against = match (classes.len(), missed.len()) {
        (0, _) => String::new(),
        (all, 0) => format!("; within the RPO of all {all} data classes"),
        (all, late) => format!(
            "; beyond the RPO of {late} of {all} data classes ({})",
            missed.join(", ")
        ),
    };
    Answer {
        verdict: if missed.is_empty() {
            Verdict::Good
        } else {
            Verdict::Bad
        },
        text: format!(
            "the data written in the last {}{against}",
            crate::units::duration(loss)
        ),
        run: Some(backup.run),
        figure: Some(loss),
    }
}

fn proof(proven: Option<&Proven<RecoveryTable>>) -> Answer {
    let Some(recovery) = proven else {
        return no_data("nowhere yet: nothing was ever restored");
    };
    let table = &recovery.table;
    let count = |validity| {
        table
            .components
            .iter()
            .filter(|row| row.valid == validity)
            .count()
    };
    let (valid, invalid, unmeasured) = (count(Validity::Yes), count(Validity::No), count(Validity::NoData));
    let lost = table.components.iter().any(|row| row.restored == Some(false));
    let failed = matches!(table.outcome, Some(Outcome::Failed | Outcome::Stuck));
    let in_part = matches!(table.outcome, Some(Outcome::Partial));
    Answer {
        verdict: match (valid, invalid) {
            (_, 1..) => Verdict::Bad,
            _ if lost || failed => Verdict::Bad,
            _ if in_part => Verdict::Unsure,
            (0, 0) => Verdict::NoData,
            (_, 0) => Verdict::Good,
        },
        text: format!(
            "recovery of {}: {valid} of {} components valid, {invalid} not, {unmeasured} without data",
            recovery.at.format("%Y-%m-%d %H:%M UTC"),
            table.components.len()
        ),
        run: Some(recovery.run),
        figure: None,
    }
}

fn no_data(why: &str) -> Answer {
    Answer {
        verdict: Verdict::NoData,
        text: format!("no data: {why}"),
        run: None,
        figure: None,
    }
}

fn ago(now: DateTime<Utc>, then: DateTime<Utc>) -> String {
    match (now - then).to_std() {
        Ok(age) => format!("{} old", crate::units::duration(age)),
        Err(_) => "made by a clock that is ahead of this one".to_owned(),
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
