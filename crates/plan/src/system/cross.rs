//! Checks the parts of a system's file against each other: names, claims to the same files, circular orders.

use std::collections::{BTreeSet, HashMap, HashSet};

use petgraph::graph::{DiGraph, NodeIndex};
use rekindle_model::source::Claim;
use rekindle_model::system::{Affects, System};

use crate::cycle;
use crate::diagnostic::{Sink, Span};
use crate::overlap;
use crate::read;
use crate::sources;
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
    }
    for (group, targets) in &system.targets {
        for name in targets.keys() {
            read::check_known(
                at(&["targets", group, name, "component"]),
                "component",
                &names,
                sink,
            );
        }
    }
    check_claims(system, &nodes, sink);
    check_order(system, &owners, root, sink);
}

/// How many pairs of sources are compared; a thousand components that all lie in one folder need half of it.
const MAX_COMPARED: usize = 1_000_000;

/// Reports sources that claim the same file. Sources are sorted by path. One can clash only with those above
/// it whose path begins its own, so unrelated components are never compared.
fn check_claims(system: &System, nodes: &HashMap<&str, &Node>, sink: &mut Sink<'_>) {
    let place = |name: &str, path: &[&str]| nodes.get(name).map_or(Span::START, |node| node.locate(path));
    let claims: Vec<(&str, Claim)> = system
        .components
        .iter()
        .filter_map(|(name, component)| Some((name.as_str(), sources::claim(component.source.as_ref()?)?)))
        .collect();
    let mut claims: Vec<(Vec<&str>, &str, &Claim)> = claims
        .iter()
        .filter_map(|(name, claim)| Some((overlap::parts(&claim.path).ok()?, *name, claim)))
        .collect();
    claims.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let mut above: Vec<usize> = Vec::new();
    let mut compared = 0;
    for at in 0..claims.len() {
        let (parts, name, claim) = &claims[at];
        while above
            .last()
            .is_some_and(|last| !parts.starts_with(&claims[*last].0))
        {
            above.pop();
        }
        for other in &above {
            compared += 1;
            if compared > MAX_COMPARED {
                let message = "too many sources are inside each other to be compared";
                sink.error(
                    place(name, &["source"]),
                    message,
                    Some("give components folders of their own".to_owned()),
                );
                return;
            }
            let (_, other, theirs) = &claims[*other];
            if let Some(what) = overlap::clash(theirs, claim) {
                let span = place(name, &["source", "path"]);
                let line = place(other, &["source"]).line;
                let help = format!(
                    "give the file to one of them, or `exclude` it from the other's source (line {line})"
                );
                sink.error(
                    span,
                    format!("components `{other}` and `{name}` both claim {what}"),
                    Some(help),
                );
                break;
            }
        }
        above.push(at);
    }
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
