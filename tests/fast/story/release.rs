//! Good endings: what is called, in which order, and what is left out when nothing has to be done.

use crate::story::fake::builder::tagged;
use crate::story::fake::digest_of;
use crate::story::fake::rollout::Ending;
use crate::story::scene::{Scene, container, definition, old_image, order};
use fargate_deploy::config::{ImageSource, Lock, Reuse};
use fargate_deploy::ports::CallErrorKind;
use fargate_deploy_core::outcome::{Reason, Success};
use fargate_deploy_core::task_definition::TaskDefinition;
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_release_with_a_migration_goes_through_its_steps_in_order() {
    let scene = Scene::new();
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::Deployed);
    assert_eq!(
        scene.changes(),
        [
            "build /src for linux/amd64",
            "push shop-app:CONTENT by in-memory login",
            "ecr:PutImage shop-app:abc123",
            "ssm:PutParameter create web 1",
            "ecs:RegisterTaskDefinition web",
            "ssm:PutParameter web 1 with intent",
            "ecs:RunTask web:42",
            "ssm:PutParameter web 1 with task",
            "ecs:UpdateService web -> web:42",
            "ssm:PutParameter web 1 released",
        ]
    );
    assert_eq!(ended.state()[0], "shop/web: web:42 serves");
    assert_eq!(ended.record.release, Some(8));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_before_everything_has_been_read() {
    let scene = Scene::new();
    scene.deploy().await;
    let lines = scene.journal.lines();
    let build = lines.iter().position(|l| l.starts_with("build")).unwrap();
    assert_eq!(
        lines[..build],
        [
            "sts:GetCallerIdentity",
            "ecs:DescribeServices web",
            "ecs:DescribeTaskDefinition web:41",
            "ecs:DescribeTaskDefinition web",
            "ecr:DescribeRepositories shop-app",
            "ecr:DescribeImages shop-app:CONTENT",
            "ecr:DescribeRepositories shop-app",
            "ecr:GetAuthorizationToken",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_checked_right_before_the_migration_and_right_before_the_update() {
    let scene = Scene::new();
    scene.deploy().await;
    let lines = scene.journal.lines();
    for effect in ["ecs:RunTask", "ecs:UpdateService"] {
        let at = lines.iter().position(|l| l.starts_with(effect)).unwrap();
        assert_eq!(lines[at - 1], "ssm:GetParametersByPath web", "before {effect}: {lines:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_new_revision_keeps_every_member_and_runs_the_pushed_digest() {
    let scene = Scene::new();
    scene.deploy().await;
    let aws = scene.cloud.aws();
    let registered = aws.definition("web:42").unwrap();
    let before = aws.definition("web:41").unwrap();
    assert_eq!(registered.body["memberOfTheFuture"], before.body["memberOfTheFuture"]);
    let image = registered.container(&"app".into()).unwrap()["image"].as_str().unwrap();
    assert_eq!(image.split_once('@').unwrap().1, digest_of("/src new").as_str());
    assert_eq!(registered.tag("fargate-deploy:release"), Some("r8"));
    assert_eq!(registered.tag("fargate-deploy:sha"), Some("abc123"));
}

#[tokio::test(start_paused = true)]
async fn the_migration_runs_where_the_service_runs_and_as_the_container_of_the_image() {
    let scene = Scene::new();
    let ended = scene.deploy().await;
    let aws = scene.cloud.aws();
    let is_ours = |by: &Option<String>| by.as_ref().is_some_and(|by| by.starts_with("fargate-deploy/migrate/1001/"));
    let task = aws.tasks.iter().find(|t| is_ours(&t.task.started_by)).unwrap();
    assert_eq!(task.task.task_definition.short(), "web:42");
    assert_eq!(ended.record.commands[0].task.as_ref(), Some(&task.task.arn));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_only_reads() {
    let mut scene = Scene::new();
    scene.order.is_dry_run = true;
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::Planned);
    assert_eq!(ended.record.planned_changes, Some(1));
    assert_eq!(scene.changes(), [""; 0]);
    let plan = ended.record.plan.unwrap();
    assert_eq!(plan.release_commands[0].command, ["yarn", "migrate"]);
    assert_eq!(plan.services[0].changes[0].path, "containerDefinitions.app.image");
}

#[tokio::test(start_paused = true)]
async fn the_same_commit_again_builds_pushes_registers_leases_and_updates_nothing() {
    let scene = Scene::new();
    scene.deploy().await;
    scene.journal.clear();
    let again = scene.deploy().await;
    assert_eq!(again.success(), Success::Unchanged);
    assert_eq!(scene.changes(), [""; 0]);
    assert_eq!(scene.journal.count("ssm:Put"), 0, "the lease is read, for what the last run owes");
    assert_eq!(again.state(), ["shop/web: untouched, r8 (web:42) serves"]);
}

#[tokio::test(start_paused = true)]
async fn force_rolls_an_unchanged_service_under_the_same_revision() {
    let mut scene = Scene::without_migration();
    scene.deploy().await;
    scene.journal.clear();
    scene.order.config.force = true;
    let again = scene.deploy().await;
    assert_eq!(again.success(), Success::Deployed);
    assert_eq!(scene.effects(), ["ecs:UpdateService web -> web:42 by force"]);
}

#[tokio::test(start_paused = true)]
async fn a_forced_rollout_of_the_same_revision_does_not_take_the_deployment_before_it_for_its_own() {
    let mut scene = Scene::without_migration();
    scene.deploy().await;
    scene.order.config.force = true;
    let scene = scene.next_rollouts("web", [Ending::RolledBack { reuses_id: false }]);
    // The one before was SUCCESSFUL, of the same revision, and is listed before the new one is.
    {
        let mut aws = scene.cloud.aws();
        aws.listing_lag = Duration::from_secs(60);
        aws.service_deployments.iter_mut().for_each(|(_, d)| d.created_at -= 60.0);
    }
    let again = scene.deploy().await;
    assert!(again.result.is_err(), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn no_wait_ends_once_ecs_has_accepted_and_asks_nothing_of_what_still_serves() {
    let mut scene = Scene::new().with_smoke();
    scene.order.is_unwatched = true;
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::Started);
    assert_eq!(scene.journal.count("ecs:ListServiceDeployments"), 0);
    assert_eq!(scene.journal.count("GET"), 0, "the smoke check would ask the release before");
    assert_eq!(ended.state()[0], "shop/web: ECS is still rolling out web:42; r7 (web:41) serves until it is replaced");
    assert_eq!(scene.lease("web")["isReleased"], true);
}

#[tokio::test(start_paused = true)]
async fn skipped_release_commands_start_no_task() {
    let mut scene = Scene::new();
    scene.order.skips_commands = true;
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RunTask"), 0);
}

#[tokio::test(start_paused = true)]
async fn without_the_lease_no_parameter_is_touched() {
    let mut scene = Scene::new();
    scene.order.config.lock = Lock::None;
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ssm:"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_image_given_by_reference_is_looked_up_and_deployed_by_digest() {
    let mut scene = Scene::without_migration();
    let digest = digest_of("elsewhere");
    tagged(&mut scene.cloud.aws().images, "shop-app", &digest, "v9", "linux/amd64");
    let reference = old_image("shop-app").replace(&format!("@{}", digest_of("old")), ":v9");
    scene.order.config.images[0].source = ImageSource::Existing(reference);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.effects(), ["ecs:RegisterTaskDefinition web", "ecs:UpdateService web -> web:42"]);
    let aws = scene.cloud.aws();
    let image = aws.definition("web:42").unwrap().container(&"app".into()).unwrap()["image"].clone();
    assert!(image.as_str().unwrap().ends_with(digest.as_str()), "{image}");
}

#[tokio::test(start_paused = true)]
async fn an_image_of_another_registry_is_resolved_there() {
    let mut scene = Scene::without_migration();
    scene.order.config.images[0].source = ImageSource::Existing("ghcr.io/org/api:v1".to_owned());
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecr:"), 0);
    assert_eq!(scene.journal.count("resolve ghcr.io/org/api:v1"), 1);
}

#[tokio::test(start_paused = true)]
async fn content_that_is_in_the_repository_only_gets_the_tags_that_it_lacks() {
    let mut scene = Scene::without_migration();
    scene.deploy().await;
    scene.journal.clear();
    scene.order.tags = vec![("app".into(), vec!["abc123".to_owned(), "latest".to_owned()])];
    let again = scene.deploy().await;
    assert_eq!(again.success(), Success::Unchanged);
    assert_eq!(scene.effects(), ["ecr:PutImage shop-app:latest"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_repository_is_created_where_the_config_asks_for_it() {
    let mut scene = Scene::without_migration();
    scene.cloud.aws().repositories.clear();
    if let ImageSource::Build(build) = &mut scene.order.config.images[0].source {
        build.create_repository = true;
    }
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.effects()[0], "ecr:CreateRepository shop-app");
}

#[tokio::test(start_paused = true)]
async fn all_containers_of_one_task_move_in_one_revision() {
    let mut scene = Scene::without_migration();
    {
        let mut aws = scene.cloud.aws();
        let mut body = definition("web", &old_image("shop-app"));
        body["containerDefinitions"] = json!([container("app", "a"), container("api", "b"), container("proxy", "c")]);
        let arn = aws.add_definition(&body, Some(7));
        aws.add_service("web", &arn);
    }
    scene.order.config.services[0].containers =
        vec![(Some("app".into()), "app".into()), (Some("api".into()), "app".into())];
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RegisterTaskDefinition"), 1);
    assert_eq!(scene.journal.count("build"), 1);
    let aws = scene.cloud.aws();
    let images: Vec<_> = aws.definition("web:43").unwrap().containers().map(|c| c["image"].clone()).collect();
    assert_eq!(images[0], images[1]);
    assert_eq!(images[2], "c", "a container without an image of ours keeps its own");
}

#[tokio::test(start_paused = true)]
async fn services_of_one_release_move_together_and_an_after_waits() {
    let mut scene = Scene::without_migration().with_worker();
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    let updates = |scene: &Scene| {
        let lines = scene.journal.lines();
        let at = |start: &str| lines.iter().position(|l| l.starts_with(start)).unwrap();
        (at("ecs:UpdateService web"), at("ecs:UpdateService worker"), at("ecs:ListServiceDeployments web"))
    };
    let (_, worker, watched) = updates(&scene);
    assert!(worker < watched, "the worker does not wait for the web");

    scene.journal.clear();
    *scene.builder.content.borrow_mut() = "newer".to_owned();
    scene.order.config.services[1].after = vec!["web".into()];
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    let (_, worker, watched) = updates(&scene);
    assert!(worker > watched, "the worker waits for the web");
}

#[tokio::test(start_paused = true)]
async fn one_release_of_two_services_has_one_number_one_build_and_one_migration() {
    let scene = Scene::new().with_worker();
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::Deployed);
    assert_eq!(scene.journal.count("build"), 1);
    assert_eq!(scene.journal.count("ecs:RunTask"), 1);
    let aws = scene.cloud.aws();
    let release = |name: &str| aws.definition(name).and_then(TaskDefinition::release);
    assert_eq!((release("web:42"), release("worker:42")), (Some(8), Some(8)));
}

#[tokio::test(start_paused = true)]
async fn a_warning_of_the_plan_is_said_once() {
    let scene = Scene::new().change_service("web", |s| s.breaker.is_enabled = false);
    scene.deploy().await;
    let breaker: Vec<_> = scene.told.warnings().into_iter().filter(|w| w.contains("circuit breaker")).collect();
    assert_eq!(breaker.len(), 1, "{breaker:?}");
}

#[tokio::test(start_paused = true)]
async fn a_release_that_somebody_else_finished_while_this_one_waited_is_not_done_again() {
    let scene = Scene::new();
    let mut other = scene.order.clone();
    other.token = "token-2".to_owned();
    other.run.key = "1002".to_owned();
    let (first, second) = tokio::join!(scene.deploy(), scene.deploy_order(&other));
    let successes = [first.success(), second.success()];
    assert!(successes.contains(&Success::Deployed) && successes.contains(&Success::Unchanged), "{successes:?}");
    assert_eq!(scene.journal.count("ecs:RunTask"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_run_left_rolling_out_is_watched_to_its_end_instead_of_called_unchanged() {
    let mut scene = Scene::without_migration().next_rollouts("web", [Ending::RolledBack { reuses_id: false }]);
    scene.order.is_unwatched = true;
    assert_eq!(scene.deploy().await.success(), Success::Started);
    scene.order.is_unwatched = false;
    let again = scene.deploy().await;
    assert_eq!(again.reason().word(), "rolled-back", "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_desired_count_of_zero_is_deployed_and_not_verified() {
    let scene = Scene::without_migration().with_smoke().change_service("web", |s| {
        s.counts = fargate_deploy_core::service::Counts { desired: 0, running: 0, pending: 0 };
    });
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::DeployedNotVerified);
    assert_eq!(scene.journal.count("GET"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_expired_before_the_push_is_renewed_once() {
    let scene = Scene::new();
    scene.builder.is_login_expired.set(true);
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::Deployed);
    assert_eq!(scene.journal.count("push shop-app:CONTENT"), 2);
    assert_eq!(scene.journal.count("ecr:GetAuthorizationToken"), 2);
}

/// Another digest under the tag of this commit, and tags that do not move.
fn built_before(scene: &Scene) {
    let mut aws = scene.cloud.aws();
    aws.repositories.get_mut("shop-app").unwrap().is_immutable = true;
    let earlier = digest_of("an earlier build of abc123");
    tagged(&mut aws.images, "shop-app", &earlier, "abc123", "linux/amd64");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_built_before_deploys_again_where_its_tag_cannot_move() {
    for reuse in [Reuse::Commit, Reuse::Content, Reuse::Never] {
        let mut scene = Scene::new();
        built_before(&scene);
        let ImageSource::Build(build) = &mut scene.order.config.images[0].source else { panic!() };
        build.reuse = reuse;
        for _ in 0..2 {
            let ended = scene.deploy().await;
            assert!(ended.result.is_ok(), "{reuse:?}: {ended:?}");
        }
        let aws = scene.cloud.aws();
        let tags_of = |digest| {
            let image = aws.images.iter().find(|(_, image)| image.digest == digest).unwrap();
            image.1.tags.clone()
        };
        assert_eq!(tags_of(digest_of("an earlier build of abc123")), ["abc123"]);
        let tags = tags_of(digest_of("/src new"));
        assert!(tags.iter().all(|tag| tag.starts_with("content-")) && !tags.is_empty(), "{reuse:?}: {tags:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_context_is_not_read_whole_where_no_image_is_looked_up_by_it() {
    let mut scene = Scene::new();
    scene.builder.is_unreadable.set(true);
    let ImageSource::Build(build) = &mut scene.order.config.images[0].source else { panic!() };
    build.reuse = Reuse::Never;
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
}

#[tokio::test(start_paused = true)]
async fn a_release_is_written_as_events_with_their_ids_and_figures_and_without_a_secret() {
    let scene = Scene::new();
    scene.deploy().await;
    let lines: Vec<String> = scene.told.json().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_started_again_goes_on_with_what_it_registered_under_the_same_number() {
    let mut scene = Scene::new();
    scene.cloud.fail("ecs:RunTask", CallErrorKind::Denied, 0, 1);
    assert_eq!(scene.deploy().await.reason(), Reason::Permission);
    scene.order.run.attempt = "2".to_owned();
    scene.order.token = "token-2".to_owned();
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::Deployed);
    assert_eq!(scene.journal.count("ecs:RegisterTaskDefinition"), 1);
    assert_eq!((ended.record.release, ended.record.services[0].target.as_ref().unwrap().short()), (Some(8), "web:42"));
}

#[tokio::test(start_paused = true)]
async fn another_run_and_another_commit_register_their_own() {
    for (run, content) in [("1002", "new"), ("1001", "other")] {
        let mut scene = Scene::new();
        scene.cloud.fail("ecs:RunTask", CallErrorKind::Denied, 0, 1);
        assert_eq!(scene.deploy().await.reason(), Reason::Permission);
        scene.order = order(run, "2", "token-2");
        scene.builder.content.replace(content.to_owned());
        assert_eq!(scene.deploy().await.success(), Success::Deployed);
        assert_eq!(scene.journal.count("ecs:RegisterTaskDefinition"), 2, "{run} {content}");
    }
}
