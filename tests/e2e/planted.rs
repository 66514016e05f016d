//! A secret of its own in every place where one can be, and a search for each in every byte that leaves: what is printed,
//! written, posted, kept in AWS, and handed to other programs.

use crate::program::Run;
use crate::recorder::Recorder;
use crate::scene::{Scene, Setting, definition};
use aws_stage::github::PullRequest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use test_support::{Behaviour, Registry};

/// A secret, and the requests that are meant to carry it.
struct Planted {
    place: String,
    /// Found in whatever is made of the secret, but for encodings. Both ends of it are looked for: a cut one is a leak too.
    ends: [String; 2],
    goes_to: Vec<&'static str>,
}

#[derive(Default)]
struct Garden {
    all: Vec<Planted>,
}

impl Garden {
    /// With characters that mean something wherever a value goes.
    fn odd(&mut self, place: &str, goes_to: &[&'static str]) -> String {
        self.plant(place, "-<b>&\"'%2F/+=_*|`\\{x}ü##[", goes_to)
    }

    /// For where only some characters can be.
    fn plain(&mut self, place: &str, goes_to: &[&'static str]) -> String {
        self.plant(place, "", goes_to)
    }

    fn plant(&mut self, place: &str, between: &str, goes_to: &[&'static str]) -> String {
        let number = self.all.len();
        let ends = [format!("Kq7Z{number:02}r2Vw"), format!("Xb9T{number:02}n4Lm")];
        let value = ends.join(between);
        self.all.push(Planted { place: place.to_owned(), ends, goes_to: goes_to.to_vec() });
        value
    }

    /// What AWS and GitHub handed out in this run.
    fn found(&mut self, place: &str, value: &str, goes_to: &[&'static str]) {
        let middle = value.len() / 2;
        let ends = [value[middle - 12..middle + 4].to_owned(), value[value.len() - 16..].to_owned()];
        self.all.push(Planted { place: place.to_owned(), ends, goes_to: goes_to.to_vec() });
    }
}

/// Whether a part is in it: as it is, in another case, in digits, in base64 whatever stands before, or in pieces.
fn holds(text: &str, part: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    if lower.contains(&part.to_ascii_lowercase()) {
        return Some("as it is");
    }
    let hex: String = part.bytes().map(|byte| format!("{byte:02x}")).collect();
    if lower.contains(&hex) {
        return Some("in hex");
    }
    for shift in 0..3_usize {
        let bytes = [&vec![0; shift][..], part.as_bytes()].concat();
        let encoded = STANDARD.encode(&bytes);
        let core = &encoded[(shift * 8).div_ceil(6)..bytes.len() * 8 / 6];
        if text.contains(core) || text.contains(&core.replace('+', "-").replace('/', "_")) {
            return Some("in base64");
        }
    }
    let letters: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    letters.contains(part).then_some("in pieces")
}

/// Places that bytes leave by, with what left there.
#[derive(Default)]
struct Ways(Vec<(String, String)>);

impl Ways {
    fn add(&mut self, way: impl Into<String>, text: impl Into<String>) {
        self.0.push((way.into(), text.into()));
    }

    fn add_log(&mut self, name: &str, log: &str) {
        // The runner takes these lines out of the log, and keeps what they say out of it.
        let shown = log.lines().filter(|line| !line.starts_with("::add-mask::"));
        self.add(format!("{name}: log"), shown.collect::<Vec<_>>().join("\n"));
    }

    fn add_run(&mut self, name: &str, run: &Run) {
        self.add_log(name, &run.log);
        self.add(format!("{name}: json"), run.json.to_string());
        self.add(format!("{name}: outputs"), format!("{:?}", run.outputs));
        self.add(format!("{name}: summary"), run.summary.clone());
    }

    fn add_files(&mut self, name: &str, folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => self.add_files(name, &path),
                false => {
                    let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
                    self.add(format!("{name}: {}", path.display()), text);
                }
            }
        }
    }
}

/// A folder of programs that write down what they were called with, in front of the real ones.
fn spies(folder: &Path, log: &Path) -> String {
    fs::create_dir_all(folder).unwrap();
    let path = std::env::var("PATH").unwrap();
    for name in ["git", "hostname", "docker", "sh"] {
        let real = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.exists());
        let Some(real) = real else { continue };
        let script = format!("#!/bin/bash\necho \"{name} $*\" >> {}\nexec {} \"$@\"\n", log.display(), real.display());
        program(&folder.join(name), &script);
    }
    format!("{}:{path}", folder.display())
}

fn program(path: &Path, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

const CONFIG: &str = r#"
region: eu-central-1
role: arn:aws:iam::111122223333:role/shop-deploy
cluster: shop
images:
  app:
    repository: shop/web
    context: .
    platform: linux/amd64
    tags: ["{sha}", latest]
    build-args: { ARGUMENT: "${env:ARGUMENT}" }
    labels: { owner: "${env:LABEL}" }
    build-secrets: { short: "${env:SHORT}", named: { env: NAMED }, file: { file: key.pem } }
release:
  - { name: migrate, service: web, command: [/bin/sh, /app/migrate, --url, "${env:DATABASE}"], timeout: 2m }
services:
  web:
    containers: { app: app }
    task-definition: task-definition.json
    smoke: [{ url: "${env:SMOKE}/health?x=${env:QUERY}", within: 3s }]
wait: 3m
rehearse: { values: { "arn:aws:ssm:eu-central-1:111122223333:parameter/shop/secret": "${env:REHEARSED}" } }
"#;

const DOCKERFILE: &str = r#"FROM scratch
COPY busybox /bin/sh
ARG ARGUMENT
RUN --mount=type=secret,id=short --mount=type=secret,id=named --mount=type=secret,id=file ["/bin/sh", "-c", "cd /run/secrets; for f in short named file; do cat $f; echo; hexdump -ve '1/1 \"%.2x\"' $f; echo; done; base64 short; base64 named; echo argument is $ARGUMENT; echo lines; fold -w 9 named"]
COPY app /app
CMD ["/bin/sh", "/app/serve"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_leaves_but_to_whom_it_is_meant_for() {
    let scene = Scene::open(Setting { desired: 1, reports: true, ..Setting::default() }).await;
    let address = scene.stage.url().trim_start_matches("http://").parse().unwrap();
    let recorder = Recorder::before(address).await;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut garden = Garden::default();
    let mut ways = Ways::default();

    // The variables of the job.
    let mut variables = BTreeMap::new();
    for (name, goes_to) in [
        ("ARGUMENT", &[][..]),
        ("LABEL", &[]),
        ("SHORT", &[]),
        ("NAMED", &[]),
        ("REHEARSED", &[]),
        ("DATABASE", &["RunTask"]),
    ] {
        variables.insert(name.to_owned(), garden.odd(name, goes_to));
    }
    variables.insert("QUERY".to_owned(), garden.plain("a query of a smoke check", &[]));
    let user = format!("u:{}", garden.plain("user-info of a smoke check", &[]));
    variables.insert("SMOKE".to_owned(), scene.url.replace("http://", &format!("http://{user}@")));
    let proxy = format!("http://u:{}@127.0.0.1:9", garden.plain("password of a proxy", &[]));
    variables.insert("HTTPS_PROXY".to_owned(), proxy);
    variables.insert("AWS_SECRET_ACCESS_KEY".to_owned(), garden.plain("secret access key of the environment", &[]));
    variables.insert("AWS_ACCESS_KEY_ID".to_owned(), "AKIAIOSFODNN7EXAMPLE".to_owned());
    for (name, value) in scene.env() {
        variables.insert(name.clone(), value.replace(&scene.stage.url(), &recorder.url()));
    }
    for (name, place) in [("HOME", "home"), ("TMPDIR", "tmp"), ("RUNNER_TEMP", "runner"), ("X", "events")] {
        fs::create_dir_all(at(place)).unwrap();
        variables.insert(name.to_owned(), at(place).display().to_string());
    }
    variables.insert("PATH".to_owned(), spies(&at("bin"), &at("argv")));
    let github = &["GET /_github/api", "POST /_github/api", "PATCH /_github/api"];
    garden.found("token of the job", scene.stage.github_api().token(), github);
    garden.found("request token", scene.stage.github().request_token(), &["GET /_github/oidc"]);

    // The files of the repository.
    let key: Vec<_> = (0..3).map(|line| garden.odd(&format!("line {line} of a build secret's file"), &[])).collect();
    scene.app.write("key.pem", &format!("-----BEGIN\n{}\n", key.join("\n")));
    scene.app.write(".dockerignore", "fargate-deploy.yml\ntask-definition.json\nkey.pem\nevent.json\n");
    scene.app.write("fargate-deploy.yml", CONFIG);
    scene.app.write("Dockerfile", DOCKERFILE);
    let register = &["RegisterTaskDefinition"];
    let mut planted = definition();
    let container = &mut planted["containerDefinitions"][0];
    container["environment"] = json!([{"name": "PLAIN", "value": garden.odd("a variable of a container", register)}]);
    container["dockerLabels"] = json!({"auth": garden.odd("a label of a container", register)});
    container["logConfiguration"]["options"]["awslogs-multiline-pattern"] =
        json!(garden.plain("a log option", register));
    let health = format!("[ {} ] && /bin/sh /app/check", garden.plain("a health check", register));
    container["healthCheck"]["command"] = json!(["CMD", "/bin/sh", "-c", health]);
    container["secrets"] =
        json!([{"name": "PARAMETER", "valueFrom": "arn:aws:ssm:eu-central-1:111122223333:parameter/shop/secret"}]);
    scene.app.write("task-definition.json", &planted.to_string());
    let parameter = json!({"Name": "/shop/secret", "Type": "SecureString", "Value": garden.odd("a SecureString", &[])});
    scene.call("ssm", "PutParameter", parameter).await;

    // Logins of registries, which the build of one release needs.
    let helper = format!(
        "#!/bin/bash\necho \"helper $*\" >> {}\necho '{{\"Username\":\"u\",\"Secret\":\"{}\"}}'\n",
        at("argv").display(),
        garden.plain("secret of a credential helper", &[])
    );
    program(&at("bin").join("docker-credential-planted"), &helper);
    let auth = STANDARD.encode(format!("u:{}", garden.odd("auth of the docker config", &[])));
    fs::create_dir_all(at("home/.docker")).unwrap();
    let docker_config =
        |logins: serde_json::Value| fs::write(at("home/.docker/config.json"), logins.to_string()).unwrap();

    let around: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let with = |more: &[(&'static str, &'static str)]| [&around[..], more].concat();
    let count = AtomicU32::new(0);
    let run = async |name: &str, arguments: &[&str], around: &[(&str, &str)]| {
        let events = at("events").join(count.fetch_add(1, Ordering::Relaxed).to_string());
        let arguments = [&["-v", "--events", events.to_str().unwrap()], arguments].concat();
        scene.begin(name, &arguments, around).ended().await
    };

    // A plan on a pull request, and the release of it.
    scene.commit("r1", Behaviour::Serves);
    scene.app.write("app/migrate", "echo migrating \"$@\" >&2\n");
    let head = scene.sha();
    scene.stage.github_api().add_pull_request(PullRequest {
        number: 7,
        head: head.clone(),
        merged_as: Some(head.clone()),
    });
    let event = json!({"pull_request": {"number": 7, "head": {"sha": head, "repo": {"full_name": "acme/shop"}}}});
    let event: PathBuf = scene.app.write("event.json", &event.to_string());
    let on_pull =
        [&around[..], &[("GITHUB_EVENT_NAME", "pull_request"), ("GITHUB_EVENT_PATH", event.to_str().unwrap())]]
            .concat();
    let planned = run("plan", &["--comment"], &on_pull).await;
    planned.succeeded("planned");
    ways.add_run("plan", &planned);
    for format in ["--format=json", "--format=markdown", "--offline"] {
        let planned = run("plan", &[format], &on_pull).await;
        assert_eq!(planned.code, 0, "{}", planned.log);
        ways.add_run(format, &planned);
    }
    let good = run("deploy", &[], &around).await;
    good.succeeded("deployed");
    assert!(good.log.contains("argument is ***") || good.log.contains("argument is ${env:ARGUMENT}"), "{}", good.log);
    assert!(good.log.contains("migrating --url ${env:DATABASE}"), "{}", good.log);
    ways.add_run("deploy", &good);

    // Releases that fail, each in its own way.
    scene.commit("r2", Behaviour::Crashes);
    let bad = run("deploy", &[], &around).await;
    bad.failed(6, "rolled-back");
    ways.add_run("a crash", &bad);
    scene.commit("r3", Behaviour::Serves);
    let nowhere = format!("http://{user}@127.0.0.1:1");
    let bad = run("deploy", &[], &[&around[..], &[("SMOKE", nowhere.as_str())]].concat()).await;
    bad.failed(6, "rolled-back");
    ways.add_run("a smoke check", &bad);
    scene.commit("r4", Behaviour::Serves);
    scene.app.write("app/migrate", "echo \"cannot connect to $2\" >&2\nexit 3\n");
    let bad = run("deploy", &[], &around).await;
    bad.failed(5, "release-command");
    ways.add_run("a command", &bad);
    scene.app.write("Dockerfile", &DOCKERFILE.replace("lines;", "lines; cat short >&2; exit 3;"));
    let bad = run("deploy", &[], &around).await;
    bad.failed(4, "build");
    ways.add_run("a build", &bad);
    let private = Registry::start().await;
    scene.app.write("Dockerfile", &format!("FROM {}/private\n", private.host));
    for logins in
        [json!({"auths": {&private.host: {"auth": &auth}}}), json!({"credHelpers": {&private.host: "planted"}})]
    {
        docker_config(logins);
        let bad = run("deploy", &[], &around).await;
        bad.failed(4, "build");
        ways.add_run("a login", &bad);
    }
    docker_config(json!({}));
    scene.app.write("Dockerfile", DOCKERFILE);
    let broken =
        CONFIG.replace("cluster: shop", "cluster: \"${env:DATABASE}\"").replace("wait: 3m", "wait: \"${env:NAMED}\"");
    scene.app.write("fargate-deploy.yml", &broken);
    let bad = run("deploy", &[], &around).await;
    bad.failed(2, "config");
    ways.add_run("a config", &bad);
    scene.app.write("fargate-deploy.yml", CONFIG);
    let bad = run("plan", &["--comment"], &[&on_pull[..], &[("GITHUB_TOKEN", "")]].concat()).await;
    assert_ne!(bad.code, 0);
    ways.add_run("no token", &bad);

    // A run that is killed while it holds its lease, and what is done after it.
    scene.app.write("app/migrate", "echo migrating \"$@\"\nwhile :; do sleep 0.1; done\n");
    scene.commit("r5", Behaviour::Serves);
    let killed = scene.begin("deploy", &["-v"], &with(&[("GITHUB_RUN_ID", "77"), ("GITHUB_RUN_ATTEMPT", "1")]));
    killed.says("migrating --url").await;
    killed.signal("KILL");
    let (_, log) = killed.cut_off().await;
    ways.add_log("killed", &log);
    assert!(at("runner").read_dir().unwrap().count() > 0, "there is a file of what is held");
    ways.add_files("what is held", &at("runner"));
    let post = scene.begin("post", &["-v"], &with(&[("GITHUB_RUN_ID", "77"), ("GITHUB_RUN_ATTEMPT", "1")]));
    let (code, log) = post.cut_off().await;
    assert_eq!(code, Some(0), "{log}");
    ways.add_log("post", &log);
    let (_, status) = scene.begin("lock", &["status", "-v"], &around).cut_off().await;
    ways.add_log("lock", &status);

    // A rehearsal, with what is set around it.
    scene.app.write("app/migrate", "echo migrating \"$@\"\n");
    let rehearsed = run("rehearse", &[], &around).await;
    assert_eq!(rehearsed.code, 0, "{}", rehearsed.log);
    ways.add_run("rehearse", &rehearsed);

    // What is left behind.
    for comment in scene.stage.github_api().comments(7) {
        ways.add("comment", comment.body);
    }
    ways.add("GitHub's deployments", format!("{:?}", scene.stage.github_api().deployments()));
    let body = json!({"Path": "/fargate-deploy", "Recursive": true});
    ways.add("parameters", scene.call("ssm", "GetParametersByPath", body).await.to_string());
    let listed = scene.call("ecs", "ListTaskDefinitions", json!({"familyPrefix": "web"})).await;
    for arn in listed["taskDefinitionArns"].as_array().unwrap() {
        let body = json!({"taskDefinition": arn, "include": ["TAGS"]});
        let described = scene.call("ecs", "DescribeTaskDefinition", body).await;
        ways.add("tags", described["tags"].to_string());
    }
    assert!(at("events").read_dir().unwrap().count() > 10, "events are written");
    ways.add_files("events", &at("events"));
    ways.add_files("temporary files", &at("tmp"));
    ways.add_files("files of the runner", &at("runner"));
    ways.add("arguments of other programs", fs::read_to_string(at("argv")).unwrap_or_default());

    // What was handed out on the way.
    let answers = recorder.answers();
    let member = |name: &str, open: &str, close: &str| {
        let starts: Vec<_> =
            answers.match_indices(&format!("{name}{open}")).map(|(at, found)| at + found.len()).collect();
        let values = starts.into_iter().filter_map(|at| answers[at..].split(close).next().map(str::to_owned));
        values.collect::<std::collections::BTreeSet<_>>()
    };
    let all = [
        (
            member("\"value\"", ":\"", "\"").into_iter().filter(|value| value.starts_with("eyJ")).collect(),
            "an OIDC token",
            &["AssumeRoleWithWebIdentity"][..],
        ),
        (member("<SecretAccessKey", ">", "<"), "a secret access key", &[]),
        (member("<SessionToken", ">", "<"), "a session token", &["*"]),
        (member("\"authorizationToken\"", ":\"", "\""), "a login of ECR", &[]),
    ];
    for (values, place, goes_to) in all {
        assert!(!values.is_empty(), "{place} was handed out");
        values.iter().for_each(|value| garden.found(place, value, goes_to));
    }
    for token in member("\"authorizationToken\"", ":\"", "\"") {
        let login = String::from_utf8(STANDARD.decode(token).unwrap()).unwrap();
        garden.found("a password of ECR", login.split_once(':').unwrap().1, &[]);
    }

    let mut leaks = vec![];
    for secret in &garden.all {
        for (way, text) in &ways.0 {
            for how in secret.ends.iter().filter_map(|part| holds(text, part)) {
                let line = text.lines().find(|line| secret.ends.iter().any(|part| holds(line, part).is_some()));
                leaks.push(format!("{}: {way}, {how}: {}", secret.place, line.unwrap_or_default()));
            }
        }
        for request in recorder.requests() {
            let is_meant = |to: &&str| *to == "*" || request.name.starts_with(*to);
            if secret.goes_to.iter().any(is_meant) {
                continue;
            }
            let text = String::from_utf8_lossy(&request.bytes);
            if let Some(how) = secret.ends.iter().find_map(|part| holds(&text, part)) {
                leaks.push(format!("{}: {}, {how}", secret.place, request.name));
            }
        }
    }
    leaks.dedup();
    println!("{} secrets, {} ways out, {} requests", garden.all.len(), ways.0.len(), recorder.requests().len());
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
    scene.close().await;
}
