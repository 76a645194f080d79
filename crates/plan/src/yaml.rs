//! YAML as a tree in which every node knows its place. The reader refuses a file whose text, depth or expanded aliases
//! exceed a budget before it builds the tree, so that no file costs more than a second.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

use crate::diagnostic::{Diagnostics, Sink, SourceText, Span};
use crate::numbers;

/// The largest text that is read, in bytes. A system with a thousand components is near 1 MB.
const MAX_TEXT_BYTES: usize = 4 << 20;
/// The deepest nesting; the deepest of our own files has 7 levels.
const MAX_DEPTH: usize = 64;
/// How many nodes a tree may have once aliases are expanded.
const MAX_NODES: usize = 250_000;
/// How many bytes of text a tree may hold once aliases are expanded.
const MAX_EXPANDED_BYTES: usize = 16 << 20;

impl From<granit_parser::Span> for Span {
    fn from(span: granit_parser::Span) -> Self {
        let width = match span.start.line() == span.end.line() {
            true => span.end.col().saturating_sub(span.start.col()),
            false => usize::MAX,
        };
        Self {
            line: span.start.line().max(1),
            col: span.start.col() + 1,
            width: width.max(1),
        }
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

/// The content of a node.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A null, boolean, number or string, and its text as written.
    Scalar {
        value: Value,
        raw: String,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key and its place.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) span: Span,
    pub(crate) text: String,
}

impl Node {
    /// Returns the kind of the value, for messages.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar {
                value: Value::Null, ..
            } => "nothing",
            Kind::Scalar {
                value: Value::Bool(_),
                ..
            } => "a boolean",
            Kind::Scalar {
                value: Value::Number(_),
                ..
            } => "a number",
            Kind::Scalar { .. } => "a string",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(
            &self.kind,
            Kind::Scalar {
                value: Value::Null,
                ..
            }
        )
    }

    /// Returns a scalar's text as it is written.
    pub(crate) fn raw(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { raw, .. } => Some(raw),
            _ => None,
        }
    }

    /// Returns the items of a list; anything else counts as a list of one.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// Returns the items of the list under a key.
    pub(crate) fn items_of(&self, key: &str) -> &[Self] {
        self.child(key).map(Self::items).unwrap_or_default()
    }

    /// Returns the entries of the map under a key.
    pub(crate) fn entries_of(&self, key: &str) -> &[(Key, Self)] {
        match self.child(key).map(|node| &node.kind) {
            Some(Kind::Map(entries)) => entries,
            _ => &[],
        }
    }

    /// Returns the plain value, without places.
    pub(crate) fn value(&self) -> Value {
        match &self.kind {
            Kind::Scalar { value, .. } => value.clone(),
            Kind::List(items) => Value::Array(items.iter().map(Self::value).collect()),
            Kind::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, node)| (key.text.clone(), node.value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// Returns the child under a key or list index; one without a value counts as absent.
    pub(crate) fn child(&self, step: &str) -> Option<&Self> {
        let found = match &self.kind {
            Kind::Scalar { .. } => None,
            Kind::List(items) => items.get(step.parse::<usize>().ok()?),
            Kind::Map(entries) => entries
                .iter()
                .find(|(key, _)| key.text == step)
                .map(|(_, node)| node),
        };
        found.filter(|node| !node.is_null())
    }

    /// Returns the node at the end of a way.
    pub(crate) fn at<S: AsRef<str>>(&self, path: &[S]) -> Option<&Self> {
        path.iter().try_fold(self, |node, step| node.child(step.as_ref()))
    }

    /// Returns the place of the deepest node on the way that exists.
    pub(crate) fn locate<S: AsRef<str>>(&self, path: &[S]) -> Span {
        let mut node = self;
        for step in path {
            match node.child(step.as_ref()) {
                Some(child) => node = child,
                None => break,
            }
        }
        node.span
    }
}

/// Reads any YAML file as data; `name` is the file's, for diagnostics.
///
/// # Errors
/// The faults of its syntax, or the budget that it exceeds.
pub fn value(name: &str, text: &str) -> Result<Value, Diagnostics> {
    let source = SourceText::new(name, text);
    let mut sink = Sink::new(&source);
    let root = read(text, &mut sink);
    let found = sink.finish();
    match root {
        Some(root) if !found.has_errors() => Ok(root.value()),
        _ => Err(found),
    }
}

/// Reads one document. Faults go to the sink; if there is no tree, there is at least one fault.
pub(crate) fn read(text: &str, sink: &mut Sink<'_>) -> Option<Node> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!(
            "the file has {} bytes, more than the {MAX_TEXT_BYTES} that are read",
            text.len()
        );
        sink.error(
            Span::START,
            message,
            Some("split it into several files".to_owned()),
        );
        return None;
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok((event, span)) => (event, Span::from(span)),
            Err(error) => {
                let at = Span {
                    line: error.marker().line().max(1),
                    col: error.marker().col() + 1,
                    width: 1,
                };
                let fault = error.info();
                let help = remedy(&fault).to_owned();
                sink.error(at, format!("not valid YAML: {fault}"), Some(help));
                return None;
            }
        };
        if let Err((message, help)) = builder.take(event, span, sink) {
            sink.error(span, message, help);
            return None;
        }
    }
    if builder.root.is_none() {
        let help = "its first line is `system: NAME` or `workflow: NAME`".to_owned();
        sink.error(Span::START, "the file is empty", Some(help));
    }
    builder.root
}

/// What to do about a fault of the parser, by a part of what the parser says.
const REMEDIES: [(&str, &str); 5] = [
    ("tab", "indent with spaces: YAML takes no tabs there"),
    ("unclosed quote", "close the quote that begins here"),
    ("unclosed bracket", "close the bracket that begins here"),
    ("unexpected character", "put the value in quotes"),
    (
        "expected ':'",
        "write `key: value`, or `key:` and what belongs to it indented below",
    ),
];

fn remedy(fault: &str) -> &'static str {
    let known = REMEDIES.iter().find(|(part, _)| fault.contains(part));
    known.map_or(
        "check the indentation here and above: the keys of one map begin in one column, and the items of one list",
        |(_, remedy)| remedy,
    )
}

type Refusal = (String, Option<String>);

/// A list or map whose end has not come yet.
enum Open {
    List(Vec<Node>),
    Map {
        entries: Vec<(Key, Node)>,
        seen: Seen,
        key: Option<Key>,
    },
}

/// The keys of a map so far, to find duplicates. Most maps have few keys, and a set would cost more than it
/// saves.
#[derive(Default)]
struct Seen(HashSet<String>);

impl Seen {
    /// The most entries that are compared one by one.
    const FEW: usize = 16;

    /// Returns whether the key is new; `entries` are the earlier ones.
    fn is_new(&mut self, key: &str, entries: &[(Key, Node)]) -> bool {
        if entries.len() < Self::FEW {
            return entries.iter().all(|(known, _)| known.text != key);
        }
        if self.0.is_empty() {
            self.0.extend(entries.iter().map(|(known, _)| known.text.clone()));
        }
        self.0.insert(key.to_owned())
    }
}

struct Frame {
    span: Span,
    anchor: usize,
    nodes_before: usize,
    bytes_before: usize,
    open: Open,
}

/// A node that aliases may name, and the cost of each alias.
struct Anchored {
    node: Node,
    nodes: usize,
    bytes: usize,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
    bytes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span, sink: &mut Sink<'_>) -> Result<(), Refusal> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err((
                        "the file has a second document".to_owned(),
                        Some("write one document per file".to_owned()),
                    ));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    sink.error(
                        span,
                        "tags are not read here",
                        Some("quote the value instead to make it a string".to_owned()),
                    );
                }
                let before = (self.nodes, self.bytes);
                self.spend(1, text.len())?;
                if style == ScalarStyle::Plain && numbers::beyond_64_bits(text.trim_start_matches('+')) {
                    let message = "a whole number beyond 64 bits, which no number here can be";
                    sink.error(
                        span,
                        message,
                        Some(format!("quote it to keep it as text: \"{text}\"")),
                    );
                }
                let value = match style {
                    ScalarStyle::Plain => plain(&text),
                    _ => Value::String(text.to_string()),
                };
                self.place(
                    Node {
                        span,
                        kind: Kind::Scalar {
                            value,
                            raw: text.into_owned(),
                        },
                    },
                    anchor,
                    before,
                    sink,
                );
            }
            Event::SequenceStart(_, anchor, _) => self.push(span, anchor, Open::List(Vec::new()))?,
            Event::MappingStart(_, anchor, _) => {
                self.push(
                    span,
                    anchor,
                    Open::Map {
                        entries: Vec::new(),
                        seen: Seen::default(),
                        key: None,
                    },
                )?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(frame) = self.stack.pop() {
                    let kind = match frame.open {
                        Open::List(items) => Kind::List(items),
                        Open::Map { entries, .. } => Kind::Map(entries),
                    };
                    let before = (frame.nodes_before, frame.bytes_before);
                    self.place(
                        Node {
                            span: frame.span,
                            kind,
                        },
                        frame.anchor,
                        before,
                        sink,
                    );
                }
            }
            Event::Alias(anchor) => {
                let Some(anchored) = self.anchors.get(&anchor) else {
                    return Err(("the alias is inside of the value that it names".to_owned(), None));
                };
                let (nodes, bytes) = (anchored.nodes, anchored.bytes);
                // The budget is charged before the copy: a copy of a bomb would use up the memory.
                let before = (self.nodes, self.bytes);
                self.spend(nodes, bytes)?;
                if let Some(anchored) = self.anchors.get(&anchor) {
                    let mut node = anchored.node.clone();
                    node.span = span;
                    self.place(node, 0, before, sink);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn spend(&mut self, nodes: usize, bytes: usize) -> Result<(), Refusal> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        let help = Some("an alias counts as the whole value that it names; use fewer".to_owned());
        if self.nodes > MAX_NODES {
            return Err((format!("the file has more than {MAX_NODES} values"), help));
        }
        if self.bytes > MAX_EXPANDED_BYTES {
            return Err((
                format!("the file expands to more than {MAX_EXPANDED_BYTES} bytes"),
                help,
            ));
        }
        Ok(())
    }

    fn push(&mut self, span: Span, anchor: usize, open: Open) -> Result<(), Refusal> {
        if self.stack.len() >= MAX_DEPTH {
            return Err((format!("nested deeper than {MAX_DEPTH} levels"), None));
        }
        let (nodes_before, bytes_before) = (self.nodes, self.bytes);
        self.spend(1, 0)?;
        // A block collection has no width of its own; its first character marks its beginning.
        self.stack.push(Frame {
            span: Span { width: 1, ..span },
            anchor,
            nodes_before,
            bytes_before,
            open,
        });
        Ok(())
    }

    fn place(&mut self, node: Node, anchor: usize, before: (usize, usize), sink: &mut Sink<'_>) {
        if anchor != 0 {
            let (nodes, bytes) = (self.nodes - before.0, self.bytes - before.1);
            self.anchors.insert(
                anchor,
                Anchored {
                    node: node.clone(),
                    nodes,
                    bytes,
                },
            );
        }
        match self.stack.last_mut().map(|frame| &mut frame.open) {
            None => self.root = Some(node),
            Some(Open::List(items)) => items.push(node),
            Some(Open::Map { entries, seen, key }) => match key.take() {
                Some(key) => {
                    if seen.is_new(&key.text, entries) {
                        entries.push((key, node));
                    } else {
                        sink.error(
                            key.span,
                            format!("the key `{}` is there twice", key.text),
                            Some("keep one of them".to_owned()),
                        );
                    }
                }
                None => match node.kind {
                    Kind::Scalar { raw, .. } => {
                        *key = Some(Key {
                            span: node.span,
                            text: raw,
                        })
                    }
                    _ => {
                        sink.error(node.span, "a key must be plain text", None);
                        *key = Some(Key {
                            span: node.span,
                            text: String::new(),
                        });
                    }
                },
            },
        }
    }
}

/// Reads a plain scalar as YAML 1.2's core schema does.
pub(crate) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let starts_like_a_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    if starts_like_a_number {
        let may_be = !text.contains(char::is_alphabetic) || text.contains(['e', 'E']);
        if let Some(number) = numbers::number(text).filter(|_| may_be) {
            return Value::Number(number);
        }
    }
    Value::String(text.to_owned())
}
