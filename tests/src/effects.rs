//! Compares the effect log, which the engine never reads, with the journal's history.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Judges a run's history, whichever process was killed.
///
/// # Errors
/// The first violation, in words: a gap, a success that ran again, two successes, an act without its record.
pub fn judge(history: &[Value], effects: &str) -> Result<(), String> {
    let mut started = BTreeSet::new();
    let mut successes: BTreeMap<String, u64> = BTreeMap::new();
    for (place, record) in history.iter().enumerate() {
        if record["seq"].as_u64() != Some(place as u64 + 1) {
            return Err(format!(
                "record {} of the history has number {}",
                place + 1,
                record["seq"]
            ));
        }
        let step = record["step"].as_str().unwrap_or_default().to_owned();
        let attempt = record["attempt"].as_u64().unwrap_or_default();
        match record["event"].as_str() {
            Some("step_started") => {
                if let Some(done) = successes.get(&step) {
                    return Err(format!(
                        "{step}: attempt {attempt} started after attempt {done} had succeeded"
                    ));
                }
                started.insert((step, attempt));
            }
            Some("step_succeeded") if successes.contains_key(&step) => {
                return Err(format!("{step} has two successes"));
            }
            Some("step_succeeded") => {
                successes.insert(step, attempt);
            }
            Some("step_invalidated") => {
                successes.remove(&step);
            }
            _ => {}
        }
    }
    match history.last().map(|record| record["event"].as_str()) {
        Some(Some("run_finished")) => {}
        last => return Err(format!("the history ends with {last:?}, not with run_finished")),
    }
    let run = history
        .first()
        .and_then(|record| record["run"].as_str())
        .unwrap_or_default();
    let mut begun = BTreeSet::new();
    for line in effects.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let ["begin", of, step, attempt] = words[..] else {
            continue;
        };
        if of != run {
            continue;
        }
        let act = (step.to_owned(), attempt.parse::<u64>().unwrap_or_default());
        if !started.contains(&act) {
            return Err(format!(
                "{step} acted in attempt {attempt}, which the journal does not know"
            ));
        }
        if successes.get(step).is_some_and(|done| act.1 > *done) {
            return Err(format!("{step} acted again after its journaled success"));
        }
        if !begun.insert(act) {
            return Err(format!("{step} acted twice in attempt {attempt}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn history(events: &[(&str, u64)]) -> Vec<Value> {
        let mut records = vec![json!({ "event": "run_created" })];
        records.extend(
            events
                .iter()
                .map(|(event, attempt)| json!({ "event": event, "step": "s", "attempt": attempt })),
        );
        records.push(json!({ "event": "run_finished" }));
        for (place, record) in records.iter_mut().enumerate() {
            record["seq"] = json!(place + 1);
            record["run"] = json!("r");
        }
        records
    }

    #[test]
    fn the_judge_sees_every_kind_of_violation() {
        let good = history(&[("step_started", 1), ("step_started", 2), ("step_succeeded", 2)]);
        assert_eq!(
            judge(&good, "begin r s 1\nbegin r s 2\nend r s 2\nbegin other s 9\n"),
            Ok(())
        );
        assert!(
            judge(&good, "begin r s 3\n")
                .unwrap_err()
                .contains("does not know")
        );
        assert!(
            judge(&good, "begin r s 2\nbegin r s 2\n")
                .unwrap_err()
                .contains("twice")
        );
        let again = history(&[("step_started", 1), ("step_succeeded", 1), ("step_started", 2)]);
        assert!(
            judge(&again, "")
                .unwrap_err()
                .contains("after attempt 1 had succeeded")
        );
        let mut gap = good.clone();
        gap.remove(1);
        assert!(judge(&gap, "").unwrap_err().contains("number"));
        assert!(judge(&good[..3], "").unwrap_err().contains("run_finished"));
    }
}
