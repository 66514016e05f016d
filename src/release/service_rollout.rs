//! One service of a release: what it is to run, how it came to run it, and how that ended.

use crate::clock;
use crate::release_context::ReleaseContext;
use crate::rollout_in_progress::RolloutInProgress;
use crate::steps::register::Revision;
use fargate_deploy_core::outcome::{Failure, Reason, ServiceState};
use fargate_deploy_core::plan::{ServicePlan, Settings};
use fargate_deploy_core::rollout::{Target, Verdict};
use fargate_deploy_core::service::{Deployment, Role};
use fargate_deploy_core::smoke::SmokeFailure;

pub(super) const STILL_MOVING: &str = "was still rolling out when the release was given up";

/// A deployment that an earlier run started is looked for among those of the last day.
const DAY: f64 = 86_400.0;

/// A service of the release, and the revision that it is to run.
pub(super) struct Assignment {
    /// As it was before the release.
    pub service: ServicePlan,
    pub revision: Revision,
    /// It runs the revision already, and is not told to.
    pub stays: bool,
    /// Nobody has seen it serve and answer with this revision.
    pub is_owed: bool,
    /// What it ran before is known, and may be put back.
    pub can_go_back: bool,
}

/// How a service came to run its revision, and how that ended.
pub(super) struct ServiceRollout<'a> {
    pub service: &'a ServicePlan,
    pub revision: &'a Revision,
    /// Of the release, as opposed to what ran before it and goes on.
    pub is_new: bool,
    pub can_go_back: bool,
    /// `None`: ECS made no deployment of it.
    pub moving: Option<RolloutInProgress>,
    /// `None`: it was still rolling out when the release was given up.
    pub verdict: Option<Verdict>,
    /// It is why the release cannot stay.
    pub caused_failure: bool,
    /// What AWS can still say of that.
    pub evidence: Evidence,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Evidence {
    #[default]
    None,
    /// How the deployment's tasks have ended.
    StoppedTasks,
    /// What a task that runs has said last.
    RunningTask,
}

impl<'a> ServiceRollout<'a> {
    pub fn of(assignment: &'a Assignment) -> Self {
        Self {
            service: &assignment.service,
            revision: &assignment.revision,
            is_new: !assignment.stays || assignment.is_owed,
            can_go_back: assignment.can_go_back,
            moving: None,
            verdict: None,
            caused_failure: false,
            evidence: Evidence::None,
        }
    }
}

/// How one service's turn ended.
pub(super) enum Turn<'a> {
    /// The release was over before it.
    NotStarted(&'a ServicePlan),
    /// It serves and answers, or ECS goes on with it.
    Stays(Box<ServiceRollout<'a>>),
    WentBack(Box<ServiceRollout<'a>>, WayBack),
}

/// What became of a service that must not keep the release.
pub(super) enum WayBack {
    /// The previous revision serves again, or a newer deployment owns the service.
    Confirmed,
    /// Why a person is needed.
    Unconfirmed(String),
}

pub(super) fn state_of(verdict: &Verdict) -> ServiceState {
    match verdict {
        Verdict::Stable(_) => ServiceState::Serving,
        Verdict::RolledBack { .. } => ServiceState::RolledBack,
        Verdict::Superseded { .. } => ServiceState::Superseded,
        Verdict::TimedOut { last, is_completed: true, .. } => {
            ServiceState::Short { running: last.running, desired: last.desired }
        }
        Verdict::TimedOut { stage, .. } => ServiceState::rolling_out(stage.as_deref()),
        Verdict::Lost { .. } => ServiceState::Unknown,
        Verdict::Gone { .. } => ServiceState::Gone,
        Verdict::Failed { .. } | Verdict::Unsteady { .. } => ServiceState::Unsteady,
    }
}

/// Why a service did not come to serve.
pub(super) fn failure_of(bad: &mut ServiceRollout<'_>) -> Failure {
    let service = &bad.service.service;
    let revision = bad.revision.arn.short();
    let ended = bad.verdict.as_ref().map_or_else(|| STILL_MOVING.to_owned(), ToString::to_string);
    let what = format!("{service}: {revision} {ended}");
    let reason = match bad.verdict {
        Some(Verdict::Superseded { .. }) => Reason::Superseded,
        Some(Verdict::TimedOut { .. }) => Reason::Timeout,
        Some(Verdict::Unsteady { .. } | Verdict::Gone { .. }) => Reason::Unsteady,
        Some(Verdict::Lost { .. }) => Reason::Unavailable,
        _ => Reason::RolledBack,
    };
    if matches!(reason, Reason::RolledBack | Reason::Unsteady | Reason::Timeout) {
        bad.evidence = Evidence::StoppedTasks;
    }
    let look = format!("fargate-deploy status -s {}", bad.service.key);
    Failure::new(reason, what).with_next(match reason {
        Reason::Superseded => "nothing: the newer deployment decides what serves".to_owned(),
        Reason::Timeout => format!("ECS goes on; look again with: {look}, or raise `wait`"),
        Reason::Unavailable if matches!(bad.verdict, Some(Verdict::Lost { is_signed_out: true, .. })) => format!(
            "ECS goes on; get new credentials (with `role` they are renewed as needed), look at it with: {look}, and run this \
             again: it follows what goes on, and verifies it"
        ),
        Reason::Unavailable => format!(
            "ECS goes on; look at it with: {look}, and run this again when that answers: it follows what goes on, and \
             verifies it"
        ),
        Reason::Unsteady => format!("look at the service now: {look}"),
        _ => "fix what the lines above show and push again".to_owned(),
    })
}

/// The release serves, and does not answer as it should.
pub(super) fn failure_of_smoke(service: &ServicePlan, why: &SmokeFailure) -> Failure {
    Failure::new(Reason::RolledBack, format!("{}: smoke check failed: {why}", service.service))
        .with_next("find out why the new release does not answer, and push again")
}

/// The deployment of what the service should run.
pub(super) fn follow(service: &ServicePlan, primary: &Deployment, settings: &Settings) -> RolloutInProgress {
    let before = &service.before;
    let source = before.deployments.iter().find(|d| d.role == Role::Active);
    let target = Target {
        deployment: primary.id.clone(),
        created_at: primary.created_at,
        task_definition: primary.task_definition.clone(),
        before: source.map(|d| (d.id.clone(), d.task_definition.clone())),
        breaker: before.breaker,
        wait: settings.wait,
    };
    let seen = before.events.iter().map(|e| e.id.clone()).collect();
    let rollout = RolloutInProgress::new(target, seen, clock::now() - DAY);
    RolloutInProgress { fails_fast: settings.fail_fast, ..rollout }
}

/// What served before it is the revision that it replaces.
pub(super) fn note(service: &ServicePlan, moving: &RolloutInProgress, context: &ReleaseContext<'_>) {
    if let Some(noted) = context.record.borrow_mut().service_mut(&service.key) {
        noted.target = Some(moving.target.task_definition.clone());
        if service.before.task_definition != moving.target.task_definition {
            noted.previous = service.before.task_definition.clone();
            noted.previous_release = service.running.release();
        } else if let Some((_, previous)) = &moving.target.before {
            noted.previous = previous.clone();
            noted.previous_release = None;
        }
    }
}
