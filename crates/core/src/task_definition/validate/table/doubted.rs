//! What AWS may refuse, and what is never said.

use super::*;

#[test]
fn what_aws_may_refuse_is_a_warning_alone() {
    let cases: Vec<(Changes, &str)> = vec![
        (
            [top("cpu", json!("65536")), top("memory", json!("500000"))].concat(),
            "`cpu` is 65536: a size of Fargate that is not known",
        ),
        ([top("cpu", json!("32768")), top("memory", json!("65536"))].concat(), "`memory` is 65536"),
        (top("runtimePlatform", json!({"cpuArchitecture": "RISCV64"})), "`X86_64` or `ARM64`"),
        (top("runtimePlatform", json!({"operatingSystemFamily": "LINUX_OF_TOMORROW"})), "is not known here"),
        (app("logConfiguration", json!({"logDriver": "tomorrow"})), "log driver `tomorrow`"),
        (app("linuxParameters", json!({"capabilities": {"add": ["NET_ADMIN"]}})), "`NET_ADMIN`"),
        (app("linuxParameters", json!({"tmpfs": [{"containerPath": "/t", "size": 1}]})), "tmpfs"),
        (
            app("environment", json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}])),
            "the variable `A` stands twice",
        ),
        (
            app("environment", json!([null, {"name": "A", "value": "2"}])),
            "`containerDefinitions[0].environment[0]` is null",
        ),
        (app("cpu", json!(128.0)), "is written `128.0`"),
        (
            app(
                "resourceRequirements",
                json!([{"type": "NeuronDevice", "value": "1", "sharingStrategy": {"tomorrow": {}}}]),
            ),
            "`containerDefinitions[0].resourceRequirements[0].type` is `NeuronDevice`",
        ),
        (
            app("portMappings", json!([{"containerPort": 80, "appProtocol": "http3"}])),
            "`http3`, which is not known here",
        ),
        (
            top("tags", json!([{"key": "aws:cloudformation:stack-name", "value": "s"}])),
            "is reserved for AWS: it is not sent",
        ),
        (app("environment", json!([{"name": "A", "value": "${A}"}])), "has the placeholder `${A}`"),
        (app("image", json!("<IMAGE1_NAME>")), "has the placeholder `<IMAGE1_NAME>`"),
        (
            top("taskRoleArn", json!("arn:aws:iam::${{ env.ACCOUNT }}:role/app")),
            "`taskRoleArn` has the placeholder `${{ env.ACCOUNT }}`",
        ),
        (top("tags", json!([{"key": "sha", "value": "{{ sha }}"}])), "`tags[0].value` has the placeholder"),
    ];
    for (changes, expected) in cases {
        let mut found = findings(&changed(web, &changes), &[]);
        assert_eq!(found.problems, [""; 0], "{expected}");
        assert!(found.warnings.iter().any(|w| w.contains(expected)), "{expected}: {:#?}", found.warnings);
        found.warnings.retain(|w| !w.contains(expected));
        assert!(found.warnings.len() <= 1, "{expected}: {:#?}", found.warnings);
    }
}

#[test]
fn no_value_of_a_variable_is_in_a_finding() {
    let env = json!([{"name": "A", "value": 4111111111111111u64}, {"name": "B", "value": {"hunter2": "hunter2"}},
        {"name": "C", "value": "${C:-hunter2}"}, {"name": "D", "value": ["hunter2"]}]);
    let found = format!("{:?}", findings(&changed(web, &app("environment", env)), &[]));
    assert!(!found.contains("hunter2") && !found.contains("4111"), "{found}");
}
