//! The proxy before the registry: hands every request on, streamed both ways, records it, counts the manifests
//! that were taken, and refuses or delays on demand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::extract::Request;
use axum::http::Method;
use axum::response::Response;
use serde_json::json;

use crate::world::answer;
use crate::world::requests::Faults;
use crate::world::requests::RequestLog;
use crate::world::wire::Connection;

/// What can be wrong with the registry.
#[derive(Debug, Clone)]
pub enum Fault {
    /// No upload of a layer or config begins: this status.
    RefuseUpload(u16),
    /// Layers go up, the manifest is refused: this status.
    RefuseManifest(u16),
    /// Nothing can be pulled: this status. 429 is Docker Hub's pull limit.
    RefusePull(u16),
    /// The manifest is taken and stored, but the connection ends before the answer.
    CutAfterManifest,
    /// The connection ends without an answer.
    Down,
    /// Each request waits so long before it is handed on.
    Delay(Duration),
    /// Each request waits for ever.
    HangForever,
}

/// A manifest that was pushed and taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// The image, without registry and tag.
    pub name: String,
    /// The tag, or the digest of a part of an index.
    pub reference: String,
    /// The manifest's digest.
    pub digest: String,
}

/// What the proxy knows.
pub struct Shared {
    inner: SocketAddr,
    client: reqwest::Client,
    pub(super) requests: RequestLog,
    pub(super) faults: Faults<Fault>,
    pub(super) pushes: Mutex<Vec<Push>>,
}

impl Shared {
    /// A proxy before the registry at `inner`.
    pub fn new(inner: SocketAddr, client: reqwest::Client) -> Self {
        let (requests, faults) = (RequestLog::new(), Faults::new());
        Self { inner, client, requests, faults, pushes: Mutex::default() }
    }
}

/// The proxy as a service.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(move |ConnectInfo(connection): ConnectInfo<Connection>, request: Request| {
        respond(Arc::clone(&shared), connection, request)
    })
}

async fn respond(shared: Arc<Shared>, connection: Connection, request: Request) -> Response {
    let method = request.method().clone();
    let path = request.uri().path_and_query().map_or("/", |all| all.as_str()).to_owned();
    let number = shared.requests.enter(&method, &path, request.headers());
    let fault = shared.faults.take_if(&path, |fault| fault.can_hit(&method, &path));
    let response = match fault {
        None => hand_on(&shared, &path, request).await,
        Some(Fault::RefuseUpload(status) | Fault::RefuseManifest(status) | Fault::RefusePull(status)) => {
            refusal(status, &path)
        }
        Some(Fault::CutAfterManifest) => {
            hand_on(&shared, &path, request).await;
            return answer::cut(&connection);
        }
        Some(Fault::Down) => return answer::cut(&connection),
        Some(Fault::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            hand_on(&shared, &path, request).await
        }
        Some(Fault::HangForever) => answer::hang().await,
    };
    shared.requests.answered(number, response.status().as_u16());
    response
}

impl Fault {
    fn can_hit(&self, method: &Method, path: &str) -> bool {
        let is_read = method == Method::GET || method == Method::HEAD;
        match self {
            Self::RefuseUpload(_) => method == Method::POST && path.contains("/blobs/uploads"),
            Self::RefuseManifest(_) | Self::CutAfterManifest => {
                method == Method::PUT && path.contains("/manifests/")
            }
            Self::RefusePull(_) => is_read && path.contains("/manifests/"),
            Self::Down | Self::Delay(_) | Self::HangForever => true,
        }
    }
}

async fn hand_on(shared: &Shared, path: &str, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let has_body =
        ["content-length", "transfer-encoding"].iter().any(|name| parts.headers.contains_key(*name));
    let mut onward = shared
        .client
        .request(parts.method.clone(), format!("http://{}{path}", shared.inner))
        .headers(parts.headers);
    if has_body {
        onward = onward.body(reqwest::Body::wrap_stream(body.into_data_stream()));
    }
    let inner = match onward.send().await {
        Ok(inner) => inner,
        Err(error) => return answer::text(502, "text/plain", error.to_string()),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = inner.status();
    *response.headers_mut() = inner.headers().clone();
    if parts.method == Method::PUT && inner.status().is_success() {
        shared.note_push(path, inner.headers());
    }
    *response.body_mut() = Body::from_stream(inner.bytes_stream());
    response
}

impl Shared {
    fn note_push(&self, path: &str, headers: &reqwest::header::HeaderMap) {
        let Some((name, reference)) =
            path.strip_prefix("/v2/").and_then(|rest| rest.split_once("/manifests/"))
        else {
            return;
        };
        let digest = headers.get("docker-content-digest").and_then(|value| value.to_str().ok());
        self.pushes.lock().unwrap().push(Push {
            name: name.to_owned(),
            reference: reference.to_owned(),
            digest: digest.unwrap_or_default().to_owned(),
        });
    }
}

fn refusal(status: u16, path: &str) -> Response {
    let (code, message) = match status {
        401 => ("UNAUTHORIZED", "authentication required"),
        403 => ("DENIED", "requested access to the resource is denied"),
        404 => ("MANIFEST_UNKNOWN", "manifest unknown"),
        429 => ("TOOMANYREQUESTS", "You have reached your pull rate limit."),
        _ => ("UNKNOWN", "unknown error"),
    };
    let name = path.trim_start_matches("/v2/").split(['/', '?']).take(2).collect::<Vec<_>>().join("/");
    // Docker takes an error without a detail for a passing one and tries for 50 s.
    let detail = json!([{"Type": "repository", "Name": name, "Action": "push"}]);
    answer::json(status, &json!({"errors": [{"code": code, "message": message, "detail": detail}]}))
}
