//! What a task needs before its containers start: secrets, parameters, log groups, file systems.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/resource-initialization-error.html>

use crate::cause::row::Row;
use crate::cause::row::Sign::{Is, Said, SaidBoth};
use crate::cause::seen::NO_ANSWER;
use crate::cause::signs::has_private_address;

const SECRETS_MANAGER: &[&str] = &["secretsmanager.", "from asm", "AWS Secrets Manager", "Secrets Manager"];
const SSM: &[&str] = &["https://ssm.", "from ssm", "AWS Systems Manager", "Systems Manager", "SSM Parameter"];
const LOGS: &[&str] =
    &["validate logger args", "CloudWatch log", "logs.{region}.amazonaws", "CloudWatch Logs", "create log stream"];
const MISSING: &[&str] = &[
    "can't retrieve the secret with ARN '{secret}'",
    "ResourceNotFoundException: Secrets Manager can't find the specified secret",
    "can't find the specified secret",
];

pub(super) const ROWS: &[Row] = &[
    Row {
        code: "secrets-endpoint-closed",
        title: "A VPC endpoint for secrets does not let the task in",
        proofs: &[
            &[SaidBoth(SECRETS_MANAGER, NO_ANSWER), Is(has_private_address)],
            &[SaidBoth(SSM, NO_ANSWER), Is(has_private_address)],
        ],
        cause: "the VPC endpoint at {ip}, which the task reads its secrets through, does not answer it",
        next: "let the endpoint's security group accept TCP 443 from the security group of the tasks",
        likely: &[],
        more: "The name resolves to an address of the VPC, so an endpoint is there; what gets no answer at all is dropped on the way.",
    },
    Row {
        code: "no-route-to-secrets-manager",
        title: "No way from the task to AWS Secrets Manager",
        proofs: &[&[SaidBoth(SECRETS_MANAGER, NO_ANSWER)]],
        cause: "the task has no route to AWS Secrets Manager, which its secrets are in[: {network}]",
        next: "give the subnets[ ({subnets})] a NAT gateway, or `assignPublicIp: ENABLED` where they route to an internet gateway, or the VPC endpoint `secretsmanager`",
        likely: &[],
        more: "Secrets are read from the task's own subnets before its containers start.",
    },
    Row {
        code: "no-route-to-ssm",
        title: "No way from the task to AWS Systems Manager",
        proofs: &[&[SaidBoth(SSM, NO_ANSWER)]],
        cause: "the task has no route to AWS Systems Manager, which its parameters are in[: {network}]",
        next: "give the subnets[ ({subnets})] a NAT gateway, or `assignPublicIp: ENABLED` where they route to an internet gateway, or the VPC endpoint `ssm`",
        likely: &[],
        more: "Parameters are read from the task's own subnets before its containers start.",
    },
    Row {
        code: "no-route-to-logs",
        title: "No way from the task to CloudWatch Logs",
        proofs: &[&[SaidBoth(LOGS, NO_ANSWER)]],
        cause: "the task has no route to CloudWatch Logs[, where its log group `{log-group}` is][: {network}]",
        next: "give the subnets[ ({subnets})] a NAT gateway, or `assignPublicIp: ENABLED` where they route to an internet gateway, or the VPC endpoint `logs`",
        likely: &[],
        more: "AWS's sentence begins with a log group that cannot be found; what follows it, a connection issue, is what happened.",
    },
    Row {
        code: "no-route-from-task",
        title: "The task reaches none of the services that it needs to start",
        proofs: &[&[SaidBoth(&["ResourceInitializationError", "unable to pull secrets or registry auth"], NO_ANSWER)]],
        cause: "the task has no route to the service of AWS that it reads its secrets or its registry login from[: {network}]",
        next: "give the subnets[ ({subnets})] a NAT gateway, or `assignPublicIp: ENABLED` where they route to an internet gateway, or VPC endpoints (`ecr.api`, `ecr.dkr`, `s3`, `secretsmanager`, `ssm`, `logs`)",
        likely: &[],
        more: "AWS's words do not tell which service it was. A call that is not answered in time is about the way to it: a refusal comes at once.",
    },
    Row {
        code: "environment-file-denied",
        title: "The execution role may not read the environment file in S3",
        proofs: &[&[SaidBoth(&["env files", "env file", "environmentFiles"], &["AccessDenied", "403", "Forbidden"])]],
        cause: "the execution role[ `{execution-role}`] may not read the environment file of the container from S3",
        next: "allow it `s3:GetObject` on the file and `s3:GetBucketLocation` on its bucket",
        likely: &[],
        more: "`environmentFiles` are read by ECS before the containers start.",
    },
    Row {
        code: "environment-file-missing",
        title: "The environment file is not in S3",
        proofs: &[&[SaidBoth(
            &["env files", "env file", "environmentFiles"],
            &["NoSuchKey", "NoSuchBucket", "404", "NotFound"],
        )]],
        cause: "the environment file of the container is not in S3",
        next: "put it there, or correct its ARN in `environmentFiles`",
        likely: &[],
        more: "The name has to end with `.env`.",
    },
    Row {
        code: "logging-driver-failed",
        title: "The log driver could not be started",
        proofs: &[
            &[Said("failed to initialize logging driver: {words..}")],
            &[Said("failed to initialize logging driver")],
        ],
        cause: "the log driver could not be started[: {words}]",
        next: "see the options of `logConfiguration`, and whether what it sends to answers from the task's subnets",
        likely: &[],
        more: "A container is not started without its log driver.",
    },
    Row {
        code: "kms-denied",
        title: "The execution role may not decrypt the secret",
        proofs: &[
            &[Said("Access to KMS is not allowed")],
            &[Said("The ciphertext refers to a customer master key that does not exist")],
            &[Said("KMSAccessDeniedException")],
        ],
        cause: "the execution role[ `{execution-role}`] may not decrypt with the KMS key that the secret is encrypted with",
        next: "allow it `kms:Decrypt` on that key, in the role's policy and in the key's own policy",
        likely: &[],
        more: "A secret under a key of your own needs `kms:Decrypt` beside the permission to read it. `aws secretsmanager describe-secret` shows the key as `KmsKeyId`.",
    },
    Row {
        code: "secret-version-missing",
        title: "The secret is there and has no value of this version",
        proofs: &[
            &[Said("secret value for staging label: {label}")],
            &[Said("can't find the specified secret value for VersionId: {label}")],
        ],
        cause: "the secret has no value of the version `{label}`",
        next: "give it one: `aws secretsmanager put-secret-value`, or correct the version in the container's `secrets`",
        likely: &[],
        more: "A secret that was created without a value (by Terraform, for instance) exists and is empty until a value is put in.",
    },
    Row {
        code: "secret-missing",
        title: "There is no such secret",
        proofs: &[&[Said(MISSING[0])], &[Said(MISSING[1])], &[Said(MISSING[2])]],
        cause: "the secret[ `{secret}`] is not in Secrets Manager in this Region",
        next: "correct the ARN in the container's `secrets` (it ends with six random characters), or create the secret in the Region of the task",
        likely: &[],
        more: "A secret that was deleted and created again has another ARN. A secret that is scheduled for deletion cannot be read.",
    },
    Row {
        code: "secret-key-missing",
        title: "The secret has no such JSON key",
        proofs: &[&[Said("did not contain json key {key}")]],
        cause: "the secret has no key `{key}` in its JSON",
        next: "add `{key}` to the secret's value, or correct the key at the end of `valueFrom`",
        likely: &[],
        more: "`valueFrom` is ARN:KEY:STAGE:VERSION, with all colons as soon as one of them is used. Keys are case-sensitive.",
    },
    Row {
        code: "secret-not-json",
        title: "The secret is no JSON, and a key of it is asked for",
        proofs: &[&[SaidBoth(
            &["ResourceInitializationError", "secret"],
            &["invalid character {character..} looking for beginning of value"],
        )]],
        cause: "the secret is no JSON, and the task definition asks for a key of it",
        next: "store a JSON object in the secret, or leave the key away from `valueFrom`",
        likely: &[],
        more: "A plain text is taken whole, by the ARN alone.",
    },
    Row {
        code: "ssm-parameter-missing",
        title: "There is no such parameter",
        proofs: &[&[SaidBoth(
            &["ssm", "ResourceInitializationError", "SSM"],
            &["invalid parameters: {parameter}", "ParameterNotFound"],
        )]],
        cause: "the parameter[ `{parameter}`] is not in Parameter Store in this Region",
        next: "create it, or correct its name in the container's `secrets`; another Region needs its ARN",
        likely: &[],
        more: "Names are case-sensitive and begin with a slash where they have a path.",
    },
    Row {
        code: "log-group-missing",
        title: "There is no such log group",
        proofs: &[&[SaidBoth(
            &["logger", "log driver", "awslogs", "log stream", "ResourceInitializationError"],
            &["log group does not exist"],
        )]],
        cause: "the log group[ `{log-group}`] does not exist",
        next: "create it[: `aws logs create-log-group --log-group-name {log-group}`], or set `awslogs-create-group` to `true` and allow the execution role `logs:CreateLogGroup`",
        likely: &[],
        more: "The awslogs driver creates streams, and groups only when it is told to.",
    },
    Row {
        code: "file-system-unreachable",
        title: "No way from the task to its EFS file system",
        proofs: &[&[SaidBoth(&["EFS"], &["timeout", "timed out", "Connection reset"])]],
        cause: "the task does not reach its EFS file system: nothing answers at TCP 2049",
        next: "let the security group of the mount targets accept TCP 2049 from the security group of the tasks",
        likely: &[],
        more: "There has to be a mount target in the Availability Zone of each subnet.",
    },
    Row {
        code: "file-system-name-unknown",
        title: "The name of the EFS file system cannot be resolved",
        proofs: &[&[SaidBoth(&["EFS"], &["Failed to resolve {host}", "Failed to resolve"])]],
        cause: "the name of the EFS file system[ `{host}`] is not known in this subnet",
        next: "create a mount target in the Availability Zone of each subnet, and switch on `enableDnsHostnames` of the VPC",
        likely: &[],
        more: "The name of a file system is known where its VPC has a mount target and DNS is on.",
    },
    Row {
        code: "file-system-denied",
        title: "The EFS file system refuses the task",
        proofs: &[&[SaidBoth(&["EFS"], &["access denied by server"])]],
        cause: "the EFS file system refuses the mount",
        next: "allow the task role[ `{task-role}`] `elasticfilesystem:ClientMount` (and `ClientWrite`), in the file system's policy too, and check the access point",
        likely: &[],
        more: "With IAM authorization on, it is the task role that mounts.",
    },
    Row {
        code: "file-system-directory-missing",
        title: "The folder of the EFS file system does not exist",
        proofs: &[&[SaidBoth(&["EFS"], &["No such file or directory"])]],
        cause: "the folder that the task mounts is not in the EFS file system",
        next: "create it, or correct `rootDirectory`; an access point can create it",
        likely: &[],
        more: "`rootDirectory` has to exist; only an access point with creation info makes it.",
    },
];
