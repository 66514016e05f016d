//! References inside values: `${env:NAME}` and `${env:NAME:-default}`. `$${` stands for a literal `${`. Any other
//! `${...}` is left as it is, so that shell commands keep their own variables.

use super::error::{ConfigError, Place};
use super::tree::{Kind, Node, Scalar, Value};
use std::collections::BTreeMap;

/// References that a later release resolves, by prefix, and what they read.
const LATER: [(&str, &str); 3] =
    [("tf", "Terraform outputs"), ("cfn", "CloudFormation outputs"), ("ssm", "SSM parameters")];

/// Replaces the references in every value of the tree; gathers all that cannot be.
pub(super) fn resolve(node: &mut Node, env: &BTreeMap<String, String>, errors: &mut Vec<ConfigError>) {
    let place = node.place;
    match &mut node.value {
        Value::Null => {}
        Value::List(items) => items.iter_mut().for_each(|item| resolve(item, env, errors)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| resolve(value, env, errors)),
        Value::Scalar(scalar) if scalar.kind == Kind::Text && scalar.text.contains("${") => {
            match text(&scalar.text, place, env) {
                Ok(Some(text)) => *scalar = Scalar { text, kind: Kind::Resolved },
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
        Value::Scalar(_) => {}
    }
}

/// Whether a value below still holds a reference.
pub(super) fn has_reference(node: &Node) -> bool {
    match &node.value {
        Value::Null => false,
        Value::List(items) => items.iter().any(has_reference),
        Value::Map(entries) => entries.iter().any(|(_, value)| has_reference(value)),
        Value::Scalar(scalar) => scalar.text.contains("${"),
    }
}

/// `None` when there was nothing to replace.
fn text(source: &str, place: Place, env: &BTreeMap<String, String>) -> Result<Option<String>, ConfigError> {
    let mut resolved = String::with_capacity(source.len());
    let mut is_changed = false;
    let mut rest = source;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            resolved.push_str(&rest[..start - 1]);
            resolved.push_str("${");
            is_changed = true;
            rest = &rest[start + 2..];
            continue;
        }
        resolved.push_str(&rest[..start]);
        let body = &rest[start + 2..];
        let Some((kind, after)) = reference_kind(body) else {
            resolved.push_str("${");
            rest = body;
            continue;
        };
        let Some(end) = after.find('}') else {
            return Err(ConfigError::at(place, format!("`${{{kind}:` is not closed"))
                .hint("a reference ends with `}`; write `$${` for a literal `${`"));
        };
        resolved.push_str(&value(kind, &after[..end], place, env)?);
        is_changed = true;
        rest = &after[end + 1..];
    }
    resolved.push_str(rest);
    Ok(is_changed.then_some(resolved))
}

/// `env:NAME...` -> (`env`, `NAME...`), for the prefixes that are ours.
fn reference_kind(body: &str) -> Option<(&str, &str)> {
    let (kind, after) = body.split_once(':')?;
    let is_ours = kind == "env" || LATER.iter().any(|(later, _)| *later == kind);
    is_ours.then_some((kind, after))
}

fn value(kind: &str, reference: &str, place: Place, env: &BTreeMap<String, String>) -> Result<String, ConfigError> {
    if let Some((_, what)) = LATER.iter().find(|(later, _)| *later == kind) {
        return Err(ConfigError::at(place, format!("`${{{kind}:{reference}}}`: not supported yet")).hint(format!(
            "references to {what} come with a later release; pass the value as `${{env:NAME}}` until then"
        )));
    }
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let is_name = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_name {
        return Err(ConfigError::at(place, format!("`${{env:{reference}}}`: not the name of an environment variable"))
            .hint("write `${env:NAME}` or `${env:NAME:-default}`"));
    }
    let set = env.get(name).filter(|value| default.is_none() || !value.is_empty());
    set.map(String::as_str).or(default).map(str::to_owned).ok_or_else(|| {
        ConfigError::at(place, format!("`${{env:{name}}}`: the environment variable is not set"))
            .hint(format!("set `{name}`, or give a default: `${{env:{name}:-default}}`"))
    })
}
