//! Bad days: permissions, rate limits, outages; and where the API is.

use crate::github::scene::{BOT, HEAD, PULL, Scene, marker, patient};
use aws_stage::faults::FaultAction;
use fargate_deploy::adapters::aws::Network;
use fargate_deploy::adapters::github::{GitHubApi, Patience};
use fargate_deploy::error::github_failed;
use fargate_deploy::ports::{CallErrorKind, GitHub as _};
use fargate_deploy::steps::comment::{Upserted, upsert};
use fargate_deploy_core::github_deployment::{NewDeployment, started};
use fargate_deploy_core::outcome::Reason;
use fargate_deploy_core::permission::Permission;
use std::time::Duration;

#[tokio::test]
async fn a_refusal_becomes_the_permissions_block_to_paste() {
    let scene = Scene::open().await;
    scene.github().set_account(scene.github().token(), BOT, &[("contents", "read"), ("pull_requests", "read")]);
    let error = upsert(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Denied);
    assert_eq!(scene.calls_of("CreateComment"), 1);
    let failure = github_failed("commenting on #7", &error, &[Permission::WritePullRequests]);
    insta::assert_snapshot!(format!("{}\n\n{}", failure.what, failure.next.unwrap()));
}

#[tokio::test]
async fn a_secondary_rate_limit_is_waited_out_for_reads_and_writes() {
    for operation in ["ListComments", "CreateComment"] {
        let scene = Scene::open().await;
        scene.fault(operation, 1, FaultAction::Throttle);
        upsert(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap();
        assert_eq!(scene.github().comments(PULL).len(), 1);
        assert_eq!(scene.calls_of(operation), 2, "{operation}");
        let calls = scene.server.calls();
        let at: Vec<_> = calls.iter().filter(|call| call.operation == operation).map(|call| call.time).collect();
        assert!(at[1].duration_since(at[0]).as_secs_f64() >= 1.0, "`retry-after: 1` was not honoured");
    }
}

#[tokio::test]
async fn a_primary_rate_limit_is_waited_out_until_its_reset() {
    let scene = Scene::open().await;
    scene.fault("ListComments", 1, FaultAction::Status(429));
    scene.api().comments(PULL).await.unwrap();
    assert_eq!(scene.calls_of("ListComments"), 2);
}

#[tokio::test]
async fn a_rate_limit_that_lasts_too_long_ends_the_call_at_once() {
    let scene = Scene::open().await;
    scene.fault("ListComments", 9, FaultAction::Throttle);
    let hasty = scene.api_of(&scene.env(), Patience { limit_wait: Duration::from_millis(100), ..patient() });
    let error = hasty.comments(PULL).await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Throttled);
    assert!(error.message.contains("secondary rate limit"), "{error}");
    assert_eq!(scene.calls_of("ListComments"), 1);
}

#[tokio::test]
async fn reads_and_edits_survive_an_outage_and_a_creation_is_not_repeated_blindly() {
    let scene = Scene::open().await;
    for action in [FaultAction::Status(502), FaultAction::DropBefore, FaultAction::DropAfterEffect] {
        scene.fault("ListComments", 2, action);
        scene.api().comments(PULL).await.unwrap();
    }
    scene.fault("CreateComment", 1, FaultAction::Status(500));
    let error = scene.api().create_comment(PULL, "text").await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Unreachable);
    assert_eq!(scene.calls_of("CreateComment"), 1);

    let id = scene.api().create_comment(PULL, "text").await.unwrap().id;
    scene.fault("UpdateComment", 2, FaultAction::DropAfterEffect);
    scene.api().update_comment(id, "other text").await.unwrap();
    assert_eq!(scene.github().comments(PULL)[0].body, "other text");
}

#[tokio::test]
async fn an_outage_that_does_not_end_is_given_up() {
    let scene = Scene::open().await;
    scene.fault("ListComments", 99, FaultAction::Status(503));
    assert_eq!(scene.api().comments(PULL).await.unwrap_err().kind, CallErrorKind::Unreachable);
    assert_eq!(scene.calls_of("ListComments"), 4);
    scene.fault("ListComments", 99, FaultAction::Delay { milliseconds: 60_000 });
    let hasty = scene.api_of(&scene.env(), Patience { attempt: Duration::from_millis(50), attempts: 2, ..patient() });
    let error = hasty.comments(PULL).await.unwrap_err();
    assert_eq!(error.to_string(), "GET /repos/acme/shop/issues/7/comments: no answer within 0.05 s");
}

#[tokio::test]
async fn a_renamed_repository_is_followed_with_reads_edits_and_creations() {
    for status in [301, 302, 307, 308] {
        let scene = Scene::open().await;
        scene.github().set_largest_page(1);
        scene.github().rename("acme/store", status);
        for text in ["one", "two"] {
            upsert(&scene.api(), PULL, &marker(HEAD), text).await.unwrap();
            scene.github().add_comment(PULL, "ann", "noted");
        }
        assert_eq!(scene.github().comments(PULL)[0].body, marker(HEAD).body("two"), "{status}");
        let id = scene.api().create_deployment(&NewDeployment::new(HEAD, None, "")).await.unwrap();
        scene.api().set_deployment_status(id, &started(None)).await.unwrap();
        assert_eq!(scene.github().deployments()[0].statuses.len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_rate_limit_that_is_far_away_names_its_end_and_the_run_can_come_again() {
    let scene = Scene::open().await;
    scene.fault("ListComments", 9, FaultAction::Throttle);
    let hasty = scene.api_of(&scene.env(), Patience { limit_wait: Duration::from_millis(100), ..patient() });
    let error = hasty.comments(PULL).await.unwrap_err();
    assert!(error.message.ends_with("(calls are taken again in 1 s)"), "{error}");
    let failure = github_failed("commenting on the pull request", &error, &[Permission::WritePullRequests]);
    assert_eq!(failure.reason, Reason::Unavailable);
}

#[tokio::test]
async fn a_locked_conversation_is_no_missing_permission() {
    let scene = Scene::open().await;
    scene.github().lock_conversation(PULL);
    let error = upsert(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Conflict);
    let failure = github_failed("commenting on the pull request", &error, &[Permission::WritePullRequests]);
    assert!(failure.what.contains("issue is locked"), "{}", failure.what);
    assert!(!failure.next.unwrap_or_default().contains("pull-requests: write"));
    assert_eq!(failure.reason, Reason::Unavailable);
}

#[tokio::test]
async fn nothing_that_github_answers_is_called_a_bug_of_ours() {
    for action in [
        FaultAction::Status(500),
        FaultAction::Status(503),
        FaultAction::Status(404),
        FaultAction::Status(409),
        FaultAction::Status(410),
        FaultAction::Status(418),
        FaultAction::Status(422),
        FaultAction::Status(451),
        FaultAction::AccessDenied,
        FaultAction::ExpireSession,
        FaultAction::DropBefore,
    ] {
        let scene = Scene::open().await;
        let shown = format!("{action:?}");
        scene.fault("ListComments", 9, action);
        let error = upsert(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap_err();
        let failure = github_failed("commenting on the pull request", &error, &[Permission::WritePullRequests]);
        assert_ne!(failure.reason, Reason::Internal, "{shown}: {}", failure.what);
        assert!(failure.next.is_some(), "{shown}");
    }
}

#[tokio::test]
async fn a_comment_of_a_deleted_account_hides_no_other() {
    let scene = Scene::open().await;
    scene.github().add_comment(PULL, "", "from a ghost");
    let ours = scene.github().add_comment(PULL, BOT, &marker("old").body("the old plan"));
    let upserted = upsert(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap();
    assert_eq!(upserted, Upserted::Updated(ours));
}

#[tokio::test]
async fn a_comment_beyond_githubs_limit_is_refused_and_named() {
    let scene = Scene::open().await;
    scene.api().create_comment(PULL, &"x".repeat(262_144)).await.unwrap();
    let error = scene.api().create_comment(PULL, &"x".repeat(262_145)).await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Invalid);
    assert!(error.message.contains("body is too long"), "{error}");
}

#[tokio::test]
async fn a_token_that_is_none_of_githubs_has_no_identity() {
    let scene = Scene::open().await;
    let mut env = scene.env();
    env.insert("GITHUB_TOKEN".to_owned(), "ghs_expired".to_owned());
    let error = scene.api_of(&env, patient()).comments(PULL).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (CallErrorKind::Identity, "HTTP 401"));
}

#[tokio::test]
async fn a_token_that_may_not_ask_who_it_is_belongs_to_a_job() {
    let scene = Scene::open().await;
    let ours = scene.github().add_comment(PULL, BOT, &marker("old").body("the old plan"));
    scene.fault("QueryViewer", 1, FaultAction::AccessDenied);
    let upserted = upsert(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap();
    assert_eq!(upserted, Upserted::Updated(ours));
}

#[tokio::test]
async fn the_api_is_where_its_address_says_with_and_without_a_path() {
    let url = |scene: &Scene, path: &str| format!("{}{path}", scene.server.url());
    for (api, graphql) in [
        ("/api/v3", None),
        ("/api/v3/", Some("/api/graphql")),
        ("", None),
        ("/", Some("/graphql")),
        ("/api/v3", Some("")),
    ] {
        let scene = Scene::open().await;
        scene.github().set_largest_page(1);
        let mut env = scene.env();
        env.insert("GITHUB_API_URL".to_owned(), url(&scene, api));
        // An address on another host gets no token: the one beside the API is asked instead.
        let elsewhere = graphql.filter(|path| path.is_empty()).map(|_| "https://elsewhere.test/graphql".to_owned());
        let graphql = elsewhere.unwrap_or_else(|| graphql.map_or(String::new(), |path| url(&scene, path)));
        env.insert("GITHUB_GRAPHQL_URL".to_owned(), graphql);
        let api = scene.api_of(&env, patient());
        for text in ["one", "two", "two"] {
            upsert(&api, PULL, &marker(HEAD), text).await.unwrap();
            scene.github().add_comment(PULL, "ann", "noted");
        }
        assert_eq!(scene.writes(), ["CreateComment", "UpdateComment"]);
        assert_eq!(scene.calls_of("QueryViewer"), 2);
        assert!(scene.server.calls().iter().all(|call| call.status < 300), "{:?}", scene.server.calls());
    }
}

#[tokio::test]
async fn the_token_is_masked_and_without_one_there_is_nobody_to_speak_to() {
    let scene = Scene::open().await;
    scene.api();
    assert_eq!(scene.told.masked(), [scene.github().token()]);
    let open = |change: &[(&str, &str)]| {
        let mut env = scene.env();
        env.extend(change.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        GitHubApi::from_env(&env, &Network::from_env(&env).unwrap(), patient(), &scene.told)
    };
    assert!(open(&[("GITHUB_TOKEN", " ")]).unwrap().is_none());
    assert!(open(&[("GITHUB_REPOSITORY", "")]).unwrap().is_none());
    for (name, value) in [("GITHUB_API_URL", "nowhere"), ("GITHUB_API_URL", "ftp://x"), ("GITHUB_TOKEN", "a\nb")] {
        let error = open(&[(name, value)]).unwrap_err();
        assert_eq!(error.kind, CallErrorKind::Invalid, "{name}");
        assert!(!error.to_string().contains("a\nb"), "{error}");
    }
}
