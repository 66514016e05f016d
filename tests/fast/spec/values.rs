//! Values from elsewhere: where they are looked for, what becomes of them, and what is said when there are none.

use super::config::repository;
use crate::loaded::load;
use fargate_deploy::config::{Answers, Config, ConfigErrors, Request, draft, load_rehearsal};
use fargate_deploy::ports::Parameter;
use insta::assert_snapshot;
use std::collections::BTreeMap;
use std::fs;
use tempfile::TempDir;

const OUTPUTS: &str = r#"{
  "cluster": {"sensitive": false, "type": "string", "value": "shop"},
  "region": {"sensitive": false, "type": "string", "value": "eu-central-1"},
  "role": {"sensitive": false, "type": "string", "value": "arn:aws:iam::111122223333:role/deploy"},
  "vpc": {"sensitive": false, "type": "dynamic", "value": {"subnet_ids": ["subnet-1"], "names": {"web": "shop-web"}}},
  "password": {"sensitive": true, "type": "string", "value": "hunter2"}
}"#;

fn folder(source: &str) -> TempDir {
    let folder = repository();
    fs::write(folder.path().join("fargate-deploy.yml"), source).unwrap();
    fs::write(folder.path().join("outputs.json"), OUTPUTS).unwrap();
    folder
}

fn env() -> BTreeMap<String, String> {
    BTreeMap::from([("FILE", "outputs.json"), ("NAME", "shop-web")].map(|(k, v)| (k.to_owned(), v.to_owned())))
}

fn read(source: &str) -> Result<Config, ConfigErrors> {
    load(&Request::default(), &env(), folder(source).path())
}

fn refused(source: &str) -> String {
    read(source).unwrap_err().to_string()
}

fn finish(source: &str, answers: &Answers) -> Result<Config, ConfigErrors> {
    draft(&Request::default(), &env(), folder(source).path()).unwrap().finish(answers)
}

fn rehearse(source: &str) -> Result<Config, ConfigErrors> {
    load_rehearsal(&Request::default(), &env(), folder(source).path())
}

#[test]
fn outputs_of_a_local_file_are_taken_by_name_and_by_path() {
    let config = read(
        "terraform: ${env:FILE}\ncluster: ${tf:cluster}\nregion: ${tf:region}\nrole: ['${tf:role}']\nservices: { web: { name: '${tf:vpc.names.web}' } }",
    )
    .unwrap();
    assert_eq!(config.services[0].cluster.as_str(), "shop");
    assert_eq!(config.services[0].name.as_str(), "shop-web");
    assert_eq!(config.region.as_deref(), Some("eu-central-1"));
    assert_eq!(config.roles[0].as_str(), "arn:aws:iam::111122223333:role/deploy");
    assert_eq!(config.terraform_outputs, ["cluster", "region", "role", "vpc"]);
}

#[test]
fn an_environment_may_have_its_own_outputs() {
    let source = "cluster: ${tf:cluster}\nservices: { web: }\nenvironments:\n  a: { terraform: outputs.json }\n  b: { terraform: missing.json }";
    let folder = folder(source);
    let of = |name: &str| {
        let request = Request { environment: Some(name.to_owned()), ..Request::default() };
        load(&request, &env(), folder.path()).map_err(|errors| errors.to_string())
    };
    assert_eq!(of("a").unwrap().services[0].cluster.as_str(), "shop");
    assert_snapshot!(of("b").unwrap_err(), @r"
    fargate-deploy.yml:5:19: terraform `missing.json`: there is no such file
      hint: write it in a step before: `terraform output -json > FILE`; or name the state: `terraform: s3://BUCKET/KEY`
    ");
}

#[test]
fn what_terraform_does_not_have_is_an_error_at_its_place() {
    let source = "terraform: outputs.json
cluster: ${tf:clsuter}
region: ${tf:nothing_like_it}
services:
  web: { name: '${tf:vpc}' }
  a: { name: '${tf:vpc.names.wbe}' }
  b: { name: '${tf:password}' }
  c: { name: '${tf:9}' }
  d: { name: '${tf:vpc..x}' }";
    assert_snapshot!(refused(source), @r"
    fargate-deploy.yml:2:10: `${tf:clsuter}`: there is no output `clsuter`
      hint: did you mean `cluster`?
    fargate-deploy.yml:3:9: `${tf:nothing_like_it}`: there is no output `nothing_like_it`
      hint: known here: `cluster`, `region`, `role`, `vpc`, `password`
    fargate-deploy.yml:5:16: `${tf:vpc}`: expected one value, found a map
      hint: name a member: `${tf:vpc.MEMBER}`, or `${tf:vpc.0}` of a list
    fargate-deploy.yml:6:14: `${tf:vpc.names.wbe}`: output `vpc.names` has no member `wbe`
      hint: did you mean `web`?
    fargate-deploy.yml:7:14: `${tf:password}`: output `password` is sensitive
      hint: a config ends up in plans, logs and task definitions; hand secrets to containers by `secrets` of the task definition
    fargate-deploy.yml:8:14: `${tf:9}`: not the name of a Terraform output
      hint: write `${tf:NAME}`, or `${tf:NAME.MEMBER}` for a part of a list or a map
    fargate-deploy.yml:9:14: `${tf:vpc..x}`: not the name of a Terraform output
      hint: write `${tf:NAME}`, or `${tf:NAME.MEMBER}` for a part of a list or a map
    ");
}

#[test]
fn references_written_wrong_are_told_with_how_they_are_written() {
    let source = "cluster: c
services:
  a: { name: '${cfn:Stack}' }
  b: { name: '${cfn:my stack.Output}' }
  c: { name: '${cfn:S.Out-put}' }
  d: { name: '${ssm:a/b}' }
  e: { name: '${ssm:/a b}' }
  f: { name: '${tf:x' }
  g: { name: '${tf:x:-y}' }";
    assert_snapshot!(refused(source), @r"
    fargate-deploy.yml:3:14: `${cfn:Stack}`: not an output of a stack
      hint: write `${cfn:STACK.OUTPUT}`
    fargate-deploy.yml:4:14: `${cfn:my stack.Output}`: not an output of a stack
      hint: write `${cfn:STACK.OUTPUT}`
    fargate-deploy.yml:5:14: `${cfn:S.Out-put}`: not an output of a stack
      hint: write `${cfn:STACK.OUTPUT}`
    fargate-deploy.yml:6:14: `${ssm:a/b}`: not the name of a parameter
      hint: write `${ssm:/path/to/parameter}`
    fargate-deploy.yml:7:14: `${ssm:/a b}`: not the name of a parameter
      hint: write `${ssm:/path/to/parameter}`
    fargate-deploy.yml:8:14: `${tf:` is not closed
      hint: a reference ends with `}`; write `$${` for a literal `${`
    fargate-deploy.yml:9:14: `${tf:x:-y}`: not the name of a Terraform output
      hint: write `${tf:NAME}`, or `${tf:NAME.MEMBER}` for a part of a list or a map
    ");
}

#[test]
fn without_a_place_for_outputs_it_is_asked_for() {
    assert_snapshot!(refused("cluster: ${tf:cluster}\nservices: { web: }"), @r"
    fargate-deploy.yml:1:10: `${tf:cluster}`: where are Terraform's outputs?
      hint: say it: `terraform: FILE` (of `terraform output -json`, or a state), or `terraform: s3://BUCKET/KEY`
    ");
    assert_snapshot!(refused("terraform: s3://Bucket/key\ncluster: ${tf:cluster}\nservices: { web: }"), @r#"
    fargate-deploy.yml:1:12: terraform `s3://Bucket/key`: not an object in S3
      hint: write `s3://BUCKET/KEY`, as the `backend "s3"` block names them
    "#);
    assert_snapshot!(refused("terraform: ${ssm:/where}\ncluster: ${tf:cluster}\nservices: { web: }"), @r"
    fargate-deploy.yml:1:12: `${ssm:/where}`: `terraform` can refer to `${env:NAME}` only
    ");
}

#[test]
fn region_and_role_cannot_come_from_where_they_lead_to() {
    let source = "region: ${ssm:/region}
role: ['arn:aws:iam::111122223333:role/a', '${cfn:Base.Role}']
cluster: c
services: { web: }";
    assert_snapshot!(refused(source), @r"
    fargate-deploy.yml:1:9: `${ssm:/region}`: its value is in AWS, which is not reached without the region
      hint: take it from `${env:NAME}`, or from Terraform's outputs in a local file
    fargate-deploy.yml:2:44: `${cfn:Base.Role}`: its value is in AWS, which is not reached without the role
      hint: take it from `${env:NAME}`, or from Terraform's outputs in a local file
    ");
    let of_state = "terraform: s3://states/shop\nregion: ${tf:region}\ncluster: c\nservices: { web: }";
    assert!(
        refused(of_state).contains("2:9: `${tf:region}`: its value is in AWS, which is not reached without the region")
    );
    let by_flag = Request { region: Some("eu-west-1".to_owned()), ..Request::default() };
    let needs = draft(&by_flag, &env(), folder(of_state).path()).unwrap().needs().unwrap();
    assert_eq!(needs.region.as_deref(), Some("eu-west-1"));
}

#[test]
fn everything_that_can_be_found_without_aws_is_found_before_it_is_asked() {
    let source = "cluster: ${ssm:/cluster}\nregion: ${env:NOPE}\nsevices: { web: }";
    assert_snapshot!(draft(&Request::default(), &env(), folder(source).path()).unwrap_err().to_string(), @r"
    fargate-deploy.yml:2:9: `${env:NOPE}`: the environment variable is not set
      hint: set `NOPE`, or give a default: `${env:NOPE:-default}`
    fargate-deploy.yml:3:1: unknown key `sevices`
      hint: did you mean `services`?
    ");
    let bad_role = "cluster: ${ssm:/cluster}\nrole: deploy\nservices: { web: }";
    let error = draft(&Request::default(), &env(), folder(bad_role).path()).unwrap_err().to_string();
    assert!(error.starts_with("fargate-deploy.yml:2:7: role `deploy`"), "{error}");
}

const REMOTE: &str = "terraform: s3://states/env:/prod/shop.tfstate
region: eu-central-1
role: arn:aws:iam::111122223333:role/deploy
cluster: ${cfn:Base.Cluster}
services:
  web: { name: '${ssm:/shop/web}' }
  api: { name: 'api-${cfn:Base.Suffix}' }
  job: { name: '${tf:job.name}' }";

#[test]
fn what_is_in_aws_is_gathered_with_who_asks_for_it_and_where() {
    let folder = folder(REMOTE);
    let needs = draft(&Request::default(), &env(), folder.path()).unwrap().needs().unwrap();
    assert_eq!(needs.region.as_deref(), Some("eu-central-1"));
    assert_eq!(needs.roles[0].as_str(), "arn:aws:iam::111122223333:role/deploy");
    let (bucket, key, requester) = needs.terraform.unwrap();
    assert_eq!((bucket.as_str(), key.as_str()), ("states", "env:/prod/shop.tfstate"));
    assert_eq!(requester.written, "${tf:job.name}");
    assert_eq!(needs.stacks.keys().collect::<Vec<_>>(), ["Base"]);
    let place = needs.parameters["/shop/web"].place.clone().unwrap();
    assert_eq!((place.line, place.column), (6, 16));
}

#[test]
fn a_config_without_references_to_aws_needs_nothing_of_it() {
    let folder = folder("terraform: outputs.json\ncluster: ${tf:cluster}\nservices: { web: }");
    assert_eq!(draft(&Request::default(), &env(), folder.path()).unwrap().needs(), None);
}

fn answers() -> Answers {
    let outputs = [("Cluster", "shop"), ("Suffix", "v2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    Answers {
        terraform: Some(Some(br#"{"version": 4, "outputs": {"job": {"value": {"name": "nightly"}}}}"#.to_vec())),
        stacks: BTreeMap::from([("Base".to_owned(), Some(BTreeMap::from(outputs)))]),
        parameters: BTreeMap::from([("/shop/web".to_owned(), Some(Parameter::Plain("shop-web".to_owned())))]),
    }
}

#[test]
fn the_answers_of_aws_become_values() {
    let config = finish(REMOTE, &answers()).unwrap();
    let names: Vec<_> = config.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["shop-web", "api-v2", "nightly"]);
    assert_eq!(config.services[0].cluster.as_str(), "shop");
}

#[test]
fn what_aws_does_not_have_is_an_error_at_its_place() {
    let mut without = answers();
    without.stacks =
        BTreeMap::from([("Base".to_owned(), Some(BTreeMap::from([("Clster".to_owned(), String::new())])))]);
    without.parameters.insert("/shop/web".to_owned(), Some(Parameter::Secure));
    without.terraform = Some(None);
    assert_snapshot!(finish(REMOTE, &without).unwrap_err().to_string(), @r"
    fargate-deploy.yml:1:12: terraform `s3://states/env:/prod/shop.tfstate`: there is no such object
    fargate-deploy.yml:4:10: `${cfn:Base.Cluster}`: stack `Base` has no output `Cluster`
      hint: did you mean `Clster`?
    fargate-deploy.yml:6:16: `${ssm:/shop/web}`: the parameter is a SecureString: secret values are never read
      hint: a config ends up in plans, logs and task definitions; hand it to the container instead: `secrets: [{ name: NAME, valueFrom: PARAMETER }]` in the task definition
    fargate-deploy.yml:7:16: `${cfn:Base.Suffix}`: stack `Base` has no output `Suffix`
      hint: known here: `Clster`
    ");
    without.stacks.insert("Base".to_owned(), None);
    without.parameters.insert("/shop/web".to_owned(), None);
    without.terraform = Some(Some(b"<html>".to_vec()));
    assert_snapshot!(finish(REMOTE, &without).unwrap_err().to_string(), @r"
    fargate-deploy.yml:1:12: terraform `s3://states/env:/prod/shop.tfstate`: not JSON: expected value, line 1 column 1
    fargate-deploy.yml:4:10: `${cfn:Base.Cluster}`: there is no stack `Base` in this account and region
      hint: `aws cloudformation list-stacks` shows what there is
    fargate-deploy.yml:6:16: `${ssm:/shop/web}`: there is no such parameter in this account and region
      hint: `aws ssm describe-parameters` shows what there is
    fargate-deploy.yml:7:16: `${cfn:Base.Suffix}`: there is no stack `Base` in this account and region
      hint: `aws cloudformation list-stacks` shows what there is
    ");
}

#[test]
fn a_value_of_the_wrong_kind_is_told_as_the_reference_that_it_came_from() {
    let mut wrong = answers();
    wrong.parameters.insert("/shop/web".to_owned(), Some(Parameter::Plain("shop web".to_owned())));
    let error = finish(REMOTE, &wrong).unwrap_err().to_string();
    assert!(error.starts_with("fargate-deploy.yml:6:16: service `${ssm:/"), "{error}");
    assert!(!error.contains("shop web"), "{error}");
}

#[test]
fn what_a_value_holds_is_not_read_as_a_reference_again() {
    let mut nested = answers();
    nested.parameters.insert("/shop/web".to_owned(), Some(Parameter::Plain("${env:FILE}".to_owned())));
    let error = finish(REMOTE, &nested).unwrap_err().to_string();
    assert!(error.contains("service `${ssm:/shop/web}`") && !error.contains("outputs.json"), "{error}");
}

const REHEARSED: &str = "rehearse:
  terraform: { job.name: nightly }
  stacks: { Base: { Cluster: shop, Suffix: 2 } }
  parameters: { /shop/web: '${env:NAME}' }
";

#[test]
fn a_rehearsal_takes_its_values_from_the_config_and_asks_nobody() {
    let config = rehearse(&format!("{REMOTE}\n{REHEARSED}")).unwrap();
    let names: Vec<_> = config.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["shop-web", "api-2", "nightly"]);
    assert_eq!(config.rehearse.terraform_at.as_deref(), Some("s3://states/env:/prod/shop.tfstate"));
    assert_eq!(config.rehearse.stacks["Base"]["Cluster"], "shop");
}

#[test]
fn a_rehearsal_without_a_value_says_where_to_give_it() {
    assert_snapshot!(rehearse(REMOTE).unwrap_err().to_string(), @r"
    fargate-deploy.yml:4:10: `${cfn:Base.Cluster}`: a rehearsal asks nobody for its value
      hint: give it one: `rehearse: { stacks: { STACK: { OUTPUT: VALUE } } }`
    fargate-deploy.yml:6:16: `${ssm:/shop/web}`: a rehearsal asks nobody for its value
      hint: give it one: `rehearse: { parameters: { NAME: VALUE } }`
    fargate-deploy.yml:7:16: `${cfn:Base.Suffix}`: a rehearsal asks nobody for its value
      hint: give it one: `rehearse: { stacks: { STACK: { OUTPUT: VALUE } } }`
    fargate-deploy.yml:8:16: `${tf:job.name}`: a rehearsal asks nobody for its value
      hint: give it one: `rehearse: { terraform: { NAME: VALUE } }`
    ");
}

#[test]
fn a_rehearsal_reads_outputs_that_are_on_this_machine() {
    let source = "terraform: outputs.json\ncluster: ${tf:cluster}\nservices: { web: { name: '${tf:later}' } }\nrehearse: { terraform: { later: web } }";
    let config = rehearse(source).unwrap();
    assert_eq!((config.services[0].cluster.as_str(), config.services[0].name.as_str()), ("shop", "web"));
}

#[test]
fn the_source_of_a_promotion_is_another_environment_of_the_file() {
    let source = "cluster: c\nservices: { web: }\nenvironments: { staging: , production: }";
    let from = |from: &str, to: &str| {
        let request = Request {
            environment: Some(to.to_owned()),
            from: Some(from.to_owned()),
            region: Some("eu-west-1".to_owned()),
            ..Request::default()
        };
        let read = load(&request, &env(), folder(source).path());
        (request, read.map_err(|errors| errors.to_string()))
    };
    let (request, read) = from("staging", "production");
    assert_eq!(read.unwrap().environment.as_deref(), Some("production"));
    let of_source = load(&request.source(), &env(), folder(source).path()).unwrap();
    assert_eq!((of_source.environment.as_deref(), of_source.region), (Some("staging"), None));
    // Neither a context nor a task definition is there, and none is needed.
    let source = "cluster: c
images: { app: { repository: rr, context: nowhere } }
services:
  web: { containers: { app: app } }
  worker: { containers: { app: app } }
environments: { staging: { services: { web: { task-definition: none.json } } }, production: }";
    let request = Request {
        environment: Some("production".to_owned()),
        from: Some("staging".to_owned()),
        only: vec!["web".to_owned()],
        ..Request::default()
    };
    assert!(load(&request, &env(), folder(source).path()).is_ok());
    let of_source = load(&request.source(), &env(), folder(source).path()).unwrap();
    let read: Vec<_> = of_source.services.iter().map(|service| service.key.as_str()).collect();
    assert_eq!(read, ["web"], "what is not deployed here is not looked at there");
    assert_snapshot!(from("stagin", "production").1.unwrap_err(), @r"
    --from `stagin`: there is no such environment
      hint: did you mean `staging`?
    ");
    assert_snapshot!(from("production", "production").1.unwrap_err(), @r"
    --from `production`: that is the environment that is deployed to
      hint: choose the other one with `--environment`
    ");
    let request = Request { from: Some("staging".to_owned()), ..Request::default() };
    let without = load(&request, &env(), folder("cluster: c\nservices: { web: }").path()).unwrap_err();
    assert_eq!(without.to_string(), "--from `staging`: the config has no `environments`");
}

#[test]
fn a_builder_is_an_endpoint_alone_or_with_files_that_are_there() {
    let service = "cluster: c\nservices: { web: }\n";
    let config = read(&format!("{service}builder: tcp://buildkit.internal:1234")).unwrap();
    assert_eq!(config.builder.unwrap().endpoint, "tcp://buildkit.internal:1234");
    let folder = folder(&format!(
        "{service}builder: {{ endpoint: 'tcp://b:1234', ca: outputs.json, cert: outputs.json, key: outputs.json, server-name: b.test }}"
    ));
    let builder = load(&Request::default(), &env(), folder.path()).unwrap().builder.unwrap();
    assert_eq!(builder.ca, Some(folder.path().join("outputs.json")));
    assert_eq!(builder.server_name.as_deref(), Some("b.test"));
    for (written, said) in [
        (
            "buildkit:1234",
            "3:10: builder `buildkit:1234`: expected tcp://HOST:PORT, unix://PATH or docker-container://NAME",
        ),
        ("{ endpoint: 'tcp://b' }", "3:22: builder `tcp://b`: expected tcp://HOST:PORT"),
        ("{ endpoint: 'tcp://b:1', ca: missing.pem }", "builder ca `missing.pem`: there is no such file"),
        ("{ endpoint: 'tcp://b:1', cert: outputs.json, key: outputs.json }", "`ca` is missing"),
        ("{ endpoint: 'tcp://b:1', ca: outputs.json, key: outputs.json }", "`cert` and `key` belong together"),
        ("{ endpoint: 'unix:///b', ca: outputs.json }", "certificates are for tcp:// only"),
        ("{ endpont: 'unix:///b' }", "did you mean `endpoint`"),
        ("[tcp://b:1]", "`tcp://HOST:PORT`, or a mapping with `endpoint`"),
    ] {
        let all = refused(&format!("{service}builder: {written}"));
        assert!(all.contains(said), "{written}: {all}");
    }
}
