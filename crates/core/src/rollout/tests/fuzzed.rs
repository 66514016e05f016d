//! Observations in any order, consistent or not: nothing panics, a verdict stays, and success was seen by somebody.

use super::*;
use test_support::fuzz;
use test_support::proptest::prelude::{Just, Strategy, prop, prop_oneof};
use test_support::proptest::sample::select;

fn any_deployment() -> impl Strategy<Value = Deployment> {
    let ids = select(vec!["ecs-svc/1", "ecs-svc/2", "ecs-svc/3"]);
    let roles = select(vec![Role::Primary, Role::Active, Role::Other("DRAINING".to_owned())]);
    let states = select(vec![State::InProgress, State::Completed, State::Failed, State::Unreported]);
    let time = || prop::option::of((0..2000_u32).prop_map(f64::from));
    (
        ids,
        roles,
        states,
        select(vec![OLD, NEW, NEWER]),
        0..4_i64,
        prop::option::of(select(vec!["rolling back to deploymentId ecs-svc/1", ""])),
        time(),
        time(),
    )
        .prop_map(|(id, role, state, revision, running, reason, created_at, updated_at)| Deployment {
            reason: reason.map(str::to_owned),
            created_at,
            updated_at,
            ..deployment(id, role, revision, state, running)
        })
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let of_service =
        (prop::collection::vec(any_deployment(), 0..4), select(vec!["ACTIVE", "DRAINING", "INACTIVE"]), 0..4_i64)
            .prop_map(|(deployments, status, desired)| {
                let shown = world(deployments);
                Observation::Service(Some(Box::new(Service {
                    status: status.to_owned(),
                    counts: Counts { desired, ..shown.counts },
                    ..shown
                })))
            });
    let newer = (0..2000_u32).prop_map(|at| {
        Observation::Listed(Listed {
            ours: None,
            newer: Some(Newer { task_definition: NEWER.into(), created_at: f64::from(at) }),
        })
    });
    prop_oneof![
        8 => of_service,
        1 => newer,
        1 => Just(Observation::Listed(Listed::default())),
        1 => Just(Observation::Service(None)),
        1 => Just(Observation::ServiceDeployment(None)),
        1 => Just(Observation::Tasks(None)),
        1 => Just(Observation::Tasks(Some(vec![]))),
        1 => Just(Observation::CrashLoop("exit code 1".to_owned())),
        1 => Just(Observation::Denied),
        1 => Just(Observation::Unreadable("throttled".to_owned())),
        1 => Just(Observation::ApiUnreadable("500".to_owned())),
    ]
}

#[test]
fn whatever_is_observed_a_verdict_stays_and_success_was_shown() {
    let steps = prop::collection::vec((0..90_u64, any_observation()), 0..40);
    fuzz(800, steps, |steps| {
        let mut rollout = Rollout::new(target(), vec![]);
        let (mut at, mut was_shown) = (Duration::ZERO, false);
        let mut verdict = None;
        for (seconds, observation) in steps {
            at += Duration::from_secs(seconds);
            if let Observation::Service(Some(service)) = &observation {
                let ours = service.deployment(&"ecs-svc/2".into());
                was_shown |= ours.is_some_and(|d| {
                    d.role == Role::Primary && matches!(d.state, State::Completed | State::Unreported)
                });
            }
            rollout.observe(at, observation);
            if verdict.is_some() {
                assert_eq!(rollout.verdict(), verdict.as_ref(), "a verdict is the last word");
            }
            verdict = rollout.verdict().cloned();
            if matches!(verdict, Some(Verdict::Stable(_))) {
                assert!(was_shown, "nobody has shown that ours completed");
            }
        }
        assert!(rollout.failures() >= 0);
    });
}
