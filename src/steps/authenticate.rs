//! Who are we on AWS? The first call with the credentials, so that a wrong identity is found before anything else.

use crate::error::call_failed;
use crate::events::Event;
use crate::ports::Caller;
use crate::release_context::ReleaseContext;
use fargate_deploy_core::outcome::{Failure, Reason};

/// # Errors
/// `identity`, or `unavailable`: nothing was touched.
pub async fn authenticate(context: &ReleaseContext<'_>) -> Result<Caller, Failure> {
    let region = context.aws.identity.region().to_owned();
    let step = context.begin(Event::IdentityRequested { region: region.clone() });
    let caller = context.aws.identity.caller().await.map_err(|e| {
        let mut failure = call_failed("finding out who we are on AWS", &e);
        if failure.reason != Reason::Unavailable {
            failure.reason = Reason::Identity;
        }
        failure
    })?;
    step.emit(Event::IdentityFound { arn: caller.arn.clone(), region, took: step.took() });
    Ok(caller)
}
