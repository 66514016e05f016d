//! One HTTP connection of a client. Each request finds its own target, as at an Application Load Balancer: a client
//! that keeps its connection open does not stay with a target that drains.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, SERVER, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::route::{Route, Unreachable};

/// AWS's default `idle_timeout.timeout_seconds`; what a target takes longer for is answered with 504.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>
const IDLE: Duration = Duration::from_secs(60);

type Body = BoxBody<Bytes, hyper::Error>;

pub(super) async fn serve(route: Route, client: TcpStream, peer: SocketAddr, port: u16) {
    let service = service_fn(move |request| {
        let route = route.clone();
        async move {
            let response = forward(&route, request, peer, port).await;
            Ok::<_, Infallible>(response.unwrap_or_else(refusal))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(client), service);
    // A client may leave whenever it likes.
    let _ = connection.with_upgrades().await;
}

async fn forward(
    route: &Route,
    mut request: Request<Incoming>,
    peer: SocketAddr,
    port: u16,
) -> Result<Response<Body>, StatusCode> {
    let target = route.connect().await.map_err(|why| match why {
        Unreachable::NoTarget => StatusCode::SERVICE_UNAVAILABLE,
        Unreachable::Refused => StatusCode::BAD_GATEWAY,
    })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(target)).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    tokio::spawn(connection.with_upgrades());
    let upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
    if upgrade.is_none() {
        request.headers_mut().remove(CONNECTION);
    }
    *request.version_mut() = Version::HTTP_11;
    add_forwarding(&mut request, peer, port);
    let mut response = timeout(IDLE, sender.send_request(request))
        .await
        .map_err(|_| StatusCode::GATEWAY_TIMEOUT)?
        .map_err(|_| StatusCode::BAD_GATEWAY)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if let Some(client) = upgrade {
            let target = hyper::upgrade::on(&mut response);
            tokio::spawn(async move {
                if let (Ok(client), Ok(target)) = tokio::join!(client, target) {
                    let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(target)).await;
                }
            });
        }
    } else {
        response.headers_mut().remove(CONNECTION);
    }
    Ok(response.map(BodyExt::boxed))
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html>
fn add_forwarding(request: &mut Request<Incoming>, peer: SocketAddr, port: u16) {
    let forwarded_for = HeaderName::from_static("x-forwarded-for");
    let already = request.headers().get(&forwarded_for).and_then(|value| value.to_str().ok());
    let chain = already.map_or_else(|| peer.ip().to_string(), |already| format!("{already}, {}", peer.ip()));
    let headers = request.headers_mut();
    if let Ok(chain) = HeaderValue::from_str(&chain) {
        headers.insert(forwarded_for, chain);
    }
    headers.insert(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("http"));
    headers.insert(HeaderName::from_static("x-forwarded-port"), HeaderValue::from(port));
}

fn refusal(status: StatusCode) -> Response<Body> {
    let title = match status {
        StatusCode::SERVICE_UNAVAILABLE => "503 Service Temporarily Unavailable",
        StatusCode::GATEWAY_TIMEOUT => "504 Gateway Time-out",
        _ => "502 Bad Gateway",
    };
    let page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    let mut response = Response::new(Full::new(Bytes::from(page)).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(SERVER, HeaderValue::from_static("awselb/2.0"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}
