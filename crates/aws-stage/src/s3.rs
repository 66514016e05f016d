//! S3, as far as one object is read from it: GetObject in the path style.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>

use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::api::Caller;
use super::error::AwsError;
use super::protocol::{escaped, request_id};
use super::request::lock;

/// Buckets of the stage's Region, by name, and their objects by key.
#[derive(Debug, Default)]
pub(crate) struct Objects(Mutex<BTreeMap<String, BTreeMap<String, Vec<u8>>>>);

impl Objects {
    /// Puts an object where it can be got; its bucket is made.
    pub(crate) fn insert(&self, bucket: &str, key: &str, bytes: Vec<u8>) {
        lock(&self.0).entry(bucket.to_owned()).or_default().insert(key.to_owned(), bytes);
    }

    /// # Errors
    /// As S3 words them.
    pub(crate) fn get(&self, bucket: &str, key: &str) -> Result<Vec<u8>, AwsError> {
        let missing = |code: &str, message: &str| AwsError { status: 404, ..AwsError::client(code, message) };
        let buckets = lock(&self.0);
        let objects =
            buckets.get(bucket).ok_or_else(|| missing("NoSuchBucket", "The specified bucket does not exist"))?;
        objects.get(key).cloned().ok_or_else(|| missing("NoSuchKey", "The specified key does not exist."))
    }
}

/// Bucket and key of a request's path, decoded.
#[must_use]
pub(crate) fn address(path: &str) -> (String, String) {
    let (bucket, key) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    (bucket.to_owned(), decoded(key))
}

/// What a policy calls the object.
#[must_use]
pub(crate) fn resource(caller: &Caller, bucket: &str, key: &str) -> String {
    format!("arn:{}:s3:::{bucket}/{key}", super::api::partition(&caller.region))
}

/// Writes an answer.
#[must_use]
pub(crate) fn respond(reply: Result<Vec<u8>, AwsError>) -> Response {
    let (status, media_type, body) = match reply {
        Ok(bytes) => (200, "application/octet-stream", bytes),
        Err(error) => {
            let code = match error.code.as_str() {
                "AccessDeniedException" => "AccessDenied",
                "ThrottlingException" => "SlowDown",
                "UnrecognizedClientException" => "InvalidAccessKeyId",
                "ExpiredTokenException" => "ExpiredToken",
                code => code,
            };
            let status = if code == "AccessDenied" {
                403
            } else if code == "SlowDown" {
                503
            } else {
                error.status
            };
            let document = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message><RequestId>{}</RequestId></Error>",
                escaped(code),
                escaped(&error.message),
                request_id()
            );
            (status, "application/xml", document.into_bytes())
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

fn decoded(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_names_bucket_and_key() {
        assert_eq!(address("/states/env%3A/prod/a%20b"), ("states".to_owned(), "env:/prod/a b".to_owned()));
        assert_eq!(address("/states"), ("states".to_owned(), String::new()));
        assert_eq!(address("/states/100%"), ("states".to_owned(), "100%".to_owned()));
    }
}
