//! AWS, GitHub, its OIDC tokens and the shop itself on one port of the loopback interface, each request with what is wrong
//! with it.
//!
//! The server runs on the thread of the run that calls it. So a request has arrived before the paused clock goes on: it
//! moves only when nobody has anything left to do, and by a tick at most.

use super::faults::{Disturbance, Verdict};
use super::wire;
use crate::contract::scripted_server::{self as scripted, Answer, Asked};
use crate::story::fake::cloud::FakeCloud;
use crate::story::fake::ecs::Aws;
use aws_stage::github::{GitHub, Standalone};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Half of the time that a call takes.
const WAY: Duration = Duration::from_millis(30);
/// How far the clock can move at once: far less than any client waits for an answer.
const TICK: Duration = Duration::from_millis(50);
/// How much older a stale read is.
const LAG: Duration = Duration::from_secs(3);

/// One request, by its place among those of its operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// `ecs:UpdateService`, `github:POST /deployments`.
    pub operation: String,
    /// From 0.
    pub ordinal: usize,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.operation, self.ordinal)
    }
}

/// Before its effect, and then it has none; or after it, before its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

/// A moment of a call that somebody waits for.
struct Point {
    call: Call,
    moment: Moment,
    is_reached: watch::Sender<bool>,
}

/// Waits for it.
pub struct Reached(watch::Receiver<bool>);

impl Reached {
    pub async fn opened(mut self) {
        let _ = self.0.wait_for(|is_reached| *is_reached).await;
    }
}

pub struct Server {
    pub url: String,
    pub played: Rc<Played>,
    tasks: [tokio::task::AbortHandle; 2],
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

pub struct Played {
    pub cloud: Rc<FakeCloud>,
    github: Standalone,
    /// What came, in this order.
    asked: RefCell<Vec<Call>>,
    pub disturbance: RefCell<Option<Disturbance>>,
    /// The shop answers 500.
    pub is_shop_broken: Cell<bool>,
    point: RefCell<Option<Point>>,
    past: RefCell<VecDeque<(Instant, Rc<RefCell<Aws>>)>>,
    /// Sessions that were given out, and how many of them are no longer good.
    sessions: Cell<u32>,
    expired: Cell<u32>,
}

impl Server {
    /// Within a `LocalSet`.
    pub async fn start(cloud: Rc<FakeCloud>, github: GitHub) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let played = Rc::new(Played {
            cloud,
            github: Standalone::start(github).await.unwrap(),
            asked: RefCell::default(),
            disturbance: RefCell::default(),
            is_shop_broken: Cell::default(),
            point: RefCell::default(),
            past: RefCell::default(),
            sessions: Cell::default(),
            expired: Cell::default(),
        });
        let (listening, remembering) = (Rc::clone(&played), Rc::clone(&played));
        let listen = tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let played = Rc::clone(&listening);
                tokio::task::spawn_local(async move { played.serve(stream).await });
            }
        });
        let tick = tokio::task::spawn_local(async move {
            loop {
                sleep(TICK).await;
                remembering.remember();
            }
        });
        Self { url, played, tasks: [listen.abort_handle(), tick.abort_handle()] }
    }

    pub fn github(&self) -> &GitHub {
        self.played.github.github()
    }

    pub fn point_at(&self, call: Call, moment: Moment) -> Reached {
        let (is_reached, waits) = watch::channel(false);
        self.played.point.replace(Some(Point { call, moment, is_reached }));
        Reached(waits)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.played.asked.borrow().clone()
    }

    /// What follows is recorded anew.
    pub fn forget_calls(&self) {
        self.played.asked.borrow_mut().clear();
    }
}

impl Played {
    /// Keeps the world of before for stale reads, while there are any.
    fn remember(&self) {
        if !self.disturbance.borrow().as_ref().is_some_and(Disturbance::needs_the_past) {
            return;
        }
        let mut past = self.past.borrow_mut();
        let now = Instant::now();
        let is_old = |past: &VecDeque<(Instant, _)>| past.get(1).is_some_and(|(at, _)| *at + LAG <= now);
        while is_old(&past) {
            past.pop_front();
        }
        past.push_back((now, Rc::new(RefCell::new(self.cloud.aws().clone()))));
    }

    async fn serve(&self, mut stream: TcpStream) {
        let Some(asked) = scripted::read(&mut stream).await else { return };
        let call = self.note(operation(&asked));
        let verdict = match &mut *self.disturbance.borrow_mut() {
            Some(disturbance) => disturbance.verdict(&call),
            None => Verdict::Passes,
        };
        sleep(WAY).await;
        let reset = |stream: TcpStream| stream.set_zero_linger().unwrap();
        if self.is_at(&call, Moment::Before) {
            return;
        }
        let answer = match verdict {
            Verdict::Lost => {
                self.is_at(&call, Moment::After);
                return reset(stream);
            }
            Verdict::Unanswered => return std::future::pending().await,
            Verdict::Throttled => throttled(&call.operation),
            Verdict::Fails => failing(&call.operation),
            Verdict::Denied => denied(&call.operation),
            Verdict::Expires => {
                self.expired.set(self.sessions.get());
                self.answer(&call.operation, &asked, false).await
            }
            Verdict::Stale => self.answer(&call.operation, &asked, true).await,
            Verdict::Passes | Verdict::AnswerLost | Verdict::CutOff => {
                self.answer(&call.operation, &asked, false).await
            }
        };
        self.is_at(&call, Moment::After);
        sleep(WAY).await;
        if verdict == Verdict::AnswerLost || self.disturbance.borrow().as_ref().is_some_and(Disturbance::is_cut) {
            return reset(stream);
        }
        let shown = if verdict == Verdict::CutOff { answer.len().saturating_sub(20) } else { answer.len() };
        let _ = stream.write_all(&answer[..shown]).await;
        let _ = stream.shutdown().await;
    }

    fn is_at(&self, call: &Call, moment: Moment) -> bool {
        let point = self.point.borrow();
        let is_it = point.as_ref().filter(|point| point.call == *call && point.moment == moment);
        is_it.is_some_and(|point| !point.is_reached.send_replace(true))
    }

    fn note(&self, operation: String) -> Call {
        let mut asked = self.asked.borrow_mut();
        let ordinal = asked.iter().filter(|call| call.operation == operation).count();
        let call = Call { operation, ordinal };
        asked.push(call.clone());
        call
    }

    /// Carries it out.
    async fn answer(&self, operation: &str, asked: &Asked, is_stale: bool) -> Vec<u8> {
        if operation.starts_with("github:") {
            return self.forward(asked).await;
        }
        match operation {
            "shop:GET" if self.is_shop_broken.get() => return failing(operation),
            "shop:GET" => return plain(200, "text/plain", "ok"),
            "oidc:GetIdToken" => {
                let jwt = scripted::jwt("repo:org/shop:ref:refs/heads/main", self.sessions.get());
                return plain(200, "application/json", &json!({ "value": jwt }).to_string());
            }
            "sts:AssumeRoleWithWebIdentity" => {
                self.sessions.set(self.sessions.get() + 1);
                let key = format!("AKID{}", self.sessions.get());
                return bytes(scripted::credentials("AssumeRoleWithWebIdentity", &key, Duration::from_secs(3600)));
            }
            _ => {}
        }
        let session: u32 = asked.signed_by().trim_start_matches("AKID").parse().unwrap_or_default();
        if session <= self.expired.get() {
            return refused(
                operation,
                "ExpiredTokenException",
                "The security token included in the request is expired",
            );
        }
        if operation == "sts:GetCallerIdentity" {
            return bytes(scripted::caller_identity());
        }
        let body = serde_json::from_slice(&asked.body).unwrap_or(Value::Null);
        let past = self.past.borrow().front().map(|(_, aws)| Rc::clone(aws)).filter(|_| is_stale);
        let answer = match past {
            Some(past) => wire::answer(&mut past.borrow_mut(), operation, &body),
            None => wire::answer(&mut self.cloud.aws(), operation, &body),
        };
        match answer {
            Ok(body) => plain(200, "application/x-amz-json-1.1", &body.to_string()),
            Err((code, message)) => refused(operation, code, message),
        }
    }

    /// To the stand-in for GitHub, as it came.
    async fn forward(&self, asked: &Asked) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.github.url().trim_start_matches("http://")).await.unwrap();
        let mut request = format!("{} {} HTTP/1.1\r\n", asked.operation, asked.uri);
        for (name, value) in asked.headers.iter().filter(|(name, _)| *name != "connection") {
            request += &format!("{name}: {value}\r\n");
        }
        request += "connection: close\r\n\r\n";
        stream.write_all(&[request.as_bytes(), &asked.body].concat()).await.unwrap();
        let mut answer = vec![];
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    }
}

/// `ecs:UpdateService`; of GitHub the method and the path without numbers.
fn operation(asked: &Asked) -> String {
    let target = asked.headers.get("x-amz-target").map_or("", |target| target.split('.').next().unwrap());
    let path = asked.uri.split('?').next().unwrap_or_default();
    let service = match target {
        "AmazonEC2ContainerServiceV20141113" => "ecs",
        "AmazonSSM" => "ssm",
        "Logs_20140328" => "logs",
        "AmazonEC2ContainerRegistry_V20150921" => "ecr",
        _ if path == "/health" => "shop",
        _ if path == "/token" => return "oidc:GetIdToken".to_owned(),
        _ if path.contains("/repos/") || path.ends_with("/graphql") || path.contains("/repositories/") => {
            let rest = path.split('/').skip_while(|part| !part.is_empty()).skip(1);
            let named = rest
                .filter(|part| !["api", "v3", "repos", "org", "shop"].contains(part))
                .map(|part| if part.bytes().any(|b| b.is_ascii_digit()) { "N" } else { part });
            return format!("github:{} /{}", asked.operation, named.collect::<Vec<_>>().join("/"));
        }
        _ => "sts",
    };
    format!("{service}:{}", asked.operation)
}

fn is_github(operation: &str) -> bool {
    ["github:", "oidc:", "shop:"].iter().any(|start| operation.starts_with(start))
}

fn throttled(operation: &str) -> Vec<u8> {
    match is_github(operation) {
        true => {
            let answer = plain(429, "application/json", "{\"message\":\"You have exceeded a secondary rate limit\"}");
            String::from_utf8(answer).unwrap().replacen("\r\n", "\r\nretry-after: 30\r\n", 1).into_bytes()
        }
        false => refused(
            operation,
            if operation.starts_with("sts:") { "Throttling" } else { "ThrottlingException" },
            "Rate exceeded",
        ),
    }
}

fn failing(operation: &str) -> Vec<u8> {
    let words = "Service Unavailable. Please try again later.";
    match is_github(operation) {
        true => plain(500, "application/json", "{\"message\":\"Something went wrong\"}"),
        false if operation.starts_with("sts:") => bytes(scripted::sts_error(500, "InternalFailure", words)),
        false => bytes(scripted::error(500, "ServerException", words)),
    }
}

fn denied(operation: &str) -> Vec<u8> {
    match is_github(operation) {
        true => plain(403, "application/json", "{\"message\":\"Resource not accessible by integration\"}"),
        false => {
            let who = "User: arn:aws:sts::111122223333:assumed-role/deploy/run";
            let message = format!("{who} is not authorized to perform: {operation} on resource: *");
            match operation.starts_with("sts:") {
                true => bytes(scripted::sts_error(403, "AccessDenied", &message)),
                false => bytes(scripted::error(400, "AccessDeniedException", &message)),
            }
        }
    }
}

fn refused(operation: &str, code: &str, message: &str) -> Vec<u8> {
    match operation.starts_with("sts:") {
        true => bytes(scripted::sts_error(400, code, message)),
        false => bytes(scripted::error(400, code, message)),
    }
}

fn bytes(answer: Answer) -> Vec<u8> {
    let Answer::Plain { status, content_type, body } = answer else { unreachable!("no other is played") };
    plain(status, content_type, &body)
}

fn plain(status: u16, content_type: &str, body: &str) -> Vec<u8> {
    (scripted::head(status, content_type, body.len()) + body).into_bytes()
}
