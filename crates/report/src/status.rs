//! The four answers: can we come back, how long will it take, how much will we lose, where is the proof?
//!
//! Each answer names the run that proves it. Without such a run the answer is *no data*.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_model::id::RunId;
use rekindle_model::system::System;
use serde::Serialize;

use crate::backup::BackupTable;
use crate::recovery::{RecoveryTable, Validity};

/// A run's table with its run.
#[derive(Clone, Debug)]
pub struct Proven<T> {
    /// The run that proves it.
    pub run: RunId,
    /// When that run ended.
    pub at: DateTime<Utc>,
    /// What it proves.
    pub table: T,
}

/// What the answers are drawn from.
#[derive(Clone, Debug)]
pub struct Findings<'a> {
    /// The system as its file has it now.
    pub system: &'a System,
    /// Finished backups, newest first.
    pub backups: &'a [Proven<BackupTable>],
    /// Finished recoveries, newest first.
    pub recoveries: &'a [Proven<RecoveryTable>],
    /// Runs without an end.
    pub interrupted: Vec<RunId>,
    /// The present instant, which losses are counted to.
    pub now: DateTime<Utc>,
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
    /// What to do next, most urgent first.
    pub next: Vec<String>,
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
    /// The figure, in seconds, where the answer is one.
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
    let mut next: Vec<String> = findings
        .interrupted
        .iter()
        .map(|run| format!("rekindle resume {run}"))
        .collect();
    if ready.is_none() {
        next.push("rekindle backup".to_owned());
    }
    if ready.is_some() && proven.is_none() {
        next.push("rekindle recover --to DIR   (a recovery that was never tried is a hope)".to_owned());
    }
    Status {
        system: findings.system.system.clone(),
        come_back: come_back(findings, ready, proven),
        how_long: how_long(findings),
        how_much: how_much(findings, ready),
        proof: proof(proven),
        interrupted: findings.interrupted.clone(),
        next,
    }
}

fn come_back(
    findings: &Findings<'_>,
    ready: Option<&Proven<BackupTable>>,
    proven: Option<&Proven<RecoveryTable>>,
) -> Answer {
    let Some(backup) = ready else {
        return match findings.backups.first() {
            Some(failed) => Answer {
                verdict: Verdict::Bad,
                text: "no: no recovery set is recovery-ready".to_owned(),
                run: Some(failed.run),
                figure: None,
            },
            None => no_data("nothing has been backed up here yet"),
        };
    };
    let set = backup.table.set.as_deref().unwrap_or("?");
    let age = ago(findings.now, backup.at);
    let tried = match proven {
        Some(_) => "",
        None => "; a recovery from it was never tried",
    };
    let (whole, all) = (
        backup.table.components.iter().filter(|row| row.whole()).count(),
        backup.table.components.len(),
    );
    let verified = match whole == all {
        true => "verified in every tier".to_owned(),
        false => format!("{whole} of {all} components verified in every tier"),
    };
    Answer {
        verdict: Verdict::Good,
        text: format!(
            "yes: set {} is recovery-ready, {verified}, {age}{tried}",
            short(set)
        ),
        run: Some(backup.run),
        figure: None,
    }
}

/// The newest recovery of everything speaks; without one, the newest that was measured at all, and says of what.
fn how_long(findings: &Findings<'_>) -> Answer {
    let all = findings.system.components.len();
    let measured = || {
        findings
            .recoveries
            .iter()
            .filter(|recovery| recovery.table.system_rto.actual.is_some())
    };
    let complete = measured().find(|recovery| recovery.table.components.len() == all);
    let Some((recovery, actual)) = complete
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
        .map(|target| format!(", target {}", crate::text::duration(target)))
        .unwrap_or_default();
    let of = recovery.table.components.len();
    Answer {
        verdict: match target {
            Some(target) if actual > target => Verdict::Bad,
            _ => Verdict::Good,
        },
        text: format!(
            "{} the last time, for {of} of {all} components{against}",
            crate::text::duration(actual)
        ),
        run: Some(recovery.run),
        figure: Some(actual),
    }
}

/// A disaster now would cost what was written since the newest set; classes with a tighter RPO are named.
fn how_much(findings: &Findings<'_>, ready: Option<&Proven<BackupTable>>) -> Answer {
    let Some(backup) = ready else {
        return no_data("without a recovery-ready set, everything");
    };
    let since = backup.table.oldest_point.unwrap_or(backup.at);
    let loss = (findings.now - since).to_std().unwrap_or(Duration::ZERO);
    let classes = &findings.system.data_classes;
    let missed: Vec<&str> = classes
        .iter()
        .filter(|(_, class)| class.rpo.0 < loss)
        .map(|(name, _)| name.as_str())
        .collect();
    let judged = match (classes.len(), missed.len()) {
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
            "what was written in the last {}{judged}",
            crate::text::duration(loss)
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
    Answer {
        verdict: match (valid, invalid) {
            (_, 1..) => Verdict::Bad,
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
        Ok(age) => format!("{} old", crate::text::duration(age)),
        Err(_) => "made by a clock that is ahead of this one".to_owned(),
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
