//! The values that expressions see: `params`, `steps`, `each`, `component`, `run`, and the values of the caller.

use rekindle_model::run::RunState;
use rekindle_plan::{Plan, PlanStep};
use serde_json::{Map, Value, json};

/// The values of a run that expressions may name.
pub(super) struct Scope {
    /// Always a map. `each` and `component` are those of the step that it was last asked for.
    values: Value,
}

impl Scope {
    /// Returns the scope of a run in which no step has succeeded.
    ///
    /// `ambient` is what the caller gives; where it names something that the engine names too, the engine's holds.
    pub(super) fn new(plan: &Plan, state: &RunState, ambient: Value) -> Self {
        let mut values = match ambient {
            Value::Object(values) => values,
            _ => Map::new(),
        };
        let mut steps = Map::new();
        for step in plan.steps.iter().filter(|step| loop_key(step).is_some()) {
            // So that `steps.restore["a"] is defined` can be asked before the first of them has ended.
            steps.insert(step.template.clone(), Value::Object(Map::new()));
        }
        values.insert("params".to_owned(), Value::Object(plan.params.clone()));
        values.insert("steps".to_owned(), Value::Object(steps));
        let disaster_at = state.disaster_at.map(|at| at.to_rfc3339());
        let run = json!({ "id": state.id, "workflow": state.workflow, "disaster_at": disaster_at });
        values.insert("run".to_owned(), run);
        Self {
            values: Value::Object(values),
        }
    }

    /// Adds the output of a step that succeeded: `steps.<template>`, of a loop `steps.<template>["key"]`.
    pub(super) fn add(&mut self, step: &PlanStep, output: &Value) {
        match loop_key(step) {
            Some(key) => self.values["steps"][&step.template][key] = output.clone(),
            None => self.values["steps"][&step.template] = output.clone(),
        }
    }

    /// Removes the output of a step.
    pub(super) fn remove(&mut self, step: &PlanStep) {
        let Some(steps) = self.values["steps"].as_object_mut() else {
            return;
        };
        match loop_key(step) {
            Some(key) => {
                if let Some(iterations) = steps.get_mut(&step.template).and_then(Value::as_object_mut) {
                    iterations.remove(key);
                }
            }
            None => drop(steps.remove(&step.template)),
        }
    }

    /// Returns the scope as one step sees it.
    pub(super) fn of(&mut self, step: &PlanStep) -> &Value {
        let component = step.each.get("component").and_then(|name| {
            let mut component = self.values.get("system")?.get("components")?.get(name)?.clone();
            component
                .as_object_mut()?
                .insert("name".to_owned(), name.as_str().into());
            Some(component)
        });
        if let Some(values) = self.values.as_object_mut() {
            values.insert("each".to_owned(), json!(step.each));
            match component {
                Some(component) => drop(values.insert("component".to_owned(), component)),
                None => drop(values.remove("component")),
            }
        }
        &self.values
    }
}

/// Returns the text in the brackets of a looped step's name.
fn loop_key(step: &PlanStep) -> Option<&str> {
    step.id
        .as_str()
        .strip_prefix(step.template.as_str())?
        .strip_prefix('[')?
        .strip_suffix(']')
}
