//! Whether a system can meet its objectives: warnings, each with its arithmetic.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rekindle_model::system::{Component, Period, System, TierUrls};

use crate::sources;

/// An objective that the system may not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The way to it in `system.yaml`: keys, and indices in lists.
    pub at: Vec<String>,
    /// The objective, and the numbers that speak against it.
    pub message: String,
    /// The remedy.
    pub help: Option<String>,
}

/// Returns the objectives that a system may not meet. Paths are relative to `base_dir`, the folder of `system.yaml`.
pub fn check(system: &System, base_dir: &Path, tier_urls: &TierUrls) -> Vec<Finding> {
    let mut findings = Vec::new();
    capture_intervals(system, &mut findings);
    impact_limits(system, &mut findings);
    slower_needs(system, &mut findings);
    scenarios(system, &mut findings);
    complete_system(system, &mut findings);
    kept(system, &mut findings);
    devices(system, base_dir, tier_urls, &mut findings);
    mutual_reads(system, &mut findings);
    findings
}

fn finding(at: &[&str], message: String, help: &str) -> Finding {
    Finding {
        at: at.iter().map(|step| (*step).to_owned()).collect(),
        message,
        help: (!help.is_empty()).then(|| help.to_owned()),
    }
}

fn shown(duration: Duration) -> String {
    Period(duration).to_string()
}

fn capture_intervals(system: &System, findings: &mut Vec<Finding>) {
    let paced = system
        .tiers
        .iter()
        .filter_map(|(name, tier)| Some((tier.every?, name)));
    let Some((every, tier)) = paced.min() else { return };
    for (class, spec) in &system.data_classes {
        let carriers: Vec<&str> = with_source(system)
            .filter(|(_, c)| c.classes.contains(class))
            .map(|(name, _)| name)
            .collect();
        if !carriers.is_empty() && spec.rpo < every {
            let message = format!(
                "RPO {} of {class} is shorter than the shortest interval between recovery sets, {every} of tier {tier}",
                spec.rpo
            );
            let help = format!(
                "capture {} at least every {} in between, into the first tier",
                carriers.join(", "),
                spec.rpo
            );
            findings.push(finding(&["data_classes", class, "rpo"], message, &help));
        }
    }
}

fn impact_limits(system: &System, findings: &mut Vec<Finding>) {
    for (name, component) in &system.components {
        let level = component
            .impact
            .as_ref()
            .and_then(|level| Some((level, system.impact_levels.get(level)?.max_downtime.0)));
        if let (Some((level, limit)), Some(rto)) = (level, component.rto.or(system.objectives.default_rto))
            && limit < rto.0
        {
            let message = format!(
                "impact level {level} allows {} of downtime, less than the RTO {} of {name}",
                shown(limit),
                shown(rto.0)
            );
            findings.push(finding(
                &["components", name, "impact"],
                message,
                "the tighter of the two governs; state which one is meant",
            ));
        }
    }
}

/// A component is valid only once the data that it needs is restored, and that may take as long as the RTO of that data.
fn slower_needs(system: &System, findings: &mut Vec<Finding>) {
    for (name, component) in &system.components {
        let Some(rto) = system.rto(component) else {
            continue;
        };
        let needs: BTreeSet<&str> = system
            .needs_data_of(component)
            .filter_map(|other| system.component(other))
            .map(|(own, _)| own)
            .collect();
        let slower: Vec<String> = needs
            .into_iter()
            .filter_map(|own| Some((own, system.rto(system.components.get(own)?)?)))
            .filter(|(_, other)| *other > rto)
            .map(|(own, other)| format!("{own} {}", shown(other)))
            .collect();
        if !slower.is_empty() {
            let message = format!(
                "RTO {} of {name} is shorter than the RTO of data that it needs: {}",
                shown(rto),
                slower.join(", ")
            );
            findings.push(finding(
                &["components", name, "rto"],
                message,
                "it holds only where that data is back before its own RTO; a recovery measures it",
            ));
        }
    }
}

fn scenarios(system: &System, findings: &mut Vec<Finding>) {
    for (name, scenario) in &system.scenarios {
        let Some(rto) = scenario.rto.map(|rto| rto.0) else {
            continue;
        };
        let affected: BTreeSet<&str> = system.affected_by(scenario).into_iter().collect();
        let (total, path) = critical_path(system, &affected);
        let at = ["scenarios", name.as_str(), "rto"];
        if rto < total {
            let message = format!(
                "RTO {} of scenario {name} is below its critical path {path} = {}",
                shown(rto),
                shown(total)
            );
            findings.push(finding(
                &at,
                message,
                "it holds only where these components beat their own RTOs; a drill measures it",
            ));
            continue;
        }
        let (sum, terms) = sum(system, affected.iter().copied());
        if rto < sum {
            let message = format!(
                "RTO {} of scenario {name} is below the sum of its components' RTOs, {terms} = {}",
                shown(rto),
                shown(sum)
            );
            let help = format!(
                "it holds only where they recover in parallel; the critical path is {path} = {}",
                shown(total)
            );
            findings.push(finding(&at, message, &help));
        }
    }
}

fn complete_system(system: &System, findings: &mut Vec<Finding>) {
    let Some(rto) = system.objectives.complete_system_recovery else {
        return;
    };
    let (total, terms) = sum(system, system.components_by_priority().into_iter());
    if rto.0 < total {
        let all = system.components.keys().map(String::as_str).collect();
        let (longest, path) = critical_path(system, &all);
        let message = format!(
            "the complete system must be back in {rto}, but the RTOs of its components sum to {} one after the other: {terms}",
            shown(total)
        );
        let help = format!(
            "it holds only where they recover in parallel; the critical path is {path} = {}",
            shown(longest)
        );
        findings.push(finding(
            &["objectives", "complete_system_recovery"],
            message,
            &help,
        ));
    }
}

fn sum<'a>(system: &System, names: impl Iterator<Item = &'a str>) -> (Duration, String) {
    let rtos: Vec<(&str, Duration)> = names
        .filter_map(|name| Some((name, system.rto(system.components.get(name)?)?)))
        .collect();
    let terms: Vec<String> = rtos
        .iter()
        .map(|(name, rto)| format!("{name} {}", shown(*rto)))
        .collect();
    (
        rtos.iter()
            .fold(Duration::ZERO, |sum, (_, rto)| sum.saturating_add(*rto)),
        terms.join(" + "),
    )
}

/// Returns the longest chain of RTOs along `after`, and the chain in words. Validation that `reads` another
/// component waits for its restore too, but no RTO is stated for a restore alone, so `reads` does not count.
fn critical_path(system: &System, affected: &BTreeSet<&str>) -> (Duration, String) {
    let mut done: BTreeMap<&str, (Duration, Vec<&str>)> = BTreeMap::new();
    // Each round finishes at least one component; cycles were refused when the file was read.
    loop {
        let next: Vec<&str> = affected
            .iter()
            .copied()
            .filter(|name| !done.contains_key(name))
            .collect();
        let before = done.len();
        for name in next {
            let Some(component) = system.components.get(name) else {
                continue;
            };
            let earlier: Vec<&str> = component
                .after
                .iter()
                .filter_map(|other| system.component(other.component()))
                .map(|(own, _)| own)
                .filter(|own| affected.contains(own))
                .collect();
            if earlier.iter().any(|own| !done.contains_key(own)) {
                continue;
            }
            let (mut total, mut path) = earlier
                .iter()
                .filter_map(|own| done.get(own))
                .max_by_key(|(total, _)| *total)
                .cloned()
                .unwrap_or_default();
            total = total.saturating_add(system.rto(component).unwrap_or_default());
            path.push(name);
            done.insert(name, (total, path));
        }
        if done.len() == before {
            break;
        }
    }
    let (total, path) = done
        .into_values()
        .max_by_key(|(total, _)| *total)
        .unwrap_or_default();
    let terms: Vec<String> = path
        .iter()
        .filter_map(|name| Some((name, system.components.get(*name)?)))
        .map(|(name, component)| format!("{name} {}", shown(system.rto(component).unwrap_or_default())))
        .collect();
    (total, terms.join(" + "))
}

fn with_source(system: &System) -> impl Iterator<Item = (&str, &Component)> {
    system
        .components
        .iter()
        .filter(|(_, component)| component.source.is_some())
        .map(|(name, component)| (name.as_str(), component))
}

fn kept(system: &System, findings: &mut Vec<Finding>) {
    for (name, component) in &system.components {
        let at = ["components", name.as_str()];
        if component.source.is_some() && system.tiers.is_empty() {
            findings.push(finding(
                &at,
                format!("no tier keeps {name}: the system has 0 tiers"),
                "declare one under `tiers`",
            ));
        }
        if component.source.is_none() && !component.classes.is_empty() {
            let message = format!(
                "no tier keeps {name}: it carries {} and has no source",
                component.classes.join(", ")
            );
            findings.push(finding(
                &at,
                message,
                "give it a `source`, or its classes to the component that holds the data",
            ));
        }
    }
    for class in system.data_classes.keys() {
        if !system
            .components
            .values()
            .any(|component| component.classes.contains(class))
        {
            let message = format!("no tier keeps {class}: 0 components carry it");
            findings.push(finding(
                &["data_classes", class],
                message,
                "list it under `classes` of the component that holds it",
            ));
        }
    }
}

fn devices(system: &System, base_dir: &Path, tier_urls: &TierUrls, findings: &mut Vec<Finding>) {
    let root = base_dir.join(&system.root);
    let mut on_device: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (name, component) in with_source(system) {
        if let Some(device) = component
            .source
            .as_ref()
            .and_then(sources::claim)
            .and_then(|claim| device(&root.join(claim.path)))
        {
            on_device.entry(device).or_default().push(name);
        }
    }
    for (name, tier) in &system.tiers {
        for url in tier.locations() {
            let folder = (tier_urls.folder)(url, base_dir);
            let Some(device) = folder.and_then(|folder| device(&folder)) else {
                continue;
            };
            if let Some(components) = on_device.get(&device) {
                let message = format!(
                    "tier {name} at {url} is on the same device ({device}) as the source of {} of {} components",
                    components.len(),
                    with_source(system).count()
                );
                findings.push(finding(
                    &["tiers", name],
                    message,
                    "one broken disk takes both; move the tier to another device or host",
                ));
            }
        }
    }
}

/// Returns the device of a path, or of its nearest ancestor that exists.
fn device(path: &Path) -> Option<u64> {
    let absolute: PathBuf = std::path::absolute(path).ok()?;
    absolute
        .ancestors()
        .find_map(|path| std::fs::metadata(path).ok())
        .map(|metadata| metadata.dev())
}

fn mutual_reads(system: &System, findings: &mut Vec<Finding>) {
    for (name, component) in &system.components {
        for (other, theirs) in component.reads.iter().filter_map(|other| system.component(other)) {
            let back = theirs
                .reads
                .iter()
                .filter_map(|own| system.component(own))
                .any(|(own, _)| own == name);
            if back && name.as_str() < other {
                let message = format!(
                    "the validations of {name} and {other} read each other: {name} → {other} → {name}"
                );
                findings.push(finding(
                    &["components", name, "reads"],
                    message,
                    "each is valid only if both are restored; one failure shows as two",
                ));
            }
        }
    }
}
