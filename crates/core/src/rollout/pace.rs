//! What to read next, and when: often enough to be on time, seldom enough to be no burden.

use super::{Ask, Phase, Rollout};
use crate::service::Strategy;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// Between two reads while the end can come at any moment: half of it is the mean lateness.
const NEAR: Duration = Duration::from_millis(2700);
/// Before the tasks run, the end is not near; that somebody else deploys can be seen at any time.
const FAR: Duration = Duration::from_millis(4800);
/// Between two tries of a service that cannot be read.
const BLINDLY: Duration = Duration::from_secs(5);
/// Between two looks at how tasks ended.
const LOOK: Duration = Duration::from_secs(10);

impl Rollout {
    /// What to read next, and how long after the last read. One question each time.
    pub fn next(&self, at: Duration) -> (Duration, Ask) {
        let service = self.service_is_due(at);
        if let Some(need) = &self.need {
            let apart = if self.blind.is_some() { BLINDLY } else { SECOND };
            let (last, apart) = match need {
                Ask::Service => (self.asked.service, apart),
                Ask::List => (self.asked.list, apart),
                Ask::ServiceDeployment(_) => (self.asked.api, apart),
                Ask::Tasks => (self.asked.tasks, LOOK),
            };
            let pause = last.map_or(Duration::ZERO, |last| (last + apart).saturating_sub(at));
            // What is needed for an end does not keep the service from being read.
            return if service < pause { (service, Ask::Service) } else { (pause, need.clone()) };
        }
        match self.api_is_due(at) {
            Some((pause, ask)) if pause <= service => (pause, ask),
            _ => (service, Ask::Service),
        }
    }

    fn service_is_due(&self, at: Duration) -> Duration {
        let is_shifting = self.shown.as_ref().is_some_and(|(_, s)| matches!(s.strategy, Strategy::Shifting(_)));
        let apart = match &self.phase {
            _ if self.blind.is_some() => BLINDLY,
            // There the other source is the truth.
            _ if is_shifting && self.is_api_usable() => 2 * NEAR,
            _ if at < 3 * SECOND => 2 * SECOND,
            Phase::Progressing(counts) if counts.running < counts.desired && self.completed.is_none() => FAR,
            _ => NEAR,
        };
        let last = self.asked.service.map_or(SECOND, |last| last + apart);
        last.saturating_sub(at)
    }

    fn api_is_due(&self, at: Duration) -> Option<(Duration, Ask)> {
        if self.api.is_denied || self.api.ended.is_some() {
            return None;
        }
        let wait_for = |last: Option<Duration>, apart: Duration| {
            last.map_or(Duration::ZERO, |last| (last + apart).saturating_sub(at))
        };
        let dark = wait_for(self.api.dark, super::TRY_AGAIN);
        let dark = if self.api.dark.is_some() { dark } else { Duration::ZERO };
        match &self.api.ours {
            None if self.api.tries >= super::TRIES => None,
            None => Some((dark.max(wait_for(self.asked.list, SECOND * (1 + 2 * self.api.tries))), Ask::List)),
            // Who cannot see the service at least learns whether somebody has deployed.
            Some(_) if self.blind.is_some() => Some((dark.max(wait_for(self.asked.list, 2 * NEAR)), Ask::List)),
            Some(arn) => {
                let is_shifting = self.shown.as_ref().is_some_and(|(_, s)| matches!(s.strategy, Strategy::Shifting(_)));
                let apart = match &self.phase {
                    Phase::Progressing(counts) if is_shifting && counts.running < counts.desired => FAR,
                    _ if is_shifting => NEAR,
                    Phase::RollingBack => 2 * NEAR,
                    _ if self.reported.has_stages() => 2 * NEAR,
                    _ if self.reported.failures() > 0 => SECOND * 15,
                    _ => SECOND * 150,
                };
                Some((dark.max(wait_for(self.asked.api, apart)), Ask::ServiceDeployment(arn.clone())))
            }
        }
    }
}
