//! The machine decides the next effects of a run, without I/O and without a clock.
//!
//! [`Machine::decide`] takes an input and returns effects, which are data. At most one of them is an
//! [`Effect::Append`], and it comes first. The driver journals it, gives the records back to [`Machine::fold`], and
//! only then performs the others. So a success and the starts that it unlocks are one append, and the driver performs
//! nothing that is not journaled.
//!
//! A machine is made from the records of a run, new or resumed. Beside the fold of the records, it keeps only data
//! about the work of this process. That data ends with the process.
//!
//! | module | what it decides |
//! |---|---|
//! | `input` | nothing: it holds the inputs and the effects |
//! | `frontier` | nothing: it holds the steps that may continue, so that a decision need not look at all steps |
//! | `judge` | whether a step runs, waits or is skipped, by its needs and `run_if` |
//! | `settle` | which steps start now, which are skipped, whether the run is over |
//! | `respond` | how to respond to an attempt's end, a reconciliation, a recheck, a lock or a stop |
//! | `request` | how to respond to a person's request, and to a decision on an approval |
//! | `limits` | which work takes too long, and how long it may still take |
//! | `retry` | whether and when another attempt follows a failed one |
//! | `scope` | which values expressions see |
//! | `undo` | which step to undo next, and what follows from the end of an undo |
//! | `handlers` | when the handlers run: `on_failure`, `on_cancel` and `finally` |
//! | `outcome` | how the run ended, and its figures |

mod frontier;
mod handlers;
mod input;
mod judge;
mod limits;
mod outcome;
mod request;
mod respond;
mod retry;
mod scope;
mod settle;
#[cfg(test)]
mod tests;
mod undo;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rekindle_model::event::{Event, Measures, Payload, Record};
use rekindle_model::id::StepId;
use rekindle_model::run::{IllegalHistory, RunState};
use rekindle_model::step::StepRecord;
use rekindle_model::time::Stamp;
use rekindle_plan::{Plan, PlanStep};
use serde_json::Value;

use crate::context::{EndedSteps, StepView};
use crate::error::EngineError;
use crate::request::{Refusal, Request};

use frontier::{Frontier, Standing};
pub(crate) use input::{Effect, Ending, Found, Input, Undone};
use scope::Scope;

/// The decisions on one run so far.
pub(crate) struct Machine {
    plan: Arc<Plan>,
    /// Each step's place in the plan.
    places: HashMap<StepId, usize>,
    /// For each step, the places of the steps that it needs.
    needs: Vec<Vec<usize>>,
    /// For each step, the places of the steps that need it.
    dependents: Vec<Vec<usize>>,
    state: RunState,
    /// The record of a step that no event has named.
    untouched: StepRecord,
    scope: Scope,
    frontier: Frontier,
    /// For each lane of the frontier, how many of its steps may be at work at once.
    lane_limits: Vec<usize>,
    /// The steps that have ended.
    views: EndedSteps,
    /// For each step that waits for its next attempt, when it failed last: its wait began then.
    failed_at: HashMap<usize, Stamp>,
    /// For each step, the number of the record that started it last; 0 if none did.
    started: Vec<u64>,
    phase: Phase,
    /// Whether this process leaves the run before all of it is undone.
    leaving: bool,
    /// The reason why the run ends early, if it does.
    cut_short: CutShort,
    /// Whether it was cancelled once its handlers had begun. Then it ends as it would have ended.
    late_cancel: bool,
    /// Whether its handlers end early, since it was cancelled twice.
    handlers_called_off: bool,
    /// Whether the run has given way in a deadlock. It then never gets its lock.
    deadlocked: bool,
    /// Whether nothing may start until a person lets it.
    paused: bool,
    /// Whether nothing may start before the run has the lock in its group.
    needs_lock: bool,
    /// When a run of a group began. Its deadline counts from then.
    begun: Option<Stamp>,
    /// The steps that this process works on.
    held: BTreeMap<usize, Held>,
    /// For each step, whether its artefact can be gone.
    can_be_gone: Vec<bool>,
    /// The steps whose artefacts the actions must recheck before a step starts.
    to_recheck: BTreeSet<usize>,
    /// The steps whose reconciliation failed and waits for its next try.
    reconcile_later: HashMap<usize, Later>,
    /// How urgent the most urgent step is that could start, were there a permit of the process for it.
    starved: Option<i64>,
    /// The priority of the most urgent step of other runs that waits for a permit. It goes first, unless this run has a
    /// more urgent step.
    rival: Option<i64>,
    /// The groups whose lock this run has and none of its steps uses.
    locks: BTreeSet<String>,
    /// The groups in which a step could start if it had the lock.
    wanted: BTreeSet<String>,
}

/// Where the run is heading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Going,
    /// No step starts any more; the run can be resumed.
    Stopping,
    /// No step starts any more, and the run ends early. [`CutShort`] says why.
    Cancelling,
}

/// The reason why a run ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CutShort {
    /// A person cancelled it.
    Cancel,
    /// Its deadline has passed.
    Deadline,
    /// It gave way, since runs waited for each other.
    Deadlock,
}

/// A step that this process works on.
#[derive(Clone, Copy, Debug)]
struct Held {
    work: Work,
    since: Stamp,
    /// When it last gave a sign of progress.
    heard: Stamp,
    /// Why the machine asked it to end, if it did.
    stop: Option<StopWhy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Attempt,
    Reconcile,
    Recheck,
    Undo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StopWhy {
    Timeout,
    Deadline,
    Stalled,
    Stop,
    Cancel,
}

/// A reconciliation that the machine will try again.
#[derive(Clone, Copy, Debug)]
struct Later {
    failures: u32,
    since: Stamp,
    wait: Duration,
}

/// A decision in the making: events, and the steps as they will be once the events are journaled.
struct Draft {
    now: Stamp,
    /// How many steps the machine may take up beside those at hand.
    room: usize,
    touched: BTreeMap<usize, StepRecord>,
    events: Vec<Event>,
    effects: Vec<Effect>,
}

/// Returns for each step its lane: 0, or one that the steps of a loop with a `max_parallel` share. Returns for each
/// lane how many of its steps may be at work at once.
fn lanes(plan: &Plan) -> (Vec<usize>, Vec<usize>) {
    let mut limits = vec![usize::MAX];
    let mut known: HashMap<&str, usize> = HashMap::new();
    let lanes = plan.steps.iter().map(|step| match step.max_parallel {
        None => 0,
        Some(limit) => *known.entry(&step.template).or_insert_with(|| {
            limits.push(limit.max(1));
            limits.len() - 1
        }),
    });
    (lanes.collect(), limits)
}

impl Draft {
    fn at(now: &Stamp, room: usize) -> Self {
        Self {
            now: *now,
            room,
            touched: BTreeMap::new(),
            events: Vec::new(),
            effects: Vec::new(),
        }
    }
}

impl Machine {
    /// Returns the machine of a run with this history. `values` are the outputs of its succeeded steps.
    ///
    /// # Errors
    /// A history that does not fold, or that names a step which the plan lacks.
    pub(crate) fn new(
        plan: Arc<Plan>,
        records: &[Record],
        ambient: Value,
        values: BTreeMap<StepId, Value>,
    ) -> Result<Self, EngineError> {
        Self::at(plan, RunState::from_records(records)?, records, ambient, values)
    }

    /// Does what [`Machine::new`] does, with `state` as the fold of the history.
    ///
    /// # Errors
    /// A history that names a step which the plan lacks.
    pub(crate) fn at(
        plan: Arc<Plan>,
        state: RunState,
        records: &[Record],
        ambient: Value,
        mut values: BTreeMap<StepId, Value>,
    ) -> Result<Self, EngineError> {
        let places: HashMap<StepId, usize> = plan
            .steps
            .iter()
            .enumerate()
            .map(|(place, step)| (step.id.clone(), place))
            .collect();
        if let Some(step) = state.steps.keys().find(|step| !places.contains_key(*step)) {
            return Err(EngineError::OtherPlan {
                run: state.id,
                step: step.clone(),
            });
        }
        let mut needs = Vec::with_capacity(plan.steps.len());
        let mut dependents = vec![Vec::new(); plan.steps.len()];
        for (place, step) in plan.steps.iter().enumerate() {
            let found: Vec<usize> = step
                .needs
                .iter()
                .filter_map(|need| places.get(need).copied())
                .collect();
            found.iter().for_each(|&need| dependents[need].push(place));
            needs.push(found);
        }
        let mut scope = Scope::new(&plan, &state, &ambient);
        let mut views = EndedSteps::default();
        for (id, record) in state.steps.iter().filter(|(_, record)| record.state.is_final()) {
            let output = values.remove(id).unwrap_or_default();
            if let Some(step) = plan.steps.get(places[id]) {
                scope.add(places[id], step, &record.state, &output);
            }
            views.insert(
                id.clone(),
                StepView {
                    uses: plan.steps[places[id]].uses.clone(),
                    state: record.clone(),
                    output,
                },
            );
        }
        let mut failed_at = HashMap::new();
        let mut started = vec![0; plan.steps.len()];
        for record in records {
            match &record.event {
                Event::StepFailed { step, .. } => drop(failed_at.insert(places[step], record.time)),
                Event::StepStarted { step, .. } => started[places[step]] = record.seq,
                _ => {}
            }
        }
        let standing = plan.steps.iter().map(|step| {
            let record = state.steps.get(&step.id);
            record.map_or(Standing::Pending, |record| Standing::of(&record.state))
        });
        let priority = plan.steps.iter().map(|step| step.priority).collect();
        let is_handler = plan.steps.iter().map(|step| step.handler.is_some()).collect();
        let (lanes, lane_limits) = lanes(&plan);
        let frontier = Frontier::new(standing.collect(), priority, is_handler, lanes, &needs);
        let late_cancel =
            handlers::cancelled_late(records, |step| plan.steps[places[step]].handler.is_some());
        let handlers_called_off = state.cancelled_twice;
        let paused = state.paused.is_some();
        let can_be_gone = vec![true; plan.steps.len()];
        let needs_lock = plan.concurrency.is_some();
        let begun = state.begun;
        Ok(Self {
            plan,
            places,
            needs,
            dependents,
            state,
            untouched: StepRecord::default(),
            scope,
            frontier,
            lane_limits,
            views,
            failed_at,
            started,
            phase: Phase::Going,
            leaving: false,
            cut_short: CutShort::Cancel,
            late_cancel,
            handlers_called_off,
            deadlocked: false,
            paused,
            needs_lock,
            begun,
            held: BTreeMap::new(),
            can_be_gone,
            to_recheck: BTreeSet::new(),
            reconcile_later: HashMap::new(),
            starved: None,
            rival: None,
            locks: BTreeSet::new(),
            wanted: BTreeSet::new(),
        })
    }

    /// Rechecks only the steps of actions whose artefacts can be gone.
    pub(crate) fn looking_only_for(mut self, can_be_gone: impl Fn(&str) -> bool) -> Self {
        self.can_be_gone = self
            .plan
            .steps
            .iter()
            .map(|step| can_be_gone(&step.uses))
            .collect();
        self
    }

    /// Returns the effects of `input`. `room` is how many steps the machine may take up beside those at hand, by the
    /// limit of the whole process.
    ///
    /// Before the next input, the driver must journal the append at `now` and fold it.
    pub(crate) fn decide(&mut self, input: Input, now: &Stamp, room: usize) -> Vec<Effect> {
        let mut draft = Draft::at(now, room);
        self.respond(&mut draft, input);
        self.follow(draft)
    }

    /// Returns the effects of a person's request, as [`Machine::decide`] does for other input.
    ///
    /// # Errors
    /// Why the request is refused; the machine is then unchanged.
    pub(crate) fn request(
        &mut self,
        request: &Request,
        now: &Stamp,
        room: usize,
    ) -> Result<Vec<Effect>, Refusal> {
        let mut draft = Draft::at(now, room);
        self.grant(&mut draft, request)?;
        Ok(self.follow(draft))
    }

    /// Returns the events to journal for a request while nobody drives the run. The next driver decides what else
    /// follows, so this consumes the machine.
    ///
    /// # Errors
    /// Why the request is refused.
    pub(crate) fn request_undriven(mut self, request: &Request, now: &Stamp) -> Result<Vec<Event>, Refusal> {
        let mut draft = Draft::at(now, 0);
        self.grant(&mut draft, request)?;
        Ok(draft.events)
    }

    fn follow(&mut self, mut draft: Draft) -> Vec<Effect> {
        self.honour(&mut draft);
        self.expire_run(&mut draft);
        self.expire(&mut draft);
        self.expire_questions(&mut draft);
        self.settle(&mut draft);
        let mut effects = Vec::with_capacity(draft.effects.len() + 1);
        if !draft.events.is_empty() {
            effects.push(Effect::Append(draft.events));
        }
        effects.extend(draft.effects);
        effects
    }

    /// Applies records that were appended.
    ///
    /// # Errors
    /// Records that do not fit. The events that this machine decided always fit.
    pub(crate) fn fold(&mut self, records: &[Record]) -> Result<(), IllegalHistory> {
        records.iter().try_for_each(|record| self.state.fold(record))
    }

    /// Notes that work gave a sign of progress. The next decision takes it into account.
    pub(crate) fn heard(&mut self, step: &StepId, at: Stamp) {
        let held = self.places.get(step).and_then(|place| self.held.get_mut(place));
        if let Some(held) = held {
            held.heard = at;
        }
    }

    /// Returns the groups in which a step could start if it had the lock.
    pub(crate) fn wanted(&self) -> &BTreeSet<String> {
        &self.wanted
    }

    /// Gives the run the lock of a group, for the next decision.
    pub(crate) fn give_lock(&mut self, group: &str) {
        self.locks.insert(group.to_owned());
    }

    /// Removes the locks that no step has used.
    pub(crate) fn take_locks(&mut self) {
        self.locks.clear();
    }

    /// Returns whether nothing may start before the run has the lock.
    pub(crate) fn needs_lock(&self) -> bool {
        self.needs_lock
    }

    /// Returns the group in which the run could continue if it had the lock.
    pub(crate) fn awaits_lock(&self) -> Option<&str> {
        let group = self.plan.concurrency.as_deref();
        let may_go_on = match self.phase {
            Phase::Going => !self.paused,
            Phase::Cancelling => !self.leaving,
            Phase::Stopping => false,
        };
        group.filter(|_| self.needs_lock && !self.deadlocked && may_go_on && self.state.outcome.is_none())
    }

    /// Returns the run as it is journaled.
    pub(crate) fn state(&self) -> &RunState {
        &self.state
    }

    /// Returns the steps that have ended.
    pub(crate) fn views(&self) -> &EndedSteps {
        &self.views
    }

    /// Returns a step as planned.
    pub(crate) fn planned(&self, step: &StepId) -> Option<&PlanStep> {
        self.places
            .get(step)
            .and_then(|&place| self.plan.steps.get(place))
    }

    /// Returns how urgent the most urgent step is that could start, were there a permit of the process for it.
    pub(crate) fn starved(&self) -> Option<i64> {
        self.starved
    }

    /// Sets the priority of the most urgent step that waits for a permit. In the next decision, this run leaves the
    /// permits to that step unless its own step is more urgent.
    pub(crate) fn yield_to(&mut self, rival: Option<i64>) {
        self.rival = rival;
    }

    fn step(&self, place: usize) -> &PlanStep {
        &self.plan.steps[place]
    }

    /// Returns a step's record as it will be once the draft is journaled.
    fn record<'a>(&'a self, draft: &'a Draft, place: usize) -> &'a StepRecord {
        draft
            .touched
            .get(&place)
            .or_else(|| self.state.steps.get(&self.step(place).id))
            .unwrap_or(&self.untouched)
    }

    /// Adds a step's event to the draft. `value` is the output of a success.
    fn push(&mut self, draft: &mut Draft, place: usize, event: Event, value: Value) {
        let mut record = self.record(draft, place).clone();
        let applied = record.apply(&event, &draft.now);
        // The journal refuses events that do not fit. So a defect here ends the drive and leaves the history correct.
        debug_assert_eq!(applied, Ok(()), "{}", self.step(place).id);
        let id = &self.plan.steps[place].id;
        match &event {
            Event::StepStarted { .. } => self.started[place] = self.state.seq + draft.events.len() as u64 + 1,
            Event::StepFailed { .. } => drop(self.failed_at.insert(place, draft.now)),
            Event::StepInvalidated { .. } => {
                self.scope.remove(place, &self.plan.steps[place]);
                self.reconcile_later.remove(&place);
                self.views.remove(id);
            }
            Event::StepSkipped { .. } => drop(self.reconcile_later.remove(&place)),
            _ => {}
        }
        if record.state.is_final() {
            // An undo changes a step's record, not its output.
            let output = match (&event, self.views.get(id)) {
                (Event::StepSucceeded { .. }, _) | (_, None) => value,
                (_, Some(before)) => before.output.clone(),
            };
            self.scope
                .add(place, &self.plan.steps[place], &record.state, &output);
            let view = StepView {
                uses: self.plan.steps[place].uses.clone(),
                state: record.clone(),
                output,
            };
            self.views.insert(id.clone(), view);
        }
        self.frontier
            .moved(place, Standing::of(&record.state), &self.dependents);
        draft.touched.insert(place, record);
        draft.events.push(event);
    }

    fn succeed(
        &mut self,
        draft: &mut Draft,
        place: usize,
        output: Payload,
        value: Value,
        measures: Measures,
    ) {
        let (step, attempt) = (self.step(place).id.clone(), self.record(draft, place).attempts);
        self.push(
            draft,
            place,
            Event::StepSucceeded {
                step,
                attempt,
                output,
                measures,
            },
            value,
        );
    }
}
