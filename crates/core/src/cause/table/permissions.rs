//! IAM refuses an action. Which kind of policy does, the message says at its end; only one kind can be put right in the role.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>

use crate::cause::row::Row;
use crate::cause::row::Sign::{Is, Said, SaidBoth};
use crate::cause::signs::who;

const DENIED: &[&str] = &[
    "not authorized to perform: {action} on resource: {resource} ",
    "not authorized to perform: {action} with an explicit deny",
    "not authorized to perform: {action} because",
    "not authorized to perform: {action} on resource: {resource}",
    "not authorized to perform: {action}",
    "is not authorized to perform {action} on resource: {resource}",
];

pub(super) const ROWS: &[Row] = &[
    Row {
        code: "kms-denied",
        title: "The execution role may not decrypt the secret",
        proofs: &[
            &[Said("Access to KMS is not allowed"), Is(who)],
            &[Said("The ciphertext refers to a customer master key that does not exist"), Is(who)],
            &[Said("ciphertext because the resource does not exist in this Region"), Is(who)],
            &[Said("KMSAccessDeniedException"), Is(who)],
        ],
        cause: "{who} may not decrypt with the KMS key that the secret is encrypted with",
        next: "allow it `kms:Decrypt` on that key, in the role's policy and in the key's own policy",
        likely: &[],
        more: "A secret under a key of your own needs `kms:Decrypt` beside the permission to read it. `aws secretsmanager describe-secret` shows the key as `KmsKeyId`.",
    },
    Row {
        code: "denied-by-scp",
        title: "A service control policy of the organization denies it",
        proofs: &[&[SaidBoth(&["service control policy: {policy}", "service control policy"], DENIED), Is(who)]],
        cause: "a service control policy of the AWS organization denies {who} `{action}`[ on `{resource}`]",
        next: "ask who administers the organization to allow `{action}` in that service control policy[ ({policy})]: nothing in this account lifts it",
        likely: &[],
        more: "Service control policies set what an account can do at most. They often forbid Regions or services.",
    },
    Row {
        code: "denied-by-rcp",
        title: "A resource control policy of the organization denies it",
        proofs: &[&[SaidBoth(&["resource control policy: {policy}", "resource control policy"], DENIED), Is(who)]],
        cause: "a resource control policy of the AWS organization denies {who} `{action}`[ on `{resource}`]",
        next: "ask who administers the organization to allow it in that resource control policy[ ({policy})]: nothing in this account lifts it",
        likely: &[],
        more: "Resource control policies set who can use an organization's resources at most.",
    },
    Row {
        code: "denied-by-boundary",
        title: "The permissions boundary of the role does not allow it",
        proofs: &[&[SaidBoth(&["permissions boundary: {policy}", "permissions boundary"], DENIED), Is(who)]],
        cause: "the permissions boundary of {who} does not allow `{action}`[ on `{resource}`]",
        next: "add `{action}` to the policy that is the role's permissions boundary[ ({policy})]",
        likely: &[],
        more: "A boundary limits what a role's policies can give: both have to allow it.",
    },
    Row {
        code: "denied-by-session-policy",
        title: "The policy of the session does not allow it",
        proofs: &[&[SaidBoth(&["session policy"], DENIED), Is(who)]],
        cause: "the session policy, which {who} was assumed with, does not allow `{action}`[ on `{resource}`]",
        next: "let whoever assumes the role pass a wider session policy, or none",
        likely: &[],
        more: "`configure-aws-credentials` has `inline-session-policy` and `managed-session-policies`; SSO permission sets have them too.",
    },
    Row {
        code: "denied-by-endpoint-policy",
        title: "The policy of the VPC endpoint does not allow it",
        proofs: &[&[SaidBoth(&["VPC endpoint policy"], DENIED), Is(who)]],
        cause: "the policy of the VPC endpoint that the call goes through does not allow {who} `{action}`[ on `{resource}`]",
        next: "allow `{action}` in the policy of that VPC endpoint",
        likely: &[],
        more: "An endpoint's policy filters what goes through it, whatever the role allows.",
    },
    Row {
        code: "denied-by-resource-policy",
        title: "The policy of the resource does not allow it",
        proofs: &[&[SaidBoth(&["resource-based policy"], DENIED), Is(who)]],
        cause: "the policy of the resource[ `{resource}`] does not allow {who} `{action}`",
        next: "allow it in the resource's own policy (of the secret, the key, the repository or the bucket)",
        likely: &[],
        more: "Resources of another account need both: their own policy and the role's.",
    },
    Row {
        code: "explicitly-denied",
        title: "A policy denies it in so many words",
        proofs: &[&[
            SaidBoth(&["explicit deny in an identity-based policy: {policy}", "explicit deny"], DENIED),
            Is(who),
        ]],
        cause: "a policy of {who} denies `{action}`[ on `{resource}`] explicitly",
        next: "take the `Deny` out of that policy[ ({policy})], or narrow its condition: no `Allow` outweighs it",
        likely: &[],
        more: "Such statements often demand multi-factor authentication, an address, or a tag.",
    },
    Row {
        code: "pass-role-denied",
        title: "The role that deploys may not pass a role of the task definition",
        proofs: &[&[SaidBoth(&["iam:PassRole"], &["on resource: {resource}", "iam:PassRole"]), Is(who)]],
        cause: "{who} may not pass the role[ `{resource}`] of the task definition on to ECS (`iam:PassRole`)",
        next: "allow `iam:PassRole` on that role, with the condition `iam:PassedToService` = `ecs-tasks.amazonaws.com`[:\n\n{statement}]",
        likely: &[],
        more: "It is needed for `taskRoleArn` and `executionRoleArn` alike, and `fargate-deploy`'s page on IAM has the statement.",
    },
    Row {
        code: "execution-role-denied",
        title: "The execution role of the task lacks a permission",
        proofs: &[&[
            SaidBoth(
                &["ResourceInitializationError", "CannotPull", "unable to pull secrets", "log driver", "logger"],
                DENIED,
            ),
            Is(who),
        ]],
        cause: "the execution role[ `{role}`] may not `{action}`[ on `{resource}`]",
        next: "add this statement to a policy of the execution role[:\n\n{statement}]",
        likely: &[],
        more: "The execution role (`executionRoleArn`) is what ECS itself uses before and beside the containers: it logs in to ECR, reads secrets and writes logs. The task role is what the program uses.",
    },
    Row {
        code: "role-not-assumable",
        title: "ECS may not assume a role of the task definition",
        proofs: &[&[Said("ECS was unable to assume the role '{role-arn}'")], &[Said("unable to assume the role")]],
        cause: "ECS cannot assume the role[ `{role-arn}`] of the task definition",
        next: "let the role's trust policy name the service `ecs-tasks.amazonaws.com`, and see that the role exists",
        likely: &[],
        more: "The trust policy needs `\"Principal\": { \"Service\": \"ecs-tasks.amazonaws.com\" }` and the action `sts:AssumeRole`.",
    },
    Row {
        code: "denied-encoded",
        title: "EC2 denies it, in an encoded message",
        proofs: &[&[Said("Encoded authorization failure message"), Is(who)]],
        cause: "{who} is not allowed to do it, and EC2 tells which action only encoded",
        next: "decode it: `aws sts decode-authorization-message --encoded-message ...`",
        likely: &[],
        more: "Decoding needs `sts:DecodeAuthorizationMessage`.",
    },
    Row {
        code: "permission-missing",
        title: "A role lacks a permission",
        proofs: &[&[SaidBoth(&["not authorized to perform"], DENIED), Is(who)]],
        cause: "{who} may not `{action}`[ on `{resource}`]",
        next: "add this statement to a policy of that role[:\n\n{statement}]",
        likely: &[],
        more: "docs/iam.md has every action that a deploy needs, with its resource.",
    },
];
