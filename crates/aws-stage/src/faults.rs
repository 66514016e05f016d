//! Rules that make calls over the wire fail, hang or lose their answer. A fixed seed repeats the same failures.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::request::lock;

/// The connection closes without an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionDropped;

impl fmt::Display for ConnectionDropped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the stage dropped this connection")
    }
}

impl std::error::Error for ConnectionDropped {}

/// Which calls fail, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// Decides what rules with a `probability` do.
    #[serde(default)]
    pub seed: u64,
    /// The first rule that matches and still has `times` left acts; delays add to it.
    pub rules: Vec<FaultRule>,
}

/// One rule. Without `times` and `probability` it acts on every matching call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// `ecs`, `ecr`, `logs`, `ssm`, `secretsmanager`, `sts`, `iam`, `elasticloadbalancing`, `cloudformation`, `s3`,
    /// `registry` or `github`; absent means every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// E.g. `UpdateService`; of the registry, ECR's name of the action, e.g. `PutImage`; absent means every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// How many matching calls are let through before the rule begins to act.
    #[serde(default)]
    pub after: u32,
    /// How often the rule acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// How likely it acts on a matching call, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// What happens.
    pub action: FaultAction,
}

/// What a rule does to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FaultAction {
    /// `ThrottlingException`, "Rate exceeded".
    Throttle,
    /// An answer of the service's own making, 500 or 503.
    Status(u16),
    /// The call waits, then goes on.
    Delay {
        /// How long.
        milliseconds: u64,
    },
    /// The effect happens, the answer is lost: the connection closes.
    DropAfterEffect,
    /// The connection closes before anything happens.
    DropBefore,
    /// The caller is not authorized.
    AccessDenied,
    /// The caller's session ends with this call.
    ExpireSession,
    /// Any error.
    Error {
        /// The exception's name.
        code: String,
        /// Its sentence.
        message: String,
        /// HTTP status, 400 if absent.
        #[serde(default = "bad_request")]
        status: u16,
    },
}

fn bad_request() -> u16 {
    400
}

/// What the rules say about one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruling {
    /// Wait this long first.
    pub delay: Duration,
    /// Then do this instead of, or after, the call.
    pub action: Option<FaultAction>,
}

/// The rules in force, and what is left of them.
#[derive(Debug, Default)]
pub struct Faults {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<FaultRule>,
    random: u64,
}

impl Faults {
    /// Replaces every rule.
    pub fn set(&self, plan: FaultPlan) {
        *lock(&self.state) = State { rules: plan.rules, random: plan.seed };
    }

    /// What happens to this call. Uses up the `times` of the rules that act.
    pub fn rule(&self, service: &str, operation: &str) -> Ruling {
        let mut state = lock(&self.state);
        let State { rules, random } = &mut *state;
        let mut ruling = Ruling::default();
        for rule in rules.iter_mut().filter(|rule| rule.is_about(service, operation)) {
            if rule.acts(random) {
                match &rule.action {
                    FaultAction::Delay { milliseconds } => ruling.delay += Duration::from_millis(*milliseconds),
                    action => {
                        ruling.action = Some(action.clone());
                        break;
                    }
                }
            }
        }
        ruling
    }
}

impl FaultRule {
    fn is_about(&self, service: &str, operation: &str) -> bool {
        self.service.as_deref().is_none_or(|wanted| wanted == service)
            && self.operation.as_deref().is_none_or(|wanted| wanted == operation)
    }

    fn acts(&mut self, random: &mut u64) -> bool {
        if self.times == Some(0) {
            return false;
        }
        if self.after > 0 {
            self.after -= 1;
            return false;
        }
        if self.probability.is_some_and(|probability| roll(random) >= probability) {
            return false;
        }
        self.times = self.times.map(|times| times - 1);
        true
    }
}

/// SplitMix64, as a number from 0 to 1.
fn roll(random: &mut u64) -> f64 {
    *random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *random;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(action: FaultAction) -> FaultRule {
        FaultRule { service: Some("ecs".into()), operation: None, after: 0, times: None, probability: None, action }
    }

    fn faults(rules: Vec<FaultRule>, seed: u64) -> Faults {
        let faults = Faults::default();
        faults.set(FaultPlan { seed, rules });
        faults
    }

    #[test]
    fn a_rule_acts_as_often_as_it_says_and_after_what_it_lets_through() {
        let faults = faults(vec![FaultRule { after: 1, times: Some(2), ..rule(FaultAction::Throttle) }], 0);
        let seen: Vec<bool> = (0..5).map(|_| faults.rule("ecs", "RunTask").action.is_some()).collect();
        assert_eq!(seen, [false, true, true, false, false]);
        assert_eq!(faults.rule("ssm", "PutParameter"), Ruling::default());
    }

    #[test]
    fn the_same_seed_plays_the_same_day() {
        let day = |seed| {
            let faults = faults(vec![FaultRule { probability: Some(0.3), ..rule(FaultAction::Throttle) }], seed);
            (0..200).map(|_| faults.rule("ecs", "RunTask").action.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(day(7), day(7));
        assert_ne!(day(7), day(8));
        let hits = day(7).into_iter().filter(|hit| *hit).count();
        assert!((30..=90).contains(&hits), "{hits} of 200");
    }

    #[test]
    fn a_delay_adds_to_the_action_of_a_later_rule() {
        let faults = faults(vec![rule(FaultAction::Delay { milliseconds: 5 }), rule(FaultAction::DropBefore)], 0);
        let expected = Ruling { delay: Duration::from_millis(5), action: Some(FaultAction::DropBefore) };
        assert_eq!(faults.rule("ecs", "RunTask"), expected);
    }

    #[test]
    fn rules_are_written_as_plain_json() {
        let plan: FaultPlan = serde_json::from_str(
            r#"{"rules":[{"service":"ecs","operation":"UpdateService","times":1,"action":"dropAfterEffect"},
                {"action":{"status":503}},{"action":{"delay":{"milliseconds":20}}},
                {"action":{"error":{"code":"ClientException","message":"no"}}}]}"#,
        )
        .unwrap();
        assert_eq!(plan.rules[0].action, FaultAction::DropAfterEffect);
        let error = FaultAction::Error { code: "ClientException".into(), message: "no".into(), status: 400 };
        assert_eq!(plan.rules[3].action, error);
    }
}
