//! Targets and proofs of a system: what is refused before a run, because no run could ever measure it.

mod common;

use common::{KINDS, Names};
use rekindle_plan::load_system;

/// Returns the faults and warnings of a system with one component and these keys.
fn said(component: &str, rest: &str) -> String {
    let text = format!(
        "system: s\ncomponents:\n  a: {{source: {{type: files, path: a}}{component}}}\ntiers: {{t: {{url: \"file:///t\"}}}}\n{rest}"
    );
    match load_system("system.yaml", &text, KINDS) {
        Ok(loaded) => format!("{}{}", loaded.warnings, loaded.check(&Names)),
        Err(faults) => faults.to_string(),
    }
}

#[test]
fn a_target_that_nothing_ever_measures_is_refused() {
    let http = ", validate: [{probe: http, url: \"http://localhost/\"}]";
    let expected = ", validate: [{probe: files, path: a, expect: {count: \"> 0\"}}]";
    for (component, targets, expect) in [
        (
            "",
            "{backup: {sucess_rate: \">= 0.99\"}}",
            "did you mean `success_rate`",
        ),
        ("", "{own: {speed: \">= 2\"}}", "error: no probe measures `speed`"),
        (
            http,
            "{own: {speed: \">= 2\"}}",
            "warning: no probe expects `speed`",
        ),
        (
            expected,
            "{own: {speed: \">= 2\"}}",
            "error: no probe measures `speed`",
        ),
        (expected, "{own: {files: {expect: \"> 1\", measure: count}}}", ""),
        (
            expected,
            "{own: {files: {expect: \"> 1\", measure: count, component: b}}}",
            "unknown component",
        ),
        (
            "",
            "{backup: {success_rate: \">= 0.99\"}, recovery: {rto_compliance: \">= 0.9\"}}",
            "",
        ),
    ] {
        let said = said(component, &format!("targets: {targets}\n"));
        match expect {
            "" => assert_eq!(said, "", "{targets}"),
            expect => assert!(said.contains(expect), "{targets}: {said}"),
        }
    }
}

#[test]
fn a_recovery_set_is_measured_only_across_components() {
    let set = "probe: set, expect: {skew_ms: \"<= 1000\"}";
    assert_eq!(said("", &format!("integrity: [{{{set}}}]\n")), "");
    let inside = said(&format!(", validate: [{{{set}}}]"), "");
    assert!(inside.contains("only `integrity:` may measure it"), "{inside}");
    let at = said("", &format!("integrity: [{{at: both, {set}}}]\n"));
    assert!(at.contains("it runs after a recovery"), "{at}");
}

#[test]
fn a_share_of_a_baseline_that_no_backup_keeps_is_refused() {
    let probe = |more: &str| {
        format!(", validate: [{{probe: files, path: a{more}, expect: {{count: \">= 0.9 of baseline\"}}}}]")
    };
    let later = said(&probe(""), "");
    assert!(
        later.contains("no backup keeps a baseline of `count`: its probe runs only after a recovery"),
        "{later}"
    );
    assert_eq!(said(&probe(", at: both"), ""), "");
    let target = "targets: {own: {kept: {expect: \">= 0.9 of baseline\", measure: count}}}\n";
    let expected =
        |at: &str| format!(", validate: [{{probe: files, path: a{at}, expect: {{count: \"> 0\"}}}}]");
    let refused = said(&expected(""), target);
    assert!(
        refused.contains("no backup keeps a baseline of `count`"),
        "{refused}"
    );
    assert_eq!(said(&expected(", at: both"), target), "");
}
