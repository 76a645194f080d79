//! The values that expressions see: `params`, `steps`, `each`, `item`, `component`, `run`, and the values of the caller.

use rekindle_model::event::SkipReason;
use rekindle_model::failure::code;
use rekindle_model::run::RunState;
use rekindle_model::step::StepState;
use rekindle_plan::{Plan, PlanStep, expr};
use serde_json::{Map, Value, json};

/// The values of a run that expressions may name.
pub(super) struct Scope(expr::Scope);

/// The names of the steps that failed, in the order of the plan.
const FAILED: &[&str] = &["run", "failed"];
/// The same steps, each with the code and the message of its failure.
const ERRORS: &[&str] = &["run", "errors"];

impl Scope {
    /// Returns the scope of a run in which no step has ended.
    ///
    /// `ambient` is what the caller gives; where it names something that the engine names too, the engine's holds.
    pub(super) fn new(plan: &Plan, state: &RunState, ambient: &Value) -> Self {
        let mut scope = expr::Scope::of(ambient);
        scope.set_map(&["steps"]);
        for step in plan.steps.iter().filter(|step| loop_key(step).is_some()) {
            // So that the expression of a loop without values finds an empty map.
            scope.set_map(&["steps", &step.template]);
        }
        scope.set(&["params"], &Value::Object(plan.params.clone()));
        scope.set_map(&["run"]);
        scope.set(&["run", "id"], &json!(state.id));
        scope.set(&["run", "workflow"], &json!(state.workflow));
        let disaster_at = state.disaster_at.map(|at| at.to_rfc3339());
        scope.set(&["run", "disaster_at"], &json!(disaster_at));
        scope.set(&["run", "show"], &json!(format!("rekindle show {}", state.id)));
        scope.remove_item(FAILED, "");
        scope.remove_item(ERRORS, "");
        scope.set(&["null"], &Value::Null);
        Self(scope)
    }

    /// Adds a step that has ended: `steps.<template>`, of a loop `steps.<template>["key"]`. It is a map of `outcome`,
    /// `error` and `outputs`, and of the fields of its output.
    pub(super) fn add(&mut self, place: usize, step: &PlanStep, state: &StepState, output: &Value) {
        let (outcome, error) = match state {
            StepState::Succeeded { .. } => ("success", None),
            StepState::Failed { error } if error.code == code::CANCELLED => ("cancelled", Some(error)),
            StepState::Failed { error } => ("failure", Some(error)),
            StepState::Skipped {
                why: SkipReason::Cancelled,
            } => ("cancelled", None),
            _ => ("skipped", None),
        };
        let key = format!("{place:07}");
        // A step that may fail does not make the run fail.
        match error.filter(|_| !step.continue_on_error) {
            Some(error) => {
                let name = json!(step.id);
                self.0.set_item(FAILED, &key, &name);
                let whole = json!({ "step": name, "code": error.code, "message": error.message });
                self.0.set_item(ERRORS, &key, &whole);
            }
            None => {
                self.0.remove_item(FAILED, &key);
                self.0.remove_item(ERRORS, &key);
            }
        }
        let error = error.map(|error| json!({ "code": error.code, "message": error.message }));
        let mut ended = match output {
            Value::Object(fields) => fields.clone(),
            _ => Map::new(),
        };
        ended.insert("outcome".to_owned(), outcome.into());
        ended.insert("error".to_owned(), error.into());
        ended.insert("outputs".to_owned(), output.clone());
        self.0.set(&path(step), &Value::Object(ended));
    }

    /// Removes a step that will run again.
    pub(super) fn remove(&mut self, place: usize, step: &PlanStep) {
        let key = format!("{place:07}");
        self.0.remove_item(FAILED, &key);
        self.0.remove_item(ERRORS, &key);
        self.0.remove(&path(step));
    }

    /// Returns the scope as one step sees it.
    pub(super) fn of(&self, step: &PlanStep) -> expr::Scope {
        let mut scope = self.0.clone();
        scope.set(&["each"], &step.each_values());
        if let Some(item) = &step.item {
            scope.set(&["item"], item);
        }
        if let Some(name) = step.each.get("component") {
            scope.set_named(&["component"], name, &["system", "components", name]);
        }
        scope
    }
}

fn path(step: &PlanStep) -> Vec<&str> {
    let mut path = vec!["steps", step.template.as_str()];
    path.extend(loop_key(step));
    path
}

/// Returns the text in the brackets of a looped step's name.
fn loop_key(step: &PlanStep) -> Option<&str> {
    step.id
        .as_str()
        .strip_prefix(step.template.as_str())?
        .strip_prefix('[')?
        .strip_suffix(']')
}
