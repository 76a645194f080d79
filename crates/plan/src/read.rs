//! Reads a tree by tables of [`keys`](rekindle_model::keys). The reader reports every fault at its place and
//! drops the faulty part, so that later checks can judge the rest. The rest has one form: texts are strings,
//! a single text becomes a list if the key takes a list, and defaults are filled in.

use std::collections::BTreeSet;

use rekindle_model::keys::{Absent, Format, Key as Spec, Object, OneOf, Takes, key};
use serde_json::{Number, Value};

use crate::diagnostic::{Sink, Span, suggest};
use crate::elsewhere;
use crate::expr;
use crate::formats;
use crate::location;
use crate::words::list_form;
use crate::yaml::{self, Key, Kind, Node};

/// Reads a whole file. A required key that is missing or faulty is empty in the result.
pub(crate) fn root(node: Node, of: &Object, sink: &mut Sink<'_>) -> Option<Node> {
    let (mut node, _) = keyed(node, &a(of.noun), &of.keys.iter().collect::<Vec<_>>(), sink)?;
    let missing: Vec<(Key, Node)> = of
        .keys
        .iter()
        .filter(|spec| spec.absent == Absent::Fault && node.child(spec.name).is_none())
        .map(|spec| {
            let kind = match spec.takes {
                Takes::Named(..) => Kind::Map(Vec::new()),
                Takes::List(_) => Kind::List(Vec::new()),
                _ => scalar(Value::from(""), ""),
            };
            entry(spec, kind, node.span)
        })
        .collect();
    if let Kind::Map(entries) = &mut node.kind {
        entries.extend(missing);
    }
    Some(node)
}

/// Reads the entries of a map with fixed keys, and returns whether all that are required are there and whole; `name` is
/// the map's, in messages.
fn keyed(node: Node, name: &str, specs: &[&Spec], sink: &mut Sink<'_>) -> Option<(Node, bool)> {
    let span = node.span;
    let mut found: Vec<(Key, Node)> = Vec::new();
    let mut faulty: Vec<&str> = Vec::new();
    let entries = entries(node, name, sink)?;
    let has_shell = specs.iter().any(|spec| is_shell(spec));
    let by_shell = has_shell
        && entries
            .iter()
            .any(|(key, node)| key.text == SHELL && node.raw() == Some("true"));
    for (key, node) in entries {
        let Some(spec) = specs.iter().find(|spec| spec.name == key.text) else {
            let help = elsewhere::meant(&key.text, specs)
                .map(|ours| format!("did you mean `{}`? {}", ours.name, ours.text))
                .or_else(|| sink.suggest(&key.text, || specs.iter().map(|spec| spec.name).collect()));
            sink.error(key.span, format!("unknown key `{}` in {name}", key.text), help);
            continue;
        };
        let required = spec.absent == Absent::Fault;
        let empty = required && matches!(&node.kind, Kind::List(items) if items.is_empty());
        if node.is_null() || (empty && matches!(spec.takes, Takes::Texts(_))) {
            continue;
        }
        let name = format!("`{}`", spec.name);
        let read = match spec.takes {
            Takes::Texts(Format::CommandWord) if by_shell => script(&name, node, sink),
            takes => value(takes, &name, node, sink),
        };
        match read {
            // A script has become a command line.
            Some(_) if is_shell(spec) => {}
            Some(node) => found.push((key, node)),
            None => faulty.push(spec.name),
        }
    }
    let mut whole = true;
    for spec in specs {
        if found.iter().any(|(key, _)| key.text == spec.name) {
            continue;
        }
        match spec.absent {
            Absent::Nothing => {}
            Absent::Default(text) => found.push(entry(spec, scalar(yaml::plain(text), text), span)),
            Absent::Fault => {
                whole = false;
                if !faulty.contains(&spec.name) {
                    let help = format!("`{}`: {}", spec.name, spec.text);
                    sink.error(span, format!("{name} lacks `{}`", spec.name), Some(help));
                }
            }
        }
    }
    let kind = Kind::Map(found);
    Some((Node { span, kind }, whole))
}

/// The key of a flag beside command lines.
const SHELL: &str = "shell";

fn is_shell(spec: &Spec) -> bool {
    spec.name == SHELL && matches!(spec.takes, Takes::Flag)
}

/// Reads a script, as the command line that runs it. The script ends at the first command that fails.
fn script(name: &str, node: Node, sink: &mut Sink<'_>) -> Option<Node> {
    if matches!(node.kind, Kind::List(_)) {
        let message = format!("with `shell: true`, {name} is a text for the shell, found a list");
        sink.error(
            node.span,
            message,
            Some("leave `shell` out to run the list as it is".to_owned()),
        );
        return None;
    }
    let span = node.span;
    let script = text(Format::CommandWord, name, node, sink)?;
    let word = |word: &str| Node {
        span,
        kind: scalar(Value::from(word), word),
    };
    let kind = Kind::List(vec![word("sh"), word("-e"), word("-c"), script]);
    Some(Node { span, kind })
}

/// Reads one value.
fn value(takes: Takes, name: &str, node: Node, sink: &mut Sink<'_>) -> Option<Node> {
    match takes {
        Takes::Text(format) => text(format, name, node, sink),
        Takes::Texts(format) => texts(format, name, node, sink),
        Takes::AllOrTexts if node.raw() == Some("all") => text(Format::Plain, name, node, sink),
        Takes::AllOrTexts => texts(Format::Plain, name, node, sink),
        Takes::Word(words) => {
            let node = text(Format::Plain, name, node, sink)?;
            match node.raw().filter(|word| words.contains(word)) {
                Some(_) => Some(node),
                None => {
                    let word = node.raw().unwrap_or_default();
                    sink.error(
                        node.span,
                        format!("{name} cannot be `{word}`"),
                        suggest(word, words),
                    );
                    None
                }
            }
        }
        Takes::Integer(least, most) => {
            let bounds = match most >= u64::from(u32::MAX) {
                true => format!("a whole number of at least {least}"),
                false => format!("a whole number from {least} to {most}"),
            };
            let fits = |found: &u64| (least..=most).contains(found);
            let found = node.raw().and_then(|raw| raw.parse().ok()).filter(fits);
            number(found.map(Number::from), &bounds, name, node, sink)
        }
        Takes::Number(least, most) => {
            let bounds = format!("a number from {least} to {most}");
            let fits = |found: &f64| (least..=most).contains(found);
            let found = node.raw().and_then(|raw| raw.parse().ok()).filter(fits);
            number(found.and_then(Number::from_f64), &bounds, name, node, sink)
        }
        Takes::Flag => match node.raw() {
            Some(raw @ ("true" | "false")) => {
                let kind = scalar(Value::from(raw == "true"), raw);
                Some(Node { kind, ..node })
            }
            _ => {
                let message = format!("{name} must be true or false, found {}", node.describe());
                sink.error(node.span, message, None);
                None
            }
        },
        Takes::Any => Some(node),
        Takes::With => {
            check_expressions(&node, sink);
            Some(node)
        }
        Takes::Loop => looped(name, node, sink),
        Takes::TextMap(format) => map(node, name, sink, |key, node, sink| {
            text(format, &format!("`{}`", key.text), node, sink)
        }),
        Takes::Named(noun, of) => map(node, name, sink, |key, node, sink| {
            refuse(Format::Name, &key.text, key.span, sink);
            value(*of, &format!("{noun} `{}`", key.text), node, sink)
        }),
        Takes::List(of) => {
            let span = node.span;
            let items = match node.kind {
                Kind::List(items) => items,
                _ if matches!(of, Takes::Short(_)) => vec![node],
                _ => {
                    let message = format!("{name} must be a list, found {}", node.describe());
                    sink.error(span, message, None);
                    return None;
                }
            };
            let item = match of {
                Takes::Object(object) => a(object.noun),
                _ => name.to_owned(),
            };
            let read = items.into_iter().filter_map(|node| value(*of, &item, node, sink));
            let kind = Kind::List(read.collect());
            Some(Node { span, kind })
        }
        Takes::Object(of) => {
            let (node, whole) = keyed(node, name, &of.keys.iter().collect::<Vec<_>>(), sink)?;
            whole.then_some(node)
        }
        Takes::OneOf(of) => one_of(of, node, sink),
        Takes::Source => one_of(sink.kinds?.sources, node, sink),
        Takes::Short(of) if matches!(node.kind, Kind::Map(_)) => value(Takes::Object(of), name, node, sink),
        Takes::Short(of) => value(of.keys.first()?.takes, name, node, sink),
    }
}

/// Reads a map whose keys depend on its kind.
fn one_of(of: &OneOf, node: Node, sink: &mut Sink<'_>) -> Option<Node> {
    let word = node.child(of.tag).and_then(Node::raw).map(str::to_owned);
    let kind = of.kinds.iter().find(|kind| Some(kind.noun) == word.as_deref());
    let words: Vec<&str> = of.kinds.iter().map(|kind| kind.noun).collect();
    if let (Some(word), None, Some(tag)) = (&word, kind, node.child(of.tag)) {
        let message = match of.tag == of.noun {
            true => format!("unknown {} `{word}`", of.noun),
            false => format!("unknown {} of {} `{word}`", of.tag, of.noun),
        };
        sink.error(tag.span, message, suggest(word, &words));
    }
    let tag = key(
        of.tag,
        Takes::Text(Format::Plain),
        "The kind, which decides about the other keys.",
    )
    .required();
    // Of an unknown kind all keys are known: one fault is enough.
    let own = of
        .kinds
        .iter()
        .filter(|one| kind.is_none_or(|kind| kind.noun == one.noun))
        .flat_map(|kind| kind.keys.iter());
    match kind {
        Some(kind) => {
            let specs: Vec<&Spec> = std::iter::once(&tag).chain(of.common).chain(own).collect();
            let name = format!("{} `{}` {}", article(kind.noun), kind.noun, of.noun);
            let (node, whole) = keyed(node, &name, &specs, sink)?;
            whole.then_some(node)
        }
        None => {
            let mut known: Vec<Spec> = of.common.iter().chain(own).copied().collect();
            known.sort_by_key(|spec| spec.name);
            known.dedup_by_key(|spec| spec.name);
            for spec in &mut known {
                (spec.takes, spec.absent) = (Takes::Any, Absent::Nothing);
            }
            let specs: Vec<&Spec> = std::iter::once(&tag).chain(&known).collect();
            keyed(node, &a(of.noun), &specs, sink)?;
            None
        }
    }
}

fn text(format: Format, name: &str, node: Node, sink: &mut Sink<'_>) -> Option<Node> {
    match node.kind {
        Kind::Scalar { value, raw } if !value.is_null() => {
            let kind = scalar(Value::from(raw.as_str()), &raw);
            refuse(format, &raw, node.span, sink).then_some(Node { kind, ..node })
        }
        _ => {
            let message = format!("{name} must be text, found {}", node.describe());
            sink.error(node.span, message, None);
            None
        }
    }
}

/// Reads what a step loops over: a text, a list of any values, or a map of such.
fn looped(name: &str, node: Node, sink: &mut Sink<'_>) -> Option<Node> {
    check_expressions(&node, sink);
    let is_list = |node: &Node| match &node.kind {
        Kind::List(_) => true,
        Kind::Scalar { value, .. } => value.is_string(),
        Kind::Map(_) => false,
    };
    let faulty = match &node.kind {
        Kind::Map(entries) => entries.iter().map(|(_, node)| node).find(|node| !is_list(node)),
        _ => Some(&node).filter(|node| !is_list(node)),
    };
    let Some(faulty) = faulty else { return Some(node) };
    let message = format!("{name} must be a list, found {}", faulty.describe());
    let help = "write a loop key such as `component`, a list, or an expression whose value is a list";
    sink.error(faulty.span, message, Some(help.to_owned()));
    None
}

fn texts(format: Format, name: &str, node: Node, sink: &mut Sink<'_>) -> Option<Node> {
    let span = node.span;
    let items = match node.kind {
        Kind::List(items) => items,
        _ => {
            let line = node
                .raw()
                .filter(|_| format == Format::CommandWord)
                .unwrap_or_default();
            if line.trim().contains(char::is_whitespace) && !expr::is_whole(line) {
                let message = format!("{name} is a command line in one text, and no shell splits it");
                sink.error(span, message, Some(list_form(line)));
                return None;
            }
            vec![node]
        }
    };
    let read = items
        .into_iter()
        .filter_map(|item| text(format, name, item, sink));
    let kind = Kind::List(read.collect());
    Some(Node { span, kind })
}

fn number(found: Option<Number>, bounds: &str, name: &str, node: Node, sink: &mut Sink<'_>) -> Option<Node> {
    let Some(number) = found else {
        sink.error(node.span, format!("{name} must be {bounds}"), None);
        return None;
    };
    let kind = scalar(Value::Number(number), node.raw().unwrap_or_default());
    Some(Node { kind, ..node })
}

fn map(
    node: Node,
    name: &str,
    sink: &mut Sink<'_>,
    mut read: impl FnMut(&Key, Node, &mut Sink<'_>) -> Option<Node>,
) -> Option<Node> {
    let span = node.span;
    let read = entries(node, name, sink)?
        .into_iter()
        .filter_map(|(key, node)| read(&key, node, sink).map(|node| (key, node)));
    let kind = Kind::Map(read.collect());
    Some(Node { span, kind })
}

fn entries(node: Node, name: &str, sink: &mut Sink<'_>) -> Option<Vec<(Key, Node)>> {
    match node.kind {
        Kind::Map(entries) => Some(entries),
        _ => {
            let message = format!(
                "{name} must be a map of keys and values, found {}",
                node.describe()
            );
            sink.error(node.span, message, None);
            None
        }
    }
}

/// Reports a text that does not have a form, and returns whether it has.
fn refuse(format: Format, text: &str, span: Span, sink: &mut Sink<'_>) -> bool {
    let checked = match (format, sink.kinds) {
        (Format::Location, Some(kinds)) => location::check(text, kinds.tier_urls),
        _ => formats::check(format, text),
    };
    match checked {
        Ok(()) => true,
        Err(fault) => {
            sink.error(span, fault.message, fault.help);
            false
        }
    }
}

fn entry(spec: &Spec, kind: Kind, span: Span) -> (Key, Node) {
    let text = spec.name.to_owned();
    (Key { span, text }, Node { span, kind })
}

fn scalar(value: Value, raw: &str) -> Kind {
    let raw = raw.to_owned();
    Kind::Scalar { value, raw }
}

fn a(noun: &str) -> String {
    format!("{} {noun}", article(noun))
}

fn article(noun: &str) -> &'static str {
    match noun {
        "http" | "sql" => "an",
        _ => "a",
    }
}

/// Reports every expression in the strings below a node that does not parse.
fn check_expressions(node: &Node, sink: &mut Sink<'_>) {
    match &node.kind {
        Kind::Scalar {
            value: Value::String(text),
            ..
        } => drop(refuse(Format::Template, text, node.span, sink)),
        Kind::Scalar { .. } => {}
        Kind::List(items) => items.iter().for_each(|item| check_expressions(item, sink)),
        Kind::Map(entries) => entries.iter().for_each(|(_, node)| check_expressions(node, sink)),
    }
}

/// Reports every name in a list, or in a text, that is not among `known`.
pub(crate) fn check_known(node: Option<&Node>, what: &str, known: &BTreeSet<&str>, sink: &mut Sink<'_>) {
    for item in node.map(Node::items).unwrap_or_default() {
        if let Some(raw) = item.raw().filter(|raw| !known.contains(raw)) {
            let help = sink
                .suggest(raw, || known.iter().copied().collect::<Vec<_>>())
                .or_else(|| Some(format!("no {what} is declared")));
            sink.error(item.span, format!("unknown {what} `{raw}`"), help);
        }
    }
}
