//! A shop with one service, and an order to deploy it: what each test changes a little.

use super::fake::builder::FakeBuilder;
use super::fake::cloud::{FakeCloud, repository};
use super::fake::rollout::Ending;
use super::fake::task::Run;
use super::fake::{FakeWeb, Journal, REGISTRY, RecordedEvents, digest_of};
use fargate_deploy::config::*;
use fargate_deploy::context::CacheBranches;
use fargate_deploy::lease::Owner;
use fargate_deploy::ports::RunTask;
use fargate_deploy::release::{Order, Release, RequiredPlan};
use fargate_deploy::release_context::ReleaseContext;
use fargate_deploy::steps::release::RunKey;
use fargate_deploy_core::names::TaskDefinitionArn;
use fargate_deploy_core::outcome::{Failure, Reason, Record, Success};
use fargate_deploy_core::plan::Provenance;
use fargate_deploy_core::service::Service;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

pub struct Scene {
    pub cloud: Rc<FakeCloud>,
    pub builder: FakeBuilder,
    pub web: FakeWeb,
    pub told: RecordedEvents,
    pub journal: Journal,
    pub order: Order,
}

/// How a run ended, and what it says about the state.
#[derive(Debug)]
pub struct Ended {
    pub result: Result<Success, Failure>,
    pub record: Record,
}

impl Ended {
    pub fn failure(&self) -> &Failure {
        self.result.as_ref().unwrap_err()
    }

    pub fn reason(&self) -> Reason {
        self.failure().reason
    }

    pub fn success(&self) -> Success {
        *self.result.as_ref().unwrap()
    }

    pub fn state(&self) -> Vec<String> {
        self.record.state()
    }
}

/// Safe to be run once as it is, so that no one-off has to be derived.
pub fn definition(family: &str, image: &str) -> Value {
    json!({
        "family": family, "cpu": "512", "memory": "1024", "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "executionRoleArn": "arn:aws:iam::111122223333:role/execution",
        "containerDefinitions": [container("app", image)],
        "memberOfTheFuture": {"kept": true}
    })
}

pub fn container(name: &str, image: &str) -> Value {
    json!({
        "name": name, "image": image,
        "logConfiguration": {"logDriver": "awslogs", "options": {
            "awslogs-group": "/shop", "awslogs-region": "eu-central-1", "awslogs-stream-prefix": "app", "mode": "blocking"
        }}
    })
}

pub fn old_image(name: &str) -> String {
    format!("{REGISTRY}/{name}@{}", digest_of("old"))
}

pub fn service_config(key: &str) -> ServiceConfig {
    ServiceConfig {
        key: key.into(),
        cluster: "shop".into(),
        name: key.into(),
        containers: vec![(Some("app".into()), "app".into())],
        task_definition: None,
        after: vec![],
        smoke: vec![],
    }
}

pub fn build_config(repository: &str) -> BuildConfig {
    BuildConfig {
        repository: repository.to_owned(),
        create_repository: false,
        context: PathBuf::from("/src"),
        dockerfile: None,
        target: None,
        args: BTreeMap::new(),
        labels: BTreeMap::new(),
        secrets: vec![],
        platform: None,
        tags: vec!["{sha}".to_owned()],
        cache: Cache::Off,
        reuse: Reuse::Commit,
    }
}

pub fn migration() -> ReleaseCommand {
    ReleaseCommand {
        name: "migrate".to_owned(),
        service: "web".into(),
        container: None,
        command: vec!["yarn".into(), "migrate".into()],
        timeout: Duration::from_secs(900),
        when: When::Before,
        task_definition: None,
    }
}

fn config() -> Config {
    Config {
        file: None,
        root: PathBuf::from("/"),
        environment: None,
        region: None,
        roles: vec![],
        images: vec![ImageConfig { key: "app".into(), source: ImageSource::Build(Box::new(build_config("shop-app"))) }],
        release: vec![migration()],
        services: vec![service_config("web")],
        left_out: LeftOut::default(),
        snapshot: None,
        builder: None,
        on_failure: OnFailure::RollbackAll,
        fail_fast: false,
        on_cancel: OnCancel::Leave,
        lock: Lock::Lease { wait: Duration::from_secs(1200) },
        wait: Duration::from_secs(1800),
        require_plan: false,
        force: false,
        rehearse: RehearseConfig::default(),
        terraform_outputs: vec![],
        shown_as: vec![],
    }
}

/// Three services of two images, with two commands before them and one after: `worker` comes after `web`.
pub fn shop_of_three() -> Scene {
    let mut scene = Scene::new().with_worker().with_front(5).with_smoke();
    scene.order.config.services[1].after = vec!["web".into()];
    scene.order.config.release = vec![
        migration(),
        ReleaseCommand { name: "seed".to_owned(), service: "worker".into(), ..migration() },
        ReleaseCommand { name: "reindex".to_owned(), when: When::After, ..migration() },
    ];
    scene
}

pub fn order(run: &str, attempt: &str, token: &str) -> Order {
    Order {
        config: config(),
        tags: vec![("app".into(), vec!["abc123".to_owned()])],
        provenance: Provenance {
            sha: Some("abc123".to_owned()),
            actor: Some("ada".to_owned()),
            run_url: Some(format!("https://github.com/org/shop/actions/runs/{run}")),
            ..Provenance::default()
        },
        rollback: None,
        cache_branches: CacheBranches::default(),
        run: RunKey { key: run.to_owned(), attempt: attempt.to_owned() },
        owner: Owner { run: format!("https://github.com/org/shop/actions/runs/{run}"), actor: "ada".to_owned() },
        token: token.to_owned(),
        env: BTreeMap::new(),
        is_dry_run: false,
        builds_images: false,
        required_plan: RequiredPlan::None,
        is_unwatched: false,
        skips_commands: false,
        push_endpoint: None,
    }
}

impl Scene {
    /// `web` runs `web:41` of release r7; the commit builds another image, and there is a migration.
    pub fn new() -> Self {
        let journal = Journal::default();
        let cloud = Rc::new(FakeCloud::new(journal.clone()));
        {
            let mut aws = cloud.aws();
            let arn = aws.add_definition(&definition("web", &old_image("shop-app")), Some(7));
            aws.add_service("web", &arn);
            aws.repositories.insert("shop-app".to_owned(), repository("shop-app"));
        }
        let builder = FakeBuilder::new(journal.clone(), cloud.clone());
        let web = FakeWeb { journal: journal.clone(), answers: RefCell::default() };
        Self { cloud, builder, web, told: RecordedEvents::default(), journal, order: order("1001", "1", "token-1") }
    }

    pub fn without_migration() -> Self {
        let mut scene = Self::new();
        scene.order.config.release.clear();
        scene
    }

    /// `web`, and so many in all that are like it.
    pub fn of_services(services: usize) -> Self {
        let mut scene = Self::new();
        for n in 1..services {
            let name = format!("web{n}");
            let arn = scene.cloud.aws().add_definition(&definition(&name, &old_image("shop-app")), Some(7));
            scene.cloud.aws().add_service(&name, &arn);
            scene.order.config.services.push(service_config(&name));
        }
        scene
    }

    /// A second service `worker` of the same image.
    pub fn with_worker(mut self) -> Self {
        {
            let mut aws = self.cloud.aws();
            let arn = aws.add_definition(&definition("worker", &old_image("shop-app")), Some(7));
            aws.add_service("worker", &arn);
        }
        self.order.config.services.push(service_config("worker"));
        self
    }

    /// A monorepo: `web`, `worker` and `jobs`, each of an image of its own and looked for as by default.
    pub fn monorepo() -> Self {
        let mut scene = Self::without_migration();
        for name in ["worker", "jobs"] {
            let image = format!("shop-{name}");
            {
                let mut aws = scene.cloud.aws();
                let arn = aws.add_definition(&definition(name, &old_image(&image)), Some(7));
                aws.add_service(name, &arn);
                aws.repositories.insert(image.clone(), repository(&image));
            }
            let build = BuildConfig { context: PathBuf::from(format!("/{name}")), ..build_config(&image) };
            let source = ImageSource::Build(Box::new(build));
            scene.order.config.images.push(ImageConfig { key: name.into(), source });
            scene.order.tags.push((name.into(), vec!["abc123".to_owned()]));
            let containers = vec![(Some("app".into()), name.into())];
            scene.order.config.services.push(ServiceConfig { containers, ..service_config(name) });
        }
        for image in &mut scene.order.config.images {
            let ImageSource::Build(build) = &mut image.source else { continue };
            build.reuse = Reuse::Auto;
            build.cache = Cache::Inline;
        }
        scene
    }

    /// The next commit, by another run.
    pub fn next_commit(mut self, sha: &str) -> Self {
        self.order.provenance.sha = Some(sha.to_owned());
        self.order.tags.iter_mut().for_each(|(_, tags)| *tags = vec![sha.to_owned()]);
        self.order.run.key = format!("run-of-{sha}");
        self.order.token = format!("token-of-{sha}");
        self
    }

    /// A third service `front` of an image of its own, whose build takes that many seconds.
    pub fn with_front(mut self, seconds: u64) -> Self {
        {
            let mut aws = self.cloud.aws();
            let arn = aws.add_definition(&definition("front", &old_image("shop-front")), Some(7));
            aws.add_service("front", &arn);
            aws.repositories.insert("shop-front".to_owned(), repository("shop-front"));
        }
        let build = BuildConfig { context: PathBuf::from("/front"), ..build_config("shop-front") };
        let image = ImageConfig { key: "front".into(), source: ImageSource::Build(Box::new(build)) };
        self.order.config.images.push(image);
        self.order.tags.push(("front".into(), vec!["abc123".to_owned()]));
        let containers = vec![(Some("app".into()), "front".into())];
        self.order.config.services.push(ServiceConfig { containers, ..service_config("front") });
        self.builder.takes.borrow_mut().insert("/front".to_owned(), Duration::from_secs(seconds));
        self
    }

    pub fn with_smoke(mut self) -> Self {
        self.order.config.services[0].smoke = vec![SmokeCheck {
            url: "https://shop.example/health".into(),
            status: 200,
            within: Duration::from_secs(30),
            contains: None,
        }];
        self
    }

    pub fn change_service(self, name: &str, change: impl FnOnce(&mut Service)) -> Self {
        change(self.cloud.aws().services.get_mut(name).unwrap());
        self
    }

    pub fn next_rollouts(self, name: &str, endings: impl IntoIterator<Item = Ending>) -> Self {
        self.cloud.aws().endings.insert(name.to_owned(), endings.into_iter().collect());
        self
    }

    pub fn next_runs(self, runs: impl IntoIterator<Item = Run>) -> Self {
        self.cloud.aws().runs = runs.into_iter().collect();
        self
    }

    pub async fn deploy(&self) -> Ended {
        self.deploy_order(&self.order).await
    }

    pub fn context<'a>(&'a self, record: &'a RefCell<Record>) -> ReleaseContext<'a> {
        ReleaseContext {
            aws: self.cloud.ports(),
            builder: &self.builder,
            web: &self.web,
            sink: &self.told,
            clock: super::fake::clock,
            record,
        }
    }

    pub async fn deploy_order(&self, order: &Order) -> Ended {
        let record = RefCell::new(Record::default());
        let context = self.context(&record);
        let release = Release::until(std::future::pending(), order, context);
        let result = super::fake::RUN.scope(order.run.key.clone(), release.run()).await;
        Ended { result, record: record.into_inner() }
    }

    /// Somebody deploys a revision of `web` by hand, so long after a call was made for the `count`th time.
    pub async fn deploy_by_hand(&self, revision: &TaskDefinitionArn, call: &str, count: usize, after: Duration) {
        while self.journal.count(call) < count {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(after).await;
        self.cloud.aws().update("web", revision, false);
    }

    /// A signal comes when `is_time`, which is asked every tenth of a second.
    pub async fn deploy_until(&self, is_time: impl Fn(&Self) -> bool) -> Ended {
        let record = RefCell::new(Record::default());
        let context = self.context(&record);
        let signal = async {
            while !is_time(self) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let release = Release::until(signal, &self.order, context);
        let result = super::fake::RUN.scope(self.order.run.key.clone(), release.run()).await;
        Ended { result, record: record.into_inner() }
    }

    /// The calls that change something, in order; the lease's heartbeats are left out.
    pub fn changes(&self) -> Vec<String> {
        let is_change = |line: &String| {
            ["build", "push", "ecs:Register", "ecs:Update", "ecs:Stop", "ecs:Run", "ecr:Create", "ecr:Put", "ssm:Put"]
                .iter()
                .any(|start| line.starts_with(start))
                && !line.ends_with(" held")
        };
        let mut changes: Vec<_> = self.journal.lines().into_iter().filter(is_change).collect();
        changes.dedup();
        changes
    }

    /// The same without the lease.
    pub fn effects(&self) -> Vec<String> {
        self.changes().into_iter().filter(|line| !line.starts_with("ssm:")).collect()
    }

    pub fn parameters(&self) -> BTreeMap<String, String> {
        self.cloud.aws().parameters.clone()
    }

    /// What the newest generation of a service's lease says.
    pub fn lease(&self, service: &str) -> Value {
        let all = self.parameters();
        let start = format!("/fargate-deploy/shop/{service}/lease/");
        let newest = all
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(&start)?.parse::<u64>().ok()?, value)))
            .max_by_key(|(generation, _)| *generation);
        newest.map_or(Value::Null, |(_, value)| serde_json::from_str(value).unwrap())
    }
}

/// What a job of run 1001 starts for the command `migrate`, from a definition by its short name.
pub fn one_off(definition: &str, client_token: &str) -> RunTask {
    RunTask {
        cluster: "shop".into(),
        task_definition: format!("arn:aws:ecs:eu-central-1:111122223333:task-definition/{definition}").as_str().into(),
        network_configuration: None,
        platform_version: None,
        overrides: Value::Null,
        volume_configurations: vec![],
        tags: vec![],
        has_managed_tags: false,
        started_by: "fargate-deploy/migrate/1001".to_owned(),
        client_token: client_token.to_owned(),
        is_spot: false,
        enables_exec: false,
    }
}
