//! Secrets, parameters, log groups, file systems.

use super::{Case, denied, unstarted};

pub(super) fn cases() -> Vec<Case> {
    let init = |rest: &str| unstarted(&format!("ResourceInitializationError: {rest}"));
    let secret = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:shop-AbCdEf";
    vec![
        (
            "no-route-to-ssm",
            "a way is missing, not a permission",
            init(
                "unable to pull secrets or registry auth: The task cannot pull secrets from AWS Systems Manager. There is a connection issue between the task and AWS Systems Manager Parameter Store. Check your task network configuration. RequestError",
            ),
        ),
        (
            "no-route-to-secrets-manager",
            "the same of Secrets Manager",
            init(
                "unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm: service call has been retried 5 time(s): failed to fetch secret from secrets manager: RequestError: send request failed caused by: Post \"https://secretsmanager.eu-central-1.amazonaws.com/\": dial tcp 3.120.181.40:443: i/o timeout",
            ),
        ),
        (
            "secrets-endpoint-closed",
            "a private address",
            init(
                "unable to pull secrets or registry auth: unable to retrieve secret from asm: Post \"https://secretsmanager.eu-central-1.amazonaws.com/\": dial tcp 10.0.3.9:443: i/o timeout",
            ),
        ),
        (
            "no-route-from-task",
            "of which service is not told",
            init("unable to pull secrets or registry auth: pull command failed: : signal: killed"),
        ),
        (
            "no-route-to-logs",
            "AWS speaks of the group, and it is the way",
            init(
                "failed to validate logger args: The task cannot find the Amazon CloudWatch log group defined in the task definition. There is a connection issue between the task and Amazon CloudWatch. Check your network configuration. : signal: killed",
            ),
        ),
        (
            "log-group-missing",
            "the group is really not there",
            init(
                "failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist. : exit status 1",
            ),
        ),
        (
            "execution-role-denied",
            "a permission, not a way",
            init(&format!(
                "unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch secret {secret} from secrets manager: AccessDeniedException: {}",
                denied(
                    "secretsmanager:GetSecretValue",
                    secret,
                    "no identity-based policy allows the secretsmanager:GetSecretValue action"
                )
            )),
        ),
        (
            "execution-role-denied",
            "the login to the registry",
            init(&format!(
                "unable to pull secrets or registry auth: The task cannot pull registry auth from Amazon ECR: AccessDeniedException: {}",
                denied(
                    "ecr:GetAuthorizationToken",
                    "*",
                    "no identity-based policy allows the ecr:GetAuthorizationToken action"
                )
            )),
        ),
        (
            "denied-by-scp",
            "the same under an organization's policy",
            init(&format!(
                "unable to pull secrets or registry auth: AccessDeniedException: {} with an explicit deny in a service control policy",
                "User: arn:aws:sts::111122223333:assumed-role/ecsTaskExecutionRole/9c1e is not authorized to perform: ssm:GetParameters on resource: arn:aws:ssm:eu-central-1:111122223333:parameter/a"
            )),
        ),
        (
            "environment-file-denied",
            "a file in S3",
            init(
                "failed to download env files: file download command: non empty error stream: AccessDenied: Access Denied status code: 403",
            ),
        ),
        (
            "environment-file-missing",
            "no such file",
            init(
                "failed to download env files: file download command: non empty error stream: NoSuchKey: The specified key does not exist. status code: 404",
            ),
        ),
        (
            "logging-driver-failed",
            "fluentd",
            init("failed to initialize logging driver: dial tcp 127.0.0.1:24224: connect: connection refused"),
        ),
        (
            "kms-denied",
            "the secret is read, its key is not",
            init(
                "unable to pull secrets or registry auth: unable to retrieve secret from asm: AccessDeniedException: Access to KMS is not allowed",
            ),
        ),
        (
            "kms-denied",
            "SSM's words",
            init(
                "unable to pull secrets or registry auth: unable to retrieve secrets from ssm: AccessDeniedException: The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.",
            ),
        ),
        (
            "secret-missing",
            "no such secret",
            init(&format!(
                "unable to pull secrets or registry auth: The task can\u{2019}t retrieve the secret with ARN '{secret}' from AWS Secrets Manager. Check whether the secret exists in the specified Region. ResourceNotFoundException: Secrets Manager can't find the specified secret."
            )),
        ),
        (
            "secret-version-missing",
            "there, and empty",
            init(
                "unable to pull secrets or registry auth: unable to retrieve secret from asm: ResourceNotFoundException: Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
            ),
        ),
        (
            "secret-key-missing",
            "there, without the key",
            init(
                "unable to pull secrets or registry auth: unable to retrieve secret from asm: retrieved secret from Secrets Manager did not contain json key stripe_key",
            ),
        ),
        (
            "secret-not-json",
            "there, and no JSON",
            init(
                "unable to pull secrets or registry auth: unable to retrieve secret from asm: invalid character 'p' looking for beginning of value",
            ),
        ),
        (
            "ssm-parameter-missing",
            "no such parameter",
            init(
                "unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secrets from ssm: service call has been retried 1 time(s): invalid parameters: /shop/prod/STRIPE_KEY",
            ),
        ),
        (
            "file-system-unreachable",
            "EFS, no answer",
            init(
                "failed to invoke EFS utils commands to set up EFS volumes: stderr: mount.nfs4: Connection timed out : unsuccessful EFS utils command execution; code: 32",
            ),
        ),
        (
            "file-system-name-unknown",
            "EFS, no name",
            init(
                "failed to invoke EFS utils commands to set up EFS volumes: stderr: Failed to resolve \"fs-1.efs.eu-central-1.amazonaws.com\" - check that your file system ID is correct",
            ),
        ),
        (
            "file-system-denied",
            "EFS, refused",
            init(
                "failed to invoke EFS utils commands to set up EFS volumes: stderr: b'mount.nfs4: access denied by server while mounting 127.0.0.1:/'",
            ),
        ),
        (
            "file-system-directory-missing",
            "EFS, no folder",
            init(
                "failed to invoke EFS utils commands to set up EFS volumes: stderr: mount.nfs4: mounting 127.0.0.1:/data failed, reason given by server: No such file or directory",
            ),
        ),
        (
            "logs-endpoint-closed",
            "an endpoint is there, and the group may be",
            init(
                "failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log stream: RequestError: send request failed caused by: Post \"https://logs.eu-central-1.amazonaws.com/\": dial tcp 10.0.12.77:443: i/o timeout : exit status 1",
            ),
        ),
        (
            "service-name-unknown",
            "no DNS, and the registry is not what is looked up",
            init(
                "unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm: service call has been retried 5 time(s): RequestError: send request failed caused by: Post \"https://secretsmanager.eu-central-1.amazonaws.com/\": dial tcp: lookup secretsmanager.eu-central-1.amazonaws.com on 10.0.0.2:53: no such host",
            ),
        ),
        (
            "secret-deleted",
            "it is there for some days still",
            init(
                "unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch secret from secrets manager: InvalidRequestException: You can't perform this operation on the secret because it was marked for deletion.",
            ),
        ),
        (
            "kms-key-unusable",
            "the permission is there",
            init(
                "unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secrets from ssm: service call has been retried 1 time(s): KMSInvalidStateException: arn:aws:kms:eu-central-1:111122223333:key/1 is pending deletion.",
            ),
        ),
        (
            "resources-throttled",
            "an answer came",
            init(
                "unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secrets from ssm: service call has been retried 5 time(s): ThrottlingException: Rate exceeded status code: 400",
            ),
        ),
        (
            "resources-refused",
            "an answer that is none of those, in AWS's words",
            init(
                "unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secrets from ssm: service call has been retried 1 time(s): ValidationException: 11 validation errors detected: Value at 'names' failed to satisfy constraint: Member must have length less than or equal to 10",
            ),
        ),
        ("resources-not-ready", "in words that nobody knows", init("unable to configure: gremlins")),
    ]
}
