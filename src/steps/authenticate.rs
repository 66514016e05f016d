//! Who are we on AWS? The first call with the credentials, so that a wrong identity is found before anything else.

use crate::error::call_failed;
use crate::events::Step;
use crate::ports::Caller;
use crate::release_context::ReleaseContext;
use fargate_deploy_core::outcome::Failure;

/// # Errors
/// `identity`: nothing was touched.
pub async fn authenticate(context: &ReleaseContext<'_>) -> Result<Caller, Failure> {
    let step = context.start(Step::Identity, context.aws.identity.region());
    let caller = context.aws.identity.caller().await.map_err(|e| {
        let mut failure = call_failed("finding out who we are on AWS", &e);
        failure.reason = fargate_deploy_core::outcome::Reason::Identity;
        failure
    })?;
    step.done(format!("{} in {}", caller.arn, context.aws.identity.region()));
    Ok(caller)
}
