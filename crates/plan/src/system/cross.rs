//! Checks the parts of a system's file against each other: names, claims to the same files, circular orders.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use petgraph::graph::{DiGraph, NodeIndex};
use rekindle_model::measured;
use rekindle_model::scenario::{Affects, Damage, How, Scenario};
use rekindle_model::system::{Component, Escape, Probe, Prove, System, Target, names_target};

use crate::cycle;
use crate::diagnostic::{Sink, Span, suggest_from_all};
use crate::overlap::{self, Clash, Placed, TooMany};
use crate::read;
use crate::yaml::Node;

/// Reports contradictions between the parts of the file.
pub(super) fn check(system: &System, root: &Node, sink: &mut Sink<'_>) {
    let at = |path: &[&str]| path.iter().try_fold(root, |node, step| node.child(step));
    let nodes: HashMap<&str, &Node> = root
        .entries_of("components")
        .iter()
        .map(|(key, node)| (key.text.as_str(), node))
        .collect();
    let field = |name: &str, key: &str| nodes.get(name).and_then(|node| node.child(key));
    let mut names: BTreeSet<&str> = system.components.keys().map(String::as_str).collect();
    let mut owners: HashMap<&str, &str> = names.iter().map(|name| (*name, *name)).collect();
    for (name, component) in &system.components {
        let aliases = field(name, "aliases").map(Node::items).unwrap_or_default();
        for (alias, node) in component.aliases.iter().zip(aliases) {
            if let Some(owner) = owners.insert(alias, name) {
                sink.error(
                    node.span,
                    format!("`{alias}` is already a name of component `{owner}`"),
                    None,
                );
            }
            names.insert(alias);
        }
    }
    for node in root.items_of("integrity") {
        read::check_known(node.child("reads"), "component", &names, sink);
    }
    let levels = system.impact_levels.keys().map(String::as_str).collect();
    let classes = system.data_classes.keys().map(String::as_str).collect();
    for (name, component) in &system.components {
        for other in field(name, "after").map(Node::items).unwrap_or_default() {
            let other = other.child("component").unwrap_or(other);
            read::check_known(Some(other), "component", &names, sink);
        }
        read::check_known(field(name, "reads"), "component", &names, sink);
        read::check_known(field(name, "impact"), "impact level", &levels, sink);
        read::check_known(field(name, "classes"), "data class", &classes, sink);
        let mut seen = HashSet::new();
        let steps = field(name, "recovery").map(Node::items).unwrap_or_default();
        for (step, node) in component.recovery.iter().zip(steps) {
            if !seen.insert(&step.id) {
                sink.error(
                    node.locate(&["id"]),
                    format!("the recovery step `{}` is there twice", step.id),
                    None,
                );
            }
        }
    }
    for (name, scenario) in &system.scenarios {
        if matches!(scenario.affects, Affects::These(_)) {
            read::check_known(at(&["scenarios", name, "affects"]), "component", &names, sink);
        }
        let damages = at(&["scenarios", name, "damage"])
            .map(Node::items)
            .unwrap_or_default();
        if let (Some(_), [_, ..], Some(node)) = (scenario.inject, damages, at(&["scenarios", name])) {
            let message = "a scenario has either `damage` or `inject`";
            sink.error(node.locate(&["inject"]), message, None);
        }
        if let Some(load) = &scenario.load {
            let node = at(&["scenarios", name, "load"]);
            read::check_known(
                node.and_then(|node| node.child("reads")),
                "component",
                &names,
                sink,
            );
            if let Some(node) = node.filter(|_| !load.follows_target()) {
                let message = "a drill would put the living system under load";
                let help = "let it name `${{ target.root }}`";
                sink.error(node.locate::<&str>(&[]), message, Some(help.to_owned()));
            }
        }
        for (damage, node) in scenario.damage.iter().zip(damages) {
            check_damage(system, (name, scenario), (damage, node), sink);
        }
    }
    for (group, targets) in &system.targets {
        for (name, target) in targets {
            read::check_known(
                at(&["targets", group, name, "component"]),
                "component",
                &names,
                sink,
            );
            if let Some(node) = at(&["targets", group, name]) {
                check_measured(system, group, name, target, node, sink);
            }
        }
    }
    check_proofs(system, &nodes, sink);
    check_baselines(system, &nodes, sink);
    check_claims(system, &nodes, sink);
    check_order(system, &owners, root, sink);
}

/// Reports a damage that no drill can do.
fn check_damage(
    system: &System,
    (name, scenario): (&str, &Scenario),
    (damage, node): (&Damage, &Node),
    sink: &mut Sink<'_>,
) {
    let affected: Vec<&str> = system.affected_by(scenario);
    let own = |name: &String| system.component(name).map(|(own, _)| own);
    for other in &damage.components {
        if own(other).is_none_or(|own| !affected.contains(&own)) {
            let message = format!("scenario `{name}` does not affect `{other}`");
            let help = format!("it affects {}", affected.join(", "));
            sink.error(node.locate(&["components"]), message, Some(help));
        }
    }
    for name in affected {
        let gone = damage.how == Some(How::Delete) && damage.count.is_none();
        let hits = |(_, other): (usize, &Damage)| std::ptr::eq(other, damage);
        if gone && system.damages(scenario, name).any(hits) && system.damages(scenario, name).count() > 1 {
            let message = format!("nothing of `{name}` is left to damage in another way");
            sink.error(
                node.locate(&["how"]),
                message,
                Some("give it a `count`, or leave the others out".to_owned()),
            );
        }
    }
    match (damage.how, damage.run.as_slice()) {
        (None, []) | (Some(_), [_, ..]) => {
            let message = "a damage has either `how` or `run`";
            let help = "`how` is delete, corrupt, tamper or encrypt; `run` is a program with its arguments";
            sink.error(node.locate::<&str>(&[]), message, Some(help.to_owned()));
        }
        (None, run) if !names_target(&serde_json::json!(run).to_string()) => {
            let message = "a drill would run this program, and it would damage the living system";
            let help = "let it name `${{ target.root }}` or `${{ target.place }}`";
            sink.error(node.locate(&["run"]), message, Some(help.to_owned()));
        }
        _ => {}
    }
}

/// Reports what a proof would do to the living system. A proof restores a component into a sandbox, with all that it reads;
/// the programs of all of these get the sandbox as `target.root`.
fn check_proofs(system: &System, nodes: &HashMap<&str, &Node>, sink: &mut Sink<'_>) {
    let proven = || {
        let all = system.components.iter();
        all.filter(|(_, component)| component.prove != Prove::Never)
    };
    let place = |name: &str, path: &[&str]| nodes.get(name).map_or(Span::START, |node| node.locate(path));
    for (name, component) in proven() {
        let measures = |probe: &Probe| probe.at.recovery() && probe.follows_target();
        if !component.validate.iter().any(measures) {
            let message = "a proof has nothing to measure: no validation looks at the restored data";
            let help = "add one that names `${{ target.root }}`, or remove `prove`";
            sink.error(place(name, &["prove"]), message, Some(help.to_owned()));
        }
    }
    for name in system.sandboxed(proven().map(|(name, _)| name.as_str())) {
        let Some(component) = system.components.get(name) else {
            continue;
        };
        let help = || Some("let it name `${{ target.root }}`, or remove `prove`".to_owned());
        for escape in component.escapes() {
            let (at, message) = match escape {
                Escape::Restore => (
                    vec!["source".to_owned(), "restore".to_owned()],
                    "a proof runs this program, and it would restore into the living system",
                ),
                Escape::Recovery(at) => (
                    vec!["recovery".to_owned(), at.to_string()],
                    "a proof runs this step, and it would act on the living system",
                ),
            };
            let at: Vec<&str> = at.iter().map(String::as_str).collect();
            sink.error(place(name, &at), message, help());
        }
    }
}

/// Reports an expectation of a baseline that no backup keeps.
fn check_baselines(system: &System, nodes: &HashMap<&str, &Node>, sink: &mut Sink<'_>) {
    for (name, component) in &system.components {
        for (at, probe) in component.validate.iter().enumerate() {
            let wants = probe.expect.iter().find(|(_, expect)| expect.of_baseline);
            let (Some((measure, _)), Some(node)) = (wants, nodes.get(name.as_str())) else {
                continue;
            };
            if let Some((why, help)) = no_baseline(component, measure) {
                let at = ["validate", &at.to_string(), "expect", measure];
                let message = format!("no backup keeps a baseline of `{measure}`: {why}");
                sink.error(node.locate(&at), message, Some(help.to_owned()));
            }
        }
    }
}

/// Returns why no backup of a component measures a number, with the remedy; none if one may.
fn no_baseline(component: &Component, measure: &str) -> Option<(&'static str, &'static str)> {
    let measures =
        |probe: &Probe| probe.at.backup() && (probe.expect.contains_key(measure) || prints_any(probe));
    match (&component.source, component.validate.iter().any(measures)) {
        (None, _) => Some((
            "a component without data has no snapshot to keep it in",
            "let a component that has a `source` measure it, or state a limit without `of baseline`",
        )),
        (Some(_), false) => Some((
            "its probe runs only after a recovery",
            "write `at: both`, so that each backup measures the living system",
        )),
        (Some(_), true) => None,
    }
}

/// Returns whether only the output of a probe says which numbers it gives.
fn prints_any(probe: &Probe) -> bool {
    matches!(probe.probe.as_str(), "command" | "sql" | "http")
}

/// Reports a target that nothing can ever measure. What a program prints, only its run shows: then the warning names the
/// program.
fn check_measured(
    system: &System,
    group: &str,
    name: &str,
    target: &Target,
    node: &Node,
    sink: &mut Sink<'_>,
) {
    let known: Vec<&str> = measured::of_group(group).map(|of| of.name).collect();
    if !known.is_empty() {
        if !known.contains(&name) {
            let help = suggest_from_all(name, &known);
            sink.error(
                node.span,
                format!("no `{name}` of `{group}` is ever measured"),
                help,
            );
        }
        return;
    }
    let (component, measure) = match target {
        Target::Measured {
            component, measure, ..
        } => (component.as_deref(), measure.as_deref().unwrap_or(name)),
        Target::Expect(_) => (None, name),
    };
    let of_component = |(own, _): &(&String, &Component)| {
        component.is_none_or(|wanted| system.component(wanted).is_some_and(|(known, _)| known == *own))
    };
    let components = || system.components.iter().filter(of_component);
    let probes = || components().flat_map(|(own, it)| it.validate.iter().map(move |probe| (own, probe)));
    if target.expect().of_baseline {
        let expects = |it: &Component| it.validate.iter().any(|probe| probe.expect.contains_key(measure));
        let measuring = components().filter(|(_, it)| expects(it));
        let missing: Option<Vec<_>> = measuring.map(|(_, it)| no_baseline(it, measure)).collect();
        if let Some((why, help)) = missing.and_then(|all| all.into_iter().next()) {
            let message = format!("no backup keeps a baseline of `{measure}`: {why}");
            sink.error(node.span, message, Some(help.to_owned()));
        }
    }
    let integrity = system.integrity.iter().filter(|_| component.is_none());
    let mut all = probes().map(|(_, probe)| probe).chain(integrity);
    if all.any(|probe| probe.expect.contains_key(measure)) {
        return;
    }
    // Only its output says which numbers a program, a query or a server gives.
    let gives = |probe: &&Probe| prints_any(probe);
    let of_components = probes().filter(|(_, probe)| gives(probe));
    let across = system
        .integrity
        .iter()
        .filter(|_| component.is_none())
        .filter(gives);
    let programs: BTreeSet<&str> = of_components
        .map(|(own, _)| own.as_str())
        .chain(across.map(|_| "integrity"))
        .collect();
    match programs.is_empty() {
        true => sink.error(
            node.span,
            format!("no probe measures `{measure}`, so this target is never met"),
            Some("add a probe with it under `validate:` of a component, or take the target away".to_owned()),
        ),
        false => sink.warn(
            node.span,
            format!("no probe expects `{measure}`: this target has data only if one gives it"),
            Some(format!(
                "write it under `expect:` of the probe that gives it; such probes have {}",
                programs.into_iter().collect::<Vec<_>>().join(", ")
            )),
        ),
    }
}

/// Reports sources that claim the same file, and sources that a recovery elsewhere would put at the same place.
fn check_claims(system: &System, nodes: &HashMap<&str, &Node>, sink: &mut Sink<'_>) {
    let place = |name: &str, path: &[&str]| nodes.get(name).map_or(Span::START, |node| node.locate(path));
    // Where a relative root is, only the folder of the file says.
    let root = Path::new(&system.root);
    let root = root.is_absolute().then_some(root);
    let mut seen = HashSet::new();
    let mut living = overlap::living(system, root);
    let mut landing = overlap::landing(system);
    for (claims, both, help) in [
        (&mut living, "both claim", APART),
        (
            &mut landing,
            "would both be recovered into another folder at",
            APART_ELSEWHERE,
        ),
    ] {
        let clashes = match overlap::clashes(claims) {
            Ok(clashes) => clashes,
            Err(TooMany(name)) => return too_many(place(name, &["source"]), sink),
        };
        for Clash { outer, inner, what } in clashes {
            let (outer, inner) = (outer.name.as_str(), inner.name.as_str());
            let pair = BTreeSet::from([outer.to_owned(), inner.to_owned()]);
            if seen.insert(pair) {
                let span = place(inner, &["source", "path"]);
                let line = place(outer, &["source"]).line;
                sink.error(
                    span,
                    format!("components `{outer}` and `{inner}` {both} {what}"),
                    Some(format!("{help} (line {line})")),
                );
            }
        }
    }
}

/// How two components are told apart that claim the same file. The line of the other one's source follows.
const APART: &str = "give the file to one of them, or `exclude` it from the other's source";
/// How two components are told apart that a recovery elsewhere would put at the same place.
const APART_ELSEWHERE: &str = "`recover --to DIR` puts `/etc` at `DIR/etc`, where a path `etc` is too: `exclude` that \
                               folder from the other's source";

/// Reports sources that claim the same file by a relative path and an absolute one, or by a link on the way.
pub(super) fn check_places(system: &System, root: &Node, base_dir: &Path, sink: &mut Sink<'_>) {
    // The reader of the file has compared relative paths with each other.
    if !overlap::landing(system).iter().any(Placed::is_absolute) {
        return;
    }
    let base_dir = std::path::absolute(base_dir).unwrap_or_else(|_| base_dir.to_owned());
    let mut claims = overlap::real(system, &base_dir.join(&system.root));
    let clashes = match overlap::clashes(&mut claims) {
        Ok(clashes) => clashes,
        Err(TooMany(name)) => return too_many(root.locate(&["components", name, "source"]), sink),
    };
    for Clash { outer, inner, what } in clashes {
        if outer.is_absolute() || inner.is_absolute() {
            let line = root.locate(&["components", &outer.name, "source"]).line;
            sink.error(
                root.locate(&["components", &inner.name, "source", "path"]),
                format!(
                    "components `{}` and `{}` both claim {what}",
                    outer.name, inner.name
                ),
                Some(format!("{APART} (line {line})")),
            );
        }
    }
}

fn too_many(span: Span, sink: &mut Sink<'_>) {
    let message = "too many sources are inside each other to be compared";
    sink.error(
        span,
        message,
        Some("give components folders of their own".to_owned()),
    );
}

/// Reports components that wait for each other. A component begins after the restore of those in its `after`, or after
/// their validation if it asks for that; its validation waits for the restore of those in its `reads`.
fn check_order(system: &System, owners: &HashMap<&str, &str>, root: &Node, sink: &mut Sink<'_>) {
    let mut graph: DiGraph<&str, ()> = DiGraph::new();
    let mut index = HashMap::new();
    for name in system.components.keys() {
        let (restore, validate) = (graph.add_node(name), graph.add_node(name));
        graph.add_edge(validate, restore, ());
        index.insert(name.as_str(), (restore, validate));
    }
    let node_of = |name: &str| owners.get(name).and_then(|own| index.get(own)).copied();
    for (name, component) in &system.components {
        let Some((restore, validate)) = node_of(name) else {
            continue;
        };
        for other in &component.after {
            if let Some((data, valid)) = node_of(other.component()) {
                graph.add_edge(restore, if other.valid() { valid } else { data }, ());
            }
        }
        for (theirs, _) in component.reads.iter().filter_map(|other| node_of(other)) {
            graph.add_edge(validate, theirs, ());
        }
    }
    if let Some(cycle) = cycle::find(&graph) {
        let name = |node: &NodeIndex| graph[*node];
        let first = cycle.first().map_or("", name);
        let path = match cycle.iter().all(|node| name(node) == first) {
            true => format!("{first} → {first}"),
            false => cycle::path(cycle.iter().map(name)),
        };
        let key = if root.locate(&["components", first, "after"]) == root.locate(&["components", first]) {
            "reads"
        } else {
            "after"
        };
        let span: Span = root.locate(&["components", first, key]);
        sink.error(
            span,
            format!("these components wait for each other: {path}"),
            Some("take one `after` or `reads` away".to_owned()),
        );
    }
}
