//! What several services of a release want to read at about the same time is read in one call: DescribeServices takes ten
//! services, DescribeServiceDeployments twenty deployments. Who was read for is woken, so that watches that began apart
//! come to read together.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html>,
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceDeployments.html>

use crate::ports::{Aws, Call};
use fargate_deploy_core::names::{ServiceDeploymentArn, ServiceRef, ServiceRevisionArn, TaskDefinitionArn};
use fargate_deploy_core::rollout::{Listed, Target, sort_out};
use fargate_deploy_core::service::{Service, ServiceDeployment};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep_until};

/// Who wants to read within this time is read for now.
const TOGETHER: Duration = Duration::from_secs(1);

/// One reader for everything that is watched in a release.
#[derive(Debug)]
pub struct Poll {
    pub(crate) services: Round<ServiceRef, Service>,
    pub(crate) deployments: Round<ServiceDeploymentArn, ServiceDeployment>,
}

impl Default for Poll {
    fn default() -> Self {
        Self { services: Round::new(10), deployments: Round::new(20) }
    }
}

impl Poll {
    pub async fn service(&self, service: &ServiceRef, aws: Aws<'_>) -> Call<Option<Service>> {
        self.services.read(service, async |all| aws.services.services(all).await).await
    }

    pub async fn deployment(&self, arn: &ServiceDeploymentArn, aws: Aws<'_>) -> Call<Option<ServiceDeployment>> {
        self.deployments.read(arn, async |all| aws.services.service_deployments_by_arn(all).await).await
    }
}

/// The List can be asked with our clock a little ahead of AWS's.
const CLOCK_SKEW: f64 = 120.0;
/// DescribeServiceDeployments takes this many.
const NEWEST: usize = 20;

/// The service deployments of one service since UpdateService, each with the revision that it deploys.
#[derive(Debug)]
pub(crate) struct History {
    /// Our clock when UpdateService was sent.
    since: f64,
    /// A service revision never changes.
    revisions: RefCell<BTreeMap<ServiceRevisionArn, TaskDefinitionArn>>,
}

impl History {
    pub(crate) fn new(since: f64) -> Self {
        Self { since, revisions: RefCell::default() }
    }

    /// Which of them is ours, and whether there is a newer one.
    pub(crate) async fn read(&self, service: &ServiceRef, target: &Target, aws: Aws<'_>) -> Call<Listed> {
        let since = target.created_at.map_or(self.since, |at| at.min(self.since)) - CLOCK_SKEW;
        let mut arns = aws.services.service_deployments(service, since).await?;
        arns.truncate(NEWEST);
        if arns.is_empty() {
            return Ok(Listed::default());
        }
        let mut all = vec![];
        for deployment in aws.services.service_deployments_by_arn(&arns).await?.into_iter().flatten() {
            let Some(arn) = &deployment.target_revision else { continue };
            let Some(revision) = self.revision(arn, aws).await? else { continue };
            all.push((deployment, revision));
        }
        Ok(sort_out(target, self.since, &all))
    }

    async fn revision(&self, arn: &ServiceRevisionArn, aws: Aws<'_>) -> Call<Option<TaskDefinitionArn>> {
        let known = self.revisions.borrow().get(arn).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let found = aws.services.service_revision(arn).await?.map(|r| r.task_definition);
        if let Some(found) = &found {
            self.revisions.borrow_mut().insert(arn.clone(), found.clone());
        }
        Ok(found)
    }
}

/// Reads of one kind.
#[derive(Debug)]
pub(crate) struct Round<K, V> {
    /// Keys that one call takes.
    most: usize,
    due: RefCell<BTreeMap<K, Instant>>,
    /// What was read for somebody who has not taken it yet.
    found: RefCell<BTreeMap<K, Call<Option<V>>>>,
    news: Notify,
    one_at_a_time: Mutex<()>,
}

impl<K: Ord + Clone, V: Clone> Round<K, V> {
    fn new(most: usize) -> Self {
        Self {
            most,
            due: RefCell::default(),
            found: RefCell::default(),
            news: Notify::new(),
            one_at_a_time: Mutex::default(),
        }
    }

    /// Returns at `until`, or as soon as somebody has read for `key`.
    pub(crate) async fn wait(&self, key: &K, until: Instant) {
        self.found.borrow_mut().remove(key);
        self.due.borrow_mut().insert(key.clone(), until);
        let time = sleep_until(until);
        tokio::pin!(time);
        loop {
            let news = self.news.notified();
            if self.found.borrow().contains_key(key) {
                return;
            }
            tokio::select! {
                () = &mut time => return,
                () = news => {}
            }
        }
    }

    /// What was read for `key` since it began to wait, or one call for it and for all that are due soon. A call that is
    /// dropped leaves the others to ask for themselves.
    async fn read(&self, key: &K, ask: impl AsyncFnOnce(&[K]) -> Call<Vec<Option<V>>>) -> Call<Option<V>> {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        if let Some(found) = self.found.borrow_mut().remove(key) {
            return found;
        }
        let keys = self.due_with(key);
        let answer = ask(&keys).await;
        let mut answers: Vec<Call<Option<V>>> = match answer {
            Ok(all) => all.into_iter().map(Ok).collect(),
            Err(e) => keys.iter().map(|_| Err(e.clone())).collect(),
        };
        answers.resize_with(keys.len(), || Ok(None));
        let ours = answers.remove(0);
        self.found.borrow_mut().extend(keys.into_iter().skip(1).zip(answers));
        self.news.notify_waiters();
        ours
    }

    /// `key` first, then those that are due soon, the earliest first.
    fn due_with(&self, key: &K) -> Vec<K> {
        let mut due = self.due.borrow_mut();
        due.remove(key);
        let soon = Instant::now() + TOGETHER;
        let mut others: Vec<(Instant, K)> =
            due.iter().filter(|(_, at)| **at <= soon).map(|(key, at)| (*at, key.clone())).collect();
        others.sort();
        others.truncate(self.most - 1);
        for (_, other) in &others {
            due.remove(other);
        }
        std::iter::once(key.clone()).chain(others.into_iter().map(|(_, key)| key)).collect()
    }
}
