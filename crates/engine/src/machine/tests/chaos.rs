//! Any plan, any outcomes, any crashes: the run ends as an undisturbed one does, and its history keeps every promise.
//!
//! The test simulates the world outside the machine: tasks at work, which end in any order. A crash drops the machine
//! before an append, so that the decision is lost; or after it, before any effect; or while tasks are at work. A
//! graceful stop interrupts the tasks. People make requests, also while nobody drives the run.
//!
//! A test case reads its choices from a tape of bytes. Once the tape runs out, nothing disturbs the run any more. The
//! test then unpauses a paused run and approves every step that waits for approval.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use rekindle_model::event::{Outcome, SkipReason};
use rekindle_model::run::RunState;

use super::*;
use crate::context::INTERRUPTED;
use crate::machine::Undone;

#[derive(Clone, Debug)]
struct Case {
    steps: Vec<CaseStep>,
    max_parallel: usize,
    tape: Vec<u8>,
}

#[derive(Clone, Debug)]
struct CaseStep {
    /// For each step before this one, whether it is needed.
    needs: Vec<bool>,
    run_if: RunIf,
    priority: i64,
    max_attempts: u32,
    /// How many attempts fail before one succeeds.
    failures: u32,
    retryable: bool,
    /// Whether it asks a person instead.
    question: bool,
    /// How many attempts to undo it fail before one succeeds, where it can be undone.
    undo: Option<u32>,
}

/// The requests that people make while a run is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum People {
    /// Only requests that do not change the run's outcome.
    Helpful,
    /// Any request.
    Anyhow,
}

fn cases() -> impl Strategy<Value = Case> {
    let run_if = prop_oneof![4 => Just(RunIf::Success), 1 => Just(RunIf::Failure), 1 => Just(RunIf::Always)];
    let step = (
        prop::collection::vec(prop::bool::weighted(0.3), 9),
        run_if,
        0..3_i64,
        1..4_u32,
        prop_oneof![3 => Just(0), 1 => 1..4_u32],
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.2),
        prop_oneof![3 => Just(None), 2 => Just(Some(0)), 1 => (1..4_u32).prop_map(Some)],
    );
    let step = step.prop_map(
        |(needs, run_if, priority, max_attempts, failures, retryable, question, undo)| CaseStep {
            needs,
            run_if,
            priority,
            max_attempts,
            failures,
            retryable,
            question,
            undo,
        },
    );
    let steps = prop::collection::vec(step, 1..9);
    (steps, 1..4_usize, prop::collection::vec(any::<u8>(), 0..400)).prop_map(|(steps, max_parallel, tape)| {
        Case {
            steps,
            max_parallel,
            tape,
        }
    })
}

impl Case {
    fn plan(&self) -> Plan {
        let name = |place: usize| format!("s{place}");
        let steps = self.steps.iter().enumerate().map(|(place, case)| {
            let needs: Vec<String> = (0..place).filter(|&need| case.needs[need]).map(name).collect();
            let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
            PlanStep {
                run_if: case.run_if.clone(),
                priority: case.priority,
                retry: retry(case.max_attempts),
                compensate: case.undo.map(|_| Compensate {
                    uses: "test".to_owned(),
                    with: Value::Null,
                }),
                ..match case.question {
                    true => question(&name(place), &needs),
                    false => step(&name(place), &needs),
                }
            }
        });
        plan(self.max_parallel, steps.collect())
    }

    /// Returns how an attempt to undo a step ends after so many failures.
    fn undone(&self, step: &StepId, failures: u32) -> Undone {
        let place: usize = step.as_str()[1..].parse().unwrap();
        match failures < self.steps[place].undo.unwrap() {
            true => Undone::Failed(Failure::transient("busy", "busy")),
            false => Undone::Succeeded,
        }
    }

    /// Returns how an attempt ends after so many failures. Crashes and stops do not change that.
    fn ending(&self, step: &StepId, failures: u32) -> Ending {
        let place: usize = step.as_str()[1..].parse().unwrap();
        let case = &self.steps[place];
        match failures < case.failures {
            false => succeeded(json!({ "of": step })),
            true if case.retryable => Ending::Failed(Failure::transient("busy", "busy")),
            true => Ending::Failed(Failure::permanent("broken", "broken")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Attempt,
    Reconcile,
    Recheck,
    Undo,
}

struct World<'c> {
    case: &'c Case,
    people: People,
    tape: std::slice::Iter<'c, u8>,
    run: Run,
    at_work: Vec<(StepId, u32, Task)>,
    crashes: u32,
    timer: Option<Duration>,
    over: bool,
}

impl<'c> World<'c> {
    fn new(case: &'c Case, tape: &'c [u8], people: People) -> Self {
        let run = Run::new(case.plan());
        Self {
            case,
            people,
            tape: tape.iter(),
            run,
            at_work: Vec::new(),
            crashes: 0,
            timer: None,
            over: false,
        }
    }

    fn choose(&mut self, of: usize) -> usize {
        self.tape.next().map_or(0, |&byte| usize::from(byte) % of)
    }

    /// Returns whether this happens, once in so many; never once the tape has run out.
    fn chance(&mut self, one_in: usize) -> bool {
        self.tape
            .next()
            .is_some_and(|&byte| usize::from(byte) % one_in == one_in - 1)
    }

    fn live(mut self) -> Run {
        self.feed(Input::Begin);
        for _ in 0..10_000 {
            if self.over {
                return self.run;
            }
            if self.chance(8) {
                self.crash();
            } else if self.chance(24) {
                self.stop();
            } else if self.chance(6) {
                let ask = self.any_ask();
                self.ask(ask);
            } else if self.at_work.is_empty() || (self.timer.is_some() && self.chance(4)) {
                match self.timer.take() {
                    Some(wait) => {
                        self.run.pass(wait);
                        self.feed(Input::Wake);
                    }
                    None => self.help(),
                }
            } else {
                self.end_one();
            }
        }
        panic!("the run does not end: {:#?}", self.run.machine.state());
    }

    fn feed(&mut self, input: Input) {
        // The process dies before the append, so its decision is lost.
        if self.chance(20) {
            return self.crash();
        }
        let effects = self.run.feed(input);
        self.perform(effects);
    }

    fn ask(&mut self, ask: Ask) {
        if self.chance(20) {
            return self.crash();
        }
        let before = self.run.machine.state().clone();
        match self.run.try_ask(ask) {
            Ok(effects) => self.perform(effects),
            Err(_) => assert_eq!(*self.run.machine.state(), before, "a refusal changes nothing"),
        }
    }

    fn any_ask(&mut self) -> Ask {
        let steps = self.case.steps.len();
        let step = StepId::from(format!("s{}", self.choose(steps)).as_str());
        let kinds = match self.people {
            People::Helpful => 4,
            People::Anyhow => 7,
        };
        let asks = |step: &&StepId| self.run.machine.state().step(step).awaits().is_some();
        let waiting = self.run.plan.steps.iter().map(|step| &step.id).find(asks);
        // If a step waits for approval, the person decides on that one.
        let decided = waiting.cloned().unwrap_or_else(|| step.clone());
        match self.choose(kinds) {
            0 => Ask::Pause,
            1 => Ask::Unpause,
            2 => Ask::Approve { step: decided },
            3 => Ask::Retry { step },
            4 => Ask::Skip { step },
            5 => Ask::Reject { step: decided },
            _ => Ask::Cancel,
        }
    }

    /// Makes the request that the run waits for, since nothing else can happen.
    fn help(&mut self) {
        let state = self.run.machine.state();
        let waits = state.steps.iter().find(|(_, record)| record.awaits().is_some());
        let ask = match (&state.paused, waits) {
            (Some(_), _) => Ask::Unpause,
            (None, Some((step, _))) => Ask::Approve { step: step.clone() },
            (None, None) => panic!("nothing at work, no timer, nothing asked, and not over: {state:#?}"),
        };
        self.ask(ask);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        if self.chance(20) && !effects.contains(&Effect::Finish) {
            return self.crash();
        }
        self.timer = None;
        for effect in effects {
            match effect {
                Effect::StartStep { step, attempt, .. } => self.at_work.push((step, attempt, Task::Attempt)),
                Effect::Reconcile { step, attempt, .. } => {
                    self.at_work.push((step, attempt, Task::Reconcile))
                }
                Effect::Recheck { step, attempt, .. } => self.at_work.push((step, attempt, Task::Recheck)),
                Effect::StartUndo { step, attempt, .. } => self.at_work.push((step, attempt, Task::Undo)),
                Effect::ArmTimer { after, .. } => self.timer = Some(after),
                Effect::Finish => self.over = true,
                Effect::Append(_) | Effect::CancelStep { .. } | Effect::Interrupt => {}
            }
        }
        let steps: BTreeSet<&StepId> = self.at_work.iter().map(|(step, ..)| step).collect();
        assert_eq!(steps.len(), self.at_work.len(), "a step is at work twice");
        assert!(
            self.at_work.len() <= self.case.max_parallel,
            "more at work than allowed"
        );
    }

    fn crash(&mut self) {
        self.crashes += 1;
        self.at_work.clear();
        self.timer = None;
        if self.chance(4) {
            // The run may refuse the request; both cases are durable.
            let ask = self.any_ask();
            let _ = self.run.ask_undriven(ask);
        }
        self.run.crash();
        self.feed(Input::Begin);
    }

    fn stop(&mut self) {
        let mut effects = self.run.feed(Input::Stop);
        while let Some((step, attempt, task)) = self.at_work.pop() {
            let interrupted = Failure::transient(INTERRUPTED, "asked to stop");
            effects = self.run.feed(match task {
                Task::Attempt => Input::Ended {
                    step,
                    attempt,
                    ending: Ending::Failed(interrupted),
                },
                Task::Reconcile => Input::Reconciled {
                    step,
                    found: Found::Failed(interrupted),
                },
                Task::Recheck => Input::Rechecked { step, gone: None },
                Task::Undo => Input::Undone {
                    step,
                    attempt,
                    ending: Undone::Failed(interrupted),
                },
            });
        }
        if effects.contains(&Effect::Finish) {
            // It was being cancelled, or its last step was approved while others were rechecked.
            self.over = true;
            return;
        }
        assert!(effects.contains(&Effect::Interrupt), "{effects:?}");
        self.crash();
    }

    fn end_one(&mut self) {
        let at = self.choose(self.at_work.len());
        let (step, attempt, task) = self.at_work.remove(at);
        let record = self.run.machine.state().step(&step);
        if task == Task::Undo {
            let ending = self.case.undone(&step, record.undo.unwrap().failures);
            return self.feed(Input::Undone {
                step,
                attempt,
                ending,
            });
        }
        let failures = record.failures;
        let ending = self.case.ending(&step, failures);
        let input = match task {
            Task::Attempt => Input::Ended {
                step,
                attempt,
                ending,
            },
            Task::Recheck => {
                let gone = self.chance(3).then(|| "gone".to_owned());
                Input::Rechecked { step, gone }
            }
            Task::Undo => unreachable!("it has ended above"),
            Task::Reconcile => {
                let evidence = json!("looked");
                let found = match (self.choose(3), ending) {
                    (
                        1,
                        Ending::Succeeded {
                            output,
                            value,
                            measures,
                        },
                    ) => Found::Complete {
                        output,
                        value,
                        measures,
                        evidence,
                    },
                    (2, _) => Found::Continue { evidence },
                    _ => Found::Redo { evidence },
                };
                Input::Reconciled { step, found }
            }
        };
        self.feed(input);
    }
}

/// Returns the steps that can be undone and were started since they were undone last.
fn owed(run: &Run, state: &RunState) -> Vec<StepId> {
    let steps = run.plan.steps.iter();
    let owed = steps.filter(|step| step.compensate.is_some() && state.step(&step.id).acted);
    owed.map(|step| step.id.clone()).collect()
}

/// Checks each record against the plan and all records before it.
fn check_history(run: &Run) {
    let mut state = RunState::created(&run.records[0]).unwrap();
    let mut succeeded: BTreeSet<StepId> = BTreeSet::new();
    let mut started: BTreeMap<StepId, u64> = BTreeMap::new();
    for record in &run.records[1..] {
        match &record.event {
            Event::UndoStarted { step, .. } => {
                let owed = owed(run, &state);
                assert_eq!(
                    owed.iter().max_by_key(|owed| started[*owed]),
                    Some(step),
                    "it was not the last of those that were started: {started:?}"
                );
                let mut steps = run.plan.steps.iter().map(|planned| state.step(&planned.id));
                assert!(steps.all(|step| step.state.is_final() && step.stuck().is_none()));
            }
            Event::RunFinished { outcome, .. } => {
                let owed = owed(run, &state);
                let stuck = owed
                    .iter()
                    .filter(|step| state.step(step).stuck().is_some())
                    .count();
                match outcome {
                    Outcome::Failed | Outcome::Cancelled => {
                        assert!(owed.is_empty(), "{owed:?} were not undone")
                    }
                    Outcome::Stuck => assert_eq!(stuck, 1, "{owed:?}"),
                    Outcome::Succeeded | Outcome::Partial => {}
                }
            }
            Event::StepStarted { step, .. } => {
                started.insert(step.clone(), record.seq);
                assert!(
                    !succeeded.contains(step),
                    "{step} started again after its success"
                );
                let planned = run.plan.steps.iter().find(|planned| planned.id == *step).unwrap();
                let needs: Vec<StepState> = planned.needs.iter().map(|need| state.step(need).state).collect();
                assert!(
                    needs.iter().all(StepState::is_final),
                    "{step} started before its needs ended"
                );
                let fell = |state: &StepState| {
                    matches!(
                        state,
                        StepState::Failed { .. }
                            | StepState::Skipped {
                                why: SkipReason::Needs { .. } | SkipReason::Cancelled
                            }
                    )
                };
                let satisfied = |state: &StepState| {
                    matches!(
                        state,
                        StepState::Succeeded { .. }
                            | StepState::Skipped {
                                why: SkipReason::Requested { .. }
                            }
                    )
                };
                assert!(state.paused.is_none(), "{step} started while the run was paused");
                let holds = match planned.run_if {
                    RunIf::Success => needs.iter().all(satisfied),
                    RunIf::Failure => needs.iter().any(fell),
                    RunIf::Always | RunIf::Expr(_) => true,
                };
                assert!(
                    holds,
                    "{step} started although its run_if does not hold: {needs:?}"
                );
            }
            Event::StepSucceeded { step, .. } => {
                assert!(succeeded.insert(step.clone()), "{step} succeeded twice")
            }
            Event::StepInvalidated { step, .. } => drop(succeeded.remove(step)),
            _ => {}
        }
        state.fold(record).expect("the history folds without a gap");
    }
    let ends = run
        .records
        .iter()
        .filter(|record| matches!(record.event, Event::RunFinished { .. }))
        .count();
    assert_eq!(ends, 1, "a run finishes once");
    assert_eq!(state, *run.machine.state(), "what lives is what is read back");
}

/// Returns the result of a run: the outcome, and every step's state without its attempts.
fn result(run: &Run) -> (BTreeMap<StepId, StepState>, Option<Outcome>) {
    let state = run.machine.state();
    let steps = run.plan.steps.iter().map(|step| {
        let mut state = state.step(&step.id).state;
        if let (StepState::Succeeded { output, .. }, true) = (&mut state, crate::approve::asks(step)) {
            // It says when it was approved.
            *output = Payload::NONE;
        }
        (step.id.clone(), state)
    });
    (steps.collect(), state.outcome)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_disturbed_run_ends_as_an_undisturbed_one(case in cases()) {
        let undisturbed = World::new(&case, &[], People::Helpful).live();
        check_history(&undisturbed);
        let disturbed = World::new(&case, &case.tape, People::Helpful).live();
        check_history(&disturbed);
        prop_assert_eq!(result(&disturbed), result(&undisturbed));
    }

    #[test]
    fn whatever_people_ask_the_run_ends_and_its_history_keeps_every_promise(case in cases()) {
        check_history(&World::new(&case, &case.tape, People::Anyhow).live());
    }
}

/// If the tape hardly disturbed the runs, the cases would prove nothing.
#[test]
fn the_cases_are_disturbed_in_every_way() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: BTreeMap<&'static str, u32> = BTreeMap::new();
    for _ in 0..800 {
        let case = cases().new_tree(&mut runner).unwrap().current();
        for people in [People::Helpful, People::Anyhow] {
            for record in World::new(&case, &case.tape, people).live().records {
                *seen.entry(record.event.name()).or_default() += 1;
            }
        }
    }
    for event in [
        "run_adopted",
        "step_reconciled",
        "step_invalidated",
        "step_failed",
        "step_skipped",
        "approval_requested",
        "approved",
        "rejected",
        "pause_requested",
        "run_unpaused",
        "retry_requested",
        "cancel_requested",
        "undo_started",
        "undo_succeeded",
        "undo_failed",
        "undo_stuck",
    ] {
        assert!(
            seen.get(event).is_some_and(|&count| count > 30),
            "{event}: {seen:?}"
        );
    }
}
