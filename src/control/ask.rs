//! The client: sends one order to a running agent and reads its answers.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use anyhow::bail;
use bytes::Bytes;
use http::Request;
use http::StatusCode;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::control::path;
use crate::model::Ordered;
use crate::model::Reply;

/// How long the first answer may take: the agent may have to ask GitHub and Docker Hub, page by page.
const FIRST_ANSWER: Duration = Duration::from_secs(180);

/// Why an agent cannot be asked. The sentences say what to do.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error(
        "no homeport service is running: nobody listens on {0}; start it (`systemctl start homeport`), then ask again"
    )]
    NoAgent(PathBuf),
    /// The socket is there and may not be opened.
    #[error(
        "this user may not open {0}: the agent takes orders from its own user and group alone, so use `sudo`, or \
         join the group (`usermod -aG homeport NAME`)"
    )]
    NotAllowed(PathBuf),
    /// It cannot be spoken to.
    #[error("ask the agent")]
    Broken(#[source] anyhow::Error),
}

/// The answers to an order, as they come.
#[derive(Debug)]
pub struct Replies {
    body: Incoming,
    read: Vec<u8>,
    is_first: bool,
}

/// Sends an order to the agent of a state folder.
///
/// # Errors
/// Nobody listens there, or this user may not ask.
pub async fn ask(state_dir: &Path, ordered: &Ordered) -> Result<Replies, AskError> {
    let path = path(state_dir);
    let stream = UnixStream::connect(&path).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NoAgent(path.clone()),
        io::ErrorKind::PermissionDenied => AskError::NotAllowed(path.clone()),
        _ => AskError::Broken(anyhow::Error::new(error).context(format!("connect to {}", path.display()))),
    })?;
    send(stream, ordered).await.map_err(AskError::Broken)
}

async fn send(stream: UnixStream, ordered: &Ordered) -> anyhow::Result<Replies> {
    let order = Full::new(Bytes::from(serde_json::to_vec(ordered)?));
    let request = Request::post("/orders").header("host", "homeport").body(order)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // How the connection ends is seen by who reads from it.
    tokio::spawn(async move { connection.await.ok() });
    let answer = timeout(FIRST_ANSWER, sender.send_request(request));
    let answer = answer.await.context("the agent does not answer")?.context("send the order")?;
    match answer.status() {
        StatusCode::OK => Ok(Replies { body: answer.into_body(), read: Vec::new(), is_first: true }),
        status => {
            let why = answer.into_body().collect().await?.to_bytes();
            bail!("the agent answered {status}: {}", String::from_utf8_lossy(&why));
        }
    }
}

impl Replies {
    /// The next answer; `None` when no more will come.
    ///
    /// # Errors
    /// The agent ended, or is of another version.
    pub async fn next(&mut self) -> anyhow::Result<Option<Reply>> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                self.is_first = false;
                let reply = serde_json::from_slice(&line);
                return reply.context("read the agent's answer: is it of the same version as this command?");
            }
            let frame = self.body.frame();
            let frame = match self.is_first {
                true => timeout(FIRST_ANSWER, frame).await.context("the agent does not answer")?,
                false => frame.await,
            };
            match frame {
                Some(frame) => {
                    let frame = frame.context("the agent has ended")?;
                    self.read.extend(frame.into_data().unwrap_or_default());
                }
                None => return Ok(None),
            }
        }
    }
}
