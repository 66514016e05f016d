//! The bad days of `--fault`, as settings of the stage.

use crate::cli::Fault;
use aws_stage::Stage;
use aws_stage::fault::{FaultAction, FaultPlan, FaultRule};
use aws_stage::play::SabotageKind;

/// Makes it a bad day, from now on.
pub fn apply(fault: Fault, stage: &Stage) {
    let sabotage = stage.sabotage();
    match fault {
        Fault::Crash => sabotage.set(SabotageKind::CrashNewTasks),
        Fault::Unhealthy => sabotage.set(SabotageKind::UnhealthyNewTasks),
        Fault::MigrationFails => sabotage.set(SabotageKind::FailOneOffs),
        Fault::Slow => sabotage.set(SabotageKind::SlowStarts),
        Fault::Throttle => stage.set_faults(sometimes(0.33, FaultAction::Throttle)),
        Fault::Errors => stage.set_faults(sometimes(0.25, FaultAction::Status(503))),
        Fault::LostAnswers => stage.set_faults(sometimes(0.2, FaultAction::DropAfterEffect)),
    }
}

/// AWS's calls; the registry has bad days of its own, which Docker deals with.
fn sometimes(probability: f64, action: FaultAction) -> FaultPlan {
    let rule = |service: &str| FaultRule {
        service: Some(service.to_owned()),
        operation: None,
        after: 0,
        times: None,
        probability: Some(probability),
        action: action.clone(),
    };
    FaultPlan { seed: 1, rules: ["ecs", "ecr", "logs", "ssm", "sts"].map(rule).to_vec() }
}
