//! HTTP/1.1 to the Engine: one connection a request, so that dropping an answer ends what the Engine does for it.

use std::io;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::endpoint::Endpoint;
use super::error::EngineError;
use super::stream::JsonLines;

pub(super) type RequestBody = UnsyncBoxBody<Bytes, io::Error>;

/// Calls that only read or change the Engine's own state.
pub(super) const SHORT: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(5);
/// An Engine that restarts is away for about a second: three pauses, 0.1, 0.3 and 0.9 s.
const CONNECT_BACKOFF: ExponentialBuilder =
    ExponentialBuilder::new().with_min_delay(Duration::from_millis(100)).with_factor(3.0).with_max_times(3);
/// What a query may carry as it is: the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}
/// A stream of bytes in both directions.
pub(super) type BoxIo = Box<dyn Io>;

/// How to reach one Engine, at one API version.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    pub endpoint: Endpoint,
    /// `/v1.41`, or empty before the version is known.
    pub prefix: String,
}

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(super) struct Attached(JoinHandle<()>);

impl Attached {
    pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A successful answer. Dropping it closes the connection.
#[derive(Debug)]
pub(super) struct Answer {
    pub response: Response<Incoming>,
    pub connection: Attached,
}

/// One request to the Engine.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// What an error says was attempted, e.g. ``inspecting `app:1` ``.
    pub what: &'a str,
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: RequestBody,
    /// Until the head of the answer.
    pub limit: Duration,
}

impl<'a> Call<'a> {
    pub fn new(what: &'a str, method: Method, target: impl Into<String>) -> Self {
        Self { what, method, target: target.into(), headers: HeaderMap::new(), body: empty(), limit: SHORT }
    }

    pub fn with_json(mut self, body: &Value) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = Full::from(body.to_string()).map_err(|never| match never {}).boxed_unsync();
        self
    }
}

pub(super) fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

impl Transport {
    /// Sends and waits for the head of the answer. A connection that is refused is tried again; a request that was sent
    /// is not. Any status but success or 101 is an error with the Engine's own message.
    pub async fn send(&self, call: Call<'_>) -> Result<Answer, EngineError> {
        let answer = self.exchange(call.what, call.method, &call.target, call.headers, call.body, call.limit).await?;
        let status = answer.response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(answer);
        }
        let why = match timeout(SHORT, answer.response.into_body().collect()).await {
            Ok(Ok(body)) => message(&body.to_bytes()),
            _ => String::new(),
        };
        let why = if why.is_empty() { "the Engine gave no reason".to_owned() } else { why };
        Err(EngineError::Refused { what: call.what.to_owned(), status: status.as_u16(), why })
    }

    /// The whole answer as JSON; `null` for an empty one.
    pub async fn json(&self, call: Call<'_>) -> Result<Value, EngineError> {
        let what = call.what.to_owned();
        let answer = self.send(call).await?;
        let body = timeout(SHORT, answer.response.into_body().collect())
            .await
            .map_err(|_| EngineError::Timeout { what: what.clone(), after: SHORT })?
            .map_err(|error| self.unreachable(&error))?
            .to_bytes();
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|error| EngineError::config(what, format!("unreadable answer: {error}")))
    }

    pub fn unreachable(&self, error: &dyn std::error::Error) -> EngineError {
        let mut why = error.to_string();
        if let Some(cause) = error.source() {
            why = format!("{why}: {cause}");
        }
        EngineError::Unreachable { endpoint: self.endpoint.to_string(), why }
    }

    async fn exchange(
        &self,
        what: &str,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: RequestBody,
        limit: Duration,
    ) -> Result<Answer, EngineError> {
        let io = TokioIo::new(self.connect_patiently().await?);
        let (mut sender, connection) = http1::handshake(io).await.map_err(|error| self.unreachable(&error))?;
        let connection = Attached::spawn(async move {
            // Its errors also reach the request or the body that was using it.
            let _ = connection.with_upgrades().await;
        });
        let uri = format!("{}{target}", self.prefix);
        let mut request = Request::builder().method(method).uri(uri).header(HOST, "docker");
        if let Some(all) = request.headers_mut() {
            all.extend(headers);
        }
        let request = request.body(body).map_err(|error| EngineError::config(what, error.to_string()))?;
        let response = timeout(limit, sender.send_request(request))
            .await
            .map_err(|_| EngineError::Timeout { what: what.to_owned(), after: limit })?
            .map_err(|error| self.unreachable(&error))?;
        Ok(Answer { response, connection })
    }

    async fn connect_patiently(&self) -> Result<Box<dyn Io>, EngineError> {
        let connecting = (|| self.connect()).retry(CONNECT_BACKOFF).when(is_worth_retrying);
        connecting.await.map_err(|error| self.unreachable(&error))
    }

    async fn connect(&self) -> io::Result<BoxIo> {
        let connecting = async {
            Ok(match &self.endpoint {
                Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await?) as BoxIo,
                Endpoint::Tcp(address) => Box::new(TcpStream::connect(address).await?),
            })
        };
        timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

fn is_worth_retrying(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset | io::ErrorKind::WouldBlock
    )
}

/// `{"message": "..."}`, or whatever else the body says.
fn message(body: &[u8]) -> String {
    serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|value| value["message"].as_str().map(str::to_owned))
        .unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned())
}

/// A progress stream, object by object.
#[derive(Debug)]
pub(super) struct Objects {
    body: Incoming,
    lines: Option<JsonLines>,
    ready: std::collections::VecDeque<Value>,
    _connection: Attached,
}

impl Objects {
    pub fn of(answer: Answer) -> Self {
        Self {
            body: answer.response.into_body(),
            lines: Some(JsonLines::default()),
            ready: std::collections::VecDeque::new(),
            _connection: answer.connection,
        }
    }

    /// The next object; `None` at the end. Loses nothing when dropped before it is ready.
    pub async fn next(&mut self) -> Result<Option<Value>, hyper::Error> {
        loop {
            if let Some(object) = self.ready.pop_front() {
                return Ok(Some(object));
            }
            let Some(lines) = &mut self.lines else { return Ok(None) };
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.ready.extend(lines.push(&data));
                    }
                }
                None => self.ready.extend(self.lines.take().map(JsonLines::finish).unwrap_or_default()),
            }
        }
    }
}

/// A query string in the making.
#[derive(Debug, Default)]
pub(super) struct Query(String);

impl Query {
    pub fn add(&mut self, name: &str, value: &str) -> &mut Self {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, RESERVED));
        self
    }

    pub fn add_some(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.add(name, value);
        }
        self
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_encoded_byte_by_byte() {
        let mut query = Query::default();
        query.add("t", "a/b:1").add_some("none", None).add("args", "{\"é\":\"1 & 2\"}");
        assert_eq!(query.as_str(), "?t=a%2Fb%3A1&args=%7B%22%C3%A9%22%3A%221%20%26%202%22%7D");
    }

    #[test]
    fn the_engines_message_is_taken_out_of_its_json() {
        assert_eq!(message(br#"{"message":"no such image: x"}"#), "no such image: x");
        assert_eq!(message(b"page not found\n"), "page not found");
    }
}
