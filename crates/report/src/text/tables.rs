//! The tables of a recovery and of a backup, and the four answers.

use std::collections::BTreeMap;
use std::fmt::Write;

use comfy_table::Cell;
use rekindle_model::shown::line;
use rekindle_model::{shell, time};

use super::{WriteAction, bytes, duration, plain, printed, right, uncertain};
use crate::backup::{BackupRow, BackupTable, Noted, ProofRow};
use crate::provenance::OfSet;
use crate::recovery::{ComponentRow, Displaced, Objective, RecoveryTable, Validity};
use crate::status::{Answer, ClassLoss, Status, TierAge, Verdict};
use crate::targets::{self, TargetRow};
use crate::unfinished::{Question, StepCount, Unfinished};
use crate::units::{count, entries, named};

/// Returns a recovery's table of components.
pub fn recovery(found: &RecoveryTable) -> String {
    let mut table = plain();
    table.set_header([
        "component",
        "restored",
        "valid",
        "RTO",
        "target",
        "RPO",
        "target",
        "bytes",
    ]);
    for row in &found.components {
        let (rpo, rpo_target) = worst_class(row);
        table.add_row([
            Cell::new(&row.component),
            Cell::new(match row.restored {
                Some(true) => "yes",
                Some(false) if found.outcome.is_none() => "not yet",
                Some(false) => "no",
                None => "no data",
            }),
            Cell::new(match row.valid {
                Validity::Yes => "yes",
                Validity::No => "no",
                Validity::NoData => "no data",
            }),
            right(actual(&row.rto)),
            right(target(&row.rto)),
            right(rpo),
            right(rpo_target),
            right(
                row.bytes
                    .filter(|_| row.restored.is_some())
                    .map(bytes)
                    .unwrap_or_default(),
            ),
        ]);
    }
    let mut text = printed(table);
    let told = match (found.disaster_caused, found.disaster_at_told) {
        (true, _) => "the drill caused it",
        (false, true) => "told",
        (false, false) => "assumed: the run's start",
    };
    let _ = writeln!(
        text,
        "\n\ndisaster at {} ({told})",
        found.disaster_at.format("%Y-%m-%d %H:%M:%S UTC")
    );
    let what = found
        .scenario
        .as_deref()
        .map_or_else(|| extent(&found.of_set), |s| format!("scenario {s}"));
    let _ = writeln!(
        text,
        "{what}: RTO {}, target {}",
        actual(&found.system_rto),
        target(&found.system_rto)
    );
    if found.scenario_rpo.target.is_some() {
        let _ = writeln!(
            text,
            "{what}: RPO {}, target {}",
            actual(&found.scenario_rpo),
            target(&found.scenario_rpo)
        );
    }
    let _ = writeln!(text, "checks across components: {}", held(found.operational));
    if let Some(rule) = &found.rule {
        let _ = writeln!(
            text,
            "system operational: {}; rule system_operational: {}",
            match rule.holds {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "no data",
            },
            rule.sentence()
        );
    }
    text.push_str(&in_all(found));
    match found.sandbox_removed {
        Some(true) => text.push_str("a drill: all of it was in a sandbox, which is removed\n"),
        Some(false) => text.push_str("a drill: all of it was in a sandbox, which could NOT be removed\n"),
        None => {}
    }
    if let Some(isolation) = &found.isolation {
        let lacks = found.isolation_lacks.as_ref();
        let lacks = lacks.map_or_else(String::new, |why| {
            format!("; its programs could reach outside: {}", line(why))
        });
        let _ = writeln!(text, "isolation: {isolation}{lacks}");
    }
    if let Some(set) = found.set.as_ref().filter(|_| !found.of_set.is_empty()) {
        let _ = writeln!(text, "{}", of_set(set, &found.of_set, found.outcome.is_some()));
    }
    text.push_str(&age_of_set(found));
    for warning in &found.at_risk {
        let _ = writeln!(
            text,
            "WARNING at {}: {}",
            time::show(warning.at),
            warning.sentence()
        );
    }
    for what in found.unheld() {
        let _ = writeln!(text, "{what}");
    }
    for (component, error) in found
        .components
        .iter()
        .filter_map(|row| Some((&row.component, row.error.as_ref()?)))
    {
        let _ = writeln!(text, "{component}: {error}");
    }
    text
}

/// Returns each target with its figure, or why there is none; empty without targets.
pub fn targets(rows: &[TargetRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = plain();
    table.set_header(["target", "wanted", "figure", ""]);
    for row in rows {
        let verdict = match row.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "no data",
        };
        table.add_row([
            Cell::new(format!("{}.{}", row.group, row.target)),
            right(row.expect.to_string()),
            right(row.figure.map_or_else(String::new, targets::shown)),
            Cell::new(verdict),
        ]);
    }
    let mut text = printed(table);
    text.push('\n');
    for row in rows {
        let inputs: Vec<String> = row
            .inputs
            .iter()
            .map(|(name, value)| format!("{name} {}", targets::shown(*value)))
            .collect();
        let (group, target, formula) = (&row.group, &row.target, &row.formula);
        let _ = match (&row.why, inputs.is_empty()) {
            (Some(why), _) => writeln!(text, "{group}.{target}: {why}"),
            (None, true) => writeln!(text, "{group}.{target}: {formula}"),
            (None, false) => writeln!(text, "{group}.{target}: {formula} ({})", inputs.join(", ")),
        };
    }
    text
}

/// Returns how many targets are met, missed and not measured; empty without targets.
pub fn targets_in_short(rows: &[TargetRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let of = |met| rows.iter().filter(|row| row.met == met).count();
    format!(
        "targets: {} met, {} missed, {} without data\n",
        of(Some(true)),
        of(Some(false)),
        of(None)
    )
}

/// Returns the sums of a recovery: valid components, objectives met, bytes.
fn in_all(found: &RecoveryTable) -> String {
    let rows = &found.components;
    let valid = rows.iter().filter(|row| row.valid == Validity::Yes).count();
    let rto: Vec<bool> = rows.iter().filter_map(|row| row.rto.met()).collect();
    let classes = rows.iter().flat_map(|row| &row.rpo);
    let rpo: Vec<bool> = classes.filter_map(|class| class.rpo.met()).collect();
    let met = |all: &[bool]| format!("{} of {}", all.iter().filter(|met| **met).count(), all.len());
    let restored: u64 = rows.iter().filter_map(|row| row.bytes).sum();
    format!(
        "in all: {valid} of {} valid; RTO met by {}; RPO met by {}; {} restored\n",
        count(rows.len(), "component"),
        met(&rto),
        met(&rpo),
        bytes(restored)
    )
}

fn held(holds: Option<bool>) -> &'static str {
    match holds {
        Some(true) => "hold",
        Some(false) => "do not hold",
        None => "no data",
    }
}

/// Returns the age of the recovered set, and what is known of newer ones.
fn age_of_set(found: &RecoveryTable) -> String {
    let mut text = String::new();
    let Some(created) = found.set_created else {
        return text;
    };
    let age = (found.disaster_at - created).to_std().map_or_else(
        |_| "after the disaster".to_owned(),
        |age| format!("{} before the disaster", duration(age)),
    );
    let _ = writeln!(text, "the set was sealed at {}, {age}", time::show(created));
    for lost in &found.newer_lost {
        let _ = writeln!(
            text,
            "WARNING: it is not the latest: {lost} is known, and no tier gives it"
        );
    }
    for other in &found.passed_over {
        let _ = writeln!(text, "passed over: {other}");
    }
    for warning in &found.warnings {
        let _ = writeln!(text, "WARNING: {warning}");
    }
    if found.confirmed == Some(false) {
        let _ = writeln!(
            text,
            "nothing here can tell whether a newer set existed: neither this workspace nor another tier knows more \
             than the tier itself"
        );
    }
    text
}

/// Returns the name of a recovery without a scenario.
fn extent(of_set: &OfSet) -> String {
    match of_set.all_asked_for() {
        true => "complete recovery".to_owned(),
        false => "recovery of a part".to_owned(),
    }
}

/// Returns which components of the set were recovered, and which ones nobody asked for.
fn of_set(set: &str, of_set: &OfSet, over: bool) -> String {
    let all = of_set.len();
    let so_far = if over { "" } else { " so far" };
    let mut text = match of_set.recovered.len() {
        n if n == all => format!("recovery set {set}: all {all} of its components are recovered"),
        0 => format!("recovery set {set}: none of its {all} components is recovered{so_far}"),
        n => format!(
            "recovery set {set}: {n} of its {all} components recovered{so_far} ({})",
            of_set.recovered.join(", ")
        ),
    };
    let rest = [
        (
            if over { "not recovered" } else { "still to come" },
            &of_set.missing,
        ),
        ("not asked for", &of_set.not_asked_for),
        ("not in this system.yaml", &of_set.not_in_system),
    ];
    for (what, names) in rest.into_iter().filter(|(_, names)| !names.is_empty()) {
        let _ = write!(text, "; {what}: {}", names.join(", "));
    }
    text
}

/// Returns where the displaced data is, and how to put it back; empty if nothing was moved.
pub fn set_aside(displaced: &[Displaced]) -> String {
    let mut text = String::new();
    for displaced in displaced {
        let (folder, root) = (line(&displaced.folder), line(&displaced.root));
        // A log that was written since would be replayed into a database that knows nothing of it.
        let _ = writeln!(
            text,
            "what stood there before is in {folder}\n  to put it back: stop what uses {root}, remove each -wal, \
             -shm and -journal beside its databases, then: cp -a {} {}",
            shell::word(&format!("{}/.", displaced.folder)),
            shell::word(&format!("{}/", displaced.root))
        );
    }
    text
}

/// The class that is nearest to its limit, or farthest beyond it, speaks for the component.
fn worst_class(row: &ComponentRow) -> (String, String) {
    let pressure = |objective: &Objective| match (objective.actual, objective.target) {
        (Some(actual), Some(target)) => actual.as_secs_f64() / target.as_secs_f64().max(f64::MIN_POSITIVE),
        _ => 0.0,
    };
    let worst = row
        .rpo
        .iter()
        .max_by(|a, b| pressure(&a.rpo).total_cmp(&pressure(&b.rpo)));
    worst.map_or((String::new(), String::new()), |class| {
        (actual(&class.rpo), target(&class.rpo))
    })
}

fn actual(objective: &Objective) -> String {
    let Some(actual) = objective.actual else {
        return match objective.failed {
            true => "not back ✗".to_owned(),
            false => "no data".to_owned(),
        };
    };
    let missed = if objective.met() == Some(false) {
        " ✗"
    } else {
        ""
    };
    format!(
        "{}{}{missed}",
        duration(actual),
        uncertain(objective.clock_uncertain)
    )
}

fn target(objective: &Objective) -> String {
    objective.target.map_or("none".to_owned(), duration)
}

/// Returns a backup's table of components and tiers.
pub fn backup(found: &BackupTable) -> String {
    let mut tiers: Vec<&str> = found
        .components
        .iter()
        .flat_map(|row| row.tiers.keys().map(String::as_str))
        .collect();
    tiers.sort_unstable();
    tiers.dedup();
    let mut table = plain();
    table.set_header(
        ["component", "bytes", "new", "files"]
            .into_iter()
            .chain(tiers.iter().copied()),
    );
    for row in &found.components {
        let figures = [
            row.bytes.map(bytes),
            row.bytes_new.map(bytes),
            row.files.map(|files| files.to_string()),
        ];
        let stored = tiers.iter().map(|tier| match row.tiers.get(*tier) {
            Some(Some(true)) => "verified",
            Some(Some(false)) => "FAULTY",
            Some(None) => "not verified",
            None => "",
        });
        let cells = figures
            .into_iter()
            .map(|figure| right(figure.unwrap_or_else(|| "no data".to_owned())));
        table.add_row(
            std::iter::once(Cell::new(&row.component))
                .chain(cells)
                .chain(stored.map(Cell::new)),
        );
    }
    let mut text = printed(table);
    text.push_str("\n\n");
    text.push_str(&said_once(
        found.components.iter().filter_map(|row| row.error.as_deref()),
    ));
    for row in &found.components {
        text.push_str(&left_out(row));
    }
    let whole = found.components.iter().filter(|row| row.whole()).count();
    let _ = write!(
        text,
        "{whole} of {} components stored and verified in every tier",
        found.components.len()
    );
    if let Some(took) = found.duration {
        let _ = write!(text, ", in {}", duration(took));
    }
    text.push('\n');
    text.push_str(&short_of_a_tier(found));
    if let Some(set) = &found.set {
        let tiers = found.stored_in.join(", ");
        let ready = match (found.recovery_ready, found.recoverable) {
            (Some(true), _) if tiers.is_empty() => "recovery-ready".to_owned(),
            (Some(true), _) => format!("recovery-ready in {tiers}"),
            (Some(false), Some(true)) => format!("NOT recovery-ready; recoverable from {tiers}"),
            (Some(false), _) => "NOT recovery-ready".to_owned(),
            (None, _) => "not judged".to_owned(),
        };
        let _ = writeln!(text, "recovery set {set}: {ready}");
        if let Some(rule) = found
            .rule
            .as_ref()
            .filter(|rule| rule.stated_by_system || rule.holds != Some(true))
        {
            let _ = writeln!(text, "rule recovery_ready: {}", rule.sentence());
        }
    }
    for component in &found.unproven {
        if let Some(proof) = found.proofs.get(component) {
            let _ = writeln!(text, "{}", proof.sentence(component));
        }
    }
    let valid = |proof: &&ProofRow| proof.valid == Some(true) && proof.at >= found.began;
    let proven = found.proofs.values().filter(valid).count();
    if proven > 0 {
        let _ = writeln!(
            text,
            "{} recovered into a sandbox and valid there",
            count(proven, "component")
        );
    }
    for (tier, why) in &found.unsealed {
        let _ = writeln!(
            text,
            "WARNING: tier {tier} has no recovery set of this backup: {why}"
        );
    }
    for lost in &found.lost {
        let _ = writeln!(
            text,
            "WARNING: {lost}; repair the tier, which then takes it from another one"
        );
    }
    for row in &found.components {
        text.push_str(&shrunk(row, found.predecessor.as_deref()));
        for warning in &row.warnings {
            let _ = writeln!(text, "WARNING: {}: {warning}", row.component);
        }
    }
    text
}

/// How many steps are named that failed in the same way.
const STEPS_OF_A_FAILURE: usize = 3;

/// Returns the failures of steps, `STEP: WHY` each, one line for each reason. A tier that is lost fails every step there.
fn said_once<'a>(failures: impl Iterator<Item = &'a str>) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for failure in failures {
        let (step, why) = failure.split_once(": ").unwrap_or(("", failure));
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, steps)) => steps.push(step),
            None => reasons.push((why, vec![step])),
        }
    }
    let mut text = String::new();
    for (why, steps) in reasons {
        let named = steps.get(..STEPS_OF_A_FAILURE).unwrap_or(&steps).join(", ");
        let more = match steps.len().saturating_sub(STEPS_OF_A_FAILURE) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let _ = match named.is_empty() {
            true => writeln!(text, "{why}"),
            false => writeln!(text, "{named}{more}: {why}"),
        };
    }
    text
}

/// Returns, for the components that are not in every tier, the tiers that hold them; one line for each group of tiers.
fn short_of_a_tier(found: &BackupTable) -> String {
    let mut groups: BTreeMap<(Vec<&str>, Vec<&str>), Vec<&str>> = BTreeMap::new();
    for row in found.components.iter().filter(|row| !row.whole()) {
        let tiers = |good: bool| {
            let held = row
                .tiers
                .iter()
                .filter(move |(_, held)| (**held == Some(true)) == good);
            held.map(|(tier, _)| tier.as_str()).collect()
        };
        let key: (Vec<&str>, Vec<&str>) = (tiers(true), tiers(false));
        groups.entry(key).or_default().push(&row.component);
    }
    let mut text = String::new();
    for ((good, missing), components) in groups {
        let (components, missing) = (components.join(", "), missing.join(", "));
        let _ = match good.as_slice() {
            [] => writeln!(text, "  in no tier: {components}"),
            good => writeln!(
                text,
                "  in {} only; {missing} is missing: {components}",
                good.join(", ")
            ),
        };
    }
    text
}

/// Warns that a source may have been lost before its capture, since the next recovery uses this set.
fn shrunk(row: &BackupRow, predecessor: Option<&str>) -> String {
    let (Some(before), Some(files)) = (row.shrunk_from, row.files) else {
        return String::new();
    };
    let set = predecessor.map_or_else(
        || "recover from an older set".to_owned(),
        |set| format!("the set before it is {set}"),
    );
    format!(
        "WARNING: {} went from {} files ({}) to {files} ({}): if that is not meant, {set}\n",
        row.component,
        before.files,
        bytes(before.bytes),
        bytes(row.bytes.unwrap_or_default()),
    )
}

/// How many entries are named of each kind that was left out.
const NAMED: usize = 5;

/// Returns which entries of a component were not captured, or changed meanwhile.
fn left_out(row: &BackupRow) -> String {
    let component = &row.component;
    let mut text = String::new();
    if let Some(unread) = &row.unreadable {
        let what = match unread.accepted {
            true => "could not be read; this component accepts that",
            false => "could not be read: the snapshot is INCOMPLETE",
        };
        let names = named(&unread.first, unread.count);
        let _ = writeln!(text, "{component}: {} {what}: {names}", entries(unread.count));
    }
    let Some(noted) = &row.noted else {
        let _ = writeln!(
            text,
            "{component}: whether something was left out is not known: the process died before it was recorded"
        );
        return text;
    };
    for Noted { kind, count, first } in noted {
        let what = match kind.as_str() {
            "socket" => "left out (only a running program makes a socket)",
            "attributes" => "captured without some extended attributes (unreadable, or longer than 1 MiB)",
            "vanished" => "left out (gone before it was read)",
            "live_database" => {
                "SQLite databases that may be in use (their files may be of different moments; the source type sqlite \
                 captures one at one moment)"
            }
            "changed" => "written while captured (may be of two moments)",
            other => other,
        };
        let names = named(first.get(..NAMED).unwrap_or(first), *count);
        let _ = writeln!(text, "{component}: {count} {what}: {names}");
    }
    text
}

/// Returns the four answers, in lines of at most `width` columns; `write` formats the next actions.
pub fn status(status: &Status, width: usize, write: WriteAction<'_>) -> String {
    let mut text = format!("{}\n\n", line(&status.system));
    if let Some(disaster) = &status.disaster {
        text.push_str(&wrapped(&format!("✗ {}", line(disaster)), width));
        text.push('\n');
    }
    for (question, answer) in [
        ("Can we come back?", &status.come_back),
        ("How long will it take?", &status.how_long),
        ("How much will we lose?", &status.how_much),
        ("Where is the proof?", &status.proof),
    ] {
        text.push_str(&answered(question, answer, width));
    }
    if !status.tiers.is_empty() || !status.data_classes.is_empty() {
        text.push('\n');
        status.tiers.iter().for_each(|tier| text.push_str(&of_tier(tier)));
        let classes = status.data_classes.iter();
        classes.for_each(|class| text.push_str(&of_class(class)));
    }
    if !status.unfinished.is_empty() {
        text.push('\n');
        status
            .unfinished
            .iter()
            .for_each(|run| text.push_str(&unfinished(run)));
    }
    if !status.next.is_empty() {
        text.push_str("\nnext:\n");
        status.next.iter().for_each(|next| {
            let _ = match (&next.action, next.text.as_str()) {
                (Some(action), "") => writeln!(text, "  {}", write(action)),
                // A shell that gets the whole line ignores the reason.
                (Some(action), why) => writeln!(text, "  {}   # {why}", write(action)),
                (None, advice) => writeln!(text, "  {advice}"),
            };
        });
    }
    text
}

/// How many of the steps that are at work a sentence names.
const STEPS_NAMED: usize = 4;

/// Returns the progress of an unfinished run.
fn unfinished(run: &Unfinished) -> String {
    let what = match run.driven {
        _ if run.elsewhere.is_some() => "held elsewhere",
        Some(true) => "at work",
        Some(false) => "interrupted",
        None => "not over",
    };
    let began = run.began.format("%Y-%m-%d %H:%M:%S UTC");
    let mut text = format!("{what}: run {}, {} of {began}", run.run, run.workflow);
    if let Some(StepCount { done, total: all }) = run.steps {
        let _ = write!(text, ", {done} of {all} steps done");
    }
    if let Some(elsewhere) = &run.elsewhere {
        let _ = writeln!(text, ", by {}", elsewhere.named());
        return text;
    }
    // If no process drives it, nothing is at work.
    if !run.is_interrupted() && !run.at_work.is_empty() {
        let named: Vec<&str> = run
            .at_work
            .iter()
            .take(STEPS_NAMED)
            .map(|step| step.as_str())
            .collect();
        let more = match run.at_work.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let _ = write!(text, "; now {}{more}", named.join(", "));
    }
    if let Some(by) = &run.paused {
        let _ = write!(text, "; paused by {by}");
    }
    text.push('\n');
    for Question { step, prompt } in &run.waiting {
        let _ = writeln!(text, "  {step} waits for approval: {}", line(prompt));
    }
    text
}

fn answered(question: &str, answer: &Answer, width: usize) -> String {
    let mark = mark(answer.verdict);
    let run = answer.run.map(|run| format!("  [run {run}]")).unwrap_or_default();
    wrapped(&format!("{mark} {question:<24}{}{run}", answer.text), width)
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "✓",
        Verdict::Bad => "✗",
        Verdict::Unsure => "!",
        Verdict::NoData => "?",
    }
}

/// Returns a paragraph in lines of at most `width` columns, those after the first below the text of an answer.
fn wrapped(text: &str, width: usize) -> String {
    const INDENT: &str = "                          ";
    let options = textwrap::Options::new(width)
        .subsequent_indent(INDENT)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(text, options) + "\n"
}

/// Returns how old the newest set of a tier is, against the interval in which sets are due.
fn of_tier(tier: &TierAge) -> String {
    let (mark, newest) = match (tier.newest, tier.age) {
        _ if tier.fault.is_some() && tier.newest.is_none() => ("!", "no recoverable set".to_owned()),
        (_, Some(age)) if tier.fault.is_some() => ("!", format!("newest set {} old", duration(age))),
        _ if tier.overdue && tier.newest.is_none() => ("!", "no recoverable set".to_owned()),
        (_, Some(age)) if tier.overdue => ("!", format!("newest set {} old", duration(age))),
        (_, Some(age)) => ("✓", format!("newest set {} old", duration(age))),
        (Some(_), None) => (
            "?",
            "newest set made by a clock that is ahead of this one".to_owned(),
        ),
        (None, None) => ("?", "no recoverable set".to_owned()),
    };
    let due = match tier.every {
        Some(every) if tier.overdue => format!(", due every {}: overdue", duration(every)),
        Some(every) => format!(", due every {}", duration(every)),
        None => String::new(),
    };
    let fault = tier.fault.as_ref().map(|fault| format!("; {}", line(fault)));
    format!(
        "{mark} tier {:<19}{newest}{due}{}\n",
        tier.tier,
        fault.unwrap_or_default()
    )
}

/// Returns how much of a data class a disaster now would cost, against its objective.
fn of_class(class: &ClassLoss) -> String {
    let loss = class.loss.map_or("all of it".to_owned(), duration);
    let (mark, lost) = match class.met {
        Some(true) => ("✓", format!("would lose {loss}")),
        Some(false) => ("✗", format!("would lose {loss}")),
        None if class.components.is_empty() => ("?", "no component carries it".to_owned()),
        None => ("?", "no data".to_owned()),
    };
    let rpo = class.rpo.map(|rpo| format!(", RPO {}", duration(rpo)));
    format!("{mark} {:<24}{lost}{}\n", class.class, rpo.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_once_with_the_steps_that_failed_for_it() {
        let failures = [
            "store[a,far]: gone",
            "verify[b,near]: bad",
            "store[b,far]: gone",
            "odd",
        ];
        assert_eq!(
            said_once(failures.into_iter()),
            "store[a,far], store[b,far]: gone\nverify[b,near]: bad\nodd\n"
        );
        let many = ["s[1]: x", "s[2]: x", "s[3]: x", "s[4]: x"];
        assert_eq!(said_once(many.into_iter()), "s[1], s[2], s[3] and 1 more: x\n");
    }

    #[test]
    fn what_was_set_aside_is_put_back_by_a_command_that_a_shell_reads_as_it_is_meant() {
        let told = set_aside(&[Displaced {
            folder: "/srv/o'neill.before-1".to_owned(),
            root: "/srv/o'neill".to_owned(),
        }]);
        assert!(
            told.ends_with("then: cp -a '/srv/o'\\''neill.before-1/.' '/srv/o'\\''neill/'\n"),
            "{told}"
        );
        assert_eq!(set_aside(&[]), "");
    }
}
