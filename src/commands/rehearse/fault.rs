//! The failures of `--fault`, as settings of the stage.

use crate::cli::Fault;
use aws_stage::Stage;
use aws_stage::behavior::InjectedFailure;
use aws_stage::faults::{FaultAction, FaultPlan, FaultRule};

/// Makes the stage fail in that way, from now on.
pub fn apply(fault: Fault, stage: &Stage) {
    let injection = stage.failure_injection();
    match fault {
        Fault::Crash => injection.set(InjectedFailure::CrashNewTasks),
        Fault::Unhealthy => injection.set(InjectedFailure::UnhealthyNewTasks),
        Fault::MigrationFails => injection.set(InjectedFailure::FailOneOffs),
        Fault::Slow => injection.set(InjectedFailure::SlowStarts),
        Fault::Throttle => stage.set_faults(sometimes(0.33, FaultAction::Throttle)),
        Fault::Errors => stage.set_faults(sometimes(0.25, FaultAction::Status(503))),
        Fault::LostAnswers => stage.set_faults(sometimes(0.2, FaultAction::DropAfterEffect)),
    }
}

/// AWS's calls; the registry has faults of its own, which Docker deals with.
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
