//! Probes of `system.yaml`: each kind knows its own keys, and what of them it cannot do without.

use std::collections::BTreeMap;

use rekindle_model::expect::Expect;
use rekindle_model::system::{Health, Probe};

use crate::diagnostic::{Sink, suggest};
use crate::overlap;
use crate::read::{self, Fields};
use crate::system::check_globs;
use crate::yaml::{Kind, Node};

/// What all kinds have.
const COMMON: [&str; 5] = ["name", "probe", "timeout", "reads", "expect"];

/// A kind of probe.
pub(crate) struct Form {
    pub(crate) kind: &'static str,
    /// Its own keys.
    pub(crate) keys: &'static [&'static str],
    /// Those of them that it needs, each with what to write there.
    pub(crate) needs: &'static [(&'static str, &'static str)],
}

pub(crate) const FORMS: &[Form] = &[
    Form {
        kind: "command",
        keys: &["run"],
        needs: &[("run", "name the program and its arguments")],
    },
    Form {
        kind: "http",
        keys: &["url", "headers", "values"],
        needs: &[("url", "name what to GET")],
    },
    Form {
        kind: "sql",
        keys: &["database", "query"],
        needs: &[
            ("database", "name the SQLite file below the system's `root`"),
            (
                "query",
                "write a SELECT with one row, each column named for its number",
            ),
        ],
    },
    Form {
        kind: "files",
        keys: &["path", "include", "exclude", "digest"],
        needs: &[("path", "name the file or folder below the system's `root`")],
    },
];

/// Reads one probe.
pub(crate) fn read(node: &Node, sink: &mut Sink<'_>) -> Option<Probe> {
    let kind_node = node.child("probe");
    let kind = kind_node.and_then(|node| read::text(node, sink));
    let form = FORMS.iter().find(|form| Some(form.kind) == kind.as_deref());
    // Of an unknown kind all keys are known: one fault is enough.
    let own: Vec<&str> = match form {
        Some(form) => form.keys.to_vec(),
        None => FORMS.iter().flat_map(|form| form.keys).copied().collect(),
    };
    let fields = Fields::open(node, "a probe", &[&COMMON, own.as_slice()].concat(), sink)?;
    let kind_node = fields.require("probe", sink)?;
    let kind = kind?;
    let Some(form) = form else {
        let kinds: Vec<&str> = FORMS.iter().map(|form| form.kind).collect();
        sink.error(
            kind_node.span,
            format!("unknown probe `{kind}`"),
            suggest(&kind, &kinds),
        );
        return None;
    };
    for (key, help) in form.needs {
        let empty = |node: &Node| matches!(&node.kind, Kind::List(items) if items.is_empty());
        if fields.get(key).is_none_or(empty) {
            sink.error(
                node.span,
                format!("{} `{kind}` probe lacks `{key}`", article(&kind)),
                Some((*help).to_owned()),
            );
        }
    }
    for key in form.keys {
        if let Some(node) = fields.get(key) {
            read::check_expressions(node, sink);
        }
    }
    let digest = fields.text("digest", sink);
    check_places(&fields, sink);
    check_pointers(&fields, sink);
    check_digest(&fields, digest.as_deref(), sink);
    Some(Probe {
        name: fields.text("name", sink),
        probe: kind,
        run: fields.texts("run", sink),
        url: fields.text("url", sink),
        headers: texts_by_name(&fields, "headers", sink),
        values: texts_by_name(&fields, "values", sink),
        database: fields.text("database", sink),
        query: fields.text("query", sink),
        path: fields.text("path", sink),
        include: fields.texts("include", sink),
        exclude: fields.texts("exclude", sink),
        digest,
        timeout: fields.parse("timeout", sink),
        reads: fields.texts("reads", sink),
        expect: fields.named("expect", sink, |node, _, sink| read::parse::<Expect>(node, sink)),
    })
}

/// The keys of a health URL.
const HEALTH: [&str; 3] = ["url", "address", "timeout"];

/// Reads one place where the running system answers.
pub(crate) fn health(node: &Node, sink: &mut Sink<'_>) -> Option<Health> {
    let fields = Fields::open(node, "a health URL", &HEALTH, sink)?;
    let url_node = fields.require("url", sink);
    let (url, address) = (fields.text("url", sink), fields.text("address", sink));
    if let (Some(node), Some(Err(why))) = (fields.get("address"), address.as_deref().map(overlap::parts)) {
        sink.error(node.span, format!("the path {why}"), None);
    }
    let timeout = fields.parse("timeout", sink);
    let url = url?;
    let fault = match address {
        Some(_) if !url.starts_with('/') => Some((
            "with `address`, `url` is the path of a URL",
            "write it from its first slash on: /health",
        )),
        None if !["http://", "https://"].iter().any(|begin| url.starts_with(begin)) => Some((
            "`url` is no URL of a server",
            "write http://HOST:PORT/PATH, or name with `address` the file in which the system says where it listens",
        )),
        _ => None,
    };
    if let (Some((message, help)), Some(node)) = (fault, url_node) {
        sink.error(node.span, message, Some(help.to_owned()));
    }
    Some(Health {
        url,
        address,
        timeout,
    })
}

fn article(kind: &str) -> &'static str {
    match kind {
        "http" | "sql" => "an",
        _ => "a",
    }
}

/// What is measured stands below the root: a recovery measures its target, not the living system.
fn check_places(fields: &Fields<'_>, sink: &mut Sink<'_>) {
    for key in ["database", "path"] {
        if let Some(node) = fields.get(key)
            && let Kind::Scalar { raw, .. } = &node.kind
            && !raw.contains("${{")
            && let Err(why) = overlap::parts(raw)
        {
            sink.error(node.span, format!("the path {why}"), None);
        }
    }
    for key in ["include", "exclude"] {
        check_globs(fields.get(key), sink);
    }
}

fn check_pointers(fields: &Fields<'_>, sink: &mut Sink<'_>) {
    let Some(Kind::Map(entries)) = fields.get("values").map(|node| &node.kind) else {
        return;
    };
    for (_, node) in entries {
        if let Kind::Scalar { raw, .. } = &node.kind
            && !raw.is_empty()
            && !raw.starts_with(['/', '$'])
        {
            let help = format!("write `/{}`", raw.replace('.', "/"));
            sink.error(node.span, format!("`{raw}` is not a JSON pointer"), Some(help));
        }
    }
}

fn check_digest(fields: &Fields<'_>, digest: Option<&str>, sink: &mut Sink<'_>) {
    match (fields.get("digest"), digest) {
        (Some(node), Some(text)) => {
            let fits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !fits && !text.contains("${{") {
                let help = "a digest has 64 hexadecimal digits".to_owned();
                sink.error(node.span, format!("`{text}` is not a digest"), Some(help));
            }
        }
        _ => {
            if let Some(Kind::Map(entries)) = fields.get("expect").map(|node| &node.kind)
                && let Some((key, _)) = entries.iter().find(|(key, _)| key.text == "digest")
                && fields.get("path").is_some()
            {
                let help = "name the digest that the files should have: `digest: …`".to_owned();
                sink.error(
                    key.span,
                    "no digest is measured without one to compare with",
                    Some(help),
                );
            }
        }
    }
}

fn texts_by_name(fields: &Fields<'_>, key: &str, sink: &mut Sink<'_>) -> BTreeMap<String, String> {
    let Some(node) = fields.get(key) else {
        return BTreeMap::new();
    };
    let entries = read::entries(node, &format!("`{key}`"), sink).unwrap_or_default();
    entries
        .iter()
        .filter_map(|(key, node)| Some((key.text.clone(), read::text(node, sink)?)))
        .collect()
}
