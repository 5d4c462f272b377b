//! BuildKit's own interface, which the engine passes on to it: a build over it can be told what the engine's `/build`
//! has no word for.
//!
//! Takes a connection that speaks it and what is to be solved, gives the id of the image, and the progress as it comes.
//! The connection is the build's own: dropping the future closes it, on which the engine stops building.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;

use bollard::errors::Error as Bollard;
use bollard::moby::buildkit::v1::CacheOptions;
use bollard::moby::buildkit::v1::CacheOptionsEntry;
use bollard::moby::buildkit::v1::SolveRequest;
use bollard::moby::buildkit::v1::StatusRequest;
use bollard::moby::buildkit::v1::StatusResponse;
use bollard::moby::buildkit::v1::control_client::ControlClient;
use http::Request as HttpRequest;
use http::Response as HttpResponse;
use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::client::conn::http2::SendRequest;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioExecutor;
use tonic::Code;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::codegen::Service;

use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::clients::docker::build::BuildRequest;
use crate::clients::docker::error::Attempt;
use crate::clients::docker::h2c::upgraded;
use crate::clients::docker::within;
use crate::fault_point::Effect;

/// Where the engine has it; without a version in its path, so that every engine takes it.
const PATH: &str = "/grpc";
/// The most that is read of a failure: BuildKit's come with the call stacks of all that was involved.
const LONGEST_FAILURE: u32 = 4 * 1024 * 1024;

/// A connection to BuildKit.
pub(super) struct Control(Upgraded);

impl Docker {
    /// Opens a connection for one build.
    pub(super) async fn open_control(
        &self,
        _effect: &Effect,
        attempt: &Attempt<'_>,
    ) -> Result<Control, DockerError> {
        let opening = HttpRequest::post(PATH);
        within(attempt, self.patience, Box::pin(upgraded(&self.host, opening))).await.map(Control)
    }
}

impl Control {
    /// Builds what is asked for; `each` is given the progress. The id of the image, if BuildKit says it.
    pub(super) async fn solve(
        self,
        request: SolveRequest,
        each: impl FnMut(StatusResponse),
    ) -> Result<Option<String>, Bollard> {
        let mut settings = http2::Builder::new(TokioExecutor::new());
        settings.max_header_list_size(LONGEST_FAILURE);
        let (sender, connection) = settings.handshake(self.0).await?;
        let (mut work, mut connection) = (pin!(run(sender, request, each)), pin!(connection));
        tokio::select! {
            solved = &mut work => solved,
            // What waits for an answer is told of a broken connection, too.
            _ = &mut connection => work.await,
        }
    }
}

async fn run(
    sender: SendRequest<Body>,
    request: SolveRequest,
    mut each: impl FnMut(StatusResponse),
) -> Result<Option<String>, Bollard> {
    let mut solver = ControlClient::with_origin(Channel(sender), Uri::from_static("http://docker"));
    let mut watcher = solver.clone();
    let status = StatusRequest { r#ref: request.r#ref.clone() };
    let solving = async { solver.solve(request).await };
    let watching = async {
        let mut progress = watcher.status(status).await?.into_inner();
        while let Some(message) = progress.message().await? {
            each(message);
        }
        Ok::<(), Status>(())
    };
    // It ends with the build. Where it fails by itself, only lines of the log are lost.
    let (solved, _) = tokio::join!(solving, watching);
    let mut answer = solved.map_err(failure)?.into_inner();
    Ok(answer.exporter_response.remove("containerimage.digest"))
}

/// BuildKit's own words, or what became of the connection.
fn failure(status: Status) -> Bollard {
    let is_transport = std::error::Error::source(&status).is_some();
    // An engine without BuildKit's interface; what a builder named by a `# syntax` line lacks is that line's fault.
    let is_unknown = status.code() == Code::Unimplemented && status.message().starts_with("unknown ");
    if is_transport || is_unknown {
        return Bollard::IOError { err: std::io::Error::other(status) };
    }
    Bollard::DockerStreamError { error: status.message().to_owned() }
}

/// What BuildKit is to do; the session that has the files is still to be named.
pub(super) fn solve_request(request: &BuildRequest<'_>, is_without_cache: bool) -> SolveRequest {
    let mut attributes = HashMap::from([("filename".to_owned(), request.dockerfile.to_owned())]);
    let mut set = |key: &str, value: &str| attributes.insert(key.to_owned(), value.to_owned());
    for (name, value) in request.args {
        set(&format!("build-arg:{name}"), value);
    }
    for (name, value) in request.labels {
        set(&format!("label:{name}"), value);
    }
    if let Some(target) = request.target {
        set("target", target);
    }
    if let Some(platform) = request.platform {
        set("platform", &platform.to_string());
    }
    if is_without_cache {
        set("no-cache", "");
    }
    if let Some(parent) = request.cgroup_parent {
        set("cgroup-parent", parent);
    }
    if !request.has_network {
        set("force-network-mode", "none");
    }
    SolveRequest {
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: attributes,
        // Into the engine's own images; the name of this field is known to every BuildKit.
        exporter_deprecated: "moby".to_owned(),
        cache: Some(CacheOptions { exports: inline_cache(request.args), ..CacheOptions::default() }),
        ..SolveRequest::default()
    }
}

/// An image that tells others' builds what it was built from, if the well-known argument asks for it. BuildKit leaves that
/// to its clients.
fn inline_cache(args: &BTreeMap<String, String>) -> Vec<CacheOptionsEntry> {
    let is_wanted = args
        .get("BUILDKIT_INLINE_CACHE")
        .is_some_and(|value| ["1", "t", "true"].contains(&value.to_ascii_lowercase().as_str()));
    let inline = CacheOptionsEntry { r#type: "inline".to_owned(), ..CacheOptionsEntry::default() };
    if is_wanted { vec![inline] } else { Vec::new() }
}

/// Sends the calls of a generated client over one connection.
#[derive(Clone)]
struct Channel(SendRequest<Body>);

impl Service<HttpRequest<Body>> for Channel {
    type Response = HttpResponse<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
