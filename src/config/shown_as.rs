//! Values of references are shown as they are written, also where only a text is left of them: in the words of a rule that
//! refused one, in what AWS answers, in what a container prints.

use super::error::ConfigError;
use super::tree::{Node, Value};
use fargate_deploy_core::resolved::Resolved;

/// Shorter values are words of everyday use, and no secrets.
const SHORTEST: usize = 8;

/// Keys whose values are public by what they may be: a choice, a platform, the name of something in the same file.
const PUBLIC: [&str; 16] = [
    "region",
    "platform",
    "lock",
    "lock-timeout",
    "wait",
    "timeout",
    "within",
    "status",
    "cache",
    "reuse",
    "when",
    "on-failure",
    "on-cancel",
    "after",
    "service",
    "containers",
];

/// What is replaced wherever it turns up: texts with variables of the environment in them, and the variables' values.
/// `written` is the document before its references were resolved: what stands in it is known to whoever reads it.
pub(super) fn values(document: &Node, written: &Node, from_env: &[Resolved]) -> Vec<Resolved> {
    let mut texts = Vec::new();
    resolved(document, &mut |key, text| {
        if !PUBLIC.contains(&key) {
            texts.push(text);
        }
    });
    let mut known = Vec::new();
    words(written, &mut known);
    let is_known = |text: &Resolved| {
        let value = text.value();
        known.contains(&value) || is_origin(value) || value == "Dockerfile"
    };
    let parts = from_env.iter().filter(|part| texts.iter().any(|text| holds(text, part))).cloned();
    let parts: Vec<Resolved> = parts.collect();
    let whole = texts.iter().filter(|text| from_env.iter().any(|part| holds(text, part))).cloned();
    let mut all: Vec<Resolved> = Vec::new();
    for text in whole.chain(parts).filter(|text| text.value().len() >= SHORTEST && !is_known(text)) {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

/// Whether a text was made with the value of this reference.
fn holds(text: &Resolved, part: &Resolved) -> bool {
    let name = part.written().trim_end_matches('}');
    text.written().contains(name) && !part.value().is_empty() && text.value().contains(part.value())
}

/// `https://HOST:PORT`: where something is, and nothing that lets somebody in.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|host| !host.trim_end_matches('/').contains(['/', '@', '?', '#']))
}

/// The errors of a document in whose messages no value of a reference is left.
pub(super) fn hide(errors: Vec<ConfigError>, document: &Node) -> Vec<ConfigError> {
    let mut texts = Vec::new();
    resolved(document, &mut |_, text| texts.push(text));
    hide_values(errors, &texts)
}

/// The same of errors about these texts.
pub(super) fn hide_values(mut errors: Vec<ConfigError>, texts: &[Resolved]) -> Vec<ConfigError> {
    let texts: Vec<&Resolved> = texts.iter().filter(|text| text.has_reference() && !text.value().is_empty()).collect();
    if !texts.is_empty() {
        for error in &mut errors {
            error.message = without_values(&error.message, &texts);
            error.hint = error.hint.as_deref().map(|hint| without_values(hint, &texts));
        }
    }
    errors
}

/// Messages quote between backticks: a quotation that is a value, holds one or is a part of one is replaced.
fn without_values(message: &str, texts: &[&Resolved]) -> String {
    let quoted = |part: &str| {
        // What was written is shown as it is.
        if texts.iter().any(|text| text.written().starts_with(part.trim_end_matches('…'))) {
            return part.to_owned();
        }
        let mut part = part.to_owned();
        for text in texts {
            match text.value() {
                value if value == part => part = text.written().to_owned(),
                value if value.len() >= 4 && part.contains(value) => part = part.replace(value, text.written()),
                value if part.len() >= 2 && value.contains(part.trim_end_matches('…')) => part = "…".to_owned(),
                _ => {}
            }
        }
        part
    };
    let parts = message.split('`').enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { quoted(part) } else { part.to_owned() }).collect::<Vec<_>>().join("`")
}

/// Every text that held a reference, with the key that it stands under.
fn resolved(node: &Node, found: &mut impl FnMut(&str, Resolved)) {
    below("", node, found);
}

fn below(key: &str, node: &Node, found: &mut impl FnMut(&str, Resolved)) {
    match &node.value {
        Value::Null => {}
        Value::Scalar(scalar) if scalar.written.is_some() => found(key, scalar.resolved()),
        Value::Scalar(_) => {}
        Value::List(items) => items.iter().for_each(|item| below(key, item, found)),
        Value::Map(entries) => entries.iter().for_each(|(name, node)| {
            // Names of containers are keys of the user's.
            let key = if key == "containers" { key } else { name.text.as_str() };
            below(key, node, found);
        }),
    }
}

/// Every key and every text.
fn words<'a>(node: &'a Node, found: &mut Vec<&'a str>) {
    match &node.value {
        Value::Null => {}
        Value::Scalar(scalar) => found.push(&scalar.text),
        Value::List(items) => items.iter().for_each(|item| words(item, found)),
        Value::Map(entries) => entries.iter().for_each(|(key, node)| {
            found.push(&key.text);
            words(node, found);
        }),
    }
}
