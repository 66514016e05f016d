//! The service between an agent and a client: a WebSocket, and what goes wrong on its way.

use super::{Session, Sessions};
use crate::behavior::ExecChannel;
use crate::credentials::{Credentials, SigningScope};
use crate::request::lock;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_websockets::{CloseCode, Message, ServerBuilder, WebSocketStream};

/// What a client's key is answered with.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// `GET /v1/data-channel/SESSION?role=publish_subscribe`, signed, to be upgraded.
pub(crate) fn respond(sessions: &Arc<Sessions>, credentials: &Credentials, head: Parts) -> Response {
    let get = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_websocket = get("upgrade").eq_ignore_ascii_case("websocket")
        && get("connection").to_ascii_lowercase().contains("upgrade")
        && get("sec-websocket-version") == "13";
    let key = get("sec-websocket-key").to_owned();
    if head.method != Method::GET || !is_websocket || key.is_empty() {
        return status(StatusCode::UPGRADE_REQUIRED);
    }
    // Plugins since 1.2.764.0 sign the upgrade, and AWS requires one of those.
    let is_signed = SigningScope::parse(&head.headers).is_some_and(|scope| scope.service == "ssmmessages");
    if !is_signed || credentials.caller(&head.headers).is_err() {
        return status(StatusCode::FORBIDDEN);
    }
    let id = head.uri.path().rsplit('/').next().unwrap_or_default();
    let Some(session) = sessions.find(id) else { return status(StatusCode::NOT_FOUND) };
    let faults = sessions.behavior.exec.clone();
    let upgrade = hyper::upgrade::on(Request::from_parts(head, ()));
    let life = tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = ServerBuilder::new().serve(TokioIo::new(upgraded));
        if let Some((code, why)) = carry(&session, &mut socket, &faults).await {
            let _ = socket.send(Message::close(CloseCode::try_from(code).ok(), why)).await;
        }
        // What a client that is gone would have had is dropped.
        session.outward.send_replace(None);
    });
    sessions.keep(life.abort_handle());
    let accept = base64::engine::general_purpose::STANDARD
        .encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes()));
    let mut response = status(StatusCode::SWITCHING_PROTOCOLS);
    for (name, value) in
        [(header::UPGRADE, "websocket"), (header::CONNECTION, "Upgrade"), (header::SEC_WEBSOCKET_ACCEPT, &accept)]
    {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn status(code: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}

/// Between the two, until one of them goes. How the service closes, if it does.
async fn carry(session: &Session, socket: &mut Socket, faults: &ExecChannel) -> Option<(u16, &'static str)> {
    let opening = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.ok()??.ok()?;
    let opening: Value = serde_json::from_str(opening.as_text()?).ok()?;
    let has = |name: &str| opening[name].as_str().is_some_and(|text| !text.is_empty());
    let is_complete = ["RequestId", "ClientId", "ClientVersion"].into_iter().all(has);
    if opening["MessageSchemaVersion"] != "1.0"
        || !is_complete
        || opening["TokenValue"] != lock(&session.token).as_str()
    {
        return Some((1008, "invalid token"));
    }
    let (sender, mut outward) = mpsc::channel::<Vec<u8>>(64);
    session.outward.send_replace(Some(sender));
    let mut weather = [Weather::default(), Weather::default()];
    loop {
        tokio::select! {
            message = outward.recv() => {
                let message = message?;
                if faults.cuts_now(message.len()) {
                    return Some((1000, "Bye"));
                }
                for message in weather[0].passes(message, faults.get().is_unreliable) {
                    socket.send(Message::binary(message)).await.ok()?;
                }
            }
            message = socket.next() => {
                let message = message?.ok()?;
                if message.is_close() {
                    return None;
                }
                if message.is_binary() {
                    let bytes: &[u8] = message.as_payload();
                    for message in weather[1].passes(bytes.to_vec(), faults.get().is_unreliable) {
                        session.inward.send(message).await.ok()?;
                    }
                }
            }
        }
    }
}

/// One direction: of each seven messages one is lost, one comes twice, and one comes after its successor.
#[derive(Default)]
struct Weather {
    count: u64,
    late: Option<Vec<u8>>,
}

impl Weather {
    fn passes(&mut self, message: Vec<u8>, is_bad: bool) -> Vec<Vec<u8>> {
        if !is_bad {
            return vec![message];
        }
        self.count += 1;
        match self.count % 7 {
            2 => vec![],
            4 => vec![message.clone(), message],
            5 => {
                self.late = Some(message);
                vec![]
            }
            _ => std::iter::once(message).chain(self.late.take()).collect(),
        }
    }
}
