//! The part of a plan that may be shown: its steps' parameters, without the secrets that a person wrote into them.
//!
//! Some secrets are known by name: an entry whose name looks secret, as the name of a variable or a header. Others are
//! known by place: the user info and the query of a URL, the path of a webhook. An expression stays, since it only
//! names a secret.

use rekindle_plan::Plan;
use serde_json::Value;

use crate::http_client::{self, is_secret_header};
use crate::notify::secret_part;
use crate::redact::Redactor;

/// Returns the plan without its secrets.
pub fn shown(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    for step in &mut plan.steps {
        step.with = clean(&step.with);
        if let Some(undo) = &mut step.compensate {
            undo.with = clean(&undo.with);
        }
    }
    plan
}

fn clean(with: &Value) -> Value {
    let mut secrets = Vec::new();
    gather(with, &mut secrets);
    Redactor::with(secrets).value(with.clone())
}

/// Collects the secrets, so that a second use of one, such as in an argument, is removed too.
fn gather(value: &Value, secrets: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                match value {
                    Value::String(text) if is_secret_header(name) && !is_expression(text) => {
                        secrets.push(text.clone());
                    }
                    Value::Number(number) if is_secret_header(name) => secrets.push(number.to_string()),
                    Value::String(url) if name == "webhook" => secrets.extend(secret_part(url)),
                    _ => {}
                }
                gather(value, secrets);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, secrets)),
        Value::String(text) if text.contains("://") => secrets.extend(http_client::secrets_of(text)),
        _ => {}
    }
}

fn is_expression(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("${{") && text.ends_with("}}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_person_wrote_is_shown_without_its_secrets() {
        let with = json!({
            "run": ["curl", "-u", "ann:hunter2", "https://ann:hunter3@host/a?sig=hunter4"],
            "env": {"DB_PASSWORD": "hunter2", "PGUSER": "ann", "API_TOKEN": "${{ params.token }}"},
            "headers": {"Authorization": "Bearer hunter5"},
            "webhook": "https://host/hooks/hunter6",
            "idempotency_key": true,
        });
        let shown = clean(&with);
        assert_eq!(
            shown,
            json!({
                "run": ["curl", "-u", "ann:***", "https://***@host/a?***"],
                "env": {"DB_PASSWORD": "***", "PGUSER": "ann", "API_TOKEN": "${{ params.token }}"},
                "headers": {"Authorization": "***"},
                "webhook": "https://host/***",
                "idempotency_key": true,
            })
        );
    }
}
