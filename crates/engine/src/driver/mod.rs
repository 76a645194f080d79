//! The driver of one run. It waits for an input, lets the machine decide, appends the decision, and only then acts.
//!
//! ```text
//!  control ─┐                       ┌─ Append ──► journal ──► fold
//!  tasks ───┼─► Input ─► machine ─► │  (durable before anything below)
//!  timer ───┤                       ├─ StartStep, Reconcile, Recheck ──► a task each, with its permit
//!  asked ───┤                       └─ CancelStep, ArmTimer, Finish, Interrupt
//!  wishes ──┘
//! ```
//! If an append fails, the driver performs nothing of the decision and drops every task at once. The error says whether
//! another process has taken the run over or the journal is lost. If a copy of the journal elsewhere shows that another
//! host has taken the run over, the driver does the same.

mod work;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rekindle_journal::Append;
use rekindle_model::event::{Event, Record};
use rekindle_model::id::{RunId, StepId};
use rekindle_model::run::RunState;
use rekindle_model::step::StepState;
use rekindle_model::time::Stamp;
use rekindle_plan::Plan;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::{self, JoinError, JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::context::Asked;
use crate::control::{Control, Ended};
use crate::error::EngineError;
use crate::groups::{GroupLock, Member, NotNow};
use crate::machine::{Effect, Input, Machine};
use crate::nest;
use crate::payload;
use crate::permits::{Permit, Permits};
use crate::replica::{Replica, TakenOver};
use crate::request::Wish;
use crate::shared::Shared;
use work::{Job, Reins, Report, Task};

/// The longest sleep without a look at the clock. While the host is suspended, tokio's time stops, but waits and
/// timeouts continue.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// How many notes of attempts may wait to be journaled; each attempt waits for its own.
const NOTES: usize = 64;

/// Drives a run with this history until it is over or stopped.
pub(crate) async fn drive(
    shared: Arc<Shared>,
    records: &[Record],
    epoch: u64,
    plan: Arc<Plan>,
    ambient: Value,
    control: &Control,
    wishes: mpsc::Receiver<Wish>,
) -> Result<Ended, EngineError> {
    let state = RunState::from_records(records)?;
    if state.outcome.is_some() {
        return Ok(Ended::Finished(state));
    }
    if state.epoch != epoch {
        return Err(EngineError::Fenced { run: state.id });
    }
    let run = state.id;
    let values = outputs(&shared, &state).await?;
    let member = shared.groups.join(run, state.parent().map(|parent| parent.run));
    let max_parallel = plan.max_parallel.max(1);
    let machine = Machine::at(plan, state, records, ambient, values)?.looking_only_for(|uses| {
        let action = shared.registry.get(uses);
        action.is_some_and(|action| action.can_be_gone())
    });
    let (asking, asked) = mpsc::channel(NOTES);
    let all = CancellationToken::new();
    let mut driver = Driver {
        shared,
        machine,
        epoch,
        max_parallel,
        tasks: JoinSet::new(),
        jobs: HashMap::new(),
        at_work: BTreeMap::new(),
        asking,
        _ends_all: all.clone().drop_guard(),
        all,
        alarm: None,
        locks: BTreeMap::new(),
        member,
        ticket: None,
        ended: None,
    };
    let replica = driver.shared.replica.clone();
    let mut keeping = Keeping::begin(replica.clone(), run);
    let ended = driver.run(asked, wishes, control, &mut keeping).await;
    drop(keeping);
    match (&ended, replica) {
        (Ok(_), Some(replica)) => replica.end(run).await?,
        (Ok(_), None) => {}
        (Err(_), _) => driver.drop_everything().await,
    }
    ended
}

/// The task that copies the journal's records for as long as the run is driven.
struct Keeping(Option<JoinHandle<TakenOver>>);

impl Keeping {
    fn begin(replica: Option<Arc<dyn Replica>>, run: RunId) -> Self {
        Self(replica.map(|replica| tokio::spawn(async move { replica.keep(run).await })))
    }

    /// Waits until a copy shows that another host has taken the run over.
    async fn lost(&mut self) -> TakenOver {
        if let Some(task) = &mut self.0
            && let Ok(taken) = task.await
        {
            self.0 = None;
            return taken;
        }
        // The copying task has panicked, or there is none. Barriers still find a takeover.
        self.0 = None;
        std::future::pending().await
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Returns the outputs of a run's succeeded steps in full, even if the journal keeps them as blobs.
async fn outputs(shared: &Shared, state: &RunState) -> Result<BTreeMap<StepId, Value>, EngineError> {
    let mut values = BTreeMap::new();
    for (step, record) in &state.steps {
        if let StepState::Succeeded { output, .. } = &record.state {
            let value =
                payload::load(&*shared.journal, output)
                    .await
                    .map_err(|error| EngineError::Value {
                        run: state.id,
                        step: step.clone(),
                        why: error.to_string(),
                    })?;
            values.insert(step.clone(), value);
        }
    }
    Ok(values)
}

/// One run while it is driven.
struct Driver {
    shared: Arc<Shared>,
    machine: Machine,
    /// The epoch that this process may append under.
    epoch: u64,
    max_parallel: usize,
    /// One task for each step at work.
    tasks: JoinSet<Report>,
    /// The job of each task, also for a task that panics.
    jobs: HashMap<task::Id, Job>,
    at_work: BTreeMap<StepId, AtWork>,
    asking: mpsc::Sender<Asked>,
    /// The parent of every step's `stop`.
    all: CancellationToken,
    /// Cancels `all` when the driver is dropped. So work on threads, which cannot be dropped, ends too.
    _ends_all: DropGuard,
    alarm: Option<Instant>,
    /// Locks that the driver has taken for steps about to start.
    locks: BTreeMap<String, GroupLock>,
    /// The run as a member of its group. When the driver is dropped, it gives the run's lock back.
    member: Member,
    /// The run's place among the runs that wait for a permit, until it gets one.
    ticket: Option<u64>,
    ended: Option<Ended>,
}

/// A step at work.
struct AtWork {
    reins: Reins,
    /// Its lock in its group, if it has one.
    lock: Option<GroupLock>,
    /// Its permit of the process. A step that waits for another run has none.
    permit: Option<Permit>,
}

impl Driver {
    async fn run(
        &mut self,
        mut asked: mpsc::Receiver<Asked>,
        mut wishes: mpsc::Receiver<Wish>,
        control: &Control,
        keeping: &mut Keeping,
    ) -> Result<Ended, EngineError> {
        // If a stop was requested before the drive begins, it holds from the beginning.
        let mut stopped = control.stop.is_cancelled();
        let first = if stopped { Input::Stop } else { Input::Begin };
        self.decide(first, Vec::new()).await?;
        let mut freed = self.shared.groups.freed();
        loop {
            self.take_locks(&mut freed).await?;
            if let Some(ended) = self.ended.take() {
                return Ok(ended);
            }
            if self.take_runs_lock().await? {
                continue;
            }
            let alarm = self.alarm;
            let (permits, starved) = (Arc::clone(&self.shared.permits), self.machine.starved());
            let ticket = self.place_in_line(&permits, starved.is_some());
            tokio::select! {
                biased;
                taken = keeping.lost() => return Err(taken.into()),
                () = control.stop.cancelled(), if !stopped => {
                    stopped = true;
                    self.decide(Input::Stop, Vec::new()).await?;
                }
                Some(wish) = wishes.recv() => self.wish(wish).await?,
                Some(asked) = asked.recv() => self.note(asked).await?,
                Some(done) = self.tasks.join_next_with_id() => self.done(done).await?,
                permit = permits.take(starved.unwrap_or_default(), ticket), if starved.is_some() => {
                    self.ticket = None;
                    self.decide_with(Input::Wake, vec![permit], None).await?;
                }
                Ok(()) = freed.changed(), if self.waits_for_a_lock() => {}
                () = tokio::time::sleep_until(alarm.unwrap_or_else(Instant::now)), if alarm.is_some() => {
                    self.decide(Input::Wake, Vec::new()).await?;
                }
            }
        }
    }

    /// If the run waits for its group lock, tries to take it. Returns whether it took the lock or gave way in a deadlock.
    async fn take_runs_lock(&mut self) -> Result<bool, EngineError> {
        let Some(group) = self.machine.awaits_lock() else {
            // A run that is paused before it has its lock leaves the line, so that it delays no other run.
            if self.machine.needs_lock() {
                self.member.leave();
            }
            return Ok(false);
        };
        match self.member.take_lock(group) {
            Ok(()) => {
                self.decide(Input::LockTaken, Vec::new()).await?;
                Ok(true)
            }
            Err(NotNow::After(holder)) if self.machine.state().awaits_lock.is_none() => {
                self.decide(Input::LockHeldBy(holder), Vec::new()).await?;
                Ok(false)
            }
            Err(NotNow::After(_)) => Ok(false),
            Err(NotNow::Deadlock(cycle)) => {
                self.decide(Input::Deadlock(cycle), Vec::new()).await?;
                Ok(true)
            }
        }
    }

    fn waits_for_a_lock(&self) -> bool {
        !self.machine.wanted().is_empty() || self.machine.awaits_lock().is_some()
    }

    /// Takes the free locks among those that steps wait for, and lets these steps start.
    async fn take_locks(&mut self, freed: &mut watch::Receiver<u64>) -> Result<(), EngineError> {
        loop {
            // A lock that ends after this line counts as a change.
            freed.borrow_and_update();
            for group in self.machine.wanted() {
                if let Some(lock) = self.shared.groups.take(group) {
                    self.locks.insert(group.clone(), lock);
                }
            }
            if self.locks.is_empty() {
                return Ok(());
            }
            self.locks.keys().for_each(|group| self.machine.give_lock(group));
            self.decide(Input::Wake, Vec::new()).await?;
            self.give_back_locks();
        }
    }

    /// Gives back the locks that no step has used.
    fn give_back_locks(&mut self) {
        self.machine.take_locks();
        self.locks.clear();
    }

    /// Lets the machine decide, journals the decision and performs it. `permits` have just become free. Returns
    /// whether it journaled anything.
    async fn decide(&mut self, input: Input, permits: Vec<Permit>) -> Result<bool, EngineError> {
        let rival = self.shared.permits.most_urgent();
        self.decide_with(input, permits, rival).await
    }

    /// Does what [`Driver::decide`] does. `rival` is the priority of the most urgent step that waits for a permit.
    async fn decide_with(
        &mut self,
        input: Input,
        permits: Vec<Permit>,
        rival: Option<i64>,
    ) -> Result<bool, EngineError> {
        let permits = self.permits(permits);
        self.listen();
        let now = self.shared.clock.now();
        self.machine.yield_to(rival);
        let effects = self.machine.decide(input, &now, permits.len());
        self.follow(effects, now, permits).await
    }

    /// Decides on a person's request, and answers once the decision is durable.
    async fn wish(&mut self, wish: Wish) -> Result<(), EngineError> {
        let permits = self.permits(Vec::new());
        self.listen();
        let now = self.shared.clock.now();
        self.machine.yield_to(self.shared.permits.most_urgent());
        let decided = match self.machine.request(&wish.request, &now, permits.len()) {
            Ok(effects) => self.follow(effects, now, permits).await.map(|_| Ok(()))?,
            Err(refusal) => Err(refusal),
        };
        // The requester may have stopped waiting.
        let _ = wish.done.send(decided);
        Ok(())
    }

    /// Passes every sign of progress since the last decision to the machine.
    fn listen(&mut self) {
        for (step, at_work) in &self.at_work {
            let sign = at_work
                .reins
                .sign
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(at) = sign {
                self.machine.heard(step, at);
            }
        }
    }

    /// Returns the run's place among the runs that wait for a permit. The run keeps it until it gets a permit.
    fn place_in_line(&mut self, permits: &Permits, waits: bool) -> u64 {
        if !waits {
            self.ticket = None;
            return 0;
        }
        *self.ticket.get_or_insert_with(|| permits.ticket())
    }

    /// Returns these permits, and takes as many more as are free and as the plan's `max_parallel` allows.
    fn permits(&self, mut permits: Vec<Permit>) -> Vec<Permit> {
        let taken = self
            .at_work
            .values()
            .filter(|at_work| at_work.permit.is_some())
            .count();
        let wanted = self.max_parallel.saturating_sub(taken);
        while permits.len() < wanted {
            let Some(permit) = self.shared.permits.try_take() else {
                break;
            };
            permits.push(permit);
        }
        permits
    }

    async fn follow(
        &mut self,
        effects: Vec<Effect>,
        now: Stamp,
        mut permits: Vec<Permit>,
    ) -> Result<bool, EngineError> {
        self.alarm = None;
        let mut journaled = false;
        for effect in effects {
            if let Effect::Append(events) = effect {
                self.append(events, now).await?;
                journaled = true;
            } else {
                self.perform(effect, &mut permits);
            }
        }
        Ok(journaled)
    }

    async fn append(&mut self, events: Vec<Event>, now: Stamp) -> Result<(), EngineError> {
        let state = self.machine.state();
        let append = Append {
            run: state.id,
            expected_seq: state.seq,
            epoch: self.epoch,
            events,
            now,
        };
        let records = self.shared.journal.append(append).await?;
        for record in &records {
            match record.event.step() {
                Some(step) => tracing::info!(run = %record.run, %step, "{}", record.event.name()),
                None => tracing::info!(run = %record.run, "{}", record.event.name()),
            }
        }
        Ok(self.machine.fold(&records)?)
    }

    fn perform(&mut self, effect: Effect, permits: &mut Vec<Permit>) {
        match effect {
            Effect::StartStep {
                step,
                attempt,
                with,
                checkpoint,
                children,
            } => {
                let task = Task::Run { checkpoint, children };
                self.spawn(Job { step, attempt, task }, with, permits);
            }
            Effect::Reconcile {
                step,
                attempt,
                with,
                checkpoint,
                children,
            } => {
                let task = Task::Reconcile { checkpoint, children };
                self.spawn(Job { step, attempt, task }, with, permits);
            }
            Effect::Recheck {
                step,
                attempt,
                with,
                output,
            } => {
                let task = Task::Recheck { output };
                self.spawn(Job { step, attempt, task }, with, permits);
            }
            Effect::StartUndo {
                step,
                attempt,
                with,
                children,
            } => {
                let task = Task::Undo { children };
                self.spawn(Job { step, attempt, task }, with, permits);
            }
            Effect::CancelStep { step, for_good } => {
                if let Some(AtWork { reins, .. }) = self.at_work.get(&step) {
                    if for_good {
                        reins.given_up.cancel();
                    }
                    reins.stop.cancel();
                }
            }
            Effect::ArmTimer { after, .. } => self.alarm = Some(Instant::now() + after.min(LONGEST_SLEEP)),
            Effect::Finish => self.ended = Some(Ended::Finished(self.machine.state().clone())),
            Effect::Interrupt => self.ended = Some(Ended::Interrupted(self.machine.state().clone())),
            // `follow` takes the append out before it performs the rest.
            Effect::Append(_) => {}
        }
    }

    fn spawn(&mut self, job: Job, with: Value, permits: &mut Vec<Permit>) {
        let Some(mut planned) = self.machine.planned(&job.step).cloned() else {
            tracing::error!(step = %job.step, "taken up without a plan");
            return;
        };
        if let (Task::Undo { .. }, Some(undo)) = (&job.task, planned.compensate.clone()) {
            (planned.uses, planned.with) = (undo.uses, undo.with);
        }
        let permit = match nest::nests(&planned) {
            true => None,
            false => permits.pop(),
        };
        if permit.is_none() && !nest::nests(&planned) {
            // The machine takes up no more steps than it was given room for.
            tracing::error!(step = %job.step, "taken up without a permit");
            return;
        }
        let locks = !matches!(job.task, Task::Recheck { .. });
        let group = planned.concurrency.as_ref().filter(|_| locks);
        let lock = group.and_then(|group| self.locks.remove(group));
        let reins = Reins {
            stop: self.all.child_token(),
            given_up: CancellationToken::new(),
            sign: Arc::default(),
        };
        let cx = work::context(
            &self.shared,
            &self.machine,
            planned,
            &job,
            with,
            reins.clone(),
            self.asking.clone(),
        );
        self.at_work
            .insert(job.step.clone(), AtWork { reins, lock, permit });
        let task = self
            .tasks
            .spawn(work::perform(Arc::clone(&self.shared), cx, job.task.clone()));
        self.jobs.insert(task.id(), job);
    }

    /// Handles the end of a task: its report or its panic.
    async fn done(&mut self, done: Result<(task::Id, Report), JoinError>) -> Result<(), EngineError> {
        let id = match &done {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some(job) = self.jobs.remove(&id) else {
            return Ok(());
        };
        let at_work = self.at_work.remove(&job.step);
        let (permit, lock) = at_work.map_or((None, None), |at_work| (at_work.permit, at_work.lock));
        let group = self
            .machine
            .planned(&job.step)
            .and_then(|step| step.concurrency.clone());
        // A step that was reconciled continues under the same lock.
        if let (Task::Reconcile { .. }, Some(lock), Some(group)) = (&job.task, lock, group) {
            self.machine.give_lock(&group);
            self.locks.insert(group, lock);
        }
        let input = match done {
            Ok((_, report)) => report?,
            Err(error) => work::broken(job, error),
        };
        self.decide(input, permit.into_iter().collect()).await?;
        self.give_back_locks();
        Ok(())
    }

    async fn note(&mut self, asked: Asked) -> Result<(), EngineError> {
        let Asked {
            step,
            attempt,
            note,
            done,
        } = asked;
        // The decision may append other events without the note. So the result of `decide` cannot answer this.
        let granted = self.machine.lives(&step, attempt);
        self.decide(Input::Noted { step, attempt, note }, Vec::new())
            .await?;
        // The attempt may have been dropped while it waited.
        let _ = done.send(granted);
        Ok(())
    }

    /// Stops acting on the run: asks all tasks to end and drops them.
    async fn drop_everything(&mut self) {
        self.all.cancel();
        // A task that does not return to the scheduler cannot be dropped. It must not delay the error.
        let _ = tokio::time::timeout(self.shared.grace, self.tasks.shutdown()).await;
    }
}
