//! Outputs: of `terraform output -json`, or of a state file.
//! <https://developer.hashicorp.com/terraform/cli/commands/output>

use serde_json::{Map, Value};
use std::fmt;

/// The root module's outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs(Map<String, Value>);

/// Why there is no value of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputError {
    /// No output, or no member of one, is called that; `known` are those that there are.
    Missing { part: String, within: Option<String>, known: Vec<String> },
    /// Terraform marks it: its value must not be printed, and configs are.
    Sensitive { name: String },
    /// It is a list, a map or null where one value is needed.
    NotOne { kind: &'static str },
}

impl Outputs {
    /// # Errors
    /// Why the file is neither, in one sentence.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        const HOW: &str = "write it with `terraform output -json`";
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.starts_with(b"[command]") {
            let how = "set `terraform_wrapper: false` in hashicorp/setup-terraform";
            return Err(format!("its first line is not Terraform's: {how}"));
        }
        let document: Value =
            serde_json::from_slice(bytes).map_err(|e| format!("not JSON: {e}").replace(" at line ", ", line "))?;
        let Value::Object(mut members) = document else {
            return Err(format!("neither outputs nor a state of Terraform: {HOW}"));
        };
        if members.contains_key("encrypted_data") {
            return Err(format!("the state is encrypted: {HOW}"));
        }
        // An output that is called `version` is an object there.
        if let Some(version) = members.get("version").filter(|version| version.is_number()) {
            if version.as_u64() != Some(4) {
                return Err(format!(
                    "a state of version {version} is not known: expected 4, of Terraform 0.12 or later"
                ));
            }
            members = match members.remove("outputs") {
                Some(Value::Object(outputs)) => outputs,
                None | Some(Value::Null) => Map::new(),
                Some(_) => return Err("a state whose `outputs` are no mapping".to_owned()),
            };
        }
        match members.iter().find(|(_, output)| output.get("value").is_none()) {
            Some((name, _)) => Err(format!("`{name}` is no output, as it has no `value`: {HOW}")),
            None => Ok(Self(members)),
        }
    }

    /// The value at a path such as `url` or `vpc.subnet_ids.0`.
    ///
    /// # Errors
    /// Why there is none that a config can hold.
    pub fn get(&self, path: &str) -> Result<String, OutputError> {
        let mut parts = path.split('.');
        let name = parts.next().unwrap_or_default();
        let Some(output) = self.0.get(name) else {
            let known = self.0.keys().cloned().collect();
            return Err(OutputError::Missing { part: name.to_owned(), within: None, known });
        };
        // What is no clear no is a yes.
        if !matches!(output.get("sensitive"), None | Some(Value::Null | Value::Bool(false))) {
            return Err(OutputError::Sensitive { name: name.to_owned() });
        }
        let mut value = &output["value"];
        let mut within = name.to_owned();
        for part in parts {
            let found = match value {
                Value::Array(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
                other => other.get(part),
            };
            value = found.ok_or_else(|| OutputError::Missing {
                part: part.to_owned(),
                within: Some(within.clone()),
                known: members(value),
            })?;
            within = format!("{within}.{part}");
        }
        match value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(is_on) => Ok(is_on.to_string()),
            Value::Null => Err(OutputError::NotOne { kind: "null" }),
            Value::Array(_) => Err(OutputError::NotOne { kind: "a list" }),
            Value::Object(_) => Err(OutputError::NotOne { kind: "a map" }),
        }
    }
}

/// What can follow the dot.
fn members(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => (0..items.len()).map(|index| index.to_string()).collect(),
        Value::Object(members) => members.keys().cloned().collect(),
        _ => vec![],
    }
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { part, within: Some(within), .. } => write!(f, "output `{within}` has no member `{part}`"),
            Self::Missing { part, within: None, .. } => write!(f, "there is no output `{part}`"),
            Self::Sensitive { name } => write!(f, "output `{name}` is sensitive"),
            Self::NotOne { kind } => write!(f, "expected one value, found {kind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outputs() -> Outputs {
        Outputs::parse(
            json!({
                "url": {"sensitive": false, "type": "string", "value": "https://a.test"},
                "count": {"sensitive": false, "type": "number", "value": 3},
                "is_on": {"sensitive": false, "type": "bool", "value": true},
                "password": {"sensitive": true, "type": "string", "value": "hunter2"},
                "version": {"sensitive": false, "type": "string", "value": "1.10"},
                "nothing": {"sensitive": false, "type": "string", "value": null},
                "vpc": {"sensitive": false, "type": "dynamic", "value": {"subnet_ids": ["subnet-1", "subnet-2"]}},
            })
            .to_string()
            .as_bytes(),
        )
        .unwrap()
    }

    #[test]
    fn a_value_is_found_by_its_path_and_stays_as_terraform_wrote_it() {
        let cases = [
            ("url", "https://a.test"),
            ("count", "3"),
            ("is_on", "true"),
            ("version", "1.10"),
            ("vpc.subnet_ids.1", "subnet-2"),
        ];
        for (path, expected) in cases {
            assert_eq!(outputs().get(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_is_no_single_public_value_is_refused() {
        let cases = [
            ("nope", "there is no output `nope`"),
            ("vpc.subnet_id", "output `vpc` has no member `subnet_id`"),
            ("vpc.subnet_ids.2", "output `vpc.subnet_ids` has no member `2`"),
            ("url.x", "output `url` has no member `x`"),
            ("vpc", "expected one value, found a map"),
            ("vpc.subnet_ids", "expected one value, found a list"),
            ("nothing", "expected one value, found null"),
            ("password", "output `password` is sensitive"),
            ("password.x", "output `password` is sensitive"),
        ];
        for (path, expected) in cases {
            let error = outputs().get(path).unwrap_err();
            assert_eq!(error.to_string(), expected, "{path}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_state_gives_its_root_outputs() {
        let state = json!({
            "version": 4, "terraform_version": "1.11.4", "serial": 3, "lineage": "l",
            "outputs": {"url": {"value": "u", "type": "string"}, "key": {"value": "k", "type": "string", "sensitive": true}},
            "resources": [],
        });
        let outputs = Outputs::parse(state.to_string().as_bytes()).unwrap();
        assert_eq!(outputs.get("url").as_deref(), Ok("u"));
        assert_eq!(outputs.get("key"), Err(OutputError::Sensitive { name: "key".to_owned() }));
    }

    #[test]
    fn what_is_neither_outputs_nor_a_state_says_so() {
        let cases = [
            ("", "not JSON"),
            ("[]", "neither outputs nor a state"),
            (r#"{"version": 3, "outputs": {}}"#, "version 3 is not known"),
            (r#"{"serial": 1, "encrypted_data": "x"}"#, "encrypted"),
            (r#"{"url": "https://a.test"}"#, "`url` is no output"),
            ("[command]/usr/bin/terraform output -json\n{}", "terraform_wrapper"),
        ];
        for (text, expected) in cases {
            let error = Outputs::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
