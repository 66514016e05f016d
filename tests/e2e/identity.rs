//! A role that does not trust this job: told with the statement to add, before anything is touched.

use crate::scene::{ROLE, Scene, Setting, trust_of};
use aws_stage::oidc::GithubJob;
use serde_json::json;
use test_support::Behaviour;

async fn refused(github: GithubJob, trusted: &str) {
    let (by_name, by_id) = ("repo:acme/shop:ref:refs/heads/main", "repo:acme@1001/shop@2002:ref:refs/heads/main");
    let subject = github.subject();
    let scene = Scene::open(Setting { github, desired: 0, ..Setting::default() }).await;
    let policy = trust_of(trusted).to_string();
    scene.call("iam", "UpdateAssumeRolePolicy", json!({"RoleName": "shop-deploy", "PolicyDocument": policy})).await;
    scene.commit("r1", Behaviour::Serves);
    let mark = scene.mark();
    let run = scene.deploy(&[]).await;
    run.failed(3, "identity");
    let key = "token.actions.githubusercontent.com:sub";
    for needed in [
        format!("the token says sub `{subject}`"),
        format!("the trust policy of `{ROLE}` needs this statement"),
        format!("\"{key}\": \"{by_name}\""),
        format!("\"{key}\": \"{by_id}\""),
        "\"token.actions.githubusercontent.com:aud\": \"sts.amazonaws.com\"".to_owned(),
    ] {
        assert!(run.log.contains(&needed), "{needed} is missing in {}", run.log);
    }
    assert_eq!(scene.mutations_since(mark), Vec::<String>::new());
    let asked =
        scene.calls_since(mark, |call| call.service != "github" && call.operation != "AssumeRoleWithWebIdentity");
    assert_eq!(asked, Vec::<String>::new());

    // The statement that it names is the one that helps.
    let policy = trust_of(&subject).to_string();
    scene.call("iam", "UpdateAssumeRolePolicy", json!({"RoleName": "shop-deploy", "PolicyDocument": policy})).await;
    scene.deploy(&[]).await.succeeded("deployed-not-verified");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trust_policy_for_another_branch_is_answered_with_the_condition_to_add() {
    refused(GithubJob::default(), "repo:acme/shop:ref:refs/heads/production").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trust_policy_in_the_older_form_of_a_subject_is_answered_with_both_forms() {
    let github = GithubJob { immutable_subject: true, ..GithubJob::default() };
    refused(github, "repo:acme/shop:ref:refs/heads/main").await;
}
