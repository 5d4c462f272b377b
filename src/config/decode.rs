//! The parsed file → the written structs, finding every wrong key and type on the way.
//!
//! A serde deserializer over the tree with positions. The structs stop at the first fault, so a refused value
//! is left out and the rest is read again, until nothing is refused. Pure.

use std::collections::BTreeSet;

use jsonc_parser::ast::ObjectProp;
use jsonc_parser::ast::Value;
use serde::Deserialize;
use serde::de;
use serde::de::DeserializeSeed;
use serde::de::IntoDeserializer;
use serde::de::Unexpected;
use serde::de::Visitor;

use crate::config::Config;
use crate::config::path::JsonPath;
use crate::config::position::Document;
use crate::config::problem::Problems;
use crate::config::refusal::Refusal;
use crate::config::refusal::Spot;
use crate::config::suggest;

/// After so many faults the rest is not looked for: each costs a reading of the whole file.
const MOST_FAULTS: usize = 100;

/// Reads what can be read, and puts what cannot into `problems`. `None` if nothing can: the file is no object.
pub fn decode(document: &Document<'_>, problems: &mut Problems<'_>) -> Option<Config> {
    for (path, first, second) in document.repeated_keys() {
        problems.refuse_repeated(path, first, second);
    }
    let mut left_out = BTreeSet::new();
    loop {
        let root = Node { value: document.root(), path: JsonPath::root(), left_out: &left_out };
        let refusal = match Config::deserialize(root) {
            Ok(config) => {
                problems.leave_out(left_out);
                return Some(config);
            }
            Err(refusal) => refusal,
        };
        let path = refusal.path.unwrap_or_default();
        match refusal.spot {
            Spot::Key { meant } => {
                problems.refuse_key(&path, refusal.message);
                // Whoever meant `token` by `tokn` need not be told that `token` is missing.
                if let (Some(meant), Some(object)) = (meant, path.parent()) {
                    problems.excuse(object.key(meant));
                }
            }
            Spot::Value => problems.refuse(&path, refusal.message),
        }
        if path == JsonPath::root() || !left_out.insert(path) {
            return None;
        }
        if left_out.len() == MOST_FAULTS {
            let message = format!("{MOST_FAULTS} keys and types are wrong: what else may be is not told");
            problems.refuse_key(&JsonPath::root(), message);
            return None;
        }
    }
}

/// A value of the tree, with its path, and the paths that are to be passed over.
#[derive(Clone)]
struct Node<'a> {
    value: &'a Value<'a>,
    path: JsonPath,
    left_out: &'a BTreeSet<JsonPath>,
}

impl<'a> Node<'a> {
    fn inner(&self, value: &'a Value<'a>, path: JsonPath) -> Self {
        Self { value, path, left_out: self.left_out }
    }

    fn elements(&self, elements: &'a [Value<'a>]) -> impl Iterator<Item = Self> {
        let numbered = elements.iter().enumerate().map(|(i, value)| self.inner(value, self.path.index(i)));
        numbered.filter(|node| !node.left_out.contains(&node.path))
    }

    fn properties(&self, properties: &'a [ObjectProp<'a>]) -> impl Iterator<Item = (&'a str, Self)> {
        let named = properties.iter().enumerate().filter_map(|(place, property)| {
            let key = property.name.as_str();
            let is_repeated = properties.iter().take(place).any(|earlier| earlier.name.as_str() == key);
            (!is_repeated).then(|| (key, self.inner(&property.value, self.path.key(key))))
        });
        named.filter(|(_, node)| !node.left_out.contains(&node.path))
    }
}

impl<'de> de::Deserializer<'de> for Node<'_> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let path = self.path.clone();
        let read = match self.value {
            Value::StringLit(text) => visitor.visit_str(&text.value),
            Value::BooleanLit(truth) => visitor.visit_bool(truth.value),
            Value::NullKeyword(_) => visitor.visit_unit(),
            Value::NumberLit(number) => {
                match (number.value.parse(), number.value.parse(), number.value.parse()) {
                    (Ok(unsigned), _, _) => visitor.visit_u64(unsigned),
                    (_, Ok(signed), _) => visitor.visit_i64(signed),
                    (_, _, Ok(fraction)) => visitor.visit_f64(fraction),
                    (Err(_), Err(_), Err(_)) => Err(de::Error::custom("this is not a number")),
                }
            }
            Value::Array(array) => {
                let elements = self.elements(&array.elements).collect::<Vec<_>>().into_iter();
                visitor.visit_seq(Elements(elements))
            }
            Value::Object(object) => {
                let properties = self.properties(&object.properties).collect::<Vec<_>>().into_iter();
                visitor.visit_map(Properties { properties, value: None })
            }
        };
        read.map_err(|refusal: Refusal| refusal.at(&path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.value {
            Value::NullKeyword(_) => visitor.visit_none(),
            Value::StringLit(_)
            | Value::BooleanLit(_)
            | Value::NumberLit(_)
            | Value::Array(_)
            | Value::Object(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let path = self.path.clone();
        visitor.visit_newtype_struct(self).map_err(|refusal| refusal.at(&path))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match self.value {
            Value::StringLit(text) => {
                let word: de::value::StrDeserializer<'_, Refusal> = text.value.as_ref().into_deserializer();
                visitor.visit_enum(word).map_err(|refusal| refusal.at(&self.path))
            }
            Value::BooleanLit(_)
            | Value::NumberLit(_)
            | Value::NullKeyword(_)
            | Value::Array(_)
            | Value::Object(_) => {
                Err(Refusal::new(Spot::Value, format!("expected {}", suggest::one_of(words))).at(&self.path))
            }
        }
    }

    /// Objects only: a derived struct would take a list of its fields too.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match self.value {
            Value::Array(_) => {
                Err(<Refusal as de::Error>::invalid_type(Unexpected::Seq, &"a map").at(&self.path))
            }
            Value::StringLit(_)
            | Value::BooleanLit(_)
            | Value::NumberLit(_)
            | Value::NullKeyword(_)
            | Value::Object(_) => self.deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

/// The elements of a list that are still to be read.
struct Elements<'a>(std::vec::IntoIter<Node<'a>>);

impl<'de> de::SeqAccess<'de> for Elements<'_> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        let Some(node) = self.0.next() else { return Ok(None) };
        let path = node.path.clone();
        seed.deserialize(node).map(Some).map_err(|refusal| refusal.at(&path))
    }
}

/// The properties of an object that are still to be read, and the value of the one whose key was read last.
struct Properties<'a> {
    properties: std::vec::IntoIter<(&'a str, Node<'a>)>,
    value: Option<Node<'a>>,
}

impl<'de> de::MapAccess<'de> for Properties<'_> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        let Some((key, node)) = self.properties.next() else { return Ok(None) };
        let path = node.path.clone();
        self.value = Some(node);
        let key: de::value::StrDeserializer<'_, Refusal> = key.into_deserializer();
        seed.deserialize(key).map(Some).map_err(|refusal| refusal.at(&path))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        let Some(node) = self.value.take() else { return Err(de::Error::custom("a value without a key")) };
        let path = node.path.clone();
        seed.deserialize(node).map_err(|refusal| refusal.at(&path))
    }
}
