//! What a drill proved, as text.

use std::fmt::Write;

use rekindle_model::time;

use super::{bytes, count, duration};
use crate::drill::{DamageRow, Detection, DrillTable};

/// The numbers of a load that people look at; JSON has all.
const SHOWN: [&str; 4] = ["error_rate", "p50_ms", "p99_ms", "throughput"];

/// Returns what the drill of a scenario proved.
pub fn drill(found: &DrillTable) -> String {
    let mut text = String::new();
    let verdict = match (found.success, found.total) {
        (_, None) => "not over",
        (true, Some(_)) if found.holds() => "passed",
        (true, Some(_)) => "recovered, and an objective is MISSED",
        (false, Some(_)) => "FAILED",
    };
    let _ = writeln!(text, "drill of {}: {verdict}", found.scenario);
    for row in &found.damage {
        let _ = writeln!(text, "  damage: {}", damage(row));
    }
    for (component, noticed) in &found.detection {
        let _ = writeln!(text, "  before the recovery, {component}: {}", detected(noticed));
    }
    for row in &found.injected {
        let (detected, injected) = (row.detected, row.injected);
        let false_alarms = row.false_alarms.len();
        let _ = writeln!(
            text,
            "  tier {}: named {detected} of {injected} damaged copies; others: {false_alarms}",
            row.tier
        );
    }
    let total = found.total.map_or_else(|| "no data".to_owned(), duration);
    if !found.injected.is_empty() {
        let _ = writeln!(text, "  {total} in all");
        found
            .failures
            .iter()
            .for_each(|failure| text.push_str(&format!("  FAILED: {failure}\n")));
        return text;
    }
    let struck = found.struck.map_or_else(|| "not yet".to_owned(), time::show);
    let _ = writeln!(
        text,
        "  struck at {struck}; recovery {}, RTO {}, RPO {}; {total} in all",
        found.recovery.map_or_else(|| "no data".to_owned(), duration),
        met(found.rto_met),
        met(found.rpo_met),
    );
    let _ = writeln!(
        text,
        "  functionality restored {}; performance maintained {}",
        share(found.functionality_restored),
        share(found.performance_maintained),
    );
    for (number, during) in found
        .load
        .iter()
        .filter(|(number, _)| SHOWN.contains(&number.as_str()))
    {
        let before = found.load_before.get(number);
        let before = before.map_or_else(|| "no data".to_owned(), |before| format!("{before:.3}"));
        let _ = writeln!(
            text,
            "  under load, {number}: {before} before the disaster, {during:.3} beside the recovery"
        );
    }
    let rate = found.bytes_per_second.map_or_else(String::new, |rate| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate for people"
        )]
        let rate = rate as u64;
        format!(", {}/s", bytes(rate))
    });
    let from = match found.tiers.is_empty() {
        true => String::new(),
        false => format!(" from {}", found.tiers.join(", ")),
    };
    let age = found.set_age.map_or_else(String::new, |age| {
        format!(", from a set that was {} old", duration(age))
    });
    let _ = writeln!(text, "  {} restored{from}{rate}{age}", bytes(found.bytes));
    for failure in &found.failures {
        let _ = writeln!(text, "  FAILED: {failure}");
    }
    text
}

fn damage(row: &DamageRow) -> String {
    if row.all_gone {
        return format!("{}: all of it is gone", row.component);
    }
    if let Some(program) = &row.run {
        return format!("{}: damaged by {program}", row.component);
    }
    let files = count(usize::try_from(row.files).unwrap_or(usize::MAX), "file");
    let how = match row.how.as_deref() {
        Some("delete") => format!("{files} deleted"),
        Some("corrupt") => format!("{} of {files} corrupted", bytes(row.bytes)),
        Some("tamper") => format!("{files} tampered with"),
        Some("encrypt") => format!("{files} encrypted and renamed"),
        _ => files,
    };
    let named = match row.named.first() {
        Some(first) => format!(" ({first}{})", if row.files > 1 { ", …" } else { "" }),
        None => String::new(),
    };
    format!("{}: {how}{named}", row.component)
}

fn detected(found: &Detection) -> String {
    match found.detected {
        Some(true) => format!("invalid, as it must be: {}", found.why),
        Some(false) => format!("NOT noticed: {}", found.why),
        None => format!("no data: {}", found.why),
    }
}

fn met(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "no data",
    }
}

fn share(share: Option<f64>) -> String {
    share.map_or_else(|| "no data".to_owned(), |share| format!("{:.1} %", share * 100.0))
}
