//! What is not played says so.

use serde_json::json;

use crate::clients::{bare, stage};

#[tokio::test]
async fn nothing_else_of_the_two_services_is_played() {
    let stage = stage().await;
    let answer = bare(&stage, "s3").body("x").send().await.unwrap();
    assert_eq!(answer.status(), 501);
    assert!(answer.text().await.unwrap().contains("<Code>NotImplemented</Code>"));
    let refused = stage.call("cloudformation", "CreateStack", json!({})).await.unwrap_err();
    assert_eq!(refused.code, "UnknownOperationException");
    stage.shutdown().await;
}
