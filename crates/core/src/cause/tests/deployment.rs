//! How deployments end, and what keeps them from going on.

use super::{Case, event, with};
use crate::cause::Seen;

pub(super) fn cases() -> Vec<Case> {
    let ended = |reason: &str| Seen { deployment_reason: Some(reason.to_owned()), ..Seen::default() };
    let set = |desired, minimum, maximum| Seen {
        desired: Some(desired),
        minimum_percent: Some(minimum),
        maximum_percent: Some(maximum),
        ..Seen::default()
    };
    vec![
        (
            "alarm",
            "an alarm, whatever the log says",
            Seen {
                deployment_reason: Some("ECS deployment failed: alarm detected.".to_owned()),
                ..super::ended(1, &["Error: alarm"])
            },
        ),
        (
            "lifecycle-hook-failed",
            "a hook",
            ended("Service deployment rolled back because POST_TEST_TRAFFIC_SHIFT lifecycle hook(s) failed."),
        ),
        (
            "deployment-stopped-by-person",
            "a person",
            ended("Service deployment was stopped by a user request to StopServiceDeployment"),
        ),
        (
            "network-configuration-invalid",
            "settings",
            ended("Service deployment rolled back because of invalid networking configuration."),
        ),
        (
            "role-not-assumable",
            "no task: the role's trust",
            event(
                "(service web) failed to launch a task with (error ECS was unable to assume the role 'arn:aws:iam::111122223333:role/x' that was provided for this task. Please verify that the role being passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role.)",
            ),
        ),
        (
            "target-registration-failed",
            "the target group",
            event(
                "(service web) failed to register targets in (target-group arn:x) with (error The following targets are not in a VPC)",
            ),
        ),
        (
            "percent-settings",
            "an event",
            event(
                "(service web) was unable to stop or start tasks during a deployment because of the service deployment configuration. Update the minimumHealthyPercent or maximumPercent value and try again.",
            ),
        ),
        ("percent-settings", "the settings alone", set(1, 100, 100)),
        (
            "scale-in-protected",
            "protection",
            event("(service web, taskSet x) was unable to scale in due to (reason 3 tasks under protection)"),
        ),
        (
            "capacity-unavailable",
            "an event knows why they did",
            Seen {
                deployment_reason: Some("ECS deployment circuit breaker: tasks failed to start.".to_owned()),
                ..with(
                    event("(service web) was unable to place a task. Reason: Capacity is unavailable at this time."),
                    |s| {
                        (s.desired, s.minimum_percent, s.maximum_percent) = (Some(1), Some(100), Some(100));
                    },
                )
            },
        ),
        (
            "tasks-do-not-stay-up",
            "only the effect is known",
            Seen {
                deployment_reason: Some("ECS deployment circuit breaker: tasks failed to start.".to_owned()),
                ..set(2, 100, 200)
            },
        ),
        ("task-definition-inactive", "the API", Seen::refused("ClientException: TaskDefinition is inactive")),
        ("service-not-active", "the API", Seen::refused("ServiceNotActiveException: Service was not ACTIVE.")),
        (
            "load-balancer-container-missing",
            "the API",
            Seen::refused("InvalidParameterException: The container web does not exist in the task definition."),
        ),
        (
            "load-balancer-port-missing",
            "the API",
            Seen::refused("InvalidParameterException: The container web did not have a container port 80 defined."),
        ),
        (
            "target-group-without-listener",
            "the API",
            Seen::refused(
                "InvalidParameterException: The target group with targetGroupArn arn:x does not have an associated load balancer.",
            ),
        ),
        (
            "network-configuration-missing",
            "the API",
            Seen::refused(
                "InvalidParameterException: Network Configuration must be provided when networkMode 'awsvpc' is specified.",
            ),
        ),
        (
            "execution-role-missing",
            "the API",
            Seen::refused(
                "ClientException: Fargate requires task definition to have execution role ARN to support ECR images.",
            ),
        ),
    ]
}
