//! Where the environment that we are given has nothing: the SDK's own chain, and what is said when that has nothing.

use crate::contract::scripted_server::{ScriptedServer, caller_identity, credentials, env, inputs, jwt, token};
use crate::contract::sts::{BY_TOKEN, HOUR, ROLE, SUB, job, open};
use fargate_deploy::adapters::aws::{IdentityFailure, SessionInputs};
use fargate_deploy::ports::Identity as _;
use std::process::Command;

/// The SDK's own chain reads the environment and the home folder of the process: these run in one that has neither.
#[test]
fn without_any_credentials_the_failure_says_what_to_set() {
    in_an_empty_process("contract::ambient::in_empty_process::no_credentials");
}

#[test]
fn a_job_without_the_permission_is_told_which_one() {
    in_an_empty_process("contract::ambient::in_empty_process::no_id_token");
}

#[test]
fn without_a_region_the_failure_says_what_to_set() {
    in_an_empty_process("contract::ambient::in_empty_process::no_region");
}

/// In an image from scratch a rehearsal, all of it plain `http`, works.
#[test]
fn a_system_without_certificates_does_without_tls() {
    in_an_empty_process("contract::ambient::in_empty_process::no_certificates");
}

fn in_an_empty_process(test: &str) {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored"])
        .env_clear()
        .env("HOME", home.path())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("SSL_CERT_FILE", "/dev/null")
        .env("SSL_CERT_DIR", "/nonexistent")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

mod in_empty_process {
    use super::*;

    #[tokio::test]
    #[ignore = "run by its parent in an empty environment"]
    async fn no_credentials() {
        let failure = open(&inputs(env(&[("AWS_REGION", "eu-central-1")]))).await.err().unwrap();
        assert!(matches!(failure, IdentityFailure::NoCredentials { .. }), "{failure:?}");
        assert_eq!(
            failure.to_string(),
            "AWS credentials: none in the environment, the profiles, or from the machine itself"
        );
    }

    #[tokio::test]
    #[ignore = "run by its parent in an empty environment"]
    async fn no_id_token() {
        let env = env(&[("AWS_REGION", "eu-central-1"), ("GITHUB_ACTIONS", "true")]);
        let failure = open(&SessionInputs { roles: vec![ROLE.into()], ..inputs(env) }).await.err().unwrap();
        assert_eq!(failure, IdentityFailure::NoIdToken { role: ROLE.into() });
        assert!(failure.hint().contains("permissions:\n  id-token: write\n"), "{}", failure.hint());
    }

    #[tokio::test]
    #[ignore = "run by its parent in an empty environment"]
    async fn no_certificates() {
        let played = ScriptedServer::start().await;
        played
            .on("GET", [token(&jwt(SUB, 1))])
            .on(BY_TOKEN, [credentials(BY_TOKEN, "AKIDROLE", HOUR)])
            .on("GetCallerIdentity", [caller_identity()]);
        open(&job(&played, &[ROLE])).await.unwrap().caller().await.unwrap();
    }

    #[tokio::test]
    #[ignore = "run by its parent in an empty environment"]
    async fn no_region() {
        assert_eq!(open(&inputs(env(&[]))).await.err().unwrap(), IdentityFailure::NoRegion);
    }
}
