//! What a client gets to see of a world: late, out of order, or not at all.

use super::ecs::{Moment, UPDATED, revision_of};
use super::setting::{CallKind, Fault, FaultKind, Lag, Setting};
use async_trait::async_trait;
use fargate_deploy::ports::*;
use fargate_deploy_core::names::*;
use fargate_deploy_core::service::{Service, ServiceDeployment, ServiceRevision};
use fargate_deploy_core::task::Task;
use std::cell::RefCell;
use std::time::Duration;
use test_support::Random;
use tokio::time::{Instant, sleep};

/// A call's way there and back.
const WAY: Duration = Duration::from_millis(60);

pub struct Reads<'a> {
    pub setting: &'a Setting,
    pub moments: &'a [Moment],
    pub began: Instant,
    dice: RefCell<Random>,
    /// When, what was asked, and which second of the world was shown; `None`: a fault.
    pub log: RefCell<Vec<(f64, CallKind, Option<f64>)>>,
}

impl<'a> Reads<'a> {
    pub fn new(setting: &'a Setting, moments: &'a [Moment]) -> Self {
        let dice = RefCell::new(Random::new(setting.seed ^ 0x00C0_FFEE));
        Self { setting, moments, began: Instant::now(), dice, log: RefCell::default() }
    }

    pub fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    async fn read(&self, call: CallKind, action: &str) -> Call<&Moment> {
        let fault = self.setting.faults.iter().find(|f| f.call == call && (f.from..f.to).contains(&self.now()));
        if let Some(fault) = fault {
            self.log.borrow_mut().push((self.now(), call, None));
            return Err(self.refused(fault, action).await);
        }
        sleep(WAY).await;
        let Lag { most, varies } = self.setting.lags[call as usize];
        let lag = if varies { self.dice.borrow_mut().between(0.0, most) } else { most };
        let shown = self.now() - lag;
        self.log.borrow_mut().push((self.now(), call, Some(shown)));
        Ok(at(self.moments, shown))
    }

    async fn refused(&self, fault: &Fault, action: &str) -> CallError {
        let (kind, code, tried) = match fault.kind {
            FaultKind::Denied => (CallErrorKind::Denied, "AccessDeniedException", 0),
            FaultKind::Throttled(tried) => (CallErrorKind::Throttled, "ThrottlingException", tried),
            FaultKind::Unreachable(tried) => (CallErrorKind::Unreachable, "", tried),
        };
        sleep(WAY + Duration::from_secs(u64::from(tried))).await;
        CallError { action: action.to_owned(), kind, code: code.to_owned(), message: "no".to_owned(), request_id: None }
    }
}

/// The world at a second.
pub fn at(moments: &[Moment], second: f64) -> &Moment {
    moments.iter().rev().find(|m| m.from <= second).unwrap_or(&moments[0])
}

#[async_trait(?Send)]
impl Services for Reads<'_> {
    async fn services(&self, services: &[ServiceRef]) -> Call<Vec<Option<Service>>> {
        let moment = self.read(CallKind::Services, "ecs:DescribeServices").await?;
        Ok(services.iter().map(|_| moment.service.as_deref().cloned()).collect())
    }

    async fn update_service(&self, _: &ServiceRef, _: &TaskDefinitionArn, _: bool) -> Call<Service> {
        unreachable!("a watch changes nothing")
    }

    async fn service_deployments(&self, _service: &ServiceRef, since: f64) -> Call<Vec<ServiceDeploymentArn>> {
        let moment = self.read(CallKind::List, "ecs:ListServiceDeployments").await?;
        Ok(moment.deployments.iter().filter(|d| d.created_at >= since).map(|d| d.arn.clone()).collect())
    }

    async fn service_deployment(&self, arn: &ServiceDeploymentArn) -> Call<Option<ServiceDeployment>> {
        Ok(self.service_deployments_by_arn(std::slice::from_ref(arn)).await?.remove(0))
    }

    async fn service_deployments_by_arn(&self, arns: &[ServiceDeploymentArn]) -> Call<Vec<Option<ServiceDeployment>>> {
        let moment = self.read(CallKind::Deployments, "ecs:DescribeServiceDeployments").await?;
        Ok(arns.iter().map(|arn| moment.deployments.iter().find(|d| d.arn == *arn).cloned()).collect())
    }

    async fn service_revisions(&self, arns: &[ServiceRevisionArn]) -> Call<Vec<Option<ServiceRevision>>> {
        self.read(CallKind::Deployments, "ecs:DescribeServiceRevisions").await?;
        let of = |arn: &ServiceRevisionArn| {
            Some(ServiceRevision { arn: arn.clone(), task_definition: revision_of(arn), images: vec![] })
        };
        Ok(arns.iter().map(of).collect())
    }

    async fn continue_service_deployment(&self, _: &ServiceDeploymentArn, _: &str, _: bool) -> Call<()> {
        unreachable!("a watch changes nothing")
    }

    async fn stop_service_deployment(&self, _: &ServiceDeploymentArn) -> Call<()> {
        unreachable!("a watch changes nothing")
    }
}

#[async_trait(?Send)]
impl Tasks for Reads<'_> {
    async fn stop_task(&self, _: &ClusterName, _: &TaskArn, _: &str) -> Call<()> {
        unreachable!()
    }

    async fn stopped_tasks(&self, _service: &ServiceRef) -> Call<Vec<TaskArn>> {
        let moment = self.read(CallKind::Tasks, "ecs:ListTasks").await?;
        Ok(moment.stopped.iter().map(|t| t.arn.clone()).collect())
    }

    async fn tasks(&self, _cluster: &ClusterName, tasks: &[TaskArn]) -> Call<Vec<Task>> {
        let moment = self.read(CallKind::Tasks, "ecs:DescribeTasks").await?;
        Ok(moment.stopped.iter().filter(|t| tasks.contains(&t.arn)).cloned().collect())
    }

    async fn running_tasks(&self, _service: &ServiceRef) -> Call<Vec<TaskArn>> {
        unreachable!()
    }

    async fn run_task(&self, _: &RunTask) -> Call<RunTaskAnswer> {
        unreachable!("a watch changes nothing")
    }

    async fn stopped_tasks_of_family(&self, _: &ClusterName, _: &str) -> Call<Vec<TaskArn>> {
        unreachable!()
    }

    async fn tasks_started_by(&self, _: &ClusterName, _: &str) -> Call<Vec<TaskArn>> {
        unreachable!()
    }
}

/// Our clock at UpdateService, which need not be AWS's.
pub fn our_clock(setting: &Setting) -> f64 {
    UPDATED + setting.skew
}
