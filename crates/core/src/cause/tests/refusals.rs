//! Calls and pushes that were refused, and sessions that there are not.

use super::Case;
use crate::cause::Seen;

pub(super) fn cases() -> Vec<Case> {
    let user =
        "User: arn:aws:sts::111122223333:assumed-role/deploy/run-1 is not authorized to perform: ecs:UpdateService";
    let on = "on resource: arn:aws:ecs:eu-central-1:111122223333:service/shop/web";
    let refused = |rest: &str| Seen::refused(format!("AccessDeniedException: {user} {on} {rest}"));
    let pass = "AccessDeniedException: User: arn:aws:sts::111122223333:assumed-role/deploy/run-1 is not authorized to perform: iam:PassRole on resource: arn:aws:iam::111122223333:role/shop-app because no identity-based policy allows the iam:PassRole action";
    vec![
        (
            "permission-missing",
            "the role's own policy",
            refused("because no identity-based policy allows the ecs:UpdateService action"),
        ),
        (
            "permission-missing",
            "of an action that is called as an end of a deployment is",
            Seen::refused(
                "AccessDeniedException: User: arn:aws:sts::111122223333:assumed-role/deploy/run-1 is not authorized to perform: ecs:StopServiceDeployment on resource: arn:aws:ecs:eu-central-1:111122223333:service-deployment/shop/web/1 because no identity-based policy allows the ecs:StopServiceDeployment action",
            ),
        ),
        (
            "denied-by-scp",
            "the organization's, by absence",
            refused("because no service control policy allows the ecs:UpdateService action"),
        ),
        (
            "denied-by-scp",
            "the organization's, in so many words",
            refused(
                "with an explicit deny in a service control policy: arn:aws:organizations::999988887777:policy/o-1/service_control_policy/p-1",
            ),
        ),
        (
            "denied-by-rcp",
            "the organization's, of resources",
            refused("with an explicit deny in a resource control policy"),
        ),
        (
            "denied-by-boundary",
            "the boundary",
            refused("because no permissions boundary allows the ecs:UpdateService action"),
        ),
        (
            "denied-by-session-policy",
            "the session's",
            refused("because no session policy allows the ecs:UpdateService action"),
        ),
        (
            "denied-by-endpoint-policy",
            "the endpoint's",
            refused("because no VPC endpoint policy allows the ecs:UpdateService action"),
        ),
        (
            "denied-by-resource-policy",
            "the resource's",
            refused("because no resource-based policy allows the ecs:UpdateService action"),
        ),
        ("explicitly-denied", "a Deny of the role", refused("with an explicit deny in an identity-based policy")),
        ("pass-role-denied", "the role that is passed", Seen::refused(pass)),
        (
            "denied-encoded",
            "EC2's",
            Seen::refused(
                "UnauthorizedOperation: You are not authorized to perform this operation. Encoded authorization failure message: abc",
            ),
        ),
        (
            "tag-immutable",
            "ECR",
            Seen::refused(
                "denied: The image tag 'v41' already exists in the 'shop' repository and cannot be overwritten because the repository is immutable.",
            ),
        ),
        (
            "push-repository-missing",
            "ECR",
            Seen::refused(
                "name unknown: The repository with name 'shop' does not exist in the registry with id '111122223333'",
            ),
        ),
        (
            "registry-login-expired",
            "ECR",
            Seen::refused("denied: Your authorization token has expired. Reauthenticate and try again."),
        ),
        ("registry-login-missing", "ECR", Seen::refused("no basic auth credentials")),
        ("registry-throttled", "ECR", Seen::refused("toomanyrequests: Rate exceeded")),
        (
            "permission-missing",
            "ECR denies the push",
            Seen::refused(
                "denied: User: arn:aws:sts::111122223333:assumed-role/deploy/run-1 is not authorized to perform: ecr:InitiateLayerUpload on resource: arn:aws:ecr:eu-central-1:111122223333:repository/shop because no identity-based policy allows the ecr:InitiateLayerUpload action",
            ),
        ),
        ("oidc-no-token", "GitHub", Seen::refused("Unable to get ACTIONS_ID_TOKEN_REQUEST_URL env variable")),
        (
            "oidc-trust-mismatch",
            "STS: two causes",
            Seen::refused("AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity"),
        ),
        (
            "oidc-provider-missing",
            "STS",
            Seen::refused(
                "InvalidIdentityToken: No OpenIDConnect provider found in your account for https://token.actions.githubusercontent.com",
            ),
        ),
        ("oidc-audience", "STS", Seen::refused("InvalidIdentityToken: Incorrect token audience")),
        (
            "oidc-keys-unreachable",
            "STS",
            Seen::refused(
                "InvalidIdentityToken: Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements",
            ),
        ),
        (
            "oidc-thumbprint",
            "STS",
            Seen::refused(
                "InvalidIdentityToken: OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint",
            ),
        ),
        (
            "oidc-token-expired",
            "STS",
            Seen::refused(
                "ExpiredTokenException: Token expired: current date/time must be before the expiration date/time",
            ),
        ),
        (
            "session-too-long",
            "STS",
            Seen::refused(
                "ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            ),
        ),
        (
            "sts-region-disabled",
            "STS",
            Seen::refused("RegionDisabledException: STS is not activated in this region for account:111122223333"),
        ),
        (
            "clock-skew",
            "STS",
            Seen::refused(
                "SignatureDoesNotMatch: Signature expired: 20261130T100000Z is now earlier than 20261130T110000Z",
            ),
        ),
        (
            "session-policy-too-large",
            "STS",
            Seen::refused("PackedPolicyTooLarge: Packed size of session tags consumes 120% of allotted space."),
        ),
        ("oidc-claim-missing", "STS", Seen::refused("InvalidIdentityToken: Missing a required claim: sub")),
        ("role-arn-invalid", "STS", Seen::refused("ValidationError: Request ARN is invalid")),
    ]
}
