//! GitHub's Deployment around a deploy, which never fails for it.

use crate::github::scene::{BOT, HEAD, Scene, patient};
use crate::recorded_events::RecordedEvents;
use aws_stage::faults::FaultAction;
use fargate_deploy::adapters::github::Patience;
use fargate_deploy::commands::cleanup_state::CleanupState;
use fargate_deploy::commands::post::post;
use fargate_deploy::steps::github_deployment::{close, open};
use fargate_deploy_core::github_deployment::{NewDeployment, ended};
use fargate_deploy_core::outcome::{Failure, Outcome, Reason, Record, Success};
use std::sync::Arc;
use std::time::Duration;

const RUN: &str = "https://github.com/acme/shop/actions/runs/1";

fn states(scene: &Scene) -> Vec<Vec<String>> {
    let of = |d: aws_stage::github::Deployment| d.statuses.into_iter().map(|s| s.state).collect();
    scene.github().deployments().into_iter().map(of).collect()
}

async fn deploy(scene: &Scene, environment: &str, result: Result<Success, Failure>) {
    let api = scene.api();
    let wanted = NewDeployment::new(HEAD, Some(environment), "by octocat");
    let id = open(&wanted, Some(RUN), &api, &|_| {}, &scene.told).await.unwrap();
    let status = ended(&Outcome { result, record: Record { release: Some(3), ..Record::default() } }, Some(RUN));
    close(id, &status, Duration::from_secs(10), &api, &scene.told).await;
}

#[tokio::test]
async fn a_deploy_is_in_progress_and_then_what_it_became() {
    let scene = Scene::open().await;
    deploy(&scene, "staging", Ok(Success::Deployed)).await;
    deploy(&scene, "staging", Err(Failure::new(Reason::RolledBack, "web:42 was rolled back"))).await;
    assert_eq!(states(&scene), [["in_progress", "success"], ["in_progress", "failure"]]);
    deploy(&scene, "staging", Ok(Success::Deployed)).await;
    assert_eq!(states(&scene)[0], ["in_progress", "success", "inactive"]);
    assert_eq!(states(&scene)[1], ["in_progress", "failure"]);

    let first = scene.github().deployments().remove(0);
    assert_eq!((first.sha.as_str(), first.task.as_str(), first.creator.as_str()), (HEAD, "deploy", BOT));
    assert_eq!((first.environment.as_str(), first.is_production), ("staging", false));
    assert_eq!((first.statuses[1].description.as_str(), first.statuses[1].log_url.as_str()), ("r3: deployed", RUN));
    assert_eq!(scene.told.warnings(), Vec::<String>::new());
}

#[tokio::test]
async fn without_the_permission_there_is_one_warning_with_the_block_to_paste() {
    let scene = Scene::open().await;
    scene.github().set_account(scene.github().token(), BOT, &[("contents", "read")]);
    let wanted = NewDeployment::new(HEAD, None, "");
    assert_eq!(open(&wanted, None, &scene.api(), &|_| {}, &scene.told).await, None);
    insta::assert_snapshot!(scene.told.warnings().join("\n---\n"));
}

#[tokio::test]
async fn a_status_whose_answer_was_lost_is_set_again_and_a_deployment_is_not_made_twice() {
    let scene = Scene::open().await;
    scene.fault("CreateDeploymentStatus", 1, FaultAction::DropAfterEffect);
    deploy(&scene, "production", Ok(Success::Deployed)).await;
    assert_eq!(states(&scene), [["in_progress", "in_progress", "success"]]);

    scene.fault("CreateDeployment", 1, FaultAction::DropAfterEffect);
    let wanted = NewDeployment::new(HEAD, None, "");
    assert_eq!(open(&wanted, None, &scene.api(), &|_| {}, &scene.told).await, None);
    assert_eq!(scene.github().deployments().len(), 2);
    assert_eq!(scene.told.warnings().len(), 1);
}

#[tokio::test]
async fn a_deployment_whose_first_status_is_lost_still_gets_its_last_one() {
    let scene = Scene::open().await;
    let api = scene.api_of(&scene.env(), Patience { attempt: Duration::from_millis(50), attempts: 1, ..patient() });
    scene.fault("CreateDeploymentStatus", 1, FaultAction::Delay { milliseconds: 60_000 });
    let created = std::sync::Mutex::new(vec![]);
    let wanted = NewDeployment::new(HEAD, None, "");
    let id = open(&wanted, None, &api, &|id| created.lock().unwrap().push(id), &scene.told).await;
    let id = id.expect("it was created, whatever became of its first status");
    assert_eq!(*created.lock().unwrap(), [id], "known before the status was asked for");
    close(
        id,
        &ended(&Outcome { result: Ok(Success::Deployed), record: Record::default() }, None),
        Duration::from_secs(5),
        &api,
        &scene.told,
    )
    .await;
    assert_eq!(states(&scene)[0].last().map(String::as_str), Some("success"));
    assert_eq!(scene.told.warnings().len(), 1, "{:?}", scene.told.warnings());
}

#[tokio::test]
async fn a_run_that_has_no_time_left_does_not_wait_for_github() {
    let scene = Scene::open().await;
    let api = scene.api();
    let id = open(&NewDeployment::new(HEAD, None, ""), None, &api, &|_| {}, &scene.told).await.unwrap();
    scene.fault("CreateDeploymentStatus", 1, FaultAction::Delay { milliseconds: 60_000 });
    let status = ended(&Failure::new(Reason::Cancelled, "cancelled").into(), None);
    close(id, &status, Duration::from_millis(50), &api, &scene.told).await;
    assert_eq!(scene.told.warnings(), ["GitHub Deployment: it does not say `failure`: GitHub did not answer in time"]);
}

#[tokio::test]
async fn the_deployment_of_a_killed_run_is_ended_by_the_jobs_last_step() {
    let scene = Scene::open().await;
    let wanted = NewDeployment::new(HEAD, Some("staging"), "");
    let id = open(&wanted, None, &scene.api(), &|_| {}, &scene.told).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut env = scene.env();
    for (name, value) in [
        ("RUNNER_TEMP", folder.path().to_str().unwrap()),
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_RUN_ID", "1"),
        ("GITHUB_RUN_ATTEMPT", "1"),
        ("GITHUB_JOB", "deploy"),
    ] {
        env.insert(name.to_owned(), value.to_owned());
    }
    let told = Arc::new(RecordedEvents::default());
    let killed = CleanupState::new(told.clone(), &env, None, vec![]);
    killed.set_deployment(Some(id));

    assert_eq!(post(&env, told.clone()).await, Vec::<String>::new());
    assert_eq!(states(&scene), [["in_progress", "failure"]]);
    let last = scene.github().deployments()[0].statuses[1].clone();
    assert_eq!(last.log_url, RUN);
    assert!(last.description.contains("killed"), "{last:?}");
    post(&env, told.clone()).await;
    assert_eq!(states(&scene)[0].len(), 2);

    let ended = CleanupState::new(told.clone(), &env, None, vec![]);
    ended.set_deployment(Some(id));
    ended.set_deployment(None);
    post(&env, told).await;
    assert_eq!(states(&scene)[0].len(), 2);
}
