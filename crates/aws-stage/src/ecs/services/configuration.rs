//! `deploymentConfiguration`: how many tasks a rolling deployment may add and take away, and when its breaker trips.

use serde_json::{Value, json};

use crate::request::{flag, list, number, text, texts};

/// The members of `deploymentConfiguration` that steer a rolling deployment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Configuration {
    /// Of the desired count, how many tasks have to stay healthy; default 100.
    pub minimum_healthy_percent: usize,
    /// Of the desired count, how many tasks may be pending or running; default 200.
    pub maximum_percent: usize,
    /// `deploymentCircuitBreaker`.
    pub breaker: Breaker,
    /// `alarms`, where they are enabled.
    pub alarms: Option<AlarmRule>,
    pub strategy: Strategy,
    /// `bakeTimeInMinutes`.
    pub bake_minutes: f64,
    /// `lifecycleHooks`.
    pub hooks: Vec<Hook>,
}

/// `alarms`: <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html>.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AlarmRule {
    pub names: Vec<String>,
    pub rollback: bool,
}

/// `strategy`, with what the strategy is configured by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Strategy {
    Rolling,
    BlueGreen,
    Linear { percent: f64, bake_minutes: f64 },
    Canary { percent: f64, bake_minutes: f64 },
}

/// A PAUSE hook: <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentLifecycleHook.html>.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hook {
    pub stages: Vec<String>,
    pub timeout_minutes: f64,
    /// Whether the deployment goes on when nobody acts in time.
    pub continues: bool,
}

/// `deploymentCircuitBreaker`: <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Breaker {
    pub enable: bool,
    pub rollback: bool,
    /// A healthy task sets the count of failures back to zero; default true.
    pub reset_on_healthy_task: bool,
    /// `thresholdConfiguration`.
    pub threshold: Threshold,
}

/// `thresholdConfiguration`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Threshold {
    /// A percentage of the desired count, at least 3 and at most 200.
    BoundedPercent(usize),
    /// A percentage of the desired count, at least 1.
    UnboundedPercent(usize),
    /// A number of tasks.
    Count(usize),
}

impl Configuration {
    /// Reads the member, absent values as their defaults.
    pub(crate) fn read(value: &Value) -> Self {
        let percent = |name, default| number(value, name).and_then(|v| usize::try_from(v).ok()).unwrap_or(default);
        Self {
            minimum_healthy_percent: percent("minimumHealthyPercent", 100),
            maximum_percent: percent("maximumPercent", 200),
            breaker: Breaker::read(&value["deploymentCircuitBreaker"]),
            alarms: AlarmRule::read(&value["alarms"]),
            strategy: Strategy::read(value),
            bake_minutes: real(value, "bakeTimeInMinutes", 0.0),
            hooks: list(value, "lifecycleHooks").iter().map(Hook::read).collect(),
        }
    }

    /// Whether ECS shifts traffic between two revisions, rather than replacing task by task.
    pub(crate) fn is_native(&self) -> bool {
        self.strategy != Strategy::Rolling
    }

    /// How many of `desired` have to stay healthy: rounded up.
    pub(crate) fn minimum(&self, desired: usize) -> usize {
        (desired * self.minimum_healthy_percent).div_ceil(100)
    }

    /// How many tasks there may be for `desired`: rounded down.
    pub(crate) fn maximum(&self, desired: usize) -> usize {
        desired * self.maximum_percent / 100
    }

    /// The member as DescribeServices shows it, with every default spelled out.
    pub(crate) fn describe(&self) -> Value {
        let mut described = json!({
            "deploymentCircuitBreaker": self.breaker.describe(),
            "maximumPercent": self.maximum_percent,
            "minimumHealthyPercent": self.minimum_healthy_percent,
            "strategy": self.strategy.word(),
            "bakeTimeInMinutes": self.bake_minutes as i64,
        });
        if let Some(alarms) = &self.alarms {
            described["alarms"] = json!({ "alarmNames": alarms.names, "enable": true, "rollback": alarms.rollback });
        }
        match self.strategy {
            Strategy::Linear { percent, bake_minutes } => {
                let bake = bake_minutes as i64;
                described["linearConfiguration"] = json!({ "stepPercent": percent, "stepBakeTimeInMinutes": bake });
            }
            Strategy::Canary { percent, bake_minutes } => {
                let bake = bake_minutes as i64;
                described["canaryConfiguration"] = json!({ "canaryPercent": percent, "canaryBakeTimeInMinutes": bake });
            }
            Strategy::Rolling | Strategy::BlueGreen => {}
        }
        if !self.hooks.is_empty() {
            described["lifecycleHooks"] = self.hooks.iter().map(Hook::describe).collect();
        }
        described
    }
}

impl AlarmRule {
    fn read(value: &Value) -> Option<Self> {
        let names = texts(value, "alarmNames").into_iter().map(str::to_owned).collect();
        flag(value, "enable").then(|| Self { names, rollback: flag(value, "rollback") })
    }
}

impl Strategy {
    fn read(value: &Value) -> Self {
        let (linear, canary) = (&value["linearConfiguration"], &value["canaryConfiguration"]);
        match text(value, "strategy") {
            Some("BLUE_GREEN") => Self::BlueGreen,
            Some("LINEAR") => Self::Linear {
                percent: real(linear, "stepPercent", 10.0),
                bake_minutes: real(linear, "stepBakeTimeInMinutes", 6.0),
            },
            Some("CANARY") => Self::Canary {
                percent: real(canary, "canaryPercent", 5.0),
                bake_minutes: real(canary, "canaryBakeTimeInMinutes", 10.0),
            },
            _ => Self::Rolling,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Rolling => "ROLLING",
            Self::BlueGreen => "BLUE_GREEN",
            Self::Linear { .. } => "LINEAR",
            Self::Canary { .. } => "CANARY",
        }
    }
}

impl Hook {
    fn read(value: &Value) -> Self {
        let timeout = &value["timeoutConfiguration"];
        Self {
            stages: texts(value, "lifecycleStages").into_iter().map(str::to_owned).collect(),
            timeout_minutes: real(timeout, "timeoutInMinutes", 1440.0),
            continues: text(timeout, "action") == Some("CONTINUE"),
        }
    }

    fn describe(&self) -> Value {
        json!({
            "targetType": "PAUSE",
            "lifecycleStages": self.stages,
            "timeoutConfiguration": {
                "timeoutInMinutes": self.timeout_minutes as i64,
                "action": if self.continues { "CONTINUE" } else { "ROLLBACK" },
            },
        })
    }
}

fn real(value: &Value, name: &str, default: f64) -> f64 {
    value.get(name).and_then(Value::as_f64).unwrap_or(default)
}

impl Breaker {
    fn read(value: &Value) -> Self {
        let threshold = &value["thresholdConfiguration"];
        let amount = number(threshold, "value").and_then(|v| usize::try_from(v).ok()).unwrap_or(50);
        Self {
            enable: flag(value, "enable"),
            rollback: flag(value, "rollback"),
            reset_on_healthy_task: value.get("resetOnHealthyTask").and_then(Value::as_bool).unwrap_or(true),
            threshold: match text(threshold, "type") {
                Some("COUNT") => Threshold::Count(amount),
                Some("UNBOUNDED_PERCENT") => Threshold::UnboundedPercent(amount),
                _ => Threshold::BoundedPercent(amount),
            },
        }
    }

    /// How many failed tasks fail a deployment of `desired` tasks.
    pub(crate) fn threshold(&self, desired: usize) -> usize {
        match self.threshold {
            Threshold::BoundedPercent(percent) => (desired * percent).div_ceil(100).clamp(3, 200),
            Threshold::UnboundedPercent(percent) => (desired * percent).div_ceil(100).max(1),
            Threshold::Count(count) => count.max(1),
        }
    }

    fn describe(&self) -> Value {
        let (kind, value) = match self.threshold {
            Threshold::BoundedPercent(value) => ("BOUNDED_PERCENT", value),
            Threshold::UnboundedPercent(value) => ("UNBOUNDED_PERCENT", value),
            Threshold::Count(value) => ("COUNT", value),
        };
        json!({
            "enable": self.enable,
            "rollback": self.rollback,
            "resetOnHealthyTask": self.reset_on_healthy_task,
            "thresholdConfiguration": { "type": kind, "value": value },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_rounds_up_and_the_maximum_rounds_down() {
        let configuration = Configuration::read(&json!({ "minimumHealthyPercent": 50, "maximumPercent": 150 }));
        assert_eq!((configuration.minimum(3), configuration.maximum(3)), (2, 4));
        assert_eq!((configuration.minimum(1), configuration.maximum(1)), (1, 1));
        assert_eq!((configuration.minimum(0), configuration.maximum(0)), (0, 0));
    }

    #[test]
    fn the_default_threshold_is_half_of_the_tasks_between_3_and_200() {
        let breaker = Configuration::read(&json!({})).breaker;
        let thresholds: Vec<_> = [0, 1, 25, 400, 1000].map(|desired| breaker.threshold(desired)).into();
        assert_eq!(thresholds, [3, 3, 13, 200, 200]);
    }

    #[test]
    fn a_configured_threshold_counts_tasks_or_a_percentage_without_bounds() {
        let breaker = |kind: &str, value: u32| {
            let threshold = json!({ "type": kind, "value": value });
            Configuration::read(&json!({ "deploymentCircuitBreaker": { "thresholdConfiguration": threshold } })).breaker
        };
        assert_eq!(breaker("COUNT", 1).threshold(100), 1);
        assert_eq!(breaker("UNBOUNDED_PERCENT", 10).threshold(4), 1);
        assert_eq!(breaker("UNBOUNDED_PERCENT", 50).threshold(1000), 500);
    }
}
