//! A load balancer: each connection goes to one of the healthy targets, in turn.

use super::Elb;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

pub(super) async fn open(elb: Arc<Elb>, arn: String) -> std::io::Result<(SocketAddr, AbortHandle)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(async move {
        let mut turn = 0_usize;
        while let Ok((client, _)) = listener.accept().await {
            turn = turn.wrapping_add(1);
            tokio::spawn(serve(elb.clone(), arn.clone(), client, turn));
        }
    });
    Ok((address, serving.abort_handle()))
}

/// The targets are tried in turn: one can have died since its last check.
async fn serve(elb: Arc<Elb>, arn: String, mut client: TcpStream, turn: usize) {
    let targets = elb.healthy(&arn);
    for at in 0..targets.len() {
        if let Ok(mut target) = TcpStream::connect(targets[(turn + at) % targets.len()]).await {
            let _ = copy_bidirectional(&mut client, &mut target).await;
            return;
        }
    }
    // The request is read first, or the answer could be lost with the reset of the connection.
    let mut request = [0_u8; 4096];
    let _ = client.read(&mut request).await;
    let answer = "HTTP/1.1 503 Service Temporarily Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let _ = client.write_all(answer.as_bytes()).await;
}
