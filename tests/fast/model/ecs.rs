//! How ECS goes on after our UpdateService at second 0: every state of the world with the second from which it is true.
//! Written from AWS's pages on deployments, the circuit breaker, service deployments and eventual consistency, and where
//! those leave something open it goes both ways.

use super::setting::*;
use fargate_deploy_core::names::{ServiceDeploymentArn, ServiceRevisionArn, TaskDefinitionArn};
use fargate_deploy_core::service::*;
use fargate_deploy_core::task::{ContainerState, Task};
use std::rc::Rc;

/// AWS's clock at UpdateService.
pub const UPDATED: f64 = 1_800_000_000.0;
pub const OURS: &str = "ecs-svc/20";
const ARN: &str = "arn:aws:ecs:eu-central-1:111122223333";
/// By when a world has come to its end, if it ever does.
const HORIZON: f64 = 900.0;

/// What is true from one second on.
#[derive(Clone)]
pub struct Moment {
    pub from: f64,
    pub service: Option<Rc<Service>>,
    /// Newest first, with the revision that each deploys.
    pub deployments: Rc<Vec<ServiceDeployment>>,
    pub stopped: Rc<Vec<Task>>,
    pub truth: Truth,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Truth {
    pub ours_completed: bool,
    /// It is the primary one, completed, and as many of its tasks run as should.
    pub ours_serves: bool,
    pub ours_failed: bool,
    /// Somebody else's UpdateService has been taken.
    pub is_superseded: bool,
    pub is_rolling_back: bool,
    /// The rollback of ours has ended, and what it went back to serves.
    pub is_back: bool,
    pub rollback_failed: bool,
    /// Tasks of ours that ended by themselves since it completed, or failed to start before.
    pub deaths: u32,
    pub is_deleted: bool,
    /// Ours is the primary deployment.
    pub is_ours: bool,
}

#[derive(Clone, Debug)]
enum Act {
    Start,
    Run(i64),
    Complete,
    Successful,
    Die,
    Recover,
    Fail(&'static str),
    Abort,
    Alarm,
    Switch(&'static str),
    Back,
    Delete,
    Rescale(i64),
    Rescaled,
    Hook(bool),
    Stage(&'static str),
    Other,
    OtherCompletes,
    OtherFails,
    OtherBack,
}

pub struct Ecs<'a> {
    setting: &'a Setting,
    now: f64,
    agenda: Vec<(f64, usize, Act)>,
    service: Service,
    deployments: Vec<ServiceDeployment>,
    stopped: Vec<Task>,
    truth: Truth,
    /// Who has completed, oldest first: id, revision, createdAt.
    completed: Vec<(String, TaskDefinitionArn, f64)>,
    ids: u32,
    pub moments: Vec<Moment>,
}

pub fn revision(n: u32) -> TaskDefinitionArn {
    TaskDefinitionArn::new(format!("{ARN}:task-definition/web:{n}"))
}

fn arn_of(number: u32) -> ServiceDeploymentArn {
    ServiceDeploymentArn::new(format!("{ARN}:service-deployment/shop/web/{number}"))
}

/// The revision that a service revision's ARN stands for here: the number at its end.
pub fn revision_of(arn: &ServiceRevisionArn) -> TaskDefinitionArn {
    revision(arn.as_str().rsplit('-').next().unwrap().parse().unwrap())
}

impl<'a> Ecs<'a> {
    /// Plays the whole of it. The first moment is the world before UpdateService.
    pub fn play(setting: &'a Setting) -> Vec<Moment> {
        let mut ecs = Self {
            setting,
            now: -100.0,
            agenda: vec![],
            service: before(setting),
            deployments: vec![],
            stopped: vec![],
            truth: Truth::default(),
            completed: vec![],
            ids: 20,
            moments: vec![],
        };
        ecs.remember_the_past();
        ecs.keep();
        ecs.now = 0.0;
        ecs.plan();
        while let Some(at) = ecs.next() {
            let (when, _, act) = ecs.agenda.remove(at);
            if when > HORIZON {
                break;
            }
            ecs.now = when;
            ecs.act(act);
            ecs.keep();
        }
        ecs.moments
    }

    fn next(&self) -> Option<usize> {
        let first = self.agenda.iter().enumerate().min_by(|(_, a), (_, b)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        first.map(|(at, _)| at)
    }

    fn after(&mut self, seconds: f64, act: Act) {
        self.agenda.push((self.now + seconds, self.agenda.len() + self.moments.len() * 100, act));
    }

    fn remember_the_past(&mut self) {
        let oldest = if self.setting.past == Past::Third { 40 } else { 41 };
        if self.setting.past != Past::Nothing {
            self.completed.push((format!("ecs-svc/{}", oldest - 30), revision(oldest), UPDATED - 5000.0));
            self.record(oldest - 30, oldest, UPDATED - 5000.0, ServiceDeploymentStatus::Successful);
        }
        if self.setting.past != Past::Completed {
            self.record(11, 41, UPDATED - 300.0, ServiceDeploymentStatus::InProgress);
        }
    }

    fn record(&mut self, number: u32, to: u32, at: f64, status: ServiceDeploymentStatus) {
        let has_ended = status == ServiceDeploymentStatus::Successful;
        let counts = Counts { desired: self.service.counts.desired, running: 0, pending: 0 };
        self.deployments.insert(
            0,
            ServiceDeployment {
                arn: arn_of(number),
                status,
                reason: None,
                target_revision: Some(ServiceRevisionArn::new(format!(
                    "{ARN}:service-revision/shop/web/{number}-{to}"
                ))),
                counts,
                failures: None,
                rollback_reason: None,
                lifecycle_stage: None,
                awaiting_hook: None,
                triggered_alarms: vec![],
                created_at: at,
                started_at: Some(at),
                finished_at: has_ended.then_some(at + 90.0),
            },
        );
    }

    fn ours(&self) -> u32 {
        if self.setting.is_same_revision { 41 } else { 42 }
    }

    fn plan(&mut self) {
        let setting = self.setting;
        self.after(0.0, Act::Start);
        let end = match setting.fate {
            Fate::Completes { at } | Fate::CompletesAndDies { at, .. } => {
                let at = match setting.hook {
                    Some((from, long)) if from < at => at.max(from + long + 1.0),
                    _ => at,
                };
                for n in 1..=setting.desired {
                    self.after(at * 0.8 * n as f64 / setting.desired as f64, Act::Run(n));
                }
                self.after(at, Act::Complete);
                self.after(at + if setting.seed.is_multiple_of(3) { 1.5 } else { 0.0 }, Act::Successful);
                at
            }
            Fate::Crashes { at } => {
                let threshold = ((setting.desired + 1) / 2).clamp(3, 200);
                for n in 1..=threshold {
                    self.after(at * n as f64 / threshold as f64, Act::Die);
                }
                if setting.strategy == Kind::Rolling && setting.breaker.is_enabled {
                    self.after(at + 0.1, Act::Fail("tasks failed to start."));
                } else {
                    for n in 1..60 {
                        self.after(at + 10.0 * f64::from(n), Act::Die);
                    }
                }
                at
            }
            Fate::AlarmGoesOff { at } => {
                self.after(at * 0.5, Act::Run(setting.desired));
                self.after(at, Act::Alarm);
                at
            }
            Fate::StoppedByAPerson { at, rolls_back } => {
                self.after(at, if rolls_back { Act::Fail("deployment was stopped.") } else { Act::Abort });
                at
            }
            Fate::Hangs => HORIZON,
            Fate::ServiceDeleted { at } => {
                self.after(at, Act::Delete);
                at
            }
        };
        if let Fate::CompletesAndDies { after, every, times, .. } = setting.fate {
            for n in 0..times.min(((HORIZON - end) / every) as u32) {
                let at = end + after + every * f64::from(n) + 0.01;
                self.after(at, Act::Die);
                self.after(at + every * 0.4, Act::Recover);
            }
        }
        if let Some((at, to)) = setting.rescale {
            self.after(at, Act::Rescale(to));
            self.after(at + 8.0, Act::Rescaled);
        }
        if let Some((from, long)) = setting.hook.filter(|(from, _)| *from < end) {
            self.after(from, Act::Hook(true));
            self.after(from + long, Act::Hook(false));
        }
        if let Kind::Native(_) = setting.strategy {
            let stages = ["SCALE_UP", "PRODUCTION_TRAFFIC_SHIFT", "BAKE_TIME", "CLEAN_UP"];
            for (n, stage) in stages.into_iter().enumerate() {
                self.after(end * (0.1 + 0.2 * n as f64), Act::Stage(stage));
            }
        }
        if let Some(other) = setting.other {
            self.after(other.at, Act::Other);
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Start => self.update(self.ours(), OURS.to_owned()),
            Act::Run(n) if self.is_ours_moving() => {
                if let Some(d) = self.primary() {
                    d.counts.running = n.min(d.counts.desired);
                    d.counts.pending = d.counts.desired - d.counts.running;
                }
            }
            Act::Complete if self.is_ours_moving() => {
                self.truth.ours_completed = true;
                self.complete(OURS);
            }
            Act::Successful if self.truth.ours_completed => self.end_ours(ServiceDeploymentStatus::Successful, None),
            Act::Die => self.die(),
            Act::Recover => {
                if let Some(d) = self.primary().filter(|d| d.id.as_str() == OURS) {
                    d.counts.running = d.counts.desired;
                    d.counts.pending = 0;
                }
            }
            Act::Fail(why) if self.is_ours_moving() => self.fail(why),
            Act::Alarm if self.is_ours_moving() => {
                self.event_of(OURS, "deployment failed: alarm detected.");
                self.fail("alarm detected.");
            }
            Act::Abort if self.is_ours_moving() => {
                self.truth.ours_failed = true;
                self.end_ours(ServiceDeploymentStatus::Stopped, Some("stopped by a person"));
                self.set_state(OURS, State::Failed, Some("the deployment was stopped."));
            }
            Act::Switch(why) if !self.truth.is_superseded => self.switch(why),
            Act::Back if !self.truth.is_superseded => self.back(),
            Act::Delete if !self.truth.is_superseded => {
                self.truth.is_deleted = true;
                self.service.status = "INACTIVE".to_owned();
                self.service.deployments.clear();
                self.end_ours(ServiceDeploymentStatus::Stopped, None);
            }
            Act::Rescale(to) => {
                self.service.counts.desired = to;
                if let Some(d) = self.primary() {
                    d.counts.desired = to;
                }
            }
            Act::Rescaled => {
                let has_ended = self.truth.ours_completed || self.truth.is_back;
                if let Some(d) = self.primary().filter(|_| has_ended) {
                    d.counts.running = d.counts.desired;
                    d.counts.pending = 0;
                }
            }
            Act::Hook(waits) if self.is_ours_moving() => {
                self.with_ours(|d| d.awaiting_hook = waits.then(|| "hook-1".to_owned()));
            }
            Act::Stage(stage) if self.is_ours_moving() => {
                self.with_ours(|d| d.lifecycle_stage = Some(stage.to_owned()));
                if stage == "CLEAN_UP" && matches!(self.setting.fate, Fate::Completes { .. }) {
                    self.service.deployments.retain(|d| d.role == Role::Primary);
                }
            }
            Act::Other if !self.truth.is_deleted => self.other_begins(),
            Act::OtherCompletes => {
                let id = self.service.deployments[0].id.as_str().to_owned();
                self.complete(&id);
                self.deployments[0].status = ServiceDeploymentStatus::Successful;
                self.deployments[0].finished_at = Some(UPDATED + self.now);
            }
            Act::OtherFails => self.other_fails(),
            Act::OtherBack => {
                let id = self.service.deployments[0].id.as_str().to_owned();
                self.deployments[0].status = ServiceDeploymentStatus::RollbackSuccessful;
                self.complete(&id);
            }
            _ => {}
        }
    }

    fn is_ours_moving(&self) -> bool {
        !(self.truth.ours_completed || self.truth.ours_failed || self.truth.is_superseded || self.truth.is_deleted)
    }

    fn primary(&mut self) -> Option<&mut Deployment> {
        self.service.deployments.iter_mut().find(|d| d.role == Role::Primary)
    }

    fn update(&mut self, to: u32, id: String) {
        let at = UPDATED + self.now;
        let desired = self.service.counts.desired;
        for d in &mut self.service.deployments {
            d.role = Role::Active;
        }
        let state = self.state(State::InProgress);
        self.service.task_definition = revision(to);
        self.service.deployments.insert(
            0,
            Deployment {
                id: id.as_str().into(),
                role: Role::Primary,
                state,
                counts: Counts { desired, running: 0, pending: desired },
                failed_tasks: 0,
                reason: Some(format!("ECS deployment {id} in progress.")),
                task_definition: revision(to),
                created_at: Some(at),
                updated_at: Some(at),
            },
        );
        if self.setting.stops_superseded {
            for d in &mut self.deployments {
                if is_ongoing(&d.status) {
                    d.status = ServiceDeploymentStatus::Stopped;
                    d.reason = Some("a newer deployment was started".to_owned());
                }
            }
        }
        let number: u32 = id.rsplit('/').next().unwrap().parse().unwrap();
        self.record(number, to, at, ServiceDeploymentStatus::InProgress);
        self.event(format!("(service web) has started {desired} tasks ({id})."));
    }

    /// What `rolloutState` shows where this is true.
    fn state(&self, honest: State) -> State {
        match self.setting.strategy {
            Kind::Rolling | Kind::Native(NativeState::Honest) => honest,
            Kind::Native(NativeState::Absent) => State::Unreported,
            Kind::Native(NativeState::Completed) => State::Completed,
        }
    }

    fn set_state(&mut self, id: &str, honest: State, reason: Option<&str>) {
        let (state, at) = (self.state(honest), UPDATED + self.now);
        let has_texts = self.setting.has_texts;
        if let Some(d) = self.service.deployments.iter_mut().find(|d| d.id.as_str() == id) {
            d.state = state;
            d.reason = reason.filter(|_| has_texts).map(str::to_owned);
            d.updated_at = Some(at);
        }
    }

    fn complete(&mut self, id: &str) {
        self.set_state(id, State::Completed, Some("ECS deployment completed."));
        self.service.deployments.retain(|d| d.id.as_str() == id);
        let desired = self.service.counts.desired;
        if let Some(d) = self.primary() {
            d.counts = Counts { desired, running: desired, pending: 0 };
            let known = (id.to_owned(), d.task_definition.clone(), d.created_at.unwrap());
            self.completed.push(known);
        }
        self.service.counts.running = desired;
        self.event_of(id, "deployment completed.");
    }

    fn die(&mut self) {
        let is_primary = self.primary().is_some_and(|d| d.id.as_str() == OURS);
        if !is_primary || self.truth.ours_failed || self.truth.is_deleted {
            return;
        }
        self.truth.deaths += 1;
        let has_completed = self.truth.ours_completed;
        let d = self.primary().unwrap();
        if has_completed {
            d.counts.running = 0;
            d.counts.pending = d.counts.desired;
        } else {
            d.failed_tasks += 1;
        }
        let failures = d.failed_tasks;
        self.with_ours(|d| d.failures = Some((failures, 3)));
        let number = self.stopped.len();
        self.stopped.push(Task {
            arn: format!("{ARN}:task/shop/task{number}").as_str().into(),
            task_definition: revision(42),
            last_status: "STOPPED".to_owned(),
            desired_status: "STOPPED".to_owned(),
            started_by: Some(OURS.to_owned()),
            stop_code: Some("EssentialContainerExited".to_owned()),
            stopped_reason: Some("Essential container in task exited".to_owned()),
            health: None,
            containers: vec![ContainerState {
                name: "app".into(),
                last_status: Some("STOPPED".to_owned()),
                exit_code: Some(1),
                reason: None,
                image_digest: None,
                health: None,
            }],
            stopped_at: Some(UPDATED + self.now),
            started_at: Some(UPDATED + self.now - 2.0),
        });
    }

    fn fail(&mut self, why: &'static str) {
        self.truth.ours_failed = true;
        self.set_state(OURS, State::Failed, Some(&format!("ECS deployment circuit breaker: {why}")));
        self.event_of(OURS, &format!("deployment failed: {why}"));
        let goes_back = match self.setting.fate {
            Fate::StoppedByAPerson { .. } => true,
            Fate::AlarmGoesOff { .. } => self.setting.alarms_roll_back,
            _ => self.setting.breaker.rolls_back,
        };
        if goes_back && self.setting.rolls_back() {
            self.with_ours(|d| {
                d.status = ServiceDeploymentStatus::RollbackRequested;
                d.rollback_reason = Some(why.to_owned());
            });
            self.after(self.setting.switch_after, Act::Switch(why));
        } else {
            self.end_ours(ServiceDeploymentStatus::Stopped, Some(why));
        }
    }

    /// The last that completed becomes primary again, under its old id or a new one.
    fn make_primary_again(&mut self) -> String {
        let (old_id, to, created_at) = self.completed.last().cloned().unwrap();
        let at = UPDATED + self.now;
        let running = self.service.deployments.iter().find(|d| d.id.as_str() == old_id).map_or(0, |d| d.counts.running);
        self.service.deployments.retain(|d| d.id.as_str() != old_id || !self.setting.reuses_ids);
        for d in &mut self.service.deployments {
            d.role = Role::Active;
        }
        let (id, created_at) = if self.setting.reuses_ids {
            (old_id.clone(), created_at)
        } else {
            self.ids += 1;
            (format!("ecs-svc/{}", self.ids), at)
        };
        let desired = self.service.counts.desired;
        let named = if self.setting.names_new_id { id.clone() } else { old_id.clone() };
        let text = format!("ECS deployment circuit breaker: rolling back to deploymentId {named}.");
        let state = self.state(State::InProgress);
        self.service.task_definition = to.clone();
        self.service.deployments.insert(
            0,
            Deployment {
                id: id.as_str().into(),
                role: Role::Primary,
                state,
                counts: Counts { desired, running, pending: desired - running },
                failed_tasks: 0,
                reason: self.setting.has_texts.then_some(text),
                task_definition: to,
                created_at: Some(created_at),
                updated_at: Some(at),
            },
        );
        self.event(format!("(service web) rolling back to deployment {named}."));
        id
    }

    fn switch(&mut self, why: &'static str) {
        self.truth.is_rolling_back = true;
        self.with_ours(|d| {
            d.status = ServiceDeploymentStatus::RollbackInProgress;
            d.rollback_reason = Some(why.to_owned());
        });
        self.make_primary_again();
        self.after(self.setting.rollback.unwrap_or(10.0), Act::Back);
    }

    fn back(&mut self) {
        let id = self.service.deployments[0].id.as_str().to_owned();
        if self.setting.rollback.is_some() {
            self.truth.is_back = true;
            self.complete(&id);
            self.end_ours(ServiceDeploymentStatus::RollbackSuccessful, None);
        } else {
            self.truth.rollback_failed = true;
            self.set_state(&id, State::Failed, Some("tasks failed to start."));
            self.event_of(&id, "deployment failed: tasks failed to start.");
            self.end_ours(ServiceDeploymentStatus::RollbackFailed, Some("tasks failed to start."));
        }
    }

    fn other_begins(&mut self) {
        let other = self.setting.other.unwrap();
        self.truth.is_superseded = true;
        self.ids += 1;
        let to = match other.to {
            OtherRevision::Newer => 43,
            OtherRevision::Ours => self.ours(),
            OtherRevision::Previous => 41,
        };
        self.update(to, format!("ecs-svc/{}", self.ids));
        self.after(other.takes, if other.completes { Act::OtherCompletes } else { Act::OtherFails });
    }

    fn other_fails(&mut self) {
        let id = self.service.deployments[0].id.as_str().to_owned();
        self.set_state(&id, State::Failed, Some("ECS deployment circuit breaker: tasks failed to start."));
        self.event_of(&id, "deployment failed: tasks failed to start.");
        if self.completed.is_empty() || !self.setting.breaker.rolls_back {
            self.deployments[0].status = ServiceDeploymentStatus::Stopped;
            return;
        }
        self.deployments[0].status = ServiceDeploymentStatus::RollbackInProgress;
        self.make_primary_again();
        self.after(10.0, Act::OtherBack);
    }

    fn with_ours(&mut self, change: impl FnOnce(&mut ServiceDeployment)) {
        let arn = arn_of(20);
        if let Some(found) = self.deployments.iter_mut().find(|d| d.arn == arn)
            && is_ongoing(&found.status)
        {
            change(found);
        }
    }

    fn end_ours(&mut self, status: ServiceDeploymentStatus, reason: Option<&str>) {
        let at = UPDATED + self.now;
        self.with_ours(|d| {
            d.status = status;
            d.reason = reason.map(str::to_owned);
            d.finished_at = Some(at);
        });
    }

    fn event_of(&mut self, id: &str, what: &str) {
        self.event(format!("(service web) (deployment {id}) {what}"));
    }

    fn event(&mut self, message: String) {
        let number = self.service.events.len();
        let event = ServiceEvent { id: format!("event-{number}"), created_at: UPDATED + self.now, message };
        self.service.events.insert(0, event);
    }

    fn keep(&mut self) {
        let mut service = self.service.clone();
        let counts = self.primary().map(|d| d.counts);
        service.counts.running = counts.map_or(0, |c| c.running);
        let primary = service.primary().cloned();
        self.truth.is_ours = primary.as_ref().is_some_and(|d| d.id.as_str() == OURS);
        self.truth.ours_serves = self.truth.ours_completed
            && primary.is_some_and(|d| d.id.as_str() == OURS && d.counts.running >= d.counts.desired);
        if let Some(counts) = counts {
            self.with_ours(|d| d.counts = counts);
        }
        self.moments.push(Moment {
            from: self.now,
            service: Some(Rc::new(service)),
            deployments: Rc::new(self.deployments.clone()),
            stopped: Rc::new(self.stopped.clone()),
            truth: self.truth,
        });
    }
}

fn is_ongoing(status: &ServiceDeploymentStatus) -> bool {
    use ServiceDeploymentStatus as Status;
    !matches!(status, Status::Successful | Status::Stopped | Status::RollbackSuccessful | Status::RollbackFailed)
}

fn before(setting: &Setting) -> Service {
    let counts = Counts { desired: setting.desired, running: setting.desired, pending: 0 };
    let deployment = |id: &str, role: Role, n: u32, state: State, counts: Counts, age: f64| Deployment {
        id: id.into(),
        role,
        state,
        counts,
        failed_tasks: 0,
        reason: None,
        task_definition: revision(n),
        created_at: Some(UPDATED - age),
        updated_at: Some(UPDATED - age + 90.0),
    };
    let quiet = match setting.strategy {
        Kind::Native(NativeState::Absent) => State::Unreported,
        _ => State::Completed,
    };
    let failing = Counts { running: 0, ..counts };
    let deployments = match setting.past {
        Past::Completed => vec![deployment("ecs-svc/11", Role::Primary, 41, quiet, counts, 5000.0)],
        Past::Third => vec![
            deployment("ecs-svc/11", Role::Primary, 41, State::InProgress, failing, 300.0),
            deployment("ecs-svc/10", Role::Active, 40, quiet, counts, 5000.0),
        ],
        Past::Nothing => vec![deployment("ecs-svc/11", Role::Primary, 41, State::Failed, failing, 300.0)],
    };
    Service {
        arn: format!("{ARN}:service/shop/web"),
        name: "web".to_owned(),
        cluster_arn: format!("{ARN}:cluster/shop"),
        status: "ACTIVE".to_owned(),
        task_definition: revision(41),
        counts,
        controller: Controller::Ecs,
        strategy: match setting.strategy {
            Kind::Rolling => Strategy::Rolling,
            Kind::Native(_) => Strategy::Shifting("BLUE_GREEN".to_owned()),
        },
        is_express: false,
        breaker: setting.breaker,
        alarms: setting.alarms(),
        minimum_healthy_percent: Some(100),
        maximum_percent: Some(200),
        network_configuration: None,
        platform_version: None,
        launch_type: None,
        volume_configurations: vec![],
        has_managed_tags: false,
        target_groups: vec!["arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/web/1".to_owned()],
        load_balanced: None,
        grace_seconds: None,
        deployments,
        events: vec![ServiceEvent {
            id: "event-old".to_owned(),
            created_at: UPDATED - 4000.0,
            message: "(service web) has reached a steady state.".to_owned(),
        }],
        current_service_deployment: None,
    }
}
