//! Why a value of the configuration was not read: serde's complaints in the words of who writes one. Pure.

use std::fmt;

use serde::de;
use serde::de::Expected;
use serde::de::Unexpected;

use crate::config::path::JsonPath;
use crate::config::suggest;

/// Why a value was not read. Quotes no value of a wrong type, since it may be a secret in the wrong place.
#[derive(Debug)]
pub struct Refusal {
    /// The refused value; not yet known where the error is made.
    pub path: Option<JsonPath>,
    /// What of it is wrong.
    pub spot: Spot,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// What of a key and its value is wrong.
#[derive(Debug, Clone, Copy)]
pub enum Spot {
    /// The key, which is not known; the key that was probably meant.
    Key { meant: Option<&'static str> },
    /// The value.
    Value,
}

impl Refusal {
    /// A refusal of a value whose path is not known yet.
    pub fn new(spot: Spot, message: String) -> Self {
        Self { path: None, spot, message }
    }

    /// The innermost value around the fault counts.
    pub fn at(mut self, path: &JsonPath) -> Self {
        self.path.get_or_insert_with(|| path.clone());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Spot::Value, message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = match expected.to_string() {
            text if text.starts_with("struct ") || text == "a map" => "an object `{…}`".to_owned(),
            text if text == "a sequence" => "a list `[…]`".to_owned(),
            text if text == "u16" || text == "u32" => "a whole number".to_owned(),
            text => text,
        };
        let (found, way_out) = match found {
            Unexpected::Bool(_) if expected == "a string" => ("a truth value", ": put it in double quotes"),
            Unexpected::Bool(_) => ("a truth value", ""),
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_)
                if expected == "a string" =>
            {
                ("a number", ": put it in double quotes")
            }
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => ("a number", ""),
            Unexpected::Float(_) => ("a fraction", ""),
            Unexpected::Str(_) if expected == "a whole number" => ("a string", ": leave the quotes out"),
            Unexpected::Str(_) => ("a string", ""),
            Unexpected::Unit => ("`null`", ": leave the key out to have its default"),
            Unexpected::Seq => ("a list", ""),
            Unexpected::Map => ("an object", ""),
            _ => ("something else", ""),
        };
        Self::new(Spot::Value, format!("expected {expected}, found {found}{way_out}"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match expected.to_string().as_str() {
            // The only 16-bit numbers here are ports.
            "u16" => Self::custom("a port is a number from 1 to 65535"),
            "u32" => Self::custom(format!("expected a whole number from 0 to {}", u32::MAX)),
            _ => Self::invalid_type(found, expected),
        }
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::custom(suggest::unknown_word(word, known))
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::new(Spot::Key { meant: suggest::closest(key, known) }, suggest::unknown_key(key, known))
    }
}
