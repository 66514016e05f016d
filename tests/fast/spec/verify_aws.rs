//! `verify` against AWS: nothing is found in a world that is in order, and each planted mistake is. Nothing is changed.

use super::cli::program;
use super::verify::example;
use crate::contract::scripted_server::{
    Answer, ScriptedServer, caller_identity, credentials, ec2_error, error, ok, sts_error,
};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

/// Asked of AWS, and what it answers. Each test changes one thing.
struct World {
    service: Value,
    running: Value,
    repository: Option<Value>,
    lifecycle: Option<Value>,
    /// Name and state.
    alarms: Vec<(&'static str, &'static str)>,
    target: &'static str,
    /// Default route, free addresses, VPC.
    subnet: (&'static str, u64, &'static str),
    /// What `com.amazonaws.eu-central-1.` stands before.
    endpoints: Vec<&'static str>,
    log_group: &'static str,
    parameter: bool,
    trust: &'static str,
    denied: Option<&'static str>,
    config: fn(String) -> String,
    task: fn(String) -> String,
    arguments: Vec<&'static str>,
}

const NAT: &str = "<natGatewayId>nat-1</natGatewayId>";
const IGW: &str = "<gatewayId>igw-1</gatewayId>";
const TD: &str = "arn:aws:ecs:eu-central-1:111122223333:task-definition/gengar:41";

impl Default for World {
    fn default() -> Self {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/004-nestjs/infra/task-definition.json");
        let mut running: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        running["taskDefinitionArn"] = json!(TD);
        running["status"] = json!("ACTIVE");
        let vpc = json!({"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"});
        let deployment = json!({"id": "ecs-svc/1", "status": "PRIMARY", "taskDefinition": TD, "rolloutState": "COMPLETED",
            "desiredCount": 2, "runningCount": 2, "pendingCount": 0});
        Self {
            service: json!({
                "serviceArn": "arn:aws:ecs:eu-central-1:111122223333:service/gengar/gengar", "serviceName": "gengar",
                "clusterArn": "arn:aws:ecs:eu-central-1:111122223333:cluster/gengar", "status": "ACTIVE",
                "taskDefinition": TD, "desiredCount": 2, "runningCount": 2, "pendingCount": 0, "launchType": "FARGATE",
                "networkConfiguration": {"awsvpcConfiguration": vpc},
                "loadBalancers": [{"targetGroupArn": "arn:tg/1", "containerName": "app", "containerPort": 3000}],
                "deploymentController": {"type": "ECS"},
                "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": true, "rollback": true},
                    "minimumHealthyPercent": 100, "maximumPercent": 200, "strategy": "ROLLING"},
                "deployments": [deployment], "events": [],
            }),
            running,
            repository: Some(json!({"registryId": "111122223333", "repositoryName": "mentionai/gengar",
                "repositoryUri": "111122223333.dkr.ecr.eu-central-1.amazonaws.com/mentionai/gengar"})),
            lifecycle: None,
            alarms: vec![],
            target: "<TargetType>ip</TargetType><VpcId>vpc-1</VpcId><HealthCheckPort>traffic-port</HealthCheckPort>\
                <HealthCheckPath>/health</HealthCheckPath>",
            subnet: (NAT, 100, "vpc-1"),
            endpoints: vec![],
            log_group: "/ecs/gengar",
            parameter: true,
            trust: "ecs-tasks.amazonaws.com",
            denied: None,
            config: |text| text,
            task: |text| text,
            arguments: vec![],
        }
    }
}

fn xml(body: String) -> Answer {
    Answer::Plain { status: 200, content_type: "text/xml", body }
}

impl World {
    fn play(&self, server: &ScriptedServer) {
        let xml_of = |operation: &str, inner: &str| {
            xml(format!("<{operation}Response><{operation}Result>{inner}</{operation}Result></{operation}Response>"))
        };
        let ec2 = |operation: &str, inner: &str| xml(format!("<{operation}Response>{inner}</{operation}Response>"));
        let repository = match &self.repository {
            Some(found) => ok(json!({"repositories": [found]})),
            None => error(400, "RepositoryNotFoundException", "no such repository"),
        };
        let lifecycle = match &self.lifecycle {
            Some(policy) => ok(json!({"lifecyclePolicyText": policy.to_string()})),
            None => error(400, "LifecyclePolicyNotFoundException", "none"),
        };
        let parameter = match self.parameter {
            true => ok(json!({"Parameter": {"Type": "SecureString", "Value": "AQICsecretbytes"}})),
            false => error(400, "ParameterNotFound", "no such parameter"),
        };
        let alarms = self.alarms.iter().fold(String::new(), |mut all, (name, state)| {
            let _ = write!(all, "<member><AlarmName>{name}</AlarmName><StateValue>{state}</StateValue></member>");
            all
        });
        let (route, free, vpc) = self.subnet;
        let subnet = format!(
            "<subnetSet><item><subnetId>subnet-1</subnetId><vpcId>{vpc}</vpcId>\
            <availableIpAddressCount>{free}</availableIpAddressCount></item></subnetSet>"
        );
        let route = match route {
            "" => String::new(),
            route => format!(
                "<item><destinationCidrBlock>0.0.0.0/0</destinationCidrBlock>{route}<state>active</state></item>"
            ),
        };
        let tables = format!(
            "<routeTableSet><item><routeTableId>rtb-1</routeTableId><routeSet>{route}</routeSet>\
            <associationSet><item><main>true</main></item></associationSet></item></routeTableSet>"
        );
        let endpoints = self.endpoints.iter().fold(String::new(), |mut all, name| {
            let _ = write!(
                all,
                "<item><vpcEndpointType>{}</vpcEndpointType><serviceName>com.amazonaws.eu-central-1.{name}</serviceName>\
                <state>available</state><privateDnsEnabled>true</privateDnsEnabled><routeTableIdSet><item>rtb-1</item>\
                </routeTableIdSet></item>",
                if *name == "s3" { "Gateway" } else { "Interface" }
            );
            all
        });
        let trust = json!({"Statement": [{"Effect": "Allow", "Principal": {"Service": self.trust}, "Action": "sts:AssumeRole"}]});
        let trust = format!(
            "<Role><AssumeRolePolicyDocument>{}</AssumeRolePolicyDocument></Role>",
            encoded(&trust.to_string())
        );
        let group = format!(
            "<TargetGroups><member><TargetGroupArn>arn:tg/1</TargetGroupArn>{}</member></TargetGroups>",
            self.target
        );
        let answers = [
            ("GetCallerIdentity", caller_identity()),
            ("AssumeRole", credentials("AssumeRole", "ASIAROLE", Duration::from_secs(3600))),
            ("DescribeServices", ok(json!({"services": [self.service], "failures": []}))),
            ("DescribeTaskDefinition", ok(json!({"taskDefinition": self.running}))),
            ("DescribeRepositories", repository),
            ("GetLifecyclePolicy", lifecycle),
            ("GetParameter", parameter),
            ("GetParametersByPath", ok(json!({"Parameters": []}))),
            ("DescribeLogGroups", ok(json!({"logGroups": [{"logGroupName": self.log_group}]}))),
            ("DescribeAlarms", xml_of("DescribeAlarms", &format!("<MetricAlarms>{alarms}</MetricAlarms>"))),
            ("DescribeTargetGroups", xml_of("DescribeTargetGroups", &group)),
            ("DescribeSubnets", ec2("DescribeSubnets", &subnet)),
            ("DescribeRouteTables", ec2("DescribeRouteTables", &tables)),
            (
                "DescribeVpcEndpoints",
                ec2("DescribeVpcEndpoints", &format!("<vpcEndpointSet>{endpoints}</vpcEndpointSet>")),
            ),
            ("GetRole", xml_of("GetRole", &trust)),
        ];
        for (operation, answer) in answers {
            server.on(operation, [answer]);
        }
        if let Some(operation) = self.denied {
            let why =
                format!("User: x is not authorized to perform: {operation} because no identity-based policy allows it");
            let refusal = match operation {
                "DescribeSubnets" => ec2_error(403, "UnauthorizedOperation", &why),
                "DescribeTargetGroups" | "GetRole" => sts_error(403, "AccessDenied", &why),
                _ => error(400, "AccessDeniedException", &why),
            };
            server.on(operation, [refusal]);
        }
    }
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "%{byte:02X}");
        all
    })
}

/// Exit code, what is printed, and which operations were asked for.
async fn verified(world: World) -> (Option<i32>, String, Vec<String>) {
    let server = ScriptedServer::start().await;
    world.play(&server);
    let folder = example("004-nestjs");
    for (file, change) in [("fargate-deploy.yml", world.config), ("infra/task-definition.json", world.task)] {
        let path = folder.path().join(file);
        fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
    }
    let mut command = program(folder.path());
    command.arg("verify").args(&world.arguments).envs(server.env());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code(), text, server.asked().into_iter().map(|asked| asked.operation).collect())
}

async fn planted(world: World, found: &str) {
    let (code, text, asked) = verified(world).await;
    assert!(text.contains(found), "{found}: {text}");
    let is_warning = text.lines().any(|line| line.starts_with("warning") && line.contains(found));
    assert_eq!(code, Some(if is_warning { 0 } else { 2 }), "{text}");
    let reads = |name: &String| ["Describe", "Get", "List", "AssumeRole"].iter().any(|start| name.starts_with(start));
    assert!(asked.iter().all(reads), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_where_all_is_in_order() {
    let (code, text, _) = verified(World { arguments: vec!["--deep"], ..World::default() }).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(" 0 warnings, 0 failed, 0 skipped"), "{text}");
    assert!(!text.contains("secretbytes"), "{text}");
    for what in
        ["service `web`: network", "service `web`: load balancer", "log group `/ecs/gengar`", "role `arn:aws:iam::"]
    {
        assert!(text.contains(&format!("ok       {what}")), "{what}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_skipped_with_the_permission_and_hides_nothing() {
    for (operation, action) in [
        ("DescribeSubnets", "ec2:DescribeSubnets"),
        ("DescribeTargetGroups", "elasticloadbalancing:DescribeTargetGroups"),
        ("DescribeLogGroups", "logs:DescribeLogGroups"),
        ("GetLifecyclePolicy", "ecr:GetLifecyclePolicy"),
        ("GetRole", "iam:GetRole"),
    ] {
        let world = World { denied: Some(operation), arguments: vec!["--deep"], ..World::default() };
        let (code, text, _) = verified(world).await;
        let named = text
            .lines()
            .any(|line| line.starts_with("skipped") && line.contains(&format!("the role lacks `{action}`")));
        assert!(named, "{action}: {text}");
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains(" 0 failed"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_check_alone_asks_for_nothing_of_the_others() {
    let world = World { arguments: vec!["--only", "network"], ..World::default() };
    let (code, text, asked) = verified(world).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("1 ok, 0 warnings, 0 failed, 0 skipped"), "{text}");
    assert!(
        !asked
            .iter()
            .any(|name| name.contains("Repositor") || name.contains("LogGroups") || name.contains("Parameter")),
        "{asked:?}"
    );
    let (code, text, _) = verified(World { arguments: vec!["--only", "netwrok"], ..World::default() }).await;
    assert!(code == Some(2) && text.contains("'network'"), "{text}");
}

fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap()[member] = new;
    value
}

fn service(pointer: &str, new: Value) -> World {
    let world = World::default();
    World { service: with(world.service, pointer, new), ..World::default() }
}

fn running(pointer: &str, new: Value) -> World {
    let from_aws = |text: String| text.replace("    task-definition: infra/task-definition.json\n", "");
    World { running: with(World::default().running, pointer, new), config: from_aws, ..World::default() }
}

fn lifecycle(selection: Value) -> World {
    let rule = json!({"rulePriority": 7, "selection": selection, "action": {"type": "expire"}});
    World { lifecycle: Some(json!({"rules": [rule]})), ..World::default() }
}

fn alarms(state: Vec<(&'static str, &'static str)>) -> World {
    let rule = json!({"enable": true, "rollback": true, "alarmNames": ["web-5xx"]});
    World { alarms: state, ..service("/deploymentConfiguration/alarms", rule) }
}

macro_rules! each {
    ($($name:ident: $world:expr, $found:expr;)*) => {
        $(#[tokio::test(flavor = "multi_thread")] async fn $name() { planted($world, $found).await; })*
    };
}

const PRIVATE: (&str, u64, &str) = ("", 100, "vpc-1");

each! {
    a_service_that_is_not_there: World { service: json!({"serviceName": "gengar", "status": "INACTIVE"}), ..World::default() }, "`gengar` does not exist in cluster `gengar`";
    a_service_of_another_controller: service("/deploymentController/type", json!("CODE_DEPLOY")), "is deployed by CodeDeploy";
    percents_that_cannot_progress: service("/deploymentConfiguration/maximumPercent", json!(100)), "let ECS neither start nor stop a task";
    a_breaker_that_is_off: service("/deploymentConfiguration/deploymentCircuitBreaker", json!({"enable": false})), "no deployment circuit breaker";
    a_breaker_that_does_not_go_back: service("/deploymentConfiguration/deploymentCircuitBreaker/rollback", json!(false)), "does not go back";
    a_desired_count_of_zero: service("/desiredCount", json!(0)), "desired count of 0";
    a_deployment_that_stops_every_task_first: service("/deploymentConfiguration/minimumHealthyPercent", json!(0)), "downtime";
    a_last_deployment_that_failed: service("/deployments/0/rolloutState", json!("FAILED")), "its last deployment failed";
    a_container_that_the_running_revision_does_not_have: running("/containerDefinitions/0/name", json!("web")), "container `app` is not in it";
    an_image_for_another_processor_than_what_runs: running("/runtimePlatform/cpuArchitecture", json!("X86_64")), "is for linux/arm64, and its tasks run on linux/amd64";
    a_subnet_without_a_route: World { subnet: PRIVATE, ..World::default() }, "subnet subnet-1 has no route to the internet";
    a_gateway_without_a_public_address: World { subnet: (IGW, 100, "vpc-1"), ..World::default() }, "`assignPublicIp` is `DISABLED`";
    no_endpoint_for_the_layers: World { subnet: PRIVATE, endpoints: vec!["ecr.api", "ecr.dkr", "logs", "ssm"], ..World::default() }, "VPC endpoints for s3";
    no_endpoint_for_the_logs: World { subnet: PRIVATE, endpoints: vec!["ecr.api", "ecr.dkr", "s3", "ssm"], ..World::default() }, "no VPC endpoint leads to CloudWatch Logs";
    no_endpoint_for_the_parameters: World { subnet: PRIVATE, endpoints: vec!["ecr.api", "ecr.dkr", "s3", "logs"], ..World::default() }, "no VPC endpoint leads to Parameter Store";
    a_subnet_without_an_address: World { subnet: (NAT, 0, "vpc-1"), ..World::default() }, "has no free address";
    a_subnet_with_too_few_addresses: World { subnet: (NAT, 1, "vpc-1"), ..World::default() }, "has 1 free addresses";
    a_target_group_of_another_vpc: World { subnet: (NAT, 100, "vpc-2"), ..World::default() }, "its target group is of vpc-1, and the tasks run in vpc-2";
    a_target_group_for_instances: World { target: "<TargetType>instance</TargetType>", ..World::default() }, "is of type `instance`";
    a_health_check_at_a_port_that_nobody_maps: World { target: "<TargetType>ip</TargetType><HealthCheckPort>9000</HealthCheckPort>", ..World::default() }, "its health check asks port 9000";
    a_health_check_path_that_was_never_set: World { target: "<TargetType>ip</TargetType><HealthCheckPath>/</HealthCheckPath>", task: |text| text.replace("[\"CMD\", \"/app/bin/healthcheck\"]", "[\"CMD-SHELL\", \"curl -f http://localhost:3000/health || exit 1\"]"), ..World::default() }, "the container's own asks for `/health`";
    a_load_balancer_of_a_port_that_the_container_does_not_map: service("/loadBalancers/0/containerPort", json!(8080)), "sends requests to port 8080 of container `app`, which maps 3000";
    a_load_balancer_of_a_container_that_is_gone: service("/loadBalancers/0/containerName", json!("nginx")), "sends requests to container `nginx`, which is not in the task definition";
    an_alarm_that_went_off_already: alarms(vec![("web-5xx", "ALARM")]), "it is in ALARM already";
    an_alarm_that_is_not_there: alarms(vec![]), "there is no such alarm";
    a_repository_that_is_not_there: World { repository: None, ..World::default() }, "create-repository";
    a_tag_that_cannot_be_moved: World { repository: Some(with(World::default().repository.unwrap(), "/imageTagMutability", json!("IMMUTABLE"))), ..World::default() }, "its tags cannot be moved";
    a_policy_that_keeps_one_image: lifecycle(json!({"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1})), "rule 7 of its lifecycle policy keeps 1 image";
    a_policy_that_deletes_by_age: lifecycle(json!({"tagStatus": "any", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14})), "deletes images 14 days after their push";
    a_secret_that_is_not_there: World { parameter: false, ..World::default() }, "there is no such parameter";
    a_log_group_that_is_not_there: World { log_group: "/ecs/gengar-old", ..World::default() }, "aws logs create-log-group --log-group-name /ecs/gengar";
    a_role_that_ecs_may_not_assume: World { trust: "ecs.amazonaws.com", arguments: vec!["--deep"], ..World::default() }, "does not let `ecs-tasks.amazonaws.com` assume it";
}
