//! What a simulated service was asked, for assertions and for the journal of a failed test; and the faults that
//! are armed against coming requests. Credentials are recorded as present, never by value.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use axum::http::HeaderMap;
use axum::http::Method;

const OF_INTEREST: [&str; 8] = [
    "accept",
    "if-none-match",
    "user-agent",
    "git-protocol",
    "content-type",
    "content-length",
    "x-github-api-version",
    "host",
];

/// One request as it was seen and answered.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    /// Time since the service began.
    pub at: Duration,
    /// The method, upper case.
    pub method: String,
    /// The path with its query, as sent.
    pub path: String,
    /// The headers a test may ask for, by lower-case name; no credentials.
    pub headers: BTreeMap<String, String>,
    /// The scheme of the Authorization header (`Bearer`, `token`, `Basic`), if there was one.
    pub authorization: Option<String>,
    /// The status that was answered; `None` while it is being answered, or if the connection was cut instead.
    pub status: Option<u16>,
    /// The service knows no such route.
    pub is_unexpected: bool,
}

impl fmt::Display for SeenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = self.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        let path: String = self.path.chars().take(140).collect();
        write!(f, "{:>8.3}s {} {path} -> {answer}", self.at.as_secs_f64(), self.method)?;
        if let Some(scheme) = &self.authorization {
            write!(f, " [{scheme}]")?;
        }
        if let Some(etag) = self.headers.get("if-none-match") {
            write!(f, " [if-none-match {etag}]")?;
        }
        if self.is_unexpected { f.write_str(" UNEXPECTED ROUTE") } else { Ok(()) }
    }
}

/// The requests of one service, oldest first.
#[derive(Clone)]
pub struct RequestLog {
    began: Instant,
    seen: Arc<Mutex<Vec<SeenRequest>>>,
}

impl RequestLog {
    /// An empty log.
    pub fn new() -> Self {
        Self { began: Instant::now(), seen: Arc::default() }
    }

    /// Enters a request; its number is for [`Self::answered`].
    pub fn enter(&self, method: &Method, path: &str, headers: &HeaderMap) -> usize {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut seen = self.seen.lock().unwrap();
        seen.push(SeenRequest {
            at: self.began.elapsed(),
            method: method.to_string(),
            path: path.to_owned(),
            headers: OF_INTEREST.iter().filter_map(|name| Some(((*name).to_owned(), text(name)?))).collect(),
            authorization: text("authorization").and_then(|all| all.split(' ').next().map(str::to_owned)),
            status: None,
            is_unexpected: false,
        });
        seen.len() - 1
    }

    /// Notes the answer to a request.
    pub fn answered(&self, number: usize, status: u16) {
        if let Some(request) = self.seen.lock().unwrap().get_mut(number) {
            request.status = Some(status);
        }
    }

    /// Notes that no route of the service matched.
    pub fn unexpected(&self, number: usize) {
        if let Some(request) = self.seen.lock().unwrap().get_mut(number) {
            request.is_unexpected = true;
        }
    }

    /// All requests so far.
    pub fn all(&self) -> Vec<SeenRequest> {
        self.seen.lock().unwrap().clone()
    }

    /// The requests with this method whose path contains `part`.
    pub fn matching(&self, method: &str, part: &str) -> Vec<SeenRequest> {
        self.all().into_iter().filter(|seen| seen.method == method && seen.path.contains(part)).collect()
    }

    /// How many requests there were with this method whose path contains `part`.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.matching(method, part).len()
    }

    /// Forgets all requests except those to unknown routes.
    pub fn clear(&self) {
        self.seen.lock().unwrap().retain(|seen| seen.is_unexpected);
    }
}

/// Faults that wait for requests. The one armed last wins.
pub struct Faults<F>(Mutex<Vec<Armed<F>>>);

struct Armed<F> {
    fault: F,
    path_part: String,
    remaining: Option<u32>,
}

impl<F: Clone> Faults<F> {
    /// None armed.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Arms a fault against requests whose path contains `path_part`, `times` or until cleared.
    pub fn arm(&self, fault: F, path_part: &str, times: Option<u32>) {
        let armed = Armed { fault, path_part: path_part.to_owned(), remaining: times };
        self.0.lock().unwrap().push(armed);
    }

    /// Takes the fault that hits a request to this path.
    pub fn take(&self, path: &str) -> Option<F> {
        self.take_if(path, |_| true)
    }

    /// Takes the fault that hits a request to this path and may hit it by its own kind.
    pub fn take_if(&self, path: &str, may_hit: impl Fn(&F) -> bool) -> Option<F> {
        let mut all = self.0.lock().unwrap();
        let hit = all.iter().rposition(|armed| path.contains(&armed.path_part) && may_hit(&armed.fault))?;
        let armed = all.get_mut(hit)?;
        let fault = armed.fault.clone();
        if let Some(remaining) = &mut armed.remaining {
            *remaining -= 1;
            if *remaining == 0 {
                all.remove(hit);
            }
        }
        Some(fault)
    }

    /// Disarms all.
    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}
