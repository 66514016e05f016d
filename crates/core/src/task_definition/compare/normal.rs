//! One spelling for everything that means the same to AWS: what it fills in, drops, reorders or rewrites when it
//! describes what was registered is taken off on both sides.

use crate::task_definition::TaskDefinition;
use crate::task_definition::shape::{Default, Items, Kind, Member, TASK, integer};
use serde_json::{Map, Number, Value, json};

/// The body of a definition without the members that only describe it.
pub(super) fn normal(definition: &TaskDefinition) -> Map<String, Value> {
    let mut body = definition.registrable().body;
    for member in ["cpu", "memory"] {
        if let Some(units) = body.get(member).and_then(super::units) {
            body.insert(member.to_owned(), json!(units));
        }
    }
    members_of(&body, TASK)
}

fn members_of(members: &Map<String, Value>, shape: &[Member]) -> Map<String, Value> {
    let mut normal = Map::new();
    for (name, value) in members {
        let Some(member) = shape.iter().find(|member| member.name == name) else {
            normal.extend(unknown(value).map(|value| (name.clone(), value)));
            continue;
        };
        if member.default.is_some_and(|default| default.is(value)) || repeats_the_port(name, value, members) {
            continue;
        }
        normal.extend(known(value, &member.kind).map(|value| (name.clone(), value)));
    }
    normal
}

/// awsvpc: the host port is the container port, and AWS writes it out.
fn repeats_the_port(name: &str, value: &Value, members: &Map<String, Value>) -> bool {
    let port = || members.get("containerPort").and_then(integer);
    name == "hostPort" && integer(value).is_some_and(|host| host == 0 || Some(host) == port())
}

/// `None`: it says no more than a member that is missing. Absent, null, empty list, empty object and empty text are the
/// same to AWS.
fn known(value: &Value, kind: &Kind) -> Option<Value> {
    match (kind, value) {
        (Kind::Object(shape), Value::Object(members)) => {
            Some(Value::Object(members_of(members, shape))).filter(says_something)
        }
        (Kind::List(of, items), Value::Array(values)) => list(values, of, *items),
        (Kind::TextMap, Value::Object(texts)) => {
            let texts: Map<_, _> =
                texts.iter().filter(|(_, text)| !text.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
            Some(Value::Object(texts)).filter(says_something)
        }
        (Kind::Integer, Value::Number(_)) => integer(value).map(Value::from).or_else(|| unknown(value)),
        // Not the type that AWS takes: compared as it is written.
        _ => unknown(value),
    }
}

fn list(values: &[Value], of: &Kind, items: Items) -> Option<Value> {
    let values: Vec<&Value> = values.iter().filter(|value| !value.is_null()).collect();
    if values.is_empty() {
        return None;
    }
    if let (Items::By(keys), Kind::Object(shape)) = (items, of)
        && let Some(named) = by_name(&values, keys, shape)
    {
        return Some(named);
    }
    let mut normal: Vec<Value> = values.iter().map(|value| known(value, of).unwrap_or_else(|| json!(""))).collect();
    if matches!(items, Items::Set) {
        normal.sort_by_cached_key(Value::to_string);
    }
    Some(Value::Array(normal))
}

/// A list as members by name, where the names tell its items apart: a path names the item, and its place does not matter.
fn by_name(values: &[&Value], keys: &[&str], shape: &[Member]) -> Option<Value> {
    let mut named = Map::new();
    for value in values {
        let members = value.as_object()?;
        if named.insert(name_of(members, keys, shape)?, content_of(members, shape)).is_some() {
            return None;
        }
    }
    Some(Value::Object(named))
}

/// `app`, `80/tcp`. `None` where the members that make it up are missing, or are no names.
fn name_of(item: &Map<String, Value>, keys: &[&str], shape: &[Member]) -> Option<String> {
    let mut parts = vec![];
    for key in keys {
        let default = shape.iter().find(|member| member.name == *key).and_then(|member| member.default);
        match (item.get(*key).filter(|value| !value.is_null()), default) {
            (Some(Value::String(text)), _) => parts.push(text.clone()),
            (Some(value), _) => parts.push(integer(value)?.to_string()),
            (None, Some(Default::Text(text))) => parts.push(text.to_owned()),
            (None, _) => {}
        }
    }
    let has_own = keys.iter().any(|key| item.get(*key).is_some_and(|value| !value.is_null() && value != ""));
    has_own.then(|| parts.join("/"))
}

/// Of a pair its other half: a variable's value may be empty, and says so.
fn content_of(item: &Map<String, Value>, shape: &[Member]) -> Value {
    let is_pair = shape.len() == 2 && shape[0].name == "name" && matches!(shape[1].name, "value" | "valueFrom");
    let has_more = || item.keys().any(|key| key != "name" && key != shape[1].name);
    if is_pair && !has_more() {
        return item.get(shape[1].name).filter(|value| !value.is_null()).cloned().unwrap_or_else(|| json!(""));
    }
    Value::Object(members_of(item, shape))
}

/// A member that is newer than this program, or of another type than AWS takes.
fn unknown(value: &Value) -> Option<Value> {
    let normal = match value {
        Value::Object(members) => {
            Value::Object(members.iter().filter_map(|(name, value)| Some((name.clone(), unknown(value)?))).collect())
        }
        // Places in a list may have a meaning, empty ones too.
        Value::Array(items) => Value::Array(items.iter().map(|item| unknown(item).unwrap_or(Value::Null)).collect()),
        Value::Number(number) => number_of(number),
        other => other.clone(),
    };
    Some(normal).filter(says_something)
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

/// Two spellings of one number are equal, as far as 64 bits can tell.
fn number_of(number: &Number) -> Value {
    let text = number.to_string();
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    match (integer(&Value::Number(number.clone())), number.as_f64()) {
        (Some(whole), _) => json!(whole),
        (None, Some(float)) if digits <= 15 && float.is_finite() => json!(float),
        _ => Value::Number(number.clone()),
    }
}
