//! Answers of simulated services and what can go wrong while they are sent: made of plain values, knowing no service.

use std::time::Duration;

use axum::body::Body;
use axum::body::Bytes;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;

use crate::world::wire::Connection;

const WHOLE: usize = usize::MAX;

/// A JSON answer.
pub fn json(status: u16, body: &Value) -> Response {
    text(status, "application/json; charset=utf-8", body.to_string())
}

/// An answer with any body.
pub fn text(status: u16, content_type: &str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status of three digits");
    set(&mut response, CONTENT_TYPE.as_str(), content_type);
    response
}

/// An error page of a proxy in between: HTML where JSON was asked for.
pub fn html(status: u16) -> Response {
    let reason =
        StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason()).unwrap_or("Error");
    let page =
        format!("<html><head><title>{status} {reason}</title></head><body><h1>{reason}</h1></body></html>");
    text(status, "text/html", page)
}

/// Sets a header of an answer.
pub fn set(response: &mut Response, name: &str, value: &str) {
    let name = HeaderName::try_from(name).expect("a header name");
    response.headers_mut().insert(name, HeaderValue::from_str(value).expect("a header value"));
}

/// No answer: the connection ends.
pub fn cut(connection: &Connection) -> Response {
    connection.cut();
    text(500, "text/plain", "")
}

/// No answer, ever; the connection stays.
pub async fn hang() -> Response {
    std::future::pending().await
}

/// The first half of the body under the length of the whole, then the connection ends.
pub async fn half(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, WHOLE).await.expect("read an answer of our own");
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(whole.len()));
    let first = whole.slice(..whole.len() / 2);
    let cut = stream::once(async {
        // hyper flushes what it has only when the body keeps it waiting.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    Response::from_parts(parts, Body::from_stream(stream::once(async { Ok(first) }).chain(cut)))
}

/// The whole body in pieces of eight bytes, with a pause before each.
pub async fn slow(response: Response, pause: Duration) -> Response {
    let (parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, WHOLE).await.expect("read an answer of our own");
    let pieces: Vec<Bytes> = whole.chunks(8).map(Bytes::copy_from_slice).collect();
    let paced = stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, std::io::Error>(piece)
    });
    Response::from_parts(parts, Body::from_stream(paced))
}
