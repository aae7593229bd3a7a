//! One connection: requests in, files out, a line in the log for each.

use std::convert::Infallible;
use std::time::Instant;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper::{Request, Response, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_http::services::fs::ServeFileSystemResponseBody;

use super::identity::Peer;
use super::script;
use super::service::{HEAD_MAX, Site};
use crate::Shutdown;

type Body = Either<ServeFileSystemResponseBody, Full<Bytes>>;

/// Serves `stream` until its peer or `shutdown` ends it. The stream is whatever carries bytes: a
/// TCP connection, or TLS around it.
pub(super) async fn run(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    site: Site,
    mut shutdown: Shutdown,
) {
    let service = service_fn(|request| answer(&site, request, &peer));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = shutdown.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("{}: {peer}: connection lost: {error}", peer.scheme);
    }
}

async fn answer(
    site: &Site,
    request: Request<Incoming>,
    peer: &Peer,
) -> Result<Response<Body>, Infallible> {
    let start = Instant::now();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = match script::answer(&site.root, &method, &uri, peer).await {
        Some(response) => response.map(Either::Right),
        None => {
            let files = TowerToHyperService::new(site.files.clone());
            files.call(request).await?.map(Either::Left)
        }
    };
    let length = response.headers().get(header::CONTENT_LENGTH);
    tracing::info!(
        "{}: {peer} {method} {} {} {} bytes, {:.1} ms",
        peer.scheme,
        uri.path(),
        response.status().as_u16(),
        length
            .and_then(|length| length.to_str().ok())
            .unwrap_or("0"),
        start.elapsed().as_secs_f64() * 1000.0,
    );
    Ok(response)
}
