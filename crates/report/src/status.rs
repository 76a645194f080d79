//! The four answers: can we come back, how long will it take, how much will we lose, where is the proof?
//!
//! Each answer names the run that proves it. Without such a run the answer is *no data*. Whether we can come back
//! rests on the newest evidence about each stored copy, from any kind of run (see [`crate::copies`]):
//! a copy that was found damaged after its backup proves nothing any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_model::event::Outcome;
use rekindle_model::id::{RunId, end};
use rekindle_model::next_action::{Action, NextAction, Recover, RecoverTarget};
use rekindle_model::system::System;
use serde::Serialize;

use crate::backup::BackupTable;
use crate::copies::{Position, Sighting};
use crate::recovery::{RecoveryTable, Validity};
use crate::unfinished::Unfinished;

mod loss;
mod set_health;

pub use loss::{ClassLoss, ComponentLoss, TierAge};
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
    /// Why the key does not open, if it does not; a key that needs a passphrase is no such key.
    pub key_fault: Option<KeyFault>,
    /// The data of the system that is not there now.
    pub gone: Gone,
    /// Runs without an end, newest first, without those that another run drives.
    pub unfinished: Vec<Unfinished>,
    /// The newest partial recovery: a recovery in place that is not over or did not succeed, and is not settled.
    pub partial_recovery: Option<RunId>,
    /// The present instant, which losses are counted to.
    pub now: DateTime<Utc>,
}

/// A key that does not open.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyFault {
    /// Why, as a sentence.
    pub text: String,
    /// What to do about it.
    pub next: Vec<NextAction>,
}

/// Data of the system that is not where it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Gone {
    /// All of it is there, or has a place that only a program knows.
    #[default]
    Nothing,
    /// The folder of the system, at this path.
    Root(String),
    /// The data of these components.
    Components(Vec<String>),
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
    /// What of the living system is not there, as a sentence; none if nothing is known to be missing.
    pub disaster: Option<String>,
    /// Can we come back?
    pub come_back: Answer,
    /// How long will it take?
    pub how_long: Answer,
    /// How much will we lose?
    pub how_much: Answer,
    /// Where is the proof?
    pub proof: Answer,
    /// How much of each component would be lost.
    pub components: Vec<ComponentLoss>,
    /// How much of each data class would be lost, against its RPO.
    pub data_classes: Vec<ClassLoss>,
    /// How old the newest recoverable set of each tier is.
    pub tiers: Vec<TierAge>,
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
    #[serde(with = "crate::seconds", rename = "figure_seconds")]
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
        .find(|backup| backup.table.recoverable == Some(true));
    let proven = findings.recoveries.first();
    let health = ready.map(|backup| set_health(findings, backup));
    let components = loss::components(findings);
    let data_classes = loss::classes(findings, &components);
    Status {
        system: findings.system.system.clone(),
        disaster: disaster(&findings.gone),
        come_back: come_back(findings, ready.zip(health.as_ref()), proven, &components),
        how_long: how_long(findings),
        how_much: loss::how_much(findings, &components, &data_classes),
        proof: proof(proven),
        tiers: loss::tiers(findings),
        interrupted: interrupted(findings).collect(),
        unfinished: findings.unfinished.clone(),
        next: next(findings, health.as_ref(), proven.is_some(), &components),
        components,
        data_classes,
    }
}

/// The state of a service as monitoring asks for it (the convention of Nagios plugins).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// All holds.
    Ok,
    /// Something is unproven, overdue or interrupted.
    Warning,
    /// An answer is bad.
    Critical,
}

impl Status {
    /// Returns the worst of what the status says, and why, in one line.
    pub fn check(&self) -> (Check, String) {
        let answers = [&self.come_back, &self.how_long, &self.how_much, &self.proof];
        let of = |answer: &Answer| match answer.verdict {
            Verdict::Good => Check::Ok,
            Verdict::Unsure | Verdict::NoData => Check::Warning,
            Verdict::Bad => Check::Critical,
        };
        let mut said: Vec<(Check, String)> = Vec::new();
        said.extend(self.disaster.clone().map(|text| (Check::Critical, text)));
        said.extend(answers.map(|answer| (of(answer), answer.text.clone())));
        for tier in self.tiers.iter().filter(|tier| tier.overdue) {
            said.push((Check::Warning, format!("tier {} is overdue", tier.tier)));
        }
        if !self.interrupted.is_empty() {
            let runs = crate::units::count(self.interrupted.len(), "run");
            said.push((Check::Warning, format!("{runs} interrupted")));
        }
        let worst = said.iter().map(|(check, _)| *check).max().unwrap_or(Check::Ok);
        let why: Vec<&str> = match worst {
            // What holds is said in one sentence: that the system can come back.
            Check::Ok => vec![&self.come_back.text],
            _ => {
                let of_worst = said.iter().filter(|(check, _)| *check == worst);
                of_worst.map(|(_, text)| text.as_str()).collect()
            }
        };
        (worst, why.join("; "))
    }
}

fn disaster(gone: &Gone) -> Option<String> {
    match gone {
        Gone::Nothing => None,
        Gone::Root(path) => Some(format!("the system's folder {path} is not there")),
        Gone::Components(names) => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Some(format!("the data of {} is not there", loss::named(&names)))
        }
    }
}

fn interrupted(findings: &Findings<'_>) -> impl Iterator<Item = RunId> {
    let unfinished = findings.unfinished.iter();
    unfinished.filter(|run| run.is_interrupted()).map(|run| run.run)
}

fn next(
    findings: &Findings<'_>,
    health: Option<&SetHealth>,
    proven: bool,
    losses: &[ComponentLoss],
) -> Vec<NextAction> {
    let mut next: Vec<NextAction> = findings.unfinished.iter().flat_map(Unfinished::next).collect();
    if let Some(fault) = &findings.key_fault {
        next.extend(fault.next.clone());
    }
    let answers = findings.tiers.values().any(Option::is_none);
    // Without any evidence here, the tiers may have a copy all the same.
    let unknown = findings.backups.is_empty() && answers;
    let has_copy = |name: &str| {
        let own = losses.iter().find(|loss| loss.component == name);
        own.is_some_and(|loss| loss.point.is_some())
    };
    let can_come_back = unknown || losses.iter().any(|loss| loss.point.is_some());
    let recovers = |components: Vec<String>| {
        let recover = Recover {
            components,
            target: RecoverTarget::Empty,
            ..Recover::default()
        };
        NextAction::new(Action::Recover(recover), "brings it back")
    };
    let at_work = findings.unfinished.iter().any(|run| run.workflow == "recover");
    match &findings.gone {
        _ if !can_come_back || at_work => {}
        Gone::Nothing => {}
        Gone::Root(_) => next.push(recovers(Vec::new())),
        Gone::Components(names) => {
            let found: Vec<String> = names
                .iter()
                .filter(|name| unknown || has_copy(name))
                .cloned()
                .collect();
            if !found.is_empty() {
                next.push(recovers(found));
            }
        }
    }
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
    if unknown {
        next.push(NextAction::new(
            Action::ListSets,
            "lists the recovery sets in the tiers",
        ));
        next.push(NextAction::new(Action::Verify, "shows whether they can be read"));
    }
    let failed = losses.iter().any(|loss| loss.newest_failed.is_some());
    match health {
        // Another backup would fail as the newest did, until a person has seen why.
        None if failed => {
            let run = findings.backups.first().map(|backup| backup.run);
            next.push(NextAction::new(
                Action::Show { run },
                "says what to mend before the next backup",
            ));
        }
        None if findings.gone == Gone::Nothing => next.push(Action::Backup.into()),
        None => {}
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
            let there = findings.gone == Gone::Nothing;
            if !health.bad.is_empty() && there && !failed && findings.partial_recovery.is_none() {
                next.push(Action::Backup.into());
            }
        }
    }
    if health.is_some_and(|health| health.bad.is_empty()) && !proven && findings.gone == Gone::Nothing {
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
    losses: &[ComponentLoss],
) -> Answer {
    if let Some(fault) = &findings.key_fault {
        return Answer {
            verdict: Verdict::Bad,
            text: format!("no: {}", fault.text),
            run: None,
            figure: None,
        };
    }
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
            Some(failed) => not_ready(failed.run, losses),
            None if findings.tiers.values().any(Option::is_none) => {
                no_data("this workspace has no evidence of a backup; what the tiers hold is not judged")
            }
            None => no_data("this workspace has no evidence of a backup, and no tier with backups answers"),
        };
    };
    let set = end(backup.table.set.as_deref().unwrap_or("?"));
    let age = ago(findings.now, backup.at);
    let ready = match backup.table.recovery_ready {
        Some(true) => "recovery-ready",
        _ => "recoverable, though not from every tier",
    };
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
                "not sure: set {set} is {ready}, {age}, but {}",
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
        Some(newest) if newest.run != backup.run => "; a newer backup is not recoverable as a whole",
        _ => "",
    };
    Answer {
        verdict: if health.flaws.is_empty() {
            Verdict::Good
        } else {
            Verdict::Unsure
        },
        text: format!("yes: set {set} is {ready}, {verified}, {age}{tried}{but}{newest}"),
        run: health.flaws.iter().find_map(|flaw| flaw.run).or(Some(backup.run)),
        figure: None,
    }
}

/// Answers where no set is recoverable as a whole: each component may have a copy all the same.
fn not_ready(run: RunId, losses: &[ComponentLoss]) -> Answer {
    let gone: Vec<&ComponentLoss> = losses.iter().filter(|loss| loss.point.is_none()).collect();
    let why = |loss: &ComponentLoss| match &loss.newest_failed {
        Some(why) => format!("{} has no copy ({why})", loss.component),
        None => format!("{} has no copy", loss.component),
    };
    let text = match (losses.len(), gone.as_slice()) {
        (_, []) => "no recovery set is recoverable as a whole, though each component has a copy".to_owned(),
        (all, gone) if gone.len() == all => "no: no component has a copy that can be brought back".to_owned(),
        (all, gone) => {
            let said: Vec<String> = gone.iter().take(3).map(|loss| why(loss)).collect();
            let more = match gone.len() - said.len() {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            let left = all - gone.len();
            format!(
                "in part: no recovery set is recoverable as a whole; {left} of {all} components can be brought back; {}{more}",
                said.join("; ")
            )
        }
    };
    Answer {
        verdict: Verdict::Bad,
        text,
        run: gone.first().and_then(|loss| loss.run).or(Some(run)),
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
            .filter(|recovery| recovery.table.took.actual.is_some())
    };
    let of_all = || measured().filter(|recovery| recovery.table.components.len() == all);
    let vouched = |recovery: &&Proven<RecoveryTable>| {
        recovery.interruptions == 0 && !recovery.table.took.clock_uncertain
    };
    let Some((recovery, actual)) = of_all()
        .find(vouched)
        .or_else(|| of_all().next())
        .or_else(|| measured().find(vouched))
        .or_else(|| measured().next())
        .and_then(|found| Some((found, found.table.took.actual?)))
    else {
        return match findings.recoveries.first() {
            None => no_data("no recovery has been measured yet"),
            Some(_) => no_data("no recovery has brought back all that it was asked for"),
        };
    };
    let target = recovery.table.took.target;
    let against = target
        .map(|target| format!(", target {}", crate::units::duration(target)))
        .unwrap_or_default();
    let of = recovery.table.components.len();
    let mut rests_on = String::new();
    if recovery.interruptions > 0 {
        rests_on.push_str("; it was interrupted, and the wait until it was resumed counts");
    }
    if recovery.table.took.clock_uncertain {
        rests_on.push_str("; the clock may have changed in between");
    }
    Answer {
        verdict: match target {
            _ if recovery.table.took.clock_uncertain => Verdict::Unsure,
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

fn proof(proven: Option<&Proven<RecoveryTable>>) -> Answer {
    let Some(recovery) = proven else {
        return no_data("nowhere yet: nothing was ever restored");
    };
    let table = &recovery.table;
    let named = |validity| -> Vec<&str> {
        let rows = table.components.iter().filter(|row| row.valid == validity);
        rows.map(|row| row.component.as_str()).collect()
    };
    let valid = named(Validity::Yes).len();
    let (invalid, unmeasured) = (named(Validity::No), named(Validity::NoData));
    let unrestored: Vec<&str> = table
        .components
        .iter()
        .filter(|row| row.restored == Some(false))
        .map(|row| row.component.as_str())
        .collect();
    let kind = match table.sandbox_removed {
        Some(_) => "drill",
        None => "recovery",
    };
    let mut text = format!(
        "{kind} of {}: {valid} of {} components valid",
        recovery.at.format("%Y-%m-%d %H:%M UTC"),
        table.components.len()
    );
    for (what, names) in [
        ("not restored", &unrestored),
        ("not valid", &invalid),
        ("not proven, since nothing was measured", &unmeasured),
    ] {
        if !names.is_empty() {
            text.push_str(&format!("; {what}: {}", loss::named(names)));
        }
    }
    if table.operational == Some(false) {
        text.push_str("; the checks across components do not hold");
    }
    let failed = matches!(table.outcome, Some(Outcome::Failed | Outcome::Stuck));
    let in_part = matches!(table.outcome, Some(Outcome::Partial));
    if failed || in_part {
        text.push_str(&format!(
            "; the run {}",
            if failed { "failed" } else { "was done in part" }
        ));
    }
    let lost = !invalid.is_empty() || !unrestored.is_empty() || table.operational == Some(false);
    // If all is back and valid, something else failed, such as an alarm.
    let bad = lost || (failed && valid < table.components.len());
    Answer {
        // The worst component speaks for all.
        verdict: match (bad, valid) {
            (true, _) => Verdict::Bad,
            (false, 0) => Verdict::NoData,
            (false, _) if failed || in_part || !unmeasured.is_empty() => Verdict::Unsure,
            (false, _) => Verdict::Good,
        },
        text,
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
