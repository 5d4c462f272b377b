//! The server's connections: so many at a time, each for one order. Until it has said what it wants a client has a
//! short time; then it may wait for its answers as long as its runs take.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http_body_util::BodyExt;
use http_body_util::Limited;
use hyper::body::Body as _;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::event::Answers;
use crate::model::Ordered;
use crate::model::Reply;

/// The longest order in bytes; tags have at most 128.
const LONGEST_ORDER: usize = 4 * 1024;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most clients at a time; more wait in the kernel's queue.
const CLIENTS: usize = 64;
/// How long no connection is accepted after accepting one failed, which mostly means too many open files.
const PAUSE_AFTER_A_FAILURE: Duration = Duration::from_secs(1);

/// Serves until it is aborted.
pub async fn serve<T>(listener: UnixListener, take: T, journal: slog::Logger)
where
    T: Fn(Ordered, Answers) -> anyhow::Result<()> + Clone + Send + Sync + 'static,
{
    let router = Router::new().route("/orders", post(order::<T>)).with_state(take);
    let places = Arc::new(Semaphore::new(CLIENTS));
    let mut connections = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = serve_one(stream, router.clone(), journal.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                slog::warn!(journal, "control socket: accept a connection: {error}");
                timeout(PAUSE_AFTER_A_FAILURE, std::future::pending::<()>()).await.ok();
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_one(stream: UnixStream, router: Router, journal: slog::Logger) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        slog::debug!(journal, "control socket: connection broke off: {error}");
    }
}

async fn order<T>(State(take): State<T>, body: Body) -> Response
where
    T: Fn(Ordered, Answers) -> anyhow::Result<()>,
{
    // Who announces too much is told before it is sent.
    if body.size_hint().lower() > LONGEST_ORDER as u64 {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    let body = match timeout(PATIENCE, Limited::new(body, LONGEST_ORDER).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return (StatusCode::PAYLOAD_TOO_LARGE, error.to_string()).into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let ordered = match serde_json::from_slice(&body) {
        Ok(ordered) => ordered,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let (sender, replies) = mpsc::unbounded_channel();
    // Fails only when the client is gone, which does not matter.
    let answers = Answers::new(move |reply| drop(sender.send(reply)));
    match take(ordered, answers) {
        Ok(()) => Body::from_stream(lines(replies)).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}")).into_response(),
    }
}

/// Each answer as a line of JSON, until nobody has more to say.
fn lines(replies: mpsc::UnboundedReceiver<Reply>) -> impl stream::Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(replies, async |mut replies| {
        let reply = replies.recv().await?;
        // All that a reply is made of has a form in JSON.
        let mut line = serde_json::to_vec(&reply).unwrap_or_default();
        line.push(b'\n');
        Some((Ok(Bytes::from(line)), replies))
    })
}
