//! A step that asks a person: `uses: approve`, `with: {message: …}`.
//!
//! It has no action. The machine journals the question together with the start of its attempt. The step then waits,
//! without a task and without a permit, through any number of crashes. It waits until a person approves or rejects it,
//! or until its `timeout` has passed since the question. Its output is `{by, note, at}`.

use rekindle_model::approval::Decision;
use rekindle_model::failure::{Failure, code};
use rekindle_model::next_action::Action;
use rekindle_plan::{PlanStep, Problem, suggest};
use serde_json::{Value, json};

use crate::payload;

/// The name that a step `uses:` to ask for approval.
pub const APPROVE: &str = "approve";

/// Its one parameter: the question.
const MESSAGE: &str = "message";

/// Returns the problems of such a step's parameters.
pub(crate) fn check(with: &Value) -> Vec<Problem> {
    let problem = |at: &[&str], message: String, help: Option<String>| Problem {
        at: at.iter().map(|&key| key.to_owned()).collect(),
        message,
        help,
    };
    let help = || Some("write what a person is asked: `with: {message: \"go on?\"}`".to_owned());
    let mut problems = Vec::new();
    match with.get(MESSAGE) {
        None => problems.push(problem(&[], "`message` is missing".to_owned(), help())),
        Some(Value::String(text)) if !text.trim().is_empty() => {}
        Some(_) => problems.push(problem(&[MESSAGE], "`message` is not a text".to_owned(), help())),
    }
    let others = with.as_object().into_iter().flat_map(serde_json::Map::keys);
    for key in others.filter(|key| *key != MESSAGE) {
        let message = format!("`{APPROVE}` has no parameter `{key}`");
        problems.push(problem(&[key], message, suggest(key, &[MESSAGE])));
    }
    problems
}

/// Returns whether a step asks for approval.
pub(crate) fn asks(step: &PlanStep) -> bool {
    step.uses == APPROVE
}

/// Returns the question, as a record can carry it. After an expression, it may be another value than a text.
pub(crate) fn prompt(with: &Value) -> String {
    let text = match with.get(MESSAGE) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "go on?".to_owned(),
    };
    payload::fit_sentence(&text)
}

/// Returns the output of a step that was approved.
pub(crate) fn output(decision: &Decision) -> Value {
    json!({ "by": decision.by, "note": decision.note, "at": decision.at.utc.to_rfc3339() })
}

/// Returns the failure of a step that was rejected; `retry` asks again.
pub(crate) fn rejected(decision: &Decision, retry: Action) -> Failure {
    let note = decision.note.as_ref().map(|note| format!(": {note}"));
    let message = format!("{} rejected it{}", decision.by, note.unwrap_or_default());
    Failure::permanent(code::REJECTED, message).with_next(retry, "asks again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_required_and_nothing_else_is_known() {
        let found = |with: Value| -> Vec<String> { check(&with).into_iter().map(|p| p.message).collect() };
        assert!(found(json!({ "message": "restore ${{ params.x }}?" })).is_empty());
        for with in [Value::Null, json!({}), json!([])] {
            assert_eq!(found(with), ["`message` is missing"]);
        }
        for with in [json!({ "message": 7 }), json!({ "message": " " })] {
            assert_eq!(found(with), ["`message` is not a text"]);
        }
        let misspelt = check(&json!({ "mesage": "go on?" }));
        assert_eq!(misspelt[1].message, "`approve` has no parameter `mesage`");
        assert_eq!(misspelt[1].at, ["mesage"]);
        assert_eq!(misspelt[1].help.as_deref(), Some("did you mean `message`?"));
    }
}
