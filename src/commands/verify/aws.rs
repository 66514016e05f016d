//! What AWS shows, to the identity of this run: each look by itself, so that one that is denied hides no other.

use super::Scope;
use crate::adapters::aws::AwsClient;
use crate::commands::deploy::open_session;
use crate::config::{Config, ImageSource, Lock, ServiceConfig};
use crate::context::RunContext;
use crate::definition_checks::definitions;
use crate::error::call_failed;
use crate::events::Sink;
use crate::ports::{Aws, CallError, CallErrorKind, EcrAddress, Preconditions, Repository};
use fargate_deploy_core::image::ImageRef;
use fargate_deploy_core::names::short;
use fargate_deploy_core::outcome::Failure;
use fargate_deploy_core::service::Service;
use fargate_deploy_core::task_definition::{TaskDefinition, container_name};
use fargate_deploy_core::verify::network::{TaskNetwork, TaskSubnet, of_network};
use fargate_deploy_core::verify::retention::of_lifecycle;
use fargate_deploy_core::verify::role::of_role;
use fargate_deploy_core::verify::target::of_target;
use fargate_deploy_core::verify::{Check, Topic, Verdict, live};
use futures_util::future::join_all;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A service that is there, and the task definition that it is deployed from.
struct Live<'a> {
    chosen: &'a ServiceConfig,
    service: Service,
    definition: TaskDefinition,
}

struct Looks<'a> {
    config: &'a Config,
    aws: Aws<'a>,
    more: &'a dyn Preconditions,
    scope: &'a Scope,
}

pub(super) async fn on_aws(
    config: &Config,
    scope: &Scope,
    env: &BTreeMap<String, String>,
    sink: &Arc<dyn Sink + Send + Sync>,
) -> Vec<Check> {
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
    let looks = Looks { config, aws, more: &client, scope };
    let mut checks = vec![Check::ok(format!("identity in {}", aws.identity.region())).about(Topic::Identity)];
    let of_services = async {
        let (mut checks, live) = looks.services().await;
        let (network, targets, alarms, secrets, logs, roles, images) = futures_util::join!(
            looks.network(&live),
            looks.targets(&live),
            looks.alarms(&live),
            looks.secrets(&live),
            looks.logs(&live),
            looks.roles(&live),
            looks.images(&live),
        );
        checks.extend([network, targets, alarms, secrets, logs, roles, images].into_iter().flatten());
        checks
    };
    let (services, repositories, lease) = futures_util::join!(of_services, looks.repositories(), looks.lease());
    checks.extend(services.into_iter().chain(repositories).chain(lease));
    checks.retain(|check| scope.has(check.check));
    checks
}

fn without_identity(failure: &Failure) -> Vec<Check> {
    let mut failed = Check::failed("identity", failure.what.clone(), failure.next.as_deref());
    if let Verdict::Failed { is_permission, .. } = &mut failed.verdict {
        *is_permission = true;
    }
    let others = Check::skipped("everything on AWS", "there is no identity to ask as");
    [failed, others].map(|check| check.about(Topic::Identity)).into()
}

/// What a call that failed means for the thing that it was to look at.
fn unseen(what: impl Into<String>, error: &CallError) -> Check {
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

fn about(topic: Topic, checks: impl IntoIterator<Item = Check>) -> Vec<Check> {
    checks.into_iter().map(|check| check.about(topic)).collect()
}

impl Looks<'_> {
    async fn services(&self) -> (Vec<Check>, Vec<Live<'_>>) {
        let (config, aws) = (self.config, self.aws);
        let names: Vec<_> = config.services.iter().map(|s| s.reference()).collect();
        let found = match aws.services.services(&names).await {
            Ok(found) => found,
            Err(error) if error.kind == CallErrorKind::NotFound => {
                let fix = "check `cluster` and `region`; `aws ecs list-clusters` shows what there is";
                let why = format!("it does not exist in {}", aws.identity.region());
                let check = Check::failed(format!("cluster `{}`", short(names[0].cluster.as_str())), why, Some(fix));
                return (about(Topic::Services, [check]), vec![]);
            }
            Err(error) => {
                return (about(Topic::Services, [lacking("services on AWS".to_owned(), &error)]), vec![]);
            }
        };
        let files = definitions(config).await;
        let files = &files;
        let each = config.services.iter().zip(found).map(async |(chosen, found)| {
            let what = format!("service `{}` on AWS", chosen.key);
            let Some(service) = found.filter(|service| service.status != "INACTIVE") else {
                let why = format!(
                    "`{}` does not exist in cluster `{}` in {}",
                    short(chosen.name.as_str()),
                    short(chosen.cluster.as_str()),
                    aws.identity.region()
                );
                let fix = "check `name` and `cluster`, or create the service first";
                return (vec![Check::failed(what, why, Some(fix))], None);
            };
            let mut checks = live::of_service(chosen.key.as_str(), &service);
            let mut definition =
                files.iter().find(|(key, _)| *key == chosen.key).and_then(|(_, read)| read.clone().ok());
            match aws.task_definitions.task_definition(service.task_definition.as_str()).await {
                Ok(running) => {
                    checks.extend(live::of_running(config, chosen, &running));
                    definition.get_or_insert(running);
                }
                Err(error) => checks.push(lacking(format!("{what}: what it runs"), &error)),
            }
            (checks, definition.map(|definition| Live { chosen, service, definition }))
        });
        let (checks, live): (Vec<_>, Vec<_>) = join_all(each).await.into_iter().unzip();
        (about(Topic::Services, checks.into_iter().flatten()), live.into_iter().flatten().collect())
    }

    async fn network(&self, live: &[Live<'_>]) -> Vec<Check> {
        if !self.scope.has(Topic::Network) {
            return vec![];
        }
        let each = live.iter().map(async |of| {
            let key = of.chosen.key.as_str();
            let what = format!("service `{key}`: network");
            let network = of.service.network_configuration.as_ref().and_then(|n| n.get("awsvpcConfiguration"));
            let Some(network) = network else { return vec![Check::skipped(what, "it has no `awsvpcConfiguration`")] };
            let ids: Vec<String> = network
                .get("subnets")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|id| Some(id.as_str()?.to_owned()))
                .collect();
            let has_public_ip = network.get("assignPublicIp").and_then(Value::as_str) == Some("ENABLED");
            match self.subnets(&ids).await {
                Ok((subnets, unread)) => {
                    let vpc = subnets.first().map(|subnet| subnet.vpc.clone()).unwrap_or_default();
                    let endpoints = self.more.vpc_endpoints(&vpc).await.ok();
                    let network = TaskNetwork { has_public_ip, subnets, endpoints };
                    let images = self.images_of(of);
                    let mut checks = of_network(key, &of.definition, &images, &network, of.service.counts.desired);
                    checks.extend(unread.map(|error| unseen(format!("{what}: routes"), &error)));
                    checks
                }
                Err(error) if error.code == "InvalidSubnetID.NotFound" => {
                    let why = format!("a subnet of it does not exist: {}", error.message);
                    vec![Check::failed(what, why, Some("name subnets that are there in the service's network"))]
                }
                Err(error) => vec![unseen(what, &error)],
            }
        });
        about(Topic::Network, join_all(each).await.into_iter().flatten())
    }

    /// Subnets with their routes, and why the routes could not be read.
    async fn subnets(&self, ids: &[String]) -> Result<(Vec<TaskSubnet>, Option<CallError>), CallError> {
        let found = self.aws.surroundings.subnets(ids).await?;
        let mut tables = BTreeMap::new();
        let mut unread = None;
        for vpc in found.iter().map(|subnet| subnet.vpc.clone()).collect::<BTreeSet<_>>() {
            match self.aws.surroundings.route_tables(&vpc).await {
                Ok(of_vpc) => drop(tables.insert(vpc, of_vpc)),
                Err(error) => unread = Some(error),
            }
        }
        let subnets = found.into_iter().map(|subnet| {
            let of_vpc = tables.get(&subnet.vpc).map(Vec::as_slice).unwrap_or_default();
            let own = of_vpc.iter().find(|table| table.subnets.contains(&subnet.id));
            let table = own.or_else(|| of_vpc.iter().find(|table| table.is_main));
            TaskSubnet {
                way_out: table.map(|table| table.way_out),
                route_table: table.map(|table| table.id.clone()),
                id: subnet.id,
                vpc: subnet.vpc,
                free_addresses: subnet.free_addresses,
            }
        });
        Ok((subnets.collect(), unread))
    }

    /// The images of a service's containers as they will be.
    fn images_of(&self, of: &Live<'_>) -> Vec<String> {
        let released = |name: &str| {
            let assigned = of.chosen.containers.iter().find(|(container, _)| match container {
                Some(container) => container.as_str() == name,
                None => of.definition.sole_container().is_some_and(|sole| sole.as_str() == name),
            });
            let image = self.config.images.iter().find(|image| assigned.is_some_and(|(_, key)| *key == image.key))?;
            match &image.source {
                ImageSource::Existing(reference) => Some(reference.clone()),
                ImageSource::Build(build) => {
                    let reference = ImageRef::parse(&build.repository).ok()?;
                    let is_bare = reference.registry == "docker.io" && !build.repository.starts_with("docker.io/");
                    // A bare name is a repository of this account.
                    let region = self.aws.identity.region();
                    let own = format!("000000000000.dkr.ecr.{region}.amazonaws.com/{}", build.repository);
                    Some(if is_bare { own } else { build.repository.clone() })
                }
            }
        };
        let all = of.definition.containers().filter_map(|container| {
            released(container_name(container)).or_else(|| Some(container.get("image")?.as_str()?.to_owned()))
        });
        all.collect()
    }

    async fn targets(&self, live: &[Live<'_>]) -> Vec<Check> {
        if !self.scope.has(Topic::Targets) {
            return vec![];
        }
        let each = live.iter().filter(|of| !of.service.target_groups.is_empty()).map(async |of| {
            let (key, service) = (of.chosen.key.as_str(), &of.service);
            let mut checks = vec![];
            for arn in &service.target_groups {
                let (group, vpc) = futures_util::join!(self.aws.surroundings.target_check(arn), self.vpc_of(service));
                let what = format!("service `{key}`: load balancer");
                match group {
                    Ok(Some(group)) => {
                        checks.extend(of_target(key, service, &of.definition, Some(&group), vpc.as_deref()));
                    }
                    Ok(None) => {
                        let why = format!("its target group `{arn}` does not exist");
                        checks.push(Check::failed(what, why, Some("name one that is there in the service")));
                    }
                    Err(error) => {
                        checks.extend(of_target(key, service, &of.definition, None, vpc.as_deref()));
                        checks.push(unseen(format!("{what}: target group"), &error));
                    }
                }
            }
            checks
        });
        about(Topic::Targets, join_all(each).await.into_iter().flatten())
    }

    async fn vpc_of(&self, service: &Service) -> Option<String> {
        let network = service.network_configuration.as_ref()?.get("awsvpcConfiguration")?;
        let first = network.get("subnets")?.as_array()?.first()?.as_str()?.to_owned();
        Some(self.aws.surroundings.subnets(&[first]).await.ok()?.first()?.vpc.clone())
    }

    async fn alarms(&self, live: &[Live<'_>]) -> Vec<Check> {
        let has_alarms = |of: &&Live<'_>| of.service.alarms.is_enabled && !of.service.alarms.names.is_empty();
        if !self.scope.has(Topic::Alarms) {
            return vec![];
        }
        let each = live.iter().filter(has_alarms).map(async |of| {
            let key = of.chosen.key.as_str();
            match self.more.alarms(&of.service.alarms.names).await {
                Ok(states) => live::of_alarms(key, &of.service, &states),
                Err(error) => vec![unseen(format!("service `{key}`: alarms"), &error)],
            }
        });
        about(Topic::Alarms, join_all(each).await.into_iter().flatten())
    }

    async fn repositories(&self) -> Vec<Check> {
        if !self.scope.has(Topic::Repositories) {
            return vec![];
        }
        let builds = self.config.images.iter().filter_map(|image| match &image.source {
            ImageSource::Build(build) => Some((&image.key, build)),
            ImageSource::Existing(_) => None,
        });
        let each = builds.map(async |(key, build)| {
            let what = format!("image `{key}`: repository `{}`", build.repository);
            let Ok(reference) = ImageRef::parse(&build.repository) else {
                return vec![Check::failed(what, "it is no name of a repository", None)];
            };
            let host = reference.ecr().map(|host| EcrAddress { account: host.account, region: host.region });
            let is_bare = reference.registry == "docker.io" && !build.repository.starts_with("docker.io/");
            if host.is_none() && !is_bare {
                let why = "it is not in ECR: its registry is asked when an image is pushed";
                return vec![Check::skipped(what, why)];
            }
            let name = if is_bare { &build.repository } else { &reference.repository };
            let found = match self.aws.repositories.repository(host.as_ref(), name).await {
                Ok(Some(found)) => found,
                Ok(None) if build.create_repository => return vec![Check::ok(what)],
                Ok(None) => {
                    let fix = format!(
                        "set `create-repository: true`, or run: aws ecr create-repository --repository-name {name}"
                    );
                    let why = format!("it does not exist in {}", self.aws.identity.region());
                    return vec![Check::failed(what, why, Some(&fix))];
                }
                Err(error) => return vec![lacking(what, &error)],
            };
            let kept = self.lifecycle(&format!("image `{key}`: lifecycle policy"), &found, &build.tags).await;
            let is_stuck = found.is_immutable && build.tags.iter().any(|tag| !tag.contains('{'));
            let why = "its tags cannot be moved, and `tags` has one that does not change: the second push of it fails";
            let own = if is_stuck { Check::warning(what, why) } else { Check::ok(what) };
            [vec![own], kept].concat()
        });
        about(Topic::Repositories, join_all(each).await.into_iter().flatten())
    }

    async fn lifecycle(&self, what: &str, repository: &Repository, tags: &[String]) -> Vec<Check> {
        match self.more.lifecycle_policy(repository).await {
            Ok(Some(policy)) => of_lifecycle(what, &policy, tags),
            Ok(None) => vec![],
            Err(error) => vec![unseen(what, &error)],
        }
    }

    /// Images that are given, in ECR: that they are there, and for which architecture.
    async fn images(&self, live: &[Live<'_>]) -> Vec<Check> {
        if !self.scope.has(Topic::Images) {
            return vec![];
        }
        let given = self.config.images.iter().filter_map(|image| match &image.source {
            ImageSource::Existing(reference) => Some((&image.key, reference)),
            ImageSource::Build(_) => None,
        });
        let each = given.map(async |(key, text)| {
            let what = format!("image `{key}`: `{text}`");
            let Ok(reference) = ImageRef::parse(text) else {
                return vec![Check::failed(what, "it is no reference of an image", None)];
            };
            let Some(host) = reference.ecr() else {
                return vec![Check::skipped(what, "it is not in ECR")];
            };
            let address = EcrAddress { account: host.account, region: host.region };
            let wanted = reference.digest.as_ref().map(|digest| digest.as_str().to_owned()).or(reference.tag.clone());
            let wanted = wanted.unwrap_or_else(|| "latest".to_owned());
            let found = async {
                let Some(repository) = self.aws.repositories.repository(Some(&address), &reference.repository).await?
                else {
                    return Ok(None);
                };
                let Some(image) = self.aws.repositories.image(&repository, &wanted).await? else { return Ok(None) };
                let platform = self.aws.repositories.only_platform(&repository, &image.digest).await.ok().flatten();
                Ok(Some((image, platform)))
            };
            match found.await {
                Ok(Some((image, _))) if !image.is_active => {
                    vec![Check::failed(
                        what,
                        "it is archived: no task can pull it",
                        Some("restore it, or push it again"),
                    )]
                }
                Ok(Some((_, platform))) => {
                    let users = live.iter().filter(|of| of.chosen.containers.iter().any(|(_, image)| image == key));
                    users.map(|of| live::of_image(&what, platform.as_deref(), &of.definition)).collect()
                }
                Ok(None) => vec![Check::failed(what, "it does not exist", Some("push it, or correct its name"))],
                Err(error) => vec![unseen(what, &error)],
            }
        });
        about(Topic::Images, join_all(each).await.into_iter().flatten())
    }

    /// That each parameter is there. Values are asked for without decryption, and not looked at.
    async fn secrets(&self, live: &[Live<'_>]) -> Vec<Check> {
        if !self.scope.has(Topic::Secrets) {
            return vec![];
        }
        let named: BTreeSet<String> = live
            .iter()
            .flat_map(|of| of.definition.containers())
            .flat_map(|container| container.get("secrets").and_then(Value::as_array).into_iter().flatten())
            .filter_map(|secret| secret.get("valueFrom")?.as_str().map(str::to_owned))
            .collect();
        let each = named.into_iter().map(async |name| {
            let what = format!("secret `{name}`");
            if name.contains(":secretsmanager:") {
                return Check::skipped(what, "the deploy's role has no permission in Secrets Manager, and needs none");
            }
            match self.aws.parameters.parameter(&name).await {
                Ok(Some(_)) => Check::ok(what),
                Ok(None) => {
                    let fix = format!("aws ssm put-parameter --type SecureString --name {name} --value ...");
                    let why = "there is no such parameter: no task of the new release could start";
                    Check::failed(what, why, Some(&fix))
                }
                Err(error) => unseen(what, &error),
            }
        });
        about(Topic::Secrets, join_all(each).await)
    }

    /// That each log group is there, or is made by the log driver.
    async fn logs(&self, live: &[Live<'_>]) -> Vec<Check> {
        if !self.scope.has(Topic::Logs) {
            return vec![];
        }
        let makes_its_own = |container: &serde_json::Map<String, Value>| {
            let option =
                container.get("logConfiguration").and_then(|logs| logs.get("options")?.get("awslogs-create-group"));
            option.and_then(Value::as_str) == Some("true")
        };
        let groups: BTreeSet<(String, Option<String>)> = live
            .iter()
            .flat_map(|of| of.definition.containers().map(move |container| (of, container)))
            .filter(|(_, container)| !makes_its_own(container))
            .filter_map(|(of, container)| of.definition.log_destination(&container_name(container).into()))
            .map(|(group, _, region)| (group, region))
            .collect();
        let each = groups.into_iter().map(async |(group, region)| {
            let what = format!("log group `{group}`");
            match self.more.has_log_group(&group, region.as_deref()).await {
                Ok(true) => Check::ok(what),
                Ok(false) => {
                    let fix = format!("aws logs create-log-group --log-group-name {group}");
                    Check::failed(what, "there is no such group: no task of the new release could start", Some(&fix))
                }
                Err(error) => unseen(what, &error),
            }
        });
        about(Topic::Logs, join_all(each).await)
    }

    /// Whom the roles of the task definitions trust: with `--deep`, since no deploy reads roles.
    async fn roles(&self, live: &[Live<'_>]) -> Vec<Check> {
        let is_asked = self.scope.is_deep || self.scope.only.contains(&Topic::Roles);
        if !is_asked || !self.scope.has(Topic::Roles) {
            return vec![];
        }
        let of =
            |of: &Live<'_>, member: &str| of.definition.body.get(member).and_then(Value::as_str).map(str::to_owned);
        let arns: BTreeSet<String> =
            live.iter().flat_map(|one| [of(one, "executionRoleArn"), of(one, "taskRoleArn")]).flatten().collect();
        let each = arns.into_iter().filter(|arn| !arn.is_empty()).map(async |arn| {
            let what = format!("role `{arn}`");
            match self.more.trust_of_role(arn.rsplit('/').next().unwrap_or(&arn)).await {
                Ok(trust) => of_role(&what, trust.as_ref()),
                Err(error) => unseen(what, &error),
            }
        });
        about(Topic::Roles, join_all(each).await)
    }

    async fn lease(&self) -> Vec<Check> {
        if !self.scope.has(Topic::Lease) {
            return vec![];
        }
        if self.config.lock == Lock::None {
            return about(Topic::Lease, [Check::skipped("the lease", "`lock: none`")]);
        }
        let clusters: BTreeSet<_> =
            self.config.services.iter().map(|service| short(service.cluster.as_str())).collect();
        let each = clusters.into_iter().map(async |cluster| {
            let what = format!("the lease under `/fargate-deploy/{cluster}`");
            match self.aws.parameters.parameters_under(&format!("/fargate-deploy/{cluster}")).await {
                Ok(_) => Check::ok(what),
                Err(error) => lacking(what, &error),
            }
        });
        about(Topic::Lease, join_all(each).await)
    }
}
