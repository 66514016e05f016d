//! The models' patterns, which are in Java's syntax.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use regex_lite::Regex;

use crate::request::lock;

/// Whether the whole text is what the pattern describes. A pattern that cannot be read admits everything.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    static READ: OnceLock<Mutex<HashMap<String, Option<Regex>>>> = OnceLock::new();
    let mut read = lock(READ.get_or_init(Mutex::default));
    let known = read.entry(pattern.to_owned()).or_insert_with(|| compiled(pattern));
    known.as_ref().is_none_or(|regex| regex.is_match(text))
}

pub(super) fn compiled(pattern: &str) -> Option<Regex> {
    let inner = pattern.strip_prefix('^').unwrap_or(pattern);
    let inner = inner.strip_suffix('$').unwrap_or(inner);
    Regex::new(&format!("^(?:{})$", translated(inner))).ok()
}

/// Unicode categories are not known to the engine: outside ASCII, letters, digits and spaces are not told apart from other
/// characters, so that a pattern with one admits a little more than AWS does.
fn translated(pattern: &str) -> String {
    let text = pattern.replace(r"\p{L}", r"a-zA-Z\u{AA}-\u{10FFFF}").replace(r"\p{Z}", " ").replace(r"\p{N}", "0-9");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(r"\u") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        out.push_str(before);
        let digits = after.bytes().take(6).take_while(u8::is_ascii_hexdigit).count();
        if digits >= 4 {
            out.push_str(&format!(r"\u{{{}}}", &after[..digits]));
        } else {
            out.push_str(r"\u");
        }
        rest = &after[if digits >= 4 { digits } else { 0 }..];
    }
    out + rest
}
