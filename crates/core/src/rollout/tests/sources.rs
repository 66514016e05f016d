//! Two sources that lag, go backwards, contradict each other or cannot be read; and which of them is the truth.

use super::*;
use ServiceDeploymentStatus as Status;

/// A read of the world before UpdateService, as AWS sends it.
fn stale() -> Observation {
    service(vec![timed(deployment("ecs-svc/1", Role::Primary, OLD, State::Completed, 2), -900.0, -800.0)])
}

fn ours(state: State, running: i64) -> Deployment {
    timed(deployment("ecs-svc/2", Role::Primary, NEW, state, running), 0.0, 20.0)
}

fn newer_primary() -> Observation {
    let mut newer = timed(deployment("ecs-svc/3", Role::Primary, NEWER, State::InProgress, 0), 30.0, 30.0);
    newer.reason = Some("ECS deployment ecs-svc/3 in progress.".to_owned());
    service(vec![newer, timed(deployment("ecs-svc/2", Role::Active, NEW, State::InProgress, 1), 0.0, 20.0)])
}

fn with_strategy(strategy: &str, deployments: Vec<Deployment>) -> Observation {
    let strategy = Strategy::Shifting(strategy.to_owned());
    Observation::Service(Some(Box::new(Service { strategy, ..world(deployments) })))
}

fn verdict(reads: Vec<Observation>) -> Option<Verdict> {
    play_with(timed_target(), reads).0
}

#[test]
fn an_api_that_does_not_answer_is_replaced_by_the_service_at_once_and_tried_again_beside_it() {
    let mut rollout = Rollout::new(timed_target(), vec![]);
    assert_eq!(rollout.next(Duration::ZERO).1, Ask::List);
    rollout.observe(Duration::from_secs(4), Observation::ApiUnreadable("no answer".to_owned()));
    assert_eq!(rollout.next(Duration::from_secs(4)), (Duration::ZERO, Ask::Service));
    feed(&mut rollout, 5, ours_moving());
    let asks: Vec<_> = (6..20).map(|s| rollout.next(Duration::from_secs(s)).1).collect();
    assert!(asks[..4].iter().all(|ask| *ask == Ask::Service), "{asks:?}");
    assert!(asks.contains(&Ask::List), "tried again: {asks:?}");
    feed(&mut rollout, 9, ours_done());
    assert_eq!(rollout.verdict(), Some(&Verdict::Stable(full())), "no word of the other source is waited for");
}

#[test]
fn only_who_can_read_neither_source_is_lost() {
    let blind = || Observation::Unreadable("throttled".to_owned());
    let told = || deployed(Status::InProgress);
    let first = located(service_deployment(Status::InProgress));
    let mut reads = vec![first];
    reads.extend((0..62).flat_map(|_| [blind(), told()]));
    assert_eq!(verdict(reads), None, "ECS goes on with it, says the other one");
    let mut reads = vec![Observation::Denied];
    reads.extend((0..62).map(|_| blind()));
    assert_eq!(verdict(reads), Some(Verdict::Lost { error: "throttled".to_owned(), is_signed_out: false }));
}

#[test]
fn reads_from_before_never_count_as_a_rollback_whatever_the_other_source_says() {
    for status in [Status::InProgress, Status::RollbackInProgress, Status::Successful, Status::Stopped] {
        let mut reads = vec![located(service_deployment(status.clone()))];
        reads.extend((0..5).map(|_| stale()));
        assert_eq!(verdict(reads.clone()), None, "{status:?}");
        if status == Status::Successful {
            reads.push(service(vec![ours(State::Completed, 2)]));
            assert_eq!(verdict(reads), Some(Verdict::Stable(full())));
        }
    }
}

#[test]
fn a_rollback_that_fails_after_a_stale_read_is_not_called_back() {
    let reads = vec![
        located(service_deployment(Status::RollbackInProgress)),
        stale(),
        stale(),
        deployed(Status::RollbackFailed),
        stale(),
    ];
    assert!(matches!(verdict(reads), Some(Verdict::Unsteady { .. })));
}

#[test]
fn a_read_whose_events_end_earlier_than_those_of_another_is_stale() {
    let at = |seconds: f64, deployments: Vec<Deployment>| {
        let event = ServiceEvent { id: format!("{seconds}"), created_at: 1000.0 + seconds, message: String::new() };
        Observation::Service(Some(Box::new(Service { events: vec![event], ..world(deployments) })))
    };
    let newer = || {
        let mut newer = timed(deployment("ecs-svc/3", Role::Primary, NEWER, State::InProgress, 0), 30.0, 30.0);
        newer.reason = Some("ECS deployment ecs-svc/3 in progress.".to_owned());
        vec![newer]
    };
    let reads =
        vec![Observation::Denied, at(31.0, newer()), at(20.0, vec![ours(State::Completed, 2)]), at(31.0, newer())];
    assert_eq!(verdict(reads), Some(Verdict::Superseded { by: NEWER.into() }));
}

#[test]
fn a_rollback_to_a_third_revision_is_a_rollback() {
    const THIRD: &str = "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:40";
    for (id, created) in [("ecs-svc/0", -5000.0), ("ecs-svc/4", 40.0)] {
        for is_denied in [true, false] {
            let back = |state| {
                let mut back = timed(deployment(id, Role::Primary, THIRD, state, 2), created, 40.0);
                back.reason = Some(format!("ECS deployment circuit breaker: rolling back to deploymentId {id}."));
                back
            };
            let failed = timed(deployment("ecs-svc/2", Role::Active, NEW, State::Failed, 0), 0.0, 39.0);
            let first = match is_denied {
                true => Observation::Denied,
                false => located(service_deployment(Status::RollbackInProgress)),
            };
            let mut reads =
                vec![first, service(vec![back(State::InProgress), failed]), service(vec![back(State::Completed)])];
            if !is_denied {
                reads.push(deployed(Status::RollbackSuccessful));
                reads.push(service(vec![back(State::Completed)]));
            }
            let ended = verdict(reads);
            assert!(
                matches!(&ended, Some(Verdict::RolledBack { to, .. }) if to.as_str() == THIRD),
                "{id}, denied {is_denied}: {ended:?}"
            );
        }
    }
}

#[test]
fn an_older_deployment_made_primary_again_without_a_word_is_a_rollback() {
    let failed = timed(deployment("ecs-svc/2", Role::Active, NEW, State::InProgress, 0), 0.0, 39.0);
    let back = || timed(deployment("ecs-svc/0", Role::Primary, NEWER, State::Completed, 2), -5000.0, 40.0);
    let reads = vec![Observation::Denied, service(vec![back(), failed])];
    assert!(matches!(verdict(reads), Some(Verdict::RolledBack { .. })));
}

#[test]
fn the_previous_revision_deployed_again_by_somebody_after_ours_failed_is_no_rollback() {
    let mut again = timed(deployment("ecs-svc/3", Role::Primary, OLD, State::Completed, 2), 60.0, 70.0);
    again.reason = Some("ECS deployment completed.".to_owned());
    let event = |id: &str, at: f64, message: &str| ServiceEvent {
        id: id.to_owned(),
        created_at: 1000.0 + at,
        message: message.to_owned(),
    };
    let events = vec![
        event("2", 70.0, "(service web) (deployment ecs-svc/3) deployment completed."),
        event("1", 30.0, "(service web) (deployment ecs-svc/2) deployment failed: tasks failed to start."),
    ];
    let read =
        || Observation::Service(Some(Box::new(Service { events: events.clone(), ..world(vec![again.clone()]) })));
    assert_eq!(
        verdict(vec![Observation::Denied, ours_moving(), read(), read()]),
        Some(Verdict::Superseded { by: OLD.into() })
    );
}

#[test]
fn what_ecs_goes_back_from_may_be_a_newer_one() {
    let back = timed(deployment("ecs-svc/1", Role::Primary, OLD, State::InProgress, 2), -900.0, 60.0);
    let failed = timed(deployment("ecs-svc/3", Role::Active, NEWER, State::Failed, 0), 30.0, 59.0);
    let reads = vec![Observation::Denied, ours_moving(), service(vec![back, failed])];
    assert_eq!(verdict(reads), Some(Verdict::Superseded { by: NEWER.into() }));
}

#[test]
fn a_newer_deployment_is_said_as_soon_as_either_source_shows_it() {
    let newer = || Some(Newer { task_definition: NEWER.into(), created_at: 1030.0 });
    let listed = Observation::Listed(Listed { ours: None, newer: newer() });
    assert_eq!(verdict(vec![listed]), Some(Verdict::Superseded { by: NEWER.into() }), "by the list");
    let mut rollout = Rollout::new(timed_target(), vec![]);
    feed(&mut rollout, 1, located(service_deployment(Status::InProgress)));
    rollout.observe(Duration::from_secs(31), newer_primary());
    assert_eq!(rollout.next(Duration::from_secs(31)), (Duration::ZERO, Ask::List), "asked at once");
    let denied = vec![Observation::Denied, newer_primary(), newer_primary()];
    assert_eq!(verdict(denied), Some(Verdict::Superseded { by: NEWER.into() }), "by two reads of the service");
}

#[test]
fn without_the_list_and_without_a_word_of_ecs_a_newer_deployment_is_said_within_three_seconds() {
    let mut rollout = Rollout::new(timed_target(), vec![]);
    rollout.observe(Duration::from_secs(1), Observation::Denied);
    rollout.observe(Duration::from_secs(30), ours_moving());
    let silent = || {
        let newer = timed(deployment("ecs-svc/3", Role::Primary, NEWER, State::Unreported, 0), 31.0, 31.0);
        service(vec![newer, deployment("ecs-svc/2", Role::Active, NEW, State::InProgress, 1)])
    };
    let seen = Duration::from_secs(32);
    let mut at = seen;
    rollout.observe(at, silent());
    while rollout.verdict().is_none() {
        let (pause, ask) = rollout.next(at);
        assert_eq!(ask, Ask::Service);
        at += pause;
        assert!(at <= seen + Duration::from_secs(3), "still not said at {at:?}");
        rollout.observe(at, silent());
    }
    assert_eq!(rollout.verdict(), Some(&Verdict::Superseded { by: NEWER.into() }));
}

#[test]
fn who_was_replaced_after_it_succeeded_is_superseded_and_not_rolled_back() {
    let reads = vec![located(service_deployment(Status::Successful)), newer_primary(), newer_primary()];
    assert_eq!(verdict(reads), Some(Verdict::Superseded { by: NEWER.into() }));
}

#[test]
fn nothing_bad_is_said_before_the_list_was_asked_for_a_newer_one() {
    let mut without = timed_target();
    without.breaker.rolls_back = false;
    let mut rollout = Rollout::new(without, vec![]);
    rollout.observe(Duration::from_secs(1), located(service_deployment(Status::InProgress)));
    rollout.observe(Duration::from_secs(30), service(vec![ours(State::Failed, 0)]));
    assert_eq!(rollout.verdict(), None);
    assert_eq!(rollout.next(Duration::from_secs(30)), (Duration::ZERO, Ask::List));
    let newer = Some(Newer { task_definition: NEWER.into(), created_at: 1030.0 });
    rollout.observe(Duration::from_secs(30), Observation::Listed(Listed { ours: None, newer }));
    assert_eq!(rollout.verdict(), Some(&Verdict::Superseded { by: NEWER.into() }));
}

#[test]
fn completed_needs_its_tasks() {
    let completed = |running| service(vec![ours(State::Completed, running)]);
    assert_eq!(verdict(vec![Observation::Denied, completed(0), completed(1)]), None);
    assert_eq!(verdict(vec![Observation::Denied, completed(0), completed(2)]), Some(Verdict::Stable(full())));
    let mut reads = vec![Observation::Denied];
    reads.extend((0..62).map(|_| completed(0)));
    assert_eq!(verdict(reads), Some(Verdict::Failed { reason: "ECS says completed, and 0 of 2 tasks run".to_owned() }));
    let mut larger = ours(State::Completed, 2);
    larger.counts.desired = 20;
    let mut reads = vec![Observation::Denied];
    reads.extend((0..100).map(|_| service(vec![larger.clone()])));
    assert_eq!(verdict(reads), None, "somebody scaled it out: slow is not failed");
}

#[test]
fn a_completed_deployment_is_never_said_to_roll_out_still() {
    let completed = |running| service(vec![ours(State::Completed, running)]);
    let after = |reads: usize, running| {
        let mut target = target();
        target.wait = Duration::from_secs(20);
        let reads = std::iter::once(Observation::Denied).chain((0..reads).map(|_| completed(running)));
        play_with(target, reads.collect()).0
    };
    assert_eq!(after(10, 0), None, "it may be for a moment");
    let none = Verdict::Failed { reason: "ECS says completed, and 0 of 2 tasks run".to_owned() };
    assert_eq!(after(20, 0), Some(none));
    let last = Counts { desired: 2, running: 1, pending: 0 };
    let some = Verdict::TimedOut { last, awaiting_hook: None, stage: None, is_completed: true };
    assert_eq!(some.to_string(), "has completed, and 1 of its 2 tasks run");
    assert_eq!(after(10, 1), Some(some), "the others may come yet, and one serves");
}

#[test]
fn credentials_that_aws_refuses_for_half_a_minute_are_over() {
    let refused = || Observation::SignedOut("ExpiredToken".to_owned());
    let refusals = |count| std::iter::repeat_with(refused).take(count);
    let done = service(vec![ours(State::Completed, 2)]);
    assert_eq!(verdict(refusals(5).chain([done]).collect()), Some(Verdict::Stable(full())), "they were new");
    let lost = Verdict::Lost { error: "ExpiredToken".to_owned(), is_signed_out: true };
    assert_eq!(verdict(refusals(8).collect()), Some(lost));
}

#[test]
fn a_completed_deployment_whose_tasks_end_one_after_the_other_has_failed() {
    let mut rollout = Rollout::new(timed_target(), vec![]);
    rollout.observe(Duration::from_secs(1), Observation::Denied);
    let death = |at: f64| Death { at: 1000.0 + at, how: "container `app` exited with 1".to_owned() };
    let done = "(service web) (deployment ecs-svc/2) deployment completed.";
    let event = ServiceEvent { id: "e".to_owned(), created_at: 1050.0, message: done.to_owned() };
    let read = || {
        let events = vec![event.clone()];
        Observation::Service(Some(Box::new(Service { events, ..world(vec![ours(State::Completed, 2)]) })))
    };
    rollout.observe(Duration::from_secs(51), read());
    assert_eq!(rollout.next(Duration::from_secs(51)), (Duration::ZERO, Ask::Tasks));
    let before_and_after = vec![death(20.0), death(52.0)];
    rollout.observe(Duration::from_secs(53), Observation::Tasks(Some(before_and_after)));
    assert_eq!(rollout.verdict(), None, "one has ended since it completed");
    let more = vec![death(20.0), death(52.0), death(60.0), death(68.0)];
    rollout.observe(Duration::from_secs(69), read());
    rollout.observe(Duration::from_secs(70), Observation::Tasks(Some(more)));
    assert_eq!(
        rollout.verdict(),
        Some(&Verdict::Failed {
            reason: "ECS says completed, and its tasks end one after the other: container `app` exited with 1"
                .to_owned()
        })
    );
}

#[test]
fn one_task_that_ended_and_was_replaced_is_forgiven_after_a_minute() {
    let mut rollout = Rollout::new(timed_target(), vec![]);
    rollout.observe(Duration::from_secs(1), Observation::Denied);
    let ended = || Observation::Tasks(Some(vec![Death { at: 1052.0, how: "exited".to_owned() }]));
    for second in (50..=110).step_by(5) {
        rollout.observe(Duration::from_secs(second), service(vec![ours(State::Completed, 2)]));
        rollout.observe(Duration::from_secs(second), ended());
        assert_eq!(rollout.verdict().is_some(), second >= 110, "{second}");
    }
    assert_eq!(rollout.verdict(), Some(&Verdict::Stable(full())));
}

#[test]
fn a_completed_rolling_deployment_waits_for_the_other_source_and_not_for_ever() {
    let mut reads = vec![located(service_deployment(Status::InProgress))];
    reads.extend((0..7).map(|_| ours_done()));
    assert_eq!(verdict(reads[..7].to_vec()), None, "it says in progress");
    assert_eq!(verdict(reads), Some(Verdict::Stable(full())), "of a rolling deployment the service is the truth");
}

#[test]
fn of_a_native_deployment_the_other_source_is_the_truth() {
    for state in [State::Unreported, State::Completed, State::InProgress] {
        let both = || {
            let old = timed(deployment("ecs-svc/1", Role::Active, OLD, State::Completed, 2), -900.0, -800.0);
            with_strategy("CANARY", vec![ours(state, 2), old])
        };
        let mut baking = service_deployment(Status::InProgress);
        baking.lifecycle_stage = Some("BAKE_TIME".to_owned());
        let mut reads = vec![located(baking)];
        reads.extend((0..20).map(|_| both()));
        let (none, news) = play_with(timed_target(), reads.clone());
        assert_eq!(none, None, "{state:?}: it bakes");
        assert!(news.contains(&RolloutEvent::LifecycleStage { stage: "BAKE_TIME".to_owned() }), "{news:?}");
        reads.push(deployed(Status::Successful));
        reads.push(both());
        assert_eq!(verdict(reads), Some(Verdict::Stable(full())), "{state:?}: said in the very next read");
    }
}

#[test]
fn a_native_deployment_that_is_taken_back_is_rolled_back_and_its_stage_is_in_the_timeout() {
    let back = || {
        with_strategy(
            "BLUE_GREEN",
            vec![timed(deployment("ecs-svc/1", Role::Primary, OLD, State::Completed, 2), -900.0, 40.0)],
        )
    };
    let reads = vec![located(service_deployment(Status::RollbackInProgress)), back(), back()];
    assert_eq!(verdict(reads.clone()), None, "the state is no news outside of rolling deployments");
    let reads = [reads, vec![deployed(Status::RollbackSuccessful), back()]].concat();
    assert!(matches!(verdict(reads), Some(Verdict::RolledBack { .. })));
    let mut short = timed_target();
    short.wait = Duration::from_secs(8);
    let mut baking = service_deployment(Status::InProgress);
    baking.lifecycle_stage = Some("BAKE_TIME".to_owned());
    let reads = vec![located(baking), with_strategy("CANARY", vec![ours(State::InProgress, 2)])];
    let ended = play_with(short, reads).0;
    assert!(matches!(&ended, Some(Verdict::TimedOut { stage: Some(s), .. }) if s == "BAKE_TIME"), "{ended:?}");
}

#[test]
fn a_native_deployment_without_the_other_source_is_over_when_it_stays_alone() {
    let alone = || with_strategy("CANARY", vec![ours(State::Unreported, 2)]);
    let mut reads = vec![Observation::Denied];
    reads.extend((0..7).map(|_| alone()));
    assert_eq!(verdict(reads[..7].to_vec()), None);
    assert_eq!(verdict(reads), Some(Verdict::Stable(full())));
}

#[test]
fn where_alarms_roll_back_a_crash_loop_and_a_failure_are_left_to_them() {
    let mut without = timed_target();
    without.breaker = Breaker::default();
    for (has_alarms, state, failed_tasks) in [
        (true, State::InProgress, 9),
        (false, State::InProgress, 9),
        (true, State::Failed, 0),
        (false, State::Failed, 0),
    ] {
        let read = || {
            let mut ours = ours(state, 0);
            ours.failed_tasks = failed_tasks;
            let alarms = Alarms { is_enabled: has_alarms, rolls_back: has_alarms, names: vec![] };
            Observation::Service(Some(Box::new(Service { alarms, ..world(vec![ours]) })))
        };
        let reads = vec![Observation::Denied, read(), read()];
        let (ended, _) = play_with(without.clone(), reads);
        assert_eq!(ended.is_none(), has_alarms, "{state:?}: {ended:?}");
    }
}

#[test]
fn an_alarm_that_went_off_is_the_reason_and_is_said() {
    let mut back = service_deployment(Status::RollbackInProgress);
    back.triggered_alarms = vec!["errors".to_owned()];
    let (_, news) = play_with(timed_target(), vec![located(back)]);
    assert_eq!(
        news,
        [
            RolloutEvent::AlarmTriggered { alarm: "errors".to_owned() },
            RolloutEvent::RollingBack { reason: "alarm errors".to_owned() }
        ]
    );
}

#[test]
fn a_rollback_to_the_revision_that_was_forced_again_is_no_newer_deployment() {
    let mut same = timed_target();
    same.before = Some(("ecs-svc/1".into(), NEW.into()));
    let back = |state| {
        let mut back = timed(deployment("ecs-svc/4", Role::Primary, NEW, state, 2), 40.0, 40.0);
        back.reason = Some("ECS deployment alarms: rolling back to deploymentId ecs-svc/1.".to_owned());
        back
    };
    let failed = timed(deployment("ecs-svc/2", Role::Active, NEW, State::Failed, 0), 0.0, 39.0);
    let reads = vec![
        Observation::Denied,
        service(vec![back(State::InProgress), failed]),
        service(vec![back(State::Completed)]),
    ];
    let (ended, _) = play_with(same, reads);
    assert!(matches!(ended, Some(Verdict::RolledBack { .. })), "{ended:?}");
}

#[test]
fn a_crash_loop_that_is_to_be_a_failure_is_one_only_while_ours_is_the_primary_one() {
    let looping = || Observation::CrashLoop("2 tasks ended alike".to_owned());
    let reads = vec![Observation::Denied, ours_moving(), looping()];
    assert_eq!(verdict(reads), None, "what was read 5 s ago is read again");
    let reads = vec![Observation::Denied, ours_moving(), looping(), ours_moving()];
    assert_eq!(verdict(reads), Some(Verdict::Failed { reason: "2 tasks ended alike".to_owned() }));
    let reads = vec![Observation::Denied, ours_moving(), newer_primary(), looping(), newer_primary()];
    assert_eq!(verdict(reads), Some(Verdict::Superseded { by: NEWER.into() }));
}
