//! How the stage plays what AWS's documentation leaves open, and how fast it plays it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::request::lock;

/// Which deployment becomes PRIMARY when the circuit breaker rolls back. Field reports show a reused id, one emulator
/// a fresh one; AWS does not document it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RollbackPrimary {
    /// The deployment that was COMPLETED before becomes PRIMARY again, under its own id.
    #[default]
    ReusedId,
    /// A deployment with a new id that runs the old service revision.
    FreshId,
}

/// What `currentServiceDeployment` holds in the answer of the UpdateService call that starts a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CurrentServiceDeployment {
    /// The deployment that the call started.
    #[default]
    New,
    /// Still the previous one.
    Stale,
}

/// What happens to a service deployment when a second UpdateService replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SupersededServiceDeployment {
    /// It ends STOPPED.
    #[default]
    Stopped,
    /// It never leaves IN_PROGRESS.
    InProgressForever,
}

/// Whether a registry push of the very manifest that an immutable tag already names is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IdenticalPush {
    /// 201, as for a mutable tag.
    #[default]
    Accepted,
    /// The refusal that a different manifest gets.
    Refused,
}

/// How far behind the writes each API's reads are. AWS promises read-after-write for none of them, and each has a delay of
/// its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReadLags {
    /// DescribeServices.
    pub services: Duration,
    /// ListServiceDeployments.
    pub service_deployment_list: Duration,
    /// DescribeServiceDeployments.
    pub service_deployments: Duration,
    /// DescribeServiceRevisions.
    pub service_revisions: Duration,
    /// ListTasks: a task that has just been started is not in it.
    pub task_list: Duration,
    /// GetParametersByPath: a parameter that has just been made is not in it.
    pub parameter_list: Duration,
}

impl ReadLags {
    fn of_seconds(probed: &Value) -> Result<Self, String> {
        let mut lags = Self::default();
        for (name, value) in probed.as_object().into_iter().flatten() {
            let lag = match name.as_str() {
                "services" => &mut lags.services,
                "service-deployment-list" => &mut lags.service_deployment_list,
                "service-deployments" => &mut lags.service_deployments,
                "service-revisions" => &mut lags.service_revisions,
                "task-list" => &mut lags.task_list,
                "parameter-list" => &mut lags.parameter_list,
                _ => return Err(format!("`read-lags`: there is no `{name}`")),
            };
            let seconds = value.as_f64().filter(|seconds| (0.0..600.0).contains(seconds));
            *lag =
                Duration::from_secs_f64(seconds.ok_or_else(|| format!("`{name}`: expected seconds, found `{value}`"))?);
        }
        Ok(lags)
    }

    /// The longest of those over services.
    pub(crate) fn longest_of_services(&self) -> Duration {
        let all = [self.services, self.service_deployment_list, self.service_deployments, self.service_revisions];
        all.into_iter().max().unwrap_or_default()
    }
}

/// How a service deployment ends whose rollback StopServiceDeployment asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum StoppedOnRequest {
    /// ROLLBACK_SUCCESSFUL, as every other rollback.
    #[default]
    RollbackSuccessful,
    /// STOPPED: the model says of `stoppedAt` that a manual stop ends so.
    Stopped,
}

/// Whether DescribeServices shows a `rolloutState` for the deployments of a BLUE_GREEN, LINEAR or CANARY service. AWS promises
/// it for ROLLING only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NativeRolloutState {
    #[default]
    Absent,
    Shown,
}

/// The CloudWatch alarms that are in ALARM. Shared by all clones.
#[derive(Clone, Debug, Default)]
pub struct Alarms(Arc<Mutex<BTreeSet<String>>>);

impl Alarms {
    /// Puts an alarm into ALARM, or back to OK.
    pub fn set(&self, name: &str, is_in_alarm: bool) {
        let mut names = lock(&self.0);
        if is_in_alarm {
            names.insert(name.to_owned())
        } else {
            names.remove(name)
        };
    }

    /// Of `names`, those in ALARM.
    pub(crate) fn triggered(&self, names: &[String]) -> Vec<String> {
        let in_alarm = lock(&self.0);
        names.iter().filter(|name| in_alarm.contains(*name)).cloned().collect()
    }
}

/// What happens to tasks that start from now on. Shared by all clones.
#[derive(Clone, Debug, Default)]
pub struct FailureInjection(Arc<AtomicU8>);

/// One kind of [`FailureInjection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedFailure {
    None,
    /// Containers of service tasks are killed shortly after they run.
    CrashNewTasks,
    /// Service tasks fail their container health checks.
    UnhealthyNewTasks,
    /// Containers of one-off tasks are killed.
    FailOneOffs,
    /// Tasks are provisioned for 15 seconds longer.
    SlowStarts,
}

impl FailureInjection {
    const KINDS: [InjectedFailure; 5] = [
        InjectedFailure::None,
        InjectedFailure::CrashNewTasks,
        InjectedFailure::UnhealthyNewTasks,
        InjectedFailure::FailOneOffs,
        InjectedFailure::SlowStarts,
    ];

    pub fn set(&self, kind: InjectedFailure) {
        let index = Self::KINDS.iter().position(|k| *k == kind).unwrap_or_default();
        self.0.store(index as u8, Ordering::SeqCst);
    }

    pub fn get(&self) -> InjectedFailure {
        Self::KINDS.get(usize::from(self.0.load(Ordering::SeqCst))).copied().unwrap_or(InjectedFailure::None)
    }
}

/// What happens on the data channels of ECS Exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecFaults {
    /// The agent asks for a handshake. It skips it for a shell without a key of KMS; other agents did not.
    pub has_handshake: bool,
    /// Messages are lost, come twice and change places, in both directions.
    pub is_unreliable: bool,
    /// The service closes the connection after so many bytes of output, once: about hourly on AWS.
    pub cut_after: Option<usize>,
    /// A session whose connection was lost can be had again.
    pub is_resumable: bool,
}

impl Default for ExecFaults {
    fn default() -> Self {
        Self { has_handshake: false, is_unreliable: false, cut_after: None, is_resumable: true }
    }
}

/// See [`ExecFaults`]. Shared by all clones.
#[derive(Clone, Debug, Default)]
pub struct ExecChannel(Arc<Mutex<ExecFaults>>);

impl ExecChannel {
    pub fn set(&self, faults: ExecFaults) {
        *lock(&self.0) = faults;
    }

    pub fn get(&self) -> ExecFaults {
        *lock(&self.0)
    }

    /// Whether the connection is cut instead of carrying `bytes` more.
    pub(crate) fn cuts_now(&self, bytes: usize) -> bool {
        let mut faults = lock(&self.0);
        let Some(left) = faults.cut_after else { return false };
        faults.cut_after = left.checked_sub(bytes);
        faults.cut_after.is_none()
    }
}

/// The knobs of one stage. The default is the likelier side of every open question.
#[derive(Clone, Debug)]
pub struct Behavior {
    /// See [`RollbackPrimary`].
    pub rollback_primary: RollbackPrimary,
    /// See [`CurrentServiceDeployment`].
    pub current_service_deployment_in_update: CurrentServiceDeployment,
    /// See [`SupersededServiceDeployment`].
    pub superseded_service_deployment: SupersededServiceDeployment,
    /// See [`ReadLags`].
    pub read_lags: ReadLags,
    /// See [`StoppedOnRequest`].
    pub stopped_on_request: StoppedOnRequest,
    /// See [`NativeRolloutState`].
    pub native_rollout_state: NativeRolloutState,
    /// See [`Alarms`].
    pub alarms: Alarms,
    /// DescribeTasks answers MISSING for a moment after RunTask.
    pub missing_right_after_run_task: bool,
    /// See [`IdenticalPush`].
    pub identical_push_to_immutable_tag: IdenticalPush,
    /// See [`FailureInjection`].
    pub failure_injection: FailureInjection,
    /// See [`ExecFaults`].
    pub exec: ExecChannel,
    /// Seconds of the stage per second of AWS's own waiting: provisioning, registration, back-off between failing tasks,
    /// deregistration delay, bake times. No application depends on them.
    pub time_scale: f64,
    /// Seconds of the stage per second between two health checks. An application that is up is found so sooner than on AWS.
    pub check_scale: f64,
    /// Seconds of the stage per second that AWS gives the application: start and grace periods, the time for which it may
    /// fail its health checks, restart attempt period. An application does not boot faster here, so the default is 1.
    /// Time-outs of a single probe and `stopTimeout` are never scaled.
    pub patience_scale: f64,
    /// How long a task without any health check has to stay up before it counts as healthy: 40 seconds on AWS.
    pub settling: Duration,
}

impl Default for Behavior {
    fn default() -> Self {
        Self {
            rollback_primary: RollbackPrimary::default(),
            current_service_deployment_in_update: CurrentServiceDeployment::default(),
            superseded_service_deployment: SupersededServiceDeployment::default(),
            read_lags: ReadLags::default(),
            stopped_on_request: StoppedOnRequest::default(),
            native_rollout_state: NativeRolloutState::default(),
            alarms: Alarms::default(),
            missing_right_after_run_task: false,
            identical_push_to_immutable_tag: IdenticalPush::default(),
            failure_injection: FailureInjection::default(),
            exec: ExecChannel::default(),
            time_scale: 0.02,
            check_scale: 0.1,
            patience_scale: 1.0,
            settling: Duration::from_secs(5),
        }
    }
}

impl Behavior {
    /// For applications that are known to boot at once or never: what AWS gives an application is short, too.
    #[must_use]
    pub fn impatient() -> Self {
        Self { patience_scale: 0.1, settling: Duration::from_millis(800), ..Self::default() }
    }

    /// With what `scripts/probe` found: the member `setting` of its answers. What is not named there stays as it is.
    ///
    /// # Errors
    /// A name or a word that the stage cannot play.
    pub fn with_probed(mut self, setting: &Value) -> Result<Self, String> {
        for (name, value) in setting.as_object().into_iter().flatten() {
            match (name.as_str(), value.as_str().unwrap_or_default()) {
                ("rollback-primary", "reused-id") => self.rollback_primary = RollbackPrimary::ReusedId,
                ("rollback-primary", "fresh-id") => self.rollback_primary = RollbackPrimary::FreshId,
                ("current-service-deployment-in-update", "new") => {
                    self.current_service_deployment_in_update = CurrentServiceDeployment::New;
                }
                ("current-service-deployment-in-update", "stale") => {
                    self.current_service_deployment_in_update = CurrentServiceDeployment::Stale;
                }
                ("superseded-service-deployment", "stopped") => {
                    self.superseded_service_deployment = SupersededServiceDeployment::Stopped;
                }
                ("superseded-service-deployment", "in-progress-forever") => {
                    self.superseded_service_deployment = SupersededServiceDeployment::InProgressForever;
                }
                ("stopped-on-request", "rollback-successful") => {
                    self.stopped_on_request = StoppedOnRequest::RollbackSuccessful;
                }
                ("stopped-on-request", "stopped") => self.stopped_on_request = StoppedOnRequest::Stopped,
                ("native-rollout-state", "absent") => self.native_rollout_state = NativeRolloutState::Absent,
                ("native-rollout-state", "shown") => self.native_rollout_state = NativeRolloutState::Shown,
                ("identical-push-to-immutable-tag", "accepted") => {
                    self.identical_push_to_immutable_tag = IdenticalPush::Accepted;
                }
                ("identical-push-to-immutable-tag", "refused") => {
                    self.identical_push_to_immutable_tag = IdenticalPush::Refused;
                }
                ("missing-right-after-run-task", _) if value.is_boolean() => {
                    self.missing_right_after_run_task = value == true;
                }
                ("read-lags", _) => self.read_lags = ReadLags::of_seconds(value)?,
                _ => return Err(format!("`{name}`: the stage cannot play `{value}`")),
            }
        }
        Ok(self)
    }

    /// As long as on AWS.
    #[must_use]
    pub fn real_pace() -> Self {
        Self {
            time_scale: 1.0,
            check_scale: 1.0,
            patience_scale: 1.0,
            settling: Duration::from_secs(40),
            ..Self::default()
        }
    }

    /// `seconds` of AWS's own waiting, on the stage.
    pub(crate) fn waiting(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64((seconds * self.time_scale).max(0.0))
    }

    /// `seconds` between two health checks, on the stage.
    pub(crate) fn between_checks(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64((seconds * self.check_scale).max(0.0))
    }

    /// `seconds` that AWS gives the application, on the stage.
    pub(crate) fn patience(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64((seconds * self.patience_scale).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_application_is_given_is_as_long_as_on_aws_and_the_platforms_own_waits_are_short() {
        let behavior = Behavior::default();
        assert_eq!(behavior.patience(60.0), Duration::from_secs(60));
        assert!(
            behavior.waiting(60.0) < Duration::from_secs(2) && behavior.between_checks(30.0) < Duration::from_secs(5)
        );
        let real = Behavior::real_pace();
        let all = [real.waiting(60.0), real.between_checks(60.0), real.patience(60.0)];
        assert_eq!((all, real.settling), ([Duration::from_secs(60); 3], Duration::from_secs(40)));
    }
}
