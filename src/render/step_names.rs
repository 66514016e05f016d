//! What the steps are called in a log.

use crate::events::Step;

pub(super) fn name(step: Step) -> &'static str {
    match step {
        Step::Identity => "identity",
        Step::Preflight => "preflight",
        Step::Build => "build",
        Step::Push => "push",
        Step::Register => "register",
        Step::Lease => "lease",
        Step::Release => "release",
        Step::RollOut => "rollout",
        Step::Smoke => "smoke",
        Step::RollBack => "rollback",
        Step::Exec => "exec",
        Step::Run => "run",
        Step::Logs => "logs",
    }
}
