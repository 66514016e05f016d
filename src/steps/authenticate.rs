//! Who are we on AWS? The first call with the credentials, so that a wrong identity is found before anything else.

use crate::config::Config;
use crate::error::call_failed;
use crate::events::Event;
use crate::ports::Caller;
use crate::release_context::ReleaseContext;
use fargate_deploy_core::names::account_of;
use fargate_deploy_core::outcome::{Failure, Reason};

/// # Errors
/// `identity`, `unavailable`, or `config` where the services are another account's: nothing was touched.
pub async fn authenticate(config: &Config, context: &ReleaseContext<'_>) -> Result<Caller, Failure> {
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
    in_own_account(config, &caller)?;
    Ok(caller)
}

/// ECS looks for a service in the account of who asks, whatever the account in its ARN is.
fn in_own_account(config: &Config, caller: &Caller) -> Result<(), Failure> {
    let account_of = |arn: &str| {
        let account = account_of(arn).filter(|account| arn.starts_with("arn:") && !account.is_empty());
        account.map(str::to_owned)
    };
    let Some(own) = account_of(&caller.arn) else { return Ok(()) };
    for service in &config.services {
        for arn in [service.cluster.as_str(), service.name.as_str()] {
            if let Some(other) = account_of(arn).filter(|other| *other != own) {
                let what = format!(
                    "service `{}`: `{arn}` is of account {other}, and this run is in account {own}",
                    service.key
                );
                return Err(Failure::new(Reason::Config, what)
                    .with_next(format!("set `role` to one of account {other}, or name what is in account {own}")));
            }
        }
    }
    Ok(())
}
