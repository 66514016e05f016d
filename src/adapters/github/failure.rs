//! What GitHub's refusals mean.
//! <https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api>

use crate::ports::{CallError, CallErrorKind};
use hyper::HeaderMap;
use serde_json::Value;
use std::time::Duration;

/// Waited where GitHub limits the rate and does not say for how long.
const UNNAMED_WAIT: Duration = Duration::from_secs(60);

/// An answer that is no success.
pub(super) fn refused(method: &str, path: &str, status: u16, headers: &HeaderMap, body: &[u8]) -> CallError {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut message = match answer["message"].as_str() {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned(),
    };
    for error in answer["errors"].as_array().map(Vec::as_slice).unwrap_or_default() {
        if let Some(why) = error["message"].as_str().or_else(|| error.as_str()) {
            message.push_str(&format!(": {why}"));
        }
    }
    if let Some(wanted) = header(headers, "x-accepted-github-permissions").filter(|wanted| !wanted.is_empty()) {
        message.push_str(&format!(" (it takes {wanted})"));
    }
    let kind = kind(status, headers, &message);
    CallError {
        action: action(method, path),
        kind,
        code: format!("HTTP {status}"),
        message,
        request_id: header(headers, "x-github-request-id").map(str::to_owned),
    }
}

fn kind(status: u16, headers: &HeaderMap, message: &str) -> CallErrorKind {
    match status {
        401 => CallErrorKind::Identity,
        403 if is_about_permission(headers, message) => CallErrorKind::Denied,
        // A locked conversation, an archived repository, an address that the organization does not let in: no permission
        // of the job's token changes that.
        403 => CallErrorKind::Conflict,
        404 | 410 => CallErrorKind::NotFound,
        409 => CallErrorKind::Conflict,
        429 => CallErrorKind::Throttled,
        408 | 500.. => CallErrorKind::Unreachable,
        _ => CallErrorKind::Invalid,
    }
}

/// `Resource not accessible by integration`, or `by personal access token`; an endpoint that names what it takes.
/// <https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#resource-not-accessible>
fn is_about_permission(headers: &HeaderMap, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    // GitHub names the permissions of an endpoint beside refusals for other reasons too.
    let is_other = ["locked", "archived", "ip allow list", "saml", "suspended", "blocked"];
    if is_other.iter().any(|other| message.contains(other)) {
        return false;
    }
    message.contains("not accessible by") || header(headers, "x-accepted-github-permissions").is_some()
}

/// Where the resource is now, of an answer that says that it is elsewhere. The request is the same there, body included.
/// <https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#follow-redirects>
pub(super) fn redirected(status: u16, headers: &HeaderMap) -> Option<&str> {
    matches!(status, 301 | 302 | 307 | 308).then(|| header(headers, "location")).flatten()
}

/// How long GitHub wants to be left alone, if that is why it refused: nothing was done then.
/// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit>
pub(super) fn rate_limited(status: u16, headers: &HeaderMap, body: &[u8], now: f64) -> Option<Duration> {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    if !matches!(status, 403 | 429) {
        // Content that is made too quickly is refused as invalid.
        return (status == 422 && text.contains("submitted too quickly")).then_some(UNNAMED_WAIT);
    }
    let number = |name: &str| header(headers, name)?.trim().parse::<u64>().ok();
    if let Some(seconds) = number("retry-after") {
        return Some(Duration::from_secs(seconds));
    }
    if number("x-ratelimit-remaining") == Some(0) {
        let left = number("x-ratelimit-reset").map(|reset| (reset as f64 - now).clamp(0.0, 1e6));
        return Some(left.map_or(UNNAMED_WAIT, Duration::from_secs_f64));
    }
    (status == 429 || text.contains("secondary rate limit") || text.contains("abuse detection")).then_some(UNNAMED_WAIT)
}

/// No answer, or not all of it: what the call did is unknown.
pub(super) fn lost(method: &str, path: &str, why: impl Into<String>) -> CallError {
    CallError {
        action: action(method, path),
        kind: CallErrorKind::Unreachable,
        code: String::new(),
        message: why.into(),
        request_id: None,
    }
}

pub(super) fn unreadable(method: &str, path: &str, why: &str) -> CallError {
    lost(method, path, format!("cannot read the answer: {why}"))
}

/// A setting that no call can be made with.
pub(super) fn unusable(what: &str, why: &str) -> CallError {
    CallError {
        action: what.to_owned(),
        kind: CallErrorKind::Invalid,
        code: String::new(),
        message: why.to_owned(),
        request_id: None,
    }
}

/// `POST /repos/acme/shop/deployments`, without what follows the question mark.
fn action(method: &str, path: &str) -> String {
    format!("{method} {}", path.split('?').next().unwrap_or(path))
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_rate_limit_is_told_from_a_refusal_and_says_how_long() {
        let secondary = br#"{"message": "You have exceeded a secondary rate limit."}"#;
        let reset = headers(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1030")]);
        let quick = br#"{"message": "Validation Failed", "errors": [{"message": "was submitted too quickly"}]}"#;
        let cases: [(u16, HeaderMap, &[u8], Option<u64>); 9] = [
            (422, headers(&[]), quick, Some(60)),
            (422, headers(&[("retry-after", "7")]), b"{}", None),
            (403, headers(&[("retry-after", "7")]), b"{}", Some(7)),
            (429, headers(&[("retry-after", "7")]), b"{}", Some(7)),
            (403, reset.clone(), b"{}", Some(30)),
            (403, headers(&[("x-ratelimit-remaining", "12")]), secondary, Some(60)),
            (429, headers(&[]), b"", Some(60)),
            (403, headers(&[("x-ratelimit-remaining", "12")]), b"{}", None),
            (500, reset, b"{}", None),
        ];
        for (status, headers, body, seconds) in cases {
            let wait = rate_limited(status, &headers, body, 1000.0);
            assert_eq!(wait, seconds.map(Duration::from_secs), "{status} {headers:?}");
        }
    }

    #[test]
    fn a_permission_that_is_missing_is_told_from_other_refusals() {
        let permissions = headers(&[("x-accepted-github-permissions", "issues=write; pull_requests=write")]);
        for (message, headers, kind) in [
            ("Resource not accessible by integration", HeaderMap::new(), CallErrorKind::Denied),
            ("Resource not accessible by personal access token", permissions.clone(), CallErrorKind::Denied),
            ("Unable to create comment because issue is locked.", permissions.clone(), CallErrorKind::Conflict),
            ("Repository was archived so is read-only.", permissions, CallErrorKind::Conflict),
            ("Sorry. Your account was suspended", HeaderMap::new(), CallErrorKind::Conflict),
        ] {
            let body = format!(r#"{{"message": "{message}"}}"#);
            assert_eq!(refused("POST", "/", 403, &headers, body.as_bytes()).kind, kind, "{message}");
        }
    }

    #[test]
    fn a_refusal_says_what_github_said_and_which_permission_it_takes() {
        let body = br#"{"message": "Resource not accessible by integration", "status": "403"}"#;
        let headers = headers(&[("x-accepted-github-permissions", "deployments=write")]);
        let error = refused("POST", "/repos/acme/shop/deployments?x=1", 403, &headers, body);
        assert_eq!(
            error.to_string(),
            "POST /repos/acme/shop/deployments: HTTP 403: Resource not accessible by integration \
            (it takes deployments=write)"
        );
        assert_eq!(error.kind, CallErrorKind::Denied);
        let body = br#"{"message": "Validation Failed", "errors": [{"message": "Body is too long"}, "x"]}"#;
        assert_eq!(
            refused("POST", "/", 422, &HeaderMap::new(), body).message,
            "Validation Failed: Body is too long: x"
        );
    }
}
