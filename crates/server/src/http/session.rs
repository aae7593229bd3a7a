//! One connection: requests in, files out, a line in the log for each.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper::{Request, Response, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_http::services::ServeDir;
use tower_http::services::fs::ServeFileSystemResponseBody as Body;

use super::service::HEAD_MAX;
use crate::Shutdown;

/// Serves `stream` until its peer or `shutdown` ends it. The stream is whatever carries bytes: a
/// TCP connection here, with TLS around it elsewhere.
pub(super) async fn run(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    files: ServeDir,
    mut shutdown: Shutdown,
) {
    let files = TowerToHyperService::new(files);
    let service = service_fn(|request| answer(files.clone(), request, peer));
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
        tracing::debug!(%peer, %error, "http: connection lost");
    }
}

async fn answer(
    files: TowerToHyperService<ServeDir>,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response<Body>, Infallible> {
    let start = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = files.call(request).await?;
    let length = response.headers().get(header::CONTENT_LENGTH);
    tracing::info!(
        "http: {peer} {method} {path} {} {} bytes, {:.1} ms",
        response.status().as_u16(),
        length
            .and_then(|length| length.to_str().ok())
            .unwrap_or("0"),
        start.elapsed().as_secs_f64() * 1000.0,
    );
    Ok(response)
}
