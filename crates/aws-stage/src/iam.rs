//! IAM as far as federation and least privilege need it: roles with their policies and boundaries, OIDC providers, and the
//! answer to "may this caller do that?".
//!
//! A role may do what its policies allow, within its permissions boundary: without any policy, nothing. Root may do everything.

mod managed;

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use serde_json::{Value, json};

use super::api::{Caller, partition};
use super::error::{AwsError, Reply};
use super::policy::{Context, Decision, Policy, Principal, Request, Use};
use super::request::{list, lock, number, random_hex, required, text, texts};

/// Who a task's roles trust.
const TASKS: &str = "ecs-tasks.amazonaws.com";

/// Roles and identity providers of every account.
#[derive(Debug, Default)]
pub(crate) struct Iam {
    accounts: Mutex<HashMap<String, Account>>,
}

#[derive(Debug, Default)]
struct Account {
    roles: BTreeMap<String, Role>,
    /// By the URL without its scheme.
    providers: BTreeMap<String, Provider>,
    /// Customer managed policies, by their ARN.
    managed: BTreeMap<String, Policy>,
}

/// An IAM role.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    /// The name, without path.
    pub name: String,
    /// `arn:aws:iam::ACCOUNT:role/PATH/NAME`.
    pub arn: String,
    /// Begins with `AROA`.
    pub id: String,
    /// Who may assume it.
    pub(super) trust: Policy,
    /// Seconds, 3600 to 43200.
    pub max_session_duration: i64,
    path: String,
    description: Option<String>,
    created: String,
    inline: BTreeMap<String, Policy>,
    /// Managed policies, by their ARN.
    attached: BTreeMap<String, Policy>,
    boundary: Option<(String, Policy)>,
}

/// An OIDC identity provider.
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    /// `arn:aws:iam::ACCOUNT:oidc-provider/HOST`.
    pub arn: String,
    /// The audiences that it accepts.
    pub client_ids: Vec<String>,
    thumbprints: Vec<String>,
    created: String,
}

impl Iam {
    /// One API call of `iam`, members in PascalCase.
    pub(crate) async fn call(&self, caller: &Caller, operation: &str, body: Value) -> Reply {
        let mut accounts = lock(&self.accounts);
        let account = accounts.entry(caller.account.clone()).or_default();
        match operation {
            "CreateRole" => create_role(account, caller, &body),
            "GetRole" => Ok(json!({ "Role": described(account.role(&body)?) })),
            "ListRoles" => {
                let roles: Vec<_> = account.roles.values().map(described).collect();
                Ok(json!({ "Roles": roles, "IsTruncated": false }))
            }
            "DeleteRole" => {
                let name = account.role(&body)?.name.clone();
                account.roles.remove(&name);
                Ok(json!({}))
            }
            "UpdateRole" => {
                let seconds = body.get("MaxSessionDuration").map(|_| max_session_duration(&body)).transpose()?;
                let role = account.role_mut(&body)?;
                role.max_session_duration = seconds.unwrap_or(role.max_session_duration);
                role.description = text(&body, "Description").map(str::to_owned).or(role.description.take());
                Ok(json!({}))
            }
            "UpdateAssumeRolePolicy" => {
                let trust = Policy::parse(required(&body, "PolicyDocument")?, Use::Trust)?;
                account.role_mut(&body)?.trust = trust;
                Ok(json!({}))
            }
            "PutRolePolicy" => {
                let policy = Policy::parse(required(&body, "PolicyDocument")?, Use::Identity)?;
                let name = required(&body, "PolicyName")?.to_owned();
                account.role_mut(&body)?.inline.insert(name, policy);
                Ok(json!({}))
            }
            "GetRolePolicy" => {
                let (role, name) = (account.role(&body)?, required(&body, "PolicyName")?);
                let policy = role.inline.get(name).ok_or_else(|| no_policy(name))?;
                Ok(json!({ "RoleName": role.name, "PolicyName": name, "PolicyDocument": encoded(&policy.text) }))
            }
            "DeleteRolePolicy" => {
                let name = required(&body, "PolicyName")?;
                account.role_mut(&body)?.inline.remove(name).map(|_| json!({})).ok_or_else(|| no_policy(name))
            }
            "ListRolePolicies" => {
                let names: Vec<_> = account.role(&body)?.inline.keys().cloned().collect();
                Ok(json!({ "PolicyNames": names, "IsTruncated": false }))
            }
            "CreatePolicy"
            | "AttachRolePolicy"
            | "DetachRolePolicy"
            | "ListAttachedRolePolicies"
            | "PutRolePermissionsBoundary"
            | "DeleteRolePermissionsBoundary" => managed::call(account, caller, operation, &body),
            "SimulatePrincipalPolicy" => simulate(account, &body),
            "CreateOpenIDConnectProvider" => create_provider(account, caller, &body),
            "GetOpenIDConnectProvider" => {
                let (url, provider) = account.provider(&body)?;
                Ok(json!({
                    "Url": url, "ClientIDList": provider.client_ids, "ThumbprintList": provider.thumbprints,
                    "CreateDate": provider.created,
                }))
            }
            "ListOpenIDConnectProviders" => {
                let providers: Vec<_> =
                    account.providers.values().map(|provider| json!({ "Arn": provider.arn })).collect();
                Ok(json!({ "OpenIDConnectProviderList": providers }))
            }
            "AddClientIDToOpenIDConnectProvider" => {
                let url = account.provider(&body)?.0.clone();
                let id = required(&body, "ClientID")?.to_owned();
                if let Some(provider) = account.providers.get_mut(&url)
                    && !provider.client_ids.contains(&id)
                {
                    provider.client_ids.push(id);
                }
                Ok(json!({}))
            }
            "DeleteOpenIDConnectProvider" => {
                let url = account.provider(&body)?.0.clone();
                account.providers.remove(&url);
                Ok(json!({}))
            }
            _ => Err(AwsError::client(
                "InvalidAction",
                format!("Could not find operation {operation} for version 2010-05-08"),
            )),
        }
    }

    /// The role of an ARN, in whichever account it is.
    #[must_use]
    pub(crate) fn role(&self, arn: &str) -> Option<Role> {
        let account = arn.split(':').nth(4)?;
        let name = arn.rsplit('/').next()?;
        lock(&self.accounts).get(account)?.roles.get(name).filter(|role| role.arn == arn).cloned()
    }

    /// A role of whichever account, which ECS may assume for tasks and which may do everything. One that is there stays.
    pub(crate) fn insert_task_role(&self, arn: &str) -> Result<(), AwsError> {
        let account = arn.split(':').nth(4).unwrap_or_default();
        let name = arn.rsplit('/').next().unwrap_or_default();
        let mut accounts = lock(&self.accounts);
        let account = accounts.entry(account.to_owned()).or_default();
        if account.roles.contains_key(name) {
            return Ok(());
        }
        let statement = |members: Value| json!({ "Version": "2012-10-17", "Statement": [members] }).to_string();
        let trust = statement(json!({ "Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": { "Service": TASKS } }));
        let all =
            Policy::parse(&statement(json!({ "Effect": "Allow", "Action": "*", "Resource": "*" })), Use::Identity)?;
        let mut role = Role::new(name, arn, Policy::parse(&trust, Use::Trust)?);
        role.inline.insert("all".to_owned(), all);
        account.roles.insert(name.to_owned(), role);
        Ok(())
    }

    /// Whether ECS may assume a role for a task.
    #[must_use]
    pub(crate) fn trusts_tasks(&self, arn: &str) -> bool {
        let tasks = Principal::Service(TASKS);
        self.role(arn)
            .is_some_and(|role| role.trust.trusts(tasks, "sts:AssumeRole", &Context::new()) == Decision::Allowed)
    }

    /// The role whose session the caller is.
    #[must_use]
    pub(crate) fn role_of(&self, caller: &Caller) -> Option<Role> {
        lock(&self.accounts).get(&caller.account)?.roles.get(session_role(caller)?).cloned()
    }

    /// Whether any policy limits this caller.
    #[must_use]
    pub(crate) fn is_restricted(&self, caller: &Caller) -> bool {
        session_role(caller).is_some()
    }

    /// The provider of `issuer` (an `https://` URL) in an account.
    #[must_use]
    pub(crate) fn provider(&self, account: &str, issuer: &str) -> Option<Provider> {
        let host = issuer.strip_prefix("https://")?;
        lock(&self.accounts).get(account)?.providers.get(host).cloned()
    }

    /// Whether the caller's identity-based policies allow an action, in AWS's words if not.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
    pub(super) fn authorize(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        context: &Context,
    ) -> Result<(), AwsError> {
        if session_role(caller).is_none() {
            return Ok(());
        }
        let role = self.role_of(caller);
        let mut keys = global_keys(caller, role.as_ref());
        keys.extend(context.iter().cloned());
        let request = Request { action, resource, context: &keys };
        let by_role = role.as_ref().map_or(Decision::ImplicitDeny, |role| role.by_policies(request));
        let by_boundary = role.as_ref().map_or(Decision::Allowed, |role| role.by_boundary(request));
        let by_session =
            caller.session_policy.as_deref().map_or(Decision::Allowed, |policy| Policy::decide([policy], request));
        let by = [
            ("an identity-based policy", "identity-based policy", by_role),
            ("a permissions boundary", "permissions boundary", by_boundary),
            ("a session policy", "session policy", by_session),
        ];
        let denied = by.iter().find(|(.., decision)| *decision == Decision::ExplicitDeny);
        let not_allowed = by.iter().find(|(.., decision)| *decision == Decision::ImplicitDeny);
        let because = match (denied, not_allowed) {
            (Some((one, ..)), _) => format!("with an explicit deny in {one}"),
            (None, Some((_, none, _))) => format!("because no {none} allows the {action} action"),
            (None, None) => return Ok(()),
        };
        Err(AwsError::client(
            "AccessDeniedException",
            format!("User: {} is not authorized to perform: {action} on resource: {resource} {because}", caller.arn),
        ))
    }
}

impl Role {
    /// Without any policy.
    fn new(name: &str, arn: &str, trust: Policy) -> Self {
        Self {
            name: name.to_owned(),
            arn: arn.to_owned(),
            id: format!("AROA{}", random_hex(8).to_uppercase()),
            trust,
            max_session_duration: 3600,
            path: "/".to_owned(),
            description: None,
            created: iso_now(),
            inline: BTreeMap::new(),
            attached: BTreeMap::new(),
            boundary: None,
        }
    }

    fn by_policies(&self, request: Request<'_>) -> Decision {
        Policy::decide(self.inline.values().chain(self.attached.values()), request)
    }

    /// A boundary allows nothing by itself: it says what policies can allow at most.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html>
    fn by_boundary(&self, request: Request<'_>) -> Decision {
        self.boundary.as_ref().map_or(Decision::Allowed, |(_, policy)| Policy::decide([policy], request))
    }
}

impl Account {
    fn role(&self, body: &Value) -> Result<&Role, AwsError> {
        let name = required(body, "RoleName")?;
        self.roles.get(name).ok_or_else(|| no_role(name))
    }

    fn role_mut(&mut self, body: &Value) -> Result<&mut Role, AwsError> {
        let name = required(body, "RoleName")?;
        self.roles.get_mut(name).ok_or_else(|| no_role(name))
    }

    fn provider(&self, body: &Value) -> Result<(&String, &Provider), AwsError> {
        let arn = required(body, "OpenIDConnectProviderArn")?;
        self.providers
            .iter()
            .find(|(_, provider)| provider.arn == arn)
            .ok_or_else(|| no_entity(format!("OpenIDConnect Provider not found for arn {arn}")))
    }
}

/// The condition keys that every request has.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>
fn global_keys(caller: &Caller, role: Option<&Role>) -> Context {
    let now = jiff::Timestamp::now();
    let principal = role.map_or(&caller.arn, |role| &role.arn);
    let keys = [
        ("aws:RequestedRegion", caller.region.clone()),
        ("aws:PrincipalArn", principal.clone()),
        ("aws:PrincipalAccount", caller.account.clone()),
        ("aws:SourceIp", std::net::Ipv4Addr::LOCALHOST.to_string()),
        ("aws:CurrentTime", now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        ("aws:EpochTime", now.as_second().to_string()),
        ("aws:SecureTransport", "false".to_owned()),
    ];
    keys.map(|(key, value)| (key.to_owned(), vec![value])).to_vec()
}

/// The role name in `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
fn session_role(caller: &Caller) -> Option<&str> {
    caller.arn.split_once(":assumed-role/").and_then(|(_, rest)| rest.split('/').next())
}

fn create_role(account: &mut Account, caller: &Caller, body: &Value) -> Reply {
    let name = required(body, "RoleName")?;
    let trust = Policy::parse(required(body, "AssumeRolePolicyDocument")?, Use::Trust)?;
    if account.roles.contains_key(name) {
        return Err(already_exists(format!("Role with name {name} already exists.")));
    }
    let path = text(body, "Path").unwrap_or("/");
    let boundary = text(body, "PermissionsBoundary").map(|arn| account.managed_policy(arn)).transpose()?;
    let arn = format!("arn:{}:iam::{}:role{path}{name}", partition(&caller.region), caller.account);
    let role = Role {
        max_session_duration: max_session_duration(body)?,
        path: path.to_owned(),
        description: text(body, "Description").map(str::to_owned),
        boundary,
        ..Role::new(name, &arn, trust)
    };
    let reply = json!({ "Role": described(&role) });
    account.roles.insert(name.to_owned(), role);
    Ok(reply)
}

fn max_session_duration(body: &Value) -> Result<i64, AwsError> {
    let seconds = number(body, "MaxSessionDuration").unwrap_or(3600);
    if (3600..=43200).contains(&seconds) {
        return Ok(seconds);
    }
    let bound = if seconds < 3600 { "greater than or equal to 3600" } else { "less than or equal to 43200" };
    Err(AwsError::client(
        "ValidationError",
        format!(
            "1 validation error detected: Value '{seconds}' at 'maxSessionDuration' failed to satisfy constraint: Member must have value {bound}"
        ),
    ))
}

fn described(role: &Role) -> Value {
    let mut described = json!({
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.id,
        "Arn": role.arn,
        "CreateDate": role.created,
        "AssumeRolePolicyDocument": encoded(&role.trust.text),
        "MaxSessionDuration": role.max_session_duration,
    });
    if let Some(description) = &role.description {
        described["Description"] = json!(description);
    }
    if let Some((arn, _)) = &role.boundary {
        described["PermissionsBoundary"] =
            json!({ "PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": arn });
    }
    described
}

fn create_provider(account: &mut Account, caller: &Caller, body: &Value) -> Reply {
    let url = required(body, "Url")?;
    let Some(host) = url.strip_prefix("https://") else {
        return Err(AwsError::client("InvalidInput", "Invalid Open ID Connect Provider URL"));
    };
    if account.providers.contains_key(host) {
        return Err(already_exists(format!("Provider with url {url} already exists.")));
    }
    let arn = format!("arn:{}:iam::{}:oidc-provider/{host}", partition(&caller.region), caller.account);
    let owned = |name| texts(body, name).into_iter().map(str::to_owned).collect();
    let provider = Provider {
        arn: arn.clone(),
        client_ids: owned("ClientIDList"),
        thumbprints: owned("ThumbprintList"),
        created: iso_now(),
    };
    account.providers.insert(host.to_owned(), provider);
    Ok(json!({ "OpenIDConnectProviderArn": arn }))
}

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html>
fn simulate(account: &Account, body: &Value) -> Reply {
    let source = required(body, "PolicySourceArn")?;
    let role = account
        .roles
        .values()
        .find(|role| role.arn == source)
        .ok_or_else(|| no_entity(format!("The entity with ARN {source} cannot be found.")))?;
    let context: Context = list(body, "ContextEntries")
        .iter()
        .filter_map(|entry| {
            let values = texts(entry, "ContextKeyValues").into_iter().map(str::to_owned).collect();
            Some((text(entry, "ContextKeyName")?.to_owned(), values))
        })
        .collect();
    let mut resources = texts(body, "ResourceArns");
    if resources.is_empty() {
        resources.push("*");
    }
    let mut results = Vec::new();
    for action in texts(body, "ActionNames") {
        for resource in &resources {
            let request = Request { action, resource, context: &context };
            let decision = match (role.by_policies(request), role.by_boundary(request)) {
                (Decision::Allowed, Decision::Allowed) => "allowed",
                (Decision::ExplicitDeny, _) | (_, Decision::ExplicitDeny) => "explicitDeny",
                _ => "implicitDeny",
            };
            results.push(json!({
                "EvalActionName": action, "EvalResourceName": resource, "EvalDecision": decision,
                "MatchedStatements": [], "MissingContextValues": [],
            }));
        }
    }
    Ok(json!({ "EvaluationResults": results, "IsTruncated": false }))
}

/// IAM returns policy documents URL-encoded (RFC 3986).
fn encoded(document: &str) -> String {
    form_urlencoded::byte_serialize(document.as_bytes()).collect::<String>().replace('+', "%20")
}

/// The Query protocol's timestamps.
fn iso_now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn no_role(name: &str) -> AwsError {
    no_entity(format!("The role with name {name} cannot be found."))
}

fn no_policy(name: &str) -> AwsError {
    no_entity(format!("The role policy with name {name} cannot be found."))
}

fn no_entity(message: String) -> AwsError {
    AwsError { status: 404, ..AwsError::client("NoSuchEntity", message) }
}

fn already_exists(message: String) -> AwsError {
    AwsError { status: 409, ..AwsError::client("EntityAlreadyExists", message) }
}
