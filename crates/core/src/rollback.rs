//! What to put back after a failure, and how.

use super::names::{ServiceDeploymentArn, TaskDefinitionArn};
use super::rollout::Verdict;

/// What happened to one service of a release that must not stay.
#[derive(Clone, Copy, Debug)]
pub enum Trouble<'a> {
    /// Its own deployment ended like this.
    Verdict(&'a Verdict),
    /// It was deployed, and its smoke checks failed, or a sibling of the same release failed.
    Unwanted,
    /// It is still rolling out while a sibling failed.
    UnwantedYetMoving,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq)]
pub enum Restore {
    /// The previous revision serves again already.
    AlreadyBack,
    /// StopServiceDeployment with `ROLLBACK`: works while the deployment is ongoing, whatever its breaker is set to.
    /// Where ECS refuses, the revision is put back by UpdateService.
    StopServiceDeployment { deployment: ServiceDeploymentArn, otherwise: TaskDefinitionArn },
    /// UpdateService to the recorded previous revision.
    UpdateService(TaskDefinitionArn),
    /// Nothing of ours may be changed any more, and why.
    Leave(&'static str),
}

/// Decides for one service. `is_first`: the service had no completed deployment to go back to.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopServiceDeployment.html>
#[must_use]
pub fn decide(
    trouble: Trouble<'_>,
    previous: &TaskDefinitionArn,
    deployment: Option<&ServiceDeploymentArn>,
    is_first: bool,
) -> Restore {
    let put_back = |is_ongoing: bool| match (is_first, is_ongoing, deployment) {
        (true, _, _) => {
            Restore::Leave("no earlier deployment of this service completed: there is nothing to go back to")
        }
        (false, true, Some(deployment)) => {
            Restore::StopServiceDeployment { deployment: deployment.clone(), otherwise: previous.clone() }
        }
        (false, _, _) => Restore::UpdateService(previous.clone()),
    };
    match trouble {
        Trouble::Verdict(Verdict::RolledBack { .. }) => Restore::AlreadyBack,
        Trouble::Verdict(Verdict::Failed { .. }) | Trouble::UnwantedYetMoving => put_back(true),
        Trouble::Verdict(Verdict::Stable(_)) | Trouble::Unwanted => put_back(false),
        Trouble::Verdict(Verdict::Superseded { .. }) => Restore::Leave("a newer deployment owns the service"),
        Trouble::Verdict(Verdict::TimedOut { .. }) => Restore::Leave("ECS is still working on it"),
        Trouble::Verdict(Verdict::Unsteady { .. }) => Restore::Leave("going back has failed already"),
        Trouble::Verdict(Verdict::Lost { .. }) => Restore::Leave("the service cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Counts;

    #[test]
    fn what_is_put_back_depends_on_how_it_ended_and_on_what_there_was() {
        let previous: TaskDefinitionArn = "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:41".into();
        let arn: ServiceDeploymentArn = "arn:aws:ecs:eu-central-1:111122223333:service-deployment/shop/web/abc".into();
        let stop = Restore::StopServiceDeployment { deployment: arn.clone(), otherwise: previous.clone() };
        let update = Restore::UpdateService(previous.clone());
        let failed = Verdict::Failed { reason: String::new() };
        let back = Verdict::RolledBack { reason: String::new(), to: previous.clone() };
        let superseded = Verdict::Superseded { by: previous.clone() };
        let timed_out = Verdict::TimedOut { last: Counts::default(), awaiting_hook: None };
        let nowhere = Restore::Leave("no earlier deployment of this service completed: there is nothing to go back to");
        let cases = [
            ("ECS went back", Trouble::Verdict(&back), true, false, Restore::AlreadyBack),
            ("failed, ongoing", Trouble::Verdict(&failed), true, false, stop.clone()),
            ("failed, its ARN unknown", Trouble::Verdict(&failed), false, false, update.clone()),
            ("failed first deployment", Trouble::Verdict(&failed), true, true, nowhere.clone()),
            ("smoke checks failed", Trouble::Unwanted, true, false, update),
            ("smoke checks of a first deployment failed", Trouble::Unwanted, true, true, nowhere),
            ("sibling failed while moving", Trouble::UnwantedYetMoving, true, false, stop),
            (
                "superseded",
                Trouble::Verdict(&superseded),
                true,
                false,
                Restore::Leave("a newer deployment owns the service"),
            ),
            ("slow", Trouble::Verdict(&timed_out), true, false, Restore::Leave("ECS is still working on it")),
        ];
        for (name, trouble, is_known, is_first, expected) in cases {
            assert_eq!(decide(trouble, &previous, is_known.then_some(&arn), is_first), expected, "{name}");
        }
    }
}
