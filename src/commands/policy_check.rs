//! `policy --check`: what a live role is allowed, against what the config needs.

use crate::adapters::aws::AwsClient;
use crate::commands::deploy::open_session;
use crate::config::Config;
use crate::context::RunContext;
use crate::error::call_failed;
use crate::events::Sink;
use crate::ports::Preconditions as _;
use fargate_deploy_core::iam_policy::Statement;
use fargate_deploy_core::iam_role::WHY;
use fargate_deploy_core::iam_role_check::{Comparison, Why, compare};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::wording::counted;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Reads the role's policies as whoever runs this, and compares. `role`: its name or its ARN.
///
/// # Errors
/// `identity`, `permission`, `unavailable`: they cannot be read. `config`: there is no such role.
pub async fn check(
    role: &str,
    needed: &[Statement],
    config: &Config,
    env: &BTreeMap<String, String>,
    sink: &Arc<dyn Sink + Send + Sync>,
) -> Result<Comparison, Failure> {
    let context = RunContext::read(env, &config.root);
    let session = open_session(config.region.clone(), vec![], &context, env, Arc::clone(sink)).await?;
    let client = AwsClient::new(session);
    let name = role.rsplit('/').next().unwrap_or(role);
    let found = client.trust_of_role(name).await.map_err(|e| call_failed("reading the role", &e))?;
    if found.is_none() {
        let failure = Failure::new(Reason::Config, format!("role `{name}`: there is no such role in this account"));
        return Err(failure.with_next("give its name or its ARN, and see that the credentials are of its account"));
    }
    let policies = client.policies_of_role(name).await.map_err(|e| call_failed("reading the role's policies", &e))?;
    Ok(compare(needed, &policies))
}

/// A paragraph each: what is missing with the step that calls it, then what is allowed beyond.
#[must_use]
pub fn text(found: &Comparison) -> String {
    let mut lines = vec![];
    for missing in &found.missing {
        let state = match missing.why {
            Why::NotAllowed => "",
            Why::Denied => " (a policy denies it)",
            Why::OnlyUnderCondition => " (allowed under another condition only)",
        };
        let why = WHY.iter().find(|why| why.action == missing.action);
        lines.push(format!("missing   {}{state}", missing.action));
        lines.push(format!("          on: {}", missing.resources.join("\n              ")));
        lines.extend(why.map(|why| format!("          for: {}\n          without: {}", why.step, why.without)));
    }
    for spare in &found.unneeded {
        let word = if spare.needed.is_empty() { "unneeded" } else { "too wide" };
        lines.push(format!("{word}  {} (policy `{}`)", spare.action, spare.policy));
        lines.push(format!("          on: {}", spare.resources.join("\n              ")));
        if !spare.needed.is_empty() {
            lines.push(format!("          enough: {}", spare.needed.join("\n                  ")));
        }
    }
    let wide = found.unneeded.iter().filter(|spare| !spare.needed.is_empty()).count();
    let unneeded = found.unneeded.len() - wide;
    lines.push(format!("{} missing, {unneeded} unneeded, {wide} too wide", found.missing.len()));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// What is missing keeps the role from its work; what it has beyond does not.
#[must_use]
pub fn failure(role: &str, found: &Comparison) -> Option<Failure> {
    let actions: Vec<_> = found.missing.iter().map(|missing| missing.action.clone()).collect();
    let first = actions.first()?;
    let what = match actions.len() {
        1 => format!("role `{role}` lacks `{first}`"),
        many => format!("role `{role}` lacks {}", counted(many, "action")),
    };
    let failure = Failure::new(Reason::Permission, what).with_evidence(actions);
    Some(failure.with_next("give it the policy that `fargate-deploy policy` prints"))
}
