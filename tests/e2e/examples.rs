//! The examples, a test each: what a reader of `examples/` deploys, from a copy of its folder. The runtimes are played, since no registry
//! is in reach: configs, task definitions, commands, ports, paths and migrations are those of the example.

mod api_workers;
mod caddy_ghcr;
mod django_next;
mod nestjs;
mod nextjs;
mod stand_in;

use crate::postgres::Database;
use crate::program::{Program, Run};
use crate::served::Served;
use serde_json::{Value, json};
use stand_in::StandIn;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use test_support::{Aws, Env, eventually};

/// A copy of an example, deployed once by `rehearse --serve`: its previous release serves.
struct Example {
    directory: tempfile::TempDir,
    cluster: &'static str,
    environment: Vec<&'static str>,
    database: Database,
    served: Served,
    aws: Aws,
    program: Program,
    commit: AtomicU32,
    /// Lines of the README that were run.
    typed: Mutex<BTreeSet<String>>,
}

impl Example {
    async fn open(name: &str, cluster: &'static str, environment: Option<&'static str>, images: &[StandIn]) -> Self {
        Self::open_with(name, cluster, environment, images, Env::new()).await
    }

    async fn open_with(
        name: &str,
        cluster: &'static str,
        environment: Option<&'static str>,
        images: &[StandIn],
        mut env: Env,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        assert!(Command::new("cp").arg("-R").arg(original.join(".")).arg(directory.path()).status().unwrap().success());
        stand_in::furnish(directory.path(), images);
        let database = Database::create();
        env.insert("DATABASE_URL".to_owned(), database.url());
        let environment: Vec<_> = environment.into_iter().flat_map(|name| ["-e", name]).collect();
        let served = Served::open_with(directory.path(), &environment, &env).await;
        env.extend(served.env.clone());
        let mut aws = Aws::new(&env["AWS_ENDPOINT_URL"]);
        (aws.region, aws.access_key) = (env["AWS_REGION"].clone(), env["AWS_ACCESS_KEY_ID"].clone());
        let program = Program::new(env);
        let (commit, typed) = (AtomicU32::new(0), Mutex::default());
        Self { directory, cluster, environment, database, served, aws, program, commit, typed }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap_or_else(|e| panic!("{name}: {e}"));
    }

    /// A file in which one text becomes another.
    fn change(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has no `{from}`");
        self.write(name, &text.replace(from, to));
    }

    /// Deploys what the folder now holds, as a commit of its own.
    async fn deploy(&self) -> Run {
        let sha = format!("{:040x}", 0xC0FFEE + self.commit.fetch_add(1, Ordering::SeqCst));
        self.program.start(&self.environment, self.directory.path(), &sha).ended().await
    }

    async fn call(&self, operation: &str, body: Value) -> Value {
        self.aws.call("ecs", operation, body).await.unwrap()
    }

    async fn service(&self, name: &str) -> Value {
        self.aws.service(self.cluster, name).await
    }

    /// What the service with this key answers, as JSON.
    async fn answer(&self, key: &str, path: &str) -> Option<Value> {
        let url = format!("{}{path}", self.served.env[&format!("FARGATE_DEPLOY_URL_{key}")]);
        serde_json::from_str(&crate::scene::get(&url).await?).ok()
    }

    /// Every visitor is answered by this release.
    async fn answers_as(&self, key: &str, path: &str, release: &str) {
        for _ in 0..6 {
            let answer = self.answer(key, path).await;
            assert_eq!(answer.map(|a| a["release"].clone()), Some(json!(release)), "{key}{path}");
        }
    }

    async fn tasks(&self, status: &str, of: impl Fn(&Value) -> bool) -> Vec<Value> {
        let listed = self.call("ListTasks", json!({"cluster": self.cluster, "desiredStatus": status})).await;
        if listed["taskArns"].as_array().is_none_or(Vec::is_empty) {
            return vec![];
        }
        let found = self.call("DescribeTasks", json!({"cluster": self.cluster, "tasks": listed["taskArns"]})).await;
        found["tasks"].as_array().into_iter().flatten().filter(|task| of(task)).cloned().collect()
    }

    async fn tasks_of(&self, service: &str, status: &str) -> Vec<Value> {
        let group = format!("service:{service}");
        self.tasks(status, |task| task["group"] == group.as_str()).await
    }

    /// The digests that run in a service, by container.
    async fn digests(&self, service: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for task in self.tasks_of(service, "RUNNING").await {
            for container in task["containers"].as_array().into_iter().flatten() {
                let text = |member: &str| container[member].as_str().unwrap_or_default().to_owned();
                found.entry(text("name")).or_default().insert(text("imageDigest"));
            }
        }
        found
    }

    /// The service runs this release's image in this container, and no other.
    async fn runs(&self, service: &str, container: &str, digest: &str) {
        let found = self.digests(service).await;
        assert_eq!(found.get(container), Some(&BTreeSet::from([digest.to_owned()])), "{service}: {found:?}");
    }

    /// Every running container of a service is one that the Engine has.
    async fn lives(&self, service: &str, desired: usize, containers: usize) {
        let tasks = self.tasks_of(service, "RUNNING").await;
        assert_eq!(tasks.len(), desired, "{service}: {tasks:?}");
        let ids: Vec<_> = tasks
            .iter()
            .flat_map(|task| task["containers"].as_array().cloned().unwrap_or_default())
            .filter_map(|container| Some(container["runtimeId"].as_str()?.to_owned()))
            .collect();
        assert_eq!(ids.len(), desired * containers, "{tasks:?}");
        for id in ids {
            assert_eq!(crate::scene::docker(&["inspect", "-f", "{{.State.Running}}", &id]), "true", "{service}");
        }
    }

    /// One-off tasks of release commands that this program started, oldest first: name of the definition's family, exit code.
    async fn commands(&self) -> Vec<(String, Value)> {
        let of_ours = |task: &Value| task["startedBy"].as_str().is_some_and(|by| by.starts_with("fargate-deploy/"));
        let mut tasks = self.tasks("STOPPED", of_ours).await;
        assert_eq!(self.tasks("RUNNING", of_ours).await, Vec::<Value>::new(), "one is still running");
        tasks.sort_by(|a, b| a["createdAt"].as_f64().partial_cmp(&b["createdAt"].as_f64()).unwrap());
        let family = |arn: &str| arn.rsplit('/').next()?.split(':').next().map(str::to_owned);
        let described = tasks.iter().map(|task| {
            let codes = task["containers"].as_array().unwrap().iter().map(|c| c["exitCode"].clone());
            (family(task["taskDefinitionArn"].as_str().unwrap()).unwrap(), codes.collect())
        });
        described.collect()
    }

    /// A service serves this revision, whole, and nothing else of it is left.
    async fn is_steady_on(&self, service: &str, revision: &Value) {
        let now = eventually(service, || async {
            let now = self.service(service).await;
            let is_alone = now["deployments"].as_array().is_some_and(|all| all.len() == 1);
            (is_alone && now["runningCount"] == now["desiredCount"]).then_some(now)
        })
        .await;
        assert_eq!(now["taskDefinition"], *revision, "{service}");
    }

    async fn scale(&self, service: &str, desired: i64) {
        let body = json!({"cluster": self.cluster, "service": service, "desiredCount": desired});
        self.call("UpdateService", body).await;
        eventually("the service has its desired count", || async {
            let now = self.service(service).await;
            let is_scaled = now["runningCount"] == desired && now["pendingCount"] == 0;
            (is_scaled && self.tasks_of(service, "RUNNING").await.len() == desired as usize).then_some(())
        })
        .await;
    }

    /// Runs a line of the README, word by word, as it is typed: code, standard output, standard error.
    async fn typed(&self, line: &str) -> (i32, String, String) {
        assert!(self.read("README.md").lines().any(|of_page| of_page.trim() == line), "the README has no `{line}`");
        self.typed.lock().unwrap().insert(line.to_owned());
        let mut words: Vec<String> = vec![];
        for (at, part) in line.split('"').enumerate() {
            match at % 2 {
                0 => words.extend(part.split_whitespace().map(str::to_owned)),
                _ => words.push(part.to_owned()),
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(words[0], "fargate-deploy");
        self.program.typed(&words[1..], &[], self.directory.path()).ended().await
    }

    /// The same of one that ends well: standard output and standard error together.
    async fn types(&self, line: &str) -> String {
        let (code, out, err) = self.typed(line).await;
        assert_eq!(code, 0, "{line}: {out}{err}");
        assert!(!err.contains("is not allowed"), "{line}: {err}");
        out + &err
    }

    /// What the README tells a reader to type was typed, but for deploys and rehearsals, which are the test itself.
    async fn close(self) {
        let page = self.read("README.md");
        let living = ["run ", "exec ", "logs ", "status", "releases", "rollback "];
        let lines = page.lines().filter(|line| line.starts_with("    ") || !line.starts_with(['|', '`', ' ']));
        let of_living = |line: &&str| {
            line.trim()
                .strip_prefix("fargate-deploy ")
                .is_some_and(|rest| living.iter().any(|word| rest.starts_with(word)))
        };
        for line in lines.filter(of_living) {
            assert!(self.typed.lock().unwrap().contains(line.trim()), "nobody ran `{line}` of the README");
        }
        self.served.close().await;
    }
}

/// Where a run says what became of a service.
fn of_service<'a>(run: &'a Run, key: &str) -> &'a Value {
    run.json["services"].as_array().unwrap().iter().find(|service| service["key"] == key).unwrap()
}

/// The digest of an image of a run.
fn digest<'a>(run: &'a Run, image: &str) -> &'a str {
    let images = run.json["images"].as_array().unwrap();
    let found = images.iter().find(|candidate| candidate["key"] == image);
    found.and_then(|image| image["digest"].as_str()).unwrap_or_else(|| panic!("{image}: {}", run.log))
}
