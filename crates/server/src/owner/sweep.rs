//! Unfinished runs that nobody drives are gone on with, as long as an owner stays: what a failure interrupted that only
//! a person or time can mend, what somebody opened again, what could not be put together before.
//!
//! One that keeps being interrupted rests longer each time, so that neither the journal nor whoever pays for the
//! attempts notices a run that cannot come through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use rekindle_journal::{RunFilter, RunSummary};
use rekindle_model::id::RunId;
use rekindle_model::problem::Problem;
use tokio::time::Instant;

use super::Owner;
use crate::run_service::RunService;

/// How often an owner that stays looks for unfinished runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How often it looks, and how long a run rests that was interrupted once.
    pub every: Duration,
    /// How long a run rests at most that keeps being interrupted.
    pub longest: Duration,
}

impl Default for Pace {
    /// Half a minute, which nobody who has made room on a disk minds to wait; and an hour.
    fn default() -> Self {
        Self {
            every: Duration::from_secs(30),
            longest: Duration::from_secs(3600),
        }
    }
}

/// Goes on with unfinished runs, again and again.
pub struct Sweeper {
    owner: Owner,
    pace: Pace,
    /// The unfinished runs that were taken up, and when each may be again.
    resting: BTreeMap<RunId, Rest>,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    lasts: Duration,
}

impl Owner {
    /// Returns what goes on with unfinished runs at this pace.
    pub fn sweeper(&self, pace: Pace) -> Sweeper {
        Sweeper {
            owner: self.clone(),
            pace,
            resting: BTreeMap::new(),
        }
    }
}

impl Sweeper {
    /// Takes over every run without an end that nobody drives and that has rested, oldest first, and returns them. One
    /// that cannot be put together is told to the log and left as it is.
    ///
    /// # Errors
    /// When the runs cannot be listed.
    pub async fn sweep(&mut self) -> Result<Vec<RunId>, Problem> {
        let filter = RunFilter {
            finished: Some(false),
            ..RunFilter::default()
        };
        let shared = &self.owner.shared;
        let runs = shared.journal.runs(&filter).await;
        let runs = runs.map_err(|error| shared.journal_problem(error))?;
        let unfinished: BTreeSet<RunId> = runs.iter().map(|run| run.run).collect();
        // Whatever comes to its end has done with being interrupted.
        self.resting.retain(|run, _| unfinished.contains(run));
        // It is gone on with by the run that it is part of.
        let is_part = |run: &RunSummary| run.parent().is_some_and(|of| unfinished.contains(&of.run));
        let mut rested = Vec::new();
        for found in runs.iter().rev().filter(|run| !is_part(run)) {
            let run = found.run;
            if self.owner.driven(run).is_none() && !self.rests(run) {
                rested.push(run);
            }
        }
        // Begun in their order; one whose tier hangs holds no other up.
        let resumed = join_all(rested.iter().map(|run| self.owner.resume(*run))).await;
        let mut taken = Vec::new();
        for (run, resumed) in rested.into_iter().zip(resumed) {
            match resumed {
                Ok(()) => taken.push(run),
                Err(problem) => tracing::warn!(%run, %problem, "cannot be taken over"),
            }
        }
        Ok(taken)
    }

    /// Sweeps until the owner is told to stop: at its pace, and at once where somebody has asked for more of a run that
    /// nobody drives.
    pub async fn keep_on(&mut self) {
        let shared = Arc::clone(&self.owner.shared);
        loop {
            tokio::select! {
                () = shared.stop.cancelled() => return,
                () = shared.nudge.notified() => {}
                () = tokio::time::sleep(self.pace.every) => {}
            }
            let asked = std::mem::take(&mut *shared.asked.lock().unwrap_or_else(PoisonError::into_inner));
            self.resting.retain(|run, _| !asked.contains(run));
            match self.sweep().await {
                Ok(taken) => taken
                    .iter()
                    .for_each(|run| tracing::info!(%run, "is gone on with")),
                Err(problem) => tracing::warn!(%problem, "cannot look for unfinished runs"),
            }
        }
    }

    /// Returns whether a run rests; one that does not is taken up, and rests from now on.
    fn rests(&mut self, run: RunId) -> bool {
        let now = Instant::now();
        let lasts = match self.resting.get(&run) {
            Some(rest) if rest.until > now => return true,
            Some(rest) => (rest.lasts * 2).min(self.pace.longest),
            None => self.pace.every,
        };
        let until = now + lasts;
        self.resting.insert(run, Rest { until, lasts });
        false
    }
}
