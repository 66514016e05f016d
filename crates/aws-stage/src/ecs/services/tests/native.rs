//! Deployments that shift traffic, alarms, and who is asked what a manual stop ends as.

use super::*;
use crate::behavior::{NativeRolloutState, StoppedOnRequest};
use crate::ecs::services::history::DeploymentStatus;

fn native(strategy: &str, hooks: Value) -> Value {
    json!({ "strategy": strategy, "bakeTimeInMinutes": 1, "lifecycleHooks": hooks })
}

fn pause(stage: &str) -> Value {
    json!([{ "targetType": "PAUSE", "lifecycleStages": [stage] }])
}

/// Of the last service deployment, as DescribeServiceDeployments shows it.
fn record(r: &Rehearsal) -> Value {
    let record = r.service.history.last().expect("a record");
    record.describe(&r.service.arn, &r.service.cluster_arn, &r.service.revision_counts())
}

#[test]
fn a_blue_green_deployment_goes_through_its_stages_and_keeps_both_revisions_until_it_has_baked() {
    let mut r = Rehearsal::steady(2, native("BLUE_GREEN", json!([])));
    r.deploy("good:2");
    let mut stages: Vec<String> = Vec::new();
    for _ in 0..2000 {
        r.tick();
        let shown = record(&r);
        let stage = shown["lifecycleStage"].as_str().expect("a stage").to_owned();
        if stages.last() != Some(&stage) {
            stages.push(stage.clone());
        }
        if stage != "CLEAN_UP" {
            assert_eq!(r.running("good:1"), 2, "{stage}");
        }
        let weight = if stages.len() < 7 { 0.0 } else { 100.0 };
        if stage != "PRODUCTION_TRAFFIC_SHIFT" {
            assert_eq!(shown["targetServiceRevision"]["requestedProductionTrafficWeight"], weight, "{stage}");
            assert_eq!(shown["sourceServiceRevisions"][0]["requestedProductionTrafficWeight"], 100.0 - weight);
        }
        if shown["status"] == "SUCCESSFUL" {
            break;
        }
    }
    let expected = [
        "RECONCILE_SERVICE",
        "PRE_SCALE_UP",
        "SCALE_UP",
        "POST_SCALE_UP",
        "TEST_TRAFFIC_SHIFT",
        "POST_TEST_TRAFFIC_SHIFT",
        "PRODUCTION_TRAFFIC_SHIFT",
        "POST_PRODUCTION_TRAFFIC_SHIFT",
        "BAKE_TIME",
        "CLEAN_UP",
    ];
    assert_eq!(stages, expected);
    assert_eq!((r.running("good:1"), r.running("good:2")), (0, 2));
    assert!(r.service.describe(false)["deployments"][0].get("rolloutState").is_none());
}

#[test]
fn a_rollout_state_of_a_native_strategy_can_be_shown_too() {
    let body = creation(1, native("CANARY", json!([])));
    let behavior = Behavior { native_rollout_state: NativeRolloutState::Shown, ..Behavior::impatient() };
    let r = Rehearsal::of(&body, "good:1", behavior);
    assert_eq!(r.service.describe(false)["deployments"][0]["rolloutState"], "IN_PROGRESS");
}

#[test]
fn linear_and_canary_deployments_shift_production_traffic_in_steps() {
    let linear =
        json!({ "strategy": "LINEAR", "linearConfiguration": { "stepPercent": 40.0, "stepBakeTimeInMinutes": 1 } });
    let canary =
        json!({ "strategy": "CANARY", "canaryConfiguration": { "canaryPercent": 10.0, "canaryBakeTimeInMinutes": 1 } });
    for (configuration, expected) in [(linear, vec![0.0, 40.0, 80.0, 100.0]), (canary, vec![0.0, 10.0, 100.0])] {
        let mut r = Rehearsal::steady(1, configuration);
        r.deploy("good:2");
        let mut weights = vec![];
        while r.record_status() != "SUCCESSFUL" {
            r.tick();
            let weight =
                record(&r)["targetServiceRevision"]["requestedProductionTrafficWeight"].as_f64().expect("a weight");
            if weights.last() != Some(&weight) {
                weights.push(weight);
            }
        }
        assert_eq!(weights, expected);
    }
}

#[test]
fn at_a_pause_hook_the_deployment_waits_until_somebody_acts() {
    for (continues, status, serves) in [(true, "SUCCESSFUL", "good:2"), (false, "ROLLBACK_SUCCESSFUL", "good:1")] {
        let mut r = Rehearsal::steady(2, native("BLUE_GREEN", pause("POST_TEST_TRAFFIC_SHIFT")));
        r.deploy("good:2");
        r.until("the hook is reached", |r| record(r)["lifecycleHookDetails"][0]["status"] == "AWAITING_ACTION");
        r.ticks(200);
        let shown = record(&r);
        assert_eq!(
            (&shown["status"], &shown["lifecycleStage"]),
            (&json!("IN_PROGRESS"), &json!("POST_TEST_TRAFFIC_SHIFT"))
        );
        let hook = shown["lifecycleHookDetails"][0]["hookId"].as_str().expect("an id").to_owned();
        let lifecycle = r.service.history.last_mut().expect("a record").lifecycle.as_mut().expect("a lifecycle");
        assert!(
            !lifecycle.act_on("another", true) && lifecycle.act_on(&hook, continues) && !lifecycle.act_on(&hook, true)
        );
        r.until("the deployment ends", |r| r.is_settled_natively(serves));
        assert_eq!(r.record_status(), status);
    }
}

#[test]
fn a_hook_that_nobody_acts_on_rolls_back_unless_it_says_otherwise() {
    for (action, status) in [("ROLLBACK", "ROLLBACK_SUCCESSFUL"), ("CONTINUE", "SUCCESSFUL")] {
        let mut hooks = pause("PRE_PRODUCTION_TRAFFIC_SHIFT");
        hooks[0]["timeoutConfiguration"] = json!({ "timeoutInMinutes": 1, "action": action });
        let mut r = Rehearsal::steady(1, native("BLUE_GREEN", hooks));
        r.deploy("good:2");
        r.until("the deployment ends", |r| r.record_status() == status);
        assert_eq!(record(&r)["lifecycleHookDetails"][0]["status"], "TIMED_OUT");
    }
}

#[test]
fn a_linear_deployment_reaches_its_hook_before_every_step_with_an_id_of_its_own() {
    let mut configuration = native("LINEAR", pause("PRE_PRODUCTION_TRAFFIC_SHIFT"));
    configuration["linearConfiguration"] = json!({ "stepPercent": 50.0, "stepBakeTimeInMinutes": 0 });
    let mut r = Rehearsal::steady(1, configuration);
    r.deploy("good:2");
    let mut ids = vec![];
    while r.record_status() != "SUCCESSFUL" {
        r.tick();
        let details = record(&r)["lifecycleHookDetails"].clone();
        let waiting =
            details.as_array().expect("a list").iter().find(|hook| hook["status"] == "AWAITING_ACTION").cloned();
        if let Some(id) = waiting.and_then(|hook| hook["hookId"].as_str().map(str::to_owned)) {
            r.service.history.last_mut().expect("a record").lifecycle.as_mut().expect("a lifecycle").act_on(&id, true);
            ids.push(id);
        }
    }
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn an_alarm_ends_a_deployment_and_one_that_was_in_alarm_before_does_not() {
    let alarmed =
        |rollback: bool| json!({ "alarms": { "alarmNames": ["errors"], "enable": true, "rollback": rollback } });
    for (rollback, status) in [(true, "ROLLBACK_SUCCESSFUL"), (false, "STOPPED")] {
        let mut r = Rehearsal::steady(1, alarmed(rollback));
        r.deploy("good:2");
        r.ticks(3);
        assert_eq!(
            record(&r)["alarms"],
            json!({ "status": "MONITORING", "alarmNames": ["errors"], "triggeredAlarmNames": [] })
        );
        r.behavior.alarms.set("errors", true);
        r.until("the deployment ends", |r| r.record_status() == status);
        assert_eq!(record(&r)["alarms"]["status"], "TRIGGERED");
        assert!(r.says("deployment failed: alarm detected."));
    }
    let mut r = Rehearsal::steady(1, alarmed(true));
    r.behavior.alarms.set("errors", true);
    r.deploy("good:2");
    r.until("it completes", |r| r.is_settled("good:2"));
    assert_eq!(r.record_status(), "SUCCESSFUL");
}

#[test]
fn with_alarms_a_deployment_that_is_whole_bakes_before_it_completes() {
    let mut r =
        Rehearsal::steady(1, json!({ "alarms": { "alarmNames": ["errors"], "enable": true, "rollback": true } }));
    r.deploy("good:2");
    r.until("the old task is gone", |r| r.running("good:2") == 1 && r.running("good:1") == 0);
    r.ticks(20);
    assert_eq!(r.record_status(), "IN_PROGRESS");
    r.behavior.alarms.set("errors", true);
    r.until("it goes back", |r| r.is_settled("good:1"));
}

#[test]
fn a_manual_stop_ends_as_either_side_of_the_open_question_says() {
    for (how, status) in
        [(StoppedOnRequest::RollbackSuccessful, "ROLLBACK_SUCCESSFUL"), (StoppedOnRequest::Stopped, "STOPPED")]
    {
        let mut r = Rehearsal::steady(1, json!({}));
        r.behavior.stopped_on_request = how;
        r.deploy("slow:2");
        r.ticks(5);
        let record = r.service.history.last_mut().expect("a record");
        record.enter(DeploymentStatus::RollbackRequested, None, 1.0);
        r.until("the old revision is back", |r| r.is_settled("good:1"));
        assert_eq!(r.record_status(), status);
    }
}

#[test]
fn a_failing_third_revision_goes_back_to_the_last_that_completed_not_to_the_second() {
    let mut r = Rehearsal::steady(1, breaker(true));
    r.deploy("slow:2");
    r.ticks(5);
    r.deploy("crash:3");
    r.until("it goes back", |r| r.is_settled("good:1"));
    let statuses: Vec<_> = r.service.history.iter().map(|record| record.status.word()).collect();
    assert_eq!(statuses, ["SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL"]);
    let last = record(&r);
    assert_eq!(last["rollback"]["serviceRevisionArn"], r.service.revisions[0].arn.as_str());
    let sources: Vec<_> = last["sourceServiceRevisions"]
        .as_array()
        .expect("sources")
        .iter()
        .map(|source| source["arn"].clone())
        .collect();
    assert_eq!(sources, [json!(r.service.revisions[1].arn), json!(r.service.revisions[0].arn)]);
}
