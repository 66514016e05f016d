//! A newer commit is not replaced by an older one, whose run began before the newer one had deployed: service by service, by
//! what really serves.

use super::Release;
use crate::events::Warning;
use fargate_deploy_core::outcome::{Failure, Reason, ServiceState, Success};
use fargate_deploy_core::plan::{Plan, ServicePlan};

impl Release<'_> {
    /// Leaves to a newer run of the same repository what that has deployed since `first` was read, however its run ended: the
    /// revision that a service runs names its run. Whoever starts an old run again wants the old commit, and gives way to
    /// nobody.
    ///
    /// # Errors
    /// `superseded`: nothing is left to this run.
    pub(super) fn give_way_to_newer(&self, first: &Plan) -> Result<(), Failure> {
        let Some(ours) = self.order.provenance.run_url.as_deref().filter(|_| self.order.run.is_first_attempt()) else {
            return Ok(());
        };
        let plan = self.plan();
        let changes = plan.changes(&self.images.ready());
        let changing =
            plan.services.iter().filter(|s| plan.settings.force || changes.iter().any(|(key, _)| *key == s.key));
        let (mut left, mut is_all) = (vec![], true);
        for service in changing {
            let is_meanwhile = |newer: &&str| self.has_deployed_meanwhile(newer, service, first);
            let by = self.deployed_by(service);
            match by.as_deref().filter(|theirs| is_newer_run(theirs, ours)).filter(is_meanwhile) {
                Some(newer) => left.push((service.key.clone(), newer.to_owned())),
                None => is_all = false,
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        if is_all {
            let (key, newer) = left.remove(0);
            let name = plan.service(&key).map_or_else(|| key.to_string(), |s| s.service.to_string());
            return Err(superseded(&name, &newer).with_next("nothing: to go back to this commit, start this run again"));
        }
        for (key, newer) in &left {
            self.context.set_state(key, ServiceState::Superseded);
            if let Some(service) = plan.service(key) {
                self.context.warn(Warning::LeftToNewerRun { service: service.service.clone(), run: newer.clone() });
            }
        }
        self.left_to_newer.replace(left);
        Ok(())
    }

    /// The run that deployed what the service runs, by the tags of that or by what the lease says of it.
    fn deployed_by(&self, service: &ServicePlan) -> Option<String> {
        let recorded = || {
            let release = self.lease_of(service)?.release_record()?;
            release.run.filter(|_| release.revision == service.before.task_definition.as_str())
        };
        service.running.run().map(str::to_owned).or_else(recorded)
    }

    /// It deployed the service since this run began, or was about to when this run came for the lease.
    fn has_deployed_meanwhile(&self, newer: &str, service: &ServicePlan, first: &Plan) -> bool {
        let runs = &service.before.task_definition;
        let has_moved = first.service(&service.key).is_none_or(|then| then.before.task_definition != *runs);
        has_moved || self.lease_of(service).is_some_and(|lease| lease.held_by() == Some(newer))
    }

    /// What was left to a newer run is not this one's success.
    ///
    /// # Errors
    /// `superseded`: the rest serves this run's commit.
    pub(super) fn success_beside_newer(&self, success: Success) -> Result<Success, Failure> {
        let (plan, left) = (self.plan(), self.left_to_newer.borrow().clone());
        let Some((key, newer)) = left.first() else { return Ok(success) };
        let name = plan.service(key).map_or_else(|| key.to_string(), |s| s.service.to_string());
        Err(superseded(&name, newer).with_next(
            "nothing: the other services of this release were deployed; to put this commit on all of them, start this run again",
        ))
    }
}

/// Whether a run of GitHub Actions, by its URL, is a later one of the same repository than `ours`: GitHub numbers runs in the
/// order in which they were triggered.
fn is_newer_run(theirs: &str, ours: &str) -> bool {
    let parts = |url: &str| {
        let (repository, run) = url.split_once("/actions/runs/")?;
        let number = run.split('/').next()?.parse::<u64>().ok()?;
        Some((repository.to_owned(), number))
    };
    let both = parts(theirs).zip(parts(ours));
    both.is_some_and(|(theirs, ours)| theirs.0 == ours.0 && theirs.1 > ours.1)
}

fn superseded(service: &str, newer: &str) -> Failure {
    Failure::new(
        Reason::Superseded,
        format!("{service}: the newer {newer} deployed while this run waited for its turn"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_newer_than_another_one_of_its_repository_by_its_number() {
        let of = |repository: &str, run: &str| format!("https://github.com/org/{repository}/actions/runs/{run}");
        assert!(is_newer_run(&of("shop", "1002"), &of("shop", "1001")));
        assert!(is_newer_run(&of("shop", "1000"), &of("shop", "999")), "numbers, not texts");
        for theirs in [of("shop", "1001"), of("shop", "1000"), of("other", "1002"), "lovelace".to_owned()] {
            assert!(!is_newer_run(&theirs, &of("shop", "1001")), "{theirs}");
        }
    }
}
