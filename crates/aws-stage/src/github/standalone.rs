//! GitHub without the rest of the stage, for tests that need no AWS and no Docker Engine.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

use super::GitHub;
use crate::call_log::{CallLog, CallRecord};
use crate::faults::ConnectionDropped;
use crate::faults::{FaultPlan, Faults};

/// Larger than any body that GitHub takes.
const LARGEST_REQUEST: usize = 4 * 1024 * 1024;

/// GitHub on a port of the loopback interface, until it is dropped.
#[derive(Debug)]
pub struct Standalone {
    played: Arc<Played>,
    address: SocketAddr,
    server: AbortHandle,
}

#[derive(Debug)]
struct Played {
    github: GitHub,
    faults: Faults,
    call_log: CallLog,
}

impl Standalone {
    /// Starts listening on any free port.
    ///
    /// # Errors
    /// There is none.
    pub async fn start(github: GitHub) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let played = Arc::new(Played { github, faults: Faults::default(), call_log: CallLog::default() });
        let server = tokio::spawn(serve(played.clone(), listener)).abort_handle();
        Ok(Self { played, address, server })
    }

    /// `http://127.0.0.1:PORT`, the address of an API like github.com's.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What is behind the API.
    #[must_use]
    pub fn github(&self) -> &GitHub {
        &self.played.github
    }

    /// Replaces the rules of what goes wrong.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.played.faults.set(plan);
    }

    /// Every request, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<CallRecord> {
        self.played.call_log.calls()
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(played: Arc<Played>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let played = played.clone();
        connections.spawn(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let played = played.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body =
                        axum::body::to_bytes(Body::new(body), LARGEST_REQUEST).await.map_err(|_| ConnectionDropped)?;
                    let Played { github, faults, call_log } = played.as_ref();
                    github.respond("", &head, &body, faults, call_log).await
                }
            });
            // A client that hangs up, or a fault that does, ends its own connection only.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
