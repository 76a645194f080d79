//! What happens next in a run: decided here, without I/O and without a clock.
//!
//! [`Machine::decide`] takes what happened and returns effects, which are data. At most one of them is an
//! [`Effect::Append`], and it comes first: the driver journals it, gives the records back to [`Machine::fold`], and
//! only then performs the others. So a success and the starts that it unlocks are one append, and nothing is
//! performed that is not journaled.
//!
//! A machine is made from a run's records, be the run new or resumed; whatever it keeps beside the fold of the
//! records concerns only work that this process has at hand, and ends with it.
//!
//! | module | what it decides |
//! |---|---|
//! | `input` | nothing: what can happen, and what can follow |
//! | `frontier` | nothing: which steps may go forward, so that a decision need not look at all of them |
//! | `judge` | whether a step runs, waits or is skipped, by its needs and `run_if` |
//! | `settle` | what starts now, what is skipped, whether the run is over |
//! | `respond` | what follows from an attempt's end, a reconciliation, a recheck, a turn, a stop |
//! | `request` | what follows from what a person asks, and from a decision on an approval |
//! | `limits` | what takes too long, and how long anything may still take |
//! | `retry` | whether and when a failed attempt is followed by another |
//! | `scope` | what expressions see |
//! | `undo` | how what the steps did is taken back |
//! | `outcome` | how the run ended, and its figures |

mod frontier;
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
use rekindle_model::step::{StepRecord, StepState};
use rekindle_model::time::Stamp;
use rekindle_plan::{Plan, PlanStep};
use serde_json::Value;

use crate::context::{EndedSteps, StepView};
use crate::error::EngineError;
use crate::request::{Refusal, Request};

use frontier::{Frontier, Standing};
pub(crate) use input::{Effect, Ending, Found, Input, Undone};
use scope::Scope;

/// One run, as far as it is decided.
pub(crate) struct Machine {
    plan: Arc<Plan>,
    /// Each step's place in the plan.
    places: HashMap<StepId, usize>,
    /// For each step, the places of what it needs.
    needs: Vec<Vec<usize>>,
    /// For each step, the places of what needs it.
    dependents: Vec<Vec<usize>>,
    state: RunState,
    /// What a step is that no event has named.
    untouched: StepRecord,
    scope: Scope,
    frontier: Frontier,
    /// The steps that have ended.
    views: EndedSteps,
    /// When each step that waits for its next attempt failed last: where its wait began.
    failed_at: HashMap<usize, Stamp>,
    /// The record by which each step was started last; 0 for one that never was.
    started: Vec<u64>,
    phase: Phase,
    /// Whether this process is to leave a run that is being cancelled before all of it is undone.
    leaving: bool,
    /// What ends the run early, where something does.
    cut_short: CutShort,
    /// Whether it will never be the run's turn.
    deadlocked: bool,
    /// Whether nothing may start until a person lets it.
    paused: bool,
    /// Whether nothing may start before the run's turn in its group.
    needs_turn: bool,
    /// When a run of a group began; its deadline counts from there.
    begun: Option<Stamp>,
    /// What this process works on.
    held: BTreeMap<usize, Held>,
    /// For each step, whether what it produced can be gone.
    can_be_gone: Vec<bool>,
    /// Steps whose artefacts are to be rechecked before anything starts.
    to_recheck: BTreeSet<usize>,
    /// Steps whose reconciliation failed, until it is tried again.
    reconcile_later: HashMap<usize, Later>,
    /// How urgent the most urgent step is that could start, were there a permit of the process for it.
    starved: Option<i64>,
    /// How urgent the most urgent step of other runs is that waits for a permit: it goes first, unless this run has a
    /// more urgent one.
    rival: Option<i64>,
    /// The groups whose turn this run has and no step of it uses.
    turns: BTreeSet<String>,
    /// The groups in which a step could start, were it its turn.
    wanted: BTreeSet<String>,
}

/// Where the run is heading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Going,
    /// Nothing starts any more; the run will be resumed.
    Stopping,
    /// Nothing starts any more; the run will be over: [`CutShort`] says why.
    Cancelling,
}

/// What ends a run early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CutShort {
    /// Somebody cancelled it.
    Cancel,
    /// Its deadline has passed.
    Deadline,
    /// It gave up its turn: runs waited for each other.
    Deadlock,
}

/// A step that this process works on.
#[derive(Clone, Copy, Debug)]
struct Held {
    work: Work,
    since: Stamp,
    /// When it last gave a sign of progress.
    heard: Stamp,
    /// Why it was told to end, where it was.
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

/// A reconciliation that is to be tried again.
#[derive(Clone, Copy, Debug)]
struct Later {
    failures: u32,
    since: Stamp,
    wait: Duration,
}

/// A decision in the making: events, and the steps as they will be once these are journaled.
struct Draft {
    now: Stamp,
    /// How many steps may be taken up beside those at hand.
    room: usize,
    touched: BTreeMap<usize, StepRecord>,
    events: Vec<Event>,
    effects: Vec<Effect>,
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

    /// Does what [`Machine::new`] does where the history was folded already, into `state`.
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
        let mut scope = Scope::new(&plan, &state, ambient);
        let mut views = EndedSteps::default();
        for (id, record) in state.steps.iter().filter(|(_, record)| record.state.is_final()) {
            let output = values.remove(id).unwrap_or_default();
            if let (StepState::Succeeded { .. }, Some(step)) = (&record.state, plan.steps.get(places[id])) {
                scope.add(step, &output);
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
        let frontier = Frontier::new(standing.collect(), priority, &needs);
        let paused = state.paused.is_some();
        let can_be_gone = vec![true; plan.steps.len()];
        let needs_turn = plan.concurrency.is_some();
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
            views,
            failed_at,
            started,
            phase: Phase::Going,
            leaving: false,
            cut_short: CutShort::Cancel,
            deadlocked: false,
            paused,
            needs_turn,
            begun,
            held: BTreeMap::new(),
            can_be_gone,
            to_recheck: BTreeSet::new(),
            reconcile_later: HashMap::new(),
            starved: None,
            rival: None,
            turns: BTreeSet::new(),
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

    /// Returns what follows from `input`. `room` is how many steps may be taken up beside those at hand, as far as
    /// the whole process is concerned.
    ///
    /// What is to be appended must be journaled at `now` and folded before the next input.
    pub(crate) fn decide(&mut self, input: Input, now: &Stamp, room: usize) -> Vec<Effect> {
        let mut draft = Draft::at(now, room);
        self.respond(&mut draft, input);
        self.follow(draft)
    }

    /// Returns what follows from a person's request, as [`Machine::decide`] does for other input.
    ///
    /// # Errors
    /// Why nothing follows; the machine is as it was.
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

    /// Returns what is to be journaled for a request while nobody drives the run. What else follows from it is
    /// decided when it is driven again, so the machine is of no more use afterwards.
    ///
    /// # Errors
    /// Why nothing follows.
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
    /// Records that do not fit; nothing that this machine decided is refused.
    pub(crate) fn fold(&mut self, records: &[Record]) -> Result<(), IllegalHistory> {
        records.iter().try_for_each(|record| self.state.fold(record))
    }

    /// Notes that work gave a sign of progress; heard before what is decided next.
    pub(crate) fn heard(&mut self, step: &StepId, at: Stamp) {
        let held = self.places.get(step).and_then(|place| self.held.get_mut(place));
        if let Some(held) = held {
            held.heard = at;
        }
    }

    /// Returns the groups in which a step could start, were it its turn.
    pub(crate) fn wanted(&self) -> &BTreeSet<String> {
        &self.wanted
    }

    /// Gives the run the turn of a group, for what is decided next.
    pub(crate) fn give_turn(&mut self, group: &str) {
        self.turns.insert(group.to_owned());
    }

    /// Takes back the turns that no step has used.
    pub(crate) fn take_turns(&mut self) {
        self.turns.clear();
    }

    /// Returns whether nothing may start before the run's turn.
    pub(crate) fn needs_turn(&self) -> bool {
        self.needs_turn
    }

    /// Returns the group in which the run could go on, were it its turn.
    pub(crate) fn awaits_turn(&self) -> Option<&str> {
        let group = self.plan.concurrency.as_deref();
        let may_go_on = match self.phase {
            Phase::Going => !self.paused,
            Phase::Cancelling => !self.leaving,
            Phase::Stopping => false,
        };
        group.filter(|_| self.needs_turn && may_go_on && self.state.outcome.is_none())
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

    /// Leaves the permits, for what is decided next, to a step of another run that waits for one, as far as it is more
    /// urgent than this run's own or waited for longer.
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
        // The journal refuses what does not fit, so that a mistake here ends the run instead of bending its history.
        debug_assert_eq!(applied, Ok(()), "{}", self.step(place).id);
        let id = &self.plan.steps[place].id;
        match &event {
            Event::StepStarted { .. } => self.started[place] = self.state.seq + draft.events.len() as u64 + 1,
            Event::StepFailed { .. } => drop(self.failed_at.insert(place, draft.now)),
            Event::StepSucceeded { .. } => self.scope.add(&self.plan.steps[place], &value),
            Event::StepInvalidated { .. } => {
                self.scope.remove(&self.plan.steps[place]);
                self.reconcile_later.remove(&place);
                self.views.remove(id);
            }
            Event::StepSkipped { .. } => drop(self.reconcile_later.remove(&place)),
            _ => {}
        }
        if record.state.is_final() {
            // What an undo changes of a step is not what it gave.
            let output = match (&event, self.views.get(id)) {
                (Event::StepSucceeded { .. }, _) | (_, None) => value,
                (_, Some(before)) => before.output.clone(),
            };
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
