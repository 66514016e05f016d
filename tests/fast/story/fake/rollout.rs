//! Deployments of services: how UpdateService goes on.

use super::ecs::Aws;
use super::task::{RunningTask, container};
use super::{ACCOUNT, REGION, definition_arn};
use fargate_deploy_core::names::*;
use fargate_deploy_core::service::*;
use fargate_deploy_core::task::Task;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    Succeeds,
    /// Its tasks run another digest than the revision names.
    RunsDigest(String),
    /// Three tasks crash, the circuit breaker rolls back; the primary gets a new id, or its old one again.
    RolledBack {
        reuses_id: bool,
    },
    /// The same without rollback: FAILED, and nothing follows.
    Failed,
    /// No breaker: a task crashes every ten seconds, for ever.
    CrashLoops,
    /// The same, and ECS counts none of them: they end after they were RUNNING, and nothing checks their health.
    CrashLoopsUncounted,
    /// Neither gets ready nor fails.
    Hangs,
    /// Somebody else's deployment replaces it.
    SupersededBy(&'static str),
    /// The breaker rolls back, and the old revision does not start either.
    RollbackFails,
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl Aws {
    pub fn update(&mut self, name: &str, to: &TaskDefinitionArn, force: bool) -> Service {
        let service = self.services.get(name).unwrap();
        if service.task_definition == *to && !force {
            return service.clone();
        }
        let previous = service.task_definition.clone();
        self.updates.push((Instant::now(), name.to_owned(), previous.clone(), to.clone()));
        let ending = self.endings.get_mut(name).and_then(|e| e.pop_front()).unwrap_or(Ending::Succeeds);
        let id = self.start_deployment(name, to);
        self.record_service_deployment(name, &id, to);
        self.script(name, &id, &previous, ending);
        self.services[name].clone()
    }

    fn start_deployment(&mut self, name: &str, to: &TaskDefinitionArn) -> DeploymentId {
        let id = DeploymentId::new(format!("ecs-svc/{}", self.number()));
        let service = self.services.get_mut(name).unwrap();
        let desired = service.counts.desired;
        service.deployments.iter_mut().for_each(|d| d.role = Role::Active);
        service.deployments.insert(
            0,
            Deployment {
                id: id.clone(),
                role: Role::Primary,
                state: State::InProgress,
                counts: Counts { desired, running: 0, pending: desired },
                failed_tasks: 0,
                reason: None,
                task_definition: to.clone(),
                created_at: None,
                updated_at: None,
            },
        );
        service.task_definition = to.clone();
        id
    }

    fn record_service_deployment(&mut self, name: &str, id: &DeploymentId, to: &TaskDefinitionArn) {
        let arn = |kind: &str| format!("arn:aws:ecs:{REGION}:{ACCOUNT}:{kind}/shop/{name}/{id}");
        let revision = ServiceRevisionArn::new(arn("service-revision"));
        self.revisions.insert(revision.clone(), to.clone());
        let deployment = ServiceDeployment {
            arn: ServiceDeploymentArn::new(arn("service-deployment")),
            status: ServiceDeploymentStatus::InProgress,
            reason: None,
            target_revision: Some(revision),
            counts: self.services[name].deployments[0].counts,
            failures: None,
            rollback_reason: None,
            lifecycle_stage: None,
            awaiting_hook: None,
            triggered_alarms: vec![],
            started_at: None,
            finished_at: None,
            created_at: fargate_deploy::clock::now(),
        };
        self.listed_from.insert(deployment.arn.clone(), Instant::now() + self.listing_lag);
        self.service_deployments.insert(0, (name.to_owned(), deployment));
    }

    fn script(&mut self, name: &str, id: &DeploymentId, previous: &TaskDefinitionArn, ending: Ending) {
        let (name, id, previous) = (name.to_owned(), id.clone(), previous.clone());
        match ending {
            Ending::Succeeds => self.after(seconds(20), move |aws| aws.complete(&name, &id, None)),
            Ending::RunsDigest(digest) => {
                self.after(seconds(20), move |aws| aws.complete(&name, &id, Some(digest)));
            }
            Ending::Hangs => {}
            Ending::CrashLoops => {
                for n in 1..200 {
                    let (name, id) = (name.clone(), id.clone());
                    self.after(seconds(10 * n), move |aws| aws.crash(&name, &id, None));
                }
            }
            Ending::CrashLoopsUncounted => {
                self.says_started(&name, self.services[&name].counts.desired);
                for n in 1..200 {
                    let (name, id) = (name.clone(), id.clone());
                    self.after(seconds(10 * n), move |aws| {
                        aws.crash(&name, &id, None);
                        if let Some(ours) = aws.deployment(&name, &id) {
                            ours.failed_tasks = 0;
                        }
                        aws.says_started(&name, 1);
                    });
                }
            }
            Ending::SupersededBy(other) => self.after(seconds(15), move |aws| {
                let other = TaskDefinitionArn::new(definition_arn(other));
                let newer = aws.start_deployment(&name, &other);
                aws.after(seconds(20), move |aws| aws.complete(&name, &newer, None));
            }),
            Ending::Failed => {
                self.crash_thrice(&name, &id);
                self.after(seconds(35), move |aws| {
                    aws.with_service_deployment(&id, |d| d.status = ServiceDeploymentStatus::Stopped);
                    let ours = aws.deployment(&name, &id).unwrap();
                    ours.state = State::Failed;
                    ours.reason = Some("ECS deployment circuit breaker: tasks failed to start.".to_owned());
                });
            }
            Ending::RolledBack { reuses_id } => {
                self.crash_thrice(&name, &id);
                self.after(seconds(35), move |aws| aws.roll_back(&name, &id, &previous, reuses_id, true));
            }
            Ending::RollbackFails => {
                self.crash_thrice(&name, &id);
                self.after(seconds(35), move |aws| aws.roll_back(&name, &id, &previous, false, false));
            }
        }
    }

    pub fn deployment(&mut self, name: &str, id: &DeploymentId) -> Option<&mut Deployment> {
        self.services.get_mut(name)?.deployments.iter_mut().find(|d| d.id == *id)
    }

    fn with_service_deployment(&mut self, id: &DeploymentId, change: impl FnOnce(&mut ServiceDeployment)) {
        let end = format!("/{id}");
        if let Some((_, found)) = self.service_deployments.iter_mut().find(|(_, d)| d.arn.as_str().ends_with(&end)) {
            change(found);
        }
    }

    fn complete(&mut self, name: &str, id: &DeploymentId, digest: Option<String>) {
        let service = self.services.get_mut(name).unwrap();
        if service.primary().is_none_or(|p| p.id != *id) {
            return;
        }
        service.deployments.retain(|d| d.id == *id);
        let desired = service.counts.desired;
        let ours = &mut service.deployments[0];
        ours.state = State::Completed;
        ours.counts = Counts { desired, running: desired, pending: 0 };
        let (counts, runs) = (ours.counts, ours.task_definition.clone());
        self.with_service_deployment(id, |d| {
            d.status = ServiceDeploymentStatus::Successful;
            d.counts = counts;
        });
        self.tasks.retain(|t| t.service.as_deref() != Some(name) || t.task.is_stopped());
        let image = self.definition(runs.as_str()).and_then(|d| {
            d.containers().next()?.get("image")?.as_str()?.split_once('@').map(|(_, digest)| digest.to_owned())
        });
        for _ in 0..desired {
            let mut app = container("app", None);
            app.image_digest = digest.clone().or(image.clone());
            self.add_task(name, id, &runs, "RUNNING", vec![app]);
        }
    }

    fn add_task(
        &mut self,
        name: &str,
        id: &DeploymentId,
        runs: &TaskDefinitionArn,
        status: &str,
        containers: Vec<fargate_deploy_core::task::ContainerState>,
    ) -> TaskArn {
        let arn = TaskArn::new(format!("arn:aws:ecs:{REGION}:{ACCOUNT}:task/shop/task{}", self.number()));
        let task = Task {
            arn: arn.clone(),
            task_definition: runs.clone(),
            last_status: status.to_owned(),
            desired_status: status.to_owned(),
            started_by: Some(id.to_string()),
            stop_code: None,
            stopped_reason: None,
            health: None,
            containers,
            stopped_at: None,
            started_at: None,
        };
        self.tasks.push(RunningTask { task, service: Some(name.to_owned()), known_from: Instant::now() });
        arn
    }

    fn says_started(&mut self, name: &str, tasks: i64) {
        let id = format!("event-{}", self.number());
        let message = format!("(service {name}) has started {tasks} tasks: (task 1f).");
        let event = ServiceEvent { id, message, created_at: fargate_deploy::clock::now() };
        self.services.get_mut(name).unwrap().events.insert(0, event);
    }

    fn crash_thrice(&mut self, name: &str, id: &DeploymentId) {
        for n in 1..=3 {
            let (name, id) = (name.to_owned(), id.clone());
            self.after(seconds(10 * n), move |aws| aws.crash(&name, &id, Some(3)));
        }
    }

    fn crash(&mut self, name: &str, id: &DeploymentId, threshold: Option<i64>) {
        if self.services[name].primary().is_none_or(|p| p.id != *id) {
            return;
        }
        let dying = self.dying.get(name).cloned();
        let ours = self.deployment(name, id).unwrap();
        ours.failed_tasks += 1;
        let (failures, runs) = (ours.failed_tasks, ours.task_definition.clone());
        if let Some(threshold) = threshold {
            self.with_service_deployment(id, |d| d.failures = Some((failures, threshold)));
        }
        let arn = self.add_task(name, id, &runs, "RUNNING", vec![]);
        let stream = format!("app/app/{}", arn.id());
        if let Some(dying) = dying {
            dying.says.iter().for_each(|line| self.log(&stream, line));
            let mut app = container("app", dying.exit_code);
            app.reason = dying.container_reason.map(str::to_owned);
            return self.stop(&arn, dying.stop_code, dying.reason, vec![app]);
        }
        self.log(&stream, &format!("crash {failures}: no such table"));
        self.stop(
            &arn,
            "EssentialContainerExited",
            "Essential container in task exited",
            vec![container("app", Some(1))],
        );
    }

    fn roll_back(&mut self, name: &str, id: &DeploymentId, to: &TaskDefinitionArn, reuses_id: bool, succeeds: bool) {
        if self.services[name].primary().is_none_or(|p| p.id != *id) {
            return;
        }
        self.with_service_deployment(id, |d| {
            d.status = ServiceDeploymentStatus::RollbackInProgress;
            d.rollback_reason = Some("Service deployment rolled back because of the circuit breaker.".to_owned());
        });
        let old = self.services[name].deployments.iter().find(|d| d.task_definition == *to).map(|d| d.id.clone());
        let back = self.start_deployment(name, to);
        let service = self.services.get_mut(name).unwrap();
        let back = match old.filter(|_| reuses_id) {
            Some(old) => {
                service.deployments.retain(|d| d.id != old);
                service.deployments[0].id = old.clone();
                old
            }
            None => back,
        };
        service.deployments[0].reason =
            Some(format!("ECS deployment circuit breaker: rolling back to deploymentId {back}."));
        let ours = self.deployment(name, id).unwrap();
        ours.state = State::Failed;
        ours.reason = Some("ECS deployment circuit breaker: tasks failed to start.".to_owned());
        let (name, id) = (name.to_owned(), id.clone());
        self.after(seconds(10), move |aws| {
            if succeeds {
                aws.with_service_deployment(&id, |d| d.status = ServiceDeploymentStatus::RollbackSuccessful);
                aws.complete(&name, &back, None);
            } else {
                aws.with_service_deployment(&id, |d| d.status = ServiceDeploymentStatus::RollbackFailed);
                aws.deployment(&name, &back).unwrap().state = State::Failed;
            }
        });
    }

    /// StopServiceDeployment: false when it has ended.
    pub fn stop_deployment(&mut self, arn: &ServiceDeploymentArn) -> bool {
        use ServiceDeploymentStatus as Status;
        let Some((name, found)) = self.service_deployments.iter_mut().find(|(_, d)| d.arn == *arn) else {
            return false;
        };
        if !matches!(found.status, Status::Pending | Status::InProgress) {
            return false;
        }
        found.status = Status::RollbackRequested;
        let name = name.clone();
        let id = DeploymentId::new(arn.as_str().split_once(&format!("/shop/{name}/")).unwrap().1);
        let service = &self.services[&name];
        let previous = service.deployments.iter().find(|d| d.role == Role::Active).unwrap().task_definition.clone();
        self.after(seconds(2), move |aws| aws.roll_back(&name, &id, &previous, false, true));
        true
    }

    /// ContinueServiceDeployment: false when it does not wait at that hook.
    pub fn continue_deployment(&mut self, arn: &ServiceDeploymentArn, hook: &str, goes_on: bool) -> bool {
        let Some((name, found)) = self.service_deployments.iter_mut().find(|(_, d)| d.arn == *arn) else {
            return false;
        };
        if found.awaiting_hook.as_deref() != Some(hook) {
            return false;
        }
        found.awaiting_hook = None;
        let name = name.clone();
        let id = DeploymentId::new(arn.as_str().split_once(&format!("/shop/{name}/")).unwrap().1);
        if goes_on {
            self.after(seconds(2), move |aws| aws.complete(&name, &id, None));
            return true;
        }
        self.stop_deployment(arn)
    }
}
