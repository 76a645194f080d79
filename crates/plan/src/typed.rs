//! Turns a tree that was read into a type, without a copy of the tree as JSON in between: a workflow may have 100,000 steps.

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Error;

use crate::diagnostic::Sink;
use crate::yaml::{Key, Kind, Node};

/// Returns the type of a tree that was read.
pub(crate) fn typed<T: DeserializeOwned>(node: &Node, sink: &mut Sink<'_>) -> Option<T> {
    T::deserialize(node)
        .map_err(|error| sink.error(node.span, format!("cannot be read: {error}"), None))
        .ok()
}

fn named((key, node): &(Key, Node)) -> (&str, &Node) {
    (&key.text, node)
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.kind {
            Kind::Scalar { value, .. } => value.deserialize_any(visitor),
            Kind::List(items) => SeqDeserializer::new(items.iter()).deserialize_any(visitor),
            Kind::Map(entries) => MapDeserializer::new(entries.iter().map(named)).deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.is_null() {
            true => visitor.visit_none(),
            false => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.kind {
            Kind::Map(entries) => {
                let map = MapDeserializer::new(entries.iter().map(named));
                MapAccessDeserializer::new(map).deserialize_enum(name, variants, visitor)
            }
            Kind::Scalar { value, .. } => value.deserialize_enum(name, variants, visitor),
            Kind::List(_) => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Error> for &'de Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
