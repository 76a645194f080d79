//! `system.yaml` to [`System`]: every key, number, glob, expression and cross-reference is judged in one pass.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use petgraph::graph::{DiGraph, NodeIndex};
use rekindle_model::system::{
    Affects, All, Component, DataClass, ImpactLevel, Objectives, Period, RecoveryStep, Scenario, Source,
    System, Target, TierSpec,
};
use serde_json::Value;

use crate::cycle;
use crate::diagnostic::{Diagnostics, Severity, Sink, SourceText, suggest};
use crate::expr;
use crate::judge;
use crate::overlap;
use crate::plan::Catalog;
use crate::probe;
use crate::read::{self, Fields};
use crate::workflow::Origin;
use crate::yaml::{self, Key, Kind, Node, Span};

/// A value, the text it was read from, and what to mind about it.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The value.
    pub value: T,
    /// What is no error and still worth a look.
    pub warnings: Diagnostics,
    /// The text as it was read: what a run is pinned to.
    pub text: String,
    origin: Origin,
}

impl Loaded<System> {
    /// Returns what the objectives promise and may not keep, with the arithmetic, each at its place in the file.
    /// Paths are relative to `base_dir`, the folder of the file.
    pub fn judge(&self, base_dir: &Path) -> Diagnostics {
        let mut sink = Sink::new(&self.origin.source);
        for finding in judge::objectives(&self.value, base_dir) {
            sink.warn(
                self.origin.root.locate(&finding.at),
                finding.message,
                finding.help,
            );
        }
        sink.finish()
    }

    /// Returns what is wrong with the actions of components' own recovery steps.
    pub fn check_actions(&self, catalog: &dyn Catalog) -> Diagnostics {
        let names = catalog.names();
        let mut sink = Sink::new(&self.origin.source);
        for (name, component) in &self.value.components {
            for (at, step) in component.recovery.iter().enumerate() {
                let at = at.to_string();
                let path = ["components", name, "recovery", &at];
                if !names.contains(&step.uses) {
                    let span = self.origin.root.locate(&[&path[..], &["uses"]].concat());
                    sink.error(
                        span,
                        format!("unknown action `{}`", step.uses),
                        suggest(&step.uses, &names),
                    );
                    continue;
                }
                for problem in catalog.check(&step.uses, &step.with) {
                    let inside: Vec<&str> = problem.at.iter().map(String::as_str).collect();
                    let span = self.origin.root.locate(&[&path[..], &["with"], &inside].concat());
                    sink.error(span, problem.message, problem.help);
                }
            }
        }
        sink.finish()
    }
}

/// Reads a system; `name` is the file's, for diagnostics.
///
/// # Errors
/// All faults of the file at once, each with its place.
pub fn load_system(name: &str, text: &str) -> Result<Loaded<System>, Diagnostics> {
    let source = SourceText::new(name, text);
    let mut sink = Sink::new(&source);
    let root = yaml::read(text, &mut sink);
    let system = root.as_ref().and_then(|root| {
        let system = system(root, &mut sink)?;
        check(&system, root, &mut sink);
        Some(system)
    });
    let found = sink.finish();
    match (root, system) {
        (Some(root), Some(value))
            if !found
                .0
                .iter()
                .any(|diagnostic| diagnostic.severity == Severity::Error) =>
        {
            Ok(Loaded {
                value,
                warnings: found,
                text: text.to_owned(),
                origin: Origin { source, root },
            })
        }
        _ => Err(found),
    }
}

/// The most components of a system.
const MAX_COMPONENTS: usize = 10_000;

fn system(root: &Node, sink: &mut Sink<'_>) -> Option<System> {
    let known = [
        "system",
        "description",
        "root",
        "components",
        "data_classes",
        "impact_levels",
        "objectives",
        "tiers",
        "targets",
        "rules",
        "health",
        "integrity",
        "scenarios",
    ];
    let fields = Fields::open(root, "a system", &known, sink)?;
    let name = fields
        .require("system", sink)
        .and_then(|node| read::text(node, sink));
    fields.require("components", sink);
    if let Some(Kind::Map(entries)) = fields.get("components").map(|node| &node.kind)
        && let Some((key, _)) = entries.get(MAX_COMPONENTS)
    {
        sink.error(
            key.span,
            format!("more than {MAX_COMPONENTS} components"),
            Some("split the system".to_owned()),
        );
        return None;
    }
    let system = System {
        system: name.unwrap_or_default(),
        description: fields.text("description", sink),
        root: fields.text("root", sink).unwrap_or_else(|| ".".to_owned()),
        components: fields.named("components", sink, component),
        data_classes: fields.named("data_classes", sink, |node, name, sink| {
            let fields = Fields::open(
                node,
                &format!("data class `{name}`"),
                &["rpo", "description"],
                sink,
            )?;
            let description = fields.text("description", sink);
            Some(DataClass {
                rpo: fields
                    .require("rpo", sink)
                    .and_then(|node| read::parse(node, sink))?,
                description,
            })
        }),
        impact_levels: fields.named("impact_levels", sink, |node, name, sink| {
            let fields = Fields::open(
                node,
                &format!("impact level `{name}`"),
                &["max_downtime", "description"],
                sink,
            )?;
            let description = fields.text("description", sink);
            let max_downtime = fields
                .require("max_downtime", sink)
                .and_then(|node| read::parse(node, sink))?;
            Some(ImpactLevel {
                max_downtime,
                description,
            })
        }),
        objectives: fields
            .get("objectives")
            .and_then(|node| objectives(node, sink))
            .unwrap_or_default(),
        tiers: fields.named("tiers", sink, tier),
        targets: fields.named("targets", sink, targets),
        rules: fields.named("rules", sink, |node, _, sink| {
            let rule = read::text(node, sink)?;
            if let Err(error) = expr::check(&rule) {
                sink.error(node.span, error.to_string(), None);
            }
            Some(rule)
        }),
        health: fields.list("health", sink, probe::health),
        integrity: fields.list("integrity", sink, probe::read),
        scenarios: fields.named("scenarios", sink, scenario),
    };
    Some(system)
}

fn component(node: &Node, name: &str, sink: &mut Sink<'_>) -> Option<Component> {
    let known = [
        "description",
        "aliases",
        "priority",
        "impact",
        "rto",
        "classes",
        "after",
        "reads",
        "source",
        "recovery",
        "validate",
    ];
    let fields = Fields::open(node, &format!("component `{name}`"), &known, sink)?;
    Some(Component {
        description: fields.text("description", sink),
        aliases: fields.texts("aliases", sink),
        priority: fields.integer("priority", 0, sink).unwrap_or(100),
        impact: fields.text("impact", sink),
        rto: fields.parse("rto", sink),
        classes: fields.texts("classes", sink),
        after: fields.texts("after", sink),
        reads: fields.texts("reads", sink),
        source: fields.get("source").and_then(|node| source(node, sink)),
        recovery: fields.list("recovery", sink, recovery_step),
        validate: fields.list("validate", sink, probe::read),
    })
}

fn source(node: &Node, sink: &mut Sink<'_>) -> Option<Source> {
    let kind = node.child("type").and_then(|node| read::text(node, sink));
    let known: &[&str] = match kind.as_deref() {
        Some("sqlite") => &["type", "path"],
        Some("command") => &["type", "dump", "restore", "max_bytes"],
        _ => &["type", "path", "include", "exclude"],
    };
    let fields = Fields::open(node, "a source", known, sink)?;
    let type_node = fields.require("type", sink)?;
    let path = fields.text("path", sink);
    if let (Some(node), Some(Err(why))) = (fields.get("path"), path.as_deref().map(overlap::parts)) {
        sink.error(node.span, format!("the path {why}"), None);
    }
    match kind?.as_str() {
        "files" => {
            let (include, exclude) = (fields.texts("include", sink), fields.texts("exclude", sink));
            for key in ["include", "exclude"] {
                check_globs(fields.get(key), sink);
            }
            Some(Source::Files {
                path: path.unwrap_or_else(|| ".".to_owned()),
                include,
                exclude,
            })
        }
        "sqlite" => {
            fields.require("path", sink);
            Some(Source::Sqlite { path: path? })
        }
        "command" => {
            let dump = program(
                &fields,
                node,
                "dump",
                "name the program that prints the data",
                sink,
            );
            let restore = program(&fields, node, "restore", "name the program that reads them", sink);
            if let Some(span) = fields.get("restore").map(|node| node.span)
                && !restore.iter().any(|word| word.contains("target."))
            {
                let message = "the restore does not name `target.root`, and `recover --to` runs it too";
                let help = "it runs in the folder that is recovered into; see that it writes nowhere else";
                sink.warn(span, message, Some(help.to_owned()));
            }
            Some(Source::Command {
                dump,
                restore,
                max_bytes: fields.parse("max_bytes", sink),
            })
        }
        other => {
            sink.error(
                type_node.span,
                format!("unknown type of source `{other}`"),
                suggest(other, &["files", "sqlite", "command"]),
            );
            None
        }
    }
}

/// Reads a program and its arguments, which a source cannot do without.
fn program(fields: &Fields<'_>, source: &Node, key: &str, help: &str, sink: &mut Sink<'_>) -> Vec<String> {
    let words = fields.texts(key, sink);
    if words.is_empty() {
        let message = format!("a `command` source lacks `{key}`");
        sink.error(source.span, message, Some(help.to_owned()));
    }
    if let Some(node) = fields.get(key) {
        read::check_expressions(node, sink);
    }
    words
}

pub(crate) fn check_globs(node: Option<&Node>, sink: &mut Sink<'_>) {
    for item in node.map(read::items).unwrap_or_default() {
        if let Kind::Scalar { raw, .. } = &item.kind
            && let Err(error) = globset::Glob::new(raw)
        {
            sink.error(item.span, format!("not a glob: {}", error.kind()), None);
        }
    }
}

fn recovery_step(node: &Node, sink: &mut Sink<'_>) -> Option<RecoveryStep> {
    let fields = Fields::open(node, "a recovery step", &["id", "uses", "with", "timeout"], sink)?;
    let id = fields.require("id", sink).and_then(|node| {
        let id = read::text(node, sink)?;
        read::check_name(
            &Key {
                span: node.span,
                text: id.clone(),
            },
            sink,
        );
        Some(id)
    });
    let uses = fields
        .require("uses", sink)
        .and_then(|node| read::text(node, sink));
    let with = fields.get("with").map_or(Value::Null, |node| {
        read::check_expressions(node, sink);
        node.value()
    });
    let timeout = fields.parse("timeout", sink);
    Some(RecoveryStep {
        id: id?,
        uses: uses?,
        with,
        timeout,
    })
}

fn objectives(node: &Node, sink: &mut Sink<'_>) -> Option<Objectives> {
    let fields = Fields::open(
        node,
        "`objectives`",
        &["default_rto", "complete_system_recovery"],
        sink,
    )?;
    Some(Objectives {
        default_rto: fields.parse("default_rto", sink),
        complete_system_recovery: fields.parse("complete_system_recovery", sink),
    })
}

fn tier(node: &Node, name: &str, sink: &mut Sink<'_>) -> Option<TierSpec> {
    let known = [
        "url",
        "urls",
        "every",
        "retain",
        "storage_class",
        "location",
        "description",
    ];
    let fields = Fields::open(node, &format!("tier `{name}`"), &known, sink)?;
    for item in [fields.get("url"), fields.get("urls")]
        .into_iter()
        .flatten()
        .flat_map(read::items)
    {
        if let Kind::Scalar { raw, .. } = &item.kind
            && !raw.contains("://")
        {
            let help = format!("write `file://{raw}` for a folder");
            sink.error(item.span, format!("`{raw}` is not a URL"), Some(help));
        }
    }
    match (fields.get("url"), fields.get("urls")) {
        (None, None) => sink.error(node.span, format!("tier `{name}` lacks `url` or `urls`"), None),
        (Some(_), Some(urls)) => sink.error(
            urls.span,
            format!("tier `{name}` has both `url` and `urls`"),
            Some("keep `urls`".to_owned()),
        ),
        _ => {}
    }
    Some(TierSpec {
        url: fields.text("url", sink),
        urls: fields.texts("urls", sink),
        every: fields.parse("every", sink),
        retain: fields.parse("retain", sink),
        storage_class: fields.text("storage_class", sink),
        location: fields.text("location", sink),
        description: fields.text("description", sink),
    })
}

fn targets(node: &Node, group: &str, sink: &mut Sink<'_>) -> Option<BTreeMap<String, Target>> {
    let mut found = BTreeMap::new();
    for (key, node) in read::entries(node, &format!("targets `{group}`"), sink)? {
        read::check_name(key, sink);
        let target = match &node.kind {
            Kind::Map(_) => measured(node, &key.text, sink),
            _ => read::parse(node, sink).map(Target::Expect),
        };
        found.extend(target.map(|target| (key.text.clone(), target)));
    }
    Some(found)
}

fn measured(node: &Node, name: &str, sink: &mut Sink<'_>) -> Option<Target> {
    let fields = Fields::open(
        node,
        &format!("target `{name}`"),
        &["expect", "component", "measure", "description"],
        sink,
    )?;
    let (component, measure) = (fields.text("component", sink), fields.text("measure", sink));
    let description = fields.text("description", sink);
    let expect = fields
        .require("expect", sink)
        .and_then(|node| read::parse(node, sink))?;
    Some(Target::Measured {
        expect,
        component,
        measure,
        description,
    })
}

fn scenario(node: &Node, name: &str, sink: &mut Sink<'_>) -> Option<Scenario> {
    let fields = Fields::open(
        node,
        &format!("scenario `{name}`"),
        &["description", "affects", "rto", "rpo", "damage"],
        sink,
    )?;
    let affects = fields.require("affects", sink).map(|node| match &node.kind {
        Kind::Scalar { raw, .. } if raw == "all" => Affects::All(All::All),
        _ => Affects::These(read::texts(node, sink)),
    });
    Some(Scenario {
        description: fields.text("description", sink),
        affects: affects?,
        rto: fields.parse::<Period>("rto", sink),
        rpo: fields.parse::<Period>("rpo", sink),
        damage: fields.get("damage").map_or(Value::Null, Node::value),
    })
}

/// Judges what one part of the file says about another.
fn check(system: &System, root: &Node, sink: &mut Sink<'_>) {
    let at = |path: &[&str]| path.iter().try_fold(root, |node, step| node.child(step));
    let nodes: HashMap<&str, &Node> = match at(&["components"]).map(|node| &node.kind) {
        Some(Kind::Map(entries)) => entries
            .iter()
            .map(|(key, node)| (key.text.as_str(), node))
            .collect(),
        _ => HashMap::new(),
    };
    let field = |name: &str, key: &str| {
        nodes
            .get(name)
            .and_then(|node| node.child(key))
            .filter(|node| !node.is_null())
    };
    let mut names: BTreeSet<&str> = system.components.keys().map(String::as_str).collect();
    let mut owners: HashMap<&str, &str> = names.iter().map(|name| (*name, *name)).collect();
    for (name, component) in &system.components {
        let aliases = field(name, "aliases").map(read::items).unwrap_or_default();
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
    for node in at(&["integrity"]).map(read::items).unwrap_or_default() {
        read::check_known(node.child("reads"), "component", &names, sink);
    }
    let levels = system.impact_levels.keys().map(String::as_str).collect();
    let classes = system.data_classes.keys().map(String::as_str).collect();
    for (name, component) in &system.components {
        read::check_known(field(name, "after"), "component", &names, sink);
        read::check_known(field(name, "reads"), "component", &names, sink);
        read::check_known(field(name, "impact"), "impact level", &levels, sink);
        read::check_known(field(name, "classes"), "data class", &classes, sink);
        let mut seen = HashSet::new();
        let steps = field(name, "recovery").map(read::items).unwrap_or_default();
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

/// Reports sources that claim the same file. Sorted by path, a source can clash only with those above it that
/// begin its path, so that components side by side are never compared.
fn check_claims(system: &System, nodes: &HashMap<&str, &Node>, sink: &mut Sink<'_>) {
    let place = |name: &str, path: &[&str]| nodes.get(name).map_or(Span::START, |node| node.locate(path));
    let mut claims: Vec<(Vec<&str>, &str, &Source)> = system
        .components
        .iter()
        .filter_map(|(name, component)| {
            let source = component.source.as_ref()?;
            Some((overlap::parts(source.path()?).ok()?, name.as_str(), source))
        })
        .collect();
    claims.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let mut above: Vec<usize> = Vec::new();
    let mut compared = 0;
    for at in 0..claims.len() {
        let (parts, name, source) = &claims[at];
        while above
            .last()
            .is_some_and(|last| !parts.starts_with(&claims[*last].0))
        {
            above.pop();
        }
        for other in &above {
            compared += 1;
            if compared > MAX_COMPARED {
                let message = "too many sources lie inside each other to be told apart";
                sink.error(
                    place(name, &["source"]),
                    message,
                    Some("give components folders of their own".to_owned()),
                );
                return;
            }
            let (_, other, theirs) = &claims[*other];
            if let Some(what) = overlap::clash(theirs, source) {
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

/// Reports orders of recovery that wait for themselves. A component begins after the validation of those it comes
/// `after`; its validation waits for the restore of those it `reads`.
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
        for (_, theirs) in component.after.iter().filter_map(|other| node_of(other)) {
            graph.add_edge(restore, theirs, ());
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
