//! The workflows and the system that ship: without errors, with every stated number, honestly judged.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test that called them"
)]

mod common;

use std::time::Duration;

use common::{KINDS, Names};
use rekindle_model::scenario::Affects;
use rekindle_model::system::System;
use rekindle_plan::{Inputs, builtin, expand, graph, load_system, load_workflow};

fn factoria() -> System {
    load_system("system.yaml", builtin::LA_FACTORIA, KINDS)
        .map_err(|found| found.to_string())
        .unwrap()
        .value
}

fn inputs(system: &System) -> Inputs {
    let components = system
        .components_by_priority()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let tiers = system.tiers.keys().cloned().collect();
    Inputs {
        loops: [("component".to_owned(), components), ("tier".to_owned(), tiers)].into(),
        ..Inputs::default()
    }
}

#[test]
fn every_shipped_file_loads_and_expands_without_a_fault() {
    let system = factoria();
    for (name, text) in builtin::WORKFLOWS {
        let workflow = load_workflow(name, text)
            .map_err(|found| found.to_string())
            .unwrap();
        assert_eq!(workflow.name, name);
        expand(&workflow, Some(&system), &inputs(&system), &Names)
            .map_err(|found| found.to_string())
            .unwrap();
    }
}

#[test]
fn a_recovery_of_la_factoria_reads_as_layers() {
    let system = factoria();
    let workflow = load_workflow("recover", builtin::RECOVER).unwrap();
    let plan = expand(&workflow, Some(&system), &inputs(&system), &Names).unwrap();
    insta::assert_snapshot!(graph::text(&plan));
    assert!(graph::dot(&plan).contains("\"restore[context_cache]\" -> \"validate[context_cache]\";"));
}

fn minutes(duration: Option<Duration>) -> Option<u64> {
    duration.map(|duration| duration.as_secs() / 60)
}

#[test]
fn every_recovery_time_and_impact_level_is_stated() {
    let system = factoria();
    for (name, rto, impact, limit) in [
        ("context_loading_service", 15, Some("critical"), Some(15)),
        ("security_systems", 10, Some("critical"), Some(15)),
        ("performance_optimization", 30, Some("high"), Some(30)),
        ("quality_validation", 20, Some("high"), Some(30)),
        ("intelligent_features", 120, Some("medium"), Some(120)),
        ("educational_frameworks", 25, Some("medium"), Some(120)),
        ("historical_analytics", 30, Some("low"), Some(480)),
        ("advanced_reporting", 30, Some("low"), Some(480)),
        ("context_cache", 30, None, None),
        ("monitoring_data", 30, None, None),
    ] {
        let (_, component) = system.component(name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(minutes(system.rto(component)), Some(rto), "{name}");
        assert_eq!(component.impact.as_deref(), impact, "{name}");
        assert_eq!(
            minutes(impact.map(|level| system.impact_levels[level].max_downtime.0)),
            limit,
            "{name}"
        );
    }
    assert_eq!(
        minutes(system.objectives.complete_system_recovery.map(|period| period.0)),
        Some(240)
    );
}

#[test]
fn every_recovery_point_is_stated_and_carried_by_a_component_with_data() {
    let system = factoria();
    for (class, rpo) in [
        ("context_cache_data", 5),
        ("performance_metrics", 15),
        ("quality_assessment_data", 10),
        ("learning_models", 60),
        ("security_logs", 1),
        ("educational_content", 5),
        ("user_data", 2),
    ] {
        assert_eq!(
            system.data_classes[class].rpo.0,
            Duration::from_secs(rpo * 60),
            "{class}"
        );
        let carried = system
            .components
            .values()
            .any(|c| c.source.is_some() && c.classes.iter().any(|own| own == class));
        assert!(carried, "{class}");
    }
}

#[test]
fn every_tier_and_scenario_is_stated() {
    let system = factoria();
    let hour = 3600;
    for (tier, every, retain, class, location) in [
        ("hot", hour, 7, "high_performance_ssd", "primary_region"),
        ("warm", 6 * hour, 30, "standard_storage", "secondary_region"),
        ("cold", 24 * hour, 365, "archive_storage", "archive_regions"),
    ] {
        let spec = &system.tiers[tier];
        assert_eq!(spec.every.unwrap().0, Duration::from_secs(every), "{tier}");
        assert_eq!(
            spec.retain.unwrap().0,
            Duration::from_secs(retain * 24 * hour),
            "{tier}"
        );
        assert_eq!(
            (spec.storage_class.as_deref(), spec.location.as_deref()),
            (Some(class), Some(location))
        );
    }
    assert!(system.tiers["cold"].locations().len() > 1);
    for (name, affects, rto, rpo) in [
        ("complete_system_failure", None, 240, 5),
        (
            "performance_system_failure",
            Some(["performance_optimization", "context_cache"]),
            30,
            15,
        ),
        (
            "security_system_compromise",
            Some(["security_systems", "monitoring_systems"]),
            15,
            2,
        ),
        (
            "educational_data_corruption",
            Some(["educational_frameworks", "quality_validation"]),
            25,
            10,
        ),
    ] {
        let scenario = &system.scenarios[name];
        assert_eq!(minutes(scenario.rto.map(|period| period.0)), Some(rto), "{name}");
        assert_eq!(minutes(scenario.rpo.map(|period| period.0)), Some(rpo), "{name}");
        assert!(!scenario.damage.is_empty(), "{name}");
        match (&scenario.affects, affects) {
            (Affects::All(_), None) => {}
            (Affects::These(found), Some(expect)) => assert_eq!(found, &expect, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn every_target_and_rule_is_stated() {
    let system = factoria();
    for (group, name, expect) in [
        ("performance", "context_loading_time_ms", "<= 100"),
        ("performance", "speedup", ">= 2"),
        ("performance", "token_reduction", ">= 0.4"),
        ("performance", "quality_retention", ">= 0.95"),
        ("performance", "speedup_restored", ">= 0.95 of baseline"),
        ("performance", "token_efficiency_restored", ">= 0.95 of baseline"),
        (
            "performance",
            "quality_retention_maintained",
            ">= 0.95 of baseline",
        ),
        ("backup", "success_rate", ">= 0.99"),
        ("backup", "completion_seconds", "<= 3600"),
        ("backup", "verification_rate", "== 1"),
        ("backup", "integrity", ">= 0.99"),
        ("backup", "stored_share", "<= 0.8"),
        ("recovery", "success_rate", ">= 0.95"),
        ("recovery", "rto_compliance", ">= 0.9"),
        ("recovery", "rpo_compliance", ">= 0.95"),
        ("recovery", "validation_rate", ">= 0.98"),
        ("recovery", "post_recovery_performance", ">= 0.95"),
        ("availability", "system", ">= 0.999"),
        ("availability", "backup_system", ">= 0.9999"),
        ("availability", "recovery_readiness", "== 1"),
        ("testing", "scenario_success_rate", "> 0.95"),
        ("testing", "backup_verification", ">= 0.99"),
    ] {
        assert_eq!(
            system.targets[group][name].expect().to_string(),
            expect,
            "{group}.{name}"
        );
    }
    assert_eq!(
        system.rules["recovery_ready"],
        "backup.success_rate >= 0.95 and integrity.all_verified"
    );
    assert_eq!(
        system.rules["system_operational"],
        "integrity.operational and recovery.success_rate >= 0.90 and recovery.failed.critical == 0"
    );
}

#[test]
fn la_factoria_is_judged_with_the_arithmetic() {
    let loaded = load_system("system.yaml", builtin::LA_FACTORIA, KINDS).unwrap();
    let folder = std::env::temp_dir();
    let found: Vec<String> = loaded
        .judge(&folder)
        .0
        .into_iter()
        .map(|diagnostic| diagnostic.message)
        .collect();
    for expect in [
        "RPO 1m of security_logs is shorter than the shortest interval between recovery sets, 1h of tier hot",
        "RTO 30m of scenario performance_system_failure is below its critical path context_cache 30m + performance_optimization 30m = 1h",
        "RTO 15m of scenario security_system_compromise is below its critical path monitoring_systems 30m = 30m",
        "RTO 25m of scenario educational_data_corruption is below the sum of its components' RTOs, educational_frameworks 25m + quality_validation 20m = 45m",
        "RTO 15m of context_loading_service is shorter than the RTO of data that it needs: context_cache 30m, performance_optimization 30m",
        "the complete system must be back in 4h, but the RTOs of its components sum to 6h 40m one after the other",
        "is on the same device",
    ] {
        assert!(
            found.iter().any(|message| message.contains(expect)),
            "{expect}\nnot in {found:#?}"
        );
    }
    // The RTO is the tighter of the two everywhere, so no impact level is broken.
    assert!(
        !found.iter().any(|message| message.contains("impact level")),
        "{found:#?}"
    );
}

#[test]
fn an_unkeepable_promise_is_shown_with_its_numbers() {
    let text = "system: s
components:
  a: {rto: 20m, impact: critical, classes: [x], source: {type: files, path: a}}
  b: {rto: 1m, classes: [y]}
data_classes: {x: {rpo: 1m}, y: {rpo: 1m}, z: {rpo: 1m}}
impact_levels: {critical: {max_downtime: 15m}}
";
    let loaded = load_system("system.yaml", text, KINDS)
        .map_err(|found| found.to_string())
        .unwrap();
    insta::assert_snapshot!(loaded.judge(&std::env::temp_dir()));
}
