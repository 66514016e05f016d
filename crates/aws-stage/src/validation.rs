//! The input of every operation, held against AWS's own service models: types, required members, enumerations, limits and
//! patterns. `scripts/service-models` writes the table from the models.
//!
//! What no model says, because a page says it, is checked by the service that the page is about.

mod model;
mod pattern;
mod played;

use std::sync::OnceLock;

use serde_json::Value;

use crate::error::AwsError;
use model::{Models, Service, Shape};
pub(crate) use played::not_played;

/// How many constraints that do not hold one answer names.
const NAMED: usize = 10;

/// Holds the input of `operation` against its model. An operation that the stage does not offer is nobody's to check.
///
/// # Errors
/// `SerializationException` for a value of another JSON type, else the service's own exception for what it does not accept.
pub(crate) fn check(service: &str, operation: &str, body: &Value) -> Result<(), AwsError> {
    let Some(model) = models().service(service) else { return Ok(()) };
    let Some(input) = model.input(operation) else { return Ok(()) };
    let mut check = Check { model, is_query: is_query(service), violations: Vec::new() };
    check.members(input, body, "")?;
    refusal(service, operation, &check.violations).map_or(Ok(()), Err)?;
    played::check(operation, body)
}

/// Drops the members that are null, wherever the model knows them: null is absent. What the model does not know stays.
pub(crate) fn drop_nulls(service: &str, operation: &str, body: &mut Value) {
    let Some(model) = models().service(service) else { return };
    if let Some(input) = model.input(operation) {
        drop_members(model, input, body);
    }
}

fn drop_members(model: &Service, shape: &Shape, value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            for (name, member) in members {
                let kind = shape.members.get(name).or(shape.value.as_ref());
                if let Some(inner) = kind.and_then(|kind| model.shape(kind)) {
                    drop_members(model, inner, member);
                }
            }
        }
        Value::Array(items) => {
            items.retain(|item| !item.is_null());
            let Some(inner) = shape.member.as_ref().and_then(|kind| model.shape(kind)) else { return };
            items.iter_mut().for_each(|item| drop_members(model, inner, item));
        }
        _ => {}
    }
}

fn models() -> &'static Models {
    static MODELS: OnceLock<Models> = OnceLock::new();
    MODELS.get_or_init(Models::load)
}

fn is_query(service: &str) -> bool {
    matches!(service, "sts" | "iam" | "elasticloadbalancing" | "cloudformation" | "rds")
}

/// A constraint that does not hold.
struct Violation {
    /// `tags.1.member.key`.
    path: String,
    /// As text; `None` where the member is missing.
    value: Option<String>,
    constraint: String,
    kind: Constraint,
}

#[derive(Clone, Copy, PartialEq)]
enum Constraint {
    Required,
    Other,
}

struct Check<'a> {
    model: &'a Service,
    /// The members of a form are text, whatever their type.
    is_query: bool,
    violations: Vec<Violation>,
}

impl Check<'_> {
    fn members(&mut self, shape: &Shape, body: &Value, path: &str) -> Result<(), AwsError> {
        for name in &shape.required {
            if body.get(name).is_none_or(Value::is_null) {
                let constraint = "Member must not be null".to_owned();
                let path = inner(path, name);
                self.violations.push(Violation { path, value: None, constraint, kind: Constraint::Required });
            }
        }
        for (name, kind) in &shape.members {
            if let Some(value) = body.get(name).filter(|value| !value.is_null()) {
                self.value(kind, value, &inner(path, name))?;
            }
        }
        Ok(())
    }

    fn value(&mut self, kind: &str, value: &Value, path: &str) -> Result<(), AwsError> {
        let Some(shape) = self.model.shape(kind) else { return self.scalar(kind, value) };
        match shape.kind.as_str() {
            "structure" => {
                if !value.is_object() {
                    return Err(unreadable(value, "structure"));
                }
                self.members(shape, value, path)
            }
            "list" => {
                let Some(items) = value.as_array() else { return self.no_list(value) };
                self.length(shape, items.len(), value, path);
                let Some(member) = &shape.member else { return Ok(()) };
                for (index, item) in items.iter().enumerate().filter(|(_, item)| !item.is_null()) {
                    self.value(member, item, &format!("{path}.{}.member", index + 1))?;
                }
                Ok(())
            }
            "map" => {
                let Some(entries) = value.as_object() else { return Err(unreadable(value, "map")) };
                self.length(shape, entries.len(), value, path);
                let Some(of) = &shape.value else { return Ok(()) };
                for (key, item) in entries.iter().filter(|(_, item)| !item.is_null()) {
                    self.value(of, item, &format!("{path}.{key}.member"))?;
                }
                Ok(())
            }
            scalar => {
                self.scalar(scalar, value)?;
                self.limits(shape, value, path);
                Ok(())
            }
        }
    }

    /// An empty list of a form is a parameter with an empty value.
    fn no_list(&self, value: &Value) -> Result<(), AwsError> {
        if self.is_query && value.as_str().is_some_and(str::is_empty) { Ok(()) } else { Err(unreadable(value, "list")) }
    }

    fn scalar(&self, kind: &str, value: &Value) -> Result<(), AwsError> {
        if self.is_query {
            return if value.is_object() || value.is_array() { Err(unreadable(value, kind)) } else { Ok(()) };
        }
        let fits = match kind {
            "string" | "blob" => value.is_string(),
            "integer" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            "long" => value.is_i64(),
            "float" | "double" => value.is_number(),
            "boolean" => value.is_boolean(),
            "timestamp" => value.is_number() || value.is_string(),
            _ => true,
        };
        if fits { Ok(()) } else { Err(unreadable(value, kind)) }
    }

    fn limits(&mut self, shape: &Shape, value: &Value, path: &str) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match shape.kind.as_str() {
            "string" => {
                if !shape.variants.is_empty() && !shape.variants.contains(&text) {
                    let constraint = format!("Member must satisfy enum value set: [{}]", shape.variants.join(", "));
                    self.violates(path, &text, constraint);
                }
                self.length(shape, text.chars().count(), value, path);
                if let Some(pattern) = &shape.pattern
                    && !pattern::matches(pattern, &text)
                {
                    self.violates(path, &text, format!("Member must satisfy regular expression pattern: {pattern}"));
                }
            }
            "blob" => {}
            _ => {
                let Some(number) = value.as_f64().or_else(|| text.parse().ok()) else { return };
                if let Some(least) = shape.min.filter(|least| number < *least) {
                    self.violates(path, &text, format!("Member must have value greater than or equal to {least}"));
                }
                if let Some(most) = shape.max.filter(|most| number > *most) {
                    self.violates(path, &text, format!("Member must have value less than or equal to {most}"));
                }
            }
        }
    }

    fn length(&mut self, shape: &Shape, length: usize, value: &Value, path: &str) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if let Some(least) = shape.min.filter(|least| (length as f64) < *least) {
            self.violates(path, &text, format!("Member must have length greater than or equal to {least}"));
        }
        if let Some(most) = shape.max.filter(|most| length as f64 > *most) {
            self.violates(path, &text, format!("Member must have length less than or equal to {most}"));
        }
    }

    fn violates(&mut self, path: &str, value: &str, constraint: String) {
        let value = Some(value.to_owned());
        self.violations.push(Violation { path: path.to_owned(), value, constraint, kind: Constraint::Other });
    }
}

/// As the JSON services word a value of another type.
fn unreadable(value: &Value, wanted: &str) -> AwsError {
    let message = match (value, wanted) {
        (Value::Object(_), _) => "Start of structure or map found where not expected.".to_owned(),
        (Value::Array(_), _) => "Start of list found where not expected".to_owned(),
        (_, "structure" | "map" | "list") => "Unexpected value type in payload".to_owned(),
        _ => {
            let found = match value {
                Value::String(_) => "STRING_VALUE",
                Value::Bool(true) => "TRUE_VALUE",
                Value::Bool(false) => "FALSE_VALUE",
                Value::Number(number) if number.is_f64() => "DECIMAL_VALUE",
                _ => "NUMBER_VALUE",
            };
            let mut name = wanted.to_owned();
            name[..1].make_ascii_uppercase();
            let article = if name == "Integer" { "an" } else { "a" };
            format!("{found} can not be converted to {article} {name}")
        }
    };
    AwsError::client("SerializationException", message)
}

/// What the service answers to constraints that do not hold.
fn refusal(service: &str, operation: &str, violations: &[Violation]) -> Option<AwsError> {
    let first = violations.first()?;
    if service == "ecs" {
        let code = if operation.contains("TaskDefinition") { "ClientException" } else { "InvalidParameterException" };
        let required = violations.iter().find(|violation| violation.kind == Constraint::Required);
        if let Some(missing) = required {
            return Some(AwsError::client(code, blank(operation, &missing.path)));
        }
        return Some(AwsError::client(code, listed(violations)));
    }
    if service == "ecr" {
        let constraint = match first.kind {
            Constraint::Required => "must not be null".to_owned(),
            Constraint::Other => {
                let text = first.constraint.trim_start_matches("Member ");
                match text.split_once("regular expression pattern: ") {
                    Some((before, pattern)) => format!("{before}regular expression '{pattern}'"),
                    None => text.to_owned(),
                }
            }
        };
        let message = format!("Invalid parameter at '{}' failed to satisfy constraint: '{constraint}'", first.path);
        return Some(AwsError::client("InvalidParameterException", message));
    }
    let code = if service == "logs" { "InvalidParameterException" } else { "ValidationException" };
    Some(AwsError::client(code, listed(violations)))
}

/// ECS words a missing member in sentences of its own.
fn blank(operation: &str, path: &str) -> String {
    match (operation, path) {
        (_, "services" | "tasks") => format!("{} cannot be empty.", capital(path)),
        (_, "containerDefinitions") => "Container list cannot be empty.".to_owned(),
        _ => format!("{} can not be blank.", capital(path.rsplit('.').next().unwrap_or(path))),
    }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn listed(violations: &[Violation]) -> String {
    let one = |violation: &Violation| {
        let value = violation.value.as_ref().map_or_else(|| "null".to_owned(), |value| format!("'{value}'"));
        format!("Value {value} at '{}' failed to satisfy constraint: {}", violation.path, violation.constraint)
    };
    let named: Vec<String> = violations.iter().take(NAMED).map(one).collect();
    let plural = if violations.len() == 1 { "" } else { "s" };
    format!("{} validation error{plural} detected: {}", violations.len(), named.join("; "))
}

/// Members are named in camel case, whatever their case is on the wire.
fn inner(path: &str, name: &str) -> String {
    let mut letters = name.chars();
    let name: String = letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect());
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests;
