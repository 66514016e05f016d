//! Secrets Manager: what a task definition's `secrets[].valueFrom` resolves to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use serde_json::{Value, json};
use thiserror::Error;

use super::api::{Caller, partition};
use super::error::{AwsError, Reply};
use super::request::{epoch_seconds, lock, random_hex, required, text};

/// The secrets of every account and Region.
#[derive(Debug)]
pub(crate) struct Secrets {
    home: Scope,
    scopes: Mutex<HashMap<Scope, BTreeMap<String, Secret>>>,
}

type Scope = (String, String);

#[derive(Debug)]
struct Secret {
    arn: String,
    description: Option<String>,
    created: f64,
    versions: Vec<Version>,
}

#[derive(Debug)]
struct Version {
    id: String,
    value: String,
    stages: Vec<&'static str>,
    created: f64,
}

/// Why a `valueFrom` could not be read. Its text is what the container agent reports as the stopped reason's cause.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum SecretLookupError {
    /// No such secret.
    #[error("ResourceNotFoundException: Secrets Manager can't find the specified secret.")]
    NotFound,
    /// The secret has no such version or stage.
    #[error("ResourceNotFoundException: Secrets Manager can't find the specified secret value for {0}")]
    NoVersion(String),
    /// A JSON key was asked for and the value is not a JSON object.
    #[error("invalid character in secret value: the secret is not a JSON object")]
    NotJson,
    /// The JSON object has no such key.
    #[error("retrieved secret from Secrets Manager did not contain json key {0}")]
    NoKey(String),
}

impl Secrets {
    /// No secrets; `account` and `region` are where a task definition's bare name is looked up.
    #[must_use]
    pub(crate) fn new(account: &str, region: &str) -> Self {
        Self { home: (account.to_owned(), region.to_owned()), scopes: Mutex::default() }
    }

    /// One API call of `secretsmanager`, members in PascalCase.
    pub(crate) async fn call(&self, caller: &Caller, operation: &str, body: Value) -> Reply {
        let scope = (caller.account.clone(), caller.region.clone());
        let mut scopes = lock(&self.scopes);
        let secrets = scopes.entry(scope.clone()).or_default();
        match operation {
            "CreateSecret" => create(secrets, &scope, &body),
            "PutSecretValue" => {
                let (name, secret) = found_mut(secrets, required(&body, "SecretId")?).ok_or_else(not_found)?;
                let id = secret.add(text(&body, "ClientRequestToken"), required(&body, "SecretString")?);
                Ok(json!({ "ARN": secret.arn, "Name": name, "VersionId": id, "VersionStages": ["AWSCURRENT"] }))
            }
            "GetSecretValue" => {
                let (name, secret) = found(secrets, required(&body, "SecretId")?).ok_or_else(not_found)?;
                let (stage, id) = (text(&body, "VersionStage"), text(&body, "VersionId"));
                let version = secret.version(stage, id).ok_or_else(|| no_version(stage, id))?;
                Ok(json!({
                    "ARN": secret.arn, "Name": name, "VersionId": version.id, "SecretString": version.value,
                    "VersionStages": version.stages, "CreatedDate": version.created,
                }))
            }
            "DescribeSecret" => {
                let (name, secret) = found(secrets, required(&body, "SecretId")?).ok_or_else(not_found)?;
                let stages: serde_json::Map<_, _> =
                    secret.versions.iter().map(|version| (version.id.clone(), json!(version.stages))).collect();
                let mut reply = json!({
                    "ARN": secret.arn, "Name": name, "CreatedDate": secret.created, "VersionIdsToStages": stages,
                });
                if let Some(description) = &secret.description {
                    reply["Description"] = json!(description);
                }
                Ok(reply)
            }
            "DeleteSecret" => {
                let id = required(&body, "SecretId")?;
                let (name, arn) = found(secrets, id)
                    .map(|(name, secret)| (name.clone(), secret.arn.clone()))
                    .ok_or_else(not_found)?;
                secrets.remove(&name);
                Ok(json!({ "ARN": arn, "Name": name, "DeletionDate": epoch_seconds() }))
            }
            _ => Err(AwsError::unknown_operation(operation)),
        }
    }

    /// A secret under an ARN that somebody already knows: CreateSecret would choose its last six characters anew. With a
    /// key the secret is a JSON object, and other keys of it stay.
    pub(crate) fn insert(&self, arn: &str, key: Option<&str>, value: &str) {
        let fields: Vec<&str> = arn.split(':').collect();
        let [_, _, _, region, account, _, name, ..] = fields.as_slice() else { return };
        let mut scopes = lock(&self.scopes);
        let secrets = scopes.entry(((*account).to_owned(), (*region).to_owned())).or_default();
        let name = name.rsplit_once('-').filter(|(_, suffix)| suffix.len() == 6).map_or(*name, |(name, _)| name);
        let secret = secrets.entry(name.to_owned()).or_insert_with(|| Secret {
            arn: arn.to_owned(),
            description: None,
            created: epoch_seconds(),
            versions: vec![],
        });
        let text = match key {
            None => value.to_owned(),
            Some(key) => {
                let known = secret.version(None, None).and_then(|v| serde_json::from_str::<Value>(&v.value).ok());
                let mut object = known.filter(Value::is_object).unwrap_or_else(|| json!({}));
                object[key] = json!(value);
                object.to_string()
            }
        };
        secret.add(None, &text);
    }

    /// The text behind `valueFrom`: an ARN or a name, with `:json-key:version-stage:version-id` after an ARN.
    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html>
    pub(crate) fn value(&self, value_from: &str) -> Result<String, SecretLookupError> {
        let mut extras = Vec::new();
        let (scope, id) = if value_from.starts_with("arn:") {
            let fields: Vec<&str> = value_from.split(':').collect();
            let [_, _, _, region, account, _, _, rest @ ..] = fields.as_slice() else {
                return Err(SecretLookupError::NotFound);
            };
            extras = rest.to_vec();
            (((*account).to_owned(), (*region).to_owned()), fields[..7].join(":"))
        } else {
            (self.home.clone(), value_from.to_owned())
        };
        let extra = |index: usize| extras.get(index).copied().filter(|part| !part.is_empty());
        let scopes = lock(&self.scopes);
        let (_, secret) =
            scopes.get(&scope).and_then(|secrets| found(secrets, &id)).ok_or(SecretLookupError::NotFound)?;
        let (stage, version) = (extra(1), extra(2));
        let version = secret
            .version(stage, version)
            .ok_or_else(|| SecretLookupError::NoVersion(missing_version(stage, version)))?;
        let Some(key) = extra(0) else { return Ok(version.value.clone()) };
        let object: serde_json::Map<String, Value> =
            serde_json::from_str(&version.value).map_err(|_| SecretLookupError::NotJson)?;
        match object.get(key) {
            Some(Value::String(value)) => Ok(value.clone()),
            Some(other) => Ok(other.to_string()),
            None => Err(SecretLookupError::NoKey(key.to_owned())),
        }
    }
}

impl Secret {
    /// The newest version is AWSCURRENT, the one before it AWSPREVIOUS.
    fn add(&mut self, token: Option<&str>, value: &str) -> String {
        for version in &mut self.versions {
            version.stages = if version.stages.contains(&"AWSCURRENT") { vec!["AWSPREVIOUS"] } else { Vec::new() };
        }
        let id = token.map_or_else(uuid, str::to_owned);
        self.versions.push(Version {
            id: id.clone(),
            value: value.to_owned(),
            stages: vec!["AWSCURRENT"],
            created: epoch_seconds(),
        });
        id
    }

    fn version(&self, stage: Option<&str>, id: Option<&str>) -> Option<&Version> {
        let stage = stage.or(id.is_none().then_some("AWSCURRENT"));
        self.versions.iter().rev().find(|version| {
            id.is_none_or(|id| version.id == id) && stage.is_none_or(|stage| version.stages.contains(&stage))
        })
    }

    /// By name, by ARN, or by the ARN without its six random characters, as AWS allows.
    fn is(&self, name: &str, id: &str) -> bool {
        name == id || self.arn == id || self.arn.rsplit_once('-').is_some_and(|(partial, _)| partial == id)
    }
}

fn create(secrets: &mut BTreeMap<String, Secret>, scope: &Scope, body: &Value) -> Reply {
    let name = required(body, "Name")?;
    if secrets.contains_key(name) {
        return Err(AwsError::client(
            "ResourceExistsException",
            format!("The operation failed because the secret {name} already exists."),
        ));
    }
    let (account, region) = scope;
    let arn = format!("arn:{}:secretsmanager:{region}:{account}:secret:{name}-{}", partition(region), random_hex(3));
    let mut secret = Secret {
        arn: arn.clone(),
        description: text(body, "Description").map(str::to_owned),
        created: epoch_seconds(),
        versions: Vec::new(),
    };
    let mut reply = json!({ "ARN": arn, "Name": name });
    if let Some(value) = text(body, "SecretString") {
        reply["VersionId"] = json!(secret.add(text(body, "ClientRequestToken"), value));
    }
    secrets.insert(name.to_owned(), secret);
    Ok(reply)
}

fn found<'a>(secrets: &'a BTreeMap<String, Secret>, id: &str) -> Option<(&'a String, &'a Secret)> {
    secrets.iter().find(|(name, secret)| secret.is(name, id))
}

fn found_mut<'a>(secrets: &'a mut BTreeMap<String, Secret>, id: &str) -> Option<(&'a String, &'a mut Secret)> {
    secrets.iter_mut().find(|(name, secret)| secret.is(name, id))
}

fn not_found() -> AwsError {
    AwsError::client("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

fn no_version(stage: Option<&str>, id: Option<&str>) -> AwsError {
    let missing = missing_version(stage, id);
    AwsError::client(
        "ResourceNotFoundException",
        format!("Secrets Manager can't find the specified secret value for {missing}"),
    )
}

fn missing_version(stage: Option<&str>, id: Option<&str>) -> String {
    match id {
        Some(id) => format!("VersionId: {id}"),
        None => format!("staging label: {}", stage.unwrap_or("AWSCURRENT")),
    }
}

fn uuid() -> String {
    let hex = random_hex(16);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
