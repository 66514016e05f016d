//! Parameter Store: where leases are taken (`PutParameter` with `Overwrite=false` has exactly one winner) and where
//! task definitions find their configuration.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::api::{Caller, partition};
use super::error::{AwsError, Reply};
use super::request::{epoch_seconds, flag, list, lock, number, required, text, texts};

/// The parameters of every account and Region. Each call is atomic.
#[derive(Debug)]
pub(crate) struct Parameters {
    home: Scope,
    /// How long a new parameter is missing from lists, in seconds.
    list_lag: f64,
    scopes: Mutex<HashMap<Scope, BTreeMap<String, Parameter>>>,
}

/// Account and Region.
type Scope = (String, String);

#[derive(Clone, Debug)]
struct Parameter {
    versions: Vec<Version>,
    description: Option<String>,
    tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Version {
    value: String,
    kind: String,
    key: Option<String>,
    tier: String,
    modified: f64,
    user: String,
    labels: BTreeSet<String>,
}

/// AWS: standard parameters hold 4 KB, advanced ones 8 KB.
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html>
/// Levels of a name.
const HIERARCHY: usize = 15;
const STANDARD_VALUE: usize = 4096;
const ADVANCED_VALUE: usize = 8192;

impl Parameters {
    /// An empty store; `account` and `region` are where tasks of the stage look names up.
    #[must_use]
    pub(crate) fn new(account: &str, region: &str, list_lag: Duration) -> Self {
        let home = (account.to_owned(), region.to_owned());
        Self { home, list_lag: list_lag.as_secs_f64(), scopes: Mutex::default() }
    }

    /// One API call of `ssm`, members in PascalCase.
    pub(crate) async fn call(&self, caller: &Caller, operation: &str, body: Value) -> Reply {
        let scope = (caller.account.clone(), caller.region.clone());
        let mut scopes = lock(&self.scopes);
        let parameters = scopes.entry(scope.clone()).or_default();
        match operation {
            "PutParameter" => put(parameters, caller, &body),
            "GetParameter" => get(parameters, &scope, &body),
            "GetParameters" => get_several(parameters, &scope, &body),
            "GetParameterHistory" => history(parameters, &body),
            "GetParametersByPath" => by_path(parameters, &scope, &body, epoch_seconds() - self.list_lag),
            "LabelParameterVersion" => label(parameters, &body),
            "DeleteParameter" => match parameters.remove(required(&body, "Name")?) {
                Some(_) => Ok(json!({})),
                None => Err(not_found()),
            },
            "DeleteParameters" => {
                let (deleted, invalid): (Vec<_>, Vec<_>) =
                    texts(&body, "Names").into_iter().partition(|name| parameters.remove(*name).is_some());
                Ok(json!({ "DeletedParameters": deleted, "InvalidParameters": invalid }))
            }
            "AddTagsToResource" => {
                let tags = &mut tagged(parameters, &body)?.tags;
                for tag in list(&body, "Tags") {
                    tags.insert(required(tag, "Key")?.to_owned(), required(tag, "Value")?.to_owned());
                }
                Ok(json!({}))
            }
            "RemoveTagsFromResource" => {
                let tags = &mut tagged(parameters, &body)?.tags;
                for key in texts(&body, "TagKeys") {
                    tags.remove(key);
                }
                Ok(json!({}))
            }
            "ListTagsForResource" => {
                let tags = &tagged(parameters, &body)?.tags;
                let tags: Vec<_> = tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
                Ok(json!({ "TagList": tags }))
            }
            _ => Err(AwsError::unknown_operation(operation)),
        }
    }

    /// The decrypted value behind a task definition's `valueFrom`: a name of this Region or a full ARN.
    #[must_use]
    pub(crate) fn value(&self, name_or_arn: &str) -> Option<String> {
        let (scope, name) = match name_or_arn.strip_prefix("arn:").and_then(|_| name_or_arn.split_once(":parameter")) {
            Some((head, name)) => {
                let mut fields = head.split(':').skip(3);
                let region = fields.next()?.to_owned();
                ((fields.next()?.to_owned(), region), name)
            }
            None => (self.home.clone(), name_or_arn),
        };
        let scopes = lock(&self.scopes);
        let parameters = scopes.get(&scope)?;
        // `parameter/name` in an ARN stands for both `name` and `/name`.
        let found = parameters.get(name).or_else(|| parameters.get(name.trim_start_matches('/')))?;
        found.versions.last().map(|version| version.value.clone())
    }
}

fn put(parameters: &mut BTreeMap<String, Parameter>, caller: &Caller, body: &Value) -> Reply {
    let name = required(body, "Name")?;
    let value = required(body, "Value")?;
    check_name(name)?;
    let overwrite = flag(body, "Overwrite");
    let tags = list(body, "Tags");
    if overwrite && !tags.is_empty() {
        return Err(validation(
            "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or RemoveTagsFromResource.",
        ));
    }
    let previous = parameters.get(name).and_then(|found| found.versions.last().cloned());
    if previous.is_some() && !overwrite {
        return Err(AwsError::client(
            "ParameterAlreadyExists",
            "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.",
        ));
    }
    let kind = match (text(body, "Type"), &previous) {
        (Some(kind), Some(previous)) if kind != previous.kind => {
            return Err(AwsError::client(
                "HierarchyTypeMismatchException",
                "Parameter Store does not support changing a parameter type in a hierarchy.",
            ));
        }
        (Some(kind @ ("String" | "StringList" | "SecureString")), _) => kind.to_owned(),
        (Some(other), _) => {
            return Err(validation(&format!(
                "1 validation error detected: Value '{other}' at 'type' failed to satisfy constraint: Member must satisfy enum value set: [SecureString, StringList, String]"
            )));
        }
        (None, Some(previous)) => previous.kind.clone(),
        (None, None) => return Err(validation("A parameter type is required when you create a parameter.")),
    };
    let tier = tier(body, previous.as_ref(), value.len())?;
    let mut new_tags = BTreeMap::new();
    for tag in tags {
        new_tags.insert(required(tag, "Key")?.to_owned(), required(tag, "Value")?.to_owned());
    }
    let entry = parameters.entry(name.to_owned()).or_insert_with(|| Parameter {
        versions: Vec::new(),
        description: None,
        tags: new_tags,
    });
    if let Some(description) = text(body, "Description") {
        entry.description = Some(description.to_owned());
    }
    entry.versions.push(Version {
        value: value.to_owned(),
        key: (kind == "SecureString").then(|| text(body, "KeyId").unwrap_or("alias/aws/ssm").to_owned()),
        kind,
        tier: tier.clone(),
        modified: epoch_seconds(),
        user: caller.arn.clone(),
        labels: BTreeSet::new(),
    });
    Ok(json!({ "Version": entry.versions.len(), "Tier": tier }))
}

fn check_name(name: &str) -> Result<(), AwsError> {
    if name.contains('/') && !name.starts_with('/') {
        return Err(validation("Parameter name must be a fully qualified name."));
    }
    if name.trim_start_matches('/').split('/').count() > HIERARCHY {
        return Err(AwsError::client(
            "HierarchyLevelLimitExceededException",
            format!("The hierarchy can have a maximum of {HIERARCHY} levels."),
        ));
    }
    let first = name.trim_start_matches('/').to_ascii_lowercase();
    if first.starts_with("aws") || first.starts_with("ssm") {
        let prefix = &first[..3];
        return Err(validation(&format!("Parameter name: can't be prefixed with \"{prefix}\" (case-insensitive).")));
    }
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "_.-/".contains(letter);
    if name.chars().all(allowed) {
        return Ok(());
    }
    Err(validation(
        "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 symbols .-_",
    ))
}

fn tier(body: &Value, previous: Option<&Version>, length: usize) -> Result<String, AwsError> {
    let asked = text(body, "Tier").or(previous.map(|version| version.tier.as_str())).unwrap_or("Standard");
    match asked {
        "Intelligent-Tiering" if length > STANDARD_VALUE && length <= ADVANCED_VALUE => Ok("Advanced".to_owned()),
        "Standard" | "Intelligent-Tiering" if length <= STANDARD_VALUE => Ok("Standard".to_owned()),
        "Advanced" if length <= ADVANCED_VALUE => Ok("Advanced".to_owned()),
        "Standard" => Err(validation(
            "Standard tier parameters support a maximum parameter value of 4096 characters. To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier. For more information, see https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html",
        )),
        _ => Err(validation("Advanced tier parameters support a maximum parameter value of 8192 characters.")),
    }
}

fn get(parameters: &BTreeMap<String, Parameter>, scope: &Scope, body: &Value) -> Reply {
    let found = described(parameters, scope, required(body, "Name")?, flag(body, "WithDecryption"))?;
    Ok(json!({ "Parameter": found }))
}

fn get_several(parameters: &BTreeMap<String, Parameter>, scope: &Scope, body: &Value) -> Reply {
    let names = texts(body, "Names");
    if names.is_empty() || names.len() > 10 {
        return Err(validation(&format!(
            "1 validation error detected: Value '[{}]' at 'names' failed to satisfy constraint: Member must have length less than or equal to 10",
            names.join(", ")
        )));
    }
    let decrypt = flag(body, "WithDecryption");
    let (mut found, mut invalid) = (Vec::new(), Vec::new());
    for name in names {
        match described(parameters, scope, name, decrypt) {
            Ok(parameter) => found.push(parameter),
            Err(_) => invalid.push(name),
        }
    }
    Ok(json!({ "Parameters": found, "InvalidParameters": invalid }))
}

/// Shows what was there at `as_of`, in epoch seconds.
fn by_path(parameters: &BTreeMap<String, Parameter>, scope: &Scope, body: &Value, as_of: f64) -> Reply {
    let path = required(body, "Path")?;
    if !path.starts_with('/') {
        return Err(validation(
            "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward slash \"/\".",
        ));
    }
    let size = number(body, "MaxResults").unwrap_or(10);
    if !(1..=10).contains(&size) {
        let bound = if size < 1 { "greater than or equal to 1" } else { "less than or equal to 10" };
        return Err(validation(&format!(
            "1 validation error detected: Value '{size}' at 'maxResults' failed to satisfy constraint: Member must have value {bound}"
        )));
    }
    let prefix = format!("{}/", path.trim_end_matches('/'));
    let recursive = flag(body, "Recursive");
    let names: Vec<_> = parameters
        .iter()
        .filter(|(_, parameter)| parameter.versions.first().is_none_or(|first| first.modified <= as_of))
        .map(|(name, _)| name)
        .filter(|name| name.strip_prefix(&prefix).is_some_and(|rest| recursive || !rest.contains('/')))
        .collect();
    let (names, next) = super::request::page(&names, text(body, "NextToken"), usize::try_from(size).unwrap_or(10))
        .map_err(|error| AwsError { code: "InvalidNextToken".to_owned(), ..error })?;
    let found: Result<Vec<_>, _> =
        names.into_iter().map(|name| described(parameters, scope, name, flag(body, "WithDecryption"))).collect();
    let mut reply = json!({ "Parameters": found? });
    if let Some(next) = next {
        reply["NextToken"] = json!(next);
    }
    Ok(reply)
}

/// `name` may carry a version: `name:3`; it may also be the parameter's ARN.
fn described(
    parameters: &BTreeMap<String, Parameter>,
    scope: &Scope,
    name: &str,
    decrypt: bool,
) -> Result<Value, AwsError> {
    let arn_prefix = format!("arn:{}:ssm:{}:{}:parameter", partition(&scope.1), scope.1, scope.0);
    let name = match name.strip_prefix(&arn_prefix) {
        Some(rest) if parameters.contains_key(rest) => rest,
        Some(rest) => rest.trim_start_matches('/'),
        None => name,
    };
    let (name, selector) = name.split_once(':').map_or((name, None), |(name, selector)| (name, Some(selector)));
    let found = parameters.get(name).ok_or_else(not_found)?;
    let index = match selector {
        None => found.versions.len(),
        Some(selector) if selector.starts_with(|first: char| first.is_ascii_digit()) => selector.parse().unwrap_or(0),
        Some(label) => {
            let labelled = found.versions.iter().position(|version| version.labels.contains(label));
            let message = format!("Systems Manager could not find label {label} of parameter {name}.");
            labelled.map(|at| at + 1).ok_or_else(|| AwsError::client("ParameterVersionNotFound", message))?
        }
    };
    let version = index.checked_sub(1).and_then(|index| found.versions.get(index)).ok_or_else(|| {
        AwsError::client(
            "ParameterVersionNotFound",
            format!("Systems Manager could not find version {index} of {name}."),
        )
    })?;
    let arn = format!("{arn_prefix}{}{name}", if name.starts_with('/') { "" } else { "/" });
    Ok(json!({
        "Name": name,
        "Type": version.kind,
        "Value": version.shown(decrypt),
        "Version": index,
        "LastModifiedDate": version.modified,
        "ARN": arn,
        "DataType": "text",
    }))
}

/// A label belongs to one version; given to another, it moves. Labels that do not fit are named in the answer.
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-labels.html>
fn label(parameters: &mut BTreeMap<String, Parameter>, body: &Value) -> Reply {
    let found = parameters.get_mut(required(body, "Name")?).ok_or_else(not_found)?;
    let wanted = number(body, "ParameterVersion").and_then(|wanted| usize::try_from(wanted).ok());
    let wanted = wanted.unwrap_or(found.versions.len());
    let missing = || AwsError::client("ParameterVersionNotFound", "Systems Manager could not find the version.");
    let index = wanted.checked_sub(1).filter(|index| *index < found.versions.len()).ok_or_else(missing)?;
    let is_valid = |label: &str| {
        let lower = label.to_ascii_lowercase();
        !label.starts_with(|first: char| first.is_ascii_digit())
            && !lower.starts_with("aws")
            && !lower.starts_with("ssm")
    };
    let (valid, invalid): (Vec<&str>, Vec<&str>) = texts(body, "Labels").into_iter().partition(|label| is_valid(label));
    for label in valid {
        for version in &mut found.versions {
            version.labels.remove(label);
        }
        found.versions[index].labels.insert(label.to_owned());
    }
    Ok(json!({ "InvalidLabels": invalid, "ParameterVersion": wanted }))
}

fn history(parameters: &BTreeMap<String, Parameter>, body: &Value) -> Reply {
    let name = required(body, "Name")?;
    let found = parameters.get(name).ok_or_else(not_found)?;
    let decrypt = flag(body, "WithDecryption");
    let versions = found.versions.iter().zip(1..).map(|(version, number)| {
        let mut entry = json!({
            "Name": name,
            "Type": version.kind,
            "LastModifiedDate": version.modified,
            "LastModifiedUser": version.user,
            "Value": version.shown(decrypt),
            "Version": number,
            "Tier": version.tier,
            "DataType": "text",
            "Labels": version.labels,
        });
        for (member, value) in [("KeyId", &version.key), ("Description", &found.description)] {
            if let Some(value) = value {
                entry[member] = json!(value);
            }
        }
        entry
    });
    Ok(json!({ "Parameters": versions.collect::<Vec<_>>() }))
}

impl Version {
    /// A SecureString that nobody asked to decrypt shows as cipher text.
    fn shown(&self, decrypt: bool) -> String {
        if self.kind == "SecureString" && !decrypt {
            base64::engine::general_purpose::STANDARD.encode(Sha256::digest(&self.value))
        } else {
            self.value.clone()
        }
    }
}

fn tagged<'a>(parameters: &'a mut BTreeMap<String, Parameter>, body: &Value) -> Result<&'a mut Parameter, AwsError> {
    if text(body, "ResourceType") != Some("Parameter") {
        return Err(AwsError::client("InvalidResourceType", "The resource type is not valid."));
    }
    parameters
        .get_mut(required(body, "ResourceId")?)
        .ok_or_else(|| AwsError::client("InvalidResourceId", "The resource ID is not valid."))
}

/// AWS sends this exception without a sentence.
fn not_found() -> AwsError {
    AwsError::client("ParameterNotFound", "")
}

fn validation(message: &str) -> AwsError {
    AwsError::client("ValidationException", message)
}
