//! A simulated GitHub: its REST API for the routes an agent may use, and git over HTTP, both read live from real
//! bare repositories. It checks tokens, counts rate limits, records every request and commit status, and fails
//! on demand. A route it does not know is recorded as unexpected, which fails the test at its end.

mod account;
mod answers;
mod compare;
mod rest;
mod smart_http;
mod tags;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;

use crate::world::answer;
use crate::world::github::account::Account;
use crate::world::repository::Repository;
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
    /// This status with an HTML page, as a gateway in between answers.
    Status(u16),
    /// The primary rate limit (403 or 429), over after so long.
    PrimaryLimit(u16, Duration),
    /// A secondary rate limit (403 or 429), with Retry-After or, as also happens, without.
    SecondaryLimit(u16, Option<Duration>),
    /// The token lacks the permission: 403 with budget left.
    Forbidden,
    /// The right answer, eight bytes at a time with this pause.
    SlowBody(Duration),
    /// Half of the right answer, then the connection ends.
    HalfBody,
    /// The connection stays and nothing comes.
    HangForever,
    /// 200 with a body that is not what was asked for.
    GarbageJson,
}

/// A commit status as the agent reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus {
    /// `owner/name`.
    pub repository: String,
    /// The commit.
    pub sha: String,
    /// `pending`, `success`, `failure` or `error`.
    pub state: String,
    /// The label of the row.
    pub context: String,
    /// The text, at most 140 characters.
    pub description: String,
    /// The link, empty for none.
    pub target_url: String,
}

/// The running service.
pub struct GitHub {
    shared: Arc<Shared>,
    wire: Wire,
}

struct Shared {
    root: PathBuf,
    requests: RequestLog,
    faults: Faults<Fault>,
    statuses: Mutex<Vec<CommitStatus>>,
    account: Account,
    names: Mutex<Names>,
    host_keys: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Names {
    ids: BTreeMap<String, u64>,
    private: Vec<String>,
    moved: BTreeMap<String, String>,
}

impl GitHub {
    /// Starts the service with its repositories below `root`, none yet.
    pub async fn start(simulators: &Simulators, address: IpAddr, root: &Path) -> Self {
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            requests: RequestLog::new(),
            faults: Faults::new(),
            statuses: Mutex::default(),
            account: Account::new(),
            names: Mutex::default(),
            host_keys: Mutex::default(),
        });
        let state = Arc::clone(&shared);
        let router = Router::new().fallback(
            move |ConnectInfo(connection): ConnectInfo<Connection>, request: Request| {
                respond(Arc::clone(&state), connection, request)
            },
        );
        Self { wire: Wire::serve(simulators, address, 0, router).await, shared }
    }

    /// Both `github.api_url` and `github.clone_url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.wire.address())
    }

    /// Names these host keys of the git server behind SSH from now on.
    pub fn name_host_keys(&self, keys: &[String]) {
        *self.shared.host_keys.lock().unwrap() = keys.to_vec();
    }

    /// Makes an empty repository `owner/name`.
    pub async fn create_repository(&self, name: &str) -> Repository {
        let id = {
            let mut names = self.shared.names.lock().unwrap();
            let id = 1_296_269 + names.ids.len() as u64;
            names.ids.insert(name.to_owned(), id);
            id
        };
        Repository::create(name, id, &self.shared.root.join(format!("{name}.git"))).await
    }

    /// The repository that is called `owner/name` now.
    pub fn repository(&self, name: &str) -> Repository {
        let directory = self.shared.directory(name).expect("there is such a repository");
        Repository::at(name, self.shared.id(name), &directory)
    }

    /// From now on a request that shows a credential must show this one.
    pub fn accept_token(&self, token: &str) {
        self.shared.account.accept(token);
    }

    /// The repository can be seen with the token only.
    pub fn make_private(&self, name: &str) {
        self.shared.names.lock().unwrap().private.push(name.to_owned());
    }

    /// Moves a repository; the old name answers with redirects, as GitHub does.
    pub fn rename(&self, from: &str, to: &str) {
        let path = |name: &str| self.shared.root.join(format!("{name}.git"));
        std::fs::create_dir_all(path(to).parent().expect("a repository has an owner"))
            .expect("make the owner");
        std::fs::rename(path(from), path(to)).expect("rename the repository");
        let mut names = self.shared.names.lock().unwrap();
        if let Some(id) = names.ids.remove(from) {
            names.ids.insert(to.to_owned(), id);
        }
        names.moved.insert(from.to_owned(), to.to_owned());
    }

    /// Sets what the rate-limit headers show: the hour's limit, what was used of it, and the seconds until it is new.
    pub fn set_rate_limit(&self, limit: u32, used: u32, reset_in: Duration) {
        self.shared.account.set_budget(limit, used, reset_in);
    }

    /// Every request fails like this until [`Self::clear_faults`].
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.arm(fault, "", None);
    }

    /// The next `times` requests fail like this.
    pub fn fault_next(&self, times: u32, fault: Fault) {
        self.shared.faults.arm(fault, "", Some(times));
    }

    /// Requests whose path contains `path_part` fail like this until cleared: `/statuses/`, `git-upload-pack` …
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

    /// The commit statuses that were reported, oldest first.
    pub fn statuses(&self) -> Vec<CommitStatus> {
        self.shared.statuses.lock().unwrap().clone()
    }
}

async fn respond(shared: Arc<Shared>, connection: Connection, request: Request) -> Response {
    let path = request.uri().path_and_query().map_or("/", |all| all.as_str()).to_owned();
    let number = shared.requests.enter(request.method(), &path, request.headers());
    let fault = shared.faults.take(&path);
    let has_credential = request.headers().contains_key("authorization");
    let response = match fault {
        None if is_api(&path) && shared.account.is_exhausted() => {
            answers::primary_limit(403, shared.account.budget().reset)
        }
        None => dispatch(&shared, number, request).await,
        Some(Fault::Down) => return answer::cut(&connection),
        Some(Fault::Status(status)) => answer::html(status),
        Some(Fault::PrimaryLimit(status, over_in)) => {
            answers::primary_limit(status, account::now() + over_in.as_secs())
        }
        Some(Fault::SecondaryLimit(status, retry_after)) => answers::secondary_limit(status, retry_after),
        Some(Fault::Forbidden) => answers::forbidden(),
        Some(Fault::SlowBody(pause)) => answer::slow(dispatch(&shared, number, request).await, pause).await,
        Some(Fault::HalfBody) => answer::half(dispatch(&shared, number, request).await).await,
        Some(Fault::HangForever) => answer::hang().await,
        Some(Fault::GarbageJson) => answer::text(200, "application/json; charset=utf-8", "{\"sha\": [oops"),
    };
    // A 304 is free only to those who showed a token.
    if is_api(&path) && !(response.status() == StatusCode::NOT_MODIFIED && has_credential) {
        shared.account.spend();
    }
    let response = answers::with_headers(response, &shared.account.budget(), number);
    shared.requests.answered(number, response.status().as_u16());
    response
}

async fn dispatch(shared: &Arc<Shared>, number: usize, request: Request) -> Response {
    let path = percent_encoding::percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned();
    if is_api(&path) {
        return rest::answer(shared, number, &path, request).await;
    }
    match smart_http::Target::parse(&path) {
        Some(target) => smart_http::answer(shared, target, request).await,
        None => {
            shared.requests.unexpected(number);
            answers::not_found()
        }
    }
}

fn is_api(path: &str) -> bool {
    path.starts_with("/repos/")
        || path.starts_with("/repositories/")
        || ["/rate_limit", "/meta"].contains(&path)
}

impl Shared {
    fn directory(&self, name: &str) -> Option<PathBuf> {
        let directory = self.root.join(format!("{name}.git"));
        (!name.contains("..") && directory.is_dir()).then_some(directory)
    }

    fn is_private(&self, name: &str) -> bool {
        self.names.lock().unwrap().private.iter().any(|private| private == name)
    }

    fn id(&self, name: &str) -> u64 {
        self.names.lock().unwrap().ids.get(name).copied().unwrap_or_default()
    }

    fn name_of(&self, id: u64) -> Option<String> {
        let names = self.names.lock().unwrap();
        names.ids.iter().find(|(_, known)| **known == id).map(|(name, _)| name.clone())
    }

    fn moved_to(&self, name: &str) -> Option<String> {
        self.names.lock().unwrap().moved.get(name).cloned()
    }

    fn record_status(&self, status: CommitStatus) -> usize {
        let mut statuses = self.statuses.lock().unwrap();
        statuses.push(status);
        statuses.len()
    }
}
