//! Each part of a system's file by itself: components with their sources, tiers, targets, scenarios.

use std::collections::BTreeMap;

use rekindle_model::source::SourceSpec;
use rekindle_model::system::{
    Affects, All, Component, Objectives, Period, RecoveryStep, Scenario, Target, TierSpec,
};
use serde_json::{Value, json};

use crate::diagnostic::{Sink, suggest};
use crate::location;
use crate::overlap;
use crate::probe;
use crate::read::{self, Fields};
use crate::yaml::{Key, Kind, Node};

pub(super) fn component(node: &Node, name: &str, sink: &mut Sink<'_>) -> Option<Component> {
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

fn source(node: &Node, sink: &mut Sink<'_>) -> Option<SourceSpec> {
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
            let path = path.unwrap_or_else(|| ".".to_owned());
            Some(SourceSpec::new(
                "files",
                [
                    ("path", json!(path)),
                    ("include", json!(include)),
                    ("exclude", json!(exclude)),
                ],
            ))
        }
        "sqlite" => {
            fields.require("path", sink);
            Some(SourceSpec::new("sqlite", [("path", json!(path?))]))
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
            let max_bytes: Option<u64> = fields.parse("max_bytes", sink);
            Some(SourceSpec::new(
                "command",
                [
                    ("dump", json!(dump)),
                    ("restore", json!(restore)),
                    ("max_bytes", json!(max_bytes)),
                ],
            ))
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

pub(super) fn objectives(node: &Node, sink: &mut Sink<'_>) -> Option<Objectives> {
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

pub(super) fn tier(node: &Node, name: &str, sink: &mut Sink<'_>) -> Option<TierSpec> {
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
            && let Some((message, help)) = location::fault(raw)
        {
            sink.error(item.span, message, Some(help));
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

pub(super) fn targets(node: &Node, group: &str, sink: &mut Sink<'_>) -> Option<BTreeMap<String, Target>> {
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

pub(super) fn scenario(node: &Node, name: &str, sink: &mut Sink<'_>) -> Option<Scenario> {
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
