//! Amazon ECS.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html>

use self::wire::{list, text};
use crate::ports::{Call, CallError, CallErrorKind};
use serde_json::{Value, json};

/// One call with a raw body, answered by the raw answer. `once`: it must not be made twice.
macro_rules! ask {
    ($cloud:expr, $action:literal, $operation:ident, $body:expr) => {
        ask!($cloud, call, $action, $operation, $body)
    };
    (once $cloud:expr, $action:literal, $operation:ident, $body:expr) => {
        ask!($cloud, call_once, $action, $operation, $body)
    };
    ($cloud:expr, $repeat:ident, $action:literal, $operation:ident, $body:expr) => {{
        let body: serde_json::Value = $body;
        $cloud
            .$repeat($action, async || {
                let raw = $crate::adapters::aws::raw_json::RawJson::new(&body);
                let request = $cloud.ecs.$operation().customize().interceptor(raw.clone());
                request.send().await.map_err($crate::adapters::aws::failure::call_error($action))?;
                raw.answer($action)
            })
            .await
    }};
}

mod services;
mod sessions;
mod task_definitions;
mod tasks;
mod wire;

fn tags(tags: &[(String, String)]) -> Value {
    tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

/// `failures[]` of an HTTP 200. `MISSING` is an answer; anything else means that we could not tell.
fn refuse_other_failures(action: &str, answer: &Value) -> Call<()> {
    match list(answer, "failures").iter().find(|f| f["reason"].as_str() != Some("MISSING")) {
        None => Ok(()),
        Some(failure) => Err(CallError {
            action: action.to_owned(),
            kind: CallErrorKind::Invalid,
            code: text(failure, "reason"),
            message: [text(failure, "arn"), text(failure, "detail")].join(" ").trim().to_owned(),
            request_id: None,
        }),
    }
}
