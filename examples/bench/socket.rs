//! One request straight over the engine's socket, without a client in between that could cost or add anything.

use std::path::PathBuf;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

/// Asks an engine, such as `GET /_ping`, and gives its whole answer.
///
/// # Errors
/// It cannot be reached, or breaks off.
pub async fn ask(host: &str, request: &str) -> std::io::Result<String> {
    let socket: PathBuf = host.trim_start_matches("unix://").into();
    let mut stream = UnixStream::connect(socket).await?;
    let request = format!("{request} HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
