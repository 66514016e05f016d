//! What the types of the file are made of: values with their places, texts with what was written.

use super::super::error::Place;
use super::{LIST, LOCATED, NUMBER, SCALAR, STEPS, TEXT, WRITTEN, expected};
use fargate_deploy_core::resolved::Resolved;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) struct Located<T> {
    pub place: Place,
    pub value: T,
}

/// A text, shown as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) struct Text(pub Resolved);

/// A text that may be written as a number or a boolean: `"20"` and `20` are the same build argument.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) struct Loose(pub Resolved);

/// A whole number below 65536.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) struct Number(pub Resolved);

/// What a message says of a value, and what the value is.
pub(in crate::config) trait Worded {
    fn place(&self) -> Place;
    /// At most 60 characters of it, as it is written.
    fn shown(&self) -> String;
    /// Its references resolved.
    fn value(&self) -> &str;
}

impl Worded for Located<String> {
    fn place(&self) -> Place {
        self.place
    }

    fn shown(&self) -> String {
        super::super::tree::shown(&self.value)
    }

    fn value(&self) -> &str {
        &self.value
    }
}

macro_rules! worded {
    ($($kind:ident),+) => {$(
        impl Worded for Located<$kind> {
            fn place(&self) -> Place {
                self.place
            }

            fn shown(&self) -> String {
                super::super::tree::shown(self.value.0.written())
            }

            fn value(&self) -> &str {
                self.value.0.value()
            }
        }
    )+};
}

worded!(Text, Loose, Number);

/// A single value stands for a list of one.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) struct OneOrMany<T>(pub Vec<T>);

/// A mapping in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) struct Entries<T>(pub Vec<(Located<String>, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
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

struct ResolvedVisitor(&'static str);

impl<'de> Visitor<'de> for ResolvedVisitor {
    type Value = Resolved;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(expected(self.0))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Resolved, A::Error> {
        resolved(map)
    }
}

/// What a [`WrittenAndValue`] says.
pub(in crate::config) fn resolved<'de, A: MapAccess<'de>>(mut map: A) -> Result<Resolved, A::Error> {
    let mut entry = || map.next_entry::<String, String>().map(|entry| entry.map(|(_, text)| text).unwrap_or_default());
    let (written, value) = (entry()?, entry()?);
    Ok(match map.next_entry::<String, bool>()? {
        Some((_, true)) => Resolved::of(written, value),
        _ => Resolved::plain(written),
    })
}

macro_rules! resolved {
    ($($name:ident: $kind:ident),+) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_struct($kind, &WRITTEN, ResolvedVisitor($kind)).map(Self)
            }
        }
    )+};
}

resolved!(Text: TEXT, Loose: SCALAR, Number: NUMBER);

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
                match list.is_empty() {
                    true => Err(de::Error::custom("the list is empty")),
                    false => Ok(OneOrMany(list)),
                }
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
