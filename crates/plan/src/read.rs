//! Typed readers over the tree: each takes what it knows, reports what it does not, and goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::Value;

use crate::diagnostic::Sink;
use crate::expr;
use crate::yaml::{Key, Kind, Node};

/// The entries of a map whose keys are fixed.
pub(crate) struct Fields<'n> {
    node: &'n Node,
    what: String,
    entries: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    /// Opens a map and reports every key that is not among `known`.
    pub(crate) fn open(node: &'n Node, what: &str, known: &[&str], sink: &mut Sink<'_>) -> Option<Self> {
        let entries = entries(node, what, sink)?;
        for (key, _) in entries
            .iter()
            .filter(|(key, _)| !known.contains(&key.text.as_str()))
        {
            let help = sink.suggest(&key.text, || known.to_vec());
            sink.error(key.span, format!("unknown key `{}` in {what}", key.text), help);
        }
        Some(Self {
            node,
            what: what.to_owned(),
            entries,
        })
    }

    /// Returns the node of a key; one that is there without a value counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries
            .iter()
            .find(|(own, _)| own.text == key)
            .map(|(_, node)| node)
            .filter(|node| !node.is_null())
    }

    /// Returns the node of a key, or reports that it is missing.
    pub(crate) fn require(&self, key: &str, sink: &mut Sink<'_>) -> Option<&'n Node> {
        let found = self.get(key);
        if found.is_none() {
            sink.error(self.node.span, format!("{} lacks `{key}`", self.what), None);
        }
        found
    }

    pub(crate) fn text(&self, key: &str, sink: &mut Sink<'_>) -> Option<String> {
        self.get(key).and_then(|node| text(node, sink))
    }

    pub(crate) fn texts(&self, key: &str, sink: &mut Sink<'_>) -> Vec<String> {
        self.get(key).map(|node| texts(node, sink)).unwrap_or_default()
    }

    pub(crate) fn parse<T: FromStr<Err: Display>>(&self, key: &str, sink: &mut Sink<'_>) -> Option<T> {
        self.get(key).and_then(|node| parse(node, sink))
    }

    /// Reads an integer that has a lower bound.
    pub(crate) fn integer(&self, key: &str, least: u32, sink: &mut Sink<'_>) -> Option<u32> {
        self.bounded(key, least..=u32::MAX, &format!("of at least {least}"), sink)
    }

    /// Reads an integer between two bounds.
    pub(crate) fn integer_between(
        &self,
        key: &str,
        least: u32,
        most: u32,
        sink: &mut Sink<'_>,
    ) -> Option<u32> {
        self.bounded(key, least..=most, &format!("from {least} to {most}"), sink)
    }

    fn bounded(
        &self,
        key: &str,
        bounds: RangeInclusive<u32>,
        told: &str,
        sink: &mut Sink<'_>,
    ) -> Option<u32> {
        let node = self.get(key)?;
        let number = match &node.kind {
            Kind::Scalar {
                value: Value::Number(number),
                ..
            } => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            _ => None,
        };
        let number = number.filter(|number| bounds.contains(number));
        if number.is_none() {
            sink.error(node.span, format!("`{key}` must be a whole number {told}"), None);
        }
        number
    }

    /// Reads a number between two bounds.
    pub(crate) fn number(&self, key: &str, least: f64, most: f64, sink: &mut Sink<'_>) -> Option<f64> {
        let node = self.get(key)?;
        let number = match &node.kind {
            Kind::Scalar {
                value: Value::Number(number),
                ..
            } => number.as_f64(),
            _ => None,
        };
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            sink.error(
                node.span,
                format!("`{key}` must be a number from {least} to {most}"),
                None,
            );
        }
        number
    }

    /// Reads a map of names, each value by `read`; a name that cannot be part of a step's id is reported.
    pub(crate) fn named<T>(
        &self,
        key: &str,
        sink: &mut Sink<'_>,
        mut read: impl FnMut(&Node, &str, &mut Sink<'_>) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let Some(node) = self.get(key) else {
            return BTreeMap::new();
        };
        let mut found = BTreeMap::new();
        for (key, node) in entries(node, &format!("`{key}`"), sink).unwrap_or_default() {
            check_name(key, sink);
            if let Some(value) = read(node, &key.text, sink) {
                found.insert(key.text.clone(), value);
            }
        }
        found
    }

    /// Reads a list, each item by `read`.
    pub(crate) fn list<T>(
        &self,
        key: &str,
        sink: &mut Sink<'_>,
        mut read: impl FnMut(&Node, &mut Sink<'_>) -> Option<T>,
    ) -> Vec<T> {
        self.nodes(key, sink)
            .iter()
            .filter_map(|item| read(item, sink))
            .collect()
    }

    /// Returns the items of a list.
    pub(crate) fn nodes(&self, key: &str, sink: &mut Sink<'_>) -> &'n [Node] {
        match self.get(key).map(|node| (node, &node.kind)) {
            None => &[],
            Some((_, Kind::List(items))) => items,
            Some((node, _)) => {
                sink.error(
                    node.span,
                    format!("`{key}` must be a list, found {}", node.describe()),
                    None,
                );
                &[]
            }
        }
    }
}

pub(crate) fn entries<'n>(node: &'n Node, what: &str, sink: &mut Sink<'_>) -> Option<&'n [(Key, Node)]> {
    match &node.kind {
        Kind::Map(entries) => Some(entries),
        _ => {
            sink.error(
                node.span,
                format!(
                    "{what} must be a map of keys and values, found {}",
                    node.describe()
                ),
                None,
            );
            None
        }
    }
}

pub(crate) fn text(node: &Node, sink: &mut Sink<'_>) -> Option<String> {
    match &node.kind {
        Kind::Scalar { value, raw } if !value.is_null() => Some(raw.clone()),
        _ => {
            sink.error(
                node.span,
                format!("expected text, found {}", node.describe()),
                None,
            );
            None
        }
    }
}

/// Reads a list of texts; a single text counts as a list of one.
pub(crate) fn texts(node: &Node, sink: &mut Sink<'_>) -> Vec<String> {
    match &node.kind {
        Kind::List(items) => items.iter().filter_map(|item| text(item, sink)).collect(),
        _ => text(node, sink).into_iter().collect(),
    }
}

/// Returns the nodes that [`texts`] read.
pub(crate) fn items(node: &Node) -> &[Node] {
    match &node.kind {
        Kind::List(items) => items,
        _ => std::slice::from_ref(node),
    }
}

pub(crate) fn parse<T: FromStr<Err: Display>>(node: &Node, sink: &mut Sink<'_>) -> Option<T> {
    match text(node, sink)?.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            sink.error(node.span, format!("{error}"), None);
            None
        }
    }
}

/// Reports names that could not stand between the brackets of a step's id.
pub(crate) fn check_name(key: &Key, sink: &mut Sink<'_>) {
    if !is_name(&key.text) {
        let help = "use letters, digits, `_`, `-` and `.`, at most 100 of them".to_owned();
        sink.error(key.span, format!("`{}` cannot be a name", key.text), Some(help));
    }
}

pub(crate) fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// Reports every expression in the strings below a node that does not parse.
pub(crate) fn check_expressions(node: &Node, sink: &mut Sink<'_>) {
    match &node.kind {
        Kind::Scalar {
            value: Value::String(text),
            ..
        } => {
            if let Err(error) = expr::check_text(text) {
                sink.error(node.span, error.to_string(), None);
            }
        }
        Kind::Scalar { .. } => {}
        Kind::List(items) => items.iter().for_each(|item| check_expressions(item, sink)),
        Kind::Map(entries) => entries.iter().for_each(|(_, node)| check_expressions(node, sink)),
    }
}

/// Reports every name below a node that is not among `known`.
pub(crate) fn check_known(node: Option<&Node>, what: &str, known: &BTreeSet<&str>, sink: &mut Sink<'_>) {
    for item in node.map(items).unwrap_or_default() {
        if let Kind::Scalar { raw, .. } = &item.kind
            && !known.contains(raw.as_str())
        {
            let help = sink
                .suggest(raw, || known.iter().copied().collect::<Vec<_>>())
                .or_else(|| Some(format!("no {what} is declared")));
            sink.error(item.span, format!("unknown {what} `{raw}`"), help);
        }
    }
}
