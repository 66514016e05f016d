//! From the tree to serde's types, keeping places and speaking plainly: unknown keys are collected with a suggestion,
//! and a wrong type names the key, what was expected and what was found.

mod values;

use super::error::{ConfigError, Place};
use super::suggestion::suggestion;
use super::tree::{Key, Kind, Node, Scalar, Value};
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde::forward_to_deserialize_any;
use std::cell::RefCell;
use std::fmt;
pub(super) use values::{Entries, Located, Loose, Number, OneOrMany, Text, Worded, resolved};

const LOCATED: &str = "$located";
const TEXT: &str = "$text";
const SCALAR: &str = "$scalar";
const NUMBER: &str = "$number";
const LIST: &str = "$list";
/// A visitor of it gets a text by `visit_map`, a mapping by `visit_newtype_struct`.
pub(super) const TEXT_OR_MAPPING: &str = "$text-or-mapping";

/// Decodes a whole document, whose environments are taken off; all unknown keys come together, of other errors the first.
pub(super) fn decode<'n, T: Deserialize<'n>>(node: &'n Node) -> Result<T, Vec<ConfigError>> {
    decode_with(node, &["environments"])
}

/// The same of what an environment lays over a document.
pub(super) fn decode_environment<'n, T: Deserialize<'n>>(node: &'n Node) -> Result<T, Vec<ConfigError>> {
    decode_with(node, &[])
}

fn decode_with<'n, T: Deserialize<'n>>(
    node: &'n Node,
    further: &'static [&'static str],
) -> Result<T, Vec<ConfigError>> {
    let unknown = RefCell::new(Vec::new());
    let decoded = T::deserialize(Decoder { node, unknown: &unknown, further });
    let mut errors = unknown.into_inner();
    match decoded {
        Ok(value) if errors.is_empty() => return Ok(value),
        Ok(_) => {}
        Err(error) => errors.push(error.into_config_error(node.place)),
    }
    Err(errors)
}

#[derive(Debug)]
struct DecodeError {
    place: Option<Place>,
    key: Option<String>,
    message: String,
    hint: Option<String>,
}

impl DecodeError {
    fn new(message: String) -> Self {
        Self { place: None, key: None, message, hint: None }
    }

    fn within(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }

    fn of_key(mut self, key: &str) -> Self {
        self.key.get_or_insert_with(|| key.to_owned());
        self
    }

    fn into_config_error(self, root: Place) -> ConfigError {
        let message = match self.key {
            Some(key) => format!("`{key}`: {}", self.message),
            None => self.message,
        };
        ConfigError::at(self.place.unwrap_or(root), message).maybe_hint(self.hint)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {found}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self {
            hint: Some(suggestion(variant, expected.iter().copied())),
            ..Self::new(format!("`{variant}` is not a choice"))
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("`{field}` is missing"))
    }
}

#[derive(Clone, Copy)]
struct Decoder<'n, 'c> {
    node: &'n Node,
    unknown: &'c RefCell<Vec<ConfigError>>,
    /// Keys beside those of the type: they are known, and were taken off before.
    further: &'static [&'static str],
}

impl<'n, 'c> Decoder<'n, 'c> {
    fn at(self, node: &'n Node) -> Self {
        Self { node, further: &[], ..self }
    }

    fn mismatch(self, expected: &dyn Expected) -> DecodeError {
        let mut error = DecodeError::new(format!("expected {expected}, found {}", self.node.describe()));
        if let Value::Scalar(Scalar { kind: Kind::Number | Kind::Bool, text, .. }) = &self.node.value
            && expected.to_string().contains("text")
        {
            error.hint = Some(format!("put it in quotes: \"{text}\""));
        }
        error.within(self.node.place)
    }

    fn map<V: Visitor<'n>>(self, visitor: V, known: Option<&'static [&'static str]>) -> Result<V::Value, DecodeError> {
        let entries: &[(Key, Node)] = match &self.node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            _ => return Err(self.mismatch(&"a mapping")),
        };
        if let Some(known) = known {
            for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.text.as_str())) {
                self.unknown.borrow_mut().push(
                    ConfigError::at(key.place, format!("unknown key `{}`", super::tree::shown(&key.text)))
                        .hint(suggestion(&key.text, known.iter().chain(self.further).copied())),
                );
            }
        }
        visitor
            .visit_map(EntriesOf { decoder: self, entries: entries.iter(), known, next: None })
            .map_err(|error| error.within(self.node.place))
    }

    fn list<V: Visitor<'n>>(self, visitor: V, items: &'n [Node]) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(ItemsOf { decoder: self, items: items.iter() }).map_err(|error| error.within(self.node.place))
    }

    /// A text with what it was written as.
    fn resolved<V: Visitor<'n>>(self, kind: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        let scalar = match &self.node.value {
            Value::Scalar(scalar) => scalar,
            _ => return Err(self.mismatch(&expected(kind))),
        };
        match (kind, scalar.kind) {
            (SCALAR, _) | (TEXT, Kind::Text) | (NUMBER, Kind::Number) | (_, Kind::Resolved) => {}
            _ => return Err(self.mismatch(&expected(kind))),
        }
        if kind == NUMBER && scalar.text.parse::<u16>().is_err() {
            return Err(self.mismatch(&"a whole number below 65536"));
        }
        visitor.visit_map(WrittenAndValue { scalar, step: 0 }).map_err(|error| error.within(self.node.place))
    }
}

impl<'n> Deserializer<'n> for Decoder<'n, '_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Null => Err(self.mismatch(&visitor)),
            Value::Scalar(scalar) if matches!(scalar.kind, Kind::Text | Kind::Resolved) => {
                visitor.visit_map(WrittenAndValue { scalar, step: 0 }).map_err(|error| error.within(self.node.place))
            }
            Value::List(items) => self.list(visitor, items),
            Value::Scalar(_) | Value::Map(_) => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_bool<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Scalar(Scalar { text, kind: Kind::Bool | Kind::Resolved, .. }) => match text.as_str() {
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                _ => Err(self.mismatch(&"`true` or `false`")),
            },
            _ => Err(self.mismatch(&"`true` or `false`")),
        }
    }

    fn deserialize_option<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'n>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match (name, &self.node.value) {
            (TEXT_OR_MAPPING, Value::Scalar(scalar)) if matches!(scalar.kind, Kind::Text | Kind::Resolved) => {
                visitor.visit_map(WrittenAndValue { scalar, step: 0 }).map_err(|error| error.within(self.node.place))
            }
            (TEXT_OR_MAPPING, Value::Map(_) | Value::Null) => visitor.visit_newtype_struct(self),
            (TEXT_OR_MAPPING, _) => Err(self.mismatch(&visitor)),
            (LIST, Value::Scalar(_)) => self.list(visitor, std::slice::from_ref(self.node)),
            (LIST, Value::List(items)) => self.list(visitor, items),
            (LIST, _) => Err(self.mismatch(&"a text or a list")),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::List(items) => self.list(visitor, items),
            _ => Err(self.mismatch(&"a list")),
        }
    }

    fn deserialize_map<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.map(visitor, None)
    }

    fn deserialize_struct<V: Visitor<'n>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match name {
            LOCATED => visitor.visit_map(PlaceAndValue { decoder: self, step: 0 }),
            TEXT | SCALAR | NUMBER => self.resolved(name, visitor),
            _ => self.map(visitor, Some(fields)),
        }
    }

    fn deserialize_enum<V: Visitor<'n>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Scalar(scalar) => {
                visitor.visit_enum(scalar.text.as_str().into_deserializer()).map_err(|error: DecodeError| {
                    match &scalar.written {
                        // How near a value is to a choice says something of the value.
                        Some(written) => DecodeError {
                            hint: Some(suggestion("", variants.iter().copied())),
                            ..DecodeError::new(format!("`{written}` is not a choice"))
                        },
                        None => error,
                    }
                    .within(self.node.place)
                })
            }
            _ => {
                let choices: Vec<String> = variants.iter().map(|variant| format!("`{variant}`")).collect();
                Err(self.mismatch(&choices.join(" or ").as_str()))
            }
        }
    }

    forward_to_deserialize_any! {
        <V: Visitor<'n>>
        i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct
        identifier ignored_any
    }
}

struct ItemsOf<'n, 'c> {
    decoder: Decoder<'n, 'c>,
    items: std::slice::Iter<'n, Node>,
}

impl<'n> SeqAccess<'n> for ItemsOf<'n, '_> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'n>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        self.items.next().map(|item| seed.deserialize(self.decoder.at(item))).transpose()
    }
}

struct EntriesOf<'n, 'c> {
    decoder: Decoder<'n, 'c>,
    entries: std::slice::Iter<'n, (Key, Node)>,
    /// The keys of a struct; unknown ones were reported and are passed over.
    known: Option<&'static [&'static str]>,
    next: Option<(&'n Key, &'n Node)>,
}

impl<'n> MapAccess<'n> for EntriesOf<'n, '_> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'n>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let known = self.known;
        let next = self.entries.find(|(key, _)| known.is_none_or(|known| known.contains(&key.text.as_str())));
        self.next = next.map(|(key, node)| (key, node));
        self.next.map(|(key, _)| seed.deserialize(KeyDecoder(key))).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'n>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        match self.next.take() {
            Some((key, node)) => seed.deserialize(self.decoder.at(node)).map_err(|error| error.of_key(&key.text)),
            None => Err(de::Error::custom("a value without a key")),
        }
    }
}

struct KeyDecoder<'n>(&'n Key);

impl<'n> Deserializer<'n> for KeyDecoder<'n> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_str(&self.0.text)
    }

    fn deserialize_struct<V: Visitor<'n>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_map(PlaceAndKey { key: self.0, step: 0 })
    }

    forward_to_deserialize_any! {
        <V: Visitor<'n>>
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

const STEPS: [&str; 3] = ["line", "column", "value"];

/// What [`Located`] asks for: line, column, then the value itself.
struct PlaceAndValue<'n, 'c> {
    decoder: Decoder<'n, 'c>,
    step: usize,
}

impl<'n> MapAccess<'n> for PlaceAndValue<'n, '_> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'n>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let name = STEPS.get(self.step).copied();
        self.step += 1;
        name.map(|name| seed.deserialize(name.into_deserializer())).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'n>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        let place = self.decoder.node.place;
        match self.step {
            1 => seed.deserialize(place.line.into_deserializer()),
            2 => seed.deserialize(place.column.into_deserializer()),
            _ => seed.deserialize(self.decoder),
        }
    }
}

/// What [`Text`] and its like ask for.
struct WrittenAndValue<'n> {
    scalar: &'n Scalar,
    step: usize,
}

const WRITTEN: [&str; 3] = ["written", "value", "has-reference"];

impl<'n> MapAccess<'n> for WrittenAndValue<'n> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'n>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let name = WRITTEN.get(self.step).copied();
        self.step += 1;
        name.map(|name| seed.deserialize(name.into_deserializer())).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'n>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        match self.step {
            1 => seed.deserialize(self.scalar.written().into_deserializer()),
            2 => seed.deserialize(self.scalar.text.as_str().into_deserializer()),
            _ => seed.deserialize(self.scalar.written.is_some().into_deserializer()),
        }
    }
}

/// How the kinds of [`Decoder::resolved`] are called.
fn expected(kind: &str) -> &'static str {
    match kind {
        TEXT => "a text",
        NUMBER => "a whole number",
        _ => "a text, a number or a boolean",
    }
}

struct PlaceAndKey<'n> {
    key: &'n Key,
    step: usize,
}

impl<'n> MapAccess<'n> for PlaceAndKey<'n> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'n>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let name = STEPS.get(self.step).copied();
        self.step += 1;
        name.map(|name| seed.deserialize(name.into_deserializer())).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'n>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        match self.step {
            1 => seed.deserialize(self.key.place.line.into_deserializer()),
            2 => seed.deserialize(self.key.place.column.into_deserializer()),
            _ => seed.deserialize(KeyDecoder(self.key)),
        }
    }
}
