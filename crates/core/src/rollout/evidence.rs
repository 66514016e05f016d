//! Signs in DescribeServices that our deployment failed, as opposed to having been replaced.

use super::Target;
use crate::service::{Service, State};

/// Why ours failed, if anything says so: its own state, or an event that names its id. The texts are no API contract,
/// so they only ever add to what the states say.
pub(super) fn of_failure(target: &Target, service: &Service) -> Option<String> {
    let ours = service.deployment(&target.deployment);
    if let Some(ours) = ours.filter(|d| d.state == State::Failed) {
        return Some(ours.reason.clone().unwrap_or_else(|| "ECS gives no reason".to_owned()));
    }
    let names_ours = format!("(deployment {})", target.deployment);
    service
        .events
        .iter()
        .find(|e| e.message.contains(&names_ours) && e.message.contains("deployment failed"))
        .map(|e| e.message.split("deployment failed:").nth(1).map_or(e.message.as_str(), str::trim).to_owned())
}
