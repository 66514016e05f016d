//! What a failed SDK call means, in the terms of [`CallError`].

use super::identity::IdentityFailure;
use crate::adapters::network::deepest;
use crate::ports::{CallError, CallErrorKind};
use aws_sdk_ecs::operation::RequestId as _;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use std::error::Error;

pub(super) struct Description {
    pub(super) kind: CallErrorKind,
    pub(super) code: String,
    pub(super) message: String,
    request_id: Option<String>,
}

/// Sorts an error of the SDK, for one action as IAM names it. A denial of another action than the one that was called
/// (`iam:PassRole` of `ecs:RegisterTaskDefinition`) carries the name of that one.
pub(super) fn call_error<E>(action: &'static str) -> impl Fn(SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    move |error| {
        let Description { kind, code, message, request_id } = describe(&error);
        let named = if kind == CallErrorKind::Denied { denied_action(&message) } else { None };
        CallError { action: named.unwrap_or(action).to_owned(), kind, code, message, request_id }
    }
}

pub(super) fn unanswered(kind: CallErrorKind, message: String) -> Description {
    Description { kind, code: String::new(), message, request_id: None }
}

pub(super) fn describe<E>(error: &SdkError<E, HttpResponse>) -> Description
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(failure) = missing_identity(error) {
        return unanswered(kind_without_session(failure), failure.to_string());
    }
    match error {
        SdkError::ServiceError(answer) => {
            let code = error.code().unwrap_or_default();
            let status = answer.raw().status().as_u16();
            if answer.raw().status().is_success() {
                return foreign_answer();
            }
            let message = match error.message() {
                Some(message) => message.to_owned(),
                None => format!("HTTP {status}"),
            };
            let kind = sort(code, &message, status);
            Description {
                kind,
                code: code_or_status(code, status),
                message,
                request_id: error.request_id().map(str::to_owned),
            }
        }
        SdkError::TimeoutError(_) => unanswered(CallErrorKind::Unreachable, "no answer in time".to_owned()),
        SdkError::ResponseError(answer) => Description {
            kind: CallErrorKind::Unreachable,
            code: code_or_status("", answer.raw().status().as_u16()),
            message: format!("cannot read the answer: {}", deepest(error)),
            request_id: None,
        },
        SdkError::DispatchFailure(failure) if failure.is_user() => {
            unanswered(CallErrorKind::Invalid, format!("cannot be sent: {}", deepest(error)))
        }
        SdkError::DispatchFailure(_) => {
            unanswered(CallErrorKind::Unreachable, format!("no answer: {}", deepest(error)))
        }
        other => unanswered(CallErrorKind::Invalid, format!("cannot be sent: {}", deepest(other))),
    }
}

/// It says that all is well, and is none that AWS gives.
pub(super) fn foreign_answer() -> Description {
    Description {
        kind: CallErrorKind::Unreachable,
        code: code_or_status("", 200),
        message: "this is no answer of AWS: a proxy on the way may have given it".to_owned(),
        request_id: None,
    }
}

fn missing_identity<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e IdentityFailure> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(failure) = error.downcast_ref::<IdentityFailure>() {
            return Some(failure);
        }
        next = error.source();
    }
    None
}

fn kind_without_session(failure: &IdentityFailure) -> CallErrorKind {
    match failure {
        IdentityFailure::Unavailable { .. } => CallErrorKind::Unreachable,
        _ => CallErrorKind::Identity,
    }
}

/// There are no credentials to make the call with.
pub(super) fn no_session(action: &str, failure: &IdentityFailure) -> CallError {
    CallError { kind: kind_without_session(failure), ..CallError::lost(action, failure.to_string()) }
}

/// An answer always has a code: an empty one says that there was none.
pub(super) fn code_or_status(code: &str, status: u16) -> String {
    if code.is_empty() { format!("HTTP {status}") } else { code.to_owned() }
}

pub(super) fn sort(code: &str, message: &str, status: u16) -> CallErrorKind {
    match code {
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "AuthorizationError" => {
            CallErrorKind::Denied
        }
        "RequestExpired"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "AuthFailure" => CallErrorKind::Identity,
        code if is_expired(code) => CallErrorKind::Identity,
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "EC2ThrottledException"
        | "ProvisionedThroughputExceededException"
        | "BandwidthLimitExceeded"
        | "PriorRequestNotComplete"
        | "TransactionInProgressException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "SlowDown"
        | "TooManyUpdates" => CallErrorKind::Throttled,
        _ if status == 429 || is_throttle(message) => CallErrorKind::Throttled,
        "RequestTimeout" | "RequestTimeoutException" => CallErrorKind::Unreachable,
        _ if status >= 500 || status == 408 => CallErrorKind::Unreachable,
        code if code.contains("NotFound") => CallErrorKind::NotFound,
        "ConflictException" | "ServiceNotActiveException" | "UpdateInProgressException" | "BlockedException" => {
            CallErrorKind::Conflict
        }
        code if code.contains("AlreadyExists") => CallErrorKind::Conflict,
        _ => CallErrorKind::Invalid,
    }
}

/// What a service says of another one that throttled it: ECS hands on EC2's words in an InvalidParameterException of its
/// own, and refuses concurrent registrations in one family in a ClientException.
fn is_throttle(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "rate exceeded",
        "requestlimitexceeded",
        "request limit exceeded",
        "too many requests",
        "too many concurrent attempts",
        "throttlingexception",
    ]
    .iter()
    .any(|words| message.contains(words))
}

/// The session ended, and a fresh one would do.
pub(super) fn is_expired(code: &str) -> bool {
    matches!(code, "ExpiredToken" | "ExpiredTokenException")
}

/// What a request is called that was signed at a wrong time, among others.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html>
pub(super) fn is_about_clock(code: &str) -> bool {
    matches!(code, "InvalidSignatureException" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed" | "RequestExpired")
}

pub(super) fn denied_action(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("not authorized to perform: ")?;
    let action = rest.split(|c: char| c.is_whitespace() || c == ',').next()?;
    action.contains(':').then_some(action)
}

/// An answer that is not what the service documents: what the call did is not known.
pub(super) fn unreadable(action: &str, why: &str) -> CallError {
    CallError { code: code_or_status("", 200), ..CallError::lost(action, format!("cannot read the answer: {why}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_what_a_caller_can_do_about_them() {
        use CallErrorKind::*;
        let cases = [
            ("AccessDeniedException", "", 400, Denied),
            ("UnauthorizedOperation", "", 403, Denied),
            ("ExpiredTokenException", "The security token included in the request is expired", 400, Identity),
            ("ExpiredToken", "", 403, Identity),
            ("UnrecognizedClientException", "", 400, Identity),
            ("ThrottlingException", "Rate exceeded", 400, Throttled),
            ("ClientException", "Rate exceeded", 400, Throttled),
            ("InvalidParameterException", "Rate exceeded (Service: AmazonEC2; Status Code: 400)", 400, Throttled),
            (
                "InvalidParameterException",
                "(Service: AmazonEC2; Error Code: RequestLimitExceeded; ...)",
                400,
                Throttled,
            ),
            ("ServerException", "Too Many Requests", 500, Throttled),
            ("ClientException", "Too many concurrent attempts to create a new revision of it", 400, Throttled),
            ("RequestTimeout", "", 400, Unreachable),
            ("AccessDeniedException", "Rate exceeded", 400, Denied),
            ("", "", 429, Throttled),
            ("ServiceNotFoundException", "Service not found.", 400, NotFound),
            ("ClusterNotFoundException", "Cluster not found.", 400, NotFound),
            ("ResourceNotFoundException", "", 400, NotFound),
            ("RepositoryNotFoundException", "", 400, NotFound),
            ("ParameterNotFound", "", 400, NotFound),
            ("ConflictException", "", 400, Conflict),
            ("ParameterAlreadyExists", "", 400, Conflict),
            ("ImageTagAlreadyExistsException", "", 400, Conflict),
            ("ServiceNotActiveException", "", 400, Conflict),
            ("ServerException", "Service Unavailable. Please try again later.", 500, Unreachable),
            ("", "HTTP 503", 503, Unreachable),
            ("InvalidParameterException", "", 400, Invalid),
            ("ClientException", "", 400, Invalid),
            ("NewerThanThisProgramException", "", 400, Invalid),
        ];
        for (code, message, status, expected) in cases {
            assert_eq!(sort(code, message, status), expected, "{code} {status}");
        }
    }

    #[test]
    fn a_denial_names_the_action_that_its_message_names() {
        let message = "User: arn:aws:sts::111122223333:assumed-role/deploy/run is not authorized to perform: \
            iam:PassRole on resource: arn:aws:iam::111122223333:role/app because no identity-based policy allows it";
        assert_eq!(denied_action(message), Some("iam:PassRole"));
        assert_eq!(denied_action("not authorized"), None);
        assert_eq!(denied_action("is not authorized to perform: this"), None);
    }
}
