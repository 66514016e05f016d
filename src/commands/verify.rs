//! `verify`: everything that can be seen before a deploy, each thing with what was found. Nothing is changed, no secret is
//! read: with `--offline` of the files alone, else what AWS shows to the identity of this run too.

use crate::adapters::aws::AwsClient;
use crate::adapters::builder::EngineBuilder;
use crate::commands::bad_config;
use crate::commands::configure::configure;
use crate::commands::deploy::open_session;
use crate::config::{self, Answers, Config, ImageSource, Lock, Request};
use crate::context::RunContext;
use crate::definition_file::definition_in;
use crate::error::call_failed;
use crate::events::Sink;
use crate::ports::{Aws, Build, Builder as _, CallError, CallErrorKind, EcrAddress};
use fargate_deploy_core::image::ImageRef;
use fargate_deploy_core::names::{ServiceRef, short};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::task_definition::TaskDefinition;
use fargate_deploy_core::verify::{Check, Files, Verdict, live, of_files};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Looks at everything, and goes on after what failed.
///
/// # Errors
/// `config`: the config itself cannot be read. What else is wrong is in the checks.
pub async fn verify(
    request: &Request,
    is_offline: bool,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: &Arc<dyn Sink + Send + Sync>,
    interrupt: impl Future<Output = ()>,
) -> Result<Vec<Check>, Failure> {
    let config = match is_offline {
        true => {
            let draft = config::draft(request, env, directory).map_err(|e| bad_config(&e))?;
            if draft.needs().is_some() {
                let why = "the config takes values from AWS: only its shape was checked";
                return Ok(vec![Check::ok("config"), Check::skipped("everything else", why)]);
            }
            draft.finish(&Answers::default()).map_err(|e| bad_config(&e))?
        }
        false => configure(request, env, directory, Arc::clone(sink), interrupt).await?,
    };
    let files = async {
        let (services, commands, contexts) =
            futures_util::join!(definitions(&config), own(&config), contexts(&config, env));
        of_files(Files { config: &config, services: &services, commands: &commands, contexts: &contexts })
    };
    let (mut checks, of_aws) = futures_util::join!(files, async {
        match is_offline {
            true => vec![],
            false => on_aws(&config, env, sink).await,
        }
    });
    checks.extend(of_aws);
    Ok(checks)
}

type Read<K, T> = Vec<(K, Result<T, String>)>;

async fn definitions(config: &Config) -> Read<fargate_deploy_core::names::ServiceKey, TaskDefinition> {
    let files =
        config.services.iter().filter_map(|service| Some((service.key.clone(), service.task_definition.as_ref()?)));
    join_all(files.map(async |(key, file)| (key, definition_in(file).await))).await
}

async fn own(config: &Config) -> Read<String, TaskDefinition> {
    let files =
        config.release.iter().filter_map(|command| Some((command.name.clone(), command.task_definition.as_ref()?)));
    join_all(files.map(async |(name, file)| (name, definition_in(file).await))).await
}

async fn contexts(
    config: &Config,
    env: &BTreeMap<String, String>,
) -> Read<fargate_deploy_core::names::ImageKey, fargate_deploy_core::plan::offline::ContextFacts> {
    let builder = EngineBuilder::new(env.clone());
    let builds = config.images.iter().filter_map(|image| match &image.source {
        ImageSource::Build(build) => Some((image.key.clone(), Build::of(build, build.platform.clone()))),
        ImageSource::Existing(_) => None,
    });
    join_all(builds.map(async |(key, build)| (key, builder.context(&build).await.map_err(|e| e.message)))).await
}

async fn on_aws(config: &Config, env: &BTreeMap<String, String>, sink: &Arc<dyn Sink + Send + Sync>) -> Vec<Check> {
    let context = RunContext::read(env, &config.root);
    let opened = open_session(config.region.clone(), config.roles.clone(), &context, env, Arc::clone(sink)).await;
    let client = match opened {
        Ok(session) => AwsClient::new(session),
        Err(failure) => return without_identity(&failure),
    };
    let aws = client.ports();
    if let Err(error) = aws.identity.caller().await {
        return without_identity(&call_failed("asking who we are", &error));
    }
    let mut checks = vec![Check::ok(format!("identity in {}", aws.identity.region()))];
    let (services, repositories, secrets, lease) = futures_util::join!(
        services(config, &aws),
        repositories(config, &aws),
        secrets(config, &aws),
        lease(config, &aws)
    );
    checks.extend(services.into_iter().chain(repositories).chain(secrets).chain(lease));
    checks
}

fn without_identity(failure: &Failure) -> Vec<Check> {
    let mut failed = Check::failed("identity", failure.what.clone(), failure.next.as_deref());
    if let Verdict::Failed { is_permission, .. } = &mut failed.verdict {
        *is_permission = true;
    }
    vec![failed, Check::skipped("everything on AWS", "there is no identity to ask as")]
}

/// What a call that failed means for the thing that it was to look at.
fn unseen(what: String, error: &CallError) -> Check {
    match error.kind {
        CallErrorKind::Denied => Check::skipped(what, format!("the role lacks `{}`", error.action)),
        _ => Check::skipped(what, call_failed("asking AWS", error).what),
    }
}

/// A permission that a deploy cannot do without.
fn lacking(what: String, error: &CallError) -> Check {
    if error.kind != CallErrorKind::Denied {
        return unseen(what, error);
    }
    let failure = call_failed("asking AWS", error);
    let mut check = Check::failed(what, format!("the role lacks `{}`", error.action), failure.next.as_deref());
    if let Verdict::Failed { is_permission, .. } = &mut check.verdict {
        *is_permission = true;
    }
    check
}

async fn services(config: &Config, aws: &Aws<'_>) -> Vec<Check> {
    let names: Vec<_> =
        config.services.iter().map(|s| ServiceRef { cluster: s.cluster.clone(), name: s.name.clone() }).collect();
    let what = |key: &dyn std::fmt::Display| format!("service `{key}` on AWS");
    let found = match aws.services.services(&names).await {
        Ok(found) => found,
        Err(error) if error.kind == CallErrorKind::NotFound => {
            let fix = "check `cluster` and `region`; `aws ecs list-clusters` shows what there is";
            let why = format!("it does not exist in {}", aws.identity.region());
            return vec![Check::failed(format!("cluster `{}`", short(names[0].cluster.as_str())), why, Some(fix))];
        }
        Err(error) => return vec![lacking("services on AWS".to_owned(), &error)],
    };
    let each = config.services.iter().zip(found).map(async |(chosen, found)| {
        let Some(service) = found.filter(|service| service.status != "INACTIVE") else {
            let why = format!(
                "`{}` does not exist in cluster `{}` in {}",
                short(chosen.name.as_str()),
                short(chosen.cluster.as_str()),
                aws.identity.region()
            );
            return vec![Check::failed(
                what(&chosen.key),
                why,
                Some("check `name` and `cluster`, or create the service first"),
            )];
        };
        let mut checks = live::of_service(chosen.key.as_str(), &service);
        match aws.task_definitions.task_definition(service.task_definition.as_str()).await {
            Ok(running) => checks.extend(live::of_running(chosen, &service, &running)),
            Err(error) => checks.push(lacking(format!("{}: what it runs", what(&chosen.key)), &error)),
        }
        checks
    });
    join_all(each).await.into_iter().flatten().collect()
}

async fn repositories(config: &Config, aws: &Aws<'_>) -> Vec<Check> {
    let builds = config.images.iter().filter_map(|image| match &image.source {
        ImageSource::Build(build) => Some((&image.key, build)),
        ImageSource::Existing(_) => None,
    });
    let each = builds.map(async |(key, build)| {
        let what = format!("image `{key}`: repository `{}`", build.repository);
        let Ok(reference) = ImageRef::parse(&build.repository) else {
            return Check::failed(what, "it is no name of a repository", None);
        };
        let host = reference.ecr().map(|host| EcrAddress { account: host.account, region: host.region });
        let is_bare = reference.registry == "docker.io" && !build.repository.starts_with("docker.io/");
        if host.is_none() && !is_bare {
            return Check::skipped(what, "it is not in ECR: its registry is asked when an image is pushed");
        }
        let name = if is_bare { &build.repository } else { &reference.repository };
        match aws.repositories.repository(host.as_ref(), name).await {
            Ok(Some(found)) if found.is_immutable && build.tags.iter().any(|tag| !tag.contains('{')) => Check::warning(
                what,
                "its tags cannot be moved, and `tags` has one that does not change: the second push of it fails",
            ),
            Ok(Some(_)) => Check::ok(what),
            Ok(None) if build.create_repository => Check::ok(what),
            Ok(None) => {
                let fix = format!(
                    "set `create-repository: true`, or run: aws ecr create-repository --repository-name {name}"
                );
                Check::failed(what, format!("it does not exist in {}", aws.identity.region()), Some(&fix))
            }
            Err(error) => lacking(what, &error),
        }
    });
    join_all(each).await
}

/// That each parameter is there. Values are asked for without decryption, and not looked at.
async fn secrets(config: &Config, aws: &Aws<'_>) -> Vec<Check> {
    let read = definitions(config).await;
    let named: BTreeSet<String> = read
        .iter()
        .filter_map(|(_, read)| read.as_ref().ok())
        .flat_map(TaskDefinition::containers)
        .flat_map(|container| container.get("secrets").and_then(Value::as_array).into_iter().flatten())
        .filter_map(|secret| secret.get("valueFrom")?.as_str().map(str::to_owned))
        .collect();
    let each = named.into_iter().map(async |name| {
        let what = format!("secret `{name}`");
        if name.contains(":secretsmanager:") {
            return Check::skipped(what, "the deploy's role has no permission in Secrets Manager, and needs none");
        }
        match aws.parameters.parameter(&name).await {
            Ok(Some(_)) => Check::ok(what),
            Ok(None) => {
                let fix = format!("aws ssm put-parameter --type SecureString --name {name} --value ...");
                Check::failed(what, "there is no such parameter: no task of the new release could start", Some(&fix))
            }
            Err(error) => unseen(what, &error),
        }
    });
    join_all(each).await
}

async fn lease(config: &Config, aws: &Aws<'_>) -> Vec<Check> {
    if config.lock == Lock::None {
        return vec![Check::skipped("the lease", "`lock: none`")];
    }
    let clusters: BTreeSet<_> = config.services.iter().map(|service| short(service.cluster.as_str())).collect();
    let each = clusters.into_iter().map(async |cluster| {
        let what = format!("the lease under `/fargate-deploy/{cluster}`");
        match aws.parameters.parameters_under(&format!("/fargate-deploy/{cluster}")).await {
            Ok(_) => Check::ok(what),
            Err(error) => lacking(what, &error),
        }
    });
    join_all(each).await
}

/// The ending: what failed first, the others as evidence.
#[must_use]
pub fn failure(checks: &[Check]) -> Option<Failure> {
    let mut failed = checks.iter().filter_map(|check| match &check.verdict {
        Verdict::Failed { why, fix, is_permission } => Some((check, why, fix, *is_permission)),
        _ => None,
    });
    let all: Vec<_> = failed.clone().map(|(check, why, ..)| format!("{}: {why}", check.what)).collect();
    let (check, why, fix, _) = failed.next()?;
    let is_permission = checks
        .iter()
        .filter(|check| check.has_failed())
        .all(|check| matches!(check.verdict, Verdict::Failed { is_permission: true, .. }));
    let reason = match (is_permission, check.what == "identity") {
        (true, true) => Reason::Identity,
        (true, false) => Reason::Permission,
        _ => Reason::Config,
    };
    let mut failure = Failure::new(reason, format!("{}: {why}", check.what)).with_evidence(all[1..].to_vec());
    failure.next.clone_from(fix);
    Some(failure)
}

/// A line each, and how many of which.
#[must_use]
pub fn text(checks: &[Check]) -> String {
    let mut lines = vec![];
    let mut counts = [0_usize; 4];
    for check in checks {
        let (index, word, why, fix) = match &check.verdict {
            Verdict::Ok => (0, "ok", None, None),
            Verdict::Warning { why } => (1, "warning", Some(why), None),
            Verdict::Failed { why, fix, .. } => (2, "FAILED", Some(why), fix.as_ref()),
            Verdict::Skipped { why } => (3, "skipped", Some(why), None),
        };
        counts[index] += 1;
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        lines.push(format!("{word:<8} {}{why}", check.what));
        lines.extend(fix.map(|fix| format!("         fix: {fix}")));
    }
    let [ok, warnings, failed, skipped] = counts;
    lines.push(format!("{ok} ok, {warnings} warnings, {failed} failed, {skipped} skipped"));
    lines.iter().map(|line| format!("{}\n", crate::render::log::clean(line))).collect()
}

/// SARIF 2.1.0: what failed, and what was warned of, for GitHub's code scanning.
/// <https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning>
#[must_use]
pub fn sarif(checks: &[Check], config_file: &str) -> Value {
    let results: Vec<_> = checks
        .iter()
        .filter_map(|check| {
            let (level, rule, why) = match &check.verdict {
                Verdict::Failed { why, .. } => ("error", "verify/failed", why),
                Verdict::Warning { why } => ("warning", "verify/warning", why),
                Verdict::Ok | Verdict::Skipped { .. } => return None,
            };
            let file = check.file.as_deref().unwrap_or(config_file);
            Some(json!({
                "ruleId": rule, "level": level, "message": {"text": format!("{}: {why}", check.what)},
                "locations": [{"physicalLocation": {"artifactLocation": {"uri": file}, "region": {"startLine": 1}}}],
            }))
        })
        .collect();
    json!({
        "version": "2.1.0", "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [{
            "tool": {"driver": {
                "name": "fargate-deploy", "version": env!("CARGO_PKG_VERSION"),
                "rules": [{"id": "verify/failed"}, {"id": "verify/warning"}],
            }},
            "results": results,
        }],
    })
}
