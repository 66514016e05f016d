//! What is seen of a failure: AWS's words, the task, its containers and their logs, and what may be known around it.
//! Nothing of it has to be there.

use crate::service::Service;
use crate::task::Task;
use crate::task_definition::{TaskDefinition, container_name, is_essential};
use serde_json::Value;

/// How a connection that cannot be made is told.
pub(super) const NO_ANSWER: &[&str] = &[
    "i/o timeout",
    "request canceled while waiting for connection",
    "context deadline exceeded",
    "Client.Timeout exceeded",
    "TLS handshake timeout",
    "connection issue",
    "connect: connection timed out",
    "no route to host",
    "network is unreachable",
    "context canceled",
    "signal: killed",
];

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// `EssentialContainerExited`, `TaskFailedToStart` ...: an open string.
    pub stop_code: Option<String>,
    pub stopped_reason: Option<String>,
    pub containers: Vec<SeenContainer>,
    /// Messages of the service since the deployment began, oldest first.
    pub events: Vec<String>,
    /// Why ECS ended the deployment.
    pub deployment_reason: Option<String>,
    /// What a call to AWS or to a registry was refused with, or a failure of RunTask: `CODE: MESSAGE`.
    pub refusal: Option<String>,
    pub targets: Vec<SeenTarget>,
    pub target_check: Option<TargetCheck>,
    /// `healthCheckGracePeriodSeconds`.
    pub grace_seconds: Option<u64>,
    /// The port that the load balancer sends requests to, and the container behind it.
    pub load_balanced: Option<(String, u16)>,
    /// The container that it is about, where that is not the one behind the load balancer: of a release command.
    pub main: Option<String>,
    /// `linux/amd64`, what the task definition asks for.
    pub task_platform: Option<String>,
    /// Of the task, in CPU units and MiB.
    pub cpu: Option<u64>,
    pub memory: Option<u64>,
    pub ephemeral_gib: Option<u64>,
    pub execution_role: Option<String>,
    pub task_role: Option<String>,
    pub network: Option<SeenNetwork>,
    /// Seconds since the epoch.
    pub started_at: Option<f64>,
    pub stopped_at: Option<f64>,
    /// The service's `desiredCount`, `minimumHealthyPercent` and `maximumPercent`.
    pub desired: Option<i64>,
    pub minimum_percent: Option<i64>,
    pub maximum_percent: Option<i64>,
    /// Names of the CloudWatch alarms that can end a deployment.
    pub alarms: Vec<String>,
    /// It is a release command, of this name.
    pub command: Option<String>,
    /// Its own time limit in seconds passed.
    pub passed_deadline: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeenContainer {
    pub name: String,
    pub is_essential: bool,
    pub exit_code: Option<i64>,
    pub reason: Option<String>,
    pub health: Option<String>,
    /// Oldest first.
    pub log: Vec<SeenLine>,
    pub image: Option<String>,
    /// `linux/arm64`: the only one that the image is built for.
    pub image_platform: Option<String>,
    pub ports: Vec<u16>,
    /// Its hard limit in MiB.
    pub memory: Option<u64>,
    pub stop_timeout: Option<u64>,
    /// The command of its health check, and how long a failing one is borne at the start, in seconds.
    pub check: Option<String>,
    pub check_start_period: Option<u64>,
    /// With `interval` and `retries`: how long it takes until it is called unhealthy.
    pub check_takes: Option<u64>,
    pub log_group: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeenLine {
    /// Seconds since the epoch.
    pub at: Option<f64>,
    pub text: String,
}

impl From<&str> for SeenLine {
    fn from(text: &str) -> Self {
        Self { at: None, text: text.to_owned() }
    }
}

/// One target of DescribeTargetHealth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenTarget {
    pub state: String,
    /// `Target.ResponseCodeMismatch`.
    pub code: String,
    pub description: String,
    pub port: Option<u16>,
}

/// How a target group checks its targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetCheck {
    pub path: Option<String>,
    /// `None`: the port of the traffic.
    pub port: Option<u16>,
    /// `200-399`.
    pub matcher: Option<String>,
    /// Seconds.
    pub timeout: Option<u64>,
    /// `ip`, `instance`, `lambda`.
    pub target_type: Option<String>,
    pub vpc: Option<String>,
}

/// Where the tasks run, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenNetwork {
    pub has_public_ip: Option<bool>,
    pub subnets: Vec<SeenSubnet>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenSubnet {
    pub id: String,
    pub way_out: Option<WayOut>,
    pub free_addresses: Option<u64>,
}

/// Where a subnet's route to everywhere leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// An internet gateway: for tasks with a public IP only.
    InternetGateway,
    Nat,
    /// A transit gateway, a peering, an appliance.
    Other,
    None,
}

/// What can tell causes apart that look alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// Target health, and how the target group checks.
    pub targets: bool,
    /// Subnets and their routes.
    pub network: bool,
    /// The image's platform.
    pub image: bool,
}

impl Seen {
    /// What AWS or a registry refused a call with.
    pub fn refused(words: impl Into<String>) -> Self {
        Self { refusal: Some(words.into()), ..Self::default() }
    }

    /// A task and what its definition says of it.
    #[must_use]
    pub fn with_task(mut self, task: &Task) -> Self {
        self.stop_code.clone_from(&task.stop_code);
        self.stopped_reason.clone_from(&task.stopped_reason);
        (self.started_at, self.stopped_at) = (task.started_at, task.stopped_at);
        for state in &task.containers {
            let container = self.container_mut(state.name.as_str());
            container.exit_code = state.exit_code;
            container.reason.clone_from(&state.reason);
            container.health.clone_from(&state.health);
        }
        self
    }

    #[must_use]
    pub fn with_definition(mut self, definition: &TaskDefinition) -> Self {
        let text = |name: &str| definition.body.get(name).and_then(Value::as_str).map(str::to_owned);
        self.task_platform = Some(definition.platform().to_owned());
        (self.cpu, self.memory) = (number(definition.body.get("cpu")), number(definition.body.get("memory")));
        self.ephemeral_gib = number(definition.body.get("ephemeralStorage").and_then(|s| s.get("sizeInGiB")));
        (self.execution_role, self.task_role) = (text("executionRoleArn"), text("taskRoleArn"));
        for body in definition.containers() {
            let container = self.container_mut(container_name(body));
            let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
            let list = |name: &str| body.get(name).and_then(Value::as_array).into_iter().flatten();
            container.is_essential = is_essential(body);
            container.image = text("image");
            let ports = list("portMappings").filter_map(|p| number(p.get("containerPort")));
            container.ports = ports.filter_map(|port| u16::try_from(port).ok()).collect();
            container.memory = number(body.get("memory"));
            container.stop_timeout = number(body.get("stopTimeout"));
            let group = body.get("logConfiguration").and_then(|l| l.get("options")?.get("awslogs-group")?.as_str());
            container.log_group = group.map(str::to_owned);
            if let Some(check) = body.get("healthCheck") {
                let words = check.get("command").and_then(Value::as_array).into_iter().flatten();
                let words: Vec<_> = words.filter_map(Value::as_str).filter(|w| !w.starts_with("CMD")).collect();
                container.check = Some(words.join(" ")).filter(|command| !command.is_empty());
                let of = |name: &str, otherwise| number(check.get(name)).unwrap_or(otherwise);
                container.check_start_period = Some(of("startPeriod", 0));
                container.check_takes = Some(of("interval", 30) * of("retries", 3));
            }
        }
        self
    }

    /// The settings of a service, and its messages from `since` on (seconds since the epoch).
    #[must_use]
    pub fn with_service(mut self, service: &Service, since: Option<f64>) -> Self {
        let is_new = |at: f64| since.is_none_or(|since| at >= since);
        let events = service.events.iter().rev().filter(|e| is_new(e.created_at));
        self.events = events.map(|e| e.message.clone()).collect();
        self.desired = Some(service.counts.desired);
        (self.minimum_percent, self.maximum_percent) = (service.minimum_healthy_percent, service.maximum_percent);
        self.grace_seconds = service.grace_seconds;
        self.alarms.clone_from(&service.alarms.names);
        self.load_balanced = service.load_balanced.clone();
        let vpc = service.network_configuration.as_ref().and_then(|n| n.get("awsvpcConfiguration"));
        if let Some(vpc) = vpc {
            let network = self.network.get_or_insert_default();
            let assigned = vpc.get("assignPublicIp").and_then(Value::as_str);
            network.has_public_ip = Some(assigned == Some("ENABLED"));
            if network.subnets.is_empty() {
                let ids = vpc.get("subnets").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
                network.subnets = ids.map(|id| SeenSubnet { id: id.to_owned(), ..SeenSubnet::default() }).collect();
            }
        }
        self
    }

    /// What else is worth a look, given the words that are there.
    pub fn looks(&self) -> Looks {
        let reasons = self.containers.iter().filter_map(|c| c.reason.as_ref());
        let said: Vec<&String> = self.stopped_reason.iter().chain(reasons).chain(&self.events).collect();
        let lines = self.failed_container().into_iter().flat_map(|c| c.log.iter().map(|line| &line.text));
        let has = |text: &str, words: &[&str]| {
            let text = text.to_ascii_lowercase();
            words.iter().any(|word| text.contains(&word.to_ascii_lowercase()))
        };
        let is_said = |words: &[&str]| said.iter().any(|text| has(text, words));
        let exec = ["exec format error"];
        Looks {
            targets: is_said(&["elb health checks", "is unhealthy in (target-group"]),
            network: is_said(NO_ANSWER) || is_said(&["create network interface", "panic: runtime error"]),
            image: is_said(&exec) || lines.into_iter().any(|line| has(line, &exec)),
        }
    }

    pub fn container(&self, name: &str) -> Option<&SeenContainer> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// The container that the task is there for, where that is known.
    pub(super) fn main_name(&self) -> Option<&str> {
        let behind = self.load_balanced.as_ref().map(|(name, _)| name);
        self.main.as_ref().or(behind).map(String::as_str)
    }

    pub fn container_mut(&mut self, name: &str) -> &mut SeenContainer {
        let at = match self.containers.iter().position(|c| c.name == name) {
            Some(at) => at,
            None => {
                let new = SeenContainer { name: name.to_owned(), is_essential: true, ..SeenContainer::default() };
                self.containers.push(new);
                self.containers.len() - 1
            }
        };
        &mut self.containers[at]
    }

    /// Whether the task ended because a container of it did, as opposed to being stopped or not being started.
    pub(super) fn ended_by_itself(&self) -> bool {
        matches!(self.stop_code.as_deref(), Some("EssentialContainerExited"))
            || (self.stop_code.as_deref().is_none_or(str::is_empty)
                && self.containers.iter().any(|c| c.exit_code.is_some()))
    }

    /// The container that is to blame: one that ended by itself, else the one that waits in vain or is unhealthy, else
    /// one that never ran. 137 and 143 are how ECS ends the others.
    pub fn failed_container(&self) -> Option<&SeenContainer> {
        let own = |c: &&SeenContainer| c.exit_code.is_some_and(|code| !matches!(code, 0 | 137 | 143));
        let told = |c: &&SeenContainer| {
            c.reason
                .as_deref()
                .is_some_and(|r| r.contains("Error:") || r.contains("Error ") || r.contains("dependency"))
        };
        let unhealthy = |c: &&SeenContainer| c.health.as_deref() == Some("UNHEALTHY");
        let finished = |c: &&SeenContainer| c.exit_code == Some(0) && c.is_essential;
        let killed = |c: &&SeenContainer| c.exit_code == Some(137) && c.is_essential;
        let all = &self.containers;
        let by = |is: &dyn Fn(&&SeenContainer) -> bool| all.iter().find(is);
        let is_asked = |c: &SeenContainer| self.main_name() == Some(c.name.as_str());
        let is_by_itself = self.ended_by_itself();
        by(&|c| told(c) && c.is_essential)
            .or_else(|| by(&|c| is_by_itself && own(c) && is_asked(c)))
            .or_else(|| by(&|c| is_by_itself && own(c) && c.is_essential))
            .or_else(|| by(&|c| is_by_itself && finished(c)))
            .or_else(|| by(&|c| is_by_itself && killed(c)))
            .or_else(|| by(&unhealthy))
            .or_else(|| by(&told))
            .or_else(|| by(&|c| is_asked(c)))
            .or_else(|| by(&|c| c.exit_code.is_none() && c.is_essential))
            .or_else(|| all.first())
    }
}

/// ECS has numbers in texts too.
fn number(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}
