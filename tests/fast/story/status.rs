//! How the services are, on one screen: a snapshot each, with the exit code of `--exit-code`.

use super::fake::cloud::Outage;
use super::fake::rollout::Ending;
use super::scene::{Scene, definition, old_image};
use fargate_deploy::cli::LockAction;
use fargate_deploy::commands::lock;
use fargate_deploy::commands::paused::{Decision, act};
use fargate_deploy::commands::status::{Look, look};
use fargate_deploy::lease::{self, ManualLock, Owner};
use fargate_deploy::ports::CallErrorKind;
use fargate_deploy::render::screen::printed;
use fargate_deploy::render::status::{Heading, screen};
use fargate_deploy_core::outcome::{Outcome, Reason};
use fargate_deploy_core::service::{Counts, ServiceDeploymentStatus, State, Strategy};
use fargate_deploy_core::status::exit_code;
use insta::assert_snapshot;
use std::time::Duration;
use tokio::time::{Instant, sleep};

async fn seen(scene: &Scene) -> Look {
    look(&scene.order.config.services, scene.cloud.ports()).await.unwrap()
}

/// The screen, with ages left out, and the exit code.
async fn shown(scene: &Scene) -> String {
    let look = seen(scene).await;
    let heading = Heading { environment: Some("production".to_owned()), region: "eu-central-1".to_owned() };
    let lines = screen(&heading, &look.services, &look.missing, fargate_deploy::clock::now());
    let is_age = |word: &str| {
        let number = word.trim_end_matches(',').strip_suffix(['s', 'm', 'h', 'd']);
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    let words = |line: &str| {
        let ageless = line.split(' ').map(|word| if is_age(word) { "AGE" } else { word });
        ageless.collect::<Vec<_>>().join(" ")
    };
    let text: Vec<_> = printed(&lines, false).lines().map(words).collect();
    format!("{}\nexit {}", text.join("\n"), exit_code(&look.services))
}

/// `web` is told to run r8, which goes as `ending` says, for so long.
async fn rolling(ending: Ending, seconds: u64) -> Scene {
    let scene = Scene::new().with_worker().next_rollouts("web", [ending]);
    let arn = scene.cloud.aws().add_definition(&definition("web", &old_image("shop-app")), Some(8));
    scene.cloud.aws().update("web", &arn, false);
    pass(&scene, seconds).await;
    scene
}

/// Time in which AWS does what is due, second by second.
async fn pass(scene: &Scene, seconds: u64) {
    for _ in 0..seconds {
        sleep(Duration::from_secs(1)).await;
        drop(scene.cloud.aws());
    }
}

#[tokio::test(start_paused = true)]
async fn steady() {
    assert_snapshot!(shown(&Scene::new().with_worker().with_smoke()).await);
}

#[tokio::test(start_paused = true)]
async fn rolling_out() {
    assert_snapshot!(shown(&rolling(Ending::Hangs, 5).await).await);
}

#[tokio::test(start_paused = true)]
async fn the_breaker_at_one_of_three() {
    let scene = rolling(Ending::CrashLoops, 12).await;
    scene.cloud.aws().service_deployments[0].1.failures = Some((1, 3));
    assert_snapshot!(shown(&scene).await);
}

#[tokio::test(start_paused = true)]
async fn rolled_back() {
    let scene = rolling(Ending::RolledBack { reuses_id: false }, 120).await;
    scene.cloud.aws().service_deployments[0].1.rollback_reason = Some("the circuit breaker tripped".to_owned());
    assert_snapshot!(shown(&scene).await);
}

#[tokio::test(start_paused = true)]
async fn blue_green_in_bake() {
    let scene = rolling(Ending::Hangs, 5).await;
    let scene = scene.change_service("web", |web| {
        web.strategy = Strategy::Shifting("BLUE_GREEN".to_owned());
        web.deployments.iter_mut().for_each(|d| d.state = State::Unreported);
    });
    scene.cloud.aws().service_deployments[0].1.lifecycle_stage = Some("BAKE_TIME".to_owned());
    assert_snapshot!(shown(&scene).await);
}

async fn paused() -> Scene {
    let scene = rolling(Ending::Hangs, 5).await;
    {
        let mut aws = scene.cloud.aws();
        aws.service_deployments[0].1.awaiting_hook = Some("hook-1".to_owned());
        aws.service_deployments[0].1.lifecycle_stage = Some("POST_TEST_TRAFFIC_SHIFT".to_owned());
    }
    scene
}

#[tokio::test(start_paused = true)]
async fn paused_at_a_hook() {
    assert_snapshot!(shown(&paused().await).await);
}

#[tokio::test(start_paused = true)]
async fn locked_by_a_person() {
    let scene = Scene::new().with_worker();
    let owner = Owner { run: "laptop".to_owned(), actor: "ann".to_owned() };
    let lock = ManualLock { reason: "demo at noon".to_owned(), owner, since: String::new() };
    for service in &scene.order.config.services {
        lease::set(&service.reference(), &lock, scene.cloud.ports()).await.unwrap();
    }
    assert_snapshot!(shown(&scene).await);
}

#[tokio::test(start_paused = true)]
async fn drift() {
    let scene = Scene::new();
    let arn = {
        let mut aws = scene.cloud.aws();
        let mut body = definition("web", &old_image("shop-app"));
        body["registeredBy"] = "arn:aws:sts::111122223333:assumed-role/terraform/ci".into();
        let arn = aws.add_definition(&body, None);
        aws.update("web", &arn, false);
        arn
    };
    assert!(arn.short() == "web:42");
    pass(&scene, 60).await;
    assert_snapshot!(shown(&scene).await);
}

#[tokio::test(start_paused = true)]
async fn desired_count_of_0() {
    let none = Counts::default();
    let scene = Scene::new().change_service("web", |web| {
        web.counts = none;
        web.deployments[0].counts = none;
    });
    assert_snapshot!(shown(&scene).await);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_gone() {
    let scene = Scene::new().with_worker();
    scene.cloud.aws().services.remove("worker");
    assert_snapshot!(shown(&scene).await);
}

#[tokio::test(start_paused = true)]
async fn fewer_tasks_than_there_should_be() {
    let scene = Scene::new().change_service("web", |web| web.deployments[0].counts.running = 1);
    assert_snapshot!(shown(&scene).await);
}

#[tokio::test(start_paused = true)]
async fn a_role_that_may_only_describe_services_is_told_what_it_does_not_see() {
    let scene = Scene::new();
    for action in
        ["ecs:DescribeTaskDefinition", "ecs:ListServiceDeployments", "ecs:ListTasks", "ssm:GetParametersByPath"]
    {
        scene.cloud.deny(action);
    }
    assert_snapshot!(shown(&scene).await);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_waits_goes_on_or_back_as_a_person_says_and_nothing_else_does() {
    let of = |scene: &Scene| scene.order.config.services.clone();
    let scene = paused().await;
    let (services, aws) = (of(&scene), scene.cloud.ports());
    let other = act(Decision::Continue, &services, Some("hook-2"), None, aws).await.unwrap_err();
    assert_eq!(other.reason, Reason::Config);
    let (lines, objects) = act(Decision::Continue, &services, None, Some("it looks well"), aws).await.unwrap();
    assert_eq!(lines[0].text, "web goes on from hook hook-1: it looks well");
    assert_eq!((&objects[0]["hook"], objects.len()), (&"hook-1".into(), 1));
    pass(&scene, 60).await;
    assert_eq!(scene.cloud.aws().services["web"].task_definition.short(), "web:42");
    assert!(scene.journal.lines().iter().any(|line| line == "ecs:ContinueServiceDeployment hook-1 on"));
    let over = act(Decision::Continue, &services, None, None, aws).await.unwrap_err();
    assert!(over.next.unwrap().contains("fargate-deploy status"));

    let scene = paused().await;
    act(Decision::Abort, &of(&scene), None, None, scene.cloud.ports()).await.unwrap();
    pass(&scene, 60).await;
    assert_eq!(scene.cloud.aws().services["web"].task_definition.short(), "web:41");
    assert!(scene.journal.lines().iter().any(|line| line == "ecs:ContinueServiceDeployment hook-1 back"));

    // Nothing waits for a person: ECS is told to stop it.
    let scene = rolling(Ending::Hangs, 5).await;
    act(Decision::Abort, &of(&scene), None, None, scene.cloud.ports()).await.unwrap();
    pass(&scene, 60).await;
    assert_eq!(scene.cloud.aws().services["web"].task_definition.short(), "web:41");
    let status = scene.cloud.aws().service_deployments[0].1.status.clone();
    assert_eq!(status, ServiceDeploymentStatus::RollbackSuccessful);
    let nothing = act(Decision::Abort, &of(&scene), None, None, scene.cloud.ports()).await.unwrap_err();
    assert!(nothing.next.unwrap().contains("fargate-deploy rollback"));
}

#[tokio::test(start_paused = true)]
async fn what_aws_does_not_tell_in_time_is_a_line_and_no_green() {
    for outage in [Outage::Says(CallErrorKind::Throttled), Outage::Says(CallErrorKind::Unreachable), Outage::Hangs] {
        for action in ["ecs:ListServiceDeployments", "ecs:DescribeServiceDeployments"] {
            let scene = rolling(Ending::RolledBack { reuses_id: false }, 120).await;
            assert_eq!(exit_code(&seen(&scene).await.services), 6);
            scene.cloud.trouble(action, outage, 0, Duration::from_secs(9000));
            let began = Instant::now();
            let text = shown(&scene).await;
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
            assert!(text.contains("how the deployments go: not known") && text.contains(action), "{text}");
            assert!(text.ends_with("exit 10"), "{text}");
        }
        // What decides nothing is a line, and no failure.
        let scene = Scene::new();
        for action in ["ssm:GetParametersByPath", "ecs:ListTasks"] {
            scene.cloud.trouble(action, outage, 0, Duration::from_secs(9000));
        }
        let text = shown(&scene).await;
        assert!(text.contains("who keeps deploys out of shop/web: not known"), "{text}");
        assert!(text.contains("which tasks stopped last: not known") && text.ends_with("exit 0"), "{text}");
    }
    // What has failed is known without it.
    let scene = Scene::new().change_service("web", |web| web.deployments[0].counts.running = 1);
    scene.cloud.trouble("ecs:ListServiceDeployments", Outage::Hangs, 0, Duration::from_secs(9000));
    assert_eq!(exit_code(&seen(&scene).await.services), 7);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_being_deleted_does_not_serve() {
    let scene = Scene::new().change_service("web", |web| web.status = "DRAINING".to_owned());
    let text = shown(&scene).await;
    assert!(text.contains("BEING DELETED") && text.ends_with("exit 7"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_abort_that_is_refused_says_that_the_rollout_goes_on_and_what_was_told_before() {
    let scene = rolling(Ending::Hangs, 5).await;
    let other = scene.cloud.aws().add_definition(&definition("worker", &old_image("shop-app")), Some(8));
    scene.cloud.aws().endings.entry("worker".to_owned()).or_default().push_back(Ending::Hangs);
    scene.cloud.aws().update("worker", &other, false);
    pass(&scene, 5).await;
    let services = scene.order.config.services.clone();
    scene.cloud.fail("ecs:StopServiceDeployment", CallErrorKind::Denied, 1, 1);
    let failure = act(Decision::Abort, &services, None, None, scene.cloud.ports()).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Permission, "{failure:?}");
    let text = format!("{failure:?}");
    assert!(!text.contains("somebody stopped") && text.contains("ecs:StopServiceDeployment"), "{text}");
    let first = services[0].key.to_string();
    assert_eq!(Outcome::from(failure).record.state(), [format!("{first} goes back")]);
    let going = act(Decision::Abort, &services[..1], None, None, scene.cloud.ports()).await.unwrap_err();
    assert!(going.what.contains("goes back already"), "{going:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_set_on_every_service_or_on_none() {
    let scene = Scene::new().with_worker();
    let services: Vec<_> = scene.order.config.services.iter().map(|service| service.reference()).collect();
    let of = |actor: &str| {
        let owner = Owner { run: "laptop".to_owned(), actor: actor.to_owned() };
        ManualLock { reason: "demo".to_owned(), owner, since: String::new() }
    };
    let aws = scene.cloud.ports();
    lease::set(&services[1], &of("ben"), aws).await.unwrap();
    let refused = lock::act(LockAction::Acquire, &services, &of("ann"), aws).await.unwrap_err();
    assert_eq!((refused.reason, refused.done.len()), (Reason::Locked, 0), "{refused:?}");
    assert!(lease::state(&services[0], aws).await.unwrap().manual_lock.is_none(), "the first is not locked");
    // Where that cannot be undone it is said.
    scene.cloud.deny("ssm:DeleteParameter");
    let refused = lock::act(LockAction::Acquire, &services, &of("ann"), aws).await.unwrap_err();
    let state = Outcome::from(refused).record.state().join("\n");
    assert!(state.contains("is locked") && state.contains("fargate-deploy lock release -s web"), "{state}");
}
