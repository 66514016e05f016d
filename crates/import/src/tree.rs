//! A document as a tree in which every scalar keeps its text and its place: `3.10` stays `3.10`, and `0755` stays `0755`.

/// Where something stands, counted from 1. Zero: nowhere in particular.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scalar {
    pub text: String,
    /// In the document itself, or what variables of a file beside it, or of no file, were put into it.
    pub origin: Origin,
}

/// Where a scalar's text is from. What is in a local file or in a shell is not for the repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    #[default]
    Document,
    EnvFile,
    /// A variable that is set nowhere that can be read.
    Unset,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub place: Place,
    pub text: String,
}

/// A document, and the keys that stand in it twice: the last one counts.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub root: Node,
    pub twice: Vec<Key>,
}

impl Node {
    pub fn null(place: Place) -> Self {
        Self { place, value: Value::Null }
    }

    pub fn scalar(place: Place, text: impl Into<String>) -> Self {
        Self { place, value: Value::Scalar(Scalar { text: text.into(), origin: Origin::Document }) }
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(k, _)| k.text == key).map(|(_, node)| node)
    }

    /// Steps into mappings.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        self.as_scalar().map(|scalar| scalar.text.as_str())
    }

    /// The text of a member, where it is there and not empty.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.text().filter(|text| !text.trim().is_empty())
    }

    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    pub fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }

    pub fn is_true(&self) -> bool {
        self.text().is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// A scalar, or the scalars of a list.
    pub fn texts(&self) -> Vec<&str> {
        match &self.value {
            Value::Scalar(scalar) => vec![scalar.text.as_str()],
            Value::List(items) => items.iter().filter_map(Node::text).collect(),
            _ => vec![],
        }
    }

    /// Lays `over` on top: mappings are merged key by key, everything else replaces.
    pub fn overlay(&mut self, over: Node) {
        match (&mut self.value, over.value) {
            (Value::Map(base), Value::Map(over)) => {
                for (key, node) in over {
                    match base.iter_mut().find(|(k, _)| k.text == key.text) {
                        Some((_, known)) => known.overlay(node),
                        None => base.push((key, node)),
                    }
                }
            }
            (_, value) => *self = Node { place: over.place, value },
        }
    }
}

/// What a person sees of a text: one line of at most 60 characters.
pub(crate) fn shown(text: &str) -> String {
    let line: String = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(60).is_some() { format!("{line}…") } else { line }
}
