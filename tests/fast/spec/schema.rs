//! The published JSON Schema and the parser come from the same types; here they are held against each other.

use super::config::{GOOD, repository};
use crate::loaded::parse;
use fargate_deploy::config::{Request, schema};
use serde_json::Value;
use std::path::Path;

/// `UPDATE=1 cargo test --test fast spec::schema` writes it.
#[test]
fn the_published_schema_is_what_the_parser_takes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fargate-deploy.schema.json");
    let current = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let is_current = std::fs::read_to_string(path).unwrap() == current;
    assert!(is_current, "it is not: run `UPDATE=1 cargo test --test fast spec::schema`");
}

fn as_json(source: &str) -> Value {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(source, options).unwrap_or_else(|error| panic!("{source}: {error}"))
}

fn schema_takes(source: &str) -> Result<(), String> {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    validator.validate(&as_json(source)).map_err(|error| format!("{} at {}", error, error.instance_path()))
}

fn parser_takes(source: &str) -> Result<(), String> {
    let folder = repository();
    let values = [
        ("A", "eu-central-1"),
        ("B", "true"),
        ("C", "leave"),
        ("F", "leave"),
        ("K", "off"),
        ("L", "none"),
        ("N", "204"),
        ("R", "never"),
        ("T", "2m"),
        ("W", "after"),
    ];
    let env = values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let request = Request { environment: Some("production".to_owned()), ..Request::default() };
    parse(source, &request, &env, folder.path()).map(|_| ()).map_err(|errors| errors.to_string())
}

/// A whole document around the part in question.
fn with(part: &str) -> String {
    let mut document = String::new();
    for (key, default) in [
        ("cluster", "cluster: c"),
        ("images", "images: { app: { repository: team/app } }"),
        ("services", "services: { web: { containers: { app: app } } }"),
    ] {
        if !part.starts_with(&format!("{key}:")) {
            document.push_str(default);
            document.push('\n');
        }
    }
    format!("{document}{part}\n")
}

#[test]
fn schema_and_parser_take_the_same_good_documents() {
    let parts = [
        "region: us-gov-west-1",
        "region: ${env:A}",
        "role: arn:aws-us-gov:iam::111122223333:role/path/name",
        "role: [\"arn:aws:iam::111122223333:role/a\", \"arn:aws:iam::111122223333:role/b\"]",
        "cluster: arn:aws:ecs:eu-central-1:111122223333:cluster/c",
        "lock: none",
        "lock: lease\nlock-timeout: 1h",
        "wait: 90s",
        "force-new-deployment: true",
        "require-plan: true",
        "release: [{ name: m, command: rake }, { name: n, command: [rake, 1, true], timeout: 2m, container: app }]",
        "services: { web: , worker: { after: [web], containers: {} } }",
        "services: { web: { name: arn:aws:ecs:eu-central-1:111122223333:service/c/web } }",
        "services: { web: { smoke: [{ url: 'https://a.test', status: 204, within: 5m, contains: ok }] } }",
        "images: { app: { repository: ghcr.io/org/app, tags: latest, cache: off, reuse: never, labels: { a: 1.0 } } }",
        "images: { app: { repository: shop, tags: ['v{run}', 7, '{env}-{short-sha}'], platform: linux/amd64 } }",
        "images: { app: { repository: shop, build-secrets: { npm: { env: NPM } }, create-repository: false } }",
        "environments: { production: { services: { web: { name: other } }, lock: none }, staging: }",
        "rehearse: { values: { 'arn:aws:ssm:eu-central-1:111122223333:parameter/x': 1 } }",
        "rehearse: { containers: { db: { image: postgres:16, command: [a], environment: { A: 1 }, ready: pg_isready } } }",
        "region:",
        "force-new-deployment: ${env:B}\nfail-fast: '${env:B}'",
        "lock: ${env:L}\non-failure: '${env:F}'\non-cancel: ${env:C}",
        "release: [{ name: m, command: rake, when: '${env:W}', timeout: '${env:T}' }]",
        "services: { web: { smoke: [{ url: 'https://a.test', status: '${env:N}' }] } }",
        "services: { web: { containers: , after: } }",
        "images: { app: { repository: shop, build-args: , cache: '${env:K}', reuse: '${env:R}', create-repository: '${env:B}' } }",
        "wait: 1m\nfail-fast: true\nlock: none\nenvironments: { production: { wait: , fail-fast: , lock: } }",
        "images: { app: { repository: shop, target: x, build-args: { A: 1 } } }
environments: { production: { images: { app: { target: , build-args: { A: } } } } }",
        "services: { web: { containers: { app: app }, smoke: [{ url: 'https://a.test' }] } }
environments: { production: { services: { web: { containers: { app: app }, smoke: } } } }",
        "environments: { production: { images: { app: { context: . } } } }",
    ];
    let mut refused = vec![];
    for source in parts.iter().map(|part| with(part)).chain([GOOD.to_owned()]) {
        refused.extend(schema_takes(&source).err().map(|why| format!("the schema refuses:\n{source}{why}")));
        refused.extend(parser_takes(&source).err().map(|why| format!("the parser refuses:\n{source}{why}")));
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn schema_and_parser_refuse_the_same_bad_documents() {
    let parts = [
        "regoin: eu-central-1",
        "region: eu-centrl",
        "region: eu-central-1a",
        "region: [eu-central-1]",
        "region: 1",
        "role: deploy",
        "role: [arn:aws:iam::1:role/a]",
        "role: arn:gcp:iam::111122223333:role/a",
        "cluster: a b",
        "cluster: arn:aws:ecs:eu-central-1:111122223333:service/c",
        "lock: maybe",
        "lock-timeout: 15",
        "wait: 2d",
        "wait: 1h30m",
        "force-new-deployment: 1",
        "force-new-deployment: 'true'",
        "release: { name: m, command: x }",
        "release: [{ command: x }]",
        "release: [{ name: m }]",
        "release: [{ name: m, command: '' }]",
        "release: [{ name: m, command: [] }]",
        "release: [{ name: 'a b', command: x }]",
        "release: [{ name: m, command: { a: b } }]",
        "services: [web]",
        "services: { web: { contaners: {} } }",
        "services: { web: { containers: [app] } }",
        "services: { web: { name: 'a b' } }",
        "services: { web: { smoke: [{ status: 200 }] } }",
        "services: { web: { smoke: [{ url: 'ftp://a' }] } }",
        "services: { web: { smoke: [{ url: 'https://a', status: 99 }] } }",
        "services: { web: { smoke: [{ url: 'https://a', status: '200' }] } }",
        "services: { web: { after: { a: b } } }",
        "services: { 'a b': }",
        "images: { 'a b': { repository: shop } }",
        "images: { app: { repository: shop, platform: windows/amd64 } }",
        "images: { app: { repository: shop, tags: ['{shaa}'] } }",
        "images: { app: { repository: shop, tags: ['-a'] } }",
        "images: { app: { repository: shop, tags: [] } }",
        "images: { app: { repository: shop, cache: gha } }",
        "images: { app: { repository: shop, reuse: always } }",
        "images: { app: { repository: shop, build-args: [A=1] } }",
        "images: { app: { repository: shop, build-args: { A: [1] } } }",
        "images: { app: { repository: shop, build-secrets: { a: {} } } }",
        "images: { app: { repository: shop, build-secrets: { a: { env: A, file: B } } } }",
        "environments: [production]",
        "environments: { production: { regoin: x } }",
        "environments: { production: , 'a b': }",
        "environments: { production: { environments: {} } }",
        "environments: { production: { release: [{ name: m, command: x, timeout: 1 }] } }",
        "environments: { production: { images: { app: { repsitory: } } } }",
        "rehearse: { value: {} }",
        "rehearse: { containers: { db: { command: a } } }",
        "rehearse: { containers: { 'my db': { image: a } } }",
    ];
    let mut taken = vec![];
    for part in parts {
        let source = with(part);
        taken.extend(schema_takes(&source).is_ok().then(|| format!("the schema takes: {part}")));
        taken.extend(parser_takes(&source).is_ok().then(|| format!("the parser takes: {part}")));
    }
    assert!(taken.is_empty(), "{}", taken.join("\n"));
}
