//! Requests that are signed here, for services of which the program needs one call and has no SDK: CloudFormation and
//! S3. Their time, their repetition and the sorting of errors are those of the SDK's calls.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use super::client::AwsClient;
use super::failure::{code_or_status, denied_action, no_session, sort};
use crate::adapters::network::deepest;
use crate::ports::{CallError, CallErrorKind};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_xml::decode::{Document, ScopedDecoder, try_data};
use std::time::SystemTime;

/// One request, before it is signed.
pub(super) struct SignedRequest<'a> {
    /// As IAM names it.
    pub action: &'static str,
    /// The signing name.
    pub service: &'static str,
    pub region: &'a str,
    pub method: &'static str,
    /// With the path percent-encoded.
    pub url: &'a str,
    pub content_type: Option<&'static str>,
    /// `X-Amz-Target`: the operation, of a service that takes JSON.
    pub target: Option<&'static str>,
    pub body: &'a str,
    /// More than this is no answer to what was asked.
    pub most_bytes: usize,
}

/// A refusal, and where S3 says that the bucket is.
pub(super) struct ServiceError {
    pub error: CallError,
    pub bucket_region: Option<String>,
}

impl AwsClient {
    /// The body of the answer to one attempt.
    pub(super) async fn ask(&self, ask: &SignedRequest<'_>) -> Result<Vec<u8>, ServiceError> {
        let credentials = self.session.credentials().credentials().await;
        let credentials =
            credentials.map_err(|why| ServiceError { error: no_session(ask.action, &why), bucket_region: None })?;
        let signed = ask.signature(&credentials.into());
        let signed = signed.map_err(|why| ask.unanswered(CallErrorKind::Invalid, format!("cannot be sent: {why}")))?;
        let method = if ask.method == "POST" { reqwest::Method::POST } else { reqwest::Method::GET };
        let mut request = self.session.network().http().request(method, ask.url);
        for (name, value) in &signed {
            request = request.header(name, value);
        }
        for (name, value) in ask.own_headers() {
            request = request.header(name, value);
        }
        let lost =
            |e: reqwest::Error| ask.unanswered(CallErrorKind::Unreachable, format!("no answer: {}", deepest(&e)));
        let mut response = request.body(ask.body.to_owned()).send().await.map_err(lost)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > ask.most_bytes {
                let why = format!("the answer has more than {} MiB", ask.most_bytes / 1024 / 1024);
                return Err(ask.unanswered(CallErrorKind::Invalid, why));
            }
            body.extend_from_slice(&chunk);
        }
        if response.status().is_success() {
            return Ok(body);
        }
        let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        Err(ServiceError {
            error: ask.refused(
                response.status().as_u16(),
                &body,
                header("x-amzn-requestid").or_else(|| header("x-amz-request-id")),
            ),
            bucket_region: header("x-amz-bucket-region"),
        })
    }
}

/// A signature is good for a few minutes of wall-clock time.
#[expect(clippy::disallowed_methods, reason = "AWS compares it with its own clock")]
fn signing_time() -> SystemTime {
    SystemTime::now()
}

impl SignedRequest<'_> {
    fn own_headers(&self) -> Vec<(&'static str, &'static str)> {
        let content_type = self.content_type.map(|value| ("content-type", value));
        content_type.into_iter().chain(self.target.map(|value| ("x-amz-target", value))).collect()
    }

    pub(super) fn signature(&self, identity: &Identity) -> Result<Vec<(String, String)>, String> {
        let mut settings = SigningSettings::default();
        if self.service == "s3" {
            // https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let parameters = v4::SigningParams::builder()
            .identity(identity)
            .region(self.region)
            .name(self.service)
            .time(signing_time())
            .settings(settings)
            .build()
            .map_err(|e| e.to_string())?
            .into();
        let body = SignableBody::Bytes(self.body.as_bytes());
        let request = SignableRequest::new(self.method, self.url, self.own_headers().into_iter(), body)
            .map_err(|e| deepest(&e))?;
        let (instructions, _) = sign(request, &parameters).map_err(|e| deepest(&e))?.into_parts();
        Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    pub(super) fn unanswered(&self, kind: CallErrorKind, message: impl Into<String>) -> ServiceError {
        let error = CallError {
            action: self.action.to_owned(),
            kind,
            code: String::new(),
            message: message.into(),
            request_id: None,
        };
        ServiceError { error, bucket_region: None }
    }

    fn refused(&self, status: u16, body: &[u8], request_id: Option<String>) -> CallError {
        let (code, message) = error_in(body);
        let message = if message.is_empty() { format!("HTTP {status}") } else { message };
        let kind = match code.as_str() {
            "InvalidAccessKeyId" => CallErrorKind::Identity,
            // https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
            "NoSuchKey" | "NoSuchBucket" => CallErrorKind::NotFound,
            code => sort(code, &message, status),
        };
        let denied = if kind == CallErrorKind::Denied { denied_action(&message) } else { None };
        // What else has no code is S3's way to say that a bucket is elsewhere.
        let code = if kind == CallErrorKind::Unreachable { code_or_status(&code, status) } else { code };
        CallError { action: denied.unwrap_or(self.action).to_owned(), kind, code, message, request_id }
    }
}

/// Code and message of a service that takes JSON, of `<ErrorResponse><Error>...`, of EC2's `<Response><Errors><Error>...`, or of
/// S3's bare `<Error>`; empty where there is none.
fn error_in(body: &[u8]) -> (String, String) {
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) {
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        let code = text("__type").rsplit('#').next().unwrap_or_default().to_owned();
        return (code, [text("message"), text("Message")].concat());
    }
    let (mut code, mut message) = (String::new(), String::new());
    let mut keep = |error: &mut ScopedDecoder<'_, '_>| {
        for (name, text) in fields(error) {
            match name.as_str() {
                "Code" => code = text,
                "Message" => message = text,
                _ => {}
            }
        }
    };
    if let Ok(mut document) = Document::try_from(body)
        && let Ok(mut root) = document.root_element()
    {
        match root.start_el().local() {
            "Error" => keep(&mut root),
            "Response" => each(&mut root, &["Errors", "Error"], &mut keep),
            _ => each(&mut root, &["Error"], &mut keep),
        }
    }
    (code, message)
}

/// Calls `found` with every element that the path leads to.
pub(super) fn each(
    within: &mut ScopedDecoder<'_, '_>,
    path: &[&str],
    found: &mut dyn FnMut(&mut ScopedDecoder<'_, '_>),
) {
    let [next, rest @ ..] = path else { return found(within) };
    while let Some(mut child) = within.next_tag() {
        if child.start_el().local() == *next {
            each(&mut child, rest, found);
        }
    }
}

/// Calls `found` with every element directly within, and its name.
pub(super) fn every(within: &mut ScopedDecoder<'_, '_>, found: &mut dyn FnMut(&str, &mut ScopedDecoder<'_, '_>)) {
    while let Some(mut child) = within.next_tag() {
        let name = child.start_el().local().to_owned();
        found(&name, &mut child);
    }
}

/// The text of an element; empty where it has none.
pub(super) fn text_of(element: &mut ScopedDecoder<'_, '_>) -> String {
    try_data(element).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// Name and text of the elements directly within.
pub(super) fn fields(within: &mut ScopedDecoder<'_, '_>) -> Vec<(String, String)> {
    let mut fields = vec![];
    while let Some(mut field) = within.next_tag() {
        let name = field.start_el().local().to_owned();
        if let Ok(text) = try_data(&mut field) {
            fields.push((name, text.into_owned()));
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_in_both_of_its_forms() {
        let query = b"<ErrorResponse xmlns=\"http://x/\"><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate &amp; all</Message></Error><RequestId>r</RequestId></ErrorResponse>";
        assert_eq!(error_in(query), ("Throttling".to_owned(), "Rate & all".to_owned()));
        let s3 = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>none</Message><Key>k</Key></Error>";
        assert_eq!(error_in(s3), ("NoSuchKey".to_owned(), "none".to_owned()));
        let json = br#"{"__type": "com.amazonaws.kms#NotFoundException", "message": "no key"}"#;
        assert_eq!(error_in(json), ("NotFoundException".to_owned(), "no key".to_owned()));
        for broken in [&b""[..], b"oops", b"<html><body>502</body></html>", b"<Error><Code>x"] {
            let _ = error_in(broken);
        }
    }
}
