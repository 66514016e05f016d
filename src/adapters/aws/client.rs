//! How a call to AWS is made. The ports are implemented where their calls are, in one file per service.

use super::failure::{is_about_clock, is_expired, no_session};
use super::session::Session;
use crate::pace::Pace;
use crate::ports::{Aws, Call, CallError, CallErrorKind};
use crate::retry::{Again, retry};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// AWS, through one session. The SDK makes one attempt of each call; how often it is made again is [`retry`]'s.
#[derive(Clone)]
pub struct AwsClient {
    pub(super) session: Session,
    pub(super) ecs: aws_sdk_ecs::Client,
    pub(super) ssm: aws_sdk_ssm::Client,
    pub(super) pace: Pace,
    /// The services of AWS that have answered: one of these that cannot be found just then is there.
    answered: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl AwsClient {
    pub fn new(session: Session) -> Self {
        let mut ecs = aws_sdk_ecs::config::Builder::from(session.config());
        if let Some(endpoint) = session.endpoint("ECS") {
            ecs = ecs.endpoint_url(endpoint);
        }
        let mut ssm = aws_sdk_ssm::config::Builder::from(session.config());
        if let Some(endpoint) = session.endpoint("SSM") {
            ssm = ssm.endpoint_url(endpoint);
        }
        Self {
            ecs: aws_sdk_ecs::Client::from_conf(ecs.build()),
            ssm: aws_sdk_ssm::Client::from_conf(ssm.build()),
            session,
            pace: Pace::default(),
            answered: Arc::default(),
        }
    }

    /// Every port of a release.
    pub fn ports(&self) -> Aws<'_> {
        Aws::of(self)
    }

    /// Makes a call that may be made twice, until AWS has answered it.
    pub(super) async fn call<T>(&self, action: &'static str, send: impl AsyncFn() -> Call<T>) -> Call<T> {
        self.repeat(action, send, CallError::may_pass).await
    }

    /// Makes a call that must not be made twice: again only where AWS says that it did nothing.
    pub(super) async fn call_once<T>(&self, action: &'static str, send: impl AsyncFn() -> Call<T>) -> Call<T> {
        self.repeat(action, send, |error| error.kind == CallErrorKind::Throttled).await
    }

    async fn repeat<T>(
        &self,
        action: &'static str,
        send: impl AsyncFn() -> Call<T>,
        may_pass: impl Fn(&CallError) -> bool,
    ) -> Call<T> {
        let send = &send;
        // What is waited for AWS's limits is not of the time for which a call is repeated.
        self.pace.turn(action).await;
        // On the heap: what awaits a call is nested deeply enough without it.
        let attempt = |limit| {
            Box::pin(async move {
                let answer = self.attempt(action, send, limit).await;
                if matches!(&answer, Err(error) if error.kind == CallErrorKind::Throttled) {
                    self.pace.was_throttled(action);
                }
                if answer.as_ref().err().is_none_or(CallError::is_answered) {
                    self.answered().insert(service_of(action));
                }
                answer
            })
        };
        let is_out_of_reach =
            |error: &CallError| error.out_of_reach().is_some() && !self.answered().contains(service_of(action));
        let again = |error: &CallError| match may_pass(error) && !is_out_of_reach(error) {
            true => Again::Soon,
            false => Again::Never,
        };
        let tell = |error: &CallError| self.session.tell_again(action, error);
        retry(self.session.retry_policy(), attempt, again, tell).await
    }

    fn answered(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One attempt, and one more with a fresh session when AWS says that the one in use has expired, or with AWS's time when
    /// it says that ours is wrong: the SDK has learned it from the answer.
    async fn attempt<T>(&self, action: &'static str, send: &impl AsyncFn() -> Call<T>, limit: Duration) -> Call<T> {
        let credentials = self.session.credentials();
        let send = async || match timeout(limit, send()).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::lost(action, "no answer in time")),
        };
        // Renewed before the attempt's own time begins to run.
        credentials.credentials().await.map_err(|why| no_session(action, &why))?;
        let generation = credentials.generation().await;
        match send().await {
            Err(error) if error.kind == CallErrorKind::Identity && is_expired(&error.code) => {
                credentials.refuse(generation).await;
                credentials.credentials().await.map_err(|why| no_session(action, &why))?;
                send().await
            }
            Err(error) if is_about_clock(&error.code) => send().await,
            answer => answer,
        }
    }
}

/// `ecs` of `ecs:UpdateService`.
fn service_of(action: &'static str) -> &'static str {
    action.split(':').next().unwrap_or(action)
}
