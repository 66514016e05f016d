use serde_json::json;

use super::model::Models;
use super::{check, pattern};

#[test]
fn the_table_has_every_service_and_every_pattern_can_be_read() {
    let models = Models::load();
    let names: Vec<&str> = models.all().map(|(name, _)| name.as_str()).collect();
    let expected =
        ["cloudformation", "ecr", "ecs", "elasticloadbalancing", "iam", "logs", "rds", "secretsmanager", "ssm", "sts"];
    assert_eq!(names, expected);
    for (name, service) in models.all() {
        for operation in service.operations.keys() {
            let Some(input) = service.input(operation) else { continue };
            assert_eq!(input.kind, "structure", "{name}:{operation}");
        }
        for shape in service.shapes() {
            let Some(text) = &shape.pattern else { continue };
            assert!(pattern::compiled(text).is_some(), "{name}: {text}");
        }
    }
}

#[test]
fn patterns_hold_for_the_whole_text() {
    let tag = r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$";
    assert!(pattern::matches(tag, "grün/ Äpfel=1"));
    assert!(!pattern::matches(tag, "a;b"));
    assert!(pattern::matches(r"[\u0009\u000A\u000D\u0020-\u007E]+", "a b"));
    assert!(!pattern::matches(r"[\w+=,.@-]*", "a/b"));
}

#[test]
fn a_value_of_another_type_is_a_serialization_error() {
    for (body, message) in [
        (json!({"taskDefinition": "a:1", "count": "2"}), "STRING_VALUE can not be converted to an Integer"),
        (json!({"taskDefinition": 7}), "NUMBER_VALUE can not be converted to a String"),
        (json!({"taskDefinition": ["a"]}), "Start of list found where not expected"),
        (json!({"taskDefinition": "a:1", "overrides": "x"}), "Unexpected value type in payload"),
        (json!({"taskDefinition": "a:1", "count": {}}), "Start of structure or map found where not expected."),
    ] {
        let error = check("ecs", "RunTask", &body).unwrap_err();
        assert_eq!((error.code.as_str(), error.message.as_str()), ("SerializationException", message), "{body}");
    }
}

#[test]
fn limits_enumerations_and_patterns_are_refused_in_each_services_words() {
    let long = "a".repeat(129);
    for (service, operation, body, code, message) in [
        (
            "ssm",
            "PutParameter",
            json!({"Name": "/a", "Value": "v", "Type": "Text"}),
            "ValidationException",
            "1 validation error detected: Value 'Text' at 'type' failed to satisfy constraint: Member must satisfy enum value set: [String, StringList, SecureString]",
        ),
        (
            "ecs",
            "RunTask",
            json!({"taskDefinition": "a:1", "launchType": "LAMBDA"}),
            "InvalidParameterException",
            "1 validation error detected: Value 'LAMBDA' at 'launchType' failed to satisfy constraint: Member must satisfy enum value set: [EC2, FARGATE, EXTERNAL, MANAGED_INSTANCES]",
        ),
        (
            "ecr",
            "CreateRepository",
            json!({"repositoryName": "Shop"}),
            "InvalidParameterException",
            r"Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*''",
        ),
        (
            "logs",
            "GetLogEvents",
            json!({"logGroupName": "a", "logStreamName": "b", "limit": 10001}),
            "InvalidParameterException",
            "1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000",
        ),
        (
            "sts",
            "AssumeRole",
            json!({"RoleArn": "arn:aws:iam::123456789012:role/x", "RoleSessionName": "a", "DurationSeconds": "10"}),
            "ValidationException",
            "2 validation errors detected: Value '10' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900; Value 'a' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2",
        ),
        ("ecs", "DescribeServices", json!({}), "InvalidParameterException", "Services cannot be empty."),
        ("ecs", "RunTask", json!({}), "InvalidParameterException", "TaskDefinition can not be blank."),
    ] {
        let error = check(service, operation, &body).unwrap_err();
        assert_eq!((error.code.as_str(), error.message.as_str()), (code, message));
    }
    let tags = json!({"resourceArn": "arn", "tags": [{"key": "a", "value": "b"}, {"key": long, "value": ""}]});
    let error = check("ecs", "TagResource", &tags).unwrap_err();
    assert!(
        error.message.contains(
            "at 'tags.2.member.key' failed to satisfy constraint: Member must have length less than or equal to 128"
        ),
        "{}",
        error.message
    );
}

#[test]
fn null_is_absent_and_what_is_not_played_is_refused_by_name() {
    check("ecs", "RunTask", &json!({"taskDefinition": "a:1", "count": null, "volumeConfigurations": []})).unwrap();
    check("ecs", "NoSuchOperation", &json!({"count": "x"})).unwrap();
    let hooked = json!({"service": "web", "deploymentConfiguration": {"earlySuccessCriteria": {"enable": true}}});
    for (operation, body, message) in [
        (
            "RunTask",
            json!({"taskDefinition": "a:1", "newer": {"than": "the model"}}),
            "not played here: `newer` of RunTask",
        ),
        ("UpdateService", hooked, "not played here: `deploymentConfiguration.earlySuccessCriteria` of UpdateService"),
    ] {
        let error = check("ecs", operation, &body).unwrap_err();
        assert_eq!((error.code.as_str(), error.message.as_str()), ("UnsupportedFeatureException", message));
    }
}
