//! Requests that AWS refuses, and what the others leave in the description.

use super::*;

fn refusal(change: impl FnOnce(&mut Value)) -> String {
    let mut body = creation(1, json!({}));
    change(&mut body);
    let error = made(&body, "good:1", &Behavior::impatient()).expect_err("refused");
    format!("{}: {}", error.code, error.message)
}

#[test]
fn impossible_services_are_refused_in_the_words_of_aws() {
    assert_eq!(
        refusal(|body| body["networkConfiguration"] = Value::Null),
        "InvalidParameterException: Network Configuration must be provided when networkMode 'awsvpc' is specified."
    );
    assert_eq!(
        refusal(|body| body["capacityProviderStrategy"] = json!([{ "capacityProvider": "FARGATE_SPOT" }])),
        "InvalidParameterException: Specifying both a launch type and capacity provider strategy is not supported. \
         Remove one and try again."
    );
    assert_eq!(
        refusal(|body| body["deploymentConfiguration"] = json!({ "minimumHealthyPercent": 100, "maximumPercent": 100 })),
        "InvalidParameterException: Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block \
         deployments."
    );
    assert!(refusal(|body| body["serviceName"] = json!("a b")).contains("Service name must be"));
    assert!(refusal(|body| body["desiredCount"] = json!(-1)).contains("desiredCount"));
    let balancer = |group: &str, container: &str, port: u16| json!([{ "targetGroupArn": group, "containerName": container, "containerPort": port }]);
    assert!(refusal(|body| body["loadBalancers"] = balancer("arn:none", "app", 80)).contains("does not exist"));
    assert!(refusal(|body| body["loadBalancers"] = balancer(GROUP, "web", 80)).contains("The container web does not"));
    assert!(refusal(|body| body["loadBalancers"] = balancer(GROUP, "app", 81)).contains("container port 81"));
}

#[test]
fn services_that_codedeploy_controls_have_no_deployments_and_refuse_a_task_definition() {
    let mut body = creation(1, json!({}));
    body["deploymentController"] = json!({ "type": "CODE_DEPLOY" });
    let mut r = Rehearsal::of(&body, "good:1", Behavior::impatient());
    r.ticks(5);
    assert_eq!((r.started, r.service.describe(false)["deployments"].clone()), (0, json!([])));
    let error = r.update(&json!({ "taskDefinition": "good:2" }), Some("good:2")).expect_err("refused");
    assert_eq!(
        error.message,
        "Unable to update task definition on services with a CODE_DEPLOY deployment controller. Use AWS CodeDeploy \
         to trigger a new deployment."
    );
}

#[test]
fn members_of_the_configuration_that_an_update_leaves_out_are_kept() {
    let mut r = Rehearsal::steady(2, breaker(true));
    r.update(&json!({ "deploymentConfiguration": { "maximumPercent": 150 } }), None).expect("accepted");
    let configuration = &r.service.describe(false)["deploymentConfiguration"];
    assert_eq!(configuration["maximumPercent"], 150);
    assert_eq!(configuration["deploymentCircuitBreaker"]["rollback"], true);
    assert_eq!(r.service.history.len(), 1, "it starts no deployment");
}

#[test]
fn a_strategy_replaces_the_launch_type_in_the_description() {
    let mut r = Rehearsal::steady(1, json!({}));
    let strategy = json!([{ "capacityProvider": "FARGATE_SPOT", "weight": 1 }]);
    r.update(&json!({ "capacityProviderStrategy": strategy }), None).expect("accepted");
    let described = r.service.describe(false);
    assert_eq!((described.get("launchType"), &described["capacityProviderStrategy"]), (None, &strategy));
    r.update(&json!({ "forceNewDeployment": true }), None).expect("accepted");
    r.until("the forced deployment completes", |r| r.is_settled("good:1"));
    assert_eq!(r.tasks[1].spec.capacity_provider.as_deref(), Some("FARGATE_SPOT"));
}

#[test]
fn tags_reach_tasks_as_propagate_tags_says() {
    let mut body = creation(1, json!({}));
    body["tags"] = json!([{ "key": "team", "value": "a" }]);
    body["propagateTags"] = json!("SERVICE");
    body["enableECSManagedTags"] = json!(true);
    let mut r = Rehearsal::of(&body, "good:1", Behavior::impatient());
    r.until("a task is started", |r| r.started == 1);
    let keys: Vec<_> = r.tasks[0].spec.tags.iter().filter_map(|tag| tag["key"].as_str()).collect();
    assert_eq!(keys, ["team", "aws:ecs:clusterName", "aws:ecs:serviceName"]);
    assert_eq!(r.tasks[0].spec.group, "service:web");
}
