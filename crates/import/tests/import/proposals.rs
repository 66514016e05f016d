//! What each kind of file becomes: the config, the task definitions, and what is said of the rest.

use fargate_deploy_import::{
    Fate, Kind, Live, Options, Proposal, of_service, propose, propose_with_dockerfiles, sources,
};
use serde_json::Value;
use std::collections::BTreeMap;

struct Found(Proposal);

impl Found {
    fn definition(&self, service: &str) -> Value {
        let path = format!("infra/{service}.json");
        let file = self.0.files.iter().find(|file| file.path == path);
        serde_json::from_str(&file.unwrap_or_else(|| panic!("no {path}: {:?}", self.paths())).text).unwrap()
    }

    fn container(&self, service: &str) -> Value {
        self.definition(service)["containerDefinitions"][0].clone()
    }

    fn paths(&self) -> Vec<&str> {
        self.0.files.iter().map(|file| file.path.as_str()).collect()
    }

    fn config(&self) -> &str {
        &self.0.files[0].text
    }

    /// The rows about something.
    fn rows(&self, what: &str) -> Vec<(Fate, &str)> {
        let about = self.0.rows.iter().filter(|row| row.what.contains(what));
        about.map(|row| (row.fate, row.why.as_str())).collect()
    }

    fn fate(&self, what: &str) -> Fate {
        self.rows(what).first().unwrap_or_else(|| panic!("no row about {what}: {:#?}", self.0.rows)).0
    }
}

fn folder(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

fn of(kind: Kind, files: &[(&str, &str)]) -> Found {
    let options = Options {
        name: "shop".to_owned(),
        region: Some("eu-west-1".to_owned()),
        account: Some("222233334444".to_owned()),
        cluster: None,
    };
    match propose(&folder(files), kind, files[0].0, &options) {
        Ok(proposal) => Found(proposal),
        Err(refusal) => panic!("{refusal:?}"),
    }
}

fn compose(text: &str) -> Found {
    of(Kind::Compose, &[("compose.yaml", text), ("Dockerfile", "FROM scratch\n")])
}

fn refusal(kind: Kind, files: &[(&str, &str)]) -> (String, String) {
    let options = Options { name: "shop".to_owned(), region: None, account: None, cluster: None };
    let refusal = propose(&folder(files), kind, files[0].0, &options).unwrap_err();
    (refusal.what, refusal.next)
}

fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let of = |list: &str, member: &str| {
        let items = container[list].as_array().into_iter().flatten();
        items.filter(|item| item["name"] == name).find_map(|item| Some(item[member].as_str()?.to_owned()))
    };
    of("environment", "value").or_else(|| of("secrets", "valueFrom")).map(|text| &*Box::leak(text.into_boxed_str()))
}

#[test]
fn values_stay_as_they_are_written() {
    let found = compose(
        "services:\n  web:\n    build: .\n    environment: {PYTHON: 3.10, MODE: 0755, FLAG: yes, TIME: 22:22, BIG: 1_000}\n",
    );
    let web = found.container("web");
    let values = ["PYTHON", "MODE", "FLAG", "TIME", "BIG"].map(|name| variable(&web, name).unwrap());
    assert_eq!(values, ["3.10", "0755", "yes", "22:22", "1_000"]);
}

#[test]
fn a_database_is_no_service_and_what_names_it_is_a_secret() {
    let found = compose(
        "services:\n  web:\n    build: .\n    environment: {DB_HOST: db, NAME: db-tools}\n    depends_on: [db]\n  db: {image: 'postgres:16'}\n",
    );
    assert_eq!(found.paths(), ["fargate-deploy.yml", "infra/web.json", ".github/workflows/fargate-deploy.yml"]);
    let web = found.container("web");
    assert_eq!(variable(&web, "DB_HOST"), Some("/shop/DB_HOST"));
    assert_eq!(variable(&web, "NAME"), Some("db-tools"));
    assert!(
        found
            .rows("service `db`")
            .iter()
            .any(|(fate, why)| *fate == Fate::Decide && why.contains("RDS for PostgreSQL"))
    );
    assert_eq!(
        found.0.put,
        ["aws ssm put-parameter --region eu-west-1 --type SecureString --name /shop/DB_HOST --value \"$DB_HOST\""]
    );
    // In a rehearsal it is a container of that name, and never what this machine's own `DB_HOST` names.
    assert!(found.config().contains("    /shop/DB_HOST: db\n"), "{}", found.config());
    assert!(found.config().contains("  containers:\n    db:\n      image: \"postgres:16\"\n"), "{}", found.config());
}

#[test]
fn a_rehearsal_has_the_databases_with_a_password_of_its_own() {
    let found = compose(
        "services:\n  web:\n    build: .\n    environment:\n      DATABASE_URL: postgres://shop:hunter2@db:5432/shop\n      \
         REDIS_URL: redis://:hunter2@cache:6379\n      STRIPE_KEY: sk_live_hunter2\n  \
         db:\n    image: postgres:16\n    environment: [POSTGRES_USER=shop, POSTGRES_PASSWORD=hunter2, POSTGRES_HOST_AUTH_METHOD=trust]\n  \
         cache: { image: 'redis:7', command: redis-server --requirepass hunter2 }\n",
    );
    let config = found.config();
    assert!(!config.contains("hunter2"), "{config}");
    for line in [
        "    /shop/DATABASE_URL: \"postgres://shop:only-for-rehearsals@db:5432/shop\"",
        "    /shop/REDIS_URL: \"redis://:only-for-rehearsals@cache:6379\"",
        "    /shop/STRIPE_KEY: \"${env:STRIPE_KEY:-only-for-rehearsals}\"",
        "        POSTGRES_USER: shop",
        "        POSTGRES_PASSWORD: only-for-rehearsals",
        "        POSTGRES_HOST_AUTH_METHOD: trust",
        "      command: [redis-server, \"--requirepass\", only-for-rehearsals]",
    ] {
        assert!(config.lines().any(|known| known == line), "{line}:\n{config}");
    }
}

#[test]
fn two_services_share_a_secret_of_one_value_and_have_their_own_of_two() {
    let found = compose(
        "services:\n  a: {build: ., environment: {API_KEY: one, DB_PASSWORD: x}}\n  b: {build: ., environment: {API_KEY: two, DB_PASSWORD: x}}\n",
    );
    let (a, b) = (found.container("a"), found.container("b"));
    assert_eq!((variable(&a, "API_KEY"), variable(&b, "API_KEY")), (Some("/shop/API_KEY"), Some("/shop/b/API_KEY")));
    assert_eq!(
        (variable(&a, "DB_PASSWORD"), variable(&b, "DB_PASSWORD")),
        (Some("/shop/DB_PASSWORD"), Some("/shop/DB_PASSWORD"))
    );
}

#[test]
fn services_of_one_network_are_one_task_and_reach_each_other_at_localhost() {
    let found = compose(
        "services:\n  caddy: {image: 'caddy:2', ports: ['8080:80']}\n  api:\n    build: .\n    network_mode: service:caddy\n    environment: {WEB: 'http://caddy:80/x', OTHER: 'http://worker:9/x'}\n  worker: {build: .}\n",
    );
    let definition = found.definition("caddy");
    assert_eq!(definition["containerDefinitions"].as_array().unwrap().len(), 2);
    let api = &definition["containerDefinitions"][1];
    assert_eq!(variable(api, "WEB"), Some("http://localhost:80/x"));
    assert_eq!(variable(api, "OTHER"), Some("http://worker:9/x"));
    assert!(
        found.rows("names `worker`").iter().any(|(fate, why)| *fate == Fate::Decide && why.contains("Service Connect"))
    );
    assert!(found.config().contains("containers: { api: api }"), "{}", found.config());
}

#[test]
fn what_migrates_and_serves_is_taken_apart_and_asked() {
    let found = compose(
        "services:\n  web:\n    build: .\n    command: sh -c 'bin/migrate && bin/assets && bin/serve --port $$PORT'\n",
    );
    assert_eq!(
        found.container("web")["command"],
        serde_json::json!(["sh", "-c", "bin/assets && bin/serve --port $PORT"])
    );
    assert!(
        found.config().contains("  - name: migrate\n    service: web\n    command: bin/migrate\n"),
        "{}",
        found.config()
    );
    assert_eq!(found.fate("that migrates and serves"), Fate::Decide);
}

#[test]
fn what_runs_to_its_end_is_a_release_command_of_the_service_that_has_its_image() {
    let found = compose(
        "services:\n  web: {build: ., depends_on: {setup: {condition: service_completed_successfully}}}\n  setup: {build: ., command: [node, seed.js]}\n  bucket: {image: 'minio/mc:1', restart: 'no', command: mc mb x}\n",
    );
    assert!(
        found.config().contains("  - name: setup\n    service: web\n    command: [node, \"seed.js\"]\n")
            || found.config().contains("  - name: setup\n    service: web\n    command: [node, seed.js]\n"),
        "{}",
        found.config()
    );
    assert_eq!(found.fate("service `setup`"), Fate::Translated);
    assert_eq!(found.fate("service `bucket`"), Fate::Decide);
    assert_eq!(found.paths().len(), 3);
}

#[test]
fn variables_are_replaced_as_compose_does_and_those_of_a_shell_are_secrets() {
    let files = [
        (
            "compose.yaml",
            "services:\n  web:\n    image: 'org/web:${TAG:-1.10}'\n    environment: ['A=${A:-x${B:-y}}', 'FROM_FILE=${LOCAL}', FROM_SHELL, 'UNSET=${NOWHERE}']\n    healthcheck: {test: 'test $$HOME'}\n",
        ),
        (".env", "LOCAL=hunter2\n"),
    ];
    let found = of(Kind::Compose, &files);
    let web = found.container("web");
    assert_eq!(web["image"], "org/web:1.10");
    assert_eq!(variable(&web, "A"), Some("xy"));
    for name in ["FROM_FILE", "FROM_SHELL", "UNSET"] {
        assert_eq!(variable(&web, name).map(str::to_owned), Some(format!("/shop/{name}")));
    }
    assert_eq!(web["healthCheck"]["command"][1], "test $HOME");
    assert!(!format!("{:?}", found.0).contains("hunter2"));
}

#[test]
fn what_fargate_does_not_have_is_said_and_what_it_bounds_is_bounded() {
    let found = compose(
        "services:\n  web:\n    build: .\n    shm_size: 1g\n    volumes: ['./conf:/etc/x', 'data:/data']\n    stop_grace_period: 10m\n    healthcheck: {test: [CMD, x], interval: 1s, timeout: 2m, start_interval: 1s}\n    unheard_of: 1\n    deploy: {replicas: 3, resources: {limits: {cpus: '0.3', memory: 3G}}}\n",
    );
    let web = found.container("web");
    assert_eq!(
        (&web["stopTimeout"], &web["healthCheck"]["interval"], &web["healthCheck"]["timeout"]),
        (&120.into(), &5.into(), &60.into())
    );
    assert_eq!((&found.definition("web")["cpu"], &found.definition("web")["memory"]), (&"512".into(), &"3072".into()));
    for (what, fate) in [
        ("shm_size", Fate::Dropped),
        ("volume `./conf", Fate::Decide),
        ("volume `data", Fate::Decide),
        ("start_interval", Fate::Dropped),
        ("unheard_of", Fate::Dropped),
        ("deploy.replicas", Fate::Decide),
    ] {
        assert_eq!(found.fate(what), fate, "{what}");
    }
}

#[test]
fn templates_profiles_and_tools_are_no_services_and_each_says_so() {
    let found = compose(
        "services:\n  base: &base {environment: {A: b}}\n  web: {<<: *base, build: .}\n  debug: {build: ., profiles: [debug]}\n  mail: {image: mailhog/mailhog}\n  agent: {image: x, volumes: ['/var/run/docker.sock:/var/run/docker.sock']}\n",
    );
    assert_eq!(found.paths().len(), 3);
    assert_eq!(variable(&found.container("web"), "A"), Some("b"));
    for (what, fate) in [
        ("service `base`", Fate::Dropped),
        ("service `debug`", Fate::Dropped),
        ("service `mail`", Fate::Dropped),
        ("service `agent`", Fate::Decide),
    ] {
        assert_eq!(found.fate(what), fate, "{what}");
    }
}

#[test]
fn a_file_that_is_extended_and_one_that_is_included_are_read() {
    let found = of(
        Kind::Compose,
        &[
            (
                "compose.yaml",
                "include: [more/compose.yaml]\nservices:\n  web: {extends: {file: common.yaml, service: app}, environment: {B: two}}\n",
            ),
            ("common.yaml", "services:\n  app: {image: 'org/app:1', environment: {A: one, B: one}, depends_on: [x]}\n"),
            ("more/compose.yaml", "services:\n  worker: {image: 'org/worker:1'}\n"),
        ],
    );
    let web = found.container("web");
    assert_eq!((variable(&web, "A"), variable(&web, "B")), (Some("one"), Some("two")));
    assert_eq!(found.container("worker")["image"], "org/worker:1");
    assert_eq!(found.0.read, ["compose.yaml", "more/compose.yaml", "common.yaml"]);
}

#[test]
fn a_procfile_is_a_service_for_each_process_with_a_port_for_web() {
    let found = of(
        Kind::Procfile,
        &[
            ("Procfile", "web: bundle exec puma\nworker: QUEUE=a bin/work\nrelease: TIMEOUT=1 bin/migrate\n"),
            ("Dockerfile", "FROM ruby\nEXPOSE 3000\n"),
            (
                "app.json",
                r#"{"name": "Big Shop", "addons": ["heroku-postgresql"], "env": {"KEY": {"generator": "secret"}}, "formation": {"web": {"quantity": 2, "size": "performance-m"}}}"#,
            ),
        ],
    );
    let web = found.container("web");
    assert_eq!(web["command"], serde_json::json!(["bundle", "exec", "puma"]));
    assert_eq!((variable(&web, "PORT"), &web["portMappings"][0]["containerPort"]), (Some("3000"), &3000.into()));
    assert_eq!(found.container("worker")["command"], serde_json::json!(["sh", "-c", "QUEUE=a bin/work"]));
    assert_eq!(variable(&web, "DATABASE_URL"), Some("/big-shop/DATABASE_URL"));
    assert_eq!(variable(&web, "KEY"), Some("/big-shop/KEY"));
    assert_eq!(found.definition("web")["memory"], "3072");
    assert!(found.config().contains("command: \"TIMEOUT=1 bin/migrate\""), "{}", found.config());
}

#[test]
fn a_process_that_starts_others_is_refused_with_the_file_that_lists_them() {
    let (what, next) = refusal(Kind::Procfile, &[("Procfile", "web: bundle exec foreman start -f Procfile.web\n")]);
    assert!(what.contains("starts other processes"), "{what}");
    assert!(next.contains("--from Procfile.web"), "{next}");
}

#[test]
fn a_heroku_yml_has_an_image_for_each_dockerfile() {
    let found = of(
        Kind::HerokuYml,
        &[
            (
                "heroku.yml",
                "build: {docker: {web: Dockerfile, worker: jobs/Dockerfile}}\nrelease: {command: [bin/a, bin/b], image: worker}\nrun:\n  web: serve --port \\$PORT\n  mailer: {command: [bin/mail], image: worker}\n",
            ),
            ("Dockerfile", "FROM x\n"),
            ("jobs/Dockerfile", "FROM x\n"),
        ],
    );
    assert_eq!(found.container("web")["command"][2], "serve --port $PORT");
    assert_eq!(found.container("mailer")["image"], "222233334444.dkr.ecr.eu-west-1.amazonaws.com/shop/worker:latest");
    assert!(found.config().contains("    context: jobs\n"), "{}", found.config());
    assert!(found.config().contains("command: \"bin/a && bin/b\""), "{}", found.config());
}

#[test]
fn a_misspelt_member_of_a_dockerrun_is_named_and_not_passed_over() {
    let (what, next) = refusal(
        Kind::Dockerrun,
        &[("Dockerrun.aws.json", r#"{"AWSEBDockerrunVersion": 2, "containerDefintions": []}"#)],
    );
    assert!(what.contains("`containerDefintions`") && next.contains("`containerDefinitions`"), "{what} {next}");
    let (what, next) = refusal(
        Kind::Dockerrun,
        &[("Dockerrun.aws.json", r#"{"containerDefinitions": [{"name": "a", "image": "b", "portMapping": []}]}"#)],
    );
    assert!(what.contains("`portMapping`") && next.contains("`portMappings`"), "{what} {next}");
}

#[test]
fn the_secrets_of_a_copilot_manifest_keep_their_names() {
    let found = of(
        Kind::Copilot,
        &[
            (
                "copilot/web/manifest.yml",
                "name: web\ntype: Backend Service\nimage: {location: 'org/web:1', port: 80}\nsecrets:\n  KEY: /copilot/${COPILOT_APPLICATION_NAME}/${COPILOT_ENVIRONMENT_NAME}/secrets/KEY\nenvironments: {staging: {count: 1}}\n",
            ),
            ("copilot/jobs/manifest.yml", "name: jobs\ntype: Worker Service\nimage: {location: 'org/jobs:1'}\n"),
            ("copilot/.workspace", "application: big\n"),
        ],
    );
    assert_eq!(variable(&found.container("web"), "KEY"), Some("/copilot/big/staging/secrets/KEY"));
    assert_eq!(found.container("jobs")["image"], "org/jobs:1");
    assert_eq!(found.fate("COPILOT_ENVIRONMENT_NAME"), Fate::Decide);
    assert_eq!(found.fate("AWS Copilot"), Fate::Decide);
}

#[test]
fn without_what_says_what_runs_sizes_alone_are_refused() {
    let (what, _) =
        refusal(Kind::EcsParams, &[("ecs-params.yml", "task_definition: {task_size: {mem_limit: 0.5GB}}\n")]);
    assert!(what.contains("no compose file"), "{what}");
}

#[test]
fn the_services_of_ecs_params_are_the_containers_of_one_task() {
    let found = of(
        Kind::EcsParams,
        &[
            (
                "ecs-params.yml",
                "task_definition:\n  task_size: {mem_limit: 0.5GB, cpu_limit: 512}\n  services: {web: {secrets: [{value_from: /a/KEY, name: KEY}]}}\n",
            ),
            (
                "docker-compose.yml",
                "services:\n  web: {image: 'org/web:1', environment: {API: 'http://api:1/'}}\n  api: {image: 'org/api:1'}\n",
            ),
        ],
    );
    let definition = found.definition("web");
    assert_eq!((definition["cpu"].as_str(), definition["memory"].as_str()), (Some("512"), Some("1024")));
    assert_eq!(definition["containerDefinitions"].as_array().unwrap().len(), 2);
    assert_eq!(variable(&found.container("web"), "KEY"), Some("/a/KEY"));
    assert_eq!(variable(&found.container("web"), "API"), Some("http://localhost:1/"));
}

#[test]
fn an_image_without_a_dockerfile_is_named() {
    let found = of(Kind::Procfile, &[("Procfile", "web: bin/serve\n")]);
    assert_eq!(found.0.missing, ["Dockerfile"]);
}

#[test]
fn sources_are_found_in_the_order_in_which_they_are_taken() {
    let files = folder(&[
        ("Dockerfile", ""),
        ("fly.toml", ""),
        ("Procfile", ""),
        ("app.json", ""),
        ("compose.yml", ""),
        ("copilot/web/manifest.yml", ""),
    ]);
    let names: Vec<_> = sources(&files).into_iter().map(|(_, path)| path).collect();
    assert_eq!(names, ["compose.yml", "copilot/web/manifest.yml", "Procfile", "fly.toml", "Dockerfile"]);
}

#[test]
fn credentials_in_commands_and_build_arguments_are_left_to_a_person() {
    let found = compose(
        "services:\n  web:\n    build: {context: ., args: {NPM_TOKEN: hunter2, GIT: abc}}\n    command: serve --url postgres://u:hunter2@h/d\n    healthcheck: {test: 'curl http://u:hunter2@localhost'}\n",
    );
    assert!(!format!("{:?}", found.0).contains("hunter2"));
    for what in ["build argument `NPM_TOKEN`", "web: `command`", "web: health check"] {
        assert!(found.rows(what).iter().any(|(fate, _)| *fate == Fate::Decide), "{what}");
    }
    assert!(found.config().contains("build-args: { GIT: abc }"), "{}", found.config());
}

#[test]
fn a_live_service_keeps_every_member_of_its_task_definition() {
    let definition = serde_json::json!({
        "family": "shop", "futureMember": {"deep": [1.50]}, "runtimePlatform": {"cpuArchitecture": "ARM64"},
        "containerDefinitions": [
            {"name": "app", "image": "222233334444.dkr.ecr.eu-west-1.amazonaws.com/team/shop@sha256:ab"},
            {"name": "proxy", "image": "caddy:2"},
        ],
    });
    let options =
        Options { name: "shop".to_owned(), region: Some("eu-west-1".to_owned()), account: None, cluster: None };
    let live = Live { cluster: "prod", service: "shop", definition: &definition };
    let found = Found(of_service(live, &folder(&[("Dockerfile", "FROM x\n")]), &options));
    assert_eq!(found.definition("shop"), definition);
    let config = found.config();
    assert!(
        config.contains("cluster: prod\n") && config.contains("    repository: team/shop\n    context: \".\"\n"),
        "{config}"
    );
    assert!(
        config.contains("    name: shop\n    containers: { app: app }\n    task-definition: infra/shop.json\n"),
        "{config}"
    );
    assert!(found.0.files[2].text.contains("ubuntu-24.04-arm"));
    let without = Found(of_service(live, &folder(&[]), &options));
    assert!(
        !without.config().contains("images:") && without.config().contains("containers: {}"),
        "{}",
        without.config()
    );
}

#[test]
fn credentials_that_a_live_service_has_in_the_clear_are_named_one_by_one_and_never_shown() {
    let definition = serde_json::json!({ "family": "shop", "containerDefinitions": [{
        "name": "app", "image": "caddy:2",
        "environment": [
            {"name": "DB_PASSWORD", "value": "hunter2pw"}, {"name": "DATABASE", "value": "postgres://u:hunter2pw@h/x"},
            {"name": "LOG_LEVEL", "value": "debug"}, {"name": "PORT", "value": "8080"},
        ],
        "command": ["serve", "--token", "hunter2pw", "--port", "8080"],
        "healthCheck": {"command": ["CMD-SHELL", "curl -H 'Authorization: Bearer hunter2pw' localhost"]},
        "logConfiguration": {"logDriver": "splunk", "options": {"splunk-token": "hunter2pw", "splunk-source": "web"}},
    }, { "name": "proxy", "image": "caddy:2", "command": ["caddy", "run", "--config", "/etc/Caddyfile"],
         "environment": [{"name": "API_TOKEN", "value": ""}] }] });
    let live = Live { cluster: "prod", service: "shop", definition: &definition };
    let options =
        Options { name: "shop".to_owned(), region: Some("eu-west-1".to_owned()), account: None, cluster: None };
    let found = Found(of_service(live, &folder(&[]), &options));
    let named: Vec<&str> =
        found.0.rows.iter().filter(|row| row.why.contains("is in git")).map(|row| row.what.as_str()).collect();
    assert_eq!(
        named,
        [
            "container `app`: variable `DB_PASSWORD`",
            "container `app`: variable `DATABASE`",
            "container `app`: `command`",
            "container `app`: `healthCheck`",
            "container `app`: log option `splunk-token`",
        ]
    );
    assert!(found.0.rows.iter().all(|row| !row.why.contains("hunter2")), "{:?}", found.0.rows);
}

/// What `init --dockerfile` makes of these.
fn with_dockerfiles(kind: Kind, path: &str, files: &[(&str, &str)]) -> Found {
    let options = Options { name: "shop".to_owned(), region: None, account: None, cluster: None };
    Found(propose_with_dockerfiles(&folder(files), kind, path, &options).unwrap())
}

/// Files, and two lines of the Dockerfile that they get.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);

#[test]
fn a_dockerfile_is_written_for_the_language_of_the_folder_that_has_none() {
    let gemfile = [
        ("Procfile", "web: bin/rails server"),
        ("Gemfile", ""),
        ("package.json", "{}"),
        (".ruby-version", "ruby-3.2.1\n"),
    ];
    let python =
        [("Procfile", "web: gunicorn shop"), ("requirements.txt", "gunicorn\n"), ("runtime.txt", "python-3.11.4")];
    let go = [("Procfile", "web: shop"), ("go.mod", "module example.com/acme/shop/v2\n\ngo 1.24.1\n")];
    let node = [
        ("Procfile", "web: npm start"),
        ("package.json", r#"{"engines": {"node": ">=22 <25"}, "scripts": {"build": "x", "start": "y"}}"#),
        ("yarn.lock", ""),
    ];
    let cases: [Case<'_>; 4] = [
        (&gemfile, "FROM ruby:3.2-slim", "RUN bundle install"),
        (&python, "FROM python:3.11-slim", "RUN pip install --no-cache-dir -r requirements.txt"),
        (&go, "FROM golang:1.24 AS build", "CMD [\"shop\"]"),
        (&node, "FROM node:22-slim", "RUN yarn run build"),
    ];
    for (files, from, step) in cases {
        let found = with_dockerfiles(Kind::Procfile, "Procfile", files);
        let written = |path: &str| found.0.files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
        let text = written("Dockerfile").unwrap_or_else(|| panic!("{:?}", found.paths()));
        let has = |line: &str| text.lines().any(|known| known == line);
        assert!(has(from) && has(step), "{from}: {text}");
        // Nobody is root in it, what it copies holds no secret's file, and its port is the one of the container.
        assert!(text.lines().any(|line| line.starts_with("USER ")), "{text}");
        assert!(written(".dockerignore").unwrap().lines().any(|line| line == ".env"));
        assert_eq!(found.container("web")["portMappings"][0]["containerPort"], 8080);
        assert_eq!(found.fate("`Dockerfile`"), Fate::Decide);
        assert_eq!(found.0.missing, Vec::<String>::new());
    }
}

#[test]
fn a_dockerfile_that_is_there_stays_and_code_alone_is_a_service() {
    let there = [
        ("compose.yaml", "services: { web: { build: . }, api: { build: ./api } }"),
        ("Dockerfile", "FROM scratch\n"),
        ("api/package.json", "{}"),
    ];
    let found = with_dockerfiles(Kind::Compose, "compose.yaml", &there);
    assert!(found.paths().contains(&"api/Dockerfile") && !found.paths().contains(&"Dockerfile"), "{:?}", found.paths());
    assert!(found.paths().contains(&"api/.dockerignore"), "{:?}", found.paths());
    let found =
        with_dockerfiles(Kind::Dockerfile, "Dockerfile", &[("go.mod", "module shop\n"), (".dockerignore", "x\n")]);
    assert!(found.paths().contains(&"Dockerfile") && !found.paths().contains(&".dockerignore"), "{:?}", found.paths());
    assert_eq!(found.0.read, ["go.mod"]);
}

#[test]
fn for_a_language_that_is_not_known_no_dockerfile_is_written() {
    let found = with_dockerfiles(Kind::Procfile, "Procfile", &[("Procfile", "web: mix phx.server"), ("mix.exs", "")]);
    assert_eq!(found.0.missing, ["Dockerfile"]);
    assert!(!found.paths().contains(&"Dockerfile"));
}
