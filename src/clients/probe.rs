//! Whether a container answers: one HTTP request or one TCP connection, through reqwest and tokio. Takes an
//! address and a limit; gives the status, or why there was none in words for a person. Must not judge a
//! status, repeat anything or wait between samples.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use http::header::HOST;
use reqwest::Client;
use tokio::net::TcpStream;

use crate::clients::clock::Clock;
use crate::clients::http_client;

/// The most of a body, in bytes, and the longest that is waited for it: enough that a server does not log a
/// broken pipe for a small page, and a stream without an end holds nobody.
const DISCARDED: usize = 64 << 10;
const DISCARD_LIMIT: Duration = Duration::from_millis(250);

/// Asks containers whether they answer.
#[derive(Clone)]
pub struct Probe {
    http: Client,
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NoAnswer {
    /// In words, such as `Connection refused (os error 111)`.
    pub reason: String,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Probe")
    }
}

impl Probe {
    /// A prober.
    ///
    /// # Errors
    /// If the HTTP client cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { http: http_client::open_local()? })
    }

    /// Sends `GET path` and gives the status, of whatever kind; a redirect is an answer and is not followed.
    /// The `Host` is `localhost`, which web frameworks allow where they refuse a bare address.
    ///
    /// # Errors
    /// [`NoAnswer`] if no status came within `limit`.
    pub async fn http(&self, address: SocketAddr, path: &str, limit: Duration) -> Result<u16, NoAnswer> {
        let request = self.http.get(format!("http://{address}{path}")).header(HOST, "localhost");
        let mut response = Clock::within(limit, request.send())
            .await
            .map_err(|_| too_slow(limit))?
            .map_err(|cause| NoAnswer { reason: innermost(&cause) })?;
        let discard = async {
            let mut read = 0;
            while let Ok(Some(chunk)) = response.chunk().await {
                read += chunk.len();
                if read > DISCARDED {
                    break;
                }
            }
        };
        // The status is the answer; how the body ends does not matter.
        Clock::within(DISCARD_LIMIT.min(limit), discard).await.ok();
        Ok(response.status().as_u16())
    }

    /// Opens a connection and closes it.
    ///
    /// # Errors
    /// [`NoAnswer`] if none came about within `limit`.
    pub async fn tcp(&self, address: SocketAddr, limit: Duration) -> Result<(), NoAnswer> {
        match Clock::within(limit, TcpStream::connect(address)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(cause)) => Err(NoAnswer { reason: cause.to_string() }),
            Err(_) => Err(too_slow(limit)),
        }
    }
}

fn too_slow(limit: Duration) -> NoAnswer {
    NoAnswer { reason: format!("no answer within {limit:?}") }
}

/// The end of the chain of causes: reqwest's own words say only that a request failed.
fn innermost(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => innermost(cause),
        None => error.to_string(),
    }
}
