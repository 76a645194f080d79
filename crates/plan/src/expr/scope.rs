//! The values that expressions may name.
//!
//! A scope is a tree of maps that share what they have in common. So the engine adds the output of one step, and gives
//! each step a scope of its own, without a copy of the others' outputs. minijinja asks for the values that an
//! expression names, and for no others.

use std::fmt;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Enumerator, Object, ObjectRepr, Serde, ValueKind};
use rpds::RedBlackTreeMapSync;
use serde_json::Value as Json;

type Tree = RedBlackTreeMapSync<String, Node>;

/// The values that expressions may name. A clone costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Scope(Tree);

#[derive(Clone, Debug)]
enum Node {
    Map(Tree),
    List(Tree),
    Leaf(Value),
}

impl Scope {
    /// Returns the scope with the entries of a JSON object; of any other value, an empty one.
    pub fn of(values: &Json) -> Self {
        let mut scope = Self::default();
        for (name, value) in values.as_object().into_iter().flatten() {
            scope.set(&[name], value);
        }
        scope
    }

    /// Sets the value at a path. Values on the way to it that are no maps of this scope are replaced by maps.
    pub fn set(&mut self, path: &[&str], value: &Json) {
        self.put(path, Some(Node::Leaf(Value::from(Serde(value)))));
    }

    /// Makes the value at a path an empty map, unless there is one.
    pub fn set_map(&mut self, path: &[&str]) {
        if !matches!(self.node(path), Some(Node::Map(_))) {
            self.put(path, Some(Node::Map(Tree::default())));
        }
    }

    /// Sets the item `key` of the list at a path. The list has its items in the order of their keys.
    pub fn set_item(&mut self, path: &[&str], key: &str, item: &Json) {
        let node = Node::Leaf(Value::from(Serde(item)));
        self.put(
            path,
            Some(Node::List(self.list(path).insert(key.to_owned(), node))),
        );
    }

    /// Removes the item `key` of the list at a path; the list is there afterwards.
    pub fn remove_item(&mut self, path: &[&str], key: &str) {
        self.put(path, Some(Node::List(self.list(path).remove(key))));
    }

    /// Removes the value at a path.
    pub fn remove(&mut self, path: &[&str]) {
        if self.node(path).is_some() {
            self.put(path, None);
        }
    }

    /// Sets the value at a path to a map that stands for its name where a text is needed. The map is the value at
    /// `from`; false if there is none.
    pub fn set_named(&mut self, path: &[&str], name: &str, from: &[&str]) -> bool {
        let fields = match from.split_first() {
            Some((first, rest)) => rest.iter().try_fold(self.values_of(first), |value, name| {
                value?
                    .get_attr(name)
                    .ok()
                    .filter(|found| !found.is_undefined())
                    .map(Some)
            }),
            None => None,
        };
        let Some(Some(fields)) = fields else { return false };
        let name = name.to_owned();
        self.put(path, Some(Node::Leaf(Value::from_object(Named { name, fields }))));
        true
    }

    /// Sets a function.
    pub(super) fn set_function(&mut self, name: &str, function: Value) {
        self.put(&[name], Some(Node::Leaf(function)));
    }

    /// Returns the whole scope as minijinja takes it.
    pub(super) fn values(&self) -> Value {
        Node::Map(self.0.clone()).value()
    }

    fn values_of(&self, name: &str) -> Option<Value> {
        self.0.get(name).map(Node::value)
    }

    fn list(&self, path: &[&str]) -> Tree {
        match self.node(path) {
            Some(Node::List(items)) => items.clone(),
            _ => Tree::default(),
        }
    }

    fn node(&self, path: &[&str]) -> Option<&Node> {
        let (last, way) = path.split_last()?;
        let mut tree = &self.0;
        for name in way {
            match tree.get(*name) {
                Some(Node::Map(inner)) => tree = inner,
                _ => return None,
            }
        }
        tree.get(*last)
    }

    fn put(&mut self, path: &[&str], node: Option<Node>) {
        fn with(tree: &Tree, path: &[&str], node: Option<Node>) -> Tree {
            match (path, node) {
                ([], _) => tree.clone(),
                ([last], Some(node)) => tree.insert((*last).to_owned(), node),
                ([last], None) => tree.remove(*last),
                ([name, rest @ ..], node) => {
                    let empty = Tree::default();
                    let inner = match tree.get(*name) {
                        Some(Node::Map(inner)) => inner,
                        _ => &empty,
                    };
                    tree.insert((*name).to_owned(), Node::Map(with(inner, rest, node)))
                }
            }
        }
        self.0 = with(&self.0, path, node);
    }
}

impl Node {
    fn value(&self) -> Value {
        match self {
            Self::Map(tree) => Value::from_object(Map(tree.clone())),
            Self::List(tree) => Value::from_object(List(tree.clone())),
            Self::Leaf(value) => value.clone(),
        }
    }
}

/// A map of a scope.
#[derive(Debug)]
struct Map(Tree);

impl Object for Map {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_str()?).map(Node::value)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|name| Value::from(name.as_str())).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.0.size())
    }
}

/// A list of a scope.
#[derive(Debug)]
struct List(Tree);

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.values().nth(key.as_usize()?).map(Node::value)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.values().map(Node::value).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.0.size())
    }
}

/// A map that stands for its name where a text is needed.
#[derive(Debug)]
struct Named {
    name: String,
    fields: Value,
}

impl Object for Named {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str() {
            Some("name") => Some(Value::from(self.name.as_str())),
            _ => self
                .fields
                .get_item(key)
                .ok()
                .filter(|found| !found.is_undefined()),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let fields = self.fields.try_iter().into_iter().flatten();
        Enumerator::Values(fields.chain([Value::from("name")]).collect())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Returns the result of an expression as JSON.
pub(super) fn to_json(value: &Value) -> Result<Json, String> {
    if let Some(named) = value.downcast_object_ref::<Named>() {
        return Ok(Json::from(named.name.as_str()));
    }
    if value.kind() == ValueKind::Number && value.as_i64().is_none() && value.is_integer() {
        // What is above the signed numbers of 64 bits, and perhaps above the unsigned ones.
        return u64::try_from(value.clone())
            .map(Json::from)
            .map_err(|_| format!("{value} is a whole number of more than 64 bits"));
    }
    serde_json::to_value(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{evaluate, render};
    use super::*;

    #[test]
    fn a_value_is_found_at_its_path_and_gone_once_it_is_removed() {
        let mut scope = Scope::of(&json!({"params": {"n": 1}}));
        scope.set_map(&["steps", "restore"]);
        assert_eq!(evaluate("steps.restore | length", &scope), Ok(json!(0)));
        scope.set(&["steps", "restore", "a"], &json!({"ok": true}));
        scope.set_map(&["steps", "restore"]);
        let before = scope.clone();
        assert_eq!(
            evaluate("steps.restore['a'].ok and params.n == 1", &scope),
            Ok(json!(true))
        );
        assert_eq!(
            evaluate("steps", &scope),
            Ok(json!({"restore": {"a": {"ok": true}}}))
        );
        scope.remove(&["steps", "restore", "a"]);
        assert_eq!(
            evaluate("steps.restore['a'] is defined", &scope),
            Ok(json!(false))
        );
        assert_eq!(
            evaluate("steps.restore.a.ok", &before),
            Ok(json!(true)),
            "a clone stays as it is"
        );
    }

    #[test]
    fn a_list_has_its_items_in_the_order_of_their_keys() {
        let mut scope = Scope::default();
        scope.set_item(&["run", "failed"], "2", &json!("b"));
        scope.set_item(&["run", "failed"], "1", &json!("a"));
        assert_eq!(evaluate("run.failed", &scope), Ok(json!(["a", "b"])));
        assert_eq!(evaluate("run.failed | join(',')", &scope), Ok(json!("a,b")));
        assert_eq!(evaluate("run.failed[1]", &scope), Ok(json!("b")));
        scope.remove_item(&["run", "failed"], "1");
        scope.remove_item(&["run", "failed"], "2");
        assert_eq!(evaluate("run.failed", &scope), Ok(json!([])));
    }

    #[test]
    fn a_named_map_is_its_name_where_a_text_is_needed() {
        let mut scope = Scope::of(&json!({"system": {"components": {"orders": {"priority": 7}}}}));
        assert!(scope.set_named(&["component"], "orders", &["system", "components", "orders"]));
        assert!(!scope.set_named(&["component"], "x", &["system", "components", "x"]));
        for (text, expect) in [
            ("${{ component }}", json!("orders")),
            ("about ${{ component }}", json!("about orders")),
            ("${{ component.name }}", json!("orders")),
            ("${{ component.priority + 1 }}", json!(8)),
            ("${{ component ~ '!' }}", json!("orders!")),
        ] {
            assert_eq!(render(&json!(text), &scope), Ok(expect), "{text}");
        }
    }

    #[test]
    fn a_whole_number_of_more_than_64_bits_is_refused_and_never_rounded() {
        let scope = Scope::of(&json!({"most": u64::MAX}));
        assert_eq!(evaluate("most", &scope), Ok(json!(u64::MAX)));
        let error = evaluate("most + 1", &scope).unwrap_err().to_string();
        assert!(
            error.contains("18446744073709551616 is a whole number of more than 64 bits"),
            "{error}"
        );
    }
}
