//! Which of a service's deployments is ours, and whether somebody has deployed since.

use super::Target;
use crate::names::TaskDefinitionArn;
use crate::service::ServiceDeployment;

/// Between two times that AWS gives to one deployment in two of its APIs.
const SAME: f64 = 10.0;
/// Where AWS gives the primary deployment no time, ours counts, which is this much off at most.
const OFF: f64 = 5.0;

/// What ListServiceDeployments says about ours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    pub ours: Option<ServiceDeployment>,
    /// The newest that was started after ours. A rollback makes no service deployment of its own, so this is somebody
    /// else's UpdateService.
    pub newer: Option<Newer>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Newer {
    pub task_definition: TaskDefinitionArn,
    /// Seconds since the epoch, AWS's clock.
    pub created_at: f64,
}

/// Ours is the one that deploys our revision and was created when our deployment was. An older one of the same revision,
/// which has ended well, is not it: it is what ECS may just be rolling back to. Nor is one that had ended before ours
/// began, however shortly.
///
/// `since` is our own clock when UpdateService was sent.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html>
#[must_use]
pub fn sort_out(target: &Target, since: f64, all: &[(ServiceDeployment, TaskDefinitionArn)]) -> Listed {
    let deploys_ours = all.iter().filter(|(_, revision)| *revision == target.task_definition).map(|(d, _)| d);
    let began_at = target.created_at.unwrap_or(since - OFF);
    let deploys_ours = deploys_ours.filter(|d| d.finished_at.is_none_or(|finished| finished >= began_at));
    let ours = match target.created_at {
        Some(at) => {
            deploys_ours.filter(|d| distance(d, at) <= SAME).min_by(|a, b| distance(a, at).total_cmp(&distance(b, at)))
        }
        None => {
            // By force, or going back: an earlier deployment of this very revision may be listed.
            let has_run_before = target.before.as_ref().is_none_or(|(_, before)| *before == target.task_definition);
            deploys_ours
                .filter(|d| !has_run_before || d.created_at >= since - OFF)
                .max_by(|a, b| a.created_at.total_cmp(&b.created_at))
        }
    };
    let began = match (ours, target.created_at) {
        (Some(ours), _) => ours.created_at,
        // Not listed yet, and the times of two APIs may differ a little.
        (None, Some(at)) => at + 1.0,
        (None, None) => return Listed::default(),
    };
    let newer = all
        .iter()
        .filter(|(d, _)| d.created_at > began && ours.is_none_or(|ours| ours.arn != d.arn))
        .filter(|(_, revision)| ours.is_some() || *revision != target.task_definition)
        .max_by(|(a, _), (b, _)| a.created_at.total_cmp(&b.created_at))
        .map(|(d, revision)| Newer { task_definition: revision.clone(), created_at: d.created_at });
    Listed { ours: ours.cloned(), newer }
}

fn distance(deployment: &ServiceDeployment, at: f64) -> f64 {
    let started = deployment.started_at.map_or(f64::MAX, |started| (started - at).abs());
    (deployment.created_at - at).abs().min(started)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::tests::{NEW, NEWER, OLD, service_deployment, target};
    use crate::service::ServiceDeploymentStatus as Status;

    /// Name, revision, status, seconds after our UpdateService.
    type Row = (&'static str, &'static str, Status, f64);

    /// Name, our revision, what is listed, which of it is ours, whose revision is newer.
    type Case<'a> = (&'static str, &'static str, &'a [Row], Option<String>, Option<String>);

    fn sorted(is_timed: bool, revision: &str, rows: &[Row]) -> (Option<String>, Option<String>) {
        let mut ours = target();
        ours.created_at = is_timed.then_some(1000.0);
        ours.task_definition = revision.into();
        let all: Vec<_> = rows
            .iter()
            .map(|(name, revision, status, at)| {
                let mut d = service_deployment(status.clone());
                d.arn = (*name).into();
                d.created_at = 1000.0 + at;
                (d, TaskDefinitionArn::new(*revision))
            })
            .collect();
        let listed = sort_out(&ours, 1000.0, &all);
        (listed.ours.map(|d| d.arn.to_string()), listed.newer.map(|n| n.task_definition.to_string()))
    }

    #[test]
    fn ours_is_the_one_that_began_when_our_deployment_did() {
        let ours = || ("ours", NEW, Status::InProgress, 0.4);
        let (found, none) = (Some("ours".to_owned()), None::<String>);
        let newer = Some(NEWER.to_owned());
        let cases: &[Case<'_>] = &[
            ("nothing is listed yet", NEW, &[], None, None),
            ("alone", NEW, &[ours()], found.clone(), none.clone()),
            ("ended well already", NEW, &[("ours", NEW, Status::Successful, 0.4)], found.clone(), None),
            ("one before it", NEW, &[ours(), ("old", OLD, Status::Successful, -900.0)], found.clone(), None),
            (
                "only an older one of the same revision, which had succeeded",
                NEW,
                &[("old", NEW, Status::Successful, -900.0)],
                None,
                None,
            ),
            (
                "an older one of the same revision that never ended",
                NEW,
                &[("old", NEW, Status::InProgress, -900.0)],
                None,
                None,
            ),
            (
                "somebody's newer one",
                NEW,
                &[("n", NEWER, Status::InProgress, 9.0), ours()],
                found.clone(),
                newer.clone(),
            ),
            ("a newer one, and ours not listed yet", NEW, &[("n", NEWER, Status::InProgress, 9.0)], None, newer),
            (
                "a newer one of our own revision",
                NEW,
                &[("n", NEW, Status::InProgress, 6.0), ours()],
                found,
                Some(NEW.to_owned()),
            ),
            (
                "the failing one, while ECS rolls back to our revision",
                OLD,
                &[("bad", NEW, Status::RollbackInProgress, -60.0), ("old", OLD, Status::Successful, -900.0)],
                None,
                None,
            ),
        ];
        for (name, revision, rows, ours, newer) in cases {
            assert_eq!(sorted(true, revision, rows), (ours.clone(), newer.clone()), "{name}");
        }
    }

    /// One that was deployed seconds before ours: AWS gives one deployment two times that differ by as much.
    #[test]
    fn one_of_the_same_revision_that_had_ended_before_ours_began_is_not_ours_however_shortly() {
        for is_timed in [true, false] {
            for (created, finished, is_ours) in [(-8.0, Some(-6.0), false), (-4.0, None, true), (0.4, Some(3.0), true)]
            {
                let mut ours = target();
                ours.created_at = is_timed.then_some(1000.0);
                let mut listed = service_deployment(Status::Successful);
                (listed.created_at, listed.started_at) = (1000.0 + created, Some(1000.0 + created));
                listed.finished_at = finished.map(|at| 1000.0 + at);
                let found = sort_out(&ours, 1000.0, &[(listed, TaskDefinitionArn::new(NEW))]);
                assert_eq!(found.ours.is_some(), is_ours, "{is_timed} {created} {finished:?}");
                assert_eq!(found.newer, None, "{is_timed} {created} {finished:?}");
            }
        }
    }

    #[test]
    fn without_a_time_of_the_primary_our_own_clock_tells_an_older_one_of_the_same_revision() {
        assert_eq!(sorted(false, OLD, &[("old", OLD, Status::Successful, -60.0)]).0, None);
        assert_eq!(sorted(false, OLD, &[("ours", OLD, Status::InProgress, 1.0)]).0, Some("ours".to_owned()));
        assert_eq!(sorted(false, NEW, &[("ours", NEW, Status::InProgress, -60.0)]).0, Some("ours".to_owned()));
    }
}
