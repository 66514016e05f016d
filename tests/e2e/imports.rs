//! From another platform's file to a green rehearsal, with no edit.

use crate::program::{BINARY, scrubbed};
use crate::scene::{Scene, Setting, docker, trust_of};
use serde_json::json;
use std::process::Output;
use test_support::App;

/// An application with one file of another platform: what `init` writes is rehearsed as it is.
fn init_and_rehearse(file: &str, text: &str) -> String {
    let app = App::new("", &serde_json::json!({}));
    for ours in ["fargate-deploy.yml", "task-definition.json"] {
        std::fs::remove_file(app.path().join(ours)).unwrap();
    }
    app.write(".dockerignore", "*.yml\n*.json\n*.toml\nProcfile\ncompose.yaml\n");
    // Where `$PORT` is given, the application is told the port that it is said to listen at.
    let dockerfile = std::fs::read_to_string(app.path().join("Dockerfile")).unwrap();
    app.write("Dockerfile", &format!("{dockerfile}EXPOSE 3000\n"));
    app.write(file, text);
    let run = |arguments: &[&str]| -> Output {
        scrubbed(BINARY).args(arguments).current_dir(app.path()).env("HOME", app.path()).output().unwrap()
    };
    let said = |output: &Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let written = run(&["init"]);
    assert!(written.status.success(), "{}", said(&written));
    let rehearsed = run(&["rehearse", "."]);
    assert!(rehearsed.status.success(), "{}", said(&rehearsed));
    said(&rehearsed)
}

/// An image that is called like a database and listens like one; removed at the end.
struct Database(String);

impl Database {
    fn built() -> Self {
        let name = format!("fargate-deploy-e2e-{}/postgres:16", std::process::id());
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy("/bin/busybox", folder.path().join("busybox")).unwrap();
        let listens = "FROM scratch\nCOPY busybox /bin/sh\nEXPOSE 5432\n\
                       CMD [\"/bin/sh\", \"-c\", \"test $POSTGRES_PASSWORD = only-for-rehearsals && exec nc -ll -p 5432 -e /bin/sh\"]\n";
        std::fs::write(folder.path().join("Dockerfile"), listens).unwrap();
        docker(&["build", "--quiet", "--tag", &name, folder.path().to_str().unwrap()]);
        Self(name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        docker(&["rmi", "-f", &self.0]);
    }
}

#[test]
fn a_compose_file_whose_service_migrates_a_database_and_serves() {
    let database = Database::built();
    let said = init_and_rehearse(
        "compose.yaml",
        &format!(
            "services:\n  web:\n    build: .\n    \
             command: sh -c 'echo $$DATABASE_URL | grep -q only-for-rehearsals@db && nc -w 5 db 5432 < /dev/null && /bin/sh /app/migrate && exec /bin/sh /app/serve'\n    \
             ports: ['3000:3000']\n    environment: {{ DATABASE_URL: 'postgres://a:b@db:5432/x', MODE: 0755 }}\n  \
             db: {{ image: '{}', environment: {{ POSTGRES_PASSWORD: b }} }}\n",
            database.0
        ),
    );
    assert!(said.contains("release command `migrate` was applied"), "{said}");
}

#[test]
fn a_procfile_with_a_worker_and_a_release_command() {
    let said = init_and_rehearse(
        "Procfile",
        "web: exec /bin/sh /app/serve\nworker: QUEUE=default exec /bin/sh /app/serve\nrelease: /bin/sh /app/migrate\n",
    );
    assert!(said.contains("release command `migrate` was applied"), "{said}");
}

#[test]
fn a_railway_json() {
    init_and_rehearse(
        "railway.json",
        r#"{"build": {"builder": "DOCKERFILE"}, "deploy": {"startCommand": "PORT=$PORT exec /bin/sh /app/serve", "preDeployCommand": ["/bin/sh /app/migrate"]}}"#,
    );
}

#[test]
fn a_fly_toml() {
    init_and_rehearse(
        "fly.toml",
        "app = 'shop'\n[processes]\napp = '/bin/sh /app/serve'\n[deploy]\nrelease_command = '/bin/sh /app/migrate'\n[http_service]\ninternal_port = 3_000\n",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_runs_is_described_so_that_a_plan_finds_no_difference() {
    let scene = Scene::open(Setting::default()).await;
    let trust = trust_of(&Setting::default().github.subject());
    // What the table of `init` leaves to a person.
    scene
        .call("iam", "CreateRole", json!({"RoleName": "web-deploy", "AssumeRolePolicyDocument": trust.to_string()}))
        .await;
    let all = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    let all = json!({"RoleName": "web-deploy", "PolicyName": "deploy", "PolicyDocument": all.to_string()});
    scene.call("iam", "PutRolePolicy", all).await;
    let role = ["--role", crate::scene::ROLE, "--region", "eu-central-1"];
    let written = scene.run("init", &[&["imported", "--service", "shop/web"], role.as_slice()].concat()).await;
    assert_eq!(written.code, 0, "{}", written.log);
    let mark = scene.mark();
    let plan = scene.plan(&["-c", "imported/fargate-deploy.yml", "--detailed-exitcode"], &[]).await;
    assert_eq!(plan.code, 0, "{} {}", plan.log, plan.json);
    assert_eq!(scene.mutations_since(mark), Vec::<String>::new());
    scene.close().await;
}
