//! The release graph: what waits for what, and what does not.

use crate::story::fake::rollout::Ending;
use crate::story::fake::task::Run;
use crate::story::scene::{Scene, definition, migration, old_image, service_config};
use fargate_deploy::config::{OnFailure, ReleaseCommand, When};
use fargate_deploy_core::outcome::{Reason, Success};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

fn position(scene: &Scene, start: &str) -> usize {
    let lines = scene.journal.lines();
    lines.iter().position(|l| l.starts_with(start)).unwrap_or_else(|| panic!("no `{start}` in {lines:#?}"))
}

#[tokio::test(start_paused = true)]
async fn a_migration_does_not_wait_for_an_image_that_it_does_not_run() {
    let scene = Scene::new().with_front(300);
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::Deployed);
    assert!(position(&scene, "ecs:RunTask") < position(&scene, "push shop-front"));
    assert!(position(&scene, "push shop-front") < position(&scene, "ecs:UpdateService"));
}

#[tokio::test(start_paused = true)]
async fn no_service_moves_for_a_release_that_lacks_an_image() {
    let scene = Scene::new().with_front(300);
    scene.builder.breaks.replace(Some("/front".to_owned()));
    let ended = scene.deploy().await;
    // `build` would promise that nothing was touched in ECS.
    assert_eq!(ended.reason(), Reason::ReleaseCommand, "{ended:?}");
    assert!(ended.failure().what.contains("front"), "{ended:?}");
    assert_eq!(scene.journal.count("ecs:UpdateService"), 0);
    assert!(ended.state().iter().any(|l| l.contains("`migrate` was applied")), "{:?}", ended.state());
    assert_eq!(scene.lease("web")["isReleased"], true);
}

/// The only change may be in the image that is still being built.
#[tokio::test(start_paused = true)]
async fn a_migration_waits_until_it_is_certain_that_something_changes() {
    let scene = Scene::new().with_front(300);
    scene.deploy().await;
    scene.journal.clear();
    scene.deploy().await;
    assert_eq!(scene.effects(), [] as [String; 0], "nothing changed, nothing runs");
}

#[tokio::test(start_paused = true)]
async fn a_service_starts_when_those_before_it_serve_and_the_others_do_not_wait() {
    let mut scene = Scene::without_migration().with_worker().with_front(1).with_smoke();
    scene.order.config.services[1].after = vec!["web".into()];
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::Deployed);
    let (web, front) = (position(&scene, "ecs:UpdateService web"), position(&scene, "ecs:UpdateService front"));
    let (answer, worker) = (position(&scene, "GET"), position(&scene, "ecs:UpdateService worker"));
    assert!(web < answer && front < answer && answer < worker, "{:#?}", scene.journal.lines());
}

#[tokio::test(start_paused = true)]
async fn a_slow_service_delays_only_those_that_come_after_it() {
    let mut scene = Scene::without_migration().with_worker().with_front(1).next_rollouts("web", [Ending::Hangs]);
    scene.order.config.wait = Duration::from_secs(600);
    let mut last = service_config("last");
    last.after = vec!["front".into()];
    {
        let mut aws = scene.cloud.aws();
        let arn = aws.add_definition(&definition("last", &old_image("shop-app")), Some(7));
        aws.add_service("last", &arn);
    }
    scene.order.config.services.push(last);
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Timeout, "{ended:?}");
    let state = ended.state();
    assert!(state[0].contains("still rolling out"), "{state:?}");
    assert!(state.iter().any(|l| l.starts_with("shop/last: last:42 serves")), "{state:?}");
}

/// The longest chain: 60 s of build, 30 s of migration, 20 s of `web`, 20 s of `worker`; 100 s of front's build beside.
#[tokio::test(start_paused = true)]
async fn a_release_takes_as_long_as_its_longest_chain() {
    let mut scene = Scene::new().with_worker().with_front(100);
    scene.builder.takes.borrow_mut().insert("/src".to_owned(), Duration::from_secs(60));
    scene.order.config.services[1].after = vec!["web".into()];
    let began = Instant::now();
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::Deployed);
    // Simulated time: a table of steps, not a measurement. What is added is polling, and a read of each service
    // before it moves and of all before the end.
    let chain = 100 + 20 + 20;
    let took = began.elapsed().as_secs();
    assert!((chain..chain + 11).contains(&took), "{took} s");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_comes_after_runs_when_everything_serves() {
    let mut scene = Scene::new().with_smoke();
    let after = ReleaseCommand { name: "reindex".to_owned(), when: When::After, ..migration() };
    scene.order.config.release.push(after);
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::Deployed);
    let runs: Vec<_> = scene.effects().into_iter().filter(|l| l.starts_with("ecs:")).collect();
    assert_eq!(
        runs,
        [
            "ecs:RegisterTaskDefinition web",
            "ecs:RunTask web:42",
            "ecs:UpdateService web -> web:42",
            "ecs:RunTask web:42"
        ]
    );
    assert_eq!(ended.record.commands.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_command_after_the_release_leaves_the_release_and_says_so() {
    let mut scene = Scene::without_migration().next_runs([Run::exits(3)]);
    scene.order.config.release.push(ReleaseCommand { when: When::After, ..migration() });
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::AfterCommand, "{ended:?}");
    assert_eq!(ended.state()[0], "shop/web: web:42 serves");
    assert!(ended.failure().next.as_ref().unwrap().contains("serve the new release"), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_command_can_have_a_task_definition_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("migrate.json");
    let mut own = definition("web-migrate", "placeholder");
    own["memory"] = json!("2048");
    own["containerDefinitions"][0]["restartPolicy"] = json!({"enabled": true});
    std::fs::write(&file, own.to_string()).unwrap();
    let mut scene = Scene::new();
    scene.order.config.release[0].task_definition = Some(file);
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
    let aws = scene.cloud.aws();
    let registered = aws.definition("web-migrate").unwrap();
    assert_eq!(registered.body["memory"], "2048");
    let app = registered.container(&"app".into()).unwrap();
    assert!(app["image"].as_str().unwrap().contains("shop-app@sha256:"), "{app:?}");
    assert!(!app.contains_key("restartPolicy"), "a command is run once");
    assert_eq!(scene.journal.count("ecs:RunTask web-migrate:"), 1);
}

/// Reads of DescribeServices and DescribeServiceDeployments in a release of that many services.
async fn reads(services: usize) -> (usize, usize) {
    let mut scene = Scene::without_migration();
    for n in 1..services {
        let name = format!("web{n}");
        let arn = scene.cloud.aws().add_definition(&definition(&name, &old_image("shop-app")), Some(7));
        scene.cloud.aws().add_service(&name, &arn);
        scene.order.config.services.push(service_config(&name));
    }
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:UpdateService"), services);
    (scene.journal.count("ecs:DescribeServices "), scene.journal.count("ecs:DescribeServiceDeployments"))
}

#[tokio::test(start_paused = true)]
async fn services_that_roll_out_at_once_are_read_ten_a_call() {
    let (one, twenty) = (reads(1).await, reads(20).await);
    // Finding one's own deployment and a look at the end are each service's own.
    assert!(twenty.0 <= 2 * one.0 + 2 * 20, "DescribeServices: {one:?}, {twenty:?}");
    assert!(twenty.1 <= 2 * one.1 + 20, "DescribeServiceDeployments: {one:?}, {twenty:?}");
}

#[tokio::test(start_paused = true)]
async fn one_service_of_several_that_is_slow_or_fails_does_not_change_what_is_read_of_the_others() {
    let mut scene = Scene::without_migration().with_worker().next_rollouts("worker", [Ending::Failed]);
    scene.order.config.on_failure = OnFailure::Leave;
    let ended = scene.deploy().await;
    assert_eq!(ended.state()[0], "shop/web: web:42 serves", "{ended:?}");
    assert!(ended.state()[1].contains("worker:42 failed"), "{ended:?}");
}
