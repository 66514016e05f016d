use crate::loaded::{load, parse};
use fargate_deploy::config::{BuildSecretSource, Config, ImageSource, Lock, OnCancel, OnFailure, Request, When};
use insta::assert_snapshot;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;
use tempfile::TempDir;
use test_support::Random;

pub const GOOD: &str = r#"region: eu-central-1
role: arn:aws:iam::111122223333:role/gengar-deploy
cluster: gengar

images:
  app:
    repository: mentionai/gengar
    context: .
    platform: linux/arm64
    tags: ["{sha}", latest]
    build-args: { NODE_ENV: production, MAJOR: 1.10, SLIM: true }
    build-secrets: { npmrc: { file: .npmrc }, token: { env: NPM_TOKEN } }

release:
  - name: migrate
    service: web
    command: yarn migration:run
    timeout: 15m

services:
  web:
    name: gengar-web
    containers: { app: app }
    task-definition: infra/task-definition.json
    smoke: [{ url: "https://api.example.com/health", status: 200, within: 90s }]
  worker:
    containers: { app: app }
    after: web

environments:
  staging: { cluster: gengar-staging, services: { worker: null } }
  production:
"#;

/// A repository with a Dockerfile and a task definition.
pub fn repository() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("infra")).unwrap();
    fs::create_dir(folder.path().join(".git")).unwrap();
    fs::write(folder.path().join("infra/task-definition.json"), "{}").unwrap();
    fs::write(folder.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    folder
}

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read_with(source: &str, request: &Request, vars: &[(&str, &str)]) -> Result<Config, String> {
    let folder = repository();
    fs::write(folder.path().join("fargate-deploy.yml"), source).unwrap();
    load(request, &env(vars), folder.path()).map_err(|errors| errors.to_string())
}

fn read(source: &str) -> Result<Config, String> {
    read_with(source, &Request::default(), &[])
}

fn in_environment(name: &str) -> Request {
    Request { environment: Some(name.to_owned()), ..Request::default() }
}

#[test]
fn the_whole_document_becomes_a_config() {
    let config = read_with(GOOD, &in_environment("production"), &[]).unwrap();
    assert_eq!(config.environment.as_deref(), Some("production"));
    assert_eq!(config.region.as_deref(), Some("eu-central-1"));
    assert_eq!(
        config.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>(),
        ["arn:aws:iam::111122223333:role/gengar-deploy"]
    );
    let ImageSource::Build(image) = &config.images[0].source else { panic!("not built") };
    assert_eq!((config.images[0].key.as_str(), image.repository.as_str()), ("app", "mentionai/gengar"));
    assert_eq!((image.args["MAJOR"].value(), image.args["SLIM"].value()), ("1.10", "true"), "values stay as written");
    assert_eq!(image.tags, ["{sha}", "latest"]);
    assert!(matches!(&image.secrets[1].source, BuildSecretSource::Env(name) if name == "NPM_TOKEN"));
    assert_eq!(config.release[0].command, ["sh", "-c", "yarn migration:run"]);
    assert_eq!(config.release[0].timeout, Duration::from_secs(900));
    let [web, worker] = config.services.as_slice() else { panic!("two services expected") };
    assert_eq!((web.key.as_str(), web.name.as_str(), web.cluster.as_str()), ("web", "gengar-web", "gengar"));
    assert_eq!(web.smoke[0].within, Duration::from_secs(90));
    assert_eq!((worker.name.as_str(), worker.after.as_slice()), ("worker", ["web".into()].as_slice()));
    assert_eq!(config.lock, Lock::Lease { wait: Duration::from_secs(900) });
    assert_eq!(config.wait, Duration::from_secs(1800));
}

#[test]
fn an_environment_is_laid_over_key_by_key_and_null_takes_a_key_away() {
    let config = read_with(GOOD, &in_environment("staging"), &[]).unwrap();
    assert_eq!(config.services.len(), 1);
    assert_eq!(config.services[0].cluster.as_str(), "gengar-staging");
    assert_eq!(config.services[0].name.as_str(), "gengar-web", "what the environment does not name stays");
}

#[test]
fn among_several_environments_one_must_be_chosen() {
    assert_snapshot!(read(GOOD).unwrap_err(), @r"
    fargate-deploy.yml:31:3: which environment? There are `staging`, `production`
      hint: choose one: `--environment staging`
    ");
    assert_snapshot!(read_with(GOOD, &in_environment("prodution"), &[]).unwrap_err(), @r"
    --environment `prodution`: there is no such environment
      hint: did you mean `production`?
    ");
    let config = read_with(GOOD, &Request::default(), &[("FARGATE_DEPLOY_ENVIRONMENT", "staging")]).unwrap();
    assert_eq!(config.environment.as_deref(), Some("staging"));
}

#[test]
fn the_only_environment_needs_no_flag() {
    let config = read("cluster: a\nservices: { web: }\nenvironments: { production: { cluster: b } }").unwrap();
    assert_eq!(config.environment.as_deref(), Some("production"));
    assert_eq!(config.services[0].cluster.as_str(), "b");
}

#[test]
fn the_short_form_names_the_service_by_its_key_and_leaves_the_container_open() {
    let config = read("cluster: c\nimages: { app: { repository: team/app } }\nservices:\n  web:\n").unwrap();
    assert_eq!(config.services[0].name.as_str(), "web");
    assert_eq!(config.services[0].containers, [(None, "app".into())]);
    let ImageSource::Build(image) = &config.images[0].source else { panic!("not built") };
    assert_eq!(image.tags, ["{sha}"]);
}

#[test]
fn a_role_may_be_a_chain() {
    let config = read(
        "cluster: c\nrole: [\"arn:aws:iam::111122223333:role/a\", \"arn:aws:iam::444455556666:role/path/b\"]\nservices: { web: }",
    )
    .unwrap();
    assert_eq!(config.roles.len(), 2);
    assert_eq!(config.roles[1].as_str(), "arn:aws:iam::444455556666:role/path/b");
}

#[test]
fn a_list_is_the_argv_itself() {
    let config =
        read("cluster: c\nservices: { web: }\nrelease: [{ name: m, command: [rake, 'db:migrate', 1.10] }]").unwrap();
    assert_eq!(config.release[0].command, ["rake", "db:migrate", "1.10"]);
    assert_eq!(config.release[0].service.as_str(), "web", "the only service lends its network");
}

#[test]
fn references_to_the_environment_are_resolved_and_shell_variables_are_left() {
    let source = "cluster: ${env:CLUSTER}\nregion: ${env:REGION:-eu-west-1}\nservices:\n  web: { smoke: [{ url: 'https://a.test/$${x}', status: '${env:STATUS}' }] }\nrelease: [{ name: m, command: 'echo $HOME ${PORT:-80} ${env:WHO} $${env:X}' }]";
    let config =
        read_with(source, &Request::default(), &[("CLUSTER", "c"), ("STATUS", "204"), ("WHO", "me"), ("REGION", "")]);
    let config = config.unwrap();
    assert_eq!(config.services[0].cluster.as_str(), "c");
    assert_eq!(config.region.as_deref(), Some("eu-west-1"), "an empty variable takes the default");
    assert_eq!(
        (config.services[0].smoke[0].status, config.services[0].smoke[0].url.value()),
        (204, "https://a.test/${x}")
    );
    assert_eq!(config.release[0].command[2].value(), "echo $HOME ${PORT:-80} me ${env:X}");
}

#[test]
fn references_that_cannot_be_resolved_are_errors_at_their_place() {
    let source = "cluster: ${env:NOPE}\nregion: ${tf:region}\nrole: ${ssm:/role}\nservices: { web: { name: '${env:A B}' }, w: { name: '${cfn:S.O' } }";
    assert_snapshot!(read(source).unwrap_err(), @r"
    fargate-deploy.yml:1:10: `${env:NOPE}`: the environment variable is not set
      hint: set `NOPE`, or give a default: `${env:NOPE:-default}`
    fargate-deploy.yml:2:9: `${tf:region}`: where are Terraform's outputs?
      hint: say it: `terraform: FILE` (of `terraform output -json`, or a state), or `terraform: s3://BUCKET/KEY`
    fargate-deploy.yml:3:7: `${ssm:/role}`: its value is in AWS, which is not reached without the role
      hint: take it from `${env:NAME}`, or from Terraform's outputs in a local file
    fargate-deploy.yml:4:26: `${env:A B}`: not the name of an environment variable
      hint: write `${env:NAME}` or `${env:NAME:-default}`
    fargate-deploy.yml:4:53: `${cfn:` is not closed
      hint: a reference ends with `}`; write `$${` for a literal `${`
    ");
}

#[test]
fn references_of_an_environment_that_is_not_chosen_are_not_resolved() {
    let source = "cluster: c\nservices: { web: }\nenvironments:\n  a: { region: '${env:UNSET}' }\n  b: {}";
    assert!(read_with(source, &in_environment("b"), &[]).is_ok());
    assert!(read_with(source, &in_environment("a"), &[]).unwrap_err().contains("`${env:UNSET}`"));
}

#[test]
fn unknown_keys_come_all_at_once_with_a_suggestion_also_in_other_environments() {
    let source = "clustr: c\nservices:\n  web:\n    contaners: {}\n    zzz: 1\n";
    assert_snapshot!(read(source).unwrap_err(), @r"
    fargate-deploy.yml:1:1: unknown key `clustr`
      hint: did you mean `cluster`?
    fargate-deploy.yml:4:5: unknown key `contaners`
      hint: did you mean `containers`?
    fargate-deploy.yml:5:5: unknown key `zzz`
      hint: known here: `name`, `cluster`, `containers`, `task-definition`, `after`, `smoke`
    ");
    let source = "cluster: c\nservices: { web: }\nenvironments:\n  a: {}\n  b: { regoin: x }";
    assert_snapshot!(read_with(source, &in_environment("a"), &[]).unwrap_err(), @r"
    fargate-deploy.yml:5:8: unknown key `regoin`
      hint: did you mean `region`?
    ");
}

#[test]
fn a_wrong_type_names_the_key_what_was_expected_and_what_was_found() {
    let cases = [
        "cluster: [a]\n",
        "cluster: 12\n",
        "services: [web]\n",
        "services: { web: { smoke: { url: x } } }\n",
        "services: { web: { smoke: [{ status: 200 }] } }\n",
        "services: { web: { smoke: [{ url: 'https://a', status: many }] } }\n",
        "force-new-deployment: yes\n",
        "lock: leese\n",
        "release: [{ name: m, command: { a: b } }]\n",
        "images: { app: { build-args: { A: [1] } } }\n",
        "environments: [a]\n",
        "- a\n",
        "",
        "cluster: a\ncluster: b\n",
        "cluster: \"a\n",
        "a: *nowhere\n",
    ];
    let messages: Vec<String> = cases.iter().map(|source| read(source).unwrap_err()).collect();
    assert_snapshot!(messages.join("\n"), @r#"
    fargate-deploy.yml:1:10: `cluster`: expected a text, found a list
    fargate-deploy.yml:1:10: `cluster`: expected a text, found the number `12`
      hint: put it in quotes: "12"
    fargate-deploy.yml:1:11: `services`: expected a mapping, found a list
    fargate-deploy.yml:1:27: `smoke`: expected a list, found a mapping
    fargate-deploy.yml:1:28: `smoke`: `url` is missing
    fargate-deploy.yml:1:56: `status`: expected a whole number, found the text `many`
    fargate-deploy.yml:1:23: `force-new-deployment`: expected `true` or `false`, found the text `yes`
    fargate-deploy.yml:1:7: `lock`: `leese` is not a choice
      hint: did you mean `lease`?
    fargate-deploy.yml:1:31: `command`: expected a text (run through `sh -c`) or a list of arguments, found a mapping
    fargate-deploy.yml:1:35: `A`: expected a text, a number or a boolean, found a list
    fargate-deploy.yml:1:15: `environments`: expected a mapping, found a list
    fargate-deploy.yml:1:1: expected a mapping, found a list
      hint: a file starts with keys such as `cluster:` and `services:`
    fargate-deploy.yml:1:1: expected a mapping, found nothing
      hint: a file starts with keys such as `cluster:` and `services:`
    fargate-deploy.yml:2:1: not a valid document: duplicate mapping key: cluster
    fargate-deploy.yml:2:1: not a valid document: invalid indentation in multiline quoted scalar
    fargate-deploy.yml:1:4: not a valid document: alias references unknown anchor
    "#);
}

#[test]
fn what_is_well_formed_but_wrong_is_found_all_at_once() {
    let source = r#"region: eu-centrl
role: [arn:aws:iam::1234:role/x, "arn:aws:iam::111122223333:user/x", gengar-deploy]
wait: 90
lock-timeout: 2d
images:
  app:
    repository: UPPER/case
    context: nowhere
    platform: linux/x86_64
    tags: ["{shaa}", "-a", "{sha}", "{sha}"]
    build-secrets: { npmrc: {} }
  api:
    repository: team/api:v1
    dockerfile: Dockerfile.nope
  api2:
  "a b":
    repository: team/api
release:
  - { name: migrate, service: wbe, command: "" , timeout: 0s }
  - { name: migrate, command: [a, "&&", b] }
services:
  web: { name: "a b", containers: { app: appp }, after: [worker, webb], smoke: [{ url: "ftp://x", status: 999 }] }
  worker: { name: w, containers: {}, after: web, task-definition: nope.json, cluster: "arn:aws:ecs:eu-central-1:111122223333:service/x" }
  other: { name: w, cluster: x }
"#;
    assert_snapshot!(read(source).unwrap_err(), @r"
    fargate-deploy.yml:1:9: region `eu-centrl`: expected a region such as `eu-central-1`
    fargate-deploy.yml:2:8: role `arn:aws:iam::1234:role/x`: an account id has 12 digits, `1234` does not
    fargate-deploy.yml:2:34: role `arn:aws:iam::111122223333:user/x`: expected `arn:aws:iam::ACCOUNT:role/NAME`
    fargate-deploy.yml:2:70: role `gengar-deploy`: expected `arn:aws:iam::ACCOUNT:role/NAME`
    fargate-deploy.yml:3:7: wait `90`: expected a whole number and a unit, such as `90s`, `15m` or `1h`
    fargate-deploy.yml:4:15: lock-timeout `2d`: expected a whole number and a unit, such as `90s`, `15m` or `1h`
    fargate-deploy.yml:7:17: repository: `UPPER/case` is not an image reference: a repository path has lowercase letters, digits and single `.`, `_`, `-` or `/` between them
    fargate-deploy.yml:8:14: context `nowhere`: there is no such folder
    fargate-deploy.yml:9:15: platform `linux/x86_64`: write `linux/amd64`
    fargate-deploy.yml:10:12: tag `{shaa}`: `{shaa}` is not a placeholder; did you mean `sha`?
    fargate-deploy.yml:10:22: tag `-a`: a tag has 1 to 128 letters, digits, `_`, `.` and `-`, and starts with a letter, digit or `_`
    fargate-deploy.yml:10:37: tag `{sha}`: given twice
    fargate-deploy.yml:11:22: build secret `npmrc`: give it `file` or `env`, one of the two
    fargate-deploy.yml:13:17: repository `team/api:v1`: it has a tag or a digest
      hint: tags belong under `tags`
    fargate-deploy.yml:14:17: dockerfile `Dockerfile.nope`: there is no such file
    fargate-deploy.yml:15:3: image `api2`: `repository` is missing
      hint: where is it pushed? An ECR repository such as `team/api2`, or a full registry name
    fargate-deploy.yml:16:3: image key `a b`: 1 to 64 letters, digits, `_` and `-`, starting with a letter or digit
    fargate-deploy.yml:19:31: service `wbe`: there is no such service
      hint: did you mean `web`?
    fargate-deploy.yml:19:45: release command `migrate`: it is empty
    fargate-deploy.yml:19:59: timeout `0s`: it must be at least `1s`
    fargate-deploy.yml:20:13: release command `migrate`: there are two of this name
    fargate-deploy.yml:20:13: release command `migrate`: `service` is missing
      hint: whose network, roles and logs does it take? One of `web`, `worker`, `other`
    fargate-deploy.yml:20:31: release command `migrate`: a list is not run by a shell
      hint: write it as one text, which runs through `sh -c`
    fargate-deploy.yml:22:3: service `web`: no cluster
      hint: name the ECS cluster: `cluster: NAME`, for the whole file or for this service
    fargate-deploy.yml:22:3: `after` goes in a circle: web -> worker -> web
    fargate-deploy.yml:22:16: service `a b`: 1 to 255 letters, digits, `_` and `-`
    fargate-deploy.yml:22:42: image `appp`: there is no such image
      hint: did you mean `app`?
    fargate-deploy.yml:22:66: after `webb`: there is no such service
      hint: did you mean `web`?
    fargate-deploy.yml:22:88: url `ftp://x`: expected `https://...` or `http://...`
    fargate-deploy.yml:22:107: status `999`: an HTTP status is between 100 and 599
    fargate-deploy.yml:23:67: task-definition `nope.json`: there is no such file
    fargate-deploy.yml:23:87: cluster `arn:aws:ecs:eu-central-1:111122223333:service/x`: expected `arn:aws:ecs:REGION:ACCOUNT:cluster/NAME`
    fargate-deploy.yml:24:3: service `other`: there are several images, and `containers` is missing
      hint: say which container gets which image: `containers: { CONTAINER: IMAGE }`
    fargate-deploy.yml:24:3: service `other`: `worker` is the same ECS service
    ");
}

#[test]
fn arns_must_be_of_the_regions_partition_and_region() {
    let source = r#"region: cn-north-1
role: arn:aws:iam::111122223333:role/x
cluster: arn:aws-cn:ecs:cn-northwest-1:111122223333:cluster/x
services:
  web: { name: "arn:aws-cn:ecs:cn-north-1:111122223333:service/other/web" }
"#;
    assert_snapshot!(read(source).unwrap_err(), @r"
    fargate-deploy.yml:2:7: role `arn:aws:iam::111122223333:role/x`: region `cn-north-1` is in partition `aws-cn`, not `aws`
    fargate-deploy.yml:3:10: cluster `arn:aws-cn:ecs:cn-northwest-1:111122223333:cluster/x`: it is in region `cn-northwest-1`, the config in `cn-north-1`
    fargate-deploy.yml:5:16: service `arn:aws-cn:ecs:cn-north-1:111122223333:service/other/web`: it is not in cluster `arn:aws-cn:ecs:cn-northwest-1:111122223333:cluster/x`
    ");
    for (region, partition) in
        [("us-gov-west-1", "aws-us-gov"), ("us-iso-east-1", "aws-iso"), ("eusc-de-east-1", "aws-eusc")]
    {
        let role = format!("arn:{partition}:iam::111122223333:role/x");
        read(&format!("region: {region}\nrole: {role}\ncluster: c\nservices: {{ web: }}")).unwrap();
    }
    assert_snapshot!(read("region: eu-central-1a\ncluster: c\nservices: { web: }").unwrap_err(), @"fargate-deploy.yml:1:9: region `eu-central-1a`: that is an availability zone; its region is `eu-central-1`");
}

#[test]
fn circles_of_after_are_shown() {
    let source = "cluster: c\nservices:\n  a: { after: b }\n  b: { after: [c] }\n  c: { after: b }\n  d: { after: d }";
    assert_snapshot!(read(source).unwrap_err(), @"fargate-deploy.yml:4:3: `after` goes in a circle: b -> c -> b");
}

#[test]
fn two_images_may_not_push_the_same_tag() {
    let source = "cluster: c\nimages:\n  a: { repository: shop }\n  b: { repository: shop }\nservices:\n  web: { containers: { a: a, b: b } }";
    assert_snapshot!(read(source).unwrap_err(), @r"
    fargate-deploy.yml:4:3: image `b`: `shop:{sha}` is also what image `a` pushes
      hint: give them different repositories, or tags such as `b-{sha}`
    ");
}

#[test]
fn flags_win_over_the_file_and_its_environment() {
    let request = Request {
        environment: Some("staging".to_owned()),
        region: Some("eu-west-1".to_owned()),
        roles: vec!["arn:aws:iam::999988887777:role/flag".to_owned()],
        cluster: Some("flag".to_owned()),
        images: vec!["app=ghcr.io/org/app:v1".to_owned()],
        only: vec!["web".to_owned()],
        skip_release_commands: true,
        force_new_deployment: true,
        wait: Some(Duration::from_secs(60)),
        lock: Some(fargate_deploy::config::LockFlag::None),
        ..Request::default()
    };
    let config = read_with(GOOD, &request, &[]).unwrap();
    assert_eq!(config.region.as_deref(), Some("eu-west-1"));
    assert_eq!(config.roles[0].as_str(), "arn:aws:iam::999988887777:role/flag");
    assert_eq!(config.services[0].cluster.as_str(), "flag");
    assert_eq!(config.images[0].source, ImageSource::Existing("ghcr.io/org/app:v1".to_owned()));
    assert_eq!((config.services[0].key.as_str(), config.release.len()), ("web", 0));
    assert_eq!((config.force, config.wait, config.lock), (true, Duration::from_secs(60), Lock::None));
}

#[test]
fn only_leaves_the_other_services_out_with_what_is_theirs_alone() {
    let text = "\
cluster: shop
images: { app: { repository: shop/app }, jobs: { repository: shop/jobs } }
release: [{ name: migrate, service: web, command: x }, { name: requeue, service: worker, command: x }]
services:
  web: { containers: { app: app } }
  worker: { containers: { jobs: jobs }, after: web }
";
    let request = Request { only: vec!["worker".to_owned()], ..Request::default() };
    let config = read_with(text, &request, &[]).unwrap();
    let keys: Vec<_> = config.services.iter().map(|s| s.key.as_str()).collect();
    assert_eq!((keys, config.left_out.services.as_slice()), (vec!["worker"], ["web".into()].as_slice()));
    assert_eq!(config.left_out.commands, ["migrate"]);
    assert_eq!(config.left_out.after, [("worker".into(), "web".into())]);
    assert_eq!(
        config.services[0].after,
        [] as [fargate_deploy_core::names::ServiceKey; 0],
        "who is not part of the release is not waited for"
    );
    assert_eq!(config.images.iter().map(|i| i.key.as_str()).collect::<Vec<_>>(), ["jobs"]);
    assert_eq!(config.release.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["requeue"]);
}

#[test]
fn only_does_not_leave_out_what_has_to_run_before_the_image_that_it_deploys() {
    let text = "\
cluster: shop
images: { app: { repository: shop/app } }
release: [{ name: migrate, service: web, command: x }, { name: reindex, service: web, command: x, when: after }]
services: { web: { containers: { app: app } }, worker: { containers: { app: app } } }
";
    let request = Request { only: vec!["worker".to_owned()], ..Request::default() };
    assert_snapshot!(read_with(text, &request, &[]).unwrap_err(), @r"
    `--only`: release command `migrate` of service `web` would be left out, and has to run before its image is deployed
      hint: name `web` too; or add `--skip-release-commands`, where what it does has been done or is not needed
    ");
    let skips = Request { skip_release_commands: true, ..request };
    assert!(read_with(text, &skips, &[]).is_ok());
    let both = Request { only: vec!["worker".to_owned(), "web".to_owned()], ..Request::default() };
    assert_eq!(read_with(text, &both, &[]).unwrap().release.len(), 2);
}

#[test]
fn what_happens_on_failure_and_on_cancel_can_be_chosen() {
    let text = "\
cluster: shop
images: { app: { repository: shop/app } }
on-failure: rollback-failed
fail-fast: true
on-cancel: rollback
release: [{ name: migrate, command: x }, { name: reindex, command: x, when: after }]
services: { web: {} }
";
    let config = read_with(text, &Request::default(), &[]).unwrap();
    assert_eq!(
        (config.on_failure, config.fail_fast, config.on_cancel),
        (OnFailure::RollbackFailed, true, OnCancel::Rollback)
    );
    assert_eq!((config.release[0].when, config.release[1].when), (When::Before, When::After));
    let bad = text.replace("rollback-failed", "rollback-some");
    let error = read_with(&bad, &Request::default(), &[]).unwrap_err();
    assert!(error.contains(":3:13"), "{error}");
}

#[test]
fn bad_flags_are_named() {
    let with = |request: Request| read_with(GOOD, &Request { environment: Some("production".into()), ..request }, &[]);
    let image = |flag: &str| with(Request { images: vec![flag.to_owned()], ..Request::default() }).unwrap_err();
    let messages = [
        image("apq=ghcr.io/a"),
        image("app=UPPER"),
        with(Request { only: vec!["gengar-web".into()], ..Request::default() }).unwrap_err(),
        with(Request { region: Some("nowhere".into()), ..Request::default() }).unwrap_err(),
        with(Request { service: Some("x".into()), ..Request::default() }).unwrap_err(),
        with(Request { file: Some("other.yml".into()), ..Request::default() }).unwrap_err(),
    ];
    assert_snapshot!(messages.join("\n"), @r"
    --image `apq=ghcr.io/a`: there is no image `apq`
      hint: did you mean `app`?
    --image: `UPPER` is not an image reference: a repository path has lowercase letters, digits and single `.`, `_`, `-` or `/` between them
    --only `gengar-web`: there is no such service
      hint: services go by their key here: `web`
    region `nowhere`: expected a region such as `eu-central-1`
    `--service` is for deploys without a config file, and there is one: `fargate-deploy.yml`
      hint: describe it in the file; `--only KEY` picks services of it
    config `other.yml`: there is no such file
      hint: name another one with `--config`, or leave it out to look for `fargate-deploy.yml`
    ");
    assert!(
        with(Request { images: vec!["ghcr.io/org/app:v1".into()], ..Request::default() }).is_ok(),
        "one image needs no key"
    );
}

fn without_file(request: &Request) -> Result<Config, String> {
    let folder = repository();
    load(request, &BTreeMap::new(), folder.path())
        .map_err(|errors| errors.to_string().replace(&folder.path().display().to_string(), "DIR"))
}

#[test]
fn cluster_service_and_image_are_enough_without_a_file() {
    let request = Request {
        cluster: Some("shop".into()),
        service: Some("web".into()),
        images: vec!["ghcr.io/org/app:v1".into()],
        release_command: Some("rake db:migrate".into()),
        ..Request::default()
    };
    let config = without_file(&request).unwrap();
    assert_eq!(config.file, None);
    assert_eq!(config.images[0].source, ImageSource::Existing("ghcr.io/org/app:v1".to_owned()));
    assert_eq!(config.services[0].containers, [(None, "app".into())]);
    assert_eq!((config.services[0].key.as_str(), config.services[0].cluster.as_str()), ("web", "shop"));
    assert_eq!(config.release[0].command, ["sh", "-c", "rake db:migrate"]);

    let request = Request {
        cluster: Some("shop".into()),
        service: Some("arn:aws:ecs:eu-central-1:111122223333:service/shop/Web".into()),
        context: Some(".".into()),
        container: Some("main".into()),
        ..Request::default()
    };
    let config = without_file(&request).unwrap();
    let ImageSource::Build(image) = &config.images[0].source else { panic!("not built") };
    assert_eq!(image.repository, "web", "the repository is called like the service unless said otherwise");
    assert_eq!(config.services[0].containers, [(Some("main".into()), "app".into())]);
}

#[test]
fn too_little_without_a_file_says_what_is_missing() {
    let base = Request { cluster: Some("shop".into()), service: Some("web".into()), ..Request::default() };
    let errors = [
        without_file(&Request::default()).unwrap_err(),
        without_file(&Request { cluster: None, ..base.clone() }).unwrap_err(),
        without_file(&base).unwrap_err(),
        without_file(&Request { images: vec!["a".into()], context: Some(".".into()), ..base.clone() }).unwrap_err(),
        without_file(&Request { images: vec!["a".into()], repository: Some("r".into()), ..base.clone() }).unwrap_err(),
        without_file(&Request { context: Some("nope".into()), ..base }).unwrap_err(),
    ];
    assert_snapshot!(errors.join("\n"), @r"
    no `fargate-deploy.yml` in `DIR` or above it
      hint: write one, or say what to deploy: `--cluster`, `--service`, and `--image REF` or `--context DIR`
    `--cluster` is missing: without a config file it names the ECS cluster
    `--image REF` or `--context DIR` is missing: what is to be deployed?
    `--image` and `--context` exclude each other
      hint: `--image` deploys an image that exists, `--context` builds one
    `--repository` goes with `--context`: `--image` names its own
    context `nope`: there is no such folder
    ");
}

#[test]
fn the_file_is_found_above_but_not_beyond_the_git_repository() {
    let folder = repository();
    let below = folder.path().join("infra");
    fs::write(folder.path().join("fargate-deploy.yaml"), "cluster: c\nservices: { web: }").unwrap();
    let config = load(&Request::default(), &BTreeMap::new(), &below).unwrap();
    assert_eq!(config.root, folder.path());
    fs::create_dir(below.join(".git")).unwrap();
    assert!(load(&Request::default(), &BTreeMap::new(), &below).is_err(), "another repository's file was taken");
    fs::write(folder.path().join("fargate-deploy.yml"), "").unwrap();
    let error = load(&Request::default(), &BTreeMap::new(), folder.path()).unwrap_err().to_string();
    assert!(error.contains("are both in"), "{error}");
}

#[test]
fn files_that_are_no_config_are_refused() {
    let folder = repository();
    let with = |file: &str| {
        let request = Request { file: Some(file.into()), ..Request::default() };
        load(&request, &BTreeMap::new(), folder.path()).unwrap_err().to_string()
    };
    fs::write(folder.path().join("binary.yml"), [0xff, 0xfe, 0x00]).unwrap();
    fs::write(folder.path().join("huge.yml"), vec![b'#'; 1024 * 1024 + 1]).unwrap();
    assert_snapshot!([with("infra"), with("binary.yml"), with("huge.yml")].join("\n"), @r"
    config `infra`: it is not a file
    config `binary.yml`: it is not UTF-8 text
      hint: save it as UTF-8
    config `huge.yml`: it is larger than 1 MiB
      hint: a config is a page or two: is it the file that was meant?
    ");
}

#[test]
fn nasty_documents_are_errors_and_not_crashes() {
    let deep = "[".repeat(100_000);
    let deep_map = "a: {".repeat(5_000);
    let laughs = format!(
        "a: &a [x,x,x,x,x,x,x,x,x]\n{}",
        (b'b'..=b'i')
            .map(|c| format!("{0}: &{0} [{1}]\n", c as char, vec![format!("*{}", (c - 1) as char); 9].join(",")))
            .collect::<String>()
    );
    let nasty = [
        "\0",
        "\u{feff}",
        "---\n---\n",
        "a: b\n---\nc: d\n",
        "? [a]\n: b\n",
        "<<: *x",
        "<<: {a: 1}\n",
        "&a [*a]",
        "!!binary x",
        "!t {a: b}",
        "services: {? : }",
        "'': {}",
        "services: { '': }",
        "services: { 'a\u{1b}[31m': }",
        "cluster: ${env:",
        "cluster: ${env:}",
        "cluster: '$${'",
        "cluster: '$$$${env:X}'",
        "cluster: ${}",
        "wait: ١٥m",
        "wait: m",
        "wait: 99999h",
        "wait: 999999999999999999999s",
        "wait: é",
        "services: {w: {smoke: [{url: 'http://'}]}}",
        "services: {w: {smoke: [{url: 'http://[', status: 70000}]}}",
        "services: {w: {smoke: [{url: 'http://a', status: -1}]}}",
        "images: {a: {tags: ['{', '}', '{}', '{sha', '']}}",
        "images: {a: {repository: ''}}",
        "role: ''",
        "role: []",
        "role: arn:::::",
        "region: ''",
        "region: é",
        "region: '-'",
        "images: {a: {tags: ['é{sha}é']}}",
        "environments: {'': }",
        "environments: {a: 1}",
        "environments: {a: {services: {web: [1]}}}",
        "release: [null]",
        "release: null\nservices: null",
        ".inf: .nan",
        "cluster: !!str 12",
        "cluster: |\n  a\n  b\n",
        "\t",
        "%YAML 9.9\n---\na",
        "a: 'b\n\n\n",
        "services: {w: {after: w, name: w}}",
        deep.as_str(),
        deep_map.as_str(),
        laughs.as_str(),
    ];
    for source in nasty {
        let result = read(source);
        let shown: String = source.chars().take(60).collect();
        let error = result.expect_err(&format!("{shown:?} was accepted"));
        assert!(!error.contains('\u{1b}'), "{shown:?}: control characters came through: {error:?}");
        assert!(error.len() < 4_000, "{shown:?}: the error is a book of {} bytes", error.len());
    }
}

#[test]
fn no_mutation_of_a_good_document_crashes() {
    const PIECES: [&str; 24] = [
        "{", "}", "[", "]", ":", "-", "\n", "  ", "\"", "'", "&a", "*a", "${env:", "$${", "null", "~", "é", "\u{0}",
        "|", ">", "#", "0", "!!", ", ",
    ];
    let folder = repository();
    for seed in 1..=1_500_u64 {
        let mut random = Random::new(seed);
        let mut document: Vec<char> = GOOD.chars().collect();
        for _ in 0..=random.below(4) {
            let at = random.below(document.len());
            match random.below(4) {
                0 => drop(document.remove(at)),
                1 => {
                    let end = (at + random.below(40)).min(document.len());
                    document.drain(at..end);
                }
                2 => {
                    let end = (at + random.below(60)).min(document.len());
                    let copy = document[at..end].to_vec();
                    let to = random.below(document.len());
                    document.splice(to..to, copy);
                }
                _ => drop(document.splice(at..at, PIECES[random.below(PIECES.len())].chars())),
            }
        }
        let source: String = document.into_iter().collect();
        let outcome = std::panic::catch_unwind(|| {
            let request = in_environment("staging");
            parse(&source, &request, &BTreeMap::new(), folder.path())
        });
        assert!(outcome.is_ok(), "seed {seed} panicked on:\n{source}");
        if let Ok(Err(errors)) = outcome {
            assert!(errors.iter().all(|error| !error.message.is_empty()), "seed {seed}: an error says nothing");
        }
    }
}

#[test]
fn a_remote_context_a_folder_as_dockerfile_and_a_name_that_ecr_refuses_are_said_before_the_build() {
    let source = "cluster: c\nimages:\n  a: { repository: team/a, context: \"https://github.com/acme/shop.git#main\" }\n  b: { repository: team/b, context: \"git@github.com:acme/shop.git\" }\n  c: { repository: team--c, dockerfile: . }\n  d: { repository: d }\n  e: { repository: 111122223333.dkr.ecr.eu-central-1.amazonaws.com/a__b }\n  f: { repository: ghcr.io/acme/a__b }\nservices: {}\n";
    let said = read(source).unwrap_err();
    for expected in [
        "3:37: context `https://github.com/acme/shop.git#main`: a URL is no build context here\n",
        "4:37: context `git@github.com:acme/shop.git`: a URL is no build context here\n",
        "5:20: repository `team--c`: ECR does not take this name\n",
        "5:41: dockerfile `.`: it is a folder\n",
        "6:20: repository `d`: ECR does not take this name\n",
        "7:20: repository `111122223333.dkr.ecr.eu-central-1.amazonaws.com/a__b`: ECR does not take this name\n",
    ] {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
    assert!(!said.contains("ghcr.io"), "{said}");
}

const CLUSTER: &str = "cluster: shop\nimages: { app: { repository: shop/web, context: . } }\nservices: { web: {} }\n";

#[test]
fn containers_of_a_rehearsal_have_their_commands_as_release_commands_do() {
    let containers = r#"rehearse:
  containers:
    db:
      image: postgres:16
      environment: { POSTGRES_PASSWORD: "${env:PASSWORD}", PORT: 5432 }
      ready: pg_isready -U postgres
    queue: { image: "rabbitmq:4", command: [rabbitmq-server, --quiet] }
"#;
    let config =
        read_with(&format!("{CLUSTER}{containers}"), &Request::default(), &[("PASSWORD", "hunter2hunter2")]).unwrap();
    let [db, queue] = &config.rehearse.containers[..] else { panic!("{:?}", config.rehearse) };
    assert_eq!((db.name.as_str(), db.image.as_str()), ("db", "postgres:16"));
    assert_eq!(db.environment["POSTGRES_PASSWORD"].value(), "hunter2hunter2");
    assert_eq!(db.environment["PORT"].value(), "5432");
    let argv = |argv: &[fargate_deploy_core::resolved::Resolved]| fargate_deploy_core::resolved::values(argv).join(" ");
    assert_eq!((argv(&db.ready), argv(&db.command)), ("sh -c pg_isready -U postgres".to_owned(), String::new()));
    assert_eq!(argv(&queue.command), "rabbitmq-server --quiet");
    assert!(!format!("{db:?}").contains("hunter2"), "what came by a reference is shown as it is written");
}

#[test]
fn what_is_wrong_with_a_container_of_a_rehearsal_has_its_place() {
    let read = |container: &str| read(&format!("{CLUSTER}rehearse: {{ containers: {container} }}\n")).unwrap_err();
    assert_snapshot!(read("{ db: { imgae: postgres:16 } }"), @r"
    fargate-deploy.yml:4:31: `db`: `image` is missing
    fargate-deploy.yml:4:33: unknown key `imgae`
      hint: did you mean `image`?
    ");
    for (container, expected) in [
        ("{ 'my db': { image: postgres:16 } }", "fargate-deploy.yml:4:27: container `my db`: "),
        ("{ db: { image: ' ' } }", "fargate-deploy.yml:4:40: container `db`: `image` is empty"),
    ] {
        assert!(read(container).starts_with(expected), "{}", read(container));
    }
}
