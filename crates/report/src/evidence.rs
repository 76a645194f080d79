//! The input of every projection: a run's records, and the blobs that they refer to.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_model::event::{Event, Payload, Record};
use rekindle_model::failure::code;
use rekindle_model::id::{Hash32, StepId};
use rekindle_model::run::{IllegalHistory, RunState};
use rekindle_model::step::StepState;
use serde_json::Value;

/// A run as the journal proves it.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The fold of the records.
    pub state: RunState,
    /// The records themselves, oldest first.
    pub records: Vec<Record>,
    /// The inputs that expanded the definition into the plan: parameters and loop keys.
    pub inputs: Value,
    /// The output of each succeeded step.
    pub outputs: BTreeMap<StepId, Value>,
    /// Blobs that the records refer to and that were read.
    blobs: BTreeMap<Hash32, Value>,
}

/// Returns the blobs that [`Evidence::new`] needs in order to see everything.
pub fn blobs_of(records: &[Record]) -> BTreeSet<Hash32> {
    let payloads = records.iter().filter_map(|record| match &record.event {
        Event::RunCreated { inputs, .. } => Some(inputs),
        Event::StepSucceeded { output, .. } => Some(output),
        Event::StepCheckpoint { progress, .. } => Some(progress),
        _ => None,
    });
    payloads
        .filter_map(|payload| match payload {
            Payload::Blob(hash) => Some(*hash),
            Payload::Inline(_) => None,
        })
        .collect()
}

impl Evidence {
    /// Folds the records; a blob that is not among `blobs` counts as no data, never as an empty value of
    /// its own.
    pub fn new(records: Vec<Record>, blobs: BTreeMap<Hash32, Value>) -> Result<Self, IllegalHistory> {
        let state = RunState::from_records(&records)?;
        let mut evidence = Self {
            state,
            records,
            inputs: Value::Null,
            outputs: BTreeMap::new(),
            blobs,
        };
        evidence.inputs = evidence.resolve(&evidence.state.inputs);
        evidence.outputs = evidence
            .state
            .steps
            .iter()
            .filter_map(|(step, record)| match &record.state {
                StepState::Succeeded { output, .. } => Some((step.clone(), evidence.resolve(output))),
                _ => None,
            })
            .collect();
        Ok(evidence)
    }

    /// Returns a payload's value; null if its blob was not read.
    pub fn resolve(&self, payload: &Payload) -> Value {
        match payload {
            Payload::Inline(value) => value.clone(),
            Payload::Blob(hash) => self.blobs.get(hash).cloned().unwrap_or(Value::Null),
        }
    }

    /// Returns a step's output; null if it has none.
    pub fn output(&self, step: &StepId) -> &Value {
        self.outputs.get(step).unwrap_or(&Value::Null)
    }

    /// Returns what a step that judges found: its output, or if its judgement was bad and it failed, its newest
    /// checkpoint. Null if it did not get that far.
    pub fn judgement(&self, step: &StepId) -> Value {
        let output = self.output(step);
        if !output.is_null() || !matches!(self.state.step(step).state, StepState::Failed { .. }) {
            return output.clone();
        }
        let newest = self.records.iter().rev().find_map(|record| match &record.event {
            Event::StepCheckpoint {
                step: of, progress, ..
            } if of == step => Some(progress),
            _ => None,
        });
        newest.map_or(Value::Null, |progress| self.resolve(progress))
    }

    /// Returns a parameter of the run; null if it has none of that name.
    pub fn param(&self, name: &str) -> &Value {
        &self.inputs["params"][name]
    }

    /// Returns whether a step failed because data is gone: every copy of it, or the newest recovery set.
    pub fn data_lost(&self) -> bool {
        self.state.steps.values().any(|record| match &record.state {
            StepState::Failed { error } => {
                matches!(error.code.as_str(), code::DATA_LOST | code::NEWER_SET_LOST)
            }
            _ => false,
        })
    }
}
