//! The text of the configuration file and where in it each value stands.
//!
//! Takes the text, gives the parsed tree with positions, or the one fault that makes it no JSON. Strict: no
//! comments, no trailing commas, no key twice. The excerpt of a fault shows keys only, since the value beside
//! the fault may be a secret.

use std::collections::BTreeMap;

use jsonc_parser::CollectOptions;
use jsonc_parser::ParseOptions;
use jsonc_parser::ast::Value;
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseError;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::parse_to_ast;
use serde::de::IgnoredAny;

use crate::config::path::JsonPath;
use crate::config::problem::Problem;

/// A place in a text file, both counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A parsed file.
#[derive(Debug)]
pub struct Document<'t> {
    text: &'t str,
    root: Value<'t>,
    /// Of each value, where its key (if it has one) and itself begin, in bytes.
    places: BTreeMap<JsonPath, Place>,
    /// The keys that are written twice in one object, with the bytes at which the first and the second begin.
    repeated: Vec<(JsonPath, usize, usize)>,
}

/// Where a value begins, in bytes.
#[derive(Debug, Clone, Copy)]
struct Place {
    key: usize,
    value: usize,
}

const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

impl<'t> Document<'t> {
    /// Parses strict JSON.
    ///
    /// # Errors
    /// The first fault of the JSON, with line, column and excerpt.
    pub fn parse(text: &'t str) -> Result<Self, Problem> {
        let root = parse_to_ast(text, &CollectOptions::default(), &STRICT)
            .map_err(|error| fault(text, error.range().start, explain(&error)))?
            .value
            .ok_or_else(|| fault(text, 0, "the file is empty: write an object `{…}`".to_owned()))?;
        // jsonc-parser lets a few things pass that JSON forbids, such as a line break within a string.
        if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
            let offset = line_start(text, error.line()) + error.column().saturating_sub(1);
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            return Err(fault(text, offset, format!("this is not JSON: {reason}")));
        }
        let mut document = Self { text, places: BTreeMap::new(), repeated: Vec::new(), root };
        let (mut places, mut repeated) = (BTreeMap::new(), Vec::new());
        locate(&document.root, document.root.start(), JsonPath::root(), &mut places, &mut repeated);
        document.places = places;
        document.repeated = repeated;
        Ok(document)
    }

    /// The tree.
    pub const fn root(&self) -> &Value<'t> {
        &self.root
    }

    /// Each key that repeats an earlier one of its object, with the position of the earlier and of itself.
    pub fn repeated_keys(&self) -> impl Iterator<Item = (&JsonPath, Position, Position)> {
        let position = |offset| position_of(self.text, offset);
        self.repeated.iter().map(move |(path, first, second)| (path, position(*first), position(*second)))
    }

    /// Where the value at `path` begins, or for one that is not there, the innermost object or list around it.
    pub fn position(&self, path: &JsonPath) -> Position {
        position_of(self.text, self.place(path).map_or(0, |place| place.value))
    }

    /// Where the key at the end of `path` begins.
    pub fn key_position(&self, path: &JsonPath) -> Position {
        position_of(self.text, self.place(path).map_or(0, |place| place.key))
    }

    fn place(&self, path: &JsonPath) -> Option<Place> {
        match self.places.get(path) {
            Some(place) => Some(*place),
            None => self.place(&path.parent()?),
        }
    }
}

fn locate(
    value: &Value<'_>,
    key: usize,
    path: JsonPath,
    places: &mut BTreeMap<JsonPath, Place>,
    repeated: &mut Vec<(JsonPath, usize, usize)>,
) {
    match value {
        Value::Object(object) => {
            for property in &object.properties {
                let inner = path.key(property.name.as_str());
                if let Some(first) = places.get(&inner) {
                    repeated.push((inner, first.key, property.start()));
                } else {
                    locate(&property.value, property.start(), inner, places, repeated);
                }
            }
        }
        Value::Array(array) => {
            for (index, element) in array.elements.iter().enumerate() {
                locate(element, element.start(), path.index(index), places, repeated);
            }
        }
        Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) | Value::NullKeyword(_) => {}
    }
    places.insert(path, Place { key, value: value.start() });
}

/// What a fault means to a person who writes a configuration, and the way out.
fn explain(error: &ParseError) -> String {
    match error.kind() {
        ParseErrorKind::CommentsNotAllowed => "JSON has no comments: remove it".to_owned(),
        ParseErrorKind::TrailingCommasNotAllowed => {
            "this comma is followed by nothing: remove it".to_owned()
        }
        ParseErrorKind::ExpectedComma => "a comma is missing here".to_owned(),
        ParseErrorKind::ExpectedColonAfterObjectKey => "a colon is missing behind this key".to_owned(),
        ParseErrorKind::ExpectedObjectValue => "a value is missing behind this colon".to_owned(),
        ParseErrorKind::ExpectedStringObjectProperty => "a key is written in double quotes".to_owned(),
        ParseErrorKind::SingleQuotedStringsNotAllowed => "a text is written in double quotes".to_owned(),
        ParseErrorKind::UnexpectedWord => {
            "this is no JSON value: a text is written in double quotes, and the only words are `true`, `false` \
             and `null`"
                .to_owned()
        }
        ParseErrorKind::UnterminatedObject => "this `{` is never closed by a `}`".to_owned(),
        ParseErrorKind::UnterminatedArray => "this `[` is never closed by a `]`".to_owned(),
        ParseErrorKind::MultipleRootJsonValues => {
            "the file goes on behind its end: one object `{…}` is all it may hold".to_owned()
        }
        ParseErrorKind::String(kind) => match kind {
            jsonc_parser::ParseStringErrorKind::UnterminatedStringLiteral => {
                "this text is never closed by a double quote".to_owned()
            }
            _ => "this escape is not known: a backslash is written `\\\\`".to_owned(),
        },
        kind => {
            let reason = kind.to_string();
            let mut letters = reason.chars();
            let first = letters.next().map(|c| c.to_ascii_lowercase());
            format!("this is not JSON: {}", first.into_iter().chain(letters).collect::<String>())
        }
    }
}

fn fault(text: &str, offset: usize, message: String) -> Problem {
    let position = position_of(text, offset);
    Problem { position: Some(position), path: String::new(), message, excerpt: Some(excerpt(text, position)) }
}

/// The line at `position` with a caret below it. Everything but structure and keys is masked.
fn excerpt(text: &str, position: Position) -> String {
    const BEFORE: usize = 60;
    const WIDTH: usize = 100;
    let line = text.lines().nth(position.line - 1).unwrap_or_default();
    let skipped = (position.column - 1).saturating_sub(BEFORE);
    let shown: String = masked(line).chars().skip(skipped).take(WIDTH).collect();
    let margin = position.line.to_string();
    let blank = " ".repeat(margin.len());
    let indent = " ".repeat(position.column - 1 - skipped);
    format!("  {margin} | {shown}\n  {blank} | {indent}^")
}

/// The line with every character replaced that could belong to a value: only white space, brackets, commas,
/// colons, quotes and whole keys (`"key":`) stay.
fn masked(line: &str) -> String {
    let mask = |c: char| if c.is_whitespace() || "{}[]:,".contains(c) { c } else { '*' };
    let is_word = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let parts: Vec<&str> = line.split('"').collect();
    let shown = parts.iter().enumerate().map(|(index, part)| {
        let behind = parts.get(index + 1).copied().unwrap_or_default();
        let is_key = index % 2 == 1 && behind.trim_start().starts_with(':') && is_word(part);
        if is_key { (*part).to_owned() } else { part.chars().map(mask).collect() }
    });
    shown.collect::<Vec<String>>().join("\"")
}

fn position_of(text: &str, offset: usize) -> Position {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Position {
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
    }
}

/// The byte at which the line begins, counted from 1.
fn line_start(text: &str, line: usize) -> usize {
    text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum()
}
