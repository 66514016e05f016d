//! The listener of a target group: HTTP request by request, TCP connection by connection, to the healthy targets in
//! turn.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::{Elb, http};

/// Where requests of one group go.
#[derive(Clone)]
pub(super) struct Route {
    elb: Weak<Elb>,
    arn: String,
    turn: Arc<AtomicUsize>,
}

/// Aborting the listener closes its connections too.
pub(super) async fn open(elb: Weak<Elb>, arn: String, is_http: bool) -> std::io::Result<(SocketAddr, AbortHandle)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let route = Route { elb, arn, turn: Arc::default() };
    let serving = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, peer)) = listener.accept().await {
            while connections.try_join_next().is_some() {}
            let route = route.clone();
            if is_http {
                connections.spawn(http::serve(route, client, peer, address.port()));
            } else {
                connections.spawn(pass(route, client));
            }
        }
    });
    Ok((address, serving.abort_handle()))
}

impl Route {
    /// Connects to the next healthy target; one can have died since its last check, so the others are tried too.
    pub(super) async fn connect(&self) -> Result<TcpStream, Unreachable> {
        let targets = self.elb.upgrade().map(|elb| elb.healthy(&self.arn)).unwrap_or_default();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        for at in 0..targets.len() {
            if let Ok(target) = TcpStream::connect(targets[turn.wrapping_add(at) % targets.len()]).await {
                return Ok(target);
            }
        }
        Err(if targets.is_empty() { Unreachable::NoTarget } else { Unreachable::Refused })
    }
}

/// Why no target has the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreachable {
    /// None is healthy.
    NoTarget,
    /// All of the healthy ones refused the connection.
    Refused,
}

async fn pass(route: Route, mut client: TcpStream) {
    if let Ok(mut target) = route.connect().await {
        // How a connection ends is a matter of its two sides.
        let _ = copy_bidirectional(&mut client, &mut target).await;
    }
}
