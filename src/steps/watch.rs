//! Follows a deployment to its end. Nothing is decided here: the state machine asks, this page reads.

use crate::events::{Event, Wait, Warning};
use crate::evidence;
use crate::explanation::Deployment;
use crate::poll::{History, Poll};
use crate::ports::{Aws, Call, CallError, CallErrorKind};
use crate::release_context::{ReleaseContext, StepLog};
use crate::retry;
use crate::rollout_in_progress::RolloutInProgress;
use fargate_deploy_core::cause::Cause;
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::rollout::{Ask, Death, Observation, RolloutEvent, Target, Verdict, deaths_of};
use fargate_deploy_core::task_definition::TaskDefinition;
use std::cell::Cell;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Between two looks at the stopped tasks.
const LOOK: Duration = Duration::from_secs(10);
/// What only adds to DescribeServices does not keep it waiting: a call that is still being retried by then has failed.
const PATIENCE: Duration = Duration::from_secs(4);

/// Reads until the state machine has a verdict.
pub async fn watch(
    service: &ServiceRef,
    definition: &TaskDefinition,
    moving: &mut RolloutInProgress,
    poll: &Poll,
    context: &ReleaseContext<'_>,
) -> Verdict {
    watch_and_tell(service, definition, moving, poll, context, &|_| {}).await
}

/// The same; `goes_back` is told why when ECS has begun to go back: that ours does not come to serve is known long before the previous
/// revision serves again.
pub async fn watch_and_tell(
    service: &ServiceRef,
    definition: &TaskDefinition,
    moving: &mut RolloutInProgress,
    poll: &Poll,
    context: &ReleaseContext<'_>,
    goes_back: &dyn Fn(&str),
) -> Verdict {
    let of = || service.clone();
    let step = context.begin(Event::RolloutWatched { service: of(), deployment: moving.target.deployment.clone() });
    let RolloutInProgress { rollout, target, began, since, fails_fast, explained } = moving;
    let (target, fails_fast) = (&*target, *fails_fast);
    let reader = Reader { service, target, history: History::new(*since), poll, context, has_told: Cell::default() };
    let mut failures = 0;
    let mut looked: Option<Duration> = None;
    let mut last: Option<Duration> = None;
    loop {
        let at = began.elapsed();
        let (pause, ask) = rollout.next(at);
        if let Some(last) = last {
            let until = Instant::now() + pause.saturating_sub(at.saturating_sub(last));
            match &ask {
                Ask::Service => poll.services.wait(service, until).await,
                Ask::ServiceDeployment(arn) => poll.deployments.wait(arn, until).await,
                Ask::List | Ask::Tasks => sleep_until(until).await,
            }
        }
        last = Some(began.elapsed());
        let observation = retry::each_within(retry::POLL, reader.read(&ask)).await;
        let news = rollout.observe(began.elapsed(), observation);
        if let Some(stage) = news.iter().rev().find_map(|news| match news {
            RolloutEvent::LifecycleStage { stage } => Some(stage),
            _ => None,
        }) {
            context.set_stage(service, stage);
        }
        if let Some(reason) = news.iter().find_map(|news| match news {
            RolloutEvent::RollingBack { reason } => Some(reason),
            _ => None,
        }) {
            goes_back(reason);
        }
        tell_news(&step, service, news);
        let has_failures = rollout.failures() > failures;
        // ECS does not count a task that ended after it was RUNNING, where nothing checks its health.
        let rested = |since: Duration| began.elapsed().saturating_sub(since) >= LOOK;
        let is_due = fails_fast && rested(looked.unwrap_or_default());
        let is_news = has_failures && looked.is_none_or(rested);
        if rollout.verdict().is_none() && (is_news || is_due) {
            failures = rollout.failures();
            looked = Some(began.elapsed());
            let deployment = Deployment { service, definition, since: target.created_at, reason: None, is_over: false };
            let evidence = Box::pin(evidence::of_deployment(context.aws, target, &deployment));
            let evidence = retry::all_within(retry::POLL, evidence).await;
            // Once; and once more where the first was not certain.
            let is_new =
                |cause: &Cause| explained.as_ref().is_none_or(|told| !told.is_certain() && told.code != cause.code);
            if let Some(cause) = evidence.cause.filter(is_new) {
                step.emit(Event::RolloutExplained { service: of(), cause: cause.clone() });
                *explained = Some(cause);
            }
            for text in evidence.lines.into_iter().filter(|_| has_failures) {
                step.emit(Event::RolloutEvidence { service: of(), text });
            }
            if let Some(crash_loop) = evidence.crash_loop.filter(|_| fails_fast) {
                tell_news(&step, service, rollout.observe(began.elapsed(), Observation::CrashLoop(crash_loop)));
            }
        }
        if let Some(verdict) = rollout.verdict() {
            step.emit(Event::RolloutEnded {
                service: of(),
                revision: target.task_definition.clone(),
                verdict: verdict.clone(),
                took: step.took(),
            });
            return verdict.clone();
        }
        let counts = rollout.counts();
        step.waiting(Wait::Rollout { service: of(), running: counts.running, desired: counts.desired });
    }
}

/// What is read of one deployment.
struct Reader<'a> {
    service: &'a ServiceRef,
    target: &'a Target,
    history: History,
    poll: &'a Poll,
    context: &'a ReleaseContext<'a>,
    has_told: Cell<bool>,
}

impl Reader<'_> {
    async fn read(&self, ask: &Ask) -> Observation {
        match ask {
            Ask::Service => match self.poll.service(self.service, self.context.aws).await {
                Ok(found) => Observation::Service(found.map(Box::new)),
                Err(e) if e.kind == CallErrorKind::Identity => Observation::SignedOut(e.to_string()),
                Err(e) => Observation::Unreadable(e.to_string()),
            },
            Ask::List => {
                let list = self.history.read(self.service, self.target, self.context.aws);
                self.optional(list, Observation::Listed).await
            }
            Ask::ServiceDeployment(arn) => {
                self.optional(self.poll.deployment(arn, self.context.aws), Observation::ServiceDeployment).await
            }
            Ask::Tasks => {
                let deaths = timeout(PATIENCE, deaths(self.service, self.target, self.context.aws)).await;
                Observation::Tasks(deaths.ok().and_then(Result::ok))
            }
        }
    }

    /// A role or a stand-in without the ServiceDeployments API is no failure: DescribeServices is read instead. A missing
    /// permission is said once.
    async fn optional<T>(
        &self,
        call: impl Future<Output = Call<T>>,
        known: impl FnOnce(T) -> Observation,
    ) -> Observation {
        match timeout(PATIENCE, call).await {
            Ok(Ok(answer)) => known(answer),
            Ok(Err(CallError { kind: CallErrorKind::Denied, action, .. })) => {
                if !self.has_told.replace(true) {
                    self.context.warn(Warning::DeploymentsNotReadable { service: self.service.clone(), action });
                }
                Observation::Denied
            }
            Ok(Err(CallError { kind: CallErrorKind::Invalid | CallErrorKind::NotFound, .. })) => Observation::Denied,
            Ok(Err(e)) => Observation::ApiUnreadable(e.to_string()),
            Err(_) => Observation::ApiUnreadable(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }
}

async fn deaths(service: &ServiceRef, target: &Target, aws: Aws<'_>) -> Call<Vec<Death>> {
    let stopped = aws.tasks.stopped_tasks(service).await?;
    if stopped.is_empty() {
        return Ok(vec![]);
    }
    Ok(deaths_of(&target.deployment, &aws.tasks.tasks(&service.cluster, &stopped).await?))
}

fn tell_news(step: &StepLog<'_>, service: &ServiceRef, news: Vec<RolloutEvent>) {
    for news in news {
        step.emit(Event::RolloutNews { service: service.clone(), news });
    }
}
