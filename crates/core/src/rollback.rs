//! What to put back after a failure, and how.

use super::names::{ServiceDeploymentArn, TaskDefinitionArn};
use super::rollout::{Listed, Target, Verdict, newer_in, of_rollback};
use super::service::Service;

/// What happened to one service of a release that must not stay.
#[derive(Clone, Copy, Debug)]
pub enum RollbackCause<'a> {
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
    trouble: RollbackCause<'_>,
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
        RollbackCause::Verdict(Verdict::RolledBack { .. }) => Restore::AlreadyBack,
        RollbackCause::Verdict(Verdict::Failed { .. }) | RollbackCause::UnwantedYetMoving => put_back(true),
        RollbackCause::Verdict(Verdict::Stable(_)) | RollbackCause::Unwanted => put_back(false),
        RollbackCause::Verdict(Verdict::Superseded { .. }) => Restore::Leave("a newer deployment owns the service"),
        RollbackCause::Verdict(Verdict::TimedOut { .. }) => Restore::Leave("ECS is still working on it"),
        RollbackCause::Verdict(Verdict::Unsteady { .. }) => Restore::Leave("going back has failed already"),
        RollbackCause::Verdict(Verdict::Lost { .. }) => Restore::Leave("the service cannot be read"),
        RollbackCause::Verdict(Verdict::Gone { .. }) => Restore::Leave("the service is gone"),
    }
}

/// What both sources show right before something is put back over a deployment of ours.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// `None`: it cannot be read.
    pub service: Option<&'a Service>,
    /// `None`: the ServiceDeployments API cannot be read; then the service alone decides.
    pub listed: Option<&'a Listed>,
}

/// Whether the previous revision may be put back by UpdateService, which overwrites whatever it finds.
#[derive(Clone, Debug, PartialEq)]
pub enum MayGoBack {
    /// Ours is the primary deployment, and nobody has deployed since.
    Yes,
    /// Somebody else's deployment is newer than ours and owns the service.
    Superseded { by: TaskDefinitionArn },
    /// ECS goes back, or has gone back, by itself: there is nothing to change, and its end is watched.
    AlreadyGoing,
    /// The service is gone, or cannot be read: then nothing is changed.
    Unknown(&'static str),
}

/// UpdateService has no condition on what it replaces, so this is asked of a fresh read of both sources each time: nothing
/// is ever put back over a deployment that is newer than ours.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html>
#[must_use]
pub fn may_go_back(ours: &Target, seen: Seen<'_>) -> MayGoBack {
    if let Some(newer) = seen.listed.and_then(|listed| listed.newer.as_ref()) {
        return MayGoBack::Superseded { by: newer.task_definition.clone() };
    }
    let Some(service) = seen.service else { return MayGoBack::Unknown("the service cannot be read") };
    if service.status != "ACTIVE" {
        return MayGoBack::Unknown("the service is not active any more");
    }
    let Some(primary) = service.primary() else { return MayGoBack::Unknown("no deployment of it is the primary one") };
    match newer_in(ours, service) {
        _ if primary.id == ours.deployment => MayGoBack::Yes,
        Some(by) => MayGoBack::Superseded { by },
        None if of_rollback(ours, service, primary) => MayGoBack::AlreadyGoing,
        None => MayGoBack::Superseded { by: primary.task_definition.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::Newer;
    use crate::rollout::tests::{NEW, NEWER, OLD, deployment, timed, timed_target, world};
    use crate::service::{Counts, Deployment, Role, State};

    #[test]
    fn nothing_is_put_back_over_what_is_not_ours() {
        let ours = |role| timed(deployment("ecs-svc/2", role, NEW, State::Failed, 0), 0.0, 60.0);
        let old = |role, updated| timed(deployment("ecs-svc/1", role, OLD, State::InProgress, 2), -900.0, updated);
        let newer = |role| timed(deployment("ecs-svc/3", role, NEWER, State::InProgress, 0), 40.0, 41.0);
        let newer_of = |revision: &str| MayGoBack::Superseded { by: revision.into() };
        let listed = Listed { ours: None, newer: Some(Newer { task_definition: NEWER.into(), created_at: 1040.0 }) };
        let nobody = Listed::default();
        let cases: Vec<(&str, Vec<Deployment>, Option<&Listed>, MayGoBack)> = vec![
            ("ours failed", vec![ours(Role::Primary), old(Role::Active, 0.0)], Some(&nobody), MayGoBack::Yes),
            ("the list is denied", vec![ours(Role::Primary)], None, MayGoBack::Yes),
            ("the service lags, the list does not", vec![ours(Role::Primary)], Some(&listed), newer_of(NEWER)),
            ("the list lags, the service does not", vec![newer(Role::Primary)], Some(&nobody), newer_of(NEWER)),
            ("the list is denied, a newer one is primary", vec![newer(Role::Primary)], None, newer_of(NEWER)),
            (
                "a newer one of our own revision",
                vec![
                    timed(deployment("ecs-svc/3", Role::Primary, NEW, State::InProgress, 0), 40.0, 41.0),
                    ours(Role::Active),
                ],
                None,
                newer_of(NEW),
            ),
            (
                "a newer one of the previous revision",
                vec![
                    timed(deployment("ecs-svc/3", Role::Primary, OLD, State::InProgress, 0), 40.0, 41.0),
                    ours(Role::Active),
                ],
                None,
                newer_of(OLD),
            ),
            (
                "ECS goes back under the old id",
                vec![old(Role::Primary, 60.0), ours(Role::Active)],
                None,
                MayGoBack::AlreadyGoing,
            ),
            (
                "ECS goes back from a newer one",
                vec![old(Role::Primary, 60.0), newer(Role::Active)],
                None,
                newer_of(NEWER),
            ),
            ("no deployment", vec![], None, MayGoBack::Unknown("no deployment of it is the primary one")),
        ];
        for (name, deployments, listed, expected) in cases {
            let service = world(deployments);
            let seen = Seen { service: Some(&service), listed };
            assert_eq!(may_go_back(&timed_target(), seen), expected, "{name}");
        }
        let unread = Seen { service: None, listed: Some(&nobody) };
        assert_eq!(may_go_back(&timed_target(), unread), MayGoBack::Unknown("the service cannot be read"));
        let mut deleted = world(vec![ours(Role::Primary)]);
        deleted.status = "INACTIVE".to_owned();
        let seen = Seen { service: Some(&deleted), listed: None };
        assert_eq!(may_go_back(&timed_target(), seen), MayGoBack::Unknown("the service is not active any more"));
    }

    #[test]
    fn a_rollback_under_a_new_id_is_told_by_its_text() {
        let mut back = timed(deployment("ecs-svc/4", Role::Primary, OLD, State::InProgress, 2), 60.0, 60.0);
        back.reason = Some("ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/1.".to_owned());
        let service = world(vec![back]);
        let seen = Seen { service: Some(&service), listed: None };
        assert_eq!(may_go_back(&timed_target(), seen), MayGoBack::AlreadyGoing);
    }

    #[test]
    fn what_is_put_back_depends_on_how_it_ended_and_on_what_there_was() {
        let previous: TaskDefinitionArn = "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:41".into();
        let arn: ServiceDeploymentArn = "arn:aws:ecs:eu-central-1:111122223333:service-deployment/shop/web/abc".into();
        let stop = Restore::StopServiceDeployment { deployment: arn.clone(), otherwise: previous.clone() };
        let update = Restore::UpdateService(previous.clone());
        let failed = Verdict::Failed { reason: String::new() };
        let back = Verdict::RolledBack { reason: String::new(), to: previous.clone() };
        let superseded = Verdict::Superseded { by: previous.clone() };
        let timed_out =
            Verdict::TimedOut { last: Counts::default(), awaiting_hook: None, stage: None, is_completed: false };
        let nowhere = Restore::Leave("no earlier deployment of this service completed: there is nothing to go back to");
        let cases = [
            ("ECS went back", RollbackCause::Verdict(&back), true, false, Restore::AlreadyBack),
            ("failed, ongoing", RollbackCause::Verdict(&failed), true, false, stop.clone()),
            ("failed, its ARN unknown", RollbackCause::Verdict(&failed), false, false, update.clone()),
            ("failed first deployment", RollbackCause::Verdict(&failed), true, true, nowhere.clone()),
            ("smoke checks failed", RollbackCause::Unwanted, true, false, update),
            ("smoke checks of a first deployment failed", RollbackCause::Unwanted, true, true, nowhere),
            ("sibling failed while moving", RollbackCause::UnwantedYetMoving, true, false, stop),
            (
                "superseded",
                RollbackCause::Verdict(&superseded),
                true,
                false,
                Restore::Leave("a newer deployment owns the service"),
            ),
            ("slow", RollbackCause::Verdict(&timed_out), true, false, Restore::Leave("ECS is still working on it")),
        ];
        for (name, trouble, is_known, is_first, expected) in cases {
            assert_eq!(decide(trouble, &previous, is_known.then_some(&arn), is_first), expected, "{name}");
        }
    }
}
