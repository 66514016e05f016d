//! Text of the config: what was written, beside what its references stand for. What is shown is what was written.

use crate::redact::Secret;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// A text that may have held references (`${env:NAME}` and the like).
///
/// Whatever prints, compares with what was reviewed, or serializes it gets the text as it was written. What the references
/// stand for has to be asked for, by [`Resolved::value`], at the call that hands it on: to AWS, the Engine or a web server.
#[derive(Clone, Default)]
pub struct Resolved {
    written: String,
    /// `None`: there was no reference in it, so that both are the same.
    value: Option<Secret>,
}

impl Resolved {
    /// Text without references.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { written: text.into(), value: None }
    }

    /// Text with references, as written, and what became of it.
    pub fn of(written: impl Into<String>, value: impl Into<String>) -> Self {
        Self { written: written.into(), value: Some(Secret::new(value.into())) }
    }

    /// The text with its references resolved. Every call site hands it to whom it is meant for.
    pub fn value(&self) -> &str {
        self.value.as_ref().map_or(&self.written, |value| value.expose())
    }

    /// As it was written, references and all.
    pub fn written(&self) -> &str {
        &self.written
    }

    pub fn has_reference(&self) -> bool {
        self.value.is_some()
    }

    /// A URL that can be linked to: without user-info, query and fragment, and without a path that came from a reference.
    /// `None`: it is no URL.
    pub fn public_url(&self) -> Option<String> {
        let (scheme, rest) = self.value().split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let host = authority.rsplit('@').next().unwrap_or_default();
        let path = tail.split(['?', '#']).next().unwrap_or_default();
        // What follows the last reference was written as it is.
        let literal = self.written.rfind('}').map_or("", |at| &self.written[at + 1..]);
        let literal = literal.split(['?', '#']).next().unwrap_or_default();
        let is_known = !self.has_reference() || (!path.is_empty() && path == literal);
        Some(format!("{scheme}://{host}{}", if is_known { path } else { "" }))
    }
}

/// As it was written.
impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.written)
    }
}

/// As it was written.
impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.written, f)
    }
}

/// As it was written.
impl Serialize for Resolved {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

impl PartialEq for Resolved {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written && self.value() == other.value()
    }
}

impl Eq for Resolved {}

/// What it stands for, compared with plain text.
impl PartialEq<&str> for Resolved {
    fn eq(&self, other: &&str) -> bool {
        self.value() == *other
    }
}

impl From<&str> for Resolved {
    fn from(text: &str) -> Self {
        Self::plain(text)
    }
}

impl From<String> for Resolved {
    fn from(text: String) -> Self {
        Self::plain(text)
    }
}

/// Several, such as an argv, with their references resolved.
pub fn values<'a>(all: impl IntoIterator<Item = &'a Resolved>) -> Vec<String> {
    all.into_iter().map(|text| text.value().to_owned()).collect()
}

/// Several by their keys, with their references resolved.
pub fn by_key(all: &BTreeMap<String, Resolved>) -> BTreeMap<String, String> {
    all.iter().map(|(key, text)| (key.clone(), text.value().to_owned())).collect()
}

/// Several as they were written, with spaces between them.
pub fn joined(all: &[Resolved]) -> String {
    all.iter().map(Resolved::written).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_prints_it_shows_what_was_written() {
        let text = Resolved::of("--url ${env:URL}", "--url postgres://hunter2");
        let told = format!("{text} {text:?} {} {:?}", serde_json::to_string(&text).unwrap(), [&text]);
        assert!(!told.contains("hunter2"), "{told}");
        assert_eq!(text.to_string(), "--url ${env:URL}");
        assert_eq!(text.value(), "--url postgres://hunter2");
        assert_eq!(Resolved::plain("a").value(), "a");
    }

    #[test]
    fn a_url_that_is_linked_to_holds_nothing_secret() {
        let of = |written: &str, value: &str| Resolved::of(written, value).public_url();
        let plain = |text: &str| Resolved::plain(text).public_url();
        assert_eq!(plain("https://u:p@a.test:1/health?token=t#x").as_deref(), Some("https://a.test:1/health"));
        assert_eq!(of("${env:BASE}/health", "https://a.test/health").as_deref(), Some("https://a.test/health"));
        assert_eq!(of("https://a.test/${env:T}/x", "https://a.test/t/x").as_deref(), Some("https://a.test"));
        assert_eq!(of("https://a.test/${env:T}", "https://a.test/t").as_deref(), Some("https://a.test"));
        assert_eq!(of("https://${env:C}@a.test/x", "https://u:p@a.test/x").as_deref(), Some("https://a.test"));
        assert_eq!(plain("no url"), None);
    }
}
