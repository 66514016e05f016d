//! The document as a tree in which every value knows its place. Environments are overlaid and references resolved on
//! it, before any type is asked for, so that an error of the result still points into the file.

use super::error::{ConfigError, Place};
use super::suggestion::nearest;
use fargate_deploy_core::resolved::Resolved;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::granit_parser::{Scanner, StrInput, TokenType};
use serde_saphyr::{Location, Spanned};
use std::fmt;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scalar {
    /// As written: `1.10` stays `1.10`. Of one that held references: what they stand for.
    pub text: String,
    pub kind: Kind,
    /// With its references, where it held some: what is shown of it.
    pub written: Option<String>,
}

impl Scalar {
    pub fn new(text: impl Into<String>, kind: Kind) -> Self {
        Self { text: text.into(), kind, written: None }
    }

    pub fn resolved(&self) -> Resolved {
        match &self.written {
            Some(written) => Resolved::of(written, &self.text),
            None => Resolved::plain(&self.text),
        }
    }

    /// As it stands in the file.
    pub fn written(&self) -> &str {
        self.written.as_ref().unwrap_or(&self.text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Bool,
    /// Held a reference: whatever its text can be read as.
    Resolved,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub place: Place,
    pub text: String,
}

impl Node {
    /// Reads one YAML document. Nesting is bounded, so that no input exhausts the stack.
    pub fn parse(source: &str) -> Result<Self, ConfigError> {
        without_tags(source)?;
        let options = serde_saphyr::options! {
            strict_booleans: true,
            with_snippet: false,
            budget: serde_saphyr::budget! { max_depth: 24, max_nodes: 50_000 },
        };
        match serde_saphyr::from_str_with_options::<Spanned<Raw>>(source, options) {
            Ok(raw) => Ok(Self::from_raw(raw, &Source::new(source))),
            Err(error) => Err(from_yaml(&error)),
        }
    }

    pub fn empty() -> Self {
        Self { place: Place::default(), value: Value::Map(Vec::new()) }
    }

    pub fn text(place: Place, text: impl Into<String>) -> Self {
        Self { place, value: Value::Scalar(Scalar::new(text, Kind::Text)) }
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|(k, _)| k.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Adds a key that is not there.
    pub fn put(&mut self, key: Key, node: Node) {
        if let Value::Map(entries) = &mut self.value {
            entries.push((key, node));
        }
    }

    /// A key as it stands in a mapping.
    pub fn key(&self, key: &str) -> Option<&Key> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(key, _)| key),
            _ => None,
        }
    }

    pub fn as_resolved(&self) -> Option<Resolved> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar.resolved()),
            _ => None,
        }
    }

    /// Takes a key off a mapping.
    pub fn take(&mut self, key: &str) -> Option<(Key, Node)> {
        match &mut self.value {
            Value::Map(entries) => {
                let index = entries.iter().position(|(k, _)| k.text == key)?;
                Some(entries.remove(index))
            }
            _ => None,
        }
    }

    /// Lays `over` on top: mappings are merged key by key, `null` takes a key away, everything else replaces.
    pub fn overlay(&mut self, over: Node) {
        match (&mut self.value, over.value) {
            (Value::Map(base), Value::Map(over)) => {
                for (key, node) in over {
                    let known = base.iter().position(|(k, _)| k.text == key.text);
                    match (known, &node.value) {
                        (Some(index), Value::Null) => {
                            base.remove(index);
                        }
                        (Some(index), _) => base[index].1.overlay(node),
                        (None, _) => base.push((key, node)),
                    }
                }
            }
            (_, value) => *self = Node { place: over.place, value },
        }
    }

    /// What `over` takes away that is not there: it would add an empty one instead.
    pub fn not_there(&self, over: &Node, errors: &mut Vec<ConfigError>) {
        let Value::Map(entries) = &over.value else { return };
        for (key, node) in entries {
            match (self.get(&key.text), &node.value) {
                (None, Value::Null) => {
                    let known = match &self.value {
                        Value::Map(entries) => entries.iter().map(|(key, _)| key.text.as_str()).collect(),
                        _ => Vec::new(),
                    };
                    let message = format!("`{}`: nothing of this name is there to be taken away", shown(&key.text));
                    errors.push(ConfigError::at(key.place, message).hint(match nearest(&key.text, known) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "in an environment an empty value takes a key away; leave the key out, or give it a value".to_owned(),
                    }));
                }
                (None, Value::Map(_)) => Self::empty().not_there(node, errors),
                (None, _) => {}
                (Some(base), _) => base.not_there(node, errors),
            }
        }
    }

    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Scalar(scalar) => match scalar.kind {
                Kind::Text | Kind::Resolved => format!("the text `{}`", shown(scalar.written())),
                Kind::Number => format!("the number `{}`", shown(&scalar.text)),
                Kind::Bool => format!("`{}`", scalar.text),
            },
        }
    }

    fn from_raw(raw: Spanned<Raw>, source: &Source) -> Self {
        let location = best(raw.defined, raw.referenced);
        let scalar =
            |kind, fallback: String| Value::Scalar(Scalar::new(source.slice(&location).unwrap_or(fallback), kind));
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Text(text) => Value::Scalar(Scalar::new(text, Kind::Text)),
            Raw::Number(fallback) => scalar(Kind::Number, fallback),
            Raw::Bool(value) => Value::Scalar(Scalar::new(value.to_string(), Kind::Bool)),
            Raw::List(items) => Value::List(items.into_iter().map(|item| Self::from_raw(item, source)).collect()),
            Raw::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, node)| {
                        let place = place(best(key.defined, key.referenced));
                        (Key { place, text: key.value }, Self::from_raw(node, source))
                    })
                    .collect(),
            ),
        };
        Self { place: place(location), value }
    }
}

/// At most 60 characters of a text, on one line, for a message.
pub(super) fn shown(text: &str) -> String {
    let line: String = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(60).is_some() { format!("{line}…") } else { line }
}

/// A tag changes what a value is, or nothing at all, by the reader: `!true` alone is an empty value with a tag. Nothing of
/// a config needs one.
fn without_tags(source: &str) -> Result<(), ConfigError> {
    // The file's own mark of its encoding is no part of the first line.
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    for token in Scanner::new(StrInput::new(source)) {
        // What cannot be read is said by the reader, with its reason.
        let Ok(token) = token else { return Ok(()) };
        if let TokenType::Tag(handle, suffix) = token.token_type() {
            let start = token.span().start;
            let place = Place { line: start.line() as u64, column: start.col() as u64 + 1 };
            let error = ConfigError::at(
                place,
                format!("`{}`: YAML tags mean nothing here", shown(&as_written(handle, suffix))),
            );
            return Err(error.hint("leave the tag out; a text that begins with `!` is put in quotes"));
        }
    }
    Ok(())
}

fn as_written(handle: &str, suffix: &str) -> String {
    match handle {
        // Verbatim, or a prefix of its own.
        "" => format!("!<{suffix}>"),
        "tag:yaml.org,2002:" => format!("!!{suffix}"),
        handle => format!("{handle}{suffix}"),
    }
}

/// The YAML library's own finding, in one line.
fn from_yaml(error: &serde_saphyr::Error) -> ConfigError {
    let at = error.location().map(place).unwrap_or(Place { line: 1, column: 1 });
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default();
    // Places are told apart from the message, and the library's own settings are not the reader's.
    let text = [" at line ", ", set DuplicateKeyPolicy"]
        .iter()
        .fold(text, |text, tail| text.find(tail).map_or(text, |end| &text[..end]));
    ConfigError::at(at, format!("not a valid document: {text}"))
}

fn best(defined: Location, referenced: Location) -> Location {
    if defined == Location::UNKNOWN { referenced } else { defined }
}

fn place(location: Location) -> Place {
    Place { line: location.line(), column: location.column() }
}

/// The document by characters, which is how locations count.
struct Source(Vec<char>);

impl Source {
    fn new(text: &str) -> Self {
        Self(text.chars().collect())
    }

    fn slice(&self, location: &Location) -> Option<String> {
        let span = location.span();
        let start = usize::try_from(span.offset()).ok()?;
        let end = start.checked_add(usize::try_from(span.len()).ok()?)?;
        let text: String = self.0.get(start..end)?.iter().collect();
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

enum Raw {
    Null,
    Text(String),
    Number(String),
    Bool(bool),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}
