//! A stage in this process, a service on it that serves `r0`, and the program as a child process: as a job of GitHub
//! Actions would run it, with an identity by OIDC and nothing else of this process's environment.

#![allow(dead_code, reason = "each test binary uses a part")]

use crate::program::{Job, Program, Run, Running, Typed};
use aws_stage::behavior::Behavior;
use aws_stage::oidc::GithubJob;
use aws_stage::{LABEL, Stage, StageOptions};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use test_support::{App, Behaviour, Env, eventually};

pub const ACCOUNT: &str = "111122223333";
pub const ROLE: &str = "arn:aws:iam::111122223333:role/shop-deploy";

/// What is on the stage before the first deploy.
pub struct Setting {
    pub behavior: Behavior,
    pub github: GithubJob,
    pub config: String,
    pub definition: Value,
    /// Members of CreateService that differ from the usual.
    pub service: Value,
    pub desired: i64,
    /// The step gets the job's token, and reports to GitHub with it.
    pub reports: bool,
    /// By the root's keys in the environment, for a config without a role: as a person who is signed in.
    pub is_signed_in: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            behavior: with_probed(Behavior::impatient()),
            github: GithubJob::default(),
            config: CONFIG.to_owned(),
            definition: definition(),
            service: json!({}),
            desired: 2,
            reports: false,
            is_signed_in: false,
        }
    }
}

/// Where `PREMISES` names the answers of `scripts/probe`, AWS is played as it was found.
fn with_probed(behavior: Behavior) -> Behavior {
    let Ok(file) = std::env::var("PREMISES") else { return behavior };
    let answers: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    behavior.with_probed(&answers["setting"]).unwrap()
}

pub const CONFIG: &str = r#"
region: eu-central-1
role: arn:aws:iam::111122223333:role/shop-deploy
cluster: shop
images:
  app: { repository: shop/web, context: ., platform: linux/amd64, tags: ["{sha}", latest] }
release:
  - { name: migrate, service: web, command: [/bin/sh, /app/migrate], timeout: 2m }
services:
  web:
    containers: { app: app }
    task-definition: task-definition.json
    smoke: [{ url: "${env:FARGATE_DEPLOY_URL_WEB:-http://127.0.0.1:1}/health", within: 5s }]
wait: 3m
"#;

/// With a member that no SDK knows.
pub fn definition() -> Value {
    json!({
        "family": "web", "cpu": "256", "memory": "512", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
        "executionRoleArn": "arn:aws:iam::111122223333:role/execution",
        "unheardOf": {"by": ["any", "SDK"], "number": 1.50, "nothing": null},
        "containerDefinitions": [container("app")],
    })
}

pub fn container(name: &str) -> Value {
    json!({
        "name": name, "image": "to-be-set", "essential": true, "portMappings": [{"containerPort": 3000}],
        "alsoUnheardOf": [1, {"a": "b"}],
        "healthCheck": {"command": ["CMD", "/bin/sh", "/app/check"], "interval": 5, "retries": 2, "timeout": 5},
        "logConfiguration": {"logDriver": "awslogs", "options": {
            "awslogs-group": "/ecs/web", "awslogs-region": "eu-central-1", "awslogs-stream-prefix": "web"}},
    })
}

pub struct Scene {
    pub stage: Stage,
    pub app: App,
    /// Where the load balancer listens.
    pub url: String,
    program: Program,
    commit: AtomicU32,
    _images: Images,
}

impl Scene {
    /// Everything that a user has before the first deploy, and then `r0`, deployed and scaled up.
    pub async fn open(setting: Setting) -> Self {
        Self::open_with(setting, |_| ()).await
    }

    /// The same, with more files of the application.
    pub async fn open_with(setting: Setting, furnish_app: impl FnOnce(&App)) -> Self {
        let options = StageOptions {
            account: ACCOUNT.to_owned(),
            behavior: setting.behavior.clone(),
            github: setting.github.clone(),
            ..StageOptions::default()
        };
        let stage = Stage::start(options).await.unwrap();
        let images = Images::of(&stage.url());
        let url = furnish(&stage, &setting).await;
        let app = App::new(&setting.config, &setting.definition);
        app.write("app/check", "exit 0\n");
        furnish_app(&app);
        let mut env: Env = stage.github_env().into_iter().chain(stage.aws_env()).collect();
        if setting.is_signed_in {
            env.extend(stage.root_env());
        }
        if setting.reports {
            env.extend(stage.github_api_env());
        }
        env.insert("FARGATE_DEPLOY_URL_WEB".to_owned(), url.clone());
        let program = Program::new(env);
        let scene = Self { stage, app, url, program, commit: AtomicU32::new(0), _images: images };
        let first = scene.deploy(&[]).await;
        assert_eq!(first.code, 0, "{}", first.log);
        assert_eq!(first.json["outcome"], "deployed-not-verified", "{}", first.log);
        if setting.desired > 0 {
            scene.scale(setting.desired).await;
        }
        scene
    }

    async fn scale(&self, desired: i64) {
        self.call("ecs", "UpdateService", json!({"cluster": "shop", "service": "web", "desiredCount": desired})).await;
        eventually("the service is scaled up", || async {
            let service = self.service().await;
            let is_up = service["runningCount"] == desired && service["deployments"][0]["rolloutState"] == "COMPLETED";
            (is_up && self.answer().await.is_some_and(|text| text == "r0")).then_some(())
        })
        .await;
    }

    /// What a deploy finds in its environment beside what says which run it is.
    pub fn env(&self) -> &Env {
        &self.program.env
    }

    /// As the account's root, unseen by [`Scene::mutations_since`].
    pub async fn call(&self, service: &str, operation: &str, body: Value) -> Value {
        self.stage.call(service, operation, body).await.unwrap_or_else(|e| panic!("{operation}: {e:?}"))
    }

    /// A commit with the next release of the application.
    pub fn commit(&self, name: &str, behaviour: Behaviour) {
        self.app.release(name, behaviour);
        self.commit.fetch_add(1, Ordering::SeqCst);
    }

    /// `plan`, with variables of its own.
    pub async fn plan(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
        self.program.begin("plan", arguments, variables, self.app.path(), &self.sha()).ended().await
    }

    /// Any command, with variables of its own.
    pub fn begin(&self, name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
        self.program.begin(name, arguments, variables, self.app.path(), &self.sha())
    }

    /// Any command as it is typed, in no job.
    pub fn typed(&self, arguments: &[&str]) -> Typed {
        self.typed_with(arguments, &[])
    }

    /// The same with variables of its own.
    pub fn typed_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Typed {
        self.program.typed(arguments, variables, self.app.path())
    }

    /// Any command.
    pub async fn run(&self, name: &str, arguments: &[&str]) -> Run {
        self.program.begin(name, arguments, &[], self.app.path(), &self.sha()).ended().await
    }

    pub fn sha(&self) -> String {
        format!("{:040x}", 0xC0FFEE + self.commit.load(Ordering::SeqCst))
    }

    pub fn start(&self, arguments: &[&str]) -> Running {
        self.program.start(arguments, self.app.path(), &self.sha())
    }

    /// A run of the caller's choice, in a checkout of its own.
    pub fn start_job(&self, job: &Job, directory: &Path) -> Running {
        self.program.start_job(job, &[], directory)
    }

    pub async fn deploy(&self, arguments: &[&str]) -> Run {
        self.start(arguments).ended().await
    }

    pub async fn service(&self) -> Value {
        let found = self.call("ecs", "DescribeServices", json!({"cluster": "shop", "services": ["web"]})).await;
        found["services"][0].clone()
    }

    /// What a visitor sees; `None` while nothing good is answered.
    pub async fn answer(&self) -> Option<String> {
        get(&format!("{}/", self.url)).await
    }

    /// Every visitor sees `name`, and every running task of the service has the digest.
    pub async fn serves(&self, name: &str, digest: &str) {
        for _ in 0..8 {
            assert_eq!(self.answer().await.as_deref(), Some(name));
        }
        assert_eq!(self.running_digests().await, BTreeSet::from([digest.to_owned()]));
    }

    pub async fn tasks(&self, status: &str) -> Vec<Value> {
        let listed = self.call("ecs", "ListTasks", json!({"cluster": "shop", "desiredStatus": status})).await;
        if listed["taskArns"].as_array().is_none_or(Vec::is_empty) {
            return vec![];
        }
        let found = self.call("ecs", "DescribeTasks", json!({"cluster": "shop", "tasks": listed["taskArns"]})).await;
        found["tasks"].as_array().cloned().unwrap_or_default()
    }

    pub async fn running_digests(&self) -> BTreeSet<String> {
        let tasks = self.tasks("RUNNING").await;
        let of_service = tasks.iter().filter(|t| t["group"] == "service:web");
        of_service
            .flat_map(|t| t["containers"].as_array().cloned().unwrap_or_default())
            .filter_map(|c| c["imageDigest"].as_str().map(str::to_owned))
            .collect()
    }

    /// One-off tasks that were ever started.
    pub async fn migrations(&self) -> Vec<Value> {
        let mut all = self.tasks("RUNNING").await;
        all.extend(self.tasks("STOPPED").await);
        all.retain(|t| t["startedBy"].as_str().is_some_and(|s| s.starts_with("fargate-deploy/")));
        all
    }

    /// Where [`Scene::mutations_since`] starts.
    pub fn mark(&self) -> usize {
        self.stage.calls().len()
    }

    /// Calls that could have changed something, as `ecs:UpdateService`.
    pub fn mutations_since(&self, mark: usize) -> Vec<String> {
        self.calls_since(mark, |call| call.mutating)
    }

    pub fn calls_since(
        &self,
        mark: usize,
        of_interest: impl Fn(&aws_stage::call_log::CallRecord) -> bool,
    ) -> Vec<String> {
        let calls = self.stage.calls();
        let chosen = calls[mark..].iter().filter(|call| of_interest(call));
        chosen.map(|call| format!("{}:{}", call.service, call.operation)).collect()
    }

    /// Waits until the program has asked for it.
    pub async fn asked(&self, operation: &str, mark: usize) {
        eventually(operation, || async {
            (!self.calls_since(mark, |call| call.operation == operation).is_empty()).then_some(())
        })
        .await;
    }

    /// The newest generation of the lease.
    pub async fn lease(&self) -> Value {
        let body = json!({"Path": "/fargate-deploy/shop/web/lease", "Recursive": true});
        let found = self.call("ssm", "GetParametersByPath", body).await;
        let number = |p: &Value| -> u64 { p["Name"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap() };
        let newest = found["Parameters"].as_array().unwrap().iter().max_by_key(|p| number(p)).unwrap();
        serde_json::from_str(newest["Value"].as_str().unwrap()).unwrap()
    }

    /// Ends the stage; nothing that it made is left in the Engine.
    pub async fn close(self) {
        let label = format!("label={LABEL}={}", self.stage.id());
        self.stage.shutdown().await;
        assert_eq!(docker(&["ps", "-aq", "--filter", &label]), "", "containers are left");
        assert_eq!(docker(&["network", "ls", "-q", "--filter", &label]), "", "networks are left");
    }
}

async fn furnish(stage: &Stage, setting: &Setting) -> String {
    let call = async |service: &str, operation: &str, body: Value| {
        stage.call(service, operation, body).await.unwrap_or_else(|e| panic!("{operation}: {e:?}"))
    };
    let issuer = "https://token.actions.githubusercontent.com";
    call("iam", "CreateOpenIDConnectProvider", json!({"Url": issuer, "ClientIDList": ["sts.amazonaws.com"]})).await;
    let trust = trust_of(&setting.github.subject());
    call("iam", "CreateRole", json!({"RoleName": "shop-deploy", "AssumeRolePolicyDocument": trust.to_string()})).await;
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    let policy = json!({"RoleName": "shop-deploy", "PolicyName": "deploy", "PolicyDocument": policy.to_string()});
    call("iam", "PutRolePolicy", policy).await;
    let tasks = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    call("iam", "CreateRole", json!({"RoleName": "execution", "AssumeRolePolicyDocument": tasks.to_string()})).await;
    let agent = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", "Action": [
        "ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "logs:CreateLogStream", "logs:PutLogEvents",
        "ssm:GetParameters", "secretsmanager:GetSecretValue"]}]});
    let agent = json!({"RoleName": "execution", "PolicyName": "agent", "PolicyDocument": agent.to_string()});
    call("iam", "PutRolePolicy", agent).await;
    call("logs", "CreateLogGroup", json!({"logGroupName": "/ecs/web"})).await;
    call("ecs", "CreateCluster", json!({"clusterName": "shop"})).await;
    call("ecr", "CreateRepository", json!({"repositoryName": "shop/web"})).await;
    call("ecr", "CreateRepository", json!({"repositoryName": "shop/proxy"})).await;
    let group = json!({
        "Name": "web", "Protocol": "HTTP", "Port": 3000, "TargetType": "ip", "VpcId": "vpc-0a1b2c3d",
        "HealthCheckPath": "/", "Matcher": {"HttpCode": "200"},
    });
    let made = call("elasticloadbalancing", "CreateTargetGroup", group).await;
    let group = made["TargetGroups"][0]["TargetGroupArn"].clone();
    let registered = call("ecs", "RegisterTaskDefinition", setting.definition.clone()).await;
    let mut service = json!({
        "cluster": "shop", "serviceName": "web", "desiredCount": 0, "launchType": "FARGATE",
        "taskDefinition": registered["taskDefinition"]["taskDefinitionArn"],
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}},
        "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": true, "rollback": true},
            "minimumHealthyPercent": 100, "maximumPercent": 200},
        "loadBalancers": [{"targetGroupArn": group, "containerName": "app", "containerPort": 3000}],
    });
    for (member, value) in setting.service.as_object().unwrap() {
        service[member] = value.clone();
    }
    call("ecs", "CreateService", service).await;
    format!("http://{}", stage.listener(group.as_str().unwrap()).unwrap())
}

pub fn trust_of(subject: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": format!("arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com")},
        "Condition": {"StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": subject}},
    }]})
}

/// The body of a good answer, trimmed.
pub async fn get(url: &str) -> Option<String> {
    let answer = reqwest::get(url).await.ok()?.error_for_status().ok()?;
    Some(answer.text().await.ok()?.trim().to_owned())
}

pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The images that were built for one stage's registry: removed by name, since tests that build the same share them.
pub struct Images(String);

impl Images {
    pub fn of(url: &str) -> Self {
        Self(format!("{}/", url.trim_start_matches("http://")))
    }

    /// `127.0.0.1:PORT/`.
    pub fn registry(&self) -> &str {
        &self.0
    }

    pub fn are_of(&self, image: &str) -> bool {
        image.starts_with(&self.0)
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        let all = docker(&["images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}"]);
        for line in all.lines().filter(|line| line.starts_with(&self.0)) {
            if let [repository, tag, digest] = line.split(' ').collect::<Vec<_>>()[..] {
                for name in [format!("{repository}:{tag}"), format!("{repository}@{digest}")] {
                    if !name.ends_with("<none>") {
                        docker(&["rmi", "-f", &name]);
                    }
                }
            }
        }
    }
}
