//! What AWS and registries say before a container starts, where other words of theirs stand beside it.

use crate::cause::Seen;
use crate::cause::tests::decoys::Decoy;
use crate::cause::tests::{unstarted, with};

fn of_image(image: &str, seen: Seen) -> Seen {
    with(seen, |s| s.container_mut("app").image = Some(image.to_owned()))
}

fn not_started(reason: &str) -> Seen {
    with(unstarted("Task failed to start"), |s| s.container_mut("app").reason = Some(reason.to_owned()))
}

pub(super) fn of_words() -> Vec<Decoy> {
    vec![
        (
            "registry-not-trusted",
            of_image(
                "registry.acme.internal/shop:v42",
                unstarted(
                    "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref registry.acme.internal/shop:v42: failed to do request: Head \"https://registry.acme.internal/v2/shop/manifests/v42\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
                ),
            ),
            &["certificate signed by unknown authority"],
            &["no route", "have no route", "tag does not exist"],
        ),
        (
            "image-needs-login",
            of_image(
                "ghcr.io/acme/shop:v42",
                unstarted(
                    "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref ghcr.io/acme/shop:v42: failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token?scope=repository%3Aacme%2Fshop%3Apull&service=ghcr.io: 401 Unauthorized",
                ),
            ),
            &["repositoryCredentials"],
            &["Docker Hub was asked", "no route"],
        ),
        (
            "kms-denied",
            unstarted(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secrets from ssm: service call has been retried 1 time(s): AccessDeniedException: User: arn:aws:sts::111122223333:assumed-role/shop-exec/9e05ad12 is not authorized to perform: kms:Decrypt on the resource associated with this ciphertext because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access status code: 400, request id: 787934d9",
            ),
            &["kms:Decrypt"],
            &["a policy of", "take the `Deny`", "ssm:GetParameters`"],
        ),
        (
            "denied-by-scp",
            unstarted(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch secret arn:aws:secretsmanager:us-east-1:111122223333:secret:shop/db-AbCdEf from secrets manager: AccessDeniedException: User: arn:aws:sts::111122223333:assumed-role/shop-exec/9e05ad12 is not authorized to perform: secretsmanager:GetSecretValue on resource: arn:aws:secretsmanager:us-east-1:111122223333:secret:shop/db-AbCdEf with an explicit deny in a service control policy: arn:aws:organizations::999999999999:policy/o-abc/service_control_policy/p-xyz",
            ),
            &["secretsmanager:GetSecretValue"],
            &["add this statement"],
        ),
        (
            "logs-endpoint-closed",
            unstarted(
                "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log stream: RequestError: send request failed caused by: Post \"https://logs.eu-central-1.amazonaws.com/\": dial tcp 10.0.12.77:443: i/o timeout : exit status 1",
            ),
            &["10.0.12.77"],
            &["create-log-group", "does not exist"],
        ),
        (
            "logging-driver-failed",
            not_started(
                "CannotStartContainerError: ResourceInitializationError: failed to initialize logging driver: failed to get fluentd log driver arguments: logging driver specified of container app, but no log configuration specified",
            ),
            &[],
            &["log group", "NAT gateway"],
        ),
        (
            "secret-deleted",
            unstarted(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch secret arn:aws:secretsmanager:eu-central-1:111122223333:secret:shop/db-AbCdEf from secrets manager: InvalidRequestException: You can't perform this operation on the secret because it was marked for deletion. status code: 400, request id: 1",
            ),
            &["marked for deletion"],
            &["secretsmanager:GetSecretValue`", "no route"],
        ),
        (
            "start-file-missing",
            not_started(
                "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: OCI runtime create failed: container_linux.go:370: starting container process caused: exec: \"/opt/sonarqube/bin/run.sh\": stat /opt/sonarqube/bin/run.sh...no such file or direct...",
            ),
            &["/opt/sonarqube/bin/run.sh"],
            &[],
        ),
        (
            "file-not-executable",
            not_started(
                "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/home/app/docker-entrypoint.sh\": permission denied: unknown",
            ),
            &["/home/app/docker-entrypoint.sh"],
            &["role", "policy"],
        ),
        (
            "resources-throttled",
            unstarted(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secrets from ssm: service call has been retried 5 time(s): ThrottlingException: Rate exceeded status code: 400, request id: 1",
            ),
            &[],
            &["no route"],
        ),
        (
            "registry-error",
            of_image(
                "ghcr.io/acme/shop:v42",
                unstarted(
                    "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref ghcr.io/acme/shop:v42: unexpected status from HEAD request to https://ghcr.io/v2/acme/shop/manifests/v42: 503 Service Unavailable",
                ),
            ),
            &["503"],
            &["does not exist", "no route"],
        ),
    ]
}
