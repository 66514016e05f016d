//! A task definition from the bytes of a file: every form that people keep in git, and a clear word about the others.

use super::TaskDefinition;
use serde_json::{Map, Value};

/// A file that is longer is no task definition: AWS takes 64 KiB.
pub const LARGEST: u64 = 1024 * 1024;

impl TaskDefinition {
    /// Reads UTF-8 with or without a byte order mark.
    ///
    /// # Errors
    /// What it is instead of a task definition in JSON, and what to do.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let is_utf16 = matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, b'{', ..] | [b'{', 0, ..]);
        if is_utf16 {
            return Err("it is UTF-16: save it as UTF-8".to_owned());
        }
        let text = std::str::from_utf8(bytes).map_err(|e| {
            let line = 1 + bytes[..e.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            format!("line {line} is not UTF-8: save it as UTF-8")
        })?;
        Self::from_json(text)
    }

    /// Reads the input of RegisterTaskDefinition, or what `aws ecs describe-task-definition` printed
    /// (`{"taskDefinition": {...}, "tags": [...]}`). Numbers keep every digit.
    ///
    /// # Errors
    /// As [`TaskDefinition::from_bytes`].
    pub fn from_json(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut document: Value = serde_json::from_str(text).map_err(|e| not_json(text, &e))?;
        let outer_tags = document.get_mut("tags").map(Value::take).filter(|tags| !tags.is_null());
        let mut body = match document {
            Value::Object(mut members) => match members.remove("taskDefinition") {
                Some(Value::Object(inner)) => inner,
                Some(_) => return Err("`taskDefinition` is not an object".to_owned()),
                None => members,
            },
            Value::Array(items) if items.iter().any(|item| item.get("image").is_some()) => {
                return Err("it is a list of containers: a task definition is a JSON object that has them in \
                     `containerDefinitions`, beside `family`, `cpu` and `memory`"
                    .to_owned());
            }
            _ => return Err("a task definition is a JSON object".to_owned()),
        };
        other_spelling(&body)?;
        let inner_tags = body.remove("tags").filter(|tags| !tags.is_null());
        let tags = match inner_tags.or(outer_tags) {
            None => vec![],
            Some(Value::Array(items)) => items
                .iter()
                .enumerate()
                .filter(|(_, item)| !item.is_null())
                .map(|(at, item)| tag_of(at, item))
                .collect::<Result<_, _>>()?,
            Some(_) => return Err("`tags` is not a list of `key` and `value`".to_owned()),
        };
        Ok(Self { body, tags })
    }
}

/// What the text is, where it is not JSON.
fn not_json(text: &str, error: &serde_json::Error) -> String {
    let trimmed = text.trim_start();
    if trimmed.is_empty() {
        return "it is empty".to_owned();
    }
    let first = trimmed.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let looks_like_yaml = !trimmed.starts_with(['{', '['])
        && first.is_some_and(|line| {
            let key = line.split(':').next().unwrap_or_default().trim_matches(['"', '\'', '-', ' ']);
            let is_word = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            line == "---" || (line.contains(':') && is_word)
        });
    if looks_like_yaml {
        return "it is YAML: a task definition is JSON, as `aws ecs register-task-definition` takes it".to_owned();
    }
    let comment = trimmed.contains("/*") || trimmed.lines().any(|line| line.trim_start().starts_with("//"));
    let hint = if comment { "; JSON has no comments" } else { "" };
    format!("not JSON: {error}{hint}").replace(" at line ", ", line ")
}

/// CloudFormation writes the members in PascalCase, Terraform in snake_case: AWS's API would read none of them.
fn other_spelling(body: &Map<String, Value>) -> Result<(), String> {
    if body.contains_key("containerDefinitions") {
        return Ok(());
    }
    if body.contains_key("Resources") || body.contains_key("AWSTemplateFormatVersion") {
        return Err("it is a CloudFormation template: a task definition is the JSON that RegisterTaskDefinition \
                    takes, with `family` and `containerDefinitions`"
            .to_owned());
    }
    let wrapped = ["Properties", "TaskDefinition"].iter().find_map(|name| body.get(*name)?.as_object());
    let spelled = wrapped.unwrap_or(body).keys().find_map(|key| match plain(key).as_str() {
        "containerdefinitions" => Some((key.clone(), "containerDefinitions")),
        _ => None,
    });
    match spelled {
        Some((found, meant)) => Err(format!(
            "`{found}` is not how AWS's API spells it: `{meant}`, and every other member begins with a small letter too, \
             as in `aws ecs describe-task-definition`"
        )),
        None => Ok(()),
    }
}

/// A name without what CloudFormation, Terraform and people spell differently.
pub fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect()
}

fn tag_of(at: usize, item: &Value) -> Result<(String, String), String> {
    let text = |member: &str| match item.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("`tags[{at}].{member}` is not a string: write it in quotes")),
    };
    match text("key")? {
        Some(key) => Ok((key, text("value")?.unwrap_or_default())),
        None => Err(format!("`tags` is not a list of `key` and `value`: `tags[{at}]` has no `key`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(bytes: &[u8]) -> String {
        TaskDefinition::from_bytes(bytes).unwrap_err()
    }

    #[test]
    fn a_file_in_register_form_brings_its_tags() {
        let read = TaskDefinition::from_json(r#"{"family": "a", "tags": [{"key": "k"}], "containerDefinitions": []}"#)
            .unwrap();
        assert_eq!(read.tags, [("k".to_owned(), String::new())]);
        assert!(!read.body.contains_key("tags"));
    }

    #[test]
    fn null_is_absent_in_the_outer_members_too() {
        let read = TaskDefinition::from_json(
            r#"{"taskDefinition": {"family": "a", "tags": null, "containerDefinitions": []}, "tags": [null, {"key": "k", "value": null}]}"#,
        );
        assert_eq!(read.unwrap().tags, [("k".to_owned(), String::new())]);
        assert_eq!(TaskDefinition::from_json(r#"{"family": "a", "tags": null}"#).unwrap().tags, []);
    }

    #[test]
    fn what_is_no_task_definition_says_why() {
        for (text, expected) in [
            ("[]", "object"),
            ("\"web\"", "object"),
            ("{", "not JSON"),
            ("", "it is empty"),
            (" \n\t", "it is empty"),
            (r#"{"taskDefinition": 1}"#, "not an object"),
            (r#"{"tags": {"a": "b"}}"#, "list"),
            (r#"{"tags": ["a"]}"#, "`tags[0]` has no `key`"),
            (r#"{"tags": [{"key": 1}]}"#, "`tags[0].key` is not a string"),
            (r#"{"tags": [{"key": "a", "value": true}]}"#, "`tags[0].value` is not a string"),
            ("family: web\ncontainerDefinitions: []\n", "it is YAML"),
            ("---\nfamily: web\n", "it is YAML"),
            ("# ours\n\n- name: web\n  image: x\n", "it is YAML"),
            ("{\n  // ours\n  \"family\": \"web\"\n}", "JSON has no comments"),
            ("{\"family\": \"web\",}", "not JSON"),
            (r#"[{"name": "app", "image": "i"}]"#, "list of containers"),
            (
                r#"{"Family": "web", "ContainerDefinitions": []}"#,
                "`ContainerDefinitions` is not how AWS's API spells it",
            ),
            (r#"{"family": "web", "container_definitions": "[]"}"#, "`container_definitions` is not how"),
            (r#"{"Type": "AWS::ECS::TaskDefinition", "Properties": {"ContainerDefinitions": []}}"#, "spells it"),
            (r#"{"AWSTemplateFormatVersion": "2010-09-09", "Resources": {}}"#, "CloudFormation template"),
        ] {
            let error = TaskDefinition::from_json(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_other_encodings_are_named() {
        let text = "{\"family\": \"wéb\", \"containerDefinitions\": []}";
        let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
        assert_eq!(TaskDefinition::from_bytes(&marked).unwrap().family(), "wéb");
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for utf16 in [[b"\xff\xfe", little.as_slice()].concat(), [b"\xfe\xff", big.as_slice()].concat(), little, big] {
            assert_eq!(why(&utf16), "it is UTF-16: save it as UTF-8");
        }
        assert_eq!(why(b"{\n\"family\": \"w\xe9b\"}"), "line 2 is not UTF-8: save it as UTF-8");
    }

    #[test]
    fn numbers_keep_every_digit() {
        let text = r#"{"family":"a","containerDefinitions":[],"future":[123456789012345678901234567890,0.1234567890123456789,2.50,1e+400,-0.0]}"#;
        let read = TaskDefinition::from_json(text).unwrap();
        assert_eq!(serde_json::to_string(&read.body).unwrap(), text);
    }
}
