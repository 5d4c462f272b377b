//! Git over HTTP: `git http-backend` as a CGI child, streamed both ways. Takes a request to a repository's git
//! address, gives what git says; a private repository wants the token as Basic password.

use std::process::Stdio;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::process::ChildStdin;
use tokio::process::ChildStdout;
use tokio::process::Command;
use tokio_util::io::ReaderStream;

use super::Shared;
use crate::world::answer;
use crate::world::github::account::Access;
use crate::world::repository::scrubbed_git;

/// The repository and the service that a path names.
pub struct Target {
    name: String,
    service: String,
}

impl Target {
    /// Reads `/OWNER/NAME[.git]/SERVICE`; `None` if it is no address of git's.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.splitn(3, '/');
        let (owner, name, service) = (parts.next()?, parts.next()?, parts.next()?);
        let is_known = ["info/refs", "git-upload-pack", "git-receive-pack"].contains(&service);
        let name = name.strip_suffix(".git").unwrap_or(name);
        is_known.then(|| Self { name: format!("{owner}/{name}"), service: service.to_owned() })
    }
}

/// Lets git answer.
pub async fn answer(shared: &Arc<Shared>, target: Target, request: Request) -> Response {
    if let Some(now) = shared.moved_to(&target.name) {
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut response = answer::text(301, "text/html", "");
        answer::set(&mut response, "location", &format!("/{now}.git/{}{query}", target.service));
        return response;
    }
    let access = shared.account.access(basic_password(request.headers()).as_deref());
    let is_hidden = shared.is_private(&target.name) || shared.directory(&target.name).is_none();
    let may_write = target.service != "git-receive-pack" || matches!(access, Access::Token);
    if matches!(access, Access::Refused) || !may_write || (is_hidden && matches!(access, Access::Anonymous)) {
        let mut response = answer::text(401, "text/plain", "Repository not found.");
        answer::set(&mut response, "www-authenticate", "Basic realm=\"GitHub\"");
        return response;
    }
    if shared.directory(&target.name).is_none() {
        return answer::text(404, "text/plain", "Repository not found.");
    }
    run_backend(shared, &target, request).await
}

async fn run_backend(shared: &Shared, target: &Target, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let mut command = Command::from(scrubbed_git());
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &shared.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "octocat")
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", format!("/{}.git/{}", target.name, target.service))
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default());
    let variables = [
        ("CONTENT_TYPE", "content-type"),
        ("CONTENT_LENGTH", "content-length"),
        ("HTTP_CONTENT_ENCODING", "content-encoding"),
        ("GIT_PROTOCOL", "git-protocol"),
    ];
    for (variable, name) in variables {
        if let Some(value) = header(name) {
            command.env(variable, value);
        }
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("start git http-backend");
    let input = child.stdin.take().expect("stdin is piped");
    let output = child.stdout.take().expect("stdout is piped");
    tokio::spawn(feed(input, body));
    let response = read_cgi(BufReader::new(output)).await;
    tokio::spawn(async move { child.wait().await.ok() });
    response
}

async fn feed(mut input: ChildStdin, body: Body) {
    let mut pieces = body.into_data_stream();
    while let Some(Ok(piece)) = pieces.next().await {
        if input.write_all(&piece).await.is_err() {
            return;
        }
    }
}

async fn read_cgi(mut output: BufReader<ChildStdout>) -> Response {
    let mut response = answer::text(200, "text/plain", "");
    loop {
        let mut line = String::new();
        output.read_line(&mut line).await.ok();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        if name == "Status" {
            let status = value.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(500);
            response = answer::text(status, "text/plain", "");
        } else {
            answer::set(&mut response, name, value);
        }
    }
    // The child's end is the body's end: it writes a length only for files.
    *response.body_mut() = Body::from_stream(ReaderStream::new(output.take(u64::MAX)));
    response
}

fn basic_password(headers: &HeaderMap) -> Option<String> {
    let encoded = headers.get("authorization")?.to_str().ok()?.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    Some(decoded.split_once(':')?.1.to_owned())
}
