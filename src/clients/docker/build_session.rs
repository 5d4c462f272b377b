//! The session of a BuildKit build: over it the engine asks for the files it is built from, and in the middle of the
//! build for what a line `RUN --mount=type=secret` names and for the login of a base image's registry.
//!
//! Takes what may be asked for, gives a connection that answers as long as it is polled; dropping it ends the session.
//! The engine is the client on it (gRPC over HTTP/2), we are the server. bollard has such sessions too, but has
//! no files to give, gives secrets only on a path that holds the whole context in memory, and never closes one. What is
//! asked for is never logged.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bollard::health::HealthCheckRequest;
use bollard::health::HealthCheckResponse;
use bollard::health::HealthListRequest;
use bollard::health::HealthListResponse;
use bollard::health::health_check_response::ServingStatus;
use bollard::health::health_server::Health;
use bollard::health::health_server::HealthServer;
use bollard::moby::buildkit::secrets::v1::GetSecretRequest;
use bollard::moby::buildkit::secrets::v1::GetSecretResponse;
use bollard::moby::buildkit::secrets::v1::secrets_server;
use bollard::moby::buildkit::secrets::v1::secrets_server::Secrets;
use bollard::moby::buildkit::secrets::v1::secrets_server::SecretsServer;
use bollard::moby::filesync::v1::CredentialsRequest;
use bollard::moby::filesync::v1::CredentialsResponse;
use bollard::moby::filesync::v1::FetchTokenRequest;
use bollard::moby::filesync::v1::FetchTokenResponse;
use bollard::moby::filesync::v1::GetTokenAuthorityRequest;
use bollard::moby::filesync::v1::GetTokenAuthorityResponse;
use bollard::moby::filesync::v1::VerifyTokenAuthorityRequest;
use bollard::moby::filesync::v1::VerifyTokenAuthorityResponse;
use bollard::moby::filesync::v1::auth_server;
use bollard::moby::filesync::v1::auth_server::Auth;
use bollard::moby::filesync::v1::auth_server::AuthServer;
use futures_util::Stream;
use http::Request as HttpRequest;
use http::request::Builder as RequestBuilder;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioExecutor;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use tonic::Request;
use tonic::Response;
use tonic::Status;
use tonic::codegen::Service;

use crate::clients::docker::BuildError;
use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::clients::docker::error::chain;
use crate::clients::docker::file_sync;
use crate::clients::docker::file_sync::Files;
use crate::clients::docker::h2c::upgraded;
use crate::clients::docker::within;
use crate::config::settings::Login;
use crate::fault_point::Effect;

/// The methods that the engine may call. Of the health it asks in any case, every few seconds.
const METHODS: [&str; 4] = [
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.filesync.v1.Auth/Credentials",
    "/grpc.health.v1.Health/Check",
];
/// Docker Hub under the names by which engines ask for its login.
const HUB_HOSTS: [&str; 2] = ["registry-1.docker.io", "https://index.docker.io/v1/"];

/// The ignore file of a stranger comes back to us as lines of a header, each with 32 bytes more than it has (RFC 9113,
/// section 6.5.2): the longest that is read, were all its lines of one letter.
const LONGEST_HEADERS: u32 = 8 * 1024 * 1024;
/// The most bytes of one stream that wait to be read. The engine asks for hundreds of thousands of files in messages of
/// ten bytes each; h2 takes it for an attack where very many of those wait, and closes the connection.
const STREAM_WINDOW: u32 = 8 * 1024;
/// The most questions at once, since a builder that a stranger's `# syntax` line names can ask, too.
const MOST_STREAMS: u32 = 16;

/// What the engine may ask for during one build.
pub(super) struct Offer {
    /// By id.
    pub(super) secrets: BTreeMap<String, SecretString>,
    /// That of one registry.
    pub(super) login: Option<(String, Login)>,
    /// The files.
    pub(super) files: Files,
}

impl Offer {
    fn login_for(&self, host: &str) -> Option<&Login> {
        let (registry, login) = self.login.as_ref()?;
        let is_meant = registry == host || registry == "docker.io" && HUB_HOSTS.contains(&host);
        is_meant.then_some(login)
    }
}

/// A session beside a build.
pub(super) struct Session {
    /// Ends with the reason when the engine or the connection does.
    serving: Option<Pin<Box<dyn Future<Output = String> + Send>>>,
    lost: Option<String>,
}

impl Session {
    /// Does `work`, and answers the engine meanwhile.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|context| {
            if let Some(serving) = &mut self.serving
                && let Poll::Ready(why) = serving.as_mut().poll(context)
            {
                self.serving = None;
                self.lost = Some(why);
            }
            work.as_mut().poll(context)
        })
        .await
    }

    /// Why the session ended before the build did, if it has.
    pub(super) fn lost(&self) -> Option<BuildError> {
        self.lost.clone().map(BuildError::Session)
    }
}

impl Docker {
    /// Opens the session `id`, which gives the files of `tree`. Once this returns, the engine knows it.
    pub(super) async fn open_session(
        &self,
        _effect: &Effect,
        id: &str,
        tree: &str,
        offer: Offer,
    ) -> Result<Session, DockerError> {
        let attempt = self.attempt("open the session over which the build gets its files and secrets");
        let upgraded =
            within(&attempt, self.patience, Box::pin(upgraded(&self.host, opening(id, tree)))).await?;
        Ok(Session { serving: Some(Box::pin(serve(upgraded, offer))), lost: None })
    }
}

/// Without a version in its path, so that every engine takes it.
fn opening(id: &str, tree: &str) -> RequestBuilder {
    let mut request = HttpRequest::post("/session")
        .header("X-Docker-Expose-Session-Uuid", id)
        .header("X-Docker-Expose-Session-Name", "homeport")
        .header("X-Docker-Expose-Session-Sharedkey", tree);
    for method in METHODS {
        request = request.header("X-Docker-Expose-Session-Grpc-Method", method);
    }
    request
}

/// Answers until the connection ends; gives the reason.
async fn serve(connection: Upgraded, offer: Offer) -> String {
    let offer = Arc::new(offer);
    let secrets = SecretsServer::from_arc(Arc::clone(&offer));
    let logins = AuthServer::from_arc(Arc::clone(&offer));
    let health = HealthServer::from_arc(Arc::clone(&offer));
    let service = service_fn(move |request: HttpRequest<Incoming>| {
        let path = request.uri().path().trim_start_matches('/');
        match path.split_once('/').map_or(path, |(service, _)| service) {
            secrets_server::SERVICE_NAME => secrets.clone().call(request),
            auth_server::SERVICE_NAME => logins.clone().call(request),
            file_sync::SERVICE_NAME => {
                let files = offer.files.clone();
                Box::pin(async { Ok(files.answer(request).await) })
            }
            // Which says of whatever it does not know that it is not implemented.
            _ => health.clone().call(request),
        }
    });
    let server = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(LONGEST_HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_concurrent_streams(MOST_STREAMS)
        .serve_connection(connection, service);
    match server.await {
        Ok(()) => "the engine closed it".to_owned(),
        Err(error) => chain(&error),
    }
}

#[tonic::async_trait]
impl Secrets for Offer {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        // The engine makes "secret ID: not found" of it, or goes on without where it is not required.
        let secret = self
            .secrets
            .get(&request.get_ref().id)
            .ok_or_else(|| Status::not_found("it is not configured"))?;
        Ok(Response::new(GetSecretResponse { data: secret.expose_secret().as_bytes().to_vec() }))
    }
}

#[tonic::async_trait]
impl Auth for Offer {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let login = self.login_for(&request.get_ref().host).map(|login| CredentialsResponse {
            username: login.username.clone(),
            secret: login.password.expose_secret().to_owned(),
        });
        // Nothing in it means that there is no login: the engine asks the registry without.
        Ok(Response::new(login.unwrap_or_default()))
    }

    async fn fetch_token(
        &self,
        _: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        Err(engine_fetches_tokens())
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(engine_fetches_tokens())
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(engine_fetches_tokens())
    }
}

/// The engine's word for a client that gives it the login and leaves it to fetch tokens.
fn engine_fetches_tokens() -> Status {
    Status::unavailable("the engine fetches tokens itself")
}

#[tonic::async_trait]
impl Health for Offer {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("only `Check` is"))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("only `Check` is"))
    }
}
