//! Projections as text for people: tables and sentences, without colours unless asked for.

mod burndown;
mod drill;
mod gantt;
mod listing;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use rekindle_model::event::{Event, Outcome, Verdict as Found};
use rekindle_model::id::StepId;
use rekindle_model::next_action::{Action, Again};
use rekindle_model::step::{StepRecord, StepState};
use rekindle_model::time::Stamp;
use rekindle_model::undo::UndoState;
use rekindle_plan::Plan;
use serde_json::Value;

use crate::evidence::Evidence;
use crate::rework::{CutOff, Rework, rework};
use crate::steps::{StepRow, timeline};

pub use crate::units::{bytes, count, duration};
pub use burndown::{burndown, burndown_row};
pub use drill::drill;
pub use gantt::gantt;
pub use listing::{Column, Listing, Mark};
pub use tables::{backup, recovery, set_aside, status, targets, targets_in_short};

/// How many failed attempts of a step the report lists, the newest ones.
const ATTEMPTS: usize = 3;

/// Writes an action as a face offers it: as a command, or as the name of a button.
pub type WriteAction<'a> = &'a dyn Fn(&Action) -> String;

/// Returns the text of `rekindle show` about a run. A run at work has lasted until `now`. `write` formats the
/// next actions.
pub fn run(evidence: &Evidence, plan: Option<&Plan>, now: Option<&Stamp>, write: WriteAction<'_>) -> String {
    let state = &evidence.state;
    let mut text = String::new();
    let outcome = match state.outcome {
        Some(outcome) => crate::steps::outcome(outcome),
        None if now.is_some() => "at work",
        None => "not finished",
    };
    let took = now.unwrap_or(&state.updated).since(&state.created);
    let _ = writeln!(text, "run {} · {} · {outcome}", state.id, state.workflow);
    let _ = writeln!(
        text,
        "began {} · {} {}{} · asked for by {} · {} records · {} {}",
        state.created.utc.format("%Y-%m-%d %H:%M:%S UTC"),
        duration(took.duration),
        if now.is_some() { "so far" } else { "in all" },
        uncertain(took.clock_uncertain),
        state.trigger,
        state.seq,
        state.adoptions.len() + 1,
        if state.adoptions.is_empty() {
            "process"
        } else {
            "processes"
        },
    );
    text.push_str(&in_short(evidence, plan));
    if let Some(by) = &state.cancel {
        let _ = writeln!(text, "cancelled by {by}{}", cancelled_why(evidence));
    }
    text.push_str(&paused("", evidence, write));
    // A paused run has left the line.
    if let Some(lock) = state.awaits_lock.as_ref().filter(|_| state.paused.is_none()) {
        let _ = writeln!(
            text,
            "waits for its group lock since {}: one run of {} at a time, and run {} had it then ({})",
            lock.since.utc.format("%Y-%m-%d %H:%M:%S UTC"),
            lock.group,
            lock.holder,
            write(&Action::Show {
                run: Some(lock.holder)
            }),
        );
    }
    if let Some(deadlock) = &state.deadlock {
        let _ = writeln!(
            text,
            "gave up its group lock at {}: {deadlock}; let one of them end before the other begins ({})",
            deadlock.at.utc.format("%Y-%m-%d %H:%M:%S UTC"),
            write(&Action::Retry {
                run: Some(state.id),
                step: None
            }),
        );
    }
    let _ = writeln!(text, "\n{}", steps(evidence, plan, write));
    let cost = rework(evidence);
    if !cost.interruptions.is_empty() || !cost.cut_off.is_empty() {
        let _ = writeln!(text, "{}", interruptions(&cost));
    }
    text.push_str(&next(evidence, write));
    text
}

/// Returns what a person must know of an unfinished run that a step waits for: its questions, and whether it is paused.
/// `path` is the way to it.
pub fn below(path: &str, evidence: &Evidence, write: WriteAction<'_>) -> String {
    let mut text = paused(&format!("{path} is "), evidence, write);
    let way = format!("{path}/");
    for step in evidence.state.waiting_for_approval() {
        text.push_str(&question(&way, evidence, step, write));
    }
    text
}

/// Returns who paused a run, if it is paused and not over.
fn paused(way: &str, evidence: &Evidence, write: WriteAction<'_>) -> String {
    let state = &evidence.state;
    let Some(paused) = state.paused.as_ref().filter(|_| state.outcome.is_none()) else {
        return String::new();
    };
    format!(
        "{way}paused by {}{} since {} ({})\n",
        paused.by,
        said(paused.why.as_ref()),
        paused.at.utc.format("%Y-%m-%d %H:%M:%S UTC"),
        write(&Action::Unpause { run: Some(state.id) }),
    )
}

/// Returns the question of a step that waits for approval.
fn question(way: &str, evidence: &Evidence, step: &StepId, write: WriteAction<'_>) -> String {
    let record = evidence.state.step(step);
    let prompt = record.awaits().map_or("", |asked| asked.prompt.as_str());
    let approve = Action::Approve {
        run: evidence.state.id,
        step: step.clone(),
    };
    format!(
        "{way}{step} is waiting for approval: {prompt} ({})\n",
        write(&approve)
    )
}

/// Returns which steps failed, and what happened to the work of the others; empty if none failed.
fn in_short(evidence: &Evidence, plan: Option<&Plan>) -> String {
    let steps = || evidence.state.steps.iter();
    let may_fail: BTreeSet<&StepId> = plan
        .iter()
        .flat_map(|plan| &plan.steps)
        .filter(|step| step.continue_on_error)
        .map(|step| &step.id)
        .collect();
    let fell_and = |may: bool| -> Vec<&str> {
        steps()
            .filter(|(id, step)| fell(step) && may_fail.contains(id) == may)
            .map(|(id, _)| id.as_str())
            .collect()
    };
    let failed = fell_and(false);
    let undone = |is: fn(&UndoState) -> bool| -> Vec<&str> {
        steps()
            .filter(|(_, step)| step.undo.as_ref().is_some_and(|undo| is(&undo.state)))
            .map(|(id, _)| id.as_str())
            .collect()
    };
    let parts = [
        ("failed", failed),
        ("failed, and may fail", fell_and(true)),
        ("taken back", undone(|undo| *undo == UndoState::Done)),
        (
            "not taken back",
            undone(|undo| matches!(undo, UndoState::Stuck { .. })),
        ),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, steps)| !steps.is_empty())
        .map(|(what, steps)| format!("{what}: {}", named(&steps)))
        .collect();
    match parts.is_empty() {
        true => String::new(),
        false => format!("{}\n", parts.join("; ")),
    }
}

/// How many steps a line names.
const NAMED: usize = 5;

fn named(steps: &[&str]) -> String {
    let first = steps[..steps.len().min(NAMED)].join(", ");
    match steps.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Returns the action that runs the failed steps of a finished run again; empty if none failed.
fn next(evidence: &Evidence, write: WriteAction<'_>) -> String {
    let run = evidence.state.id;
    let again = match evidence.state.outcome {
        Some(Outcome::Failed | Outcome::Cancelled) => "to run the failed steps, and those after them, again",
        Some(Outcome::Partial) if evidence.state.steps.values().any(fell) => {
            "to run the failed steps, and those after them, again"
        }
        // A stuck undo is reported elsewhere, with its own command.
        Some(Outcome::Partial | Outcome::Stuck | Outcome::Succeeded) | None => return String::new(),
    };
    let resume = Action::Resume {
        run: Some(run),
        again: Again::Failed,
    };
    format!("{again}: {}\n", write(&resume))
}

fn fell(step: &StepRecord) -> bool {
    matches!(step.state, StepState::Failed { .. })
}

/// Returns the table of steps; `write` formats the next actions.
pub fn steps(evidence: &Evidence, plan: Option<&Plan>, write: WriteAction<'_>) -> String {
    let mut table = plain();
    table.set_header(["step", "state", "attempts", "took", "written", "kept"]);
    let all = timeline(evidence, plan);
    let (rows, folded) = shown(&all);
    for row in &rows {
        let measure = |name: &str| {
            row.measures
                .get(name)
                .map_or(String::new(), |v| bytes(crate::rework::bytes(*v)))
        };
        let attempts = match (row.attempts, row.reconciled, row.failures) {
            (0, _, _) => String::new(),
            (n, 0, 0) => n.to_string(),
            (n, 0, failed) => format!("{n} ({failed} failed)"),
            (n, cut, 0) => format!("{n} ({cut} cut off)"),
            (n, cut, failed) => format!("{n} ({cut} cut off, {failed} failed)"),
        };
        table.add_row([
            Cell::new(&row.step),
            Cell::new(row.state.name()),
            Cell::new(attempts),
            right(row.duration.map(duration).unwrap_or_default() + uncertain(row.clock_uncertain)),
            // A snapshot writes what no earlier one held.
            right(match row.measures.contains_key("bytes_written") {
                true => measure("bytes_written"),
                false => measure("bytes_new"),
            }),
            right(measure("bytes_kept")),
        ]);
    }
    let mut text = String::new();
    if !rows.is_empty() {
        text.push_str(&printed(table));
        text.push('\n');
    }
    text.push_str(&folded);
    for (step, output) in &evidence.outputs {
        let lost = output["log_lost"].as_str().map(str::to_owned);
        for warning in crate::backup::sentences(&output["warnings"])
            .into_iter()
            .chain(lost)
        {
            let _ = writeln!(text, "WARNING: {step}: {warning}");
        }
    }
    for row in rows {
        let earlier = row.failed_attempts.len().saturating_sub(ATTEMPTS);
        if earlier > 0 {
            let _ = writeln!(text, "{}: {earlier} earlier attempts failed", row.step);
        }
        for failed in &row.failed_attempts[earlier..] {
            let wait = (failed.retry_at - failed.at.utc).to_std().unwrap_or_default();
            let _ = writeln!(
                text,
                "{} attempt {} failed: {} [{}]; the next was due {} later",
                row.step,
                failed.attempt,
                failed.error,
                failed.error.code,
                duration(wait)
            );
        }
        for retry in &row.retries {
            let _ = writeln!(
                text,
                "{}: {} asked for it to run again{}",
                row.step,
                retry.by,
                said(retry.why.as_ref())
            );
        }
        if let Some(group) = &row.waits_in {
            let _ = writeln!(
                text,
                "{} waits for its group lock: one step of {group} at a time",
                row.step
            );
        }
        if let Some(undo) = &row.undo {
            let run = evidence.state.id;
            let _ = match &undo.state {
                UndoState::Done => writeln!(text, "{} was undone", row.step),
                UndoState::Stuck { error } => writeln!(
                    text,
                    "{} could not be undone: {error} [{}]\n  see to the cause, then: {}",
                    row.step,
                    error.code,
                    write(&Action::Retry {
                        run: Some(run),
                        step: Some(row.step.clone())
                    }),
                ),
                UndoState::Waiting { error, .. } => {
                    writeln!(
                        text,
                        "{} is being undone; the last attempt failed: {error}",
                        row.step
                    )
                }
                UndoState::Running | UndoState::Due => writeln!(text, "{} is being undone", row.step),
            };
        }
        if let Some(run) = row.run {
            let show = write(&Action::Show { run: Some(run) });
            let _ = writeln!(text, "{} is run {run} ({show})", row.step);
        }
        if row.waits_for().is_some() {
            text.push_str(&question("", evidence, &row.step, write));
        } else if let Some(decision) = row.approval.as_ref().and_then(|asked| asked.decision.as_ref()) {
            let what = if decision.granted { "approved" } else { "rejected" };
            let (by, note) = (&decision.by, said(decision.note.as_ref()));
            let _ = writeln!(text, "{} was {what} by {by}{note}", row.step);
        }
        let healed = evidence.output(&row.step)["healed"].as_array();
        for what in healed.into_iter().flatten().filter_map(|what| what.as_str()) {
            let _ = writeln!(
                text,
                "{} healed: {what}; what this backup needs of it was stored again",
                row.step
            );
        }
        if let Some(error) = &row.error {
            let again = row
                .retry_at
                .map(|at| format!("; it is tried again at {}", at.format("%Y-%m-%d %H:%M:%S UTC")));
            let again = again.unwrap_or_default();
            let _ = writeln!(text, "{} failed: {error} [{}]{again}", row.step, error.code);
            for next in error.advice() {
                let _ = match &next.action {
                    Some(action) => writeln!(text, "  `{}` {}", write(action), next.text),
                    None => writeln!(text, "  {}", next.text),
                };
            }
        }
    }
    // Many steps are skipped for one reason: it is said once.
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for (why, step) in all
        .iter()
        .filter_map(|row| Some((row.skipped.as_deref()?, row.step.as_str())))
    {
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, steps)) => steps.push(step),
            None => reasons.push((why, vec![step])),
        }
    }
    for (why, steps) in reasons {
        let named = &steps[..steps.len().min(MANY)];
        let more = match steps.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let _ = writeln!(text, "skipped because {why}: {}{more}", named.join(", "));
    }
    text
}

/// The most rows that a table of steps has: a person reads no more. The longest workflow that ships has about eighty.
const MANY: usize = 200;

/// Returns the rows to show, and a sentence about the others. A run with many steps shows those that did not
/// simply succeed, and of many such steps the first.
fn shown(all: &[StepRow]) -> (Vec<&StepRow>, String) {
    if all.len() <= MANY {
        return (all.iter().collect(), String::new());
    }
    let rows: Vec<&StepRow> = all.iter().filter(|row| row.is_remarkable()).take(MANY).collect();
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    let mut next = rows.iter().peekable();
    for row in all {
        match next.peek().is_some_and(|shown| shown.step == row.step) {
            true => drop(next.next()),
            false => *others.entry(row.state.name()).or_default() += 1,
        }
    }
    let counted: Vec<String> = others.iter().map(|(state, n)| format!("{n} {state}")).collect();
    let what = if rows.is_empty() { "" } else { "not listed: " };
    let summary = format!(
        "{} steps; {what}{} (the report in JSON lists all)\n",
        all.len(),
        counted.join(", ")
    );
    (rows, summary)
}

/// Returns the interrupted steps, how each continued, and the bytes that nobody had to write again.
pub fn interruptions(cost: &Rework) -> String {
    let mut text = String::new();
    for (n, interruption) in cost.interruptions.iter().enumerate() {
        let gap = interruption.resumed.since(&interruption.last_sign_of_life);
        let _ = writeln!(
            text,
            "interruption {}: last sign of life at record {}; process {} on {} took over {} later{} as epoch {}: {}",
            n + 1,
            interruption.after_seq,
            interruption.worker.pid,
            interruption.worker.host,
            duration(gap.duration),
            uncertain(gap.clock_uncertain),
            interruption.epoch,
            interruption.why,
        );
    }
    for cut in &cost.cut_off {
        let _ = writeln!(text, "  {}", cut_off(cut));
        if !cut.evidence.is_null() {
            let _ = writeln!(text, "    found: {}", facts(&cut.evidence));
        }
    }
    let _ = writeln!(
        text,
        "{} ran once, {} cut off; {} finished before the last interruption and did not run again",
        count(cost.ran_once.len(), "step"),
        match cost.cut_off.len() {
            1 => "1 attempt was".to_owned(),
            n => format!("{n} attempts were"),
        },
        count(cost.kept, "step"),
    );
    if cost.bytes_not_redone + cost.bytes_written_after_resume > 0 {
        let _ = writeln!(
            text,
            "bytes not redone: {} · written after the last interruption: {}",
            bytes(cost.bytes_not_redone),
            bytes(cost.bytes_written_after_resume),
        );
    }
    text
}

fn said(why: Option<&String>) -> String {
    why.map(|why| format!(": {why}")).unwrap_or_default()
}

/// Returns the reason that was given with the newest cancel.
fn cancelled_why(evidence: &Evidence) -> String {
    let newest = evidence.records.iter().rev();
    let mut asked = newest.filter_map(|record| match &record.event {
        Event::CancelRequested { why, .. } => Some(said(why.as_ref())),
        _ => None,
    });
    asked.next().unwrap_or_default()
}

/// Returns what an action found, in words: `bytes 300, whole no`.
fn facts(found: &Value) -> String {
    let list = |parts: Vec<String>| parts.join(", ");
    match found {
        Value::Null => "nothing".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(found) if found.is_empty() => "none".to_owned(),
        Value::Array(found) => list(found.iter().map(facts).collect()),
        Value::Object(found) => {
            let named = |(name, value): (&String, &Value)| match value {
                _ if name == "why" => facts(value),
                Value::Object(_) => format!("{}: ({})", name.replace('_', " "), facts(value)),
                _ => format!("{} {}", name.replace('_', " "), facts(value)),
            };
            list(found.iter().map(named).collect())
        }
    }
}

fn cut_off(cut: &CutOff) -> String {
    let how = match cut.verdict {
        Found::Complete => "complete: its work was whole",
        Found::Continue => "continued",
        Found::Redo => "redone from the start",
    };
    let from = match (cut.verdict, cut.checkpoints) {
        (Found::Continue, 0) => " from what stood there whole".to_owned(),
        (Found::Continue, 1) => " from its checkpoint".to_owned(),
        (Found::Continue, n) => format!(" from the last of its {n} checkpoints"),
        _ => String::new(),
    };
    let kept = match (cut.bytes_kept, cut.bytes_total) {
        (Some(kept), Some(total)) if total > 0 => {
            format!(", {} of {} not redone", bytes(kept), bytes(total))
        }
        (Some(kept), _) => format!(", {} not redone", bytes(kept)),
        _ => String::new(),
    };
    format!(
        "{} attempt {} was cut off and {how}{from}{kept}",
        cut.step, cut.attempt
    )
}

fn uncertain(uncertain: bool) -> &'static str {
    if uncertain { " (clock uncertain)" } else { "" }
}

fn plain() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// Returns a table as text. One blank is between two columns, so that our tables have room in 80 columns.
fn printed(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    table.trim_fmt()
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
