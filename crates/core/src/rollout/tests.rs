mod fuzzed;
mod sources;

use super::*;
use crate::service::{Alarms, Controller, Deployment, Role, ServiceEvent, State, Strategy};

pub(crate) const OLD: &str = "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:41";
pub(crate) const NEW: &str = "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:42";
pub(crate) const NEWER: &str = "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:43";
const DEPLOYMENT: &str = "arn:aws:ecs:eu-central-1:111122223333:service-deployment/shop/web/abc";

pub(crate) fn target() -> Target {
    Target {
        deployment: "ecs-svc/2".into(),
        created_at: None,
        task_definition: NEW.into(),
        before: Some(("ecs-svc/1".into(), OLD.into())),
        breaker: Breaker { is_enabled: true, rolls_back: true },
        wait: Duration::from_secs(1800),
    }
}

pub(crate) fn deployment(id: &str, role: Role, revision: &str, state: State, running: i64) -> Deployment {
    Deployment {
        id: id.into(),
        role,
        state,
        counts: Counts { desired: 2, running, pending: 0 },
        failed_tasks: 0,
        reason: None,
        task_definition: revision.into(),
        created_at: None,
        updated_at: None,
    }
}

fn because(mut deployment: Deployment, reason: &str) -> Deployment {
    deployment.reason = Some(reason.to_owned());
    deployment
}

fn service(deployments: Vec<Deployment>) -> Observation {
    with_events(deployments, &[])
}

fn with_events(deployments: Vec<Deployment>, events: &[&str]) -> Observation {
    let events = events.iter().map(|m| ServiceEvent { id: (*m).to_owned(), created_at: 0.0, message: (*m).to_owned() });
    Observation::Service(Some(Box::new(Service { events: events.collect(), ..world(deployments) })))
}

pub(crate) fn world(deployments: Vec<Deployment>) -> Service {
    Service {
        arn: "arn:aws:ecs:eu-central-1:111122223333:service/shop/web".to_owned(),
        name: "web".to_owned(),
        cluster_arn: "arn:aws:ecs:eu-central-1:111122223333:cluster/shop".to_owned(),
        status: "ACTIVE".to_owned(),
        task_definition: NEW.into(),
        counts: Counts { desired: 2, running: 2, pending: 0 },
        controller: Controller::Ecs,
        strategy: Strategy::Rolling,
        is_express: false,
        breaker: target().breaker,
        alarms: Alarms::default(),
        minimum_healthy_percent: Some(100),
        maximum_percent: Some(200),
        network_configuration: None,
        platform_version: None,
        launch_type: None,
        volume_configurations: vec![],
        has_managed_tags: false,
        target_groups: vec![],
        load_balanced: None,
        grace_seconds: None,
        deployments,
        events: vec![],
        current_service_deployment: None,
    }
}

fn deployed(status: ServiceDeploymentStatus) -> Observation {
    Observation::ServiceDeployment(Some(service_deployment(status)))
}

pub(crate) fn service_deployment(status: ServiceDeploymentStatus) -> ServiceDeployment {
    ServiceDeployment {
        arn: DEPLOYMENT.into(),
        status,
        reason: None,
        target_revision: None,
        counts: Counts { desired: 2, running: 1, pending: 1 },
        failures: None,
        rollback_reason: None,
        lifecycle_stage: None,
        awaiting_hook: None,
        triggered_alarms: vec![],
        started_at: None,
        finished_at: None,
        created_at: 0.0,
    }
}

/// Feeds observations five seconds apart, the first at 5 s, and gives the verdict. Where the machine asks for more before
/// it concludes, no task has died and nobody has deployed.
fn play(observations: Vec<Observation>) -> Option<Verdict> {
    play_with(target(), observations).0
}

fn play_with(target: Target, observations: Vec<Observation>) -> (Option<Verdict>, Vec<RolloutEvent>) {
    let mut rollout = Rollout::new(target, vec![]);
    let mut news = vec![];
    for (at, observation) in (1..).zip(observations) {
        news.extend(feed(&mut rollout, 5 * at, observation));
    }
    (rollout.verdict().cloned(), news)
}

fn feed(rollout: &mut Rollout, seconds: u64, observation: Observation) -> Vec<RolloutEvent> {
    let at = Duration::from_secs(seconds);
    let mut news = rollout.observe(at, observation);
    loop {
        let answer = match &rollout.need {
            _ if rollout.verdict().is_some() => return news,
            Some(Ask::Tasks) if rollout.asked.tasks != Some(at) => Observation::Tasks(Some(vec![])),
            Some(Ask::List) if rollout.asked.list != Some(at) => Observation::Listed(Listed::default()),
            _ => return news,
        };
        news.extend(rollout.observe(at, answer));
    }
}

fn located(deployment: ServiceDeployment) -> Observation {
    Observation::Listed(Listed { ours: Some(deployment), newer: None })
}

/// Seconds after our UpdateService, on AWS's clock.
pub(crate) fn timed(mut deployment: Deployment, created: f64, updated: f64) -> Deployment {
    deployment.created_at = Some(1000.0 + created);
    deployment.updated_at = Some(1000.0 + updated);
    deployment
}

pub(crate) fn timed_target() -> Target {
    Target { created_at: Some(1000.0), ..target() }
}

fn old_alone() -> Observation {
    service(vec![deployment("ecs-svc/1", Role::Primary, OLD, State::Completed, 2)])
}

fn ours_moving() -> Observation {
    service(vec![
        deployment("ecs-svc/2", Role::Primary, NEW, State::InProgress, 1),
        deployment("ecs-svc/1", Role::Active, OLD, State::Completed, 2),
    ])
}

fn ours_done() -> Observation {
    service(vec![deployment("ecs-svc/2", Role::Primary, NEW, State::Completed, 2)])
}

/// The old deployment, primary again since second 5.
fn gone_back() -> Observation {
    service(vec![timed(deployment("ecs-svc/1", Role::Primary, OLD, State::Completed, 2), -900.0, 5.0)])
}

fn full() -> Counts {
    Counts { desired: 2, running: 2, pending: 0 }
}

#[test]
fn our_deployment_completed_as_primary_is_stable() {
    assert_eq!(play(vec![Observation::Denied, ours_moving(), ours_done()]), Some(Verdict::Stable(full())));
}

#[test]
fn full_counts_are_not_stable_while_ecs_says_in_progress() {
    let full_but_moving = service(vec![deployment("ecs-svc/2", Role::Primary, NEW, State::InProgress, 2)]);
    assert_eq!(play(vec![Observation::Denied, full_but_moving.clone(), full_but_moving]), None);
}

#[test]
fn a_stale_read_of_the_world_before_is_neither_stable_nor_superseded() {
    let reads =
        vec![Observation::Denied, old_alone(), old_alone(), old_alone(), old_alone(), ours_moving(), ours_done()];
    assert_eq!(play(reads), Some(Verdict::Stable(full())));
}

#[test]
fn circuit_breaker_rollback_is_a_failure_even_when_the_service_looks_stable() {
    for (name, rollback_id) in [("reused id", "ecs-svc/1"), ("fresh id", "ecs-svc/3")] {
        let failed = because(
            deployment("ecs-svc/2", Role::Active, NEW, State::Failed, 0),
            "ECS deployment circuit breaker: tasks failed to start.",
        );
        let back = because(
            deployment(rollback_id, Role::Primary, OLD, State::InProgress, 2),
            "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/1.",
        );
        let reads = vec![
            Observation::Denied,
            ours_moving(),
            service(vec![back, failed]),
            service(vec![timed(deployment(rollback_id, Role::Primary, OLD, State::Completed, 2), -900.0, 19.0)]),
        ];
        assert_eq!(
            play_with(timed_target(), reads).0,
            Some(Verdict::RolledBack {
                reason: "ECS deployment circuit breaker: tasks failed to start.".to_owned(),
                to: OLD.into()
            }),
            "{name}"
        );
    }
}

#[test]
fn a_rollback_that_happened_between_two_reads_is_found_in_the_events() {
    let after = with_events(
        vec![deployment("ecs-svc/3", Role::Primary, OLD, State::Completed, 2)],
        &[
            "(service web) rolling back to deployment ecs-svc/1.",
            "(service web) (deployment ecs-svc/2) deployment failed: tasks failed to start.",
        ],
    );
    assert_eq!(
        play(vec![Observation::Denied, ours_moving(), after]),
        Some(Verdict::RolledBack { reason: "tasks failed to start.".to_owned(), to: OLD.into() })
    );
}

#[test]
fn the_old_deployment_back_as_primary_without_a_word_is_a_rollback_once_no_read_can_be_stale() {
    let mut reads = vec![Observation::Denied, ours_moving()];
    reads.extend((0..9).map(|_| old_alone()));
    assert_eq!(play(reads.clone()), None, "for a minute it can be the world before UpdateService");
    reads.push(old_alone());
    assert!(matches!(play(reads), Some(Verdict::RolledBack { .. })));
}

#[test]
fn a_rollback_in_progress_is_not_yet_a_verdict() {
    let back = because(
        deployment("ecs-svc/1", Role::Primary, OLD, State::InProgress, 1),
        "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/1.",
    );
    let still_in_progress = deployment("ecs-svc/2", Role::Active, NEW, State::InProgress, 0);
    let (verdict, news) =
        play_with(target(), vec![Observation::Denied, ours_moving(), service(vec![back, still_in_progress])]);
    assert_eq!(verdict, None);
    assert!(news.iter().any(|n| matches!(n, RolloutEvent::RollingBack { .. })), "{news:?}");
}

#[test]
fn a_newer_deployment_supersedes_ours_after_three_reads() {
    let newer = || {
        service(vec![
            deployment("ecs-svc/3", Role::Primary, NEWER, State::InProgress, 0),
            deployment("ecs-svc/2", Role::Active, NEW, State::InProgress, 1),
        ])
    };
    assert_eq!(play(vec![Observation::Denied, ours_moving(), newer(), newer()]), None);
    assert_eq!(
        play(vec![Observation::Denied, ours_moving(), newer(), newer(), newer()]),
        Some(Verdict::Superseded { by: NEWER.into() })
    );
}

#[test]
fn a_deployment_that_replaces_ours_while_ecs_rolls_back_is_superseding() {
    let failed = deployment("ecs-svc/2", Role::Active, NEW, State::Failed, 0);
    let newer = || service(vec![deployment("ecs-svc/4", Role::Primary, NEWER, State::InProgress, 0), failed.clone()]);
    assert_eq!(
        play(vec![Observation::Denied, ours_moving(), newer(), newer(), newer()]),
        Some(Verdict::Superseded { by: NEWER.into() })
    );
}

#[test]
fn a_failed_deployment_without_rollback_is_failed_at_once() {
    let mut without = target();
    without.breaker.rolls_back = false;
    let failed = because(deployment("ecs-svc/2", Role::Primary, NEW, State::Failed, 0), "tasks failed to start.");
    assert_eq!(
        play_with(without, vec![Observation::Denied, service(vec![failed])]).0,
        Some(Verdict::Failed { reason: "tasks failed to start.".to_owned() })
    );
}

#[test]
fn a_failed_first_deployment_has_nothing_to_go_back_to() {
    let failed = || {
        service(vec![because(deployment("ecs-svc/2", Role::Primary, NEW, State::Failed, 0), "tasks failed to start.")])
    };
    let reads: Vec<_> = std::iter::once(Observation::Denied).chain((0..14).map(|_| failed())).collect();
    assert_eq!(play(reads[..5].to_vec()), None, "ECS may still switch");
    assert_eq!(play(reads), Some(Verdict::Failed { reason: "tasks failed to start.".to_owned() }));
}

#[test]
fn a_failed_deployment_that_is_over_is_not_waited_for_until_it_might_go_back() {
    let failed = || {
        service(vec![because(deployment("ecs-svc/2", Role::Primary, NEW, State::Failed, 0), "tasks failed to start.")])
    };
    let over = |status: ServiceDeploymentStatus| {
        play(vec![located(service_deployment(status.clone())), deployed(status), failed(), failed()])
    };
    assert_eq!(
        over(ServiceDeploymentStatus::Stopped),
        Some(Verdict::Failed { reason: "tasks failed to start.".to_owned() })
    );
    assert_eq!(over(ServiceDeploymentStatus::RollbackInProgress), None, "it goes back");
}

#[test]
fn without_a_circuit_breaker_a_crash_loop_is_judged_by_us() {
    let mut without = target();
    without.breaker = Breaker::default();
    let mut looping = deployment("ecs-svc/2", Role::Primary, NEW, State::InProgress, 0);
    looping.failed_tasks = 2;
    let read =
        |d: &Deployment| service(vec![d.clone(), deployment("ecs-svc/1", Role::Active, OLD, State::Completed, 2)]);
    assert_eq!(play_with(without.clone(), vec![Observation::Denied, read(&looping)]).0, None);
    looping.failed_tasks = 3;
    let (verdict, news) = play_with(without, vec![Observation::Denied, read(&looping)]);
    assert!(matches!(verdict, Some(Verdict::Failed { .. })), "{verdict:?}");
    assert!(news.contains(&RolloutEvent::TaskFailures { failures: 3, threshold: None }), "{news:?}");
}

#[test]
fn successful_service_deployment_needs_the_service_to_agree() {
    let first = located(service_deployment(ServiceDeploymentStatus::InProgress));
    let successful = deployed(ServiceDeploymentStatus::Successful);
    assert_eq!(play(vec![first.clone(), successful.clone()]), None);
    assert_eq!(play(vec![first.clone(), successful.clone(), ours_done()]), Some(Verdict::Stable(full())));
    let newer = || service(vec![deployment("ecs-svc/3", Role::Primary, NEWER, State::Completed, 2)]);
    assert_eq!(
        play(vec![first, successful, newer(), newer(), newer()]),
        Some(Verdict::Superseded { by: NEWER.into() })
    );
}

#[test]
fn a_successful_service_deployment_is_believed_over_a_lagging_state_and_never_over_the_counts() {
    let moving = |running| service(vec![deployment("ecs-svc/2", Role::Primary, NEW, State::InProgress, running)]);
    for (running, is_stable) in [(2, true), (1, false)] {
        let first = located(service_deployment(ServiceDeploymentStatus::Successful));
        let reads: Vec<_> = std::iter::once(first).chain((0..7).map(|_| moving(running))).collect();
        assert_eq!(play(reads[..6].to_vec()), None);
        assert_eq!(play(reads), is_stable.then(|| Verdict::Stable(full())), "{running} of 2 running");
    }
}

#[test]
fn rollback_successful_is_a_failure_with_its_reason() {
    let mut gone_back = service_deployment(ServiceDeploymentStatus::RollbackSuccessful);
    gone_back.rollback_reason = Some("circuit breaker threshold reached".to_owned());
    assert_eq!(
        play(vec![located(gone_back), old_alone()]),
        Some(Verdict::RolledBack { reason: "circuit breaker threshold reached".to_owned(), to: OLD.into() })
    );
}

#[test]
fn a_failed_rollback_is_unsteady() {
    let mut failed = service_deployment(ServiceDeploymentStatus::RollbackFailed);
    failed.reason = Some("no healthy tasks".to_owned());
    assert_eq!(play(vec![located(failed)]), Some(Verdict::Unsteady { reason: "no healthy tasks".to_owned() }));
}

#[test]
fn stopped_means_failed_or_superseded_by_who_is_primary_once_reads_have_caught_up() {
    let mut by_hand = service_deployment(ServiceDeploymentStatus::Stopped);
    by_hand.reason = Some("stopped by alice".to_owned());
    let reads: Vec<_> = std::iter::once(located(by_hand.clone())).chain((0..6).map(|_| ours_moving())).collect();
    assert_eq!(play(reads[..6].to_vec()), None, "a newer deployment may be behind it");
    assert_eq!(play(reads), Some(Verdict::Failed { reason: "stopped by alice".to_owned() }));
    let newer = || service(vec![deployment("ecs-svc/3", Role::Primary, NEWER, State::InProgress, 0)]);
    let lagging = vec![located(by_hand), ours_moving(), ours_moving(), newer(), newer(), newer()];
    assert_eq!(play(lagging), Some(Verdict::Superseded { by: NEWER.into() }));
}

#[test]
fn a_superseded_service_deployment_that_never_ends_is_noticed_by_the_service() {
    let mut rollout = Rollout::new(target(), vec![]);
    let moving = service_deployment(ServiceDeploymentStatus::InProgress);
    let newer = service(vec![deployment("ecs-svc/3", Role::Primary, NEWER, State::InProgress, 0)]);
    let mut at = Duration::ZERO;
    for _ in 0..200 {
        let (pause, ask) = rollout.next(at);
        at += pause;
        let answer = match ask {
            Ask::Service => newer.clone(),
            Ask::List => located(moving.clone()),
            Ask::Tasks => Observation::Tasks(None),
            Ask::ServiceDeployment(_) => Observation::ServiceDeployment(Some(moving.clone())),
        };
        rollout.observe(at, answer);
        if let Some(verdict) = rollout.verdict() {
            assert_eq!(*verdict, Verdict::Superseded { by: NEWER.into() });
            return;
        }
    }
    panic!("never noticed");
}

#[test]
fn a_slow_rollout_times_out_and_is_not_failed() {
    let mut short = target();
    short.wait = Duration::from_secs(12);
    let (verdict, _) = play_with(short, vec![Observation::Denied, ours_moving(), ours_moving()]);
    assert_eq!(
        verdict,
        Some(Verdict::TimedOut {
            last: Counts { desired: 2, running: 1, pending: 0 },
            awaiting_hook: None,
            stage: None,
            is_completed: false
        })
    );
}

#[test]
fn a_pause_hook_is_told_and_waited_for() {
    let mut paused = service_deployment(ServiceDeploymentStatus::InProgress);
    paused.awaiting_hook = Some("hook-1".to_owned());
    let (verdict, news) =
        play_with(target(), vec![located(paused.clone()), Observation::ServiceDeployment(Some(paused))]);
    assert_eq!(verdict, None);
    assert_eq!(
        news.iter().filter(|n| matches!(n, RolloutEvent::PausedByHook { hook } if hook == "hook-1")).count(),
        1,
        "{news:?}"
    );
}

#[test]
fn unreadable_answers_are_survived_for_five_minutes() {
    let lost = || Observation::Unreadable("throttled".to_owned());
    let short = std::iter::repeat_with(lost).take(30).chain([ours_done()]).collect();
    assert_eq!(play(short), Some(Verdict::Stable(full())));
    let long = std::iter::repeat_with(lost).take(62).collect();
    assert_eq!(play(long), Some(Verdict::Lost { error: "throttled".to_owned(), is_signed_out: false }));
}

#[test]
fn a_deleted_service_is_gone() {
    assert!(matches!(
        play(vec![Observation::Service(None), Observation::Service(None), Observation::Service(None)]),
        Some(Verdict::Gone { .. })
    ));
}

#[test]
fn desired_zero_completes_and_says_so_in_its_counts() {
    let mut empty = deployment("ecs-svc/2", Role::Primary, NEW, State::Completed, 0);
    empty.counts = Counts::default();
    assert_eq!(play(vec![Observation::Denied, service(vec![empty])]), Some(Verdict::Stable(Counts::default())));
}

#[test]
fn without_a_rollout_state_full_counts_must_be_seen_twice() {
    let quiet = || service(vec![deployment("ecs-svc/2", Role::Primary, NEW, State::Unreported, 2)]);
    assert_eq!(play(vec![Observation::Denied, quiet()]), None);
    assert_eq!(play(vec![Observation::Denied, quiet(), quiet()]), Some(Verdict::Stable(full())));
}

#[test]
fn a_role_without_service_deployments_is_asked_for_them_once() {
    let mut rollout = Rollout::new(target(), vec![]);
    assert_eq!(rollout.next(Duration::ZERO).1, Ask::List);
    rollout.observe(Duration::ZERO, Observation::Denied);
    for second in 1..50 {
        assert_eq!(rollout.next(Duration::from_secs(second)).1, Ask::Service);
        rollout.observe(Duration::from_secs(second), ours_moving());
    }
}

#[test]
fn a_finished_rollout_ignores_what_comes_after() {
    let reads = vec![Observation::Denied, ours_done(), old_alone(), Observation::Service(None)];
    assert_eq!(play(reads), Some(Verdict::Stable(full())));
}

#[test]
fn after_we_told_ecs_to_go_back_only_the_way_back_is_a_verdict() {
    let mut without = timed_target();
    without.breaker = Breaker::default();
    let mut looping = deployment("ecs-svc/2", Role::Primary, NEW, State::InProgress, 0);
    looping.failed_tasks = 9;
    let mut rollout = Rollout::new(without, vec![]);
    rollout.observe(Duration::from_secs(1), Observation::Denied);
    rollout.observe(Duration::from_secs(2), service(vec![looping.clone()]));
    assert!(matches!(rollout.verdict(), Some(Verdict::Failed { .. })));
    let mut back = rollout.going_back("crash loop");
    back.observe(Duration::from_secs(1), service(vec![looping]));
    assert_eq!(back.verdict(), None);
    feed(&mut back, 2, gone_back());
    assert!(matches!(back.verdict(), Some(Verdict::RolledBack { to, .. }) if to.as_str() == OLD));
}
