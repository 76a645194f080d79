//! The updates that a follower of a run receives: each record once and in order, the progress of its steps, and its
//! end.

use std::collections::BTreeMap;
use std::sync::Arc;

use rekindle_engine::Progress;
use rekindle_model::event::{Event, Outcome, Record};
use rekindle_model::id::RunId;
use rekindle_model::run::RunState;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use super::{Driven, Owner, ended};
use crate::api::{End, RunUpdate};

/// Returns the updates on a run that no process drives, as [`RunService::follow`] sends them.
pub fn updates_of(records: Vec<Record>) -> mpsc::Receiver<RunUpdate> {
    let outcome = RunState::from_records(&records)
        .ok()
        .and_then(|state| state.outcome);
    let end = outcome.map_or(End::Interrupted, End::Finished);
    let (updates, receiver) = mpsc::channel(records.len() + 1);
    let all = records
        .into_iter()
        .map(|record| RunUpdate::Record(Box::new(record)));
    for message in all.chain([RunUpdate::Ended(end)]) {
        // The channel has room for all of them, and the receiver is still here.
        let _ = updates.try_send(message);
    }
    receiver
}

/// A follower of a run.
pub(super) struct Follower {
    pub(super) owner: Owner,
    pub(super) run: RunId,
    /// The number of the newest record that was sent.
    pub(super) last: u64,
    pub(super) told: mpsc::Sender<RunUpdate>,
    /// The runs that its steps wait for, at any depth, with the way to each.
    pub(super) below: BTreeMap<RunId, String>,
}

/// The follower has disconnected.
pub(super) struct Gone;

impl Follower {
    pub(super) async fn follow(
        mut self,
        mut records: broadcast::Receiver<Arc<Record>>,
        mut driven: Option<Driven>,
    ) -> Result<(), Gone> {
        if self.catch_up().await?.is_none() && driven.is_none() {
            driven = self.owner.admitted(self.run).await;
        }
        let Some(Driven { engine, mut end, .. }) = driven else {
            return self.finish(None).await;
        };
        self.look_below().await?;
        let mut progress: broadcast::Receiver<Progress> = engine.progress();
        let mut measuring = true;
        loop {
            tokio::select! {
                biased;
                record = records.recv() => match record {
                    Ok(record) if record.run == self.run => self.record((*record).clone()).await?,
                    Ok(record) => self.record_below(&record).await?,
                    Err(RecvError::Lagged(_)) => self.catch_up().await.map(drop)?,
                    Err(RecvError::Closed) => return self.finish(None).await,
                },
                told = progress.recv(), if measuring => match told {
                    Ok(told) if told.run == self.run => self.say(told.into()).await?,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => measuring = false,
                },
                end = ended(&mut end) => return self.finish(end).await,
                () = self.told.closed() => return Err(Gone),
            }
        }
    }

    /// Finds the runs below, and sends the questions that wait there.
    async fn look_below(&mut self) -> Result<(), Gone> {
        let mut around = vec![(self.run, String::new())];
        while let Some((run, way)) = around.pop() {
            for (inner, step) in self.owner.unfinished_below(run).await {
                let way = format!("{way}{step}");
                self.below.insert(inner, way.clone());
                let records = self.owner.read(inner).await.unwrap_or_default();
                let state = RunState::from_records(&records);
                let waits = |record: &&Record| match (&record.event, &state) {
                    (Event::ApprovalRequested { step, attempt, .. }, Ok(state)) => {
                        let step = state.step(step);
                        step.awaits().is_some() && step.attempts == *attempt
                    }
                    _ => false,
                };
                for record in records.iter().filter(waits) {
                    self.record_below(record).await?;
                }
                around.push((inner, format!("{way}/")));
            }
        }
        Ok(())
    }

    /// Sends what a person must know of a run below.
    async fn record_below(&mut self, record: &Record) -> Result<(), Gone> {
        if let Some(parent) = record
            .event
            .origin()
            .and_then(|origin| origin.trigger.parent().cloned())
        {
            let way = self
                .below
                .get(&parent.run)
                .map(|way| format!("{way}/{}", parent.step));
            let way = way.or_else(|| (parent.run == self.run).then(|| parent.step.to_string()));
            way.map(|way| self.below.insert(record.run, way));
        }
        let asks = matches!(
            record.event,
            Event::ApprovalRequested { .. }
                | Event::Approved { .. }
                | Event::Rejected { .. }
                | Event::PauseRequested { .. }
                | Event::RunUnpaused { .. }
        );
        match self.below.get(&record.run).filter(|_| asks) {
            Some(path) => {
                let (path, record) = (path.clone(), Box::new(record.clone()));
                self.say(RunUpdate::Below { path, record }).await
            }
            None => Ok(()),
        }
    }

    /// Sends the journal's records that were not sent yet, then the reason of the end.
    async fn finish(mut self, end: Option<End>) -> Result<(), Gone> {
        let outcome = self.catch_up().await?;
        let end = match (end, outcome) {
            (Some(end), _) => end,
            (None, Some(outcome)) => End::Finished(outcome),
            (None, None) => End::Interrupted,
        };
        self.say(RunUpdate::Ended(end)).await
    }

    /// Sends the journal's records that were not sent yet. Returns how the run ended, if it has.
    async fn catch_up(&mut self) -> Result<Option<Outcome>, Gone> {
        let records = match self.owner.read(self.run).await {
            Ok(records) => records,
            Err(problem) => {
                self.say(RunUpdate::Ended(End::Broken(problem))).await?;
                return Err(Gone);
            }
        };
        let outcome = RunState::from_records(&records)
            .ok()
            .and_then(|state| state.outcome);
        for record in Arc::unwrap_or_clone(records) {
            self.record(record).await?;
        }
        Ok(outcome)
    }

    async fn record(&mut self, record: Record) -> Result<(), Gone> {
        if record.seq <= self.last {
            return Ok(());
        }
        self.last = record.seq;
        self.say(RunUpdate::Record(Box::new(record))).await
    }

    async fn say(&self, told: RunUpdate) -> Result<(), Gone> {
        self.told.send(told).await.map_err(|_| Gone)
    }
}
