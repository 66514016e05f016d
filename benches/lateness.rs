//! Lateness: from the moment at which ECS is done to the verdict, and the calls that it took, by the state machine's own
//! asking. Time is simulated, so the figures depend on nothing but the code; the network's latency comes on top.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints its figures")]

use fargate_deploy_core::rollout::{Ask, Listed, Observation, Rollout, Target};
use fargate_deploy_core::service::{
    Alarms, Breaker, Controller, Counts, Deployment, Role, Service, ServiceDeployment, ServiceDeploymentStatus, State,
    Strategy,
};
use std::time::Duration;

const NEW: &str = "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:2";

fn main() {
    println!("rollout      mean lateness   longest   calls   calls of a 1-second poller");
    for seconds in [30_u64, 60, 120, 300, 600] {
        let runs: Vec<(f64, u32)> = (0..100).map(|at| follow(seconds as f64 + f64::from(at) / 20.0)).collect();
        let mean = runs.iter().map(|(late, _)| late).sum::<f64>() / runs.len() as f64;
        let longest = runs.iter().map(|(late, _)| *late).fold(0.0, f64::max);
        let calls = runs.iter().map(|(_, calls)| calls).sum::<u32>() / runs.len() as u32;
        println!("{seconds:>5} s       {mean:>8.2} s   {longest:>6.2} s   {calls:>5}   {seconds}");
    }
}

/// Tasks run after half of the time, the rest is draining; ECS is done at `end`. Lateness in seconds, and calls.
fn follow(end: f64) -> (f64, u32) {
    let target = Target {
        deployment: "ecs-svc/2".into(),
        created_at: None,
        task_definition: NEW.into(),
        before: None,
        breaker: Breaker { is_enabled: true, rolls_back: true },
        wait: Duration::from_secs(3600),
    };
    let mut rollout = Rollout::new(target, vec![]);
    let (mut at, mut calls) = (0.0, 0);
    loop {
        let (pause, ask) = rollout.next(Duration::from_secs_f64(at));
        at += pause.as_secs_f64();
        calls += 1;
        let running = if at >= end / 2.0 { 2 } else { 0 };
        let observation = match ask {
            Ask::Service => Observation::Service(Some(Box::new(service(at >= end, running)))),
            Ask::List => Observation::Listed(Listed { ours: Some(deployment(at >= end, running)), newer: None }),
            Ask::Tasks => Observation::Tasks(Some(vec![])),
            Ask::ServiceDeployment(_) => Observation::ServiceDeployment(Some(deployment(at >= end, running))),
        };
        rollout.observe(Duration::from_secs_f64(at), observation);
        if rollout.verdict().is_some() {
            return (at - end, calls);
        }
    }
}

fn deployment(is_done: bool, running: i64) -> ServiceDeployment {
    ServiceDeployment {
        arn: "arn:aws:ecs:eu-central-1:111122223333:service-deployment/shop/web/1".into(),
        status: if is_done { ServiceDeploymentStatus::Successful } else { ServiceDeploymentStatus::InProgress },
        reason: None,
        target_revision: None,
        counts: Counts { desired: 2, running, pending: 0 },
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

fn service(is_done: bool, running: i64) -> Service {
    let counts = Counts { desired: 2, running, pending: 0 };
    Service {
        arn: "arn:aws:ecs:eu-central-1:111122223333:service/shop/web".to_owned(),
        name: "web".to_owned(),
        cluster_arn: "arn:aws:ecs:eu-central-1:111122223333:cluster/shop".to_owned(),
        status: "ACTIVE".to_owned(),
        task_definition: NEW.into(),
        counts,
        controller: Controller::Ecs,
        strategy: Strategy::Rolling,
        is_express: false,
        breaker: Breaker { is_enabled: true, rolls_back: true },
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
        deployments: vec![Deployment {
            id: "ecs-svc/2".into(),
            role: Role::Primary,
            state: if is_done { State::Completed } else { State::InProgress },
            counts,
            failed_tasks: 0,
            reason: None,
            task_definition: NEW.into(),
            created_at: None,
            updated_at: None,
        }],
        events: vec![],
        current_service_deployment: None,
    }
}
