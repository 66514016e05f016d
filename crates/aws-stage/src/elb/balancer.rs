//! The listener of a target group: HTTP request by request, TCP connection by connection, to the healthy targets in
//! turn.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Weak;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::route::Route;
use super::{Elb, http};

/// Aborting the listener closes its connections too.
pub(super) async fn open(elb: Weak<Elb>, arn: String, is_http: bool) -> std::io::Result<(SocketAddr, AbortHandle)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let route = Route::new(elb, arn);
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

async fn pass(route: Route, mut client: TcpStream) {
    if let Ok(mut target) = route.connect().await {
        // How a connection ends is a matter of its two sides.
        let _ = copy_bidirectional(&mut client, &mut target).await;
    }
}
