//! What staging runs is what production gets, or nothing.

use crate::story::fake::builder::tagged;
use crate::story::fake::cloud::FakeCloud;
use crate::story::fake::{Journal, REGISTRY, RecordedEvents, digest_of};
use crate::story::scene::{Ended, Scene, container, definition, old_image, service_config};
use fargate_deploy::config::{Config, ImageSource};
use fargate_deploy::ports::CallErrorKind;
use fargate_deploy::steps::promote::promote;
use fargate_deploy_core::names::{ServiceDeploymentArn, ServiceRevisionArn, TaskDefinitionArn};
use fargate_deploy_core::outcome::{Failure, Reason, Success};
use fargate_deploy_core::promotion::Promoted;
use fargate_deploy_core::service::*;
use serde_json::{Value, json};

/// Staging: `web` and `worker` run one image of release r9.
struct Staging {
    cloud: FakeCloud,
    config: Config,
    told: RecordedEvents,
}

fn tested() -> String {
    format!("{REGISTRY}/shop-app@{}", digest_of("tested"))
}

impl Staging {
    fn new() -> Self {
        Self::running(&definition("web", &tested()), &definition("worker", &tested()))
    }

    fn running(web: &Value, worker: &Value) -> Self {
        let cloud = FakeCloud::new(Journal::default());
        for (name, body) in [("web", web), ("worker", worker)] {
            let mut aws = cloud.aws();
            let arn = aws.add_definition(body, Some(9));
            aws.add_service(name, &arn);
        }
        let mut config = Scene::new().order.config;
        config.environment = Some("staging".to_owned());
        config.services.push(service_config("worker"));
        Self { cloud, config, told: RecordedEvents::default() }
    }

    fn web(&self, change: impl FnOnce(&mut Service)) {
        change(self.cloud.aws().services.get_mut("web").unwrap());
    }

    fn last_deployment(&self, change: impl FnOnce(&mut ServiceDeployment)) {
        change(&mut self.cloud.aws().service_deployments.iter_mut().find(|(name, _)| name == "web").unwrap().1);
    }

    /// The deployment before the last one brought this release.
    fn ran_before(&self, release: u64) {
        let mut aws = self.cloud.aws();
        let arn = aws.add_definition(&definition("web", &tested()), Some(release));
        let (_, mut before) = aws.service_deployments.iter().find(|(name, _)| name == "web").unwrap().clone();
        let revision = ServiceRevisionArn::new(format!("revision-of-r{release}"));
        aws.revisions.insert(revision.clone(), arn);
        before.arn = ServiceDeploymentArn::new(format!("deployment-of-r{release}"));
        before.target_revision = Some(revision);
        aws.service_deployments.push(("web".to_owned(), before));
    }

    async fn promote(&self) -> Result<Vec<Promoted>, Failure> {
        promote(&self.config, &["app".into()], self.cloud.ports(), &self.told).await
    }

    async fn refused(&self, reason: Reason, expected: &str) -> Failure {
        let failure = self.promote().await.unwrap_err();
        assert_eq!(failure.reason, reason, "{failure:?}");
        assert!(failure.what.contains(expected), "{expected}: {failure:?}");
        failure
    }
}

#[tokio::test(start_paused = true)]
async fn the_digest_that_the_services_run_is_promoted_by_reads_alone() {
    let staging = Staging::new();
    let promoted = staging.promote().await.unwrap();
    let expected = Promoted { key: "app".into(), reference: tested().into(), seen_in: "web:41, r9".to_owned() };
    assert_eq!(promoted, [expected]);
    let is_read = |line: &String| line.starts_with("ecs:Describe") || line.starts_with("ecs:List");
    assert!(staging.cloud.journal.lines().iter().all(is_read), "{:?}", staging.cloud.journal.lines());
}

#[tokio::test(start_paused = true)]
async fn a_tag_is_promoted_as_the_digest_that_ecs_resolved_it_to() {
    let by_tag = |family: &str| definition(family, &format!("{REGISTRY}/shop-app:main"));
    let staging = Staging::running(&by_tag("web"), &by_tag("worker"));
    let failure = staging.refused(Reason::Config, "its digest is not known").await;
    assert!(failure.what.contains("service `web` of `staging`"), "{failure:?}");
    staging.cloud.aws().resolved.insert("app".to_owned(), digest_of("tested").to_string());
    assert_eq!(staging.promote().await.unwrap()[0].reference, tested().into());
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_is_on_is_waited_for_by_somebody_else() {
    let staging = Staging::new();
    staging.web(|s| s.deployments[0].state = State::InProgress);
    staging.refused(Reason::Locked, "service `web` of `staging`: web:41 is still rolling out").await;
    let staging = Staging::new();
    staging.web(|s| {
        let mut old = s.deployments[0].clone();
        old.role = Role::Active;
        s.deployments.push(old);
    });
    staging.refused(Reason::Locked, "is still rolling out").await;
    let staging = Staging::new();
    staging.last_deployment(|d| d.status = ServiceDeploymentStatus::RollbackInProgress);
    staging.refused(Reason::Locked, "has not ended").await;
}

#[tokio::test(start_paused = true)]
async fn what_was_not_proven_is_refused() {
    type Change = fn(&Staging);
    let cases: [(&str, Change); 7] = [
        ("was rolled back, so it runs web:41 again", |s| {
            s.last_deployment(|d| d.status = ServiceDeploymentStatus::RollbackSuccessful);
        }),
        ("did not succeed", |s| s.last_deployment(|d| d.status = ServiceDeploymentStatus::Stopped)),
        ("its last deployment, of web:41, failed", |s| s.web(|s| s.deployments[0].state = State::Failed)),
        ("it is to run web:41, and runs web:40", |s| {
            s.web(|s| s.deployments[0].task_definition = TaskDefinitionArn::new("x/web:40"));
        }),
        ("its desired count is 0", |s| s.web(|s| s.counts = Counts::default())),
        ("1 of 2 tasks run", |s| s.web(|s| s.counts.running = 1)),
        ("it went back from r10 to r9", |s| s.ran_before(10)),
    ];
    for (expected, change) in cases {
        let staging = Staging::new();
        change(&staging);
        let failure = staging.refused(Reason::Config, expected).await;
        assert!(failure.next.is_some(), "{failure:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_family_that_other_services_use_too_does_not_matter() {
    let staging = Staging::new();
    staging.ran_before(8);
    staging.cloud.aws().add_definition(&definition("web", &old_image("shop-app")), Some(11));
    assert_eq!(staging.promote().await.unwrap()[0].reference, tested().into());
}

#[tokio::test(start_paused = true)]
async fn services_that_run_different_images_of_one_key_are_both_named() {
    let staging = Staging::running(&definition("web", &tested()), &definition("worker", &old_image("shop-app")));
    let failure = staging.refused(Reason::Config, "the services of `staging` run different ones").await;
    assert!(failure.evidence[0].contains("`web` (web:41, r9)") && failure.evidence[1].contains("`worker` (worker:41"));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_nothing_runs_there_is_named() {
    let mut staging = Staging::new();
    staging.config.services.iter_mut().for_each(|s| s.containers.clear());
    staging.refused(Reason::Config, "image `app`: no service of `staging` runs it").await;
    assert_eq!(staging.cloud.journal.lines(), [""; 0], "nothing had to be asked");
}

#[tokio::test(start_paused = true)]
async fn a_service_or_a_container_that_is_not_there_is_named() {
    let staging = Staging::new();
    staging.cloud.aws().services.remove("web");
    staging.refused(Reason::Config, "service `web` of `staging` does not exist in eu-central-1").await;
    let mut other = definition("web", &tested());
    other["containerDefinitions"] = json!([container("proxy", &tested())]);
    let staging = Staging::running(&other, &definition("worker", &tested()));
    staging.refused(Reason::Config, "container `app` is not in web:41, which has proxy").await;
}

#[tokio::test(start_paused = true)]
async fn deployments_that_may_not_be_read_are_said_and_the_service_is_believed() {
    let staging = Staging::new();
    staging.cloud.deny("ecs:ListServiceDeployments");
    assert_eq!(staging.promote().await.unwrap().len(), 1);
    assert!(staging.told.warnings()[0].contains("may not be read (`ecs:ListServiceDeployments`)"));
}

#[tokio::test(start_paused = true)]
async fn a_denied_read_of_the_source_is_a_permission_that_is_missing() {
    let staging = Staging::new();
    staging.cloud.deny("ecs:DescribeServices");
    let failure = staging.refused(Reason::Permission, "describing the services of `staging`").await;
    assert!(failure.next.unwrap().contains("ecs:DescribeServices"));
}

/// Production, told to deploy the image of another account.
fn production() -> Scene {
    let mut scene = Scene::without_migration();
    let reference = format!("444455556666.dkr.ecr.eu-west-1.amazonaws.com/shop-app@{}", digest_of("tested"));
    scene.order.config.images[0].source = ImageSource::Existing(reference);
    scene
}

fn image_of(scene: &Scene) -> String {
    let aws = scene.cloud.aws();
    aws.definition("web:42").unwrap().container(&"app".into()).unwrap()["image"].as_str().unwrap().to_owned()
}

async fn refused_untouched(scene: &Scene, reason: Reason) -> Failure {
    let Ended { result, .. } = scene.deploy().await;
    assert_eq!(scene.changes(), [""; 0], "{result:?}");
    let failure = result.unwrap_err();
    assert_eq!(failure.reason, reason, "{failure:?}");
    failure
}

#[tokio::test(start_paused = true)]
async fn a_promoted_digest_is_deployed_from_where_it_is_and_nothing_is_built() {
    let scene = production();
    tagged(&mut scene.cloud.aws().images, "shop-app", &digest_of("tested"), "v1", "linux/amd64");
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.effects(), ["ecs:RegisterTaskDefinition web", "ecs:UpdateService web -> web:42"]);
    let image = image_of(&scene);
    assert!(image.starts_with("444455556666.dkr.ecr.eu-west-1") && image.ends_with(digest_of("tested").as_str()));
    assert_eq!(
        scene.journal.count("ecr:DescribeRepositories"),
        0,
        "another account's repository need not be described"
    );
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_pull_nothing_is_changed_and_the_policy_is_named() {
    let scene = production();
    scene.cloud.deny("ecr:BatchGetImage");
    let failure = refused_untouched(&scene, Reason::Permission).await;
    let next = failure.next.unwrap();
    for expected in
        ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "`shop-app` of account 444455556666", "execution role"]
    {
        assert!(next.contains(expected), "{next}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_is_not_in_its_repository_is_refused() {
    let failure = refused_untouched(&production(), Reason::Config).await;
    assert!(failure.what.contains("does not exist in its repository"), "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_may_be_pulled_and_not_described_is_deployed() {
    let scene = production();
    tagged(&mut scene.cloud.aws().images, "shop-app", &digest_of("tested"), "v1", "linux/amd64");
    scene.cloud.fail("ecr:DescribeImages", CallErrorKind::Denied, 0, usize::MAX);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
}
