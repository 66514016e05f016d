//! A server that plays literal answers and records what it was asked.

use crate::recorded_events::RecordedEvents;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fargate_deploy::adapters::aws::{AwsClient, Session, SessionInputs};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

pub const REGION: &str = "eu-central-1";

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `DescribeServices` of the target header or of `Action=`, else the method.
    pub operation: String,
    /// The request line's second word: a path, or the whole URL when we are taken for a proxy.
    pub uri: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A field of a Query protocol body.
    pub fn form(&self, name: &str) -> String {
        let body = String::from_utf8(self.body.clone()).unwrap();
        let value = body.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).unwrap_or_default();
        percent_decoded(value)
    }

    pub fn signed_by(&self) -> &str {
        self.headers.get("authorization").and_then(|a| a.split("Credential=").nth(1)?.split('/').next()).unwrap_or("")
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        match b {
            b'%' => {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            }
            b'+' => bytes.push(b' '),
            b => bytes.push(b),
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[derive(Clone, Debug)]
pub enum Answer {
    Plain {
        status: u16,
        content_type: &'static str,
        body: String,
    },
    /// Fewer bytes than `content-length` says.
    CutOff(String),
    /// The connection is reset after the request was read.
    Reset,
    Location(String),
    /// S3's answer to a request that reached the wrong region.
    Elsewhere(String),
}

pub fn ok(body: Value) -> Answer {
    Answer::Plain { status: 200, content_type: "application/x-amz-json-1.1", body: body.to_string() }
}

pub fn error(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({ "__type": code, "message": message }).to_string();
    Answer::Plain { status, content_type: "application/x-amz-json-1.1", body }
}

pub fn text(status: u16, body: &str) -> Answer {
    Answer::Plain { status, content_type: "text/plain", body: body.to_owned() }
}

fn xml(status: u16, body: String) -> Answer {
    Answer::Plain { status, content_type: "text/xml", body }
}

/// An error in the Query protocol of STS.
pub fn sts_error(status: u16, code: &str, message: &str) -> Answer {
    xml(
        status,
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}</Code>\
            <Message>{message}</Message></Error><RequestId>r-1</RequestId></ErrorResponse>"
        ),
    )
}

/// An error of EC2, which has a form of its own.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>
pub fn ec2_error(status: u16, code: &str, message: &str) -> Answer {
    let error = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    xml(status, format!("<Response><Errors>{error}</Errors><RequestID>r-1</RequestID></Response>"))
}

/// Credentials from one of the AssumeRole operations: `KEY`, `secret-of-KEY`, `token-of-KEY`.
pub fn credentials(operation: &str, key: &str, lasts: Duration) -> Answer {
    let ends = jiff::Timestamp::now() + lasts;
    xml(
        200,
        format!(
            "<{operation}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{operation}Result><Credentials>\
            <AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret-of-{key}</SecretAccessKey>\
            <SessionToken>token-of-{key}</SessionToken><Expiration>{ends}</Expiration></Credentials>\
            </{operation}Result></{operation}Response>"
        ),
    )
}

pub fn caller_identity() -> Answer {
    xml(
        200,
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
        <Arn>arn:aws:sts::111122223333:assumed-role/deploy/run</Arn><UserId>AROA:run</UserId><Account>111122223333</Account>\
        </GetCallerIdentityResult></GetCallerIdentityResponse>"
            .to_owned(),
    )
}

/// A token of GitHub's OIDC endpoint; `number` tells one from the next.
pub fn jwt(sub: &str, number: u32) -> String {
    let claims = json!({
        "iss": "https://token.actions.githubusercontent.com", "aud": "sts.amazonaws.com", "sub": sub,
        "repository": "org/shop", "repository_id": "22", "repository_owner_id": "11", "jti": number,
    });
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

pub fn token(jwt: &str) -> Answer {
    ok(json!({ "value": jwt }))
}

#[derive(Clone)]
pub struct ScriptedServer {
    pub url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, VecDeque<Answer>>,
    asked: Vec<Asked>,
}

impl ScriptedServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    if let Some((stream, true)) = serve(stream, shared).await {
                        stream.set_zero_linger().unwrap();
                    }
                });
            }
        });
        Self { url, state }
    }

    /// The same behind TLS, and the certificate of the authority that nobody else trusts.
    pub async fn start_tls() -> (Self, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(authority, key);
        let server_key = rcgen::KeyPair::generate().unwrap();
        let server = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let server = server.signed_by(&server_key, &issuer).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![server.der().clone()], server_key.serialize_der().try_into().unwrap())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, shared).await;
                    }
                });
            }
        });
        (Self { url, state }, certificate.pem())
    }

    /// Answers of an operation, in order; the last is repeated.
    pub fn on(&self, operation: &str, answers: impl IntoIterator<Item = Answer>) -> &Self {
        self.state.lock().unwrap().answers.insert(operation.to_owned(), answers.into_iter().collect());
        self
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    pub fn asked_for(&self, operation: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|a| a.operation == operation).collect()
    }

    /// The body of the only request of that operation.
    pub fn only(&self, operation: &str) -> Value {
        let asked = self.asked_for(operation);
        assert_eq!(asked.len(), 1, "{operation}: {asked:?}");
        asked[0].json()
    }

    pub fn env(&self) -> BTreeMap<String, String> {
        env(&[
            ("AWS_ACCESS_KEY_ID", "AKIDPLAIN"),
            ("AWS_SECRET_ACCESS_KEY", "plain"),
            ("AWS_REGION", REGION),
            ("AWS_ENDPOINT_URL", &self.url),
        ])
    }

    /// The environment of a job with `id-token: write`.
    pub fn job_env(&self) -> BTreeMap<String, String> {
        env(&[
            ("GITHUB_ACTIONS", "true"),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", &format!("{}/token?api-version=2.0", self.url)),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token"),
            ("AWS_REGION", REGION),
            ("AWS_ENDPOINT_URL", &self.url),
        ])
    }

    /// With credentials that never change.
    pub async fn cloud(&self) -> AwsClient {
        AwsClient::new(Session::open(&inputs(self.env()), Arc::new(RecordedEvents::default())).await.unwrap())
    }
}

pub fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// With waits that a test can afford.
pub fn inputs(env: BTreeMap<String, String>) -> SessionInputs {
    SessionInputs { retry_wait: Duration::from_millis(5), ..SessionInputs::new(env) }
}

/// Answers one request. Gives the connection back, and whether it is to be reset.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, state: Arc<Mutex<State>>) -> Option<(S, bool)> {
    let asked = read(&mut stream).await?;
    let operation = asked.operation.clone();
    let answer = {
        let mut state = state.lock().unwrap();
        state.asked.push(asked);
        match state.answers.get_mut(&operation) {
            Some(answers) if answers.len() > 1 => answers.pop_front().unwrap(),
            Some(answers) => answers[0].clone(),
            None => error(400, "NotPlayed", &format!("the test plays no answer for {operation}")),
        }
    };
    let bytes = match answer {
        Answer::Plain { status, content_type, body } => head(status, content_type, body.len()) + &body,
        Answer::CutOff(body) => head(200, "application/x-amz-json-1.1", body.len() + 100) + &body,
        Answer::Location(to) => {
            format!("HTTP/1.1 302 X\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        }
        Answer::Elsewhere(region) => {
            let body = "<Error><Code>PermanentRedirect</Code><Message>another endpoint</Message></Error>";
            let head = head(301, "application/xml", body.len());
            head.replace("connection: close", &format!("x-amz-bucket-region: {region}\r\nconnection: close")) + body
        }
        Answer::Reset => return Some((stream, true)),
    };
    let _ = stream.write_all(bytes.as_bytes()).await;
    let _ = stream.shutdown().await;
    Some((stream, false))
}

/// The head of an answer.
pub fn head(status: u16, content_type: &str, length: usize) -> String {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\
        x-amzn-requestid: r-1\r\nconnection: close\r\n\r\n"
    )
}

pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, uri) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
    let mut body = bytes[end + 4..].to_vec();
    while body.len() < length {
        match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => body.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    }
    assert_eq!(body.len(), length, "content-length of {uri} is wrong");
    let action = String::from_utf8_lossy(&body);
    let action = action.split('&').find_map(|pair| pair.strip_prefix("Action="));
    let target = headers.get("x-amz-target").and_then(|target| target.rsplit('.').next());
    let operation = target.or(action).unwrap_or(&method).to_owned();
    Some(Asked { operation, uri, headers, body })
}
