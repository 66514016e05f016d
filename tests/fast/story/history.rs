//! What became of each release, and an earlier one again: by the same steps, all services or none.

use super::fake::builder::tagged;
use super::fake::rollout::Ending;
use super::fake::{REGISTRY, digest_of};
use super::scene::{Ended, Scene, definition, old_image, order};
use fargate_deploy::commands::releases::{listed, prune};
use fargate_deploy::commands::rollback::{Asked, prepare};
use fargate_deploy::config::ServiceConfig;
use fargate_deploy::history::{self, Depth, History};
use fargate_deploy::lease::{ManualLock, Owner};
use fargate_deploy::ports::CallErrorKind;
use fargate_deploy::release::Order;
use fargate_deploy::render::screen::printed;
use fargate_deploy_core::history::Outcome;
use fargate_deploy_core::outcome::{Failure, Reason, Success};
use std::time::Duration;
use tokio::time::sleep;

const NEAR: Depth = Depth { releases: 15, until: None };

/// r7 of `old` and what is deployed to it, a commit each, whose digest is as the commit is called.
async fn deploy(scene: &Scene, commit: &str, run: &str) -> Ended {
    let mut order = Order { config: scene.order.config.clone(), ..order(run, "1", &format!("token-{run}")) };
    order.provenance.sha = Some(commit.to_owned());
    order.tags = vec![("app".into(), vec![commit.to_owned()])];
    scene.builder.content.replace(commit.to_owned());
    let ended = scene.deploy_order(&order).await;
    sleep(Duration::from_secs(120)).await;
    ended
}

fn shop() -> Scene {
    let scene = Scene::new().with_worker();
    tagged(&mut scene.cloud.aws().images, "shop-app", &digest_of("old"), "old", "linux/amd64");
    scene
}

async fn read(scene: &Scene) -> History {
    history::read(&scene.order.config.services, NEAR, &[], scene.cloud.ports()).await.unwrap()
}

fn outcomes(history: &History) -> Vec<(String, Outcome)> {
    history.releases.iter().map(|release| (release.name(), release.outcome())).collect()
}

fn named(outcomes: &[(&str, Outcome)]) -> Vec<(String, Outcome)> {
    outcomes.iter().map(|(name, outcome)| ((*name).to_owned(), *outcome)).collect()
}

/// `rollback`, as its command does it.
async fn go_back(scene: &Scene, asked: &Asked, run: &str) -> Result<Ended, Failure> {
    let ended = scene.deploy_order(&order_back(scene, asked, run).await?).await;
    sleep(Duration::from_secs(120)).await;
    Ok(ended)
}

async fn order_back(scene: &Scene, asked: &Asked, run: &str) -> Result<Order, Failure> {
    let prepared = prepare(asked, scene.order.config.clone(), scene.cloud.ports(), &scene.told).await?;
    let mut order = Order { config: prepared.config, ..order(run, "1", &format!("token-{run}")) };
    order.provenance.sha = prepared.sha;
    order.provenance.back_to = Some(prepared.rollback.went_back.to);
    order.provenance.reason = Some("orders fail".to_owned());
    order.rollback = Some(prepared.rollback);
    order.tags = vec![];
    Ok(order)
}

/// Revisions of a family that others register, and nobody deploys.
fn register(scene: &Scene, family: &str, numbers: impl IntoIterator<Item = Option<u64>>) {
    for number in numbers {
        scene.cloud.aws().add_definition(&definition(family, &old_image("shop-app")), number);
    }
}

fn image(scene: &Scene, service: &str) -> String {
    let aws = scene.cloud.aws();
    let runs = aws.services[service].task_definition.clone();
    let definition = aws.definition(runs.as_str()).unwrap();
    definition.containers().next().unwrap()["image"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_good_a_bad_and_a_superseded_release_are_told_apart_and_the_last_good_one_serves_again() {
    let scene = shop();
    deploy(&scene, "good", "1001").await.success();
    let good = (image(&scene, "web"), image(&scene, "worker"));
    let scene = scene.next_rollouts("worker", [Ending::RolledBack { reuses_id: false }]);
    assert_eq!(deploy(&scene, "bad", "1002").await.reason(), Reason::RolledBack);
    deploy(&scene, "newest", "1003").await.success();
    let before = read(&scene).await;
    use Outcome::{RolledBack, Serving, Superseded};
    assert_eq!(
        outcomes(&before),
        named(&[("r10", Serving), ("r9", RolledBack), ("r8", Superseded), ("r7", Superseded)])
    );

    let ended = go_back(&scene, &Asked::default(), "1004").await.unwrap();
    assert_eq!(ended.success(), Success::Deployed);
    assert_eq!((image(&scene, "web"), image(&scene, "worker")), good);
    let went_back = ended.record.went_back.clone().unwrap();
    assert_eq!((went_back.to, went_back.from, ended.record.release), (8, Some(10), Some(11)));
    assert_eq!(went_back.undo().as_deref(), Some("fargate-deploy rollback --to r10"));
    let state = ended.state();
    for stays in [
        "`migrate` of r10 stays applied: the older code now meets what it changed",
        "`migrate` of r9 stays applied: the older code now meets what it changed",
    ] {
        assert!(state.iter().any(|line| line == stays), "{state:?}");
    }
    assert_eq!(scene.cloud.aws().asked_tasks.len(), 3, "a rollback runs no release command");

    let after = read(&scene).await;
    let newest = &after.releases[0];
    assert_eq!((newest.number, newest.back_to, newest.sha.as_deref()), (Some(11), Some(8), Some("good")));
    assert_eq!(newest.reason.as_deref(), Some("orders fail"));
    assert_eq!(outcomes(&after)[..2], named(&[("r11", Serving), ("r10", RolledBack)]));
    assert_eq!(scene.lease("web")["isReleased"], true);

    // The way that it printed.
    let undone = go_back(&scene, &Asked { to: Some(10), ..Asked::default() }, "1005").await.unwrap();
    assert_eq!(undone.success(), Success::Deployed);
    assert!(image(&scene, "web") != good.0);
}

#[tokio::test(start_paused = true)]
async fn the_table_has_a_row_a_release_and_a_dim_line_a_missing_permission() {
    let scene = shop();
    deploy(&scene, "0123456789abcdef", "1001").await.success();
    let foreign = definition("web", &old_image("shop-app"));
    scene.cloud.aws().add_definition(&foreign, None);
    let history = read(&scene).await;
    let text = printed(&listed(&history, 15, fargate_deploy::clock::now()).lines, false);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = |name: &str| rows.iter().find(|row| row.contains(&name)).unwrap_or_else(|| panic!("{text}")).clone();
    assert_eq!(row("r8")[..3], ["*", "r8", "serving"], "{text}");
    assert!(row("r8").contains(&"0123456") && row("r8").contains(&"migrate") && row("r8").contains(&"ok"), "{text}");
    assert!(row("web:43").contains(&"-") && text.contains("not deployed"), "{text}");

    scene.cloud.deny("ecs:ListServiceDeployments");
    scene.cloud.deny("ssm:GetParametersByPath");
    let history = read(&scene).await;
    assert_eq!(outcomes(&history)[1..], named(&[("r8", Outcome::Serving), ("r7", Outcome::Unknown)]));
    let lines = listed(&history, 15, fargate_deploy::clock::now()).lines;
    let dim: Vec<_> = lines.iter().filter(|line| line.text.contains("not allowed")).collect();
    assert_eq!(dim.len(), 4, "{lines:?}");
    assert!(dim.iter().all(|line| line.is_dim));
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_image_or_revision_is_gone_is_refused_and_the_next_one_named() {
    let scene = shop();
    deploy(&scene, "one", "1001").await.success();
    let gone = image(&scene, "web");
    deploy(&scene, "two", "1002").await.success();
    scene.cloud.aws().images.retain(|(_, image)| !gone.ends_with(image.digest.as_str()));
    let mark = scene.effects().len();
    let failure = go_back(&scene, &Asked::default(), "1003").await.unwrap_err();
    assert_eq!(failure.reason, Reason::Config);
    assert!(failure.what.contains("r8 cannot be gone back to") && failure.what.contains(&gone), "{}", failure.what);
    assert!(failure.next.as_ref().unwrap().ends_with("fargate-deploy rollback --to r7"), "{failure:?}");
    assert_eq!(scene.effects().len(), mark, "nothing was touched");

    scene.cloud.aws().deregister("worker:41");
    let failure = go_back(&scene, &Asked { to: Some(7), ..Asked::default() }, "1004").await.unwrap_err();
    assert!(failure.what.contains("worker:41 was deregistered"), "{}", failure.what);
    assert!(failure.next.unwrap().starts_with("no earlier release can either"));
    assert_eq!(scene.effects().len(), mark, "nothing was touched");
    // One of the services can.
    let only = Asked { to: Some(7), only: vec!["web".to_owned()], ..Asked::default() };
    go_back(&scene, &only, "1005").await.unwrap().success();
    assert_eq!(image(&scene, "web"), old_image("shop-app"));
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_role_secret_or_parameter_is_gone_is_refused_and_one_that_may_not_be_looked_for_is_a_line() {
    let secret = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:shop/stripe-AbCdEf:KEY::";
    let scene = shop();
    // What the service runs first needs all of it; the releases after it do not.
    for definition in scene.cloud.aws().definitions.get_mut("web").unwrap() {
        let body = &mut definition.body;
        body.insert("executionRoleArn".to_owned(), "arn:aws:iam::111122223333:role/path/starts-web".into());
        body["containerDefinitions"][0]["secrets"] =
            serde_json::json!([{"name": "A", "valueFrom": secret}, {"name": "B", "valueFrom": "/shop/B"}]);
    }
    let to = |number| Asked { to: Some(number), ..Asked::default() };
    deploy(&scene, "one", "1001").await.success();
    let mark = scene.effects().len();
    for (gone, said) in [
        ("starts-web", "role `starts-web` does not exist any more"),
        (secret.trim_end_matches(":KEY::"), "secret `arn:aws:secretsmanager:"),
        ("/shop/B", "parameter `/shop/B` does not exist any more"),
    ] {
        scene.cloud.aws().gone = [gone.to_owned()].into();
        let failure = go_back(&scene, &to(7), "1002").await.unwrap_err();
        assert_eq!(failure.reason, Reason::Config);
        assert!(failure.what.starts_with("r7 cannot be gone back to: ") && failure.what.contains(said), "{failure:?}");
        assert_eq!(scene.effects().len(), mark, "nothing was touched");
    }
    for action in ["iam:GetRole", "secretsmanager:DescribeSecret", "ssm:ListTagsForResource"] {
        scene.cloud.deny(action);
    }
    go_back(&scene, &to(7), "1003").await.unwrap().success();
    let lines = scene.told.events().iter().filter(|event| format!("{event:?}").contains("NotReadable")).count();
    assert_eq!(lines, 3, "a line each");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_fails_puts_back_what_it_moved_like_any_release() {
    let scene = shop();
    deploy(&scene, "one", "1001").await.success();
    let served = image(&scene, "web");
    let scene = scene.next_rollouts("worker", [Ending::RolledBack { reuses_id: true }]);
    let ended = go_back(&scene, &Asked::default(), "1002").await.unwrap();
    assert_eq!(ended.reason(), Reason::RolledBack);
    assert_eq!((image(&scene, "web"), image(&scene, "worker")), (served.clone(), served));
}

#[tokio::test(start_paused = true)]
async fn a_hold_keeps_the_next_push_from_undoing_it_and_the_way_back_begins_with_its_release() {
    let scene = shop();
    deploy(&scene, "one", "1001").await.success();
    let owner = Owner { run: "https://run".to_owned(), actor: "ann".to_owned() };
    let hold = ManualLock { reason: "orders fail".to_owned(), owner, since: "now".to_owned() };
    let ended = go_back(&scene, &Asked { hold: Some(hold), ..Asked::default() }, "1002").await.unwrap();
    assert_eq!(ended.success(), Success::Deployed);
    let undo = ended.record.went_back.unwrap().undo().unwrap();
    assert_eq!(undo, "fargate-deploy lock release && fargate-deploy rollback --to r8");
    let pushed = deploy(&scene, "two", "1003").await;
    assert_eq!(pushed.reason(), Reason::Locked);
    assert!(pushed.failure().what.contains("orders fail"), "{:?}", pushed.failure());
    assert_eq!(image(&scene, "web"), old_image("shop-app"));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_gives_way_to_what_was_deployed_while_it_waited() {
    let scene = shop();
    deploy(&scene, "one", "1001").await.success();
    let prepared =
        prepare(&Asked::default(), scene.order.config.clone(), scene.cloud.ports(), &scene.told).await.unwrap();
    deploy(&scene, "two", "1002").await.success();
    let served = image(&scene, "web");
    let mut order = Order { config: prepared.config, ..order("1003", "1", "token-1003") };
    order.rollback = Some(prepared.rollback);
    let ended = scene.deploy_order(&order).await;
    assert_eq!(ended.reason(), Reason::Superseded);
    assert_eq!(image(&scene, "web"), served);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_is_under_way_is_not_gone_back_from_and_abort_is_named() {
    let scene = shop();
    deploy(&scene, "one", "1001").await.success();
    let next = scene.cloud.aws().services["web"].task_definition.clone();
    let arn = scene.cloud.aws().add_definition(&definition("web", "r/app:2"), Some(9));
    assert!(arn != next);
    scene.cloud.aws().endings.insert("web".to_owned(), [Ending::Hangs].into());
    scene.cloud.aws().update("web", &arn, false);
    let failure = go_back(&scene, &Asked::default(), "1002").await.unwrap_err();
    assert_eq!(failure.reason, Reason::Locked);
    assert!(failure.next.unwrap().ends_with("fargate-deploy abort -s web"));
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_read_deployments_the_leases_tell_what_served() {
    let scene = shop();
    scene.cloud.deny("ecs:ListServiceDeployments");
    deploy(&scene, "one", "1001").await.success();
    let one = image(&scene, "web");
    deploy(&scene, "two", "1002").await.success();
    go_back(&scene, &Asked::default(), "1003").await.unwrap().success();
    assert_eq!(image(&scene, "web"), one);
    assert!(image(&scene, "web").starts_with(REGISTRY));
}

#[tokio::test(start_paused = true)]
async fn a_history_that_aws_cannot_tell_now_is_a_failure_and_no_guess() {
    let scene = shop();
    scene.cloud.fail("ecs:ListServiceDeployments", CallErrorKind::Unreachable, 0, usize::MAX);
    let failure = history::read(&scene.order.config.services, NEAR, &[], scene.cloud.ports()).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_stopped_half_way_and_is_run_again_ends_where_the_first_one_went() {
    for pause in [0, 120] {
        let scene = shop();
        deploy(&scene, "one", "1001").await.success();
        deploy(&scene, "two", "1002").await.success();
        let two = image(&scene, "web");
        deploy(&scene, "three", "1003").await.success();
        let owner = Owner { run: "https://run".to_owned(), actor: "ann".to_owned() };
        let hold = ManualLock { reason: "orders fail".to_owned(), owner, since: "now".to_owned() };
        let asked = Asked { hold: Some(hold), ..Asked::default() };
        let mut first = order_back(&scene, &asked, "1004").await.unwrap();
        first.config.wait = Duration::from_secs(3);
        let ended = scene.deploy_order(&first).await;
        assert_eq!(ended.reason(), Reason::Timeout);
        let is_said = ended.state().iter().any(|line| line.starts_with("`--hold` was not set"));
        assert!(is_said, "{:?}", ended.state());
        sleep(Duration::from_secs(pause)).await;

        let again = go_back(&scene, &asked, "1005").await.unwrap();
        again.success();
        let went_back = again.record.went_back.clone().unwrap();
        assert_eq!((went_back.to, went_back.from, went_back.is_held), (9, Some(10), true), "after {pause} s");
        assert_eq!((image(&scene, "web"), image(&scene, "worker")), (two.clone(), two));
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_of_another_environment_is_refused_and_the_next_one_that_has_served_here_named() {
    let scene = shop();
    deploy(&scene, "one", "1001").await.success();
    register(&scene, "web", [Some(9)]);
    let mark = scene.effects().len();
    let failure = go_back(&scene, &Asked { to: Some(9), ..Asked::default() }, "1002").await.unwrap_err();
    assert_eq!(failure.reason, Reason::Config);
    assert_eq!(failure.what, "r9 has never served here: not deployed");
    assert!(failure.next.as_ref().unwrap().ends_with("fargate-deploy rollback --to r7"), "{failure:?}");
    assert_eq!(scene.effects().len(), mark, "nothing was touched");
}

#[tokio::test(start_paused = true)]
async fn numbers_go_on_after_what_others_registered_and_deployed() {
    let scene = Scene::without_migration();
    deploy(&scene, "one", "1001").await.success();
    let one = image(&scene, "web");
    let foreign = scene.cloud.aws().add_definition(&definition("web", &old_image("shop-app")), None);
    scene.cloud.aws().update("web", &foreign, false);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(deploy(&scene, "two", "1002").await.record.release, Some(9));
    go_back(&scene, &Asked::default(), "1003").await.unwrap().success();
    assert_eq!(image(&scene, "web"), one);
    // More than are looked through: then what the lease says.
    register(&scene, "web", [None; 70]);
    let foreign = scene.cloud.aws().add_definition(&definition("web", &old_image("shop-app")), None);
    scene.cloud.aws().update("web", &foreign, false);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(deploy(&scene, "three", "1004").await.record.release, Some(11));
}

#[tokio::test(start_paused = true)]
async fn many_newer_revisions_of_others_hide_neither_what_serves_nor_what_served() {
    let scene = shop();
    deploy(&scene, "one", "1001").await.success();
    let one = image(&scene, "web");
    deploy(&scene, "two", "1002").await.success();
    register(&scene, "web", [None; 70]);
    register(&scene, "worker", [None; 70]);
    let history = read(&scene).await;
    let known = outcomes(&history).into_iter().filter(|(name, _)| name != "-").collect::<Vec<_>>();
    use Outcome::{Serving, Superseded};
    assert_eq!(known, named(&[("r9", Serving), ("r8", Superseded), ("r7", Superseded)]));
    go_back(&scene, &Asked::default(), "1003").await.unwrap().success();
    assert_eq!(image(&scene, "web"), one);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_named_is_found_however_many_came_after_it() {
    let scene = shop();
    register(&scene, "web", (8..80).map(Some));
    let far = |until| Depth { releases: 60, until };
    let services = &scene.order.config.services[..1];
    let newest = scene.cloud.aws().definition("web").unwrap().arn().unwrap();
    scene.cloud.aws().services.get_mut("web").unwrap().task_definition = newest;
    scene.cloud.deny("ecs:ListServiceDeployments");
    let history = history::read(services, far(Some(9)), &[], scene.cloud.ports()).await.unwrap();
    assert!(history.releases.iter().any(|release| release.number == Some(9)));
}

#[tokio::test(start_paused = true)]
async fn prune_keeps_what_another_environment_of_the_same_family_runs_or_could_go_back_to() {
    let mut scene = Scene::without_migration();
    let runs = scene.cloud.aws().services["web"].task_definition.clone();
    scene.cloud.aws().add_service("staging", &runs);
    let production = scene.order.config.services.clone();
    let staging = vec![ServiceConfig { name: "staging".into(), ..production[0].clone() }];
    deploy(&scene, "one", "1001").await.success();
    deploy(&scene, "two", "1002").await.success();
    scene.order.config.services = staging.clone();
    for (commit, run) in [("three", "1003"), ("four", "1004"), ("five", "1005")] {
        deploy(&scene, commit, run).await.success();
    }
    register(&scene, "web", [Some(13)]);
    let of = async |services: &[ServiceConfig]| history::read(services, NEAR, &[], scene.cloud.ports()).await.unwrap();
    let printed = prune(&of(&staging).await, &of(&production).await, 1, false, scene.cloud.ports()).await.unwrap();
    let gone: Vec<_> = printed.objects.iter().map(|object| object["release"].as_str().unwrap().to_owned()).collect();
    assert_eq!(gone, ["r11", "r10"]);
    scene.order.config.services = production;
    let asked = Asked { to: Some(8), ..Asked::default() };
    go_back(&scene, &asked, "1006").await.unwrap().success();
}
