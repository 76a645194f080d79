//! Claims about the machine: values in, values out, no runtime.

mod approvals;
mod attempts;
mod chaos;
mod group_locks;
mod handlers;
mod limits;
mod needs;
mod nested;
mod requests;
mod resumed;
mod starts;
mod stops;
mod undo;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rekindle_model::event::{Event, Measures, Payload, Record, Worker};
use rekindle_model::failure::Failure;
use rekindle_model::id::{Hash32, RunId, StepId};
use rekindle_model::origin::Trigger;
use rekindle_model::process::{Child, ProcessId};
use rekindle_model::step::StepState;
use rekindle_model::system::Period;
use rekindle_model::time::Stamp;
use rekindle_plan::{Backoff, Compensate, Handler, Plan, PlanStep, Retry, RunIf};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Effect, Ending, Found, Input, Machine};
use crate::approve::APPROVE;
use crate::context::Note;
use crate::request::{Ask, Refusal, Request};

const SECOND: Duration = Duration::from_secs(1);

/// Returns a step that runs on success, once. A name with a bracket is of a loop over components.
fn step(id: &str, needs: &[&str]) -> PlanStep {
    let id = StepId::from(id);
    let each = id
        .keys()
        .first()
        .map(|key| ("component".to_owned(), (*key).to_owned()));
    PlanStep {
        template: id.template().to_owned(),
        each: each.into_iter().collect(),
        item: None,
        uses: "test".to_owned(),
        with: json!({}),
        needs: needs.iter().map(|need| StepId::from(*need)).collect(),
        run_if: RunIf::Success,
        retry: Retry::default(),
        timeout: None,
        deadline: None,
        stall_timeout: None,
        concurrency: None,
        compensate: None,
        continue_on_error: false,
        max_interruptions: 10,
        max_parallel: None,
        handler: None,
        priority: 100,
        id,
    }
}

/// Returns a handler after these steps.
fn handler(id: &str, needs: &[&str], handler: Handler) -> PlanStep {
    PlanStep {
        run_if: RunIf::Always,
        handler: Some(handler),
        ..step(id, needs)
    }
}

/// Returns a step that asks a person.
fn question(id: &str, needs: &[&str]) -> PlanStep {
    PlanStep {
        uses: APPROVE.to_owned(),
        with: json!({ "message": "sure?" }),
        ..step(id, needs)
    }
}

fn request(ask: Ask) -> Request {
    Request {
        by: "ann".to_owned(),
        note: Some("known".to_owned()),
        ask,
    }
}

fn approve(step: &str) -> Ask {
    Ask::Approve {
        step: StepId::from(step),
    }
}

fn reject(step: &str) -> Ask {
    Ask::Reject {
        step: StepId::from(step),
    }
}

fn again(step: &str) -> Ask {
    Ask::Retry {
        step: StepId::from(step),
    }
}

fn leave_out(step: &str) -> Ask {
    Ask::Skip {
        step: StepId::from(step),
    }
}

/// Returns a policy of so many attempts, a second apart, doubling, without jitter.
fn retry(max_attempts: u32) -> Retry {
    let backoff = Backoff {
        initial: Period(SECOND),
        factor: 2.0,
        max: Period(SECOND * 60),
        jitter: 0.0,
    };
    Retry {
        max_attempts,
        backoff,
        non_retryable: Vec::new(),
        interrupt_on: Vec::new(),
    }
}

fn plan(max_parallel: usize, steps: Vec<PlanStep>) -> Plan {
    Plan {
        workflow: "test".to_owned(),
        description: None,
        deadline: None,
        concurrency: None,
        params: Map::new(),
        max_parallel,
        steps,
    }
}

/// A run and its journal, and a clock that a test moves forward.
struct Run {
    plan: Arc<Plan>,
    records: Vec<Record>,
    machine: Machine,
    now: Stamp,
}

impl Run {
    fn new(plan: Plan) -> Self {
        let now = Stamp {
            utc: chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            boot_ns: 0,
            boot_id: Uuid::from_u128(1),
        };
        let created = Event::RunCreated {
            workflow: "test".to_owned(),
            definition: Hash32::ZERO,
            system: None,
            inputs: Payload::NONE,
            kind: None,
            trigger: Trigger::command("a test"),
            disaster_at: None,
            disaster_at_told: false,
            old_parent: None,
        };
        let (id, prev) = (RunId(Uuid::from_u128(7)), Hash32::ZERO);
        let records = vec![Record {
            run: id,
            seq: 1,
            epoch: 1,
            time: now,
            prev,
            head: None,
            event: created,
        }];
        let plan = Arc::new(plan);
        let machine = Machine::new(Arc::clone(&plan), &records, json!({}), BTreeMap::new()).unwrap();
        Self {
            plan,
            records,
            machine,
            now,
        }
    }

    /// Returns a run that has begun, and what it begins with.
    fn begun(plan: Plan) -> (Self, Vec<Effect>) {
        let mut run = Self::new(plan);
        let effects = run.feed(Input::Begin);
        (run, effects)
    }

    /// Lets the machine decide, journals the decision, and returns it.
    fn feed(&mut self, input: Input) -> Vec<Effect> {
        self.feed_with_room(input, usize::MAX)
    }

    fn feed_with_room(&mut self, input: Input, room: usize) -> Vec<Effect> {
        let effects = self.machine.decide(input, &self.now, room);
        if let Some(Effect::Append(events)) = effects.first() {
            let appended = self.journal(events.clone());
            self.machine.fold(&appended).unwrap();
        }
        assert!(
            effects
                .iter()
                .skip(1)
                .all(|effect| !matches!(effect, Effect::Append(_))),
            "one append, first"
        );
        effects
    }

    /// Ann asks something of the run, which is driven; what follows is journaled.
    #[track_caller]
    fn ask(&mut self, ask: Ask) -> Vec<Effect> {
        self.try_ask(ask)
            .unwrap_or_else(|refusal| panic!("refused: {refusal}"))
    }

    fn try_ask(&mut self, ask: Ask) -> Result<Vec<Effect>, Refusal> {
        let effects = self.machine.request(&request(ask), &self.now, usize::MAX)?;
        if let Some(Effect::Append(events)) = effects.first() {
            let appended = self.journal(events.clone());
            self.machine.fold(&appended).unwrap();
        }
        Ok(effects)
    }

    /// Ann asks something of the run while nobody drives it. Returns what is journaled.
    fn ask_undriven(&mut self, ask: Ask) -> Result<Vec<String>, Refusal> {
        let machine = Machine::new(
            Arc::clone(&self.plan),
            &self.records,
            Value::Null,
            BTreeMap::new(),
        )
        .unwrap();
        let events = machine.request_undriven(&request(ask), &self.now)?;
        self.journal(events.clone());
        Ok(lines(&[Effect::Append(events)]))
    }

    fn journal(&mut self, events: Vec<Event>) -> Vec<Record> {
        let from = self.records.len();
        for event in events {
            let last = self.records.last().unwrap();
            let adopts = u64::from(matches!(event, Event::RunAdopted { .. }));
            let record = Record {
                seq: last.seq + 1,
                epoch: last.epoch + adopts,
                time: self.now,
                event,
                ..last.clone()
            };
            self.records.push(record);
        }
        self.records[from..].to_vec()
    }

    /// The process dies; another takes the run over from its journal.
    fn crash(&mut self) {
        let epoch = self.records.last().unwrap().epoch + 1;
        let worker = Worker {
            host: "h".to_owned(),
            pid: 1,
            version: "0".to_owned(),
        };
        self.journal(vec![Event::RunAdopted {
            epoch,
            worker,
            why: "a crash".to_owned(),
            workspace: None,
        }]);
        let state = rekindle_model::run::RunState::from_records(&self.records).unwrap();
        let values = state.steps.iter().filter_map(|(id, record)| match &record.state {
            StepState::Succeeded {
                output: Payload::Inline(value),
                ..
            } => Some((id.clone(), value.clone())),
            _ => None,
        });
        let values = values.collect();
        self.machine = Machine::new(Arc::clone(&self.plan), &self.records, json!({}), values).unwrap();
    }

    fn crash_and_begin(&mut self) -> Vec<Effect> {
        self.crash();
        self.feed(Input::Begin)
    }

    fn pass(&mut self, by: Duration) {
        self.now.utc += by;
        self.now.boot_ns += u64::try_from(by.as_nanos()).unwrap();
    }

    fn succeed(&mut self, step: &str) -> Vec<Effect> {
        self.end(step, succeeded(json!({ "of": step })))
    }

    fn fail(&mut self, step: &str) -> Vec<Effect> {
        self.end(step, Ending::Failed(Failure::permanent("broken", "it broke")))
    }

    fn fail_for_now(&mut self, step: &str) -> Vec<Effect> {
        self.end(step, Ending::Failed(Failure::transient("busy", "it is busy")))
    }

    fn end(&mut self, step: &str, ending: Ending) -> Vec<Effect> {
        let step = StepId::from(step);
        let attempt = self.machine.state().step(&step).attempts;
        self.feed(Input::Ended {
            step,
            attempt,
            ending,
        })
    }

    fn found(&mut self, step: &str, found: Found) -> Vec<Effect> {
        self.feed(Input::Reconciled {
            step: StepId::from(step),
            found,
        })
    }

    fn state(&self, step: &str) -> StepState {
        self.machine.state().step(&StepId::from(step)).state
    }

    /// Returns every step's state by its name, in plan order.
    fn states(&self) -> Vec<&'static str> {
        self.plan
            .steps
            .iter()
            .map(|step| self.machine.state().step(&step.id).state.name())
            .collect()
    }
}

fn succeeded(value: Value) -> Ending {
    Ending::Succeeded {
        output: Payload::Inline(value.clone()),
        value,
        measures: Measures::new(),
    }
}

/// Returns effects as short lines: what is journaled in one, then what is done.
fn lines(effects: &[Effect]) -> Vec<String> {
    let line = |effect: &Effect| match effect {
        Effect::Append(events) => {
            let name = |event: &Event| match event.step() {
                Some(step) => format!("{} {step}", event.name().trim_start_matches("step_")),
                None => event.name().to_owned(),
            };
            events.iter().map(name).collect::<Vec<_>>().join(", ")
        }
        Effect::StartStep { step, attempt, .. } => format!("start {step} #{attempt}"),
        Effect::Reconcile { step, attempt, .. } => format!("reconcile {step} #{attempt}"),
        Effect::Recheck { step, .. } => format!("recheck {step}"),
        Effect::StartUndo { step, attempt, .. } => format!("undo {step} #{attempt}"),
        Effect::CancelStep { step, .. } => format!("cancel {step}"),
        Effect::ArmTimer { step, after } => format!("timer {step} {}s", after.as_secs_f64()),
        Effect::Finish => "finish".to_owned(),
        Effect::Interrupt => "interrupt".to_owned(),
    };
    effects.iter().map(line).collect()
}

/// Asserts what effects are, as [`lines`] shows them.
#[track_caller]
fn check(effects: &[Effect], expect: &[&str]) {
    assert_eq!(lines(effects), expect);
}
