//! From the tree to serde's types, keeping places and speaking plainly: unknown keys are collected with a suggestion,
//! and a wrong type names the key, what was expected and what was found.

use super::error::{ConfigError, Place};
use super::tree::{Key, Kind, Node, Scalar, Value};
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde::forward_to_deserialize_any;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;

const LOCATED: &str = "$located";
const SCALAR: &str = "$scalar";
const LIST: &str = "$list";

/// Decodes a tree; all unknown keys come together, of other errors the first.
pub(super) fn decode<'n, T: Deserialize<'n>>(node: &'n Node) -> Result<T, Vec<ConfigError>> {
    let unknown = RefCell::new(Vec::new());
    let decoded = T::deserialize(Decoder { node, unknown: &unknown });
    let mut errors = unknown.into_inner();
    match decoded {
        Ok(value) if errors.is_empty() => return Ok(value),
        Ok(_) => {}
        Err(error) => errors.push(error.into_config_error(node.place)),
    }
    Err(errors)
}

/// The nearest of the known words, when it is near enough to be a slip.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let reach = if word.chars().count() <= 4 { 1 } else { 3 };
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), candidate), candidate))
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean X`, else the whole list.
pub(super) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            format!("known here: {}", known.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Located<T> {
    pub place: Place,
    pub value: T,
}

/// A text that may be written as a number or a boolean: `"20"` and `20` are the same build argument.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Loose(pub String);

/// A single value stands for a list of one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OneOrMany<T>(pub Vec<T>);

/// A mapping in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entries<T>(pub Vec<(Located<String>, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
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
}

impl<'n, 'c> Decoder<'n, 'c> {
    fn at(self, node: &'n Node) -> Self {
        Self { node, ..self }
    }

    fn mismatch(self, expected: &dyn Expected) -> DecodeError {
        let mut error = DecodeError::new(format!("expected {expected}, found {}", self.node.describe()));
        if let Value::Scalar(Scalar { kind: Kind::Number | Kind::Bool, text }) = &self.node.value
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
                        .hint(suggestion(&key.text, known.iter().copied())),
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

    fn text<V: Visitor<'n>>(self, visitor: V, loose: bool) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Scalar(Scalar { text, kind }) if loose || matches!(kind, Kind::Text | Kind::Resolved) => {
                visitor.visit_str(text).map_err(|error: DecodeError| error.within(self.node.place))
            }
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn number<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Scalar(Scalar { text, kind: Kind::Number | Kind::Resolved }) => match text.parse::<u16>() {
                Ok(number) => visitor.visit_u16(number).map_err(|error: DecodeError| error.within(self.node.place)),
                Err(_) => Err(self.mismatch(&"a whole number below 65536")),
            },
            _ => Err(self.mismatch(&"a whole number")),
        }
    }
}

impl<'n> Deserializer<'n> for Decoder<'n, '_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Null => Err(self.mismatch(&visitor)),
            Value::Scalar(_) => self.text(visitor, false),
            Value::List(items) => self.list(visitor, items),
            Value::Map(_) => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_bool<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Scalar(Scalar { text, kind: Kind::Bool | Kind::Resolved }) => match text.as_str() {
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                _ => Err(self.mismatch(&"`true` or `false`")),
            },
            _ => Err(self.mismatch(&"`true` or `false`")),
        }
    }

    fn deserialize_u16<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.number(visitor)
    }

    fn deserialize_string<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Scalar(Scalar { kind: Kind::Text | Kind::Resolved, .. }) => self.text(visitor, false),
            _ => Err(self.mismatch(&"a text")),
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
            (SCALAR, Value::Scalar(_)) => self.text(visitor, true),
            (SCALAR, _) => Err(self.mismatch(&"a text, a number or a boolean")),
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
            Value::Scalar(Scalar { text, .. }) => visitor
                .visit_enum(text.as_str().into_deserializer())
                .map_err(|error: DecodeError| error.within(self.node.place)),
            _ => {
                let choices: Vec<String> = variants.iter().map(|variant| format!("`{variant}`")).collect();
                Err(self.mismatch(&choices.join(" or ").as_str()))
            }
        }
    }

    forward_to_deserialize_any! {
        <V: Visitor<'n>>
        i8 i16 i32 i64 u8 u32 u64 f32 f64 char str bytes byte_buf unit unit_struct tuple tuple_struct identifier
        ignored_any
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

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Located<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LocatedVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for LocatedVisitor<T> {
            type Value = Located<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value with its place")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut steps: A) -> Result<Located<T>, A::Error> {
                let missing = || de::Error::custom("a value without its place");
                let (_, line) = steps.next_entry::<String, u64>()?.ok_or_else(missing)?;
                let (_, column) = steps.next_entry::<String, u64>()?.ok_or_else(missing)?;
                let (_, value) = steps.next_entry::<String, T>()?.ok_or_else(missing)?;
                Ok(Located { place: Place { line, column }, value })
            }
        }

        deserializer.deserialize_struct(LOCATED, &STEPS, LocatedVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LooseVisitor;

        impl Visitor<'_> for LooseVisitor {
            type Value = Loose;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a boolean")
            }

            fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
                Ok(Loose(text.to_owned()))
            }
        }

        deserializer.deserialize_newtype_struct(SCALAR, LooseVisitor)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMany<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(OneOrMany(list))
            }
        }

        deserializer.deserialize_newtype_struct(LIST, ListVisitor(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Entries<T>, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Entries(map))
            }
        }

        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}
