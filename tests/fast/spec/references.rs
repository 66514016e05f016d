//! What came from a reference is shown as the reference, and some things are never referred to.

use super::config::repository;
use crate::loaded::load;
use fargate_deploy::config::{BuildSecretSource, Config, ConfigErrors, ImageSource, Request};
use insta::assert_snapshot;
use std::collections::BTreeMap;
use std::fs;

const SECRET: &str = "s3cr3t/of the kind = that is in no name";

fn env() -> BTreeMap<String, String> {
    let all = [
        ("S", SECRET),
        ("NPMRC", "//registry.npmjs.org/:_authToken=npm_0123456789"),
        ("URL", "postgres://app:hunter2@db/app"),
        ("EMPTY", ""),
    ];
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn read_in(environment: Option<&str>, source: &str) -> Result<Config, ConfigErrors> {
    let folder = repository();
    fs::write(folder.path().join("fargate-deploy.yml"), source).unwrap();
    let request = Request { environment: environment.map(str::to_owned), ..Request::default() };
    load(&request, &env(), folder.path())
}

fn read(source: &str) -> Result<Config, ConfigErrors> {
    read_in(None, source)
}

fn refused(source: &str) -> String {
    read(source).unwrap_err().to_string()
}

/// A document that is sound but for the part.
fn with(part: &str) -> String {
    let rest = "cluster: c\nservices: { web: }\n";
    let keys = ["cluster:", "services:"];
    let rest = rest.lines().filter(|line| !keys.iter().any(|key| part.starts_with(key) && line.starts_with(key)));
    format!("{}\n{part}\n", rest.collect::<Vec<_>>().join("\n"))
}

#[test]
fn wherever_a_reference_stands_an_error_shows_the_reference() {
    let parts = [
        "region: '${env:S}'",
        "role: '${env:S}'",
        "role: ['arn:aws:iam::111122223333:role/${env:S}']",
        "cluster: '${env:S}'",
        "cluster: 'arn:aws:ecs:eu-central-1:111122223333:cluster/${env:S}'",
        "snapshot: '${env:S}'",
        "lock: '${env:S}'",
        "lock-timeout: '${env:S}'",
        "wait: '${env:S}'",
        "require-plan: '${env:S}'",
        "on-failure: '${env:S}'",
        "terraform: '${env:S}'\nregion: '${tf:region}'",
        "images: { app: { repository: '${env:S}' } }",
        "images: { app: { repository: 'Team/${env:S}' } }",
        "images: { app: { repository: rr, context: '${env:S}' } }",
        "images: { app: { repository: rr, dockerfile: '${env:S}' } }",
        "images: { app: { repository: rr, platform: '${env:S}' } }",
        "images: { app: { repository: rr, tags: '${env:S}' } }",
        "images: { app: { repository: rr, tags: ['v{${env:S}}'] } }",
        "images: { app: { repository: rr, cache: '${env:S}', reuse: '${env:S}' } }",
        "images: { app: { repository: rr, build-args: '${env:S}' } }",
        "images: { app: { repository: rr, build-secrets: '${env:S}' } }",
        "images: '${env:S}'",
        "release: [{ name: '${env:S}', command: x }]",
        "release: [{ name: m, command: x, service: '${env:S}' }]",
        "release: [{ name: m, command: x, container: '${env:S}' }]",
        "release: [{ name: m, command: x, timeout: '${env:S}', when: '${env:S}' }]",
        "release: [{ name: m, command: x, task-definition: '${env:S}' }]",
        "release: '${env:S}'",
        "services: { web: { name: '${env:S}' } }",
        "services: { web: { cluster: '${env:S}' } }",
        "services: { web: { containers: { app: '${env:S}' } } }",
        "services: { web: { task-definition: '${env:S}' } }",
        "services: { web: { after: '${env:S}' } }",
        "services: { web: { smoke: [{ url: '${env:S}' }] } }",
        "services: { web: { smoke: [{ url: 'https://${env:S}/' }] } }",
        "services: { web: { smoke: [{ url: 'https://a', status: '${env:S}', within: '${env:S}' }] } }",
        "services: '${env:S}'",
        "rehearse: { values: '${env:S}' }",
    ];
    for part in parts {
        let told = refused(&with(part));
        assert!(told.contains("${env:S}"), "{part}: {told}");
        for word in SECRET.split(['/', ' ']).filter(|word| word.len() > 4) {
            assert!(!told.contains(word), "{part}: {told}");
        }
        assert!(!told.contains(&SECRET[..10]), "{part}: {told}");
    }
}

#[test]
fn what_a_rule_says_of_a_value_shows_no_part_of_it() {
    let role = "role: 'arn:${env:P}:iam::${env:A}:role/x'\ncluster: c\nservices: { web: }";
    let folder = repository();
    fs::write(folder.path().join("fargate-deploy.yml"), role).unwrap();
    let read = |pairs: &[(&str, &str)]| {
        let env = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        load(&Request::default(), &env, folder.path()).unwrap_err().to_string()
    };
    let told = read(&[("P", "hunter2"), ("A", "111122223333")]);
    assert!(told.contains("${env:P}") && !told.contains("hunter2"), "{told}");
    let told = read(&[("P", "aws"), ("A", "hunter2")]);
    assert!(told.contains("${env:A}") && !told.contains("hunter2"), "{told}");
}

#[test]
fn values_are_kept_beside_what_was_written_and_only_that_is_printed() {
    let config = read(
        "cluster: c
images:
  app: { repository: rr, build-args: { A: '${env:S}' }, labels: { l: '${env:S}' }, build-secrets: { npmrc: '${env:NPMRC}' } }
release: [{ name: m, command: 'migrate --url ${env:URL}' }, { name: n, command: [migrate, '${env:URL}'] }]
services: { web: { containers: { app: app }, smoke: [{ url: 'https://a.test/?url=${env:URL}', contains: '${env:S}' }] } }",
    )
    .unwrap();
    assert_eq!(config.release[0].command[2].value(), "migrate --url postgres://app:hunter2@db/app");
    assert_eq!(config.release[0].command[2].to_string(), "migrate --url ${env:URL}");
    let ImageSource::Build(build) = &config.images[0].source else { panic!() };
    let BuildSecretSource::Value(npmrc) = &build.secrets[0].source else { panic!() };
    assert!(npmrc.value().ends_with("npm_0123456789"));
    let printed = format!("{:?} {:?} {:?}", config.images, config.services, config.release);
    for secret in [SECRET, "npm_0123456789", "hunter2"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn a_build_secret_is_not_written_into_the_file() {
    assert_snapshot!(refused(&with("images: { app: { repository: rr, build-secrets: { npmrc: hunter2 } } }")), @r"
    fargate-deploy.yml:3:51: build secret `npmrc`: a secret does not stand in the file
      hint: refer to it: `${env:NAME}`, or `{ env: NAME }`, or `{ file: PATH }`
    ");
}

#[test]
fn credentials_of_the_run_itself_are_not_referred_to() {
    let names = [
        "GITHUB_TOKEN",
        "GH_TOKEN",
        "INPUT_GITHUB_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "ACTIONS_RUNTIME_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_SHARED_CREDENTIALS_FILE",
    ];
    for name in names {
        for part in [
            format!("release: [{{ name: m, command: 'echo ${{env:{name}}}' }}]"),
            format!("release: [{{ name: m, command: 'echo ${{env:{name}:-none}}' }}]"),
            format!("release: [{{ name: m, command: 'echo ${{env:NOT_SET:-${{env:{name}}}}}' }}]"),
            format!("images: {{ app: {{ repository: rr, build-secrets: {{ a: '${{env:{name}}}' }} }} }}"),
            format!("images: {{ app: {{ repository: rr, build-secrets: {{ a: {{ env: {name} }} }} }} }}"),
        ] {
            let told = refused(&with(&part));
            assert!(told.contains("credential of the run itself") && told.contains(name), "{part}: {told}");
        }
    }
    for name in ["GITHUB_SHA", "GITHUB_REF_NAME", "AWS_REGION", "RUNNER_OS", "NPM_TOKEN"] {
        let told = read(&with(&format!("release: [{{ name: m, command: '${{env:{name}:-x}}' }}]")));
        assert!(told.is_ok(), "{name}: {told:?}");
    }
}

#[test]
fn a_build_is_given_no_file_with_the_runs_own_credentials() {
    let secret = |file: &str| {
        with(&format!("images: {{ app: {{ repository: rr, build-secrets: {{ a: {{ file: {file} }} }} }} }}"))
    };
    for file in
        ["~/.aws/credentials", "/root/.docker/config.json", "/home/ada/.netrc", "/root/.git-credentials", ".git/config"]
    {
        let told = refused(&secret(file));
        let said = format!("build secret `a`: `{file}` holds credentials of the run itself");
        assert!(told.contains(&said) && told.contains("fargate-deploy.yml:3:"), "{file}: {told}");
    }
    for file in ["/proc/self/environ", "/proc/1/environ", "/proc/999999/environ", "/dev/zero", "/sys/kernel", "."] {
        let told = refused(&secret(file));
        assert!(told.contains(&format!("build secret `a`: `{file}`: it is ")), "{file}: {told}");
    }
    for file in [".npmrc", "/tmp/token"] {
        let told = read(&secret(file));
        assert!(told.is_ok(), "{file}: {told:?}");
    }
}

#[test]
fn a_build_is_made_of_no_files_of_the_kernel_s_and_of_no_credentials() {
    let image = |part: &str| with(&format!("images: {{ app: {{ repository: rr, {part} }} }}"));
    for (part, why) in [
        ("context: /proc/self", "its files are the kernel's"),
        ("context: .git", "in it are credentials of the run itself"),
        ("dockerfile: /proc/self/environ", "dockerfile `/proc/self/environ`: it is not a file"),
        ("dockerfile: .git/config", "dockerfile `.git/config` holds credentials of the run itself"),
    ] {
        let folder = repository();
        fs::create_dir_all(folder.path().join(".git")).unwrap();
        fs::write(folder.path().join(".git/config"), "").unwrap();
        fs::write(folder.path().join("fargate-deploy.yml"), image(part)).unwrap();
        let told = load(&Request::default(), &env(), folder.path()).unwrap_err().to_string();
        assert!(told.contains(why), "{part}: {told}");
    }
}

/// Somebody on call locks from a checkout that is not theirs.
#[test]
fn a_lock_needs_neither_a_dockerfile_nor_a_context_nor_a_task_definition() {
    let folder = repository();
    let source = "cluster: c
images: { app: { repository: rr, context: nowhere, dockerfile: none } }
services: { web: { containers: { app: app }, task-definition: none.json } }
";
    fs::write(folder.path().join("fargate-deploy.yml"), source).unwrap();
    let read = |needs_no_sources| load(&Request { needs_no_sources, ..Request::default() }, &env(), folder.path());
    assert_eq!(read(true).unwrap().services[0].name.as_str(), "web");
    assert!(read(false).is_err());
}

/// Whatever a text of the config is, what came into it from the environment is shown as it is written.
#[test]
fn what_came_from_the_environment_is_hidden_under_every_key_that_takes_a_text() {
    for part in [
        "snapshot: '${env:PLANTED}'",
        "cluster: '${env:PLANTED}'",
        "images: { app: { repository: '${env:PLANTED}' } }",
        "images: { app: { repository: rr, target: '${env:PLANTED}' } }",
        "images: { app: { repository: rr, tags: '${env:PLANTED}' } }",
        "images: { app: { repository: rr, labels: { l: '${env:PLANTED}' } } }",
        "release: [{ name: '${env:PLANTED}', command: x }]",
        "release: [{ name: m, command: x, container: '${env:PLANTED}' }]",
        "services: { web: { name: '${env:PLANTED}' } }",
        "services: { web: { task-definition: '${env:PLANTED}' } }",
        "services: { web: { smoke: [{ url: 'https://a.test/${env:PLANTED}' }] } }",
    ] {
        let folder = repository();
        fs::write(folder.path().join("planted-value"), "{}").unwrap();
        fs::write(folder.path().join("fargate-deploy.yml"), with(part)).unwrap();
        let env = BTreeMap::from([("PLANTED".to_owned(), "planted-value".to_owned())]);
        let config = load(&Request::default(), &env, folder.path()).unwrap();
        assert!(
            config.shown_as.iter().any(|text| text.value().contains("planted-value")),
            "{part}: {:?}",
            config.shown_as
        );
    }
}

#[test]
fn references_one_in_the_other_are_read_in_linear_time_and_not_without_end() {
    let nested = |depth: usize| format!("{}x{}", "${env:A:-".repeat(depth), "}".repeat(depth));
    let command = |text: &str| with(&format!("release: [{{ name: m, command: ['{text}'] }}]"));
    assert_eq!(read(&command(&nested(16))).unwrap().release[0].command[0].value(), "x");
    for text in [nested(18), nested(50_000), "${env:A:-".repeat(50_000)] {
        let told = refused(&command(&text));
        assert!(told.contains("`${env:` has defaults within defaults, more than 16 of them"), "{}", &told[..200]);
        assert!(told.len() < 1000, "{}", told.len());
    }
    // No reference of ours, and no colon to be found.
    let text = "${x".repeat(300_000);
    assert_eq!(read(&command(&text)).unwrap().release[0].command[0].value(), text);
}

#[test]
fn a_default_can_hold_references_and_names_cannot() {
    let value = |written: &str| {
        let config = read(&with(&format!("release: [{{ name: m, command: ['{written}'] }}]")));
        config.map(|config| config.release[0].command[0].value().to_owned()).map_err(|errors| errors.to_string())
    };
    for (written, expected) in [
        ("${env:A:-${env:URL}}/x", "postgres://app:hunter2@db/app/x"),
        ("${env:A:-${env:B:-${env:C:-last}}}", "last"),
        ("${env:EMPTY:-a${env:A:-b}c${env:A:-d}}", "abcd"),
        ("${env:URL:-${env:NOT_SET}}", "postgres://app:hunter2@db/app"),
        ("${env:A:-${HOME}}", "${HOME}"),
        ("${env:A:-$${env:X}}", "${env:X}"),
        ("x${env:A:-}", "x"),
    ] {
        assert_eq!(value(written).as_deref(), Ok(expected), "{written}");
    }
    assert!(value("${env:A:-${env:B}}").unwrap_err().contains("`${env:B}`: the environment variable is not set"));
    assert!(value("${env:A:-${env:B}").unwrap_err().contains("is not closed"));
    for written in ["${env:${env:S}}", "${ssm:/${env:S}/x}", "${cfn:${env:S}.Out}", "${tf:${env:S}}"] {
        assert!(value(written).unwrap_err().contains("a reference stands in the name of another one"), "{written}");
    }
}

#[test]
fn a_tag_is_an_error_where_it_stands() {
    assert_snapshot!(refused("cluster: c\nservices: { web: }\nrequire-plan: !true\n"), @r"
    fargate-deploy.yml:3:15: `!true`: YAML tags mean nothing here
      hint: leave the tag out; a text that begins with `!` is put in quotes
    ");
    for (part, place) in [
        ("on-failure: !leave", "4:13"),
        ("snapshot: !db x", "4:11"),
        ("region: !!str eu-central-1", "4:9"),
        ("release: !list [{ name: m, command: x }]", "4:10"),
        ("release: [{ name: m, command: [!x a] }]", "4:32"),
        ("environments: { a: !b { lock: none } }", "4:20"),
        ("wait: !<tag:yaml.org,2002:str> 1m", "4:7"),
    ] {
        let told = refused(&format!("cluster: c\nservices:\n  web:\n{part}\n"));
        assert!(told.starts_with(&format!("fargate-deploy.yml:{place}: `!")), "{part}: {told}");
    }
    for quoted in ["'!true'", "\"!true\"", "a!b"] {
        let told = read(&with(&format!("release: [{{ name: m, command: {quoted} }}]")));
        assert!(told.is_ok(), "{quoted}: {told:?}");
    }
}

#[test]
fn taking_away_what_is_not_there_is_an_error() {
    let base = "cluster: c\nservices: { web: , worker: { task-definition: infra/task-definition.json } }\nenvironments:\n  a: ";
    let told = |overlay: &str| match read_in(Some("a"), &format!("{base}{overlay}\n  b: {{}}\n")) {
        Ok(config) => config.services.iter().map(|service| service.key.as_str()).collect::<Vec<_>>().join(" "),
        Err(errors) => errors.to_string(),
    };
    assert_eq!(told("{ services: { worker: } }"), "web");
    assert_eq!(told("{ services: { worker: { task-definition: } } }"), "web worker");
    assert_snapshot!(told("{ services: { wroker: null } }"), @r"
    fargate-deploy.yml:4:20: `wroker`: nothing of this name is there to be taken away
      hint: did you mean `worker`?
    ");
    for overlay in [
        "{ services: { job: } }",
        "{ services: { job: { task-definition: } } }",
        "{ images: { app: } }",
        "{ region: ~ }",
        "{ services: { web: { task-definition: null } } }",
    ] {
        assert!(told(overlay).contains("nothing of this name is there"), "{overlay}: {}", told(overlay));
    }
    // Also of an environment that this run does not deploy to.
    let other = read_in(Some("b"), &format!("{base}{{ services: {{ wroker: }} }}\n  b: {{}}\n"));
    assert!(other.unwrap_err().to_string().contains("wroker"));
}

#[test]
fn messages_name_the_file_the_key_and_the_place() {
    assert_snapshot!(refused("cluster: c\nservices: {}\n"), @r"
    fargate-deploy.yml:2:1: `services` is empty: what is to be deployed?
      hint: name at least one: `services: { web: { name: my-service } }`
    ");
    assert!(refused(&with("environmnets: { a: {} }")).contains("did you mean `environments`?"));
    let folder = repository();
    let said = |bytes: &[u8]| {
        fs::write(folder.path().join("nope.yml"), bytes).unwrap();
        let request = Request { file: Some("nope.yml".into()), ..Request::default() };
        load(&request, &env(), folder.path()).unwrap_err().to_string()
    };
    assert!(said(b"\xff\xfec\0l\0").starts_with("config `nope.yml`: it is not UTF-8 text"));
    assert!(said(&[b'a'; 1024 * 1024 + 1]).starts_with("config `nope.yml`: it is larger than 1 MiB"));
}
