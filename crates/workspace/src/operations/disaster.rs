//! The disaster of a scenario, as the workflow of its drill must know it.

use rekindle_model::system::System;
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::run_spec::SET_UP;

/// Returns what the workflow must know of a scenario's disaster: what it leaves over, and in which state.
///
/// # Errors
/// The data of a component are no files, so only a program can damage them, and none is given.
pub(super) fn params(
    system: &System,
    scenario: &str,
    affected: &[String],
) -> Result<Map<String, Value>, Error> {
    let Some(spec) = system.scenarios.get(scenario) else {
        return Ok(Map::new());
    };
    let source = |name: &str| system.components.get(name)?.source.as_ref();
    let gone = |name: &str| system.loses_all(spec, name);
    let unseen: Vec<&str> = affected
        .iter()
        .map(String::as_str)
        .filter(|name| !gone(name) && system.damages(spec, name).any(|(_, damage)| damage.how.is_some()))
        .filter(|name| {
            source(name).is_some_and(|spec| rekindle_sources::open(spec).is_ok_and(|it| it.claim().is_none()))
        })
        .collect();
    if !unseen.is_empty() {
        let message = format!("only a program can damage the data of {}", unseen.join(", "));
        return Err(Error::usage(message).with_advice("let the scenario damage it by `run`"));
    }
    let read = spec.load.iter().flat_map(|load| &load.reads);
    let all = system.sandboxed(affected.iter().chain(read).map(String::as_str));
    let is_affected = |name: &str| affected.iter().any(|own| own == name);
    let left: Vec<&str> = all
        .into_iter()
        .filter(|name| source(name).is_some() && !(is_affected(name) && gone(name)))
        .collect();
    let damaged: Vec<&str> = left.iter().copied().filter(|name| is_affected(name)).collect();
    Ok(Map::from_iter([
        ("disasters".to_owned(), json!([scenario])),
        (SET_UP.to_owned(), json!(left)),
        ("damaged".to_owned(), json!(damaged)),
        (
            "loads".to_owned(),
            json!(spec.load.iter().map(|_| scenario).collect::<Vec<_>>()),
        ),
    ]))
}
