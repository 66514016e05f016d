//! Parameter Store and Secrets Manager.

use aws_sdk_ssm::types::ParameterType;
use serde_json::{Value, json};

use crate::clients::{bare, refusal, root, ssm, stage};

#[tokio::test]
async fn of_thirty_two_tasks_that_take_one_parameter_exactly_one_wins() {
    let stage = stage().await;
    let client = ssm(&stage, root());
    let takers = (0..32).map(|number| {
        let put = client.put_parameter().name("/lease/web").value(number.to_string()).r#type(ParameterType::String);
        tokio::spawn(put.overwrite(false).send())
    });
    let mut winners = 0;
    for taker in takers.collect::<Vec<_>>() {
        match taker.await.unwrap() {
            Ok(_) => winners += 1,
            lost => assert_eq!(refusal(lost).0, "ParameterAlreadyExists"),
        }
    }
    assert_eq!(winners, 1);
    stage.shutdown().await;
}

#[tokio::test]
async fn versions_count_and_secure_strings_show_only_when_decrypted() {
    let stage = stage().await;
    let client = ssm(&stage, root());
    let put = || client.put_parameter().name("/db/url").r#type(ParameterType::SecureString);
    assert_eq!(put().value("one").send().await.unwrap().version(), 1);
    assert_eq!(put().value("two").overwrite(true).send().await.unwrap().version(), 2);
    let get = |name: &str, decrypt: bool| client.get_parameter().name(name).with_decryption(decrypt).send();
    let value = async |name: &str, decrypt: bool| {
        get(name, decrypt).await.unwrap().parameter().unwrap().value().unwrap().to_owned()
    };
    assert_eq!(value("/db/url", true).await, "two");
    assert_ne!(value("/db/url", false).await, "two");
    assert_eq!(value("/db/url:1", true).await, "one");
    assert_eq!(refusal(get("/db/nothing", true).await).0, "ParameterNotFound");
    stage.shutdown().await;
}

#[tokio::test]
async fn a_path_is_listed_in_pages_of_at_most_ten() {
    let stage = stage().await;
    let client = ssm(&stage, root());
    let names = (0..12).map(|number| format!("/releases/web/{number:02}")).chain(["/releases/x".to_owned()]);
    for name in names {
        client.put_parameter().name(name).value("v").r#type(ParameterType::String).send().await.unwrap();
    }
    let by_path = |recursive: bool, size: i32| {
        client.get_parameters_by_path().path("/releases").recursive(recursive).max_results(size)
    };
    assert_eq!(refusal(by_path(true, 11).send().await).0, "ValidationException");
    let (mut sizes, mut token) = (Vec::new(), None);
    loop {
        let page = by_path(true, 10).set_next_token(token).send().await.unwrap();
        sizes.push(page.parameters().len());
        token = page.next_token().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [10, 3]);
    assert_eq!(by_path(false, 10).send().await.unwrap().parameters().len(), 1);
    stage.shutdown().await;
}

#[tokio::test]
async fn a_secret_has_aws_arn_and_both_its_current_and_previous_version() {
    let stage = stage().await;
    let call = async |operation: &str, body: Value| -> Value {
        let request = bare(&stage, "secretsmanager").header("x-amz-target", format!("secretsmanager.{operation}"));
        request.body(body.to_string()).send().await.unwrap().json().await.unwrap()
    };
    let created = call("CreateSecret", json!({ "Name": "db/main", "SecretString": r#"{"url":"a"}"# })).await;
    let arn = created["ARN"].as_str().unwrap();
    let suffix = arn.strip_prefix("arn:aws:secretsmanager:eu-central-1:123456789012:secret:db/main-").unwrap();
    assert_eq!(suffix.len(), 6);
    call("PutSecretValue", json!({ "SecretId": "db/main", "SecretString": r#"{"url":"b"}"# })).await;
    let current = call("GetSecretValue", json!({ "SecretId": arn })).await;
    assert_eq!(current["SecretString"], r#"{"url":"b"}"#);
    let previous = call("GetSecretValue", json!({ "SecretId": arn, "VersionStage": "AWSPREVIOUS" })).await;
    assert_eq!(previous["SecretString"], r#"{"url":"a"}"#);
    let missing = call("GetSecretValue", json!({ "SecretId": "nothing" })).await;
    assert_eq!(missing["__type"], "ResourceNotFoundException");
    stage.shutdown().await;
}

#[tokio::test]
async fn a_label_names_a_version_and_moves_to_another() {
    let stage = stage().await;
    let client = ssm(&stage, root());
    for value in ["one", "two"] {
        let put = client.put_parameter().name("/app/url").value(value).overwrite(true);
        put.r#type(aws_sdk_ssm::types::ParameterType::String).send().await.unwrap();
    }
    let get = async |name: &str| {
        client.get_parameter().name(name).send().await.map(|found| found.parameter.unwrap().value.unwrap())
    };
    let label =
        |version: i64| client.label_parameter_version().name("/app/url").parameter_version(version).labels("live");
    assert_eq!(refusal(get("/app/url:live").await).0, "ParameterVersionNotFound");
    for (version, value) in [(1, "one"), (2, "two")] {
        label(version).send().await.unwrap();
        assert_eq!(get("/app/url:live").await.unwrap(), value);
    }
    let refused = label(2).labels("aws-live").send().await.unwrap();
    assert_eq!(refused.invalid_labels(), ["aws-live"]);
    stage.shutdown().await;
}

#[tokio::test]
async fn names_and_changes_of_type_that_parameter_store_refuses_are_refused() {
    let stage = stage().await;
    let client = ssm(&stage, root());
    let put = |name: &str, kind| client.put_parameter().name(name).value("v").overwrite(true).r#type(kind).send();
    let string = aws_sdk_ssm::types::ParameterType::String;
    for (name, code) in [
        ("/aws/x", "ValidationException"),
        ("ssm-x", "ValidationException"),
        (&"/a".repeat(16), "HierarchyLevelLimitExceededException"),
    ] {
        assert_eq!(refusal(put(name, string.clone()).await).0, code, "{name}");
    }
    put("/x", string).await.unwrap();
    let changed = put("/x", aws_sdk_ssm::types::ParameterType::SecureString).await;
    assert_eq!(refusal(changed).0, "HierarchyTypeMismatchException");
    stage.shutdown().await;
}
