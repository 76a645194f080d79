//! The story of one recovery, told from constructed records: two components, killed in the middle of the
//! second restore, resumed; and of a backup whose second tier is faulty. The snapshots are what people read.

#![expect(
    clippy::unwrap_used,
    reason = "what these tests construct is whole, or the test fails here"
)]

mod history_fixture;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use rekindle_model::event::{Event, Payload, Verdict};
use rekindle_model::time::Stamp;
use rekindle_plan::builtin;
use rekindle_report::Evidence;
use rekindle_report::backup::backup_table;
use rekindle_report::copies::{position, sightings};
use rekindle_report::recovery::{Validity, recovery_table};
use rekindle_report::rework::rework;
use rekindle_report::status::{Findings, Gone, Proven, status};
use rekindle_report::unfinished::Unfinished;
use rekindle_report::{steps, text};

use history_fixture::*;
use serde_json::json;

#[test]
fn show_makes_obvious_what_was_continued_after_a_kill() {
    let evidence = killed_and_resumed(false);
    insta::assert_snapshot!(text::run(
        &evidence,
        Some(&plan(builtin::RECOVER, &RECOVERED)),
        None,
        &write
    ));
}

#[test]
fn a_bad_night_is_told_so_that_it_is_understood_at_three_in_the_morning() {
    let (evidence, plan) = (night(), plan(NIGHT, &[]));
    let said = format!(
        "{}\n{}",
        text::run(&evidence, Some(&plan), None, &write),
        text::gantt(&evidence, Some(&plan), None)
    );
    insta::assert_snapshot!(said);
}

#[test]
fn bars_show_what_ran_beside_what_and_what_was_cut_off() {
    let evidence = killed_and_resumed(false);
    insta::assert_snapshot!(text::gantt(
        &evidence,
        Some(&plan(builtin::RECOVER, &RECOVERED)),
        None
    ));
}

#[test]
fn taking_up_a_run_that_was_opened_again_is_drawn_as_no_takeover() {
    let bars = |evidence: &Evidence| {
        let text = text::gantt(evidence, None, None);
        text.split_once('\n').map(|(_, bars)| bars.to_owned()).unwrap()
    };
    assert!(!bars(&reopened()).contains('╎'), "{}", bars(&reopened()));
    assert!(bars(&killed_and_resumed(false)).contains('╎'));
}

#[test]
fn a_recovery_is_judged_component_by_component() {
    let evidence = killed_and_resumed(false);
    let table = recovery_table(&evidence, &plan(builtin::RECOVER, &RECOVERED), &system());
    insta::assert_snapshot!(text::recovery(&table));
    // 10 s before the run, then 0.5 + 3 + 0.7 s: the interruption does not touch what was valid before it.
    assert_eq!(
        table.components[0].rto.actual,
        Some(Duration::from_millis(14_200))
    );
    // 10 + 0.5 + 3 + 0.7 + 16 + 40 + 0.01 + 5 + 1 s, against 30 s: interruptions count.
    assert_eq!(
        table.components[1].rto.actual,
        Some(Duration::from_millis(76_210))
    );
    assert_eq!(table.components[1].rto.met(), Some(false));
    assert_eq!(table.components[2].valid, Validity::NoData);
    assert_eq!(table.missed(), ["RTO of images"]);
}

#[test]
fn a_figure_that_spans_a_reboot_says_so() {
    let evidence = killed_and_resumed(true);
    let table = recovery_table(&evidence, &plan(builtin::RECOVER, &RECOVERED), &system());
    let uncertain: Vec<bool> = table
        .components
        .iter()
        .map(|row| row.rto.clock_uncertain)
        .collect();
    assert_eq!(
        uncertain,
        [false, true, true],
        "only what was valid before the reboot is certain"
    );
    assert!(table.system_rto.clock_uncertain);
}

/// The recovery, an hour after boot, of what was captured a minute before it by a clock that was set by `set` seconds
/// since; at its `position`-th record the clock is set back by a day.
fn with_a_clock_that_is_set(set: i64, position: usize) -> Evidence {
    let mut records = killed_and_resumed(false).records;
    let created = records[0].time;
    let captured = Stamp {
        utc: created.utc - TimeDelta::seconds(60 + set),
        boot_ns: 3_540_000_000_000,
        ..created
    };
    for (number, record) in records.iter_mut().enumerate() {
        record.time.boot_ns += 3_600_000_000_000;
        if number >= position {
            record.time.utc -= TimeDelta::days(1);
        }
        if let Event::StepSucceeded {
            output: Payload::Inline(output),
            ..
        } = &mut record.event
            && output["consistency_point"].is_string()
        {
            output["consistency_point"] = json!(captured.utc);
            output["consistency_stamp"] = json!(captured);
        }
    }
    Evidence::new(records, BTreeMap::new()).unwrap()
}

#[test]
fn a_clock_that_was_set_between_capture_and_recovery_makes_figures_uncertain() {
    for (set, uncertain) in [(0, false), (1, false), (86_400, true), (-86_400, true)] {
        let evidence = with_a_clock_that_is_set(set, usize::MAX);
        let table = recovery_table(&evidence, &plan(builtin::RECOVER, &RECOVERED), &system());
        let orders = &table.components[0];
        // The disaster was told by a person, and the time from then to the run is on the wall only.
        assert_eq!(orders.rto.clock_uncertain, uncertain, "RTO, set by {set} s");
        assert_eq!(
            orders.rpo[0].rpo.clock_uncertain, uncertain,
            "RPO, set by {set} s"
        );
        let shown = text::recovery(&table);
        assert_eq!(shown.contains("(clock uncertain)"), uncertain, "{shown}");
    }
}

#[test]
fn a_clock_that_is_set_while_a_recovery_runs_changes_none_of_its_figures() {
    let plan = plan(builtin::RECOVER, &RECOVERED);
    let undisturbed = with_a_clock_that_is_set(0, usize::MAX);
    let expect = recovery_table(&undisturbed, &plan, &system());
    for position in 1..undisturbed.records.len() {
        let evidence = with_a_clock_that_is_set(0, position);
        assert_eq!(
            recovery_table(&evidence, &plan, &system()),
            expect,
            "from record {position}"
        );
    }
}

#[test]
fn rework_counts_what_was_not_done_again() {
    let cost = rework(&killed_and_resumed(false));
    assert_eq!(
        cost.interruptions.len(),
        1,
        "a run is created without an adoption"
    );
    assert_eq!(
        cost.kept, 6,
        "locate, what was set aside, restore[orders] and validate[orders]"
    );
    assert_eq!(
        (cost.bytes_not_redone, cost.bytes_written_after_resume),
        (7_000_000, 3_000_000)
    );
    assert_eq!(cost.cut_off.len(), 1);
    assert_eq!(
        (cost.cut_off[0].verdict, cost.cut_off[0].checkpoints),
        (Verdict::Continue, 2)
    );
    assert!(!cost.ran_once.contains(&"restore[images]".into()));
    assert_eq!(cost.ran_once.len(), 10);
}

#[test]
fn a_component_that_did_not_end_has_no_rto() {
    let mut evidence = killed_and_resumed(false);
    evidence.records.truncate(17);
    let evidence = Evidence::new(evidence.records, BTreeMap::new()).unwrap();
    let table = recovery_table(&evidence, &plan(builtin::RECOVER, &RECOVERED), &system());
    assert_eq!(table.components[1].rto.actual, None);
    assert_eq!(table.components[1].valid, Validity::NoData);
    assert_eq!(table.system_rto.actual, None);
}

#[test]
fn a_backup_shows_each_tier_of_each_component() {
    let table = backup_table(&backed_up(), &plan(builtin::BACKUP, &["orders", "images"]));
    insta::assert_snapshot!(text::backup(&table));
    assert!(table.components[0].whole() && !table.components[1].whole());
}

#[test]
fn show_tells_each_failure_once_and_what_was_skipped_for_it() {
    let evidence = backed_up();
    insta::assert_snapshot!(text::steps(
        &evidence,
        Some(&plan(builtin::BACKUP, &["orders", "images"])),
        &write
    ));
    let rows = steps::timeline(&evidence, None);
    assert_eq!(
        rows.len(),
        11,
        "without a plan, the steps that an event has named"
    );
}

#[test]
fn show_tells_who_waits_for_whom_and_who_asked_for_what() {
    let evidence = decided_by_people();
    let text = text::run(&evidence, None, None, &write);
    let run = evidence.state.id;
    for line in [
        format!("paused by ann: lunch since 2027-01-15 08:00:03 UTC (<unpause {run}>)"),
        format!("confirm is waiting for approval: overwrite orders? (<approve {run} confirm>)"),
        "locate: ann asked for it to run again: the tier is back".to_owned(),
        "announce was rejected by bob: not today".to_owned(),
        "skipped because bob asked for it: it is known to be slow: validate[orders]".to_owned(),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line:?} is missing in\n{text}"
        );
    }
    let rows = steps::timeline(&evidence, None);
    let confirm = rows.iter().find(|row| row.step.as_str() == "confirm").unwrap();
    assert_eq!(
        (confirm.state, confirm.waits_for()),
        (steps::RowState::Waiting, Some("overwrite orders?"))
    );
}

#[test]
fn the_four_answers_name_the_run_that_proves_them() {
    let plan_of = |yaml, components: &[&str]| plan(yaml, components);
    let system = system();
    let recovered = killed_and_resumed(false);
    let at = recovered.state.updated.utc;
    let mut ready = backup_table(&backed_up(), &plan_of(builtin::BACKUP, &["orders", "images"]));
    ready.recovery_ready = Some(true);
    ready.recoverable = Some(true);
    let backed = backed_up();
    let sightings = sightings(&backed, &plan_of(builtin::BACKUP, &["orders", "images"]));
    let reachable: BTreeMap<String, Option<String>> =
        ["far", "near"].map(|tier| (tier.to_owned(), None)).into();
    let backups = [Proven {
        run: recovered.state.id,
        at,
        position: position(&backed),
        interruptions: 0,
        table: ready,
    }];
    let recoveries = [Proven {
        run: recovered.state.id,
        at,
        position: position(&recovered),
        interruptions: 1,
        table: recovery_table(&recovered, &plan_of(builtin::RECOVER, &RECOVERED), &system),
    }];
    let now = at + Duration::from_secs(600);
    let findings = Findings {
        lost: Vec::new(),
        unchecked: Vec::new(),
        key_fault: None,
        gone: Gone::Nothing,
        system: &system,
        backups: &backups,
        recoveries: &recoveries,
        sightings: &sightings,
        tiers: reachable.clone(),
        unfinished: vec![Unfinished::of(
            &recovered,
            Some(&plan_of(builtin::RECOVER, &RECOVERED)),
            Some(false),
        )],
        partial_recovery: None,
        now,
    };
    insta::assert_snapshot!("proven", text::status(&status(&findings), usize::MAX, &write));
    let nothing = Findings {
        lost: Vec::new(),
        unchecked: Vec::new(),
        key_fault: None,
        gone: Gone::Nothing,
        system: &system,
        backups: &[],
        recoveries: &[],
        sightings: &[],
        tiers: reachable,
        unfinished: Vec::new(),
        partial_recovery: None,
        now,
    };
    insta::assert_snapshot!("nothing_yet", text::status(&status(&nothing), usize::MAX, &write));
}

#[test]
fn durations_and_bytes_are_short() {
    for (millis, expect) in [
        (0, "0 ms"),
        (830, "830 ms"),
        (12_490, "12.4 s"),
        (59_999, "59.9 s"),
        (200_000, "3m 20s"),
        (600_000, "10m"),
        (7_200_000, "2h"),
        (7_500_000, "2h 05m"),
        (273_600_000, "3d 4h"),
    ] {
        assert_eq!(text::duration(Duration::from_millis(millis)), expect);
    }
    for (bytes, expect) in [
        (0, "0 B"),
        (999, "999 B"),
        (1_500, "1.5 kB"),
        (40_000_000, "40.0 MB"),
        (2_340_000_000, "2.3 GB"),
    ] {
        assert_eq!(text::bytes(bytes), expect);
    }
}
