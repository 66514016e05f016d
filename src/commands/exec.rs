//! `exec`: a command or a shell in a container that runs.

use crate::adapters::aws::AwsClient;
use crate::cli::{Arguments, ExecFlags};
use crate::commands::configure::configure;
use crate::commands::deploy::{open_session, random};
use crate::commands::refuse_foreign;
use crate::config;
use crate::context::RunContext;
use crate::error::call_failed;
use crate::events::Sink;
use crate::ports::{Aws, Identity as _, Sessions};
use crate::session::{Place, Plugin, Shown, definition_of, ready, run};
use crate::terminal;
use fargate_deploy_core::exec::{ExecTask, Which, choose, container_names};
use fargate_deploy_core::names::{ClusterName, ContainerName, RoleArn, ServiceRef, TaskArn};
use fargate_deploy_core::outcome::{Failure, Reason};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long an agent that is about to start is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The command's own exit code.
///
/// # Errors
/// Everything else: what is missing is said before anything is started.
pub async fn exec(
    flags: &ExecFlags,
    arguments: &Arguments,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: Arc<dyn Sink + Send + Sync>,
) -> Result<u8, Failure> {
    let is_terminal = terminal::is_there() && !flags.no_tty;
    refuse(flags, is_terminal, env)?;
    // Before their file can have this run's identity asked for something.
    let context = RunContext::read(env, directory);
    refuse_foreign(&context, "exec")?;
    let scope = Scope::read(flags, arguments, env, directory, Arc::clone(&sink)).await?;
    let session = open_session(scope.region.clone(), scope.roles.clone(), &context, env, Arc::clone(&sink)).await?;
    let client = AwsClient::new(session);
    let task = task(flags, &scope, client.ports(), &client).await?;
    let definition = definition_of(&task, client.ports(), sink.as_ref()).await;
    let named = flags.container.as_deref().map(ContainerName::from).or_else(|| scope.container.clone());
    let container = named.or_else(|| task.sole_container(definition.as_ref())).ok_or_else(|| {
        let names = container_names(&task, definition.as_ref()).join(", ");
        Failure::new(Reason::Config, format!("which container of task `{}`? it has {names}", task.arn.id()))
            .with_next("name it with `--container`")
    })?;
    if task.container(&container).is_none() {
        let names = container_names(&task, definition.as_ref()).join(", ");
        let what = format!("container `{container}`: task `{}` has {names}", task.arn.id());
        return Err(Failure::new(Reason::Config, what));
    }
    let place = Place { cluster: &scope.cluster, task: task.arn.clone(), container, definition: definition.as_ref() };
    let task = ready(&place, PATIENCE, &client, sink.as_ref()).await?;
    let fence = (context.is_in_actions && !flags.raw).then(random);
    let shown = Shown { is_terminal, fence };
    let plugin = Plugin::find(env, client.region()).filter(|_| !flags.no_plugin);
    run(&place, &task, &flags.words, &shown, plugin.as_ref(), &client, sink.as_ref()).await
}

fn refuse(flags: &ExecFlags, is_terminal: bool, env: &BTreeMap<String, String>) -> Result<(), Failure> {
    let is_set = |name: &str| env.get(name).is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    if !flags.yes && (is_set("CI") || is_set("GITHUB_ACTIONS")) {
        let what = "`exec` in a pipeline: it runs a command in a container that serves, and nobody sees it done";
        return Err(Failure::new(Reason::Config, what)
            .with_next("`run` starts a task of its own; `exec --yes` where the running container is what you mean"));
    }
    if flags.words.is_empty() && !is_terminal {
        return Err(Failure::new(Reason::Config, "a shell needs a terminal, and there is none")
            .with_next("give a command: `fargate-deploy exec -s SERVICE -- CMD`"));
    }
    Ok(())
}

/// Where tasks are looked for.
struct Scope {
    region: Option<String>,
    roles: Vec<RoleArn>,
    cluster: ClusterName,
    service: Option<ServiceRef>,
    container: Option<ContainerName>,
}

impl Scope {
    /// The config's service, or what the flags name where there is no config.
    async fn read(
        flags: &ExecFlags,
        arguments: &Arguments,
        env: &BTreeMap<String, String>,
        directory: &Path,
        sink: Arc<dyn Sink + Send + Sync>,
    ) -> Result<Self, Failure> {
        let global = &arguments.global;
        let only = flags.service.iter().cloned().collect();
        let request = config::Request { only, ..arguments.request() };
        let of_arn = flags.task.as_deref().and_then(cluster_of);
        if config::exists(&request, directory) {
            let config = configure(&request, env, directory, sink, std::future::pending()).await?;
            let (region, roles) = (config.region, config.roles);
            let mut services = config.services.into_iter();
            let (Some(first), others) = (services.next(), services) else {
                return Err(Failure::new(Reason::Config, "the config has no service"));
            };
            let others: Vec<_> = others.collect();
            if !others.is_empty() && flags.task.is_none() {
                let keys: Vec<_> =
                    std::iter::once(&first).chain(&others).map(|service| format!("`{}`", service.key)).collect();
                return Err(Failure::new(Reason::Config, format!("which service? the config has {}", keys.join(", ")))
                    .with_next("name it: `-s SERVICE`, or a task: `-t TASK`"));
            }
            // Whose service a task is that was only named is not known: its container is found by the task itself.
            let is_known = others.is_empty();
            let container = first.containers.first().and_then(|(name, _)| name.clone()).filter(|_| is_known);
            let cluster = of_arn.unwrap_or_else(|| first.cluster.clone());
            let service = is_known.then_some(ServiceRef { cluster: first.cluster, name: first.name });
            return Ok(Self { region, roles, cluster, service, container });
        }
        let cluster = of_arn.or_else(|| global.cluster.as_deref().map(ClusterName::from));
        let Some(cluster) = cluster.filter(|_| flags.service.is_some() || flags.task.is_some()) else {
            return Err(Failure::new(
                Reason::Config,
                "in which container? there is no `fargate-deploy.yml` here or above",
            )
            .with_next("name the service: `--cluster CLUSTER -s SERVICE`, or a task: `--cluster CLUSTER -t TASK`"));
        };
        let named = flags.service.as_deref();
        let service = named.map(|name| ServiceRef { cluster: cluster.clone(), name: name.into() });
        let roles = global.role.iter().map(RoleArn::new).collect();
        Ok(Self { region: global.region.clone(), roles, cluster, service, container: None })
    }
}

/// Of `arn:aws:ecs:REGION:ACCOUNT:task/CLUSTER/ID`.
fn cluster_of(task: &str) -> Option<ClusterName> {
    let (_, rest) = task.starts_with("arn:").then_some(task)?.split_once(":task/")?;
    rest.split_once('/').map(|(cluster, _)| cluster.into())
}

/// The task that is meant, as it is now.
async fn task(flags: &ExecFlags, scope: &Scope, aws: Aws<'_>, sessions: &dyn Sessions) -> Result<ExecTask, Failure> {
    const WHOLE_ID: usize = 32;
    let describe = async |tasks: &[TaskArn]| {
        let found = sessions.exec_tasks(&scope.cluster, tasks).await;
        found.map_err(|error| call_failed("looking at the tasks", &error))
    };
    let listed = async || match &scope.service {
        Some(service) => {
            let found = aws.tasks.running_tasks(service).await;
            found.map_err(|error| call_failed(&format!("listing the tasks of {service}"), &error))
        }
        None => Ok(vec![]),
    };
    if let Some(wanted) = flags.task.as_deref() {
        let is_whole = wanted.starts_with("arn:") || wanted.len() == WHOLE_ID;
        let of = match is_whole {
            true => vec![TaskArn::from(wanted)],
            false => listed().await?.into_iter().filter(|task| task.id().starts_with(wanted)).collect(),
        };
        let mut found = if of.is_empty() { vec![] } else { describe(&of).await? };
        return match (found.pop(), found.len()) {
            (Some(task), 0) => Ok(task),
            (Some(_), _) => {
                let what = format!("task `{wanted}`: more than one begins like this");
                Err(Failure::new(Reason::Config, what).with_next("give more of its id"))
            }
            (None, _) => {
                let what = format!("task `{wanted}`: there is none in cluster `{}`", scope.cluster);
                Err(Failure::new(Reason::Config, what).with_next("a stopped task is forgotten after an hour"))
            }
        };
    }
    let all = listed().await?;
    let found = if all.is_empty() { vec![] } else { describe(&all).await? };
    let which = if flags.oldest { Which::Oldest } else { Which::Newest };
    choose(found, which).ok_or_else(|| {
        let of = scope.service.as_ref().map(ToString::to_string).unwrap_or_default();
        Failure::new(Reason::Config, format!("service `{of}`: none of its tasks runs"))
            .with_next("`fargate-deploy run` starts a task of its own from what the service is deployed as")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_of_a_task_is_in_its_arn() {
        let cluster = cluster_of("arn:aws:ecs:eu-central-1:1:task/shop/9c1e");
        assert_eq!(cluster, Some("shop".into()));
        assert_eq!(cluster_of("9c1e"), None);
        assert_eq!(cluster_of("arn:aws:ecs:eu-central-1:1:task/9c1e"), None);
    }

    #[test]
    fn in_a_pipeline_it_takes_a_yes() {
        let flags = |yes| ExecFlags { yes, words: vec!["env".to_owned()], ..ExecFlags::default() };
        let env = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        for pipeline in [env(&[("CI", "true")]), env(&[("CI", "1")]), env(&[("GITHUB_ACTIONS", "true")])] {
            assert!(refuse(&flags(false), false, &pipeline).is_err());
            assert!(refuse(&flags(true), false, &pipeline).is_ok());
        }
        assert!(refuse(&flags(false), false, &env(&[("CI", "false")])).is_ok());
        assert!(refuse(&ExecFlags::default(), false, &env(&[])).is_err());
    }
}
