//! The JSON type of every member that the API knows, and the members that have to be there.

use super::Findings;
use crate::task_definition::TaskDefinition;
use crate::task_definition::read::plain;
use crate::task_definition::shape::{Kind, Member, TASK, integer};
use serde_json::{Map, Value};

pub(super) fn check(definition: &TaskDefinition, found: &mut Findings) {
    object(&definition.body, TASK, "", found);
}

fn object(members: &Map<String, Value>, shape: &[Member], path: &str, found: &mut Findings) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for (name, value) in members {
        match shape.iter().find(|member| member.name == name) {
            // The registered revision's own members, in a file that was described.
            None if path.is_empty() && crate::task_definition::READ_ONLY.contains(&name.as_str()) => {}
            None => misspelt(name, shape, &below(name), members, found),
            Some(_) if value.is_null() => {}
            Some(member) => check_value(value, &member.kind, &below(name), found),
        }
    }
    for member in shape.iter().filter(|member| member.is_required) {
        let is_empty = |value: &Value| matches!(value, Value::Null) || value == "" || *value == Value::Array(vec![]);
        if members.get(member.name).is_none_or(is_empty) {
            found.problem(format!("`{}` is missing", below(member.name)));
        }
    }
}

/// A name that AWS does not know goes through: it may be newer than this program. One that differs from a known name in
/// its spelling alone is a mistake, and AWS does not read it.
fn misspelt(name: &str, shape: &[Member], path: &str, members: &Map<String, Value>, found: &mut Findings) {
    if let Some(meant) = shape.iter().find(|member| plain(member.name) == plain(name)) {
        let unread = format!("`{path}` is not read by AWS, which spells it `{}`", meant.name);
        if members.contains_key(meant.name) { found.warning(unread) } else { found.problem(unread) }
    }
}

fn check_value(value: &Value, kind: &Kind, path: &str, found: &mut Findings) {
    match (kind, value) {
        (Kind::Text | Kind::OneOf(_), Value::Number(_) | Value::Bool(_)) => {
            found.problem(format!("`{path}` is {}, and AWS takes a string: write it in quotes", type_of(value)))
        }
        (Kind::OneOf(texts), Value::String(text)) => choice(text, texts, path, found),
        (Kind::Text, Value::String(_)) | (Kind::Flag, Value::Bool(_)) => {}
        (Kind::Integer, Value::Number(_)) => number(value, path, found),
        (Kind::Integer, Value::String(text)) if text.trim().parse::<i64>().is_ok() => {
            found.problem(format!("`{path}` is a string, and AWS takes a number: write it without quotes"));
        }
        (Kind::Flag, Value::String(text)) if text == "true" || text == "false" => {
            found.problem(format!("`{path}` is a string, and AWS takes true or false: write it without quotes"));
        }
        (Kind::TextMap, Value::Object(texts)) => {
            for (name, value) in texts {
                if !value.is_null() && !value.is_string() {
                    let hint =
                        if matches!(value, Value::Number(_) | Value::Bool(_)) { ": write it in quotes" } else { "" };
                    found.problem(format!("`{path}.{name}` is {}, and AWS takes a string{hint}", type_of(value)));
                }
            }
        }
        (Kind::List(of, _), Value::Array(items)) => {
            for (at, item) in items.iter().enumerate() {
                let path = format!("{path}[{at}]");
                if item.is_null() {
                    found.warning(format!("`{path}` is null: AWS may refuse a list that has one"));
                } else {
                    check_value(item, of, &path, found);
                }
            }
        }
        (Kind::Object(shape), Value::Object(members)) => object(members, shape, path, found),
        (Kind::List(..), Value::String(text)) if text.trim_start().starts_with('[') => found.problem(format!(
            "`{path}` is JSON inside a string, and AWS takes a list: write it without the quotes around it"
        )),
        (kind, value) => {
            found.problem(format!("`{path}` is {}, and AWS takes {}", type_of(value), kind_of(kind)));
        }
    }
}

fn number(value: &Value, path: &str, found: &mut Findings) {
    match integer(value) {
        None => found.problem(format!("`{path}` is {value}, and AWS takes a whole number")),
        Some(number) if i32::try_from(number).is_err() => {
            found.problem(format!("`{path}` is {number}: AWS takes numbers of 32 bits"));
        }
        Some(_) if value.as_i64().is_none() => {
            found.warning(format!("`{path}` is written `{value}`: AWS may refuse a whole number that is written so"));
        }
        Some(_) => {}
    }
}

fn choice(text: &str, texts: &[&str], path: &str, found: &mut Findings) {
    if texts.contains(&text) || text.is_empty() {
        return;
    }
    match texts.iter().find(|known| plain(known) == plain(text)) {
        Some(meant) => found.problem(format!("`{path}` is `{text}`: AWS spells it `{meant}`")),
        None if path.ends_with("logDriver") || path.ends_with("cpuArchitecture") || path.ends_with("networkMode") => {}
        None => {
            let known: Vec<_> = texts.iter().take(8).map(|text| format!("`{text}`")).collect();
            found.warning(format!("`{path}` is `{text}`, which is not known here: AWS documents {}", known.join(", ")));
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn kind_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::OneOf(_) => "a string",
        Kind::Integer => "a number",
        Kind::Flag => "true or false",
        Kind::TextMap => "an object of strings",
        Kind::List(..) => "a list",
        Kind::Object(_) => "an object",
    }
}
