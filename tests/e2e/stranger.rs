//! A stranger's repository: the starter workflows as they stand, `uses: org/fargate-deploy@v1` with the files of a release
//! behind it, as `act` runs them. `RELEASE=DIR` takes the files that scripts/release made; without it they are made of this
//! build.

use crate::program::{BINARY, scrubbed};
use crate::scene::{Scene, Setting, docker, trust_of};
use aws_stage::github::PullRequest;
use aws_stage::oidc::GithubJob;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use test_support::{Behaviour, eventually};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of a release, served over HTTP, and the Action of the commit that its tag would name.
struct Release {
    folder: tempfile::TempDir,
    server: Child,
    url: String,
}

impl Release {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("made");
        let dist = std::env::var_os("RELEASE").map_or_else(|| packed(&made), |given| root().join(given));
        let manifest: Value = serde_json::from_slice(&std::fs::read(dist.join("manifest.json")).unwrap()).unwrap();
        let served = folder.path().join("served");
        let version = served.join(format!("v{}", manifest["version"].as_str().unwrap()));
        std::fs::create_dir_all(&version).unwrap();
        let action = folder.path().join("action");
        std::fs::create_dir_all(action.join("action")).unwrap();
        std::fs::copy(root().join("action.yml"), action.join("action.yml")).unwrap();
        for file in ["main.js", "post.js", "binary.js", "download.js"] {
            std::fs::copy(root().join("action").join(file), action.join("action").join(file)).unwrap();
        }
        std::fs::copy(dist.join("manifest.json"), action.join("action/manifest.json")).unwrap();
        for entry in std::fs::read_dir(&dist).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), version.join(entry.file_name())).unwrap();
        }
        let mut server = scrubbed("python3");
        server.args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(&served).arg("0");
        let mut server = server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.split(" port ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        Self { folder, server, url: format!("http://127.0.0.1:{port}") }
    }

    fn action(&self) -> PathBuf {
        self.folder.path().join("action")
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The program of this build as the file of a release.
fn packed(dist: &Path) -> PathBuf {
    std::fs::create_dir_all(dist).unwrap();
    let archive = dist.join("fargate-deploy-linux-x64.gz");
    let out = std::fs::File::create(&archive).unwrap();
    assert!(scrubbed("gzip").args(["-1", "-n", "-c", BINARY]).stdout(out).status().unwrap().success());
    let sum = |file: &Path| hex::encode(Sha256::digest(std::fs::read(file).unwrap()));
    let sum = json!({"archive": sum(&archive), "program": sum(Path::new(BINARY))});
    let platforms = json!({"linux-x64": sum, "linux-arm64": sum, "darwin-arm64": sum});
    let manifest = json!({"version": env!("CARGO_PKG_VERSION"), "sha256": platforms});
    std::fs::write(dist.join("manifest.json"), manifest.to_string()).unwrap();
    dist.to_owned()
}

/// An application that runs on the stage, in a repository with the starter workflows.
struct Repository {
    scene: Scene,
    release: Release,
    home: tempfile::TempDir,
}

/// How a run of a workflow ended.
struct Workflow {
    is_green: bool,
    log: String,
}

impl Repository {
    async fn open() -> Self {
        let scene = Scene::open(Setting { reports: true, ..Setting::default() }).await;
        for starter in ["deploy.yml", "plan.yml", "operate.yml"] {
            let text = std::fs::read_to_string(root().join("workflows").join(starter)).unwrap();
            scene.app.write(&format!(".github/workflows/{starter}"), &text);
        }
        let repository = Self { scene, release: Release::open(), home: tempfile::tempdir().unwrap() };
        repository.git(&["init", "-q", "-b", "main"]);
        repository.git(&["remote", "add", "origin", "https://github.com/acme/shop"]);
        repository
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut git: Command = scrubbed("git");
        git.args(["-c", "user.name=e2e", "-c", "user.email=e2e@example.invalid", "-c", "commit.gpgsign=false"]);
        git.args(arguments).current_dir(self.scene.app.path()).env("HOME", self.home.path());
        let output = git.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits the next release of the application: its commit.
    fn commit(&self, name: &str, behaviour: Behaviour) -> String {
        self.scene.commit(name, behaviour);
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", name]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// `act` with GitHub's side played by the stage. What act itself fixes (the address of GitHub's API) a `node` of ours sets,
    /// so that the workflows stay as they are.
    fn act(&self, event: &str, workflow: &str, arguments: &[&str]) -> Command {
        let act = root().join("target/venv/bin/act");
        assert!(act.exists(), "act is missing: run scripts/setup");
        let bin = self.home.path().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let env = self.scene.env();
        let node = String::from_utf8(scrubbed("sh").args(["-c", "command -v node"]).output().unwrap().stdout).unwrap();
        let github =
            ["GITHUB_API_URL", "GITHUB_GRAPHQL_URL", "GITHUB_REPOSITORY"].map(|name| (name, env[name].clone()));
        // act asks where node is, and starts what it is told. No shell: it would drop variables with a hyphen, as inputs have.
        let script = format!(
            "#!/usr/bin/env python3\nimport os, sys\nif any('process.execPath' in word for word in sys.argv):\n    \
             sys.exit(print(sys.argv[0]))\nos.environ.update({})\nos.execv('{}', ['node', *sys.argv[1:]])\n",
            json!(std::collections::BTreeMap::from(github)),
            node.trim()
        );
        std::fs::write(bin.join("node"), script).unwrap();
        assert!(scrubbed("chmod").arg("755").arg(bin.join("node")).status().unwrap().success());
        let mut command = scrubbed(act);
        command.args([event, "-W"]).arg(format!(".github/workflows/{workflow}")).args(arguments);
        command.args(["-P", "ubuntu-24.04-arm=-self-hosted", "--no-cache-server", "--action-offline-mode"]);
        command.args(["-s", &format!("GITHUB_TOKEN={}", env["GITHUB_TOKEN"])]);
        command.arg("--local-repository").arg(format!("org/fargate-deploy@v1={}", self.release.action().display()));
        command.args(["--env", &format!("FARGATE_DEPLOY_RELEASE_URL={}", self.release.url)]);
        let is_passed = |name: &str| !name.contains("ACCESS_KEY") && !name.starts_with("GITHUB_");
        for (name, value) in env.iter().filter(|(name, _)| is_passed(name)) {
            command.args(["--env", &format!("{name}={value}")]);
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).env("HOME", self.home.path()).env("XDG_CACHE_HOME", self.home.path().join(".cache"));
        command.current_dir(self.scene.app.path()).stdin(Stdio::null());
        command
    }

    async fn run(&self, event: &str, workflow: &str, arguments: &[&str]) -> Workflow {
        let output = tokio::process::Command::from(self.act(event, workflow, arguments)).output().await.unwrap();
        let log = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Workflow { is_green: output.status.success(), log }
    }

    async fn operate(&self, inputs: &[(&str, &str)]) -> Workflow {
        let inputs: Vec<String> = inputs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let arguments: Vec<&str> = inputs.iter().flat_map(|input| ["--input", input.as_str()]).collect();
        self.run("workflow_dispatch", "operate.yml", &arguments).await
    }

    /// The role of the starter for pull requests, with the policy that `policy plan` prints.
    async fn make_plan_role(&self) {
        let mut policy = scrubbed(BINARY);
        policy.args(["policy", "plan"]).current_dir(self.scene.app.path()).envs(self.scene.env());
        let policy = policy.output().unwrap();
        assert!(policy.status.success(), "{}", String::from_utf8_lossy(&policy.stderr));
        let policy = String::from_utf8(policy.stdout).unwrap();
        let trust = trust_of(&GithubJob::default().subject()).to_string();
        self.scene.call("iam", "CreateRole", json!({"RoleName": "plan", "AssumeRolePolicyDocument": trust})).await;
        let body = json!({"RoleName": "plan", "PolicyName": "plan", "PolicyDocument": policy});
        self.scene.call("iam", "PutRolePolicy", body).await;
    }
}

impl Workflow {
    /// What a later step of the job would read.
    fn output(&self, name: &str) -> &str {
        let said = format!("::set-output:: {name}=");
        self.log.lines().rev().find_map(|line| line.split_once(&said)).map_or("", |(_, value)| value.trim())
    }

    fn green(&self) {
        assert!(self.is_green, "{}", self.log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_deployed_then_a_bad_one_rolled_back_with_its_outputs_set() {
    let repository = Repository::open().await;
    repository.commit("r1", Behaviour::Serves);
    let good = repository.run("push", "deploy.yml", &[]).await;
    good.green();
    assert_eq!(good.output("outcome"), "deployed", "{}", good.log);
    assert_eq!(good.output("failure-reason"), "");
    assert!(good.output("url").starts_with("http://"), "{}", good.log);
    repository.scene.serves("r1", good.output("digest")).await;

    repository.commit("r2", Behaviour::Crashes);
    let bad = repository.run("push", "deploy.yml", &[]).await;
    assert!(!bad.is_green, "{}", bad.log);
    assert_eq!(bad.output("outcome"), "failed", "{}", bad.log);
    assert_eq!(bad.output("failure-reason"), "rolled-back");
    assert_eq!(bad.output("rolled-back"), "true");
    assert_eq!(bad.output("previous-task-definition-arn"), good.output("task-definition-arn"));
    assert_eq!(bad.output("migration-exit-code"), "0");
    assert!(bad.log.contains("KeyError: STRIPE_KEY (r2)"), "{}", bad.log);
    repository.scene.serves("r1", good.output("digest")).await;
    repository.scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_gets_its_plan_as_a_comment_from_a_role_that_only_reads() {
    let repository = Repository::open().await;
    repository.make_plan_role().await;
    let head = repository.commit("r1", Behaviour::Serves);
    let github = repository.scene.stage.github_api();
    github.add_pull_request(PullRequest { number: 7, head: head.clone(), merged_as: None });
    let repo = json!({"full_name": "acme/shop"});
    let event = json!({"number": 7, "pull_request": {
        "number": 7, "head": {"sha": head, "ref": "r1", "repo": repo}, "base": {"ref": "main", "repo": repo}}});
    let file = repository.home.path().join("event.json");
    std::fs::write(&file, event.to_string()).unwrap();
    let mark = repository.scene.mark();
    let planned = repository.run("pull_request", "plan.yml", &["-e", file.to_str().unwrap()]).await;
    planned.green();
    assert_eq!(planned.output("plan-changes"), "1", "{}", planned.log);
    let comments = github.comments(7);
    assert_eq!(comments.len(), 1, "{}", planned.log);
    assert!(comments[0].body.contains("### fargate-deploy plan"), "{}", comments[0].body);
    let changed = repository.scene.mutations_since(mark);
    assert!(changed.iter().all(|call| call.starts_with("github:")), "{changed:?}");
    repository.scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_by_hand_is_done_by_every_choice_of_the_starter() {
    let repository = Repository::open().await;
    repository.commit("r1", Behaviour::Serves);
    let planned = repository.operate(&[("action", "plan")]).await;
    planned.green();
    assert_eq!(planned.output("outcome"), "planned", "{}", planned.log);
    let locked = repository.operate(&[("action", "lock"), ("reason", "demo at noon; $(reboot)")]).await;
    locked.green();
    let status = repository.operate(&[("action", "lock status")]).await;
    status.green();
    assert!(status.log.contains("demo at noon; $(reboot)"), "{}", status.log);
    let refused = repository.operate(&[("action", "deploy")]).await;
    assert!(!refused.is_green);
    assert_eq!(refused.output("failure-reason"), "locked", "{}", refused.log);
    repository.operate(&[("action", "unlock")]).await.green();
    let first = repository.operate(&[("action", "deploy")]).await;
    first.green();
    repository.scene.serves("r1", first.output("digest")).await;
    repository.commit("r2", Behaviour::Serves);
    let second = repository.operate(&[("action", "deploy")]).await;
    second.green();
    repository.scene.serves("r2", second.output("digest")).await;

    let listed = repository.operate(&[("action", "releases")]).await;
    listed.green();
    for release in [first.output("release"), second.output("release")] {
        assert!(listed.log.contains(release), "{release}: {}", listed.log);
    }
    // The runner has no shell to take it apart: the one in the container does.
    let command = "echo \"ran as $((40 + 2))\"; exit 3";
    let ran = repository.operate(&[("action", "run"), ("command", command), ("service", "web")]).await;
    assert!(!ran.is_green, "{}", ran.log);
    assert_eq!(ran.output("exit-code"), "3", "{}", ran.log);
    assert!(ran.log.contains("ran as 42"), "{}", ran.log);

    let back =
        [("action", "rollback"), ("to", first.output("release")), ("hold", "true"), ("reason", "`id`; orders fail")];
    let back = repository.operate(&back).await;
    back.green();
    assert_eq!(back.output("outcome"), "deployed", "{}", back.log);
    repository.scene.serves("r1", first.output("digest")).await;
    let status = repository.operate(&[("action", "status")]).await;
    status.green();
    assert!(status.log.contains("`id`; orders fail"), "it is held: {}", status.log);
    let held = repository.run("push", "deploy.yml", &[]).await;
    assert_eq!(held.output("failure-reason"), "locked", "{}", held.log);
    repository.operate(&[("action", "unlock")]).await.green();
    // Without a release it is the last one that served before.
    let forth = repository.operate(&[("action", "rollback")]).await;
    forth.green();
    repository.scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_the_post_step_says_so_and_the_next_run_converges() {
    let repository = Repository::open().await;
    repository.commit("r1", Behaviour::Serves);
    let mark = repository.scene.mark();
    let mut act = repository.act("push", "deploy.yml", &[]);
    act.stdout(Stdio::piped()).stderr(Stdio::piped());
    let act = tokio::process::Command::from(act).kill_on_drop(true).spawn().unwrap();
    repository.scene.asked("UpdateService", mark).await;
    let cached = repository.home.path().to_owned();
    let program = eventually("the program of the step", || async { process_below(&cached) }).await;
    assert!(Command::new("kill").args(["-KILL", &program]).status().unwrap().success());
    let output = act.wait_with_output().await.unwrap();
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    let killed = Workflow { is_green: output.status.success(), log };
    assert!(!killed.is_green, "{}", killed.log);
    assert!(killed.log.contains("the program was ended by SIGKILL"), "{}", killed.log);
    assert_eq!(killed.output("failure-reason"), "internal", "{}", killed.log);
    let deployments = repository.scene.stage.github_api().deployments();
    let last = deployments.last().unwrap().statuses.last().unwrap();
    assert_eq!(last.state, "failure", "{}", killed.log);

    let again = repository.run("push", "deploy.yml", &[]).await;
    again.green();
    assert!(["deployed", "unchanged"].contains(&again.output("outcome")), "{}", again.log);
    assert_eq!(repository.scene.answer().await.as_deref(), Some("r1"));
    repository.scene.close().await;
}

/// The image of scripts/release, removed at the end.
struct Image(String);

impl Image {
    fn built() -> Self {
        let tag = format!("fargate-deploy-e2e:{}", std::process::id());
        let mut script = scrubbed(root().join("scripts/release"));
        let dist = root().join(std::env::var("RELEASE").expect("RELEASE names the files of scripts/release"));
        script.env("HOME", std::env::var("HOME").unwrap()).args(["image", "--tag", &tag, "--out"]).arg(dist);
        let made = script.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self(tag)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        docker(&["rmi", "-f", &self.0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "its program has to be static: make release-rehearsal runs it"]
async fn the_image_deploys_as_no_root_and_has_no_shell() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let image = Image::built();
    let about = docker(&["image", "inspect", "--format", "{{json .Config}}", &image.0]);
    let about: Value = serde_json::from_str(&about).unwrap();
    assert_eq!(about["User"], "65532:65532");
    assert_eq!(about["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    let shell = scrubbed("docker").args(["run", "--rm", "--entrypoint", "/bin/sh", &image.0]).output().unwrap();
    assert!(!shell.status.success());

    let scene = Scene::open(Setting::default()).await;
    scene.commit("r1", Behaviour::Serves);
    let folder = scene.app.path();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let group = std::fs::metadata("/var/run/docker.sock").unwrap().gid().to_string();
    let mut run = scrubbed("docker");
    run.args(["run", "--rm", "--read-only", "--network", "host", "--group-add", &group]);
    run.args(["-v", "/var/run/docker.sock:/var/run/docker.sock", "-v", &format!("{}:/work:ro", folder.display())]);
    let job = [("GITHUB_ACTIONS", "true"), ("GITHUB_SHA", &scene.sha()), ("GITHUB_REPOSITORY", "acme/shop")];
    let job = job.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    for (name, value) in scene.env().clone().into_iter().chain(job) {
        run.args(["-e", &format!("{name}={value}")]);
    }
    run.args([&image.0, "deploy", "--json"]);
    let output = tokio::process::Command::from(run).output().await.unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let ended: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(ended["outcome"], "deployed", "{log}");
    scene.serves("r1", ended["digest"].as_str().unwrap()).await;
    scene.close().await;
}

/// The id of the process that runs the program of a tool cache below `folder`.
fn process_below(folder: &Path) -> Option<String> {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let is_it =
        |path: PathBuf| path.starts_with(folder) && path.file_name().is_some_and(|name| name == "fargate-deploy");
    all.map(|entry| entry.path())
        .find(|process| std::fs::read_link(process.join("exe")).is_ok_and(is_it))
        .map(|process| process.file_name().unwrap().to_str().unwrap().to_owned())
}
