//! `rehearse` as a new user runs it: a first release, one's own good and bad day, and nothing left behind, however it ended.

use crate::program::{BINARY, scrubbed};
use crate::scene::{definition, docker};
use aws_stage::LABEL;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use test_support::{App, Behaviour, eventually};

/// An application, a place for temporary files of its own, and git.
struct Shop {
    app: App,
    temp: tempfile::TempDir,
}

/// How a rehearsal ended.
struct Ended {
    code: i32,
    log: String,
    json: Value,
}

const CONFIG: &str = r#"
region: eu-central-1
cluster: shop
images:
  app: { repository: shop/web, context: . }
release:
  - { name: migrate, service: web, command: [/bin/sh, /app/migrate] }
services:
  web:
    containers: { app: app }
    task-definition: task-definition.json
    smoke: [{ url: "https://shop.invalid/health", within: 5s }]
"#;

/// The least that there is to write: no task definition, no migration.
const SMALLEST: &str = "cluster: shop\nimages: { app: { repository: shop/web, context: . } }\nservices: { web: { containers: { app: app } } }\n";

impl Shop {
    fn open(config: &str) -> Self {
        let app = App::new(config, &definition());
        app.write("app/check", "exit 0\n");
        Self { app, temp: tempfile::tempdir().unwrap() }
    }

    fn commit(&self) -> String {
        let git = |arguments: &[&str]| {
            let mut git = scrubbed("git");
            git.args(["-c", "user.name=a", "-c", "user.email=a@b.test", "-C"]).arg(self.app.path()).args(arguments);
            let output = git.env("HOME", self.temp.path()).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        git(&["init", "--quiet"]);
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--allow-empty", "--message", "x"]);
        git(&["rev-parse", "HEAD"])
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = scrubbed(BINARY);
        command.args(["rehearse"]).args(arguments).current_dir(self.app.path());
        command.env("HOME", self.temp.path()).env("TMPDIR", self.temp.path()).stdin(Stdio::null());
        command
    }

    async fn rehearse(&self, arguments: &[&str]) -> Ended {
        self.rehearse_with(arguments, &[]).await
    }

    async fn rehearse_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
        let mut command = self.command(&[&["--json"], arguments].concat());
        let output = tokio::process::Command::from({
            command.envs(variables.iter().copied());
            command
        })
        .output()
        .await
        .unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {log}"));
        Ended { code: output.status.code().unwrap(), log, json }
    }

    /// Starts one that goes on, its log in a file.
    fn start(&self, arguments: &[&str], name: &str) -> (tokio::process::Child, std::path::PathBuf) {
        let file = self.app.path().join(name);
        let out = std::fs::File::create(&file).unwrap();
        let mut command = self.command(arguments);
        command.stdout(out.try_clone().unwrap()).stderr(out);
        (tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap(), file)
    }

    /// Nothing that a stage of this shop made is left: neither here nor in the Engine.
    fn is_clean(&self) {
        let left: Vec<_> = std::fs::read_dir(self.temp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == ".docker"), "{left:?}");
        let folder = format!("label=fargate-deploy.stage.folder={}", self.temp.path().display());
        assert_eq!(docker(&["network", "ls", "-q", "--filter", &folder]), "");
    }
}

impl Ended {
    fn failed(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}", self.log);
        for part in parts {
            assert!(self.log.contains(part), "`{part}` is not in:\n{}", self.log);
        }
    }

    fn succeeded(&self) {
        assert_eq!((self.code, self.json["outcome"].as_str()), (0, Some("deployed")), "{}", self.log);
    }
}

async fn says(file: &Path, text: &str) {
    eventually(text, || async { std::fs::read_to_string(file).unwrap().contains(text).then_some(()) }).await;
}

/// What the log says that the stage's id is: the label of all that it made.
fn stage_of(shop: &Shop) -> String {
    let folders = std::fs::read_dir(shop.temp.path()).unwrap();
    let mut names = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.find_map(|name| name.strip_prefix("fargate-deploy-stage-").map(str::to_owned)).expect("no stage is open")
}

fn of_stage(id: &str) -> [String; 2] {
    let label = format!("label={LABEL}={id}");
    [docker(&["ps", "-aq", "--filter", &label]), docker(&["network", "ls", "-q", "--filter", &label])]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_release_that_exits_ends_with_its_exit_code_its_cause_and_its_last_line() {
    let shop = Shop::open(SMALLEST);
    shop.app
        .write("Dockerfile", "FROM scratch\nCOPY busybox /bin/sh\nCMD [\"/bin/sh\", \"-c\", \"echo boom; exit 1\"]\n");
    let ended = shop.rehearse(&[]).await;
    ended.failed(
        7,
        &["this is rehearsed as the first one", "exit code 1", "Essential container in task exited", "    boom"],
    );
    assert!(!ended.log.contains("aws ecs"), "nobody can ask a stage that is gone:\n{}", ended.log);
    assert!(ended.log.contains("this was a rehearsal: nothing of it is left"), "{}", ended.log);
    shop.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_commit_after_a_good_one_is_rolled_back_to_the_good_one() {
    let shop = Shop::open(CONFIG);
    let good = shop.commit();
    let first = shop.rehearse(&[]).await;
    first.succeeded();
    assert!(first.log.contains("this is rehearsed as the first one"), "{}", first.log);

    shop.app.release("r1", Behaviour::Crashes);
    let ended = shop.rehearse(&[]).await;
    let previous = format!("the previous release is commit {}, the last one whose rehearsal was good", &good[..7]);
    ended.failed(6, &[&previous, "✗ rolled-back: ", "exit code 1", "KeyError: STRIPE_KEY (r1)"]);

    shop.app.release("r2", Behaviour::Serves);
    shop.app.migrates(3);
    let ended = shop.rehearse(&[]).await;
    ended.failed(5, &[&previous, "✗ release-command: ", "ERROR: relation does not exist"]);
    assert!(!ended.log.contains("kept for the next run"), "{}", ended.log);
    shop.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_previous_release_is_any_commit_that_is_named_or_a_server_that_is_not_ones_own() {
    let shop = Shop::open(CONFIG);
    let first = shop.commit();
    shop.app.release("r1", Behaviour::Crashes);
    let broken = shop.commit();
    shop.app.release("r2", Behaviour::Serves);
    let ended = shop.rehearse(&["--previous", "HEAD~1"]).await;
    ended.succeeded();
    assert!(ended.log.contains(&format!("the previous release is commit {}\n", &first[..7])), "{}", ended.log);

    let ended = shop.rehearse(&["--previous", &broken]).await;
    let what = format!("the previous release (commit {}) of `web` does not come up on the stage", &broken[..7]);
    ended.failed(7, &[&what, "exit code 1", "KeyError: STRIPE_KEY (r1)", "--previous none"]);

    let ended = shop.rehearse(&["--previous", "no-such-branch"]).await;
    ended.failed(2, &["--previous `no-such-branch`: there is no such commit"]);

    shop.app.release("r3", Behaviour::Crashes);
    let ended = shop.rehearse(&["--previous", "neutral"]).await;
    ended.failed(6, &["the previous release is a server that is not yours", "KeyError: STRIPE_KEY (r3)"]);
    shop.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn smoke_checks_ask_the_stage_or_nobody() {
    let shop = Shop::open(&CONFIG.replace("    task-definition: task-definition.json\n", ""));
    let ended = shop.rehearse(&[]).await;
    ended.succeeded();
    assert!(ended.log.contains("the smoke checks of `web` were not rehearsed"), "{}", ended.log);

    let dockerfile = std::fs::read_to_string(shop.app.path().join("Dockerfile")).unwrap();
    shop.app.write("Dockerfile", &dockerfile.replace("CMD", "EXPOSE 3000\nCMD"));
    let ended = shop.rehearse(&[]).await;
    ended.succeeded();
    assert!(!ended.log.contains("were not rehearsed"), "{}", ended.log);
    assert!(ended.json["url"].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1:")), "{}", ended.json);
    shop.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_application_needs_is_started_before_it_reached_by_name_and_removed() {
    let image = format!("{}/db:1", test_support::unique());
    let folder = App::new("", &json!({}));
    folder.write("Dockerfile", "FROM scratch\nCOPY busybox /bin/sh\nEXPOSE 5432\nCMD [\"/bin/sh\", \"-c\", \"sleep 1; while :; do echo \\\"$GREETING\\\" | nc -l -p 5432; done\"]\n");
    docker(&["build", "-q", "-t", &image, &folder.path().display().to_string()]);
    let needs =
        format!("rehearse: {{ containers: {{ db: {{ image: \"{image}\", environment: {{ GREETING: hello }} }} }} }}\n");
    let shop = Shop::open(&format!("{CONFIG}{needs}"));
    shop.app.write(
        "app/migrate",
        "said=$(nc -w 5 db 5432 </dev/null)\necho \"the database says $said\"\n[ \"$said\" = hello ]\n",
    );
    let ended = shop.rehearse(&[]).await;
    ended.succeeded();
    for said in ["container `db` is ready", "the database says hello"] {
        assert!(ended.log.contains(said), "{said}: {}", ended.log);
    }
    assert_eq!(docker(&["ps", "-aq", "--filter", &format!("ancestor={image}")]), "", "it is left");

    // One that ends is the user's error, with its own words.
    let ends = needs.replace("image:", "command: 'echo no room >&2; exit 4', image:");
    shop.app.write("fargate-deploy.yml", &format!("{CONFIG}{ends}"));
    let ended = shop.rehearse(&[]).await;
    ended.failed(2, &["container `db` of `rehearse` did not come up: it exited with 4", "    no room"]);
    docker(&["rmi", "-f", &image]);
    shop.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_previous_release_is_built_with_the_build_secrets_of_around_the_rehearsal() {
    let config = CONFIG.replace("context: . }", "context: ., build-secrets: { token: { env: NPM_TOKEN } } }");
    let shop = Shop::open(&config);
    let build = "RUN --mount=type=secret,id=token,required=true [\"/bin/sh\", \"-c\", \"[ \\\"$(cat /run/secrets/token)\\\" = t0ken-of-the-registry ]\"]\nCMD";
    let dockerfile = std::fs::read_to_string(shop.app.path().join("Dockerfile")).unwrap();
    shop.app.write("Dockerfile", &dockerfile.replace("CMD", build));
    let token = [("NPM_TOKEN", "t0ken-of-the-registry")];
    shop.rehearse_with(&["--previous", "same"], &token).await.succeeded();
    let ended = shop.rehearse(&["--previous", "same"]).await;
    ended.failed(2, &["build secret `token`: the variable `NPM_TOKEN` is not set"]);
    shop.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_is_the_users_own_and_a_taken_port_is_no_build() {
    let shop = Shop::open(CONFIG);
    let dockerfile = std::fs::read_to_string(shop.app.path().join("Dockerfile")).unwrap();
    shop.app.write(
        "Dockerfile",
        &dockerfile.replace("CMD", "RUN [\"/bin/sh\", \"-c\", \"echo no such package; exit 9\"]\nCMD"),
    );
    let ended = shop.rehearse(&[]).await;
    ended.failed(4, &["image `app` was not built", "no such package"]);
    assert!(!ended.log.contains("the previous release was"), "{}", ended.log);

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let ended = shop.rehearse(&["--port", &taken.local_addr().unwrap().port().to_string()]).await;
    ended.failed(2, &["--port: cannot listen on"]);
    shop.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_rehearsal_left_goes_with_the_next_one_and_what_lives_stays() {
    let shop = Shop::open(CONFIG);
    let other = Shop::open(CONFIG);
    let (mut living, log) = other.start(&["--serve"], "living.log");
    says(&log, "ready").await;
    let alive = stage_of(&other);

    let (mut killed, log) = shop.start(&["--serve"], "killed.log");
    says(&log, "ready").await;
    let dead = stage_of(&shop);
    assert!(of_stage(&dead).iter().all(|found| !found.is_empty()));
    killed.start_kill().unwrap();
    killed.wait().await.unwrap();
    assert!(of_stage(&dead).iter().all(|found| !found.is_empty()), "nobody has removed it yet");

    let cleaned = tokio::process::Command::from(shop.command(&["--clean"])).output().await.unwrap();
    let said = String::from_utf8(cleaned.stdout).unwrap();
    assert!(cleaned.status.success() && said.contains("removed what earlier rehearsals left"), "{said}");
    assert_eq!(of_stage(&dead), ["", ""]);
    let images = docker(&["images", "--format", "{{.Repository}}"]);
    assert!(!images.contains(&format!("fargate-deploy-stage-{dead}")), "{images}");
    shop.is_clean();
    assert!(of_stage(&alive).iter().all(|found| !found.is_empty()), "what lives was removed");

    // A closed terminal ends it as Ctrl-C does.
    let id = living.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    assert!(living.wait().await.unwrap().success());
    assert_eq!(of_stage(&alive), ["", ""]);
    other.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_to_fail_fails_however_quick_it_is() {
    let shop = Shop::open(CONFIG);
    shop.app.write("app/migrate", "exit 0\n");
    let ended = shop.rehearse(&["--fault", "migration-fails"]).await;
    ended.failed(5, &["✗ release-command: ", "137"]);
    shop.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_rehearsal_says_that_it_is_gone_and_leaves_nothing() {
    let shop = Shop::open(CONFIG);
    shop.app.write("app/migrate", "echo migrating for long\nsleep 600\n");
    let (mut running, log) = shop.start(&["--previous", "none"], "running.log");
    says(&log, "migrating for long").await;
    let stage = stage_of(&shop);
    let id = running.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(running.wait().await.unwrap().code(), Some(130));
    let text = std::fs::read_to_string(&log).unwrap();
    let ending = &text[text.find('✗').unwrap()..];
    assert!(ending.contains("the rehearsal was cancelled"), "{ending}");
    for untrue in ["still running", "kept for the next run", "run it again", "run this again"] {
        assert!(!ending.contains(untrue), "{untrue}: {ending}");
    }
    assert_eq!(of_stage(&stage), ["", ""]);
    shop.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_as_before_after_a_rehearsal() {
    let shop = Shop::open(CONFIG);
    shop.app.write("app/www/unique", &test_support::unique());
    let (mut served, log) = shop.start(&["--serve"], "served.log");
    says(&log, "ready").await;
    let text = std::fs::read_to_string(&log).unwrap();
    let url = text.lines().find_map(|line| line.strip_prefix("export FARGATE_DEPLOY_STAGE_URL='http://")).unwrap();
    let registry = format!("{}/", url.trim_end_matches('\''));
    let names = || docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert!(names().contains(&registry), "{}", names());
    let id = served.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    served.wait().await.unwrap();
    assert!(!names().contains(&registry), "{}", names());
    shop.is_clean();
}
