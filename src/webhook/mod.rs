//! The optional endpoint for GitHub's push webhook: `POST /webhook` → a nudge to poll now.
//!
//! Takes a listener, the shared secret and the watched branches; calls `nudge` for each watched branch that a
//! genuine delivery says has moved. A nudge is a hint: what the branch's head really is, the poll asks GitHub.
//! Nothing else follows from a delivery, and nothing at all from one without a valid signature.
//!
//! | what comes | answer |
//! |---|---|
//! | push to a watched branch | 202, nudged; 503 if the agent could not take the nudge, and it may be repeated |
//! | the same delivery again, ping, anything genuine that concerns nobody | 200, ignored |
//! | signature missing, malformed or wrong | 401 |
//! | genuine, but not one of the two content types / not a payload | 415 / 400 |
//! | larger than the limit | 413 |
//! | another path / another method | 404 / 405 |
//!
//! GitHub counts a delivery as failed after ten seconds, never repeats it by itself, and caps it at 25 MB.

pub mod delivery;
mod seen;
mod server;
pub mod signature;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::HeaderMap;
use http::Request;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use secrecy::SecretString;
use slog::Logger;
use slog::debug;
use slog::info;
use slog::warn;
use tokio::net::TcpListener;

use crate::webhook::delivery::Meaning;
use crate::webhook::delivery::Unreadable;
pub use crate::webhook::delivery::Watched;
use crate::webhook::seen::Seen;
use crate::webhook::signature::Signature;

/// The most that GitHub sends; a body is read up to here, so that its sender gets an answer.
const GITHUB_CAP: usize = 25 * 1024 * 1024;

/// What the endpoint must know.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// What signs the deliveries.
    pub secret: SecretString,
    /// The branches to listen for.
    pub watched: Vec<Watched>,
    /// What a stranger may use of this machine.
    pub limits: Limits,
}

/// What a stranger may use of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest body in bytes that is kept in memory.
    pub body: usize,
    /// The most connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// The longest life of a connection, from its first byte to its last. Each serves one request.
    pub connection_life: Duration,
    /// How long answers under way may take once the endpoint is to end.
    pub farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1024 * 1024,
            connections: 16,
            connection_life: Duration::from_secs(10),
            farewell: Duration::from_secs(1),
        }
    }
}

/// Serves the endpoint until `shutdown` is done. `nudge` is called on the connection's task and must return at
/// once; if it fails, GitHub gets 503 and the delivery may be repeated.
pub async fn serve<N>(
    listener: TcpListener,
    endpoint: Endpoint,
    nudge: N,
    shutdown: impl Future<Output = ()>,
    log: Logger,
) where
    N: Fn(&Watched) -> anyhow::Result<()> + Send + Sync + 'static,
{
    let limits = endpoint.limits;
    let desk = Desk { endpoint, nudge, seen: Mutex::default(), refused: AtomicU64::new(0), log: log.clone() };
    let router = Router::new().route("/webhook", post(receive::<N>)).with_state(Arc::new(desk));
    server::serve_connections(listener, router, limits, shutdown, &log).await;
}

/// What all requests share.
struct Desk<N> {
    endpoint: Endpoint,
    nudge: N,
    seen: Mutex<Seen>,
    /// Requests without a valid signature so far.
    refused: AtomicU64,
    log: Logger,
}

/// A status and a line for the owner, who reads it in the hook's settings on GitHub.
type Answer = (StatusCode, String);

async fn receive<N>(State(desk): State<Arc<Desk<N>>>, request: Request<Body>) -> Answer
where
    N: Fn(&Watched) -> anyhow::Result<()> + Send + Sync + 'static,
{
    let (head, body) = request.into_parts();
    let body = match read_body(body, desk.endpoint.limits.body).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let claimed = only_value(&head.headers, "x-hub-signature-256").unwrap_or_default();
    match signature::verify(&desk.endpoint.secret, &body, claimed) {
        Signature::Wrong => desk.refuse(),
        Signature::Genuine => desk.handle(&head.headers, &body),
    }
}

impl<N: Fn(&Watched) -> anyhow::Result<()>> Desk<N> {
    fn refuse(&self) -> Answer {
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        // Whoever scans the network must not be able to fill the log.
        if refused.is_power_of_two() {
            warn!(self.log, "webhook: request without a valid signature refused; if it was GitHub's, the secret \
                in the hook's settings is not the configured one"; "refused" => refused);
        }
        (StatusCode::UNAUTHORIZED, "the signature is missing or wrong".to_owned())
    }

    fn handle(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let Some(event) = only_value(headers, "x-github-event") else {
            return (StatusCode::BAD_REQUEST, "X-GitHub-Event is missing".to_owned());
        };
        let content_type = only_value(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        match delivery::interpret(event, content_type, body, &self.endpoint.watched) {
            Ok(Meaning::Moved(moved)) => {
                self.act(only_value(headers, "x-github-delivery").unwrap_or_default(), &moved)
            }
            Ok(Meaning::Ping) => {
                info!(self.log, "webhook: GitHub's ping arrived");
                (StatusCode::OK, "the webhook works".to_owned())
            }
            Ok(Meaning::Nothing(why)) => {
                debug!(self.log, "webhook: ignored: {why}");
                (StatusCode::OK, format!("ignored: {why}"))
            }
            Err(problem) => {
                warn!(self.log, "webhook: delivery not understood: {problem}");
                let status = match problem {
                    Unreadable::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    Unreadable::Payload(_) => StatusCode::BAD_REQUEST,
                };
                (status, problem.to_string())
            }
        }
    }

    fn act(&self, delivery: &str, moved: &[Watched]) -> Answer {
        // Held over the nudge, so that of two equal deliveries at the same time one waits and is then ignored.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(delivery) {
            debug!(self.log, "webhook: delivery was already acted on"; "delivery" => delivery);
            return (StatusCode::OK, "ignored: this delivery was already acted on".to_owned());
        }
        for watched in moved {
            if let Err(problem) = (self.nudge)(watched) {
                warn!(self.log, "webhook: the agent did not take the nudge: {problem:#}");
                return (StatusCode::SERVICE_UNAVAILABLE, "the agent is not listening".to_owned());
            }
            info!(self.log, "webhook: push, polling now";
                "repository" => watched.repository.as_str(), "followed" => watched.followed.to_string());
        }
        seen.remember(delivery);
        (StatusCode::ACCEPTED, "polling now".to_owned())
    }
}

/// The value of a header that must occur once; twice would let a sender choose which one is believed.
fn only_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.to_str().ok()).flatten()
}

/// Reads a body of at most `limit` bytes. What is beyond is dropped as it arrives: answering at once would
/// reset the connection, and the sender would see that instead of the answer.
async fn read_body(mut body: Body, limit: usize) -> Result<Vec<u8>, Answer> {
    let mut kept = Vec::new();
    let mut size = 0_usize;
    while let Some(frame) = body.frame().await {
        let broken = |_| (StatusCode::BAD_REQUEST, "the body broke off".to_owned());
        let data = frame.map_err(broken)?.into_data().unwrap_or_else(|_trailers| Bytes::new());
        size = size.saturating_add(data.len());
        if size > GITHUB_CAP {
            break;
        }
        if size <= limit {
            kept.extend_from_slice(&data);
        }
    }
    if size > limit {
        let text = format!("larger than {limit} bytes; the next poll will see the commit");
        return Err((StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    Ok(kept)
}
