//! A connection to the engine on which it speaks HTTP/2 from its first answer on: BuildKit is spoken to so, in both
//! directions.

use bollard::errors::Error as Bollard;
use bytes::Bytes;
use http::StatusCode;
use http::request::Builder as RequestBuilder;
use http_body_util::BodyExt;
use http_body_util::Empty;
use http_body_util::Limited;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::UnixStream;

/// The most that is read of a refusal.
const LONGEST_REFUSAL: usize = 16 * 1024;

/// Opens one with this request.
pub(super) async fn upgraded(host: &str, opening: RequestBuilder) -> Result<Upgraded, Bollard> {
    match host.strip_prefix("unix://") {
        Some(path) => upgrade(UnixStream::connect(path).await?, opening).await,
        None => {
            let address = host.trim_start_matches("tcp://").trim_end_matches('/');
            upgrade(TcpStream::connect(address).await?, opening).await
        }
    }
}

async fn upgrade(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    opening: RequestBuilder,
) -> Result<Upgraded, Bollard> {
    let request = opening
        .header("Host", "docker")
        .header("Connection", "Upgrade")
        .header("Upgrade", "h2c")
        .body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let asking = async move {
        let response = sender.send_request(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(hyper::upgrade::on(response).await?);
        }
        let status_code = response.status().as_u16();
        let body = Limited::new(response.into_body(), LONGEST_REFUSAL).collect().await;
        let message = body.map(|body| words(&body.to_bytes())).unwrap_or_default();
        Err(Bollard::DockerResponseServerError { status_code, message })
    };
    // Of a connection that fails, the request says it too.
    let (answer, _) = tokio::join!(asking, connection.with_upgrades());
    answer
}

/// What an engine says that refuses.
fn words(body: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = json.as_ref().and_then(|json| json.get("message")?.as_str());
    message.map_or_else(|| String::from_utf8_lossy(body).trim().to_owned(), str::to_owned)
}
