//! AWS does not do its part for a while: what a release lives through, and what it says where it does not.

use crate::story::fake::cloud::Outage;
use crate::story::fake::definition_arn;
use crate::story::fake::rollout::Ending;
use crate::story::fake::task::Run;
use crate::story::scene::Scene;
use fargate_deploy::ports::CallErrorKind::{Throttled, Unreachable};
use fargate_deploy_core::outcome::{CommandState, Reason, Success};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);
const HOURS: Duration = Duration::from_secs(7200);
const OUTAGES: [Outage; 3] = [Outage::Says(Throttled), Outage::Says(Unreachable), Outage::Hangs];

/// With a migration and a smoke check: what makes the most calls.
fn scene() -> Scene {
    Scene::new().with_smoke()
}

/// Every action that a good deploy calls, as it called them.
async fn actions() -> BTreeSet<String> {
    let scene = scene();
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    let lines = scene.journal.lines();
    let actions = lines.iter().filter_map(|line| line.split(' ').next());
    let actions: BTreeSet<_> = actions.filter(|word| word.contains(':')).map(str::to_owned).collect();
    assert!(actions.len() >= 15, "{actions:?}");
    actions
}

#[tokio::test(start_paused = true)]
async fn a_minute_without_an_answer_of_any_call_fails_no_good_deploy() {
    let undisturbed = scene();
    let began = Instant::now();
    undisturbed.deploy().await.success();
    let takes = began.elapsed();
    for action in actions().await {
        for outage in OUTAGES {
            let scene = scene();
            scene.cloud.trouble(&action, outage, 0, MINUTE);
            let began = Instant::now();
            let ended = scene.deploy().await;
            let took = began.elapsed();
            assert_eq!(ended.result, Ok(Success::Deployed), "{action} {outage:?}: {:#?}", scene.journal.lines());
            assert_eq!(scene.effects(), undisturbed.effects(), "{action} {outage:?}");
            assert!(took <= takes + MINUTE + Duration::from_secs(45), "{action} {outage:?}: {took:?} for {takes:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_stays_ends_as_unavailable_and_says_what_was_changed() {
    for action in actions().await {
        for outage in OUTAGES {
            let scene = scene();
            scene.cloud.trouble(&action, outage, 0, HOURS);
            let ended = scene.deploy().await;
            let Err(failure) = &ended.result else {
                // What only adds to the truth.
                let optional = ["logs:GetLogEvents", "ecs:ListServiceDeployments", "ecs:DescribeServiceDeployments"];
                let optional =
                    [&optional[..], &["ecs:DescribeServiceRevisions", "ecs:ListTasks", "ssm:DeleteParameter"]].concat();
                assert!(optional.contains(&action.as_str()), "{action} {outage:?}");
                continue;
            };
            assert_eq!(failure.reason, Reason::Unavailable, "{action} {outage:?}: {failure:#?}");
            let state = ended.state().join("\n");
            let sent = |call: &str| scene.journal.count(call) > 0;
            assert!(!sent("ecs:UpdateService"), "{action}: nothing after it is needed to end well");
            match action.as_str() {
                "ecs:UpdateService" => assert!(state.contains("shop/web"), "{state}"),
                _ if ended.record.services.is_empty() => assert!(state.contains("nothing was changed"), "{state}"),
                _ => assert!(state.contains("shop/web: untouched"), "{action} {outage:?}: {state}"),
            }
            assert_eq!(state.contains("`migrate`"), !ended.record.commands.is_empty(), "{action}: {state}");
            assert!(failure.next.is_some(), "{action} {outage:?}: {failure:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_is_not_said_to_be_out_of_reach() {
    for (outage, is_reached) in [(Outage::Says(Throttled), true), (Outage::Hangs, false)] {
        let scene = scene();
        scene.cloud.trouble("ecs:RegisterTaskDefinition", outage, 0, HOURS);
        let ended = scene.deploy().await;
        let told = format!("{} {}", ended.failure().what, ended.failure().next.clone().unwrap_or_default());
        assert_eq!(told.contains("could not be reached"), !is_reached, "{told}");
        assert_eq!(told.contains("gave no answer"), !is_reached, "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_no_bug_of_ours() {
    let scene = scene();
    scene.cloud.fail("ecs:RegisterTaskDefinition", fargate_deploy::ports::CallErrorKind::Conflict, 0, 9);
    assert_eq!(scene.deploy().await.reason(), Reason::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn going_back_is_tried_for_five_minutes() {
    for (action, skip) in
        [("ecs:UpdateService", 1), ("ecs:StopServiceDeployment", 0), ("ecs:ListServiceDeployments", 0)]
    {
        for outage in OUTAGES {
            let scene = Scene::without_migration().with_smoke().next_rollouts("web", [Ending::Succeeds]);
            scene.web.answers.borrow_mut().extend((0..100).map(|_| Ok((500, "broken".to_owned()))));
            scene.cloud.trouble(action, outage, skip, Duration::from_secs(270));
            let ended = scene.deploy().await;
            assert_eq!(ended.reason(), Reason::RolledBack, "{action} {outage:?}: {ended:#?}");
            assert_eq!(scene.journal.lines().iter().filter(|l| *l == "ecs:UpdateService web -> web:41").count(), 1);
        }
    }
}

/// The order to go back is throttled, and somebody deploys a fix by hand meanwhile.
#[tokio::test(start_paused = true)]
async fn an_order_to_go_back_that_is_given_again_goes_over_nothing_newer() {
    let scene = Scene::without_migration().with_smoke().next_rollouts("web", [Ending::Succeeds, Ending::Succeeds]);
    scene.web.answers.borrow_mut().extend((0..100).map(|_| Ok((500, "broken".to_owned()))));
    scene.cloud.trouble("ecs:UpdateService", Outage::Says(Throttled), 1, Duration::from_secs(90));
    let fix = definition_arn("web:77").as_str().into();
    // When it goes back it looks who owns the service.
    let fixes = scene.deploy_by_hand(&fix, "ecs:ListServiceDeployments", 3, Duration::from_secs(30));
    let (ended, ()) = tokio::join!(scene.deploy(), fixes);
    assert_eq!(scene.cloud.aws().services["web"].task_definition, fix, "{:?}", scene.journal.lines());
    assert_eq!(ended.state()[0], "shop/web: a newer deployment owns it", "{:#?}", scene.journal.lines());
}

/// The lease is slow to be written, in between the last look at the service and the order.
#[tokio::test(start_paused = true)]
async fn an_order_that_its_lease_holds_up_goes_over_nothing_newer() {
    for (ours, skip) in [("ecs:RegisterTaskDefinition", 1), ("ecs:UpdateService", 2)] {
        for seconds in (0..24).step_by(2) {
            let mut scene = Scene::without_migration();
            if ours == "ecs:UpdateService" {
                scene = scene.with_smoke().next_rollouts("web", [Ending::Succeeds, Ending::Succeeds]);
                scene.web.answers.borrow_mut().extend((0..100).map(|_| Ok((500, "broken".to_owned()))));
            }
            scene.cloud.trouble("ssm:PutParameter", Outage::Says(Throttled), skip, Duration::from_secs(25));
            let fix = definition_arn("web:77").as_str().into();
            let fixes = scene.deploy_by_hand(&fix, ours, 1, Duration::from_secs(seconds));
            let (ended, ()) = tokio::join!(scene.deploy(), fixes);
            let serves = scene.cloud.aws().services["web"].task_definition.clone();
            assert_eq!(serves, fix, "{ours} {seconds}: {ended:?} {:#?}", scene.journal.lines());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_read_keeps_nobody_waiting() {
    let run = || Run::exits(0).after(3).says(1.0, "migrated");
    let mut takes = vec![];
    for outage in [None, Some(OUTAGES[0]), Some(OUTAGES[1]), Some(OUTAGES[2])] {
        let scene = Scene::new().next_runs([run()]);
        if let Some(outage) = outage {
            scene.cloud.trouble("logs:GetLogEvents", outage, 0, HOURS);
        }
        let began = Instant::now();
        assert_eq!(scene.deploy().await.success(), Success::Deployed, "{outage:?}");
        takes.push(began.elapsed());
    }
    assert!(takes.iter().all(|took| *took <= takes[0] + Duration::from_secs(1)), "{takes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_could_not_be_read_is_not_said_to_be_still_running() {
    for outage in OUTAGES {
        for skip in [0, 3] {
            let scene = Scene::new().next_runs([Run::exits(0)]);
            scene.cloud.trouble("ecs:DescribeTasks", outage, skip, HOURS);
            let ended = scene.deploy().await;
            assert_eq!(ended.reason(), Reason::Unavailable, "{outage:?}: {ended:#?}");
            assert_eq!(ended.record.commands[0].state, CommandState::Unknown);
            let told = format!("{:?} {:?}", ended.failure(), ended.state());
            assert!(!told.contains("still running"), "{told}");
        }
    }
    let scene = Scene::new().next_runs([Run::hangs()]);
    assert!(scene.deploy().await.failure().what.contains("is still running after 900 s"));
}
