//! Whatever GitHub and STS answer: there is a session, or a failure that says what to do and shows no token.

use crate::contract::scripted_server::{Answer, ScriptedServer, credentials, inputs, jwt, sts_error, text, token};
use crate::recorded_events::RecordedEvents;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fargate_deploy::adapters::aws::{Session, SessionInputs};
use std::sync::Arc;
use std::time::Duration;
use test_support::fuzz;
use test_support::proptest::prelude::*;
use test_support::proptest::sample::select;

const ROLE: &str = "arn:aws:iam::111122223333:role/deploy";

fn body() -> impl Strategy<Value = String> {
    let pieces = vec![
        "{",
        "}",
        "\"value\":",
        "null",
        "\"\"",
        "\"a.b.c\"",
        "[",
        "]",
        "<html>",
        "\u{0}",
        ":",
        ",",
        "1",
        "\"x\"",
        "\n",
        "<Error>",
        "<Code>AccessDenied</Code>",
        "<Message>no\u{1b}[31m</Message>",
        "</Error>",
        "<ErrorResponse>",
        "&lt;",
        "<!DOCTYPE x>",
        "ü",
    ];
    prop::collection::vec(select(pieces), 0..8).prop_map(|pieces| pieces.concat())
}

/// The middle of a JWT: claims of every type, or no JSON at all.
fn odd_jwt() -> impl Strategy<Value = String> {
    let claims = vec![
        "{}",
        "[]",
        "null",
        "1",
        "{\"sub\":1}",
        "{\"sub\":[\"a\",1]}",
        "{\"aud\":[\"a\",\"b\"],\"iss\":{}}",
        "\"x\"",
        "{\"iss\":\"https://\",\"sub\":\"repo:o/r:ref\",\"repository\":\"o\",\"repository_id\":\"1\"}",
        "{\"repository\":\"o/r\",\"repository_id\":1,\"repository_owner_id\":2,\"sub\":\"repo:o/r:x\",\"environment\":{}}",
        "{\"sub\":\"\\u0000`\"}",
        "\u{0}",
    ];
    (select(claims), select(vec!["h.", "", "..", "h"]), select(vec![".s", "", "."]))
        .prop_map(|(claims, before, after)| format!("{before}{}{after}", URL_SAFE_NO_PAD.encode(claims)))
}

#[test]
fn any_answer_is_a_session_or_a_failure_that_says_what_to_do() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let status = || select(vec![200_u16, 204, 302, 400, 403, 404]);
    let of_github = prop_oneof![
        3 => odd_jwt().prop_map(|jwt| token(&jwt)),
        1 => Just(token(&jwt("repo:org/shop:ref:refs/heads/main", 1))),
        2 => (status(), body()).prop_map(|(status, body)| text(status, &body)),
    ];
    let codes = vec![
        "AccessDenied",
        "InvalidIdentityToken",
        "ExpiredTokenException",
        "ValidationError",
        "PackedPolicyTooLarge",
        "X",
        "",
    ];
    let messages = vec![
        "",
        "Not authorized",
        "No OpenIDConnect provider found",
        "Incorrect token audience",
        "`\u{202e}::error::",
        "DurationSeconds exceeds",
    ];
    let of_sts = prop_oneof![
        3 => (status(), select(codes), select(messages)).prop_map(|(status, code, message)| sts_error(status, code, message)),
        1 => Just(credentials("AssumeRoleWithWebIdentity", "AKIDROLE", Duration::from_secs(3600))),
        2 => (status(), body()).prop_map(|(status, body)| text(status, &body)),
    ];
    fuzz(40, (of_github, of_sts), |(of_github, of_sts): (Answer, Answer)| {
        runtime.block_on(async {
            let played = ScriptedServer::start().await;
            played.on("GET", [of_github]).on("AssumeRoleWithWebIdentity", [of_sts]);
            let inputs = SessionInputs {
                roles: vec![ROLE.into()],
                retry_wait: Duration::from_millis(1),
                ..inputs(played.job_env())
            };
            let opened = Session::open(&inputs, Arc::new(RecordedEvents::default()));
            // What may be answered better next time is asked for again, for two minutes.
            let opened = tokio::time::timeout(Duration::from_millis(100), opened).await;
            let Ok(Err(failure)) = opened else { return };
            let said = format!("{failure}\n{}", failure.hint());
            assert!(!failure.to_string().trim().is_empty() && !failure.hint().trim().is_empty(), "{said}");
            assert!(!said.contains("request-token"), "{said}");
            for asked in played.asked_for("AssumeRoleWithWebIdentity") {
                let token = asked.form("WebIdentityToken");
                assert!(token.len() < 12 || !said.contains(&token), "{said}");
            }
        });
    });
}
