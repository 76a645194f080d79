//! While an owner stays, it resumes unfinished runs that no process drives. Such a run failed with an error
//! that only a person or time can mend, or a person reopened it, or it could not be assembled before.
//!
//! A run that is interrupted again and again rests longer each time. So a run that cannot succeed neither
//! fills the journal nor costs many attempts.

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
    /// How often it looks, and how long a run rests after its first interruption.
    pub every: Duration,
    /// The longest rest of a run that is interrupted again and again.
    pub longest: Duration,
}

impl Default for Pace {
    /// Looks every half minute, which is soon enough after a person has made room on a disk. The longest rest is an
    /// hour.
    fn default() -> Self {
        Self {
            every: Duration::from_secs(30),
            longest: Duration::from_secs(3600),
        }
    }
}

/// Resumes unfinished runs, again and again.
pub struct Sweeper {
    owner: Owner,
    pace: Pace,
    /// The unfinished runs that the sweeper took up, with the time at which it may take up each again.
    resting: BTreeMap<RunId, Rest>,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    lasts: Duration,
}

impl Owner {
    /// Returns a sweeper that resumes unfinished runs at this pace.
    pub fn sweeper(&self, pace: Pace) -> Sweeper {
        Sweeper {
            owner: self.clone(),
            pace,
            resting: BTreeMap::new(),
        }
    }
}

impl Sweeper {
    /// Adopts every unfinished run that no process drives and that has rested, oldest first, and returns
    /// them. If a run cannot be adopted, logs the reason and leaves the run as it is.
    ///
    /// # Errors
    /// The runs cannot be listed.
    pub async fn sweep(&mut self) -> Result<Vec<RunId>, Problem> {
        let filter = RunFilter {
            finished: Some(false),
            ..RunFilter::default()
        };
        let shared = &self.owner.shared;
        let runs = shared.journal.runs(&filter).await;
        let runs = runs.map_err(|error| shared.journal_problem(error))?;
        let unfinished: BTreeSet<RunId> = runs.iter().map(|run| run.run).collect();
        // Forget the rests of runs that have ended.
        self.resting.retain(|run, _| unfinished.contains(run));
        // The parent continues a run that is part of it.
        let is_part = |run: &RunSummary| run.parent().is_some_and(|of| unfinished.contains(&of.run));
        let mut rested = Vec::new();
        for found in runs.iter().rev().filter(|run| !is_part(run)) {
            let run = found.run;
            if self.owner.driven(run).is_none() && !self.rests(run) {
                rested.push(run);
            }
        }
        // They start in their order. If a run's tier hangs, it delays no other run.
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

    /// Sweeps until the owner stops: at intervals, and at once if a run that no process drives receives a
    /// request.
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
                Ok(taken) => taken.iter().for_each(|run| tracing::info!(%run, "resumed")),
                Err(problem) => tracing::warn!(%problem, "cannot look for unfinished runs"),
            }
        }
    }

    /// Returns whether a run rests. If it does not, the sweeper takes it up now, and a new rest starts.
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
