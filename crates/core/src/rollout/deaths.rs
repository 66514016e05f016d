//! Tasks of ours that ended by themselves.

use crate::names::DeploymentId;
use crate::task::Task;

/// One task that ended, and was neither scaled in nor stopped by a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Death {
    /// Seconds since the epoch, AWS's clock.
    pub at: f64,
    pub how: String,
}

/// Oldest first. A task that the scheduler stopped because of its health has died; one that it scaled in has not.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html>
#[must_use]
pub fn deaths_of(deployment: &DeploymentId, tasks: &[Task]) -> Vec<Death> {
    let ours = tasks.iter().filter(|t| t.started_by.as_deref() == Some(deployment.as_str()));
    let mut deaths: Vec<Death> = ours
        .filter_map(|task| {
            let reason = task.stopped_reason.as_deref().unwrap_or_default();
            let has_died = match task.stop_code.as_deref() {
                Some("EssentialContainerExited" | "TaskFailedToStart") => true,
                Some("ServiceSchedulerInitiated") => reason.contains("failed"),
                _ => false,
            };
            let failed = task.containers.iter().find(|c| c.exit_code.is_some_and(|code| code != 0));
            let how = match failed.and_then(|c| Some((&c.name, c.exit_code?))) {
                Some((name, code)) => format!("container `{name}` exited with {code}"),
                None => reason.to_owned(),
            };
            has_died.then(|| Death { at: task.stopped_at.unwrap_or(f64::MAX), how })
        })
        .collect();
    deaths.sort_by(|a, b| a.at.total_cmp(&b.at));
    deaths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::ContainerState;

    #[test]
    fn a_task_has_died_when_it_ended_by_itself_or_for_its_health() {
        let cases = [
            ("EssentialContainerExited", "Essential container in task exited", true),
            ("TaskFailedToStart", "CannotPullContainerError", true),
            ("ServiceSchedulerInitiated", "Task failed container health checks", true),
            ("ServiceSchedulerInitiated", "Task failed ELB health checks in (target-group web)", true),
            ("ServiceSchedulerInitiated", "Scaling activity initiated by (deployment ecs-svc/3)", false),
            ("UserInitiated", "Task stopped by user", false),
            ("SpotInterruption", "Your Spot Task was interrupted.", false),
        ];
        for (code, reason, has_died) in cases {
            let mut task = Task {
                arn: "arn:aws:ecs:eu-central-1:111122223333:task/shop/1".into(),
                task_definition: "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:42".into(),
                last_status: "STOPPED".to_owned(),
                desired_status: "STOPPED".to_owned(),
                started_by: Some("ecs-svc/2".to_owned()),
                stop_code: Some(code.to_owned()),
                stopped_reason: Some(reason.to_owned()),
                health: None,
                containers: vec![ContainerState {
                    name: "app".into(),
                    last_status: None,
                    exit_code: Some(3),
                    reason: None,
                    image_digest: None,
                    health: None,
                }],
                stopped_at: Some(7.0),
                started_at: None,
            };
            let expected: Vec<_> = has_died
                .then(|| Death { at: 7.0, how: "container `app` exited with 3".to_owned() })
                .into_iter()
                .collect();
            assert_eq!(deaths_of(&"ecs-svc/2".into(), std::slice::from_ref(&task)), expected, "{code}: {reason}");
            task.started_by = Some("ecs-svc/1".to_owned());
            assert_eq!(deaths_of(&"ecs-svc/2".into(), &[task]), [], "another deployment's");
        }
    }
}
