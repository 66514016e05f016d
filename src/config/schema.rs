//! The JSON Schema of `fargate-deploy.yml`, from the same types that parse it.

use super::decode::{Entries, Located, Loose, Number, OneOrMany, Text};
use super::file::{Builder, BuilderSettings, Command, Secret, SecretSource, Settings};
use super::syntax;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// The schema as published, `fargate-deploy.schema.json`.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let settings = generator.subschema_for::<Settings>().to_value();
    let mut root = generator.into_root_schema_for::<Settings>().to_value();
    with_references(&mut root);
    let mut overlays = Map::new();
    let environment = json!({ "anyOf": [overlay(&settings, &root, &mut overlays), { "type": "null" }] });
    if let Some(root) = root.as_object_mut() {
        if let Some(definitions) = root.get_mut("$defs").and_then(Value::as_object_mut) {
            definitions.extend(overlays);
        }
        root.insert("title".to_owned(), json!("fargate-deploy.yml"));
        if let Some(properties) = root.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert(
                "environments".to_owned(),
                json!({
                    "description": "What differs between environments: laid over the rest, key by key; null takes a key away.",
                    "type": "object",
                    "propertyNames": { "pattern": syntax::KEY },
                    "additionalProperties": environment,
                }),
            );
        }
    }
    root
}

/// A reference stands for any single value; and a mapping of which nothing is said is empty.
fn with_references(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else {
        schema.as_array_mut().into_iter().flatten().for_each(with_references);
        return;
    };
    members.values_mut().for_each(with_references);
    let is_of = |kind: &str| match members.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(|one| one == kind),
        Some(one) => one == kind,
        None => false,
    };
    if is_of("boolean") || is_of("integer") || members.contains_key("enum") {
        let description = members.remove("description");
        let own = std::mem::take(members);
        let reference = json!({ "type": "string", "pattern": syntax::REFERENCE });
        members.insert("anyOf".to_owned(), json!([own, reference]));
        members.extend(description.map(|text| ("description".to_owned(), text)));
    }
    if let Some(properties) = members.get_mut("properties").and_then(Value::as_object_mut) {
        for property in properties.values_mut() {
            if let Some(kind) = property.get_mut("type").filter(|kind| *kind == "object") {
                *kind = json!([kind.take(), "null"]);
            }
        }
    }
}

/// What may be laid over what `schema` describes: any part of its mappings, and `null` to take one away. Lists are replaced as
/// a whole.
fn overlay(schema: &Value, root: &Value, overlays: &mut Map<String, Value>) -> Value {
    let Some(members) = schema.as_object() else { return schema.clone() };
    if let Some(name) = members.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/")) {
        let Some(definition) = root["$defs"].get(name).or((name == "Settings").then_some(root)) else {
            return schema.clone();
        };
        let of_overlay = format!("{name}Overlay");
        if !overlays.contains_key(&of_overlay) {
            overlays.insert(of_overlay.clone(), Value::Null);
            let made = overlay(definition, root, overlays);
            overlays.insert(of_overlay.clone(), made);
        }
        return json!({ "$ref": format!("#/$defs/{of_overlay}") });
    }
    let mut made = Map::new();
    for (name, value) in members {
        let or_null = |part: Value| json!({ "anyOf": [part, { "type": "null" }] });
        let laid = match (name.as_str(), value) {
            ("required" | "minProperties" | "$defs" | "$schema" | "title", _) => continue,
            ("properties", Value::Object(properties)) => {
                let each = properties.iter().map(|(key, part)| (key.clone(), or_null(overlay(part, root, overlays))));
                Value::Object(each.collect())
            }
            ("additionalProperties", Value::Object(_)) => or_null(overlay(value, root, overlays)),
            ("anyOf", Value::Array(parts)) => parts.iter().map(|part| overlay(part, root, overlays)).collect(),
            _ => value.clone(),
        };
        made.insert(name.clone(), laid);
    }
    Value::Object(made)
}

impl<T: JsonSchema> JsonSchema for Located<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl JsonSchema for Number {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0, "maximum": 65535 })
    }
}

impl JsonSchema for Builder {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Builder".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let settings = generator.subschema_for::<BuilderSettings>();
        json_schema!({ "anyOf": [{ "type": "string", "pattern": syntax::BUILDER }, settings] })
    }
}

impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let source = generator.subschema_for::<SecretSource>();
        json_schema!({ "anyOf": [{ "type": "string", "pattern": syntax::REFERENCE }, source] })
    }
}

impl JsonSchema for Loose {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Loose".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}OrList", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [item, { "type": "array", "items": item, "minItems": 1 }] })
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("MapOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<T>() })
    }
}

impl JsonSchema for Command {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Command".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let argument = generator.subschema_for::<Loose>();
        json_schema!({
            "anyOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "items": argument, "minItems": 1 },
            ],
        })
    }
}
