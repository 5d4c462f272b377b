//! A simulated Docker Hub tags API before the real registry: every listing is read live, in the official shape,
//! with the real oddities on demand: lag, foreign and incomplete tags, limits, refusals. It checks logins,
//! records every request, and takes a route it does not know for a failure of the test.

mod answers;
mod listing;

pub use listing::ListedTag;
pub use listing::Platform;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::Request;
use axum::http::Method;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use crate::world::answer;
use crate::world::registry::Login;
use crate::world::registry::Reader;
use crate::world::requests::Faults;
use crate::world::requests::RequestLog;
use crate::world::simulators::Simulators;
use crate::world::wire::Connection;
use crate::world::wire::Wire;

/// What can be wrong with an answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The connection ends without an answer.
    Down,
    /// 404 with an official body, as seen for existing repositories behind a limited address.
    NotFound,
    /// 401.
    Unauthorized,
    /// 200 and no tags at all.
    EmptyList,
    /// 200 with HTML.
    Html,
    /// This status (5xx) with an official body.
    Status(u16),
    /// Half of the right answer, then the connection ends.
    HalfBody,
    /// The right answer, eight bytes at a time with this pause.
    SlowBody(Duration),
    /// 429 in one of its forms.
    RateLimited(RetryHint),
    /// The connection stays and nothing comes.
    Hang,
}

/// How a 429 says when to come back; each was seen on Docker Hub.
#[derive(Debug, Clone, Copy)]
pub enum RetryHint {
    /// `Retry-After` in seconds.
    Seconds(u64),
    /// `Retry-After` as seconds of the Unix epoch, so far ahead.
    Timestamp(u64),
    /// `X-Retry-After` as seconds of the Unix epoch, so far ahead.
    OldTimestamp(u64),
    /// No header and no JSON: the abuse limit.
    Nothing,
}

/// How far the index lags behind the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    /// Not at all.
    None,
    /// A pushed tag is left out of so many listings.
    Listings(u32),
    /// A pushed tag stays out until [`Hub::lag`] says otherwise.
    UntilReleased,
}

/// The running service.
pub struct Hub {
    shared: Arc<Shared>,
    wire: Wire,
}

struct Shared {
    requests: RequestLog,
    faults: Faults<Fault>,
    registry: Reader,
    index: listing::Index,
    accounts: Mutex<Accounts>,
}

#[derive(Default)]
struct Accounts {
    login: Option<Login>,
    private: Vec<String>,
    tokens: Vec<String>,
    used: u32,
}

impl Hub {
    /// Starts the service before what `registry` holds.
    pub async fn start(simulators: &Simulators, address: IpAddr, registry: Reader) -> Self {
        let shared = Arc::new(Shared {
            requests: RequestLog::new(),
            faults: Faults::new(),
            registry,
            index: listing::Index::new(),
            accounts: Mutex::default(),
        });
        let state = Arc::clone(&shared);
        let router = Router::new().fallback(
            move |ConnectInfo(connection): ConnectInfo<Connection>, request: Request| {
                respond(Arc::clone(&state), connection, request)
            },
        );
        Self { wire: Wire::serve(simulators, address, 0, router).await, shared }
    }

    /// `docker_hub.api_url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.wire.address())
    }

    /// The login that is accepted; none is until this is said.
    pub fn accept_login(&self, login: Login) {
        self.shared.accounts.lock().unwrap().login = Some(login);
    }

    /// The image can be seen when logged in only.
    pub fn make_private(&self, name: &str) {
        self.shared.accounts.lock().unwrap().private.push(name.to_owned());
    }

    /// All tokens handed out so far have expired, as they do after ten minutes.
    pub fn expire_tokens(&self) {
        self.shared.accounts.lock().unwrap().tokens.clear();
    }

    /// How far it lags from now on.
    pub fn lag(&self, lag: Lag) {
        self.shared.index.set_lag(lag);
    }

    /// The size of every page, whatever is asked for, as in August 2023.
    pub fn force_page_size(&self, size: Option<usize>) {
        self.shared.index.force_page_size(size);
    }

    /// Lists a tag that the registry does not hold.
    pub fn add_tag(&self, name: &str, tag: ListedTag) {
        self.shared.index.add(name, tag);
    }

    /// Never lists a tag, whatever the registry holds.
    pub fn hide(&self, name: &str, tag: &str) {
        self.shared.index.hide(name, tag);
    }

    /// Changes how a tag is listed: without digest, without images, for other platforms …
    pub fn alter_tag(&self, name: &str, tag: &str, change: impl Fn(&mut ListedTag) + Send + 'static) {
        self.shared.index.alter(name, tag, change);
    }

    /// Lists everything as it is again: no added and no altered tags.
    pub fn clear_alterations(&self) {
        self.shared.index.clear();
    }

    /// Every request fails like this until [`Self::clear_faults`].
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.arm(fault, "", None);
    }

    /// The next `times` requests fail like this.
    pub fn fault_next(&self, times: u32, fault: Fault) {
        self.shared.faults.arm(fault, "", Some(times));
    }

    /// Requests whose path contains `path_part` fail like this until cleared: `/auth/token`, `/tags` …
    pub fn fault_on(&self, path_part: &str, fault: Fault) {
        self.shared.faults.arm(fault, path_part, None);
    }

    /// All is well again.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// The network in front of it.
    pub const fn wire(&self) -> &Wire {
        &self.wire
    }

    /// What it was asked.
    pub fn requests(&self) -> &RequestLog {
        &self.shared.requests
    }
}

async fn respond(shared: Arc<Shared>, connection: Connection, request: Request) -> Response {
    let path = request.uri().path_and_query().map_or("/", |all| all.as_str()).to_owned();
    let number = shared.requests.enter(request.method(), &path, request.headers());
    let response = match shared.faults.take(&path) {
        None => dispatch(&shared, number, request).await,
        Some(Fault::Down) => return answer::cut(&connection),
        Some(Fault::NotFound) => answers::not_found(""),
        Some(Fault::Unauthorized) => answers::unauthorized(),
        Some(Fault::EmptyList) => answer::json(200, &answers::page(0, None, None, &[])),
        Some(Fault::Html) => answer::html(200),
        Some(Fault::Status(status)) => answers::failure(status),
        Some(Fault::HalfBody) => answer::half(dispatch(&shared, number, request).await).await,
        Some(Fault::SlowBody(pause)) => answer::slow(dispatch(&shared, number, request).await, pause).await,
        Some(Fault::RateLimited(hint)) => answers::rate_limited(hint, now()),
        Some(Fault::Hang) => answer::hang().await,
    };
    let response = answers::with_headers(response, shared.spend(), now());
    shared.requests.answered(number, response.status().as_u16());
    response
}

async fn dispatch(shared: &Shared, number: usize, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().trim_end_matches('/').to_owned();
    if parts.method == Method::POST && (path == "/v2/auth/token" || path == "/v2/users/login") {
        let body = axum::body::to_bytes(body, 1 << 16).await.unwrap_or_default();
        return shared.log_in(&path, &serde_json::from_slice(&body).unwrap_or_default());
    }
    let Some((name, tag)) = listing::target(&path).filter(|_| parts.method == Method::GET) else {
        shared.requests.unexpected(number);
        return answer::html(404);
    };
    let credential = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
    match shared.may_read(&name, credential) {
        Readable::Yes => {}
        Readable::No => return answers::not_found(&name),
        Readable::BadToken => return answers::unauthorized(),
    }
    let host = parts.headers.get("host").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let query = listing::Query::parse(parts.uri.query().unwrap_or_default());
    let tags = shared.index.tags(&shared.registry, &name).await;
    match tag {
        Some(tag) => match tags.iter().find(|listed| listed.name == tag) {
            Some(listed) => answer::json(200, &answers::tag(listed)),
            None => answers::tag_not_found(&name, &tag),
        },
        None if tags.is_empty() && !shared.index.knows(&name) => answers::not_found(&name),
        None => shared.index.page(tags, &query, &format!("http://{host}{}", parts.uri.path())),
    }
}

enum Readable {
    Yes,
    No,
    BadToken,
}

impl Shared {
    fn log_in(&self, path: &str, given: &Value) -> Response {
        let is_new = path == "/v2/auth/token";
        let (user, secret) = if is_new { ("identifier", "secret") } else { ("username", "password") };
        let mut accounts = self.accounts.lock().unwrap();
        let is_right = accounts.login.as_ref().is_some_and(|login| {
            given[user].as_str() == Some(login.username.as_str())
                && given[secret].as_str() == Some(login.password.as_str())
        });
        if !is_right {
            return answer::json(401, &json!({"detail": "Incorrect authentication credentials"}));
        }
        let token = format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", accounts.tokens.len());
        accounts.tokens.push(token.clone());
        let key = if is_new { "access_token" } else { "token" };
        answer::json(200, &json!({ key: token }))
    }

    fn may_read(&self, name: &str, credential: Option<&str>) -> Readable {
        let accounts = self.accounts.lock().unwrap();
        let is_private = accounts.private.iter().any(|private| private == name);
        match credential.map(|credential| credential.strip_prefix("Bearer ").unwrap_or_default()) {
            Some(token) if accounts.tokens.iter().any(|known| known == token) => Readable::Yes,
            Some(_) => Readable::BadToken,
            None if is_private => Readable::No,
            None => Readable::Yes,
        }
    }

    fn spend(&self) -> u32 {
        let mut accounts = self.accounts.lock().unwrap();
        accounts.used += 1;
        accounts.used
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
