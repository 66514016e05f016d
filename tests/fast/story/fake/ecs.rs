//! What this AWS remembers, and what it does by itself as time goes by.

use super::rollout::Ending;
use super::task::{Run, RunningTask};
use super::{ACCOUNT, REGION, definition_arn};
use fargate_deploy::ports::{FoundEvent, LogEvent, Parameter, RegistryImage, Repository, RouteTable, RunTask, Subnet};
use fargate_deploy_core::cause::{SeenTarget, TargetCheck};
use fargate_deploy_core::names::{ServiceDeploymentArn, ServiceRevisionArn, TaskDefinitionArn};
use fargate_deploy_core::service::*;
use fargate_deploy_core::task_definition::TaskDefinition;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

type Act = Box<dyn FnOnce(&mut Aws)>;

/// What is going to happen. A copy of the world is what it was: nothing happens in it.
#[derive(Default)]
struct Agenda(Vec<(Instant, u64, Act)>);

impl Clone for Agenda {
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[derive(Clone, Default)]
pub struct Aws {
    pub services: BTreeMap<String, Service>,
    pub service_deployments: Vec<(String, ServiceDeployment)>,
    pub revisions: BTreeMap<ServiceRevisionArn, TaskDefinitionArn>,
    pub definitions: BTreeMap<String, Vec<TaskDefinition>>,
    /// Container and the digest that DescribeServiceRevisions tells of it.
    pub resolved: BTreeMap<String, String>,
    pub tasks: Vec<RunningTask>,
    pub tokens: BTreeMap<String, String>,
    pub asked_tokens: Vec<String>,
    /// Every UpdateService that started a deployment: when, of which service, from and to what.
    pub updates: Vec<(Instant, String, TaskDefinitionArn, TaskDefinitionArn)>,
    /// Every RunTask, in the order in which they came.
    pub asked_tasks: Vec<RunTask>,
    /// What `write` has written, by time.
    pub events: BTreeMap<(i64, u64), FoundEvent>,
    /// 0: as many as AWS gives.
    pub events_per_page: usize,
    pub logs: BTreeMap<String, Vec<LogEvent>>,
    pub parameters: BTreeMap<String, String>,
    /// Parameters that are no leases.
    pub values: BTreeMap<String, Parameter>,
    pub stacks: BTreeMap<String, BTreeMap<String, String>>,
    /// Roles and secrets that somebody has deleted.
    pub gone: BTreeSet<String>,
    /// By name: how often it was looked at.
    pub snapshots: BTreeMap<String, u32>,
    /// By `s3://BUCKET/KEY`.
    pub objects: BTreeMap<String, Vec<u8>>,
    pub repositories: BTreeMap<String, Repository>,
    pub images: Vec<(String, RegistryImage)>,
    /// How the next deployments of a service go; `Succeeds` when there is none.
    pub endings: BTreeMap<String, VecDeque<Ending>>,
    /// How the next RunTasks go; exits with 0 when there is none.
    pub runs: VecDeque<Run>,
    /// The most one-off tasks that ever ran at the same time.
    pub most_at_once: usize,
    /// How long ListServiceDeployments does not show a new one.
    pub listing_lag: Duration,
    pub listed_from: BTreeMap<ServiceDeploymentArn, Instant>,
    /// How the tasks of a service die, where that is not of a missing table.
    pub dying: BTreeMap<String, Dying>,
    pub target_health: Vec<SeenTarget>,
    pub target_check: Option<TargetCheck>,
    pub subnets: Vec<Subnet>,
    pub route_tables: Vec<RouteTable>,
    agenda: Agenda,
    counter: u64,
}

/// How a task ends, and what its container `app` said before.
#[derive(Clone)]
pub struct Dying {
    pub stop_code: &'static str,
    pub reason: &'static str,
    pub exit_code: Option<i64>,
    pub container_reason: Option<&'static str>,
    pub says: Vec<&'static str>,
}

impl Aws {
    pub fn number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub fn after(&mut self, wait: Duration, act: impl FnOnce(&mut Aws) + 'static) {
        let number = self.number();
        self.agenda.0.push((Instant::now() + wait, number, Box::new(act)));
    }

    /// Does what is due.
    pub fn tick(&mut self) {
        loop {
            let due = self.agenda.0.iter().enumerate().filter(|(_, (at, _, _))| *at <= Instant::now());
            let Some((index, _)) = due.min_by_key(|(_, (at, number, _))| (*at, *number)) else { return };
            let (_, _, act) = self.agenda.0.remove(index);
            act(self);
        }
    }

    pub fn add_definition(&mut self, body: &Value, release: Option<u64>) -> TaskDefinitionArn {
        let mut definition = TaskDefinition::from_json(&body.to_string()).unwrap();
        if let Some(release) = release {
            definition.set_tag("fargate-deploy:release", format!("r{release}"));
        }
        self.register(&definition)
    }

    pub fn register(&mut self, definition: &TaskDefinition) -> TaskDefinitionArn {
        let family = definition.family().to_owned();
        let revisions = self.definitions.entry(family.clone()).or_default();
        // The numbers start where a service has a history.
        let name = format!("{family}:{}", 41 + revisions.len());
        let arn = definition_arn(&name);
        let mut described = definition.clone();
        described.body.insert("taskDefinitionArn".to_owned(), json!(arn));
        described.body.insert("revision".to_owned(), json!(41 + revisions.len()));
        described.body.insert("status".to_owned(), json!("ACTIVE"));
        described.body.insert("registeredAt".to_owned(), json!(fargate_deploy::clock::now()));
        revisions.push(described);
        TaskDefinitionArn::new(arn)
    }

    pub fn deregister(&mut self, short: &str) {
        let arn = definition_arn(short);
        let mut all = self.definitions.values_mut().flatten();
        let found = all.find(|d| d.arn().is_some_and(|a| a.as_str() == arn)).unwrap();
        found.body.insert("status".to_owned(), json!("INACTIVE"));
    }

    pub fn definition(&self, name: &str) -> Option<&TaskDefinition> {
        let short = name.rsplit('/').next().unwrap_or(name);
        match short.split_once(':') {
            Some((family, _)) => {
                let arn = definition_arn(short);
                self.definitions.get(family)?.iter().find(|d| d.arn().is_some_and(|a| a.as_str() == arn))
            }
            None => self.definitions.get(short)?.iter().rfind(|d| d.body["status"] == "ACTIVE"),
        }
    }

    /// A service that has run one revision for long.
    pub fn add_service(&mut self, name: &str, runs: &TaskDefinitionArn) {
        let id = format!("ecs-svc/{}", self.number());
        let counts = Counts { desired: 2, running: 2, pending: 0 };
        let arn = |kind: &str| format!("arn:aws:ecs:{REGION}:{ACCOUNT}:{kind}/shop/{name}/{id}");
        let revision = ServiceRevisionArn::new(arn("service-revision"));
        self.revisions.insert(revision.clone(), runs.clone());
        let old = ServiceDeployment {
            arn: ServiceDeploymentArn::new(arn("service-deployment")),
            status: ServiceDeploymentStatus::Successful,
            reason: None,
            target_revision: Some(revision),
            counts,
            failures: None,
            rollback_reason: None,
            lifecycle_stage: None,
            awaiting_hook: None,
            triggered_alarms: vec![],
            started_at: None,
            finished_at: None,
            created_at: fargate_deploy::clock::now() - 60.0,
        };
        self.service_deployments.insert(0, (name.to_owned(), old));
        let service = Service {
            arn: format!("arn:aws:ecs:{REGION}:{ACCOUNT}:service/shop/{name}"),
            name: name.to_owned(),
            cluster_arn: format!("arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/shop"),
            status: "ACTIVE".to_owned(),
            task_definition: runs.clone(),
            counts,
            controller: Controller::Ecs,
            strategy: Strategy::Rolling,
            is_express: false,
            breaker: Breaker { is_enabled: true, rolls_back: true },
            alarms: Alarms::default(),
            minimum_healthy_percent: Some(100),
            maximum_percent: Some(200),
            network_configuration: Some(json!({"awsvpcConfiguration": {"subnets": ["subnet-1"]}})),
            platform_version: Some("1.4.0".to_owned()),
            launch_type: Some("FARGATE".to_owned()),
            volume_configurations: vec![],
            has_managed_tags: false,
            target_groups: vec![],
            load_balanced: None,
            grace_seconds: None,
            deployments: vec![Deployment {
                id: id.as_str().into(),
                role: Role::Primary,
                state: State::Completed,
                counts,
                failed_tasks: 0,
                reason: None,
                task_definition: runs.clone(),
                created_at: None,
                updated_at: None,
            }],
            events: vec![],
            current_service_deployment: None,
        };
        self.services.insert(name.to_owned(), service);
    }

    /// A line of a container, at its own time: late where others were written since.
    pub fn write(&mut self, stream: &str, timestamp: i64, message: &str) {
        let number = self.number();
        let (stream, message) = (stream.to_owned(), message.to_owned());
        let events = self.logs.entry(stream.clone()).or_default();
        let at = events.partition_point(|known| known.timestamp <= timestamp);
        events.insert(at, LogEvent { timestamp, message: message.clone() });
        let id = format!("{number:056}");
        self.events.insert((timestamp, number), FoundEvent { id, stream, timestamp, message });
    }

    pub fn log(&mut self, stream: &str, message: &str) {
        let events = self.logs.entry(stream.to_owned()).or_default();
        events.push(LogEvent { timestamp: i64::try_from(events.len()).unwrap(), message: message.to_owned() });
    }
}
