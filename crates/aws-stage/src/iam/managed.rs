//! Customer managed policies: attached to roles, or as their permissions boundary.

use serde_json::{Value, json};

use super::{Account, already_exists, iso_now, no_entity};
use crate::api::{Caller, partition};
use crate::error::{AwsError, Reply};
use crate::policy::{Policy, Use};
use crate::request::{random_hex, required, text};
use crate::validation::not_played;

pub(super) fn call(account: &mut Account, caller: &Caller, operation: &str, body: &Value) -> Reply {
    match operation {
        "CreatePolicy" => create(account, caller, body),
        "AttachRolePolicy" => {
            let (arn, policy) = account.managed_policy(required(body, "PolicyArn")?)?;
            account.role_mut(body)?.attached.insert(arn, policy);
            Ok(json!({}))
        }
        "DetachRolePolicy" => {
            let arn = required(body, "PolicyArn")?;
            let was_attached = account.role_mut(body)?.attached.remove(arn).is_some();
            was_attached.then(|| json!({})).ok_or_else(|| no_entity(format!("Policy {arn} was not found.")))
        }
        "ListAttachedRolePolicies" => {
            let name = |arn: &str| arn.rsplit('/').next().unwrap_or_default().to_owned();
            let attached = account.role(body)?.attached.keys();
            let attached: Vec<_> = attached.map(|arn| json!({ "PolicyName": name(arn), "PolicyArn": arn })).collect();
            Ok(json!({ "AttachedPolicies": attached, "IsTruncated": false }))
        }
        "PutRolePermissionsBoundary" => {
            let boundary = account.managed_policy(required(body, "PermissionsBoundary")?)?;
            account.role_mut(body)?.boundary = Some(boundary);
            Ok(json!({}))
        }
        "DeleteRolePermissionsBoundary" => {
            account.role_mut(body)?.boundary = None;
            Ok(json!({}))
        }
        _ => Err(AwsError::unknown_operation(operation)),
    }
}

fn create(account: &mut Account, caller: &Caller, body: &Value) -> Reply {
    let name = required(body, "PolicyName")?;
    let policy = Policy::parse(required(body, "PolicyDocument")?, Use::Identity)?;
    let path = text(body, "Path").unwrap_or("/");
    let arn = format!("arn:{}:iam::{}:policy{path}{name}", partition(&caller.region), caller.account);
    if account.managed.contains_key(&arn) {
        return Err(already_exists(format!("A policy called {name} already exists. Duplicate names are not allowed.")));
    }
    account.managed.insert(arn.clone(), policy);
    let now = iso_now();
    Ok(json!({ "Policy": {
        "PolicyName": name, "PolicyId": format!("ANPA{}", random_hex(8).to_uppercase()), "Arn": arn, "Path": path,
        "DefaultVersionId": "v1", "AttachmentCount": 0, "PermissionsBoundaryUsageCount": 0, "IsAttachable": true,
        "CreateDate": now, "UpdateDate": now,
    } }))
}

impl Account {
    /// A managed policy with its ARN. AWS's own are not played.
    pub(super) fn managed_policy(&self, arn: &str) -> Result<(String, Policy), AwsError> {
        match self.managed.get(arn) {
            Some(policy) => Ok((arn.to_owned(), policy.clone())),
            None if arn.contains(":iam::aws:policy/") => Err(not_played(&format!("`{arn}`"))),
            None => Err(no_entity(format!("Policy {arn} does not exist or is not attachable."))),
        }
    }
}
