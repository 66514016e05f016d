//! GitHub's Deployment of a run that was given the job's token.

use crate::scene::{Scene, Setting};
use aws_stage::github::Deployment;
use aws_stage::oidc::GithubJob;
use test_support::Behaviour;

fn states(deployment: &Deployment) -> Vec<&str> {
    deployment.statuses.iter().map(|status| status.state.as_str()).collect()
}

fn setting() -> Setting {
    Setting { desired: 0, reports: true, ..Setting::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_says_where_the_release_is_seen_and_what_became_of_it() {
    let scene = Scene::open(setting()).await;
    scene.commit("r1", Behaviour::Serves);
    scene.app.migrates(3);
    let run = scene.deploy(&[]).await;
    run.failed(5, "release-command");
    scene.deploy(&["--dry-run"]).await.succeeded("planned");

    let all = scene.stage.github_api().deployments();
    assert_eq!(all.iter().map(states).collect::<Vec<_>>(), [["in_progress", "success"], ["in_progress", "failure"]]);
    assert_eq!((all[0].environment.as_str(), all[0].is_production), ("production", true));
    assert_eq!(all[0].description, "fargate-deploy, by octocat");
    let [first, second] = [&all[0].statuses[1], &all[1].statuses[1]];
    assert_eq!(first.description, "r1: deployed-not-verified");
    assert_eq!(first.environment_url, format!("{}/health", scene.url));
    assert_eq!(first.log_url, "https://github.com/acme/shop/actions/runs/7000000");
    assert!(second.description.starts_with("r2: release-command: "), "{second:?}");
    // The token leaves the run neither by its log nor by its outputs.
    let token = scene.stage.github_api().token().to_owned();
    assert!(!run.summary.contains(&token) && !run.json.to_string().contains(&token));
    assert!(run.log.lines().filter(|line| line.contains(&token)).all(|line| line.starts_with("::add-mask::")));
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_an_environment_has_its_deployment_from_github_already() {
    let github = GithubJob { environment: Some("production".to_owned()), ..GithubJob::default() };
    let scene = Scene::open(Setting { github, ..setting() }).await;
    assert_eq!(scene.stage.github_api().deployments(), []);
    assert_eq!(scene.calls_since(0, |call| call.operation == "CreateDeployment"), Vec::<String>::new());
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_permission_the_deploy_goes_on_and_says_what_is_missing() {
    let scene = Scene::open(setting()).await;
    let api = scene.stage.github_api();
    api.set_account(api.token(), "github-actions[bot]", &[("contents", "read")]);
    scene.commit("r1", Behaviour::Serves);
    let run = scene.deploy(&[]).await;
    run.succeeded("deployed-not-verified");
    let warnings: Vec<_> = run.log.lines().filter(|line| line.contains("GitHub Deployment")).collect();
    assert_eq!(warnings.len(), 1, "{}", run.log);
    let block = "permissions:%0A  contents: read%0A  id-token: write%0A  deployments: write";
    assert!(warnings[0].starts_with("::warning::") && warnings[0].ends_with(block), "{warnings:?}");
    assert_eq!(api.deployments().len(), 1);
    scene.close().await;
}
