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

pub(super) fn describe<E>(error: &SdkError<E, HttpResponse>) -> Description
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let unanswered = |kind, message| Description { kind, code: String::new(), message, request_id: None };
    if let Some(why) = missing_identity(error) {
        return unanswered(CallErrorKind::Identity, why);
    }
    match error {
        SdkError::ServiceError(answer) => {
            let code = error.code().unwrap_or_default().to_owned();
            let status = answer.raw().status().as_u16();
            let message = match error.message() {
                Some(message) => message.to_owned(),
                None => format!("HTTP {status}"),
            };
            let kind = sort(&code, &message, status);
            Description { kind, code, message, request_id: error.request_id().map(str::to_owned) }
        }
        SdkError::TimeoutError(_) => unanswered(CallErrorKind::Unreachable, "no answer in time".to_owned()),
        SdkError::ResponseError(answer) => unanswered(
            CallErrorKind::Unreachable,
            format!("cannot read the answer (HTTP {}): {}", answer.raw().status().as_u16(), deepest(error)),
        ),
        SdkError::DispatchFailure(failure) if failure.is_user() => {
            unanswered(CallErrorKind::Invalid, format!("cannot be sent: {}", deepest(error)))
        }
        SdkError::DispatchFailure(_) => {
            unanswered(CallErrorKind::Unreachable, format!("no answer: {}", deepest(error)))
        }
        other => unanswered(CallErrorKind::Invalid, format!("cannot be sent: {}", deepest(other))),
    }
}

fn missing_identity(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(failure) = error.downcast_ref::<IdentityFailure>() {
            return Some(failure.to_string());
        }
        next = error.source();
    }
    None
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
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "SlowDown"
        | "TooManyUpdates" => CallErrorKind::Throttled,
        _ if status == 429 || is_throttle(message) => CallErrorKind::Throttled,
        _ if status >= 500 => CallErrorKind::Unreachable,
        code if code.contains("NotFound") => CallErrorKind::NotFound,
        "ConflictException" | "ServiceNotActiveException" | "UpdateInProgressException" | "BlockedException" => {
            CallErrorKind::Conflict
        }
        code if code.contains("AlreadyExists") => CallErrorKind::Conflict,
        _ => CallErrorKind::Invalid,
    }
}

/// What a service says of another one that throttled it: ECS hands on EC2's words in an InvalidParameterException of its
/// own.
fn is_throttle(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["rate exceeded", "requestlimitexceeded", "request limit exceeded", "too many requests", "throttlingexception"]
        .iter()
        .any(|words| message.contains(words))
}

/// A throttle that the SDK did not see as one, and so did not retry.
pub(super) fn is_wrapped_throttle(error: &CallError) -> bool {
    error.kind == CallErrorKind::Throttled && matches!(sort(&error.code, "", 400), CallErrorKind::Invalid)
}

/// The session ended, and a fresh one would do.
pub(super) fn is_expired(code: &str) -> bool {
    matches!(code, "ExpiredToken" | "ExpiredTokenException")
}

pub(super) fn denied_action(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("not authorized to perform: ")?;
    let action = rest.split(|c: char| c.is_whitespace() || c == ',').next()?;
    action.contains(':').then_some(action)
}

/// An answer that is not what the service documents: what the call did is not known.
pub(super) fn unreadable(action: &str, why: &str) -> CallError {
    CallError {
        action: action.to_owned(),
        kind: CallErrorKind::Unreachable,
        code: String::new(),
        message: format!("cannot read the answer: {why}"),
        request_id: None,
    }
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
