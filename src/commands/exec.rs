//! `exec`: a command or a shell in a container that runs.

use crate::cli::{Arguments, ExecFlags};
use crate::commands::deploy::random;
use crate::commands::refuse_foreign;
use crate::commands::scope::{Scope, ScopedService, only, unnamed};
use crate::context::RunContext;
use crate::error::call_failed;
use crate::events::Sink;
use crate::ports::{Aws, Identity as _, Sessions};
use crate::session::{self, Plugin, Shown, definition_of, ready, run};
use crate::terminal;
use fargate_deploy_core::exec::{ExecTask, Which, choose, container_names};
use fargate_deploy_core::names::{ClusterName, ContainerName, ServiceRef, TaskArn};
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
    // A line is as good as one word.
    let words = flags.run_command.as_ref().map_or_else(|| flags.words.clone(), |line| vec![line.clone()]);
    refuse(flags.yes, &words, is_terminal, env)?;
    // Before their file can have this run's identity asked for something.
    let context = RunContext::read(env, directory);
    refuse_foreign(&context, "exec")?;
    let named: Vec<String> = flags.service.iter().cloned().collect();
    let scope = Scope::read_for_task(&named, arguments, env, directory, Arc::clone(&sink)).await?;
    let looked_in = Place::of(&scope, flags, arguments.global.cluster.as_deref())?;
    let client = scope.open(&context, env, Arc::clone(&sink)).await?;
    let task = task(flags, &looked_in, client.ports(), &client).await?;
    let definition = definition_of(&task, client.ports(), sink.as_ref()).await;
    let named = flags.container.as_deref().map(ContainerName::from).or_else(|| looked_in.container.clone());
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
    let place = session::Place {
        cluster: &looked_in.cluster,
        task: task.arn.clone(),
        container,
        definition: definition.as_ref(),
    };
    let task = ready(&place, PATIENCE, &client, sink.as_ref()).await?;
    let fence = (context.is_in_actions && !flags.raw).then(random);
    let shown = Shown { is_terminal, fence };
    let plugin = Plugin::find(env, client.region()).filter(|_| !flags.no_plugin);
    run(&place, &task, &words, &shown, plugin.as_ref(), &client, sink.as_ref()).await
}

fn refuse(is_wanted: bool, words: &[String], is_terminal: bool, env: &BTreeMap<String, String>) -> Result<(), Failure> {
    let is_set = |name: &str| env.get(name).is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    if !is_wanted && (is_set("CI") || is_set("GITHUB_ACTIONS")) {
        let what = "`exec` in a pipeline: it runs a command in a container that serves, and nobody sees it done";
        return Err(Failure::new(Reason::Config, what)
            .with_next("`run` starts a task of its own; `exec --yes` where the running container is what you mean"));
    }
    if words.is_empty() && !is_terminal {
        return Err(Failure::new(Reason::Config, "a shell needs a terminal, and there is none")
            .with_next("give a command: `fargate-deploy exec -s SERVICE -- CMD`"));
    }
    Ok(())
}

/// Where the task is looked for.
struct Place {
    cluster: ClusterName,
    /// `None`: whose it is that was named by itself is not known.
    service: Option<ServiceRef>,
    container: Option<ContainerName>,
}

impl Place {
    /// One service, unless a task is named by itself.
    fn of(scope: &Scope, flags: &ExecFlags, cluster: Option<&str>) -> Result<Self, Failure> {
        let of_arn = flags.task.as_deref().and_then(cluster_of);
        if let ([], Some(_)) | ([_, _, ..], Some(_)) = (scope.services.as_slice(), &flags.task) {
            let of_config = scope.services.first().map(|one| one.service.cluster.clone());
            let cluster = of_arn.or_else(|| cluster.map(ClusterName::from)).or(of_config);
            let cluster = cluster.ok_or_else(|| unnamed(WHICH))?;
            return Ok(Self { cluster, service: None, container: None });
        }
        if scope.services.is_empty() {
            return Err(unnamed(WHICH));
        }
        let ScopedService { service, container, .. } = only(&scope.services)?.clone();
        let cluster = of_arn.unwrap_or_else(|| service.cluster.clone());
        Ok(Self { cluster, service: Some(service), container })
    }
}

const WHICH: &str = "name the service: `--cluster CLUSTER -s SERVICE`, or a task: `--cluster CLUSTER -t TASK`";

/// Of `arn:aws:ecs:REGION:ACCOUNT:task/CLUSTER/ID`.
fn cluster_of(task: &str) -> Option<ClusterName> {
    let (_, rest) = task.starts_with("arn:").then_some(task)?.split_once(":task/")?;
    rest.split_once('/').map(|(cluster, _)| cluster.into())
}

/// The task that is meant, as it is now.
async fn task(
    flags: &ExecFlags,
    looked_in: &Place,
    aws: Aws<'_>,
    sessions: &dyn Sessions,
) -> Result<ExecTask, Failure> {
    const WHOLE_ID: usize = 32;
    let describe = async |tasks: &[TaskArn]| {
        let found = sessions.exec_tasks(&looked_in.cluster, tasks).await;
        found.map_err(|error| call_failed("looking at the tasks", &error))
    };
    let listed = async || match &looked_in.service {
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
                let what = format!("task `{wanted}`: there is none in cluster `{}`", looked_in.cluster);
                Err(Failure::new(Reason::Config, what).with_next("a stopped task is forgotten after an hour"))
            }
        };
    }
    let all = listed().await?;
    let found = if all.is_empty() { vec![] } else { describe(&all).await? };
    let which = if flags.oldest { Which::Oldest } else { Which::Newest };
    choose(found, which).ok_or_else(|| {
        let of = looked_in.service.as_ref().map(ToString::to_string).unwrap_or_default();
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
        let words = ["env".to_owned()];
        let env = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        for pipeline in [env(&[("CI", "true")]), env(&[("CI", "1")]), env(&[("GITHUB_ACTIONS", "true")])] {
            assert!(refuse(false, &words, false, &pipeline).is_err());
            assert!(refuse(true, &words, false, &pipeline).is_ok());
        }
        assert!(refuse(false, &words, false, &env(&[("CI", "false")])).is_ok());
        assert!(refuse(false, &[], false, &env(&[])).is_err());
    }
}
