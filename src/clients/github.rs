//! GitHub, through octocrab: where a branch stands, what a commit says, and saying how it stands with one. Takes the
//! API's address, a token if there is one, and checked names; gives commit ids, commits, the remaining request budget
//! and [`GitHubError`]. Must not retry, cache answers or wait: every call is at most a few requests, all within
//! one time limit.
//!
//! Octocrab is assembled here without its own cache, retries and redirects, over the HTTP client of the other
//! files: its cache hides the 304 that a poll lives on, its retries ignore `Retry-After`, and its default
//! client knows no proxy and calls itself by two names. Its model refuses GitHub's own examples.

mod answer;
mod compare;
mod error;
mod meta;
mod status;
mod tags;

pub use answer::Head;
pub use answer::HeadAnswer;
pub use compare::Messages;
pub use error::GitHubError;
pub use tags::TagRef;
pub use tags::TagsAnswer;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::StatusCode;
use http::header::ACCEPT;
use http::header::IF_NONE_MATCH;
use http::header::LOCATION;
use http_body_util::BodyExt;
use http_body_util::Limited;
use octocrab::AuthState;
use octocrab::Octocrab;
use octocrab::OctocrabBuilder;
use octocrab::service::middleware::auth_header::AuthHeaderLayer;
use octocrab::service::middleware::reqwest_connector::ReqwestConnector;
use percent_encoding::AsciiSet;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use url::Url;

use crate::clients::clock::Clock;
use crate::clients::http_client;
use crate::clients::http_client::Redirects;
use crate::clients::tls::Tls;
use crate::model::Branch;
use crate::model::Commit;
use crate::model::CommitPrefix;
use crate::model::CommitSha;
use crate::model::Repository;

/// What may stand in a segment of a path as it is (RFC 3986, unreserved).
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Asks for a commit's id and nothing else.
const SHA_ALONE: &str = "application/vnd.github.sha";
/// The most that is read of an answer. A commit with its first file is far smaller.
const MAX_BODY: usize = 4 << 20;
/// The most redirects that are followed in a row.
const MAX_REDIRECTS: usize = 5;

/// A client of GitHub's REST API.
pub struct GitHub {
    crab: Octocrab,
    api_url: Url,
    has_token: bool,
    limit: Duration,
    clock: Clock,
    /// What a renamed repository is called now; asked once for each.
    new_names: Mutex<HashMap<Repository, Option<Repository>>>,
}

/// What is asked.
enum Question<'a> {
    /// With these headers.
    Get(&'a HeaderMap),
    /// With this body.
    Post(&'a serde_json::Value),
}

/// An answer of any status, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// Where it came from in the end, if not from the address that was asked.
    moved_to: Option<Url>,
}

impl std::fmt::Debug for GitHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GitHub")
    }
}

impl GitHub {
    /// A client of the API at `api_url`. Each call must be done within `limit`, redirects and all. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// If the token cannot be sent at all.
    pub fn new(
        tls: &Tls,
        api_url: &Url,
        token: Option<&SecretString>,
        limit: Duration,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let address: http::Uri =
            api_url.as_str().parse().with_context(|| format!("`{api_url}` cannot be GitHub's address"))?;
        let credential = token.map(bearer).transpose()?;
        let connector = ReqwestConnector::new(http_client::open(tls, limit, Redirects::Show)?);
        let Ok(crab) = OctocrabBuilder::new_empty()
            .with_service(connector)
            .with_layer(&AuthHeaderLayer::new(credential, address.clone(), address))
            .with_auth(AuthState::None)
            .build();
        let api_url = api_url.clone();
        Ok(Self { crab, api_url, has_token: token.is_some(), limit, clock, new_names: Mutex::default() })
    }

    /// Whether there is a token.
    pub const fn has_token(&self) -> bool {
        self.has_token
    }

    /// Where the branch stands, compared with the commit that is known.
    ///
    /// GitHub takes the known id itself as the ETag (`GET /repos/{owner}/{repo}/commits/{ref}` with the media
    /// type `sha`), so nothing needs to be remembered between two polls or over a restart.
    ///
    /// # Errors
    /// Any [`GitHubError`]; a missing branch and an empty repository are `NotFound`.
    pub async fn head(
        &self,
        repository: &Repository,
        branch: &Branch,
        known: Option<&CommitSha>,
    ) -> Result<HeadAnswer, GitHubError> {
        let segments =
            branch.as_str().split('/').map(|part| utf8_percent_encode(part, &UNRESERVED).to_string());
        let path = format!("/repos/{repository}/commits/heads/{}", segments.collect::<Vec<_>>().join("/"));
        let what = format!("branch `{branch}` of `{repository}`");
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(SHA_ALONE));
        if let Some(etag) = known.and_then(|sha| HeaderValue::try_from(format!("\"{sha}\"")).ok()) {
            headers.insert(IF_NONE_MATCH, etag);
        }
        Clock::within(self.limit, async {
            let answer = self.ask(&path, &Question::Get(&headers)).await?;
            let head = match answer.status {
                StatusCode::OK => answer::head(&answer.body, known, &what)?,
                StatusCode::NOT_MODIFIED if known.is_some() => Head::Unchanged,
                _ => return Err(self.refused(&answer, repository, &what)),
            };
            let budget = answer::budget(&answer.headers, self.clock.now());
            let moved_to = match &answer.moved_to {
                None => None,
                Some(url) => self.new_name(repository, url).await,
            };
            Ok(HeadAnswer { head, budget, moved_to })
        })
        .await
        .unwrap_or_else(|slow| Err(self.unreachable(slow.into())))
    }

    /// What the commit says: the first line of its message, its author, its page.
    ///
    /// # Errors
    /// Any [`GitHubError`].
    pub async fn commit(&self, repository: &Repository, sha: &CommitSha) -> Result<Commit, GitHubError> {
        // The changed files are of no interest; one of them is the least that can be asked for.
        let path = format!("/repos/{repository}/commits/{sha}?per_page=1");
        let what = format!("commit {} of `{repository}`", sha.short());
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        let answer = self.ask_in_time(&path, &Question::Get(&headers)).await?;
        match answer.status {
            StatusCode::OK => answer::commit(&answer.body, sha, &what),
            _ => Err(self.refused(&answer, repository, &what)),
        }
    }

    /// The commit whose id begins with these digits; `None` if there is no such one, or more than one.
    ///
    /// # Errors
    /// Any other [`GitHubError`].
    pub async fn find_commit(
        &self,
        repository: &Repository,
        prefix: &CommitPrefix,
    ) -> Result<Option<CommitSha>, GitHubError> {
        let path = format!("/repos/{repository}/commits/{prefix}");
        let what = format!("commit {prefix} of `{repository}`");
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(SHA_ALONE));
        let answer = self.ask_in_time(&path, &Question::Get(&headers)).await?;
        match answer.status {
            // A branch or a tag may be called like the digits of a commit.
            StatusCode::OK => match answer::head(&answer.body, None, &what)? {
                Head::At(sha) if sha.begins_with(prefix) => Ok(Some(sha)),
                Head::At(_) | Head::Unchanged => Ok(None),
            },
            StatusCode::UNPROCESSABLE_ENTITY => Ok(None),
            _ => Err(self.refused(&answer, repository, &what)),
        }
    }

    /// Asks one question, which must be answered within the limit.
    async fn ask_in_time(&self, path: &str, question: &Question<'_>) -> Result<Answer, GitHubError> {
        Clock::within(self.limit, self.ask(path, question))
            .await
            .unwrap_or_else(|slow| Err(self.unreachable(slow.into())))
    }

    /// Asks, and follows redirects that stay on GitHub's own address.
    async fn ask(&self, path: &str, question: &Question<'_>) -> Result<Answer, GitHubError> {
        let start = format!("{}{path}", self.api_url.as_str().trim_end_matches('/'));
        let mut url = Url::parse(&start).map_err(|_| error::malformed(path, "is no address"))?;
        for redirects in 0..=MAX_REDIRECTS {
            let asked = match question {
                Question::Get(headers) => {
                    self.crab._get_with_headers(url.as_str(), Some((*headers).clone())).await
                }
                Question::Post(body) => self.crab._post(url.as_str(), Some(*body)).await,
            };
            let response = asked.map_err(|error| self.unreachable(inner(error)))?;
            let (parts, body) = response.into_parts();
            if let Some(next) = redirect(&url, parts.status, &parts.headers) {
                if next.origin() != self.api_url.origin() {
                    let host = next.host_str().unwrap_or("nowhere");
                    let reason = format!(
                        "was redirected to {host}, which is not GitHub: is this network behind a login page?"
                    );
                    return Err(error::malformed(path, &reason));
                }
                url = next;
                continue;
            }
            let body = Limited::new(body, MAX_BODY).collect().await.map_err(|cause| {
                if cause.is::<http_body_util::LengthLimitError>() {
                    GitHubError::TooLong { what: path.to_owned() }
                } else {
                    self.unreachable(cause)
                }
            })?;
            let moved_to = (redirects > 0).then_some(url);
            return Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body: body.to_bytes(),
                moved_to,
            });
        }
        Err(error::malformed(path, "is redirected in a circle"))
    }

    /// The present name of a repository that was asked for under an old one; its answer came from `url`.
    async fn new_name(&self, repository: &Repository, url: &Url) -> Option<Repository> {
        let names = || self.new_names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names().get(repository) {
            return name.clone();
        }
        let path = url.path().strip_prefix(self.api_url.path().trim_end_matches('/'))?;
        let by_id = ["/commits/", "/git/"]
            .iter()
            .find_map(|part| path.split_once(part))
            .map_or(path, |(by_id, _)| by_id);
        let name = match by_id.strip_prefix("/repos/") {
            Some(name) => name.parse().ok(),
            None => {
                let answer = self.ask(by_id, &Question::Get(&HeaderMap::new())).await.ok()?;
                answer::full_name(&answer.body)
            }
        };
        let name = name.filter(|name| name != repository);
        names().insert(repository.clone(), name.clone());
        name
    }

    fn refused(&self, answer: &Answer, repository: &Repository, what: &str) -> GitHubError {
        let message = answer::message(&answer.body);
        let now = self.clock.now();
        error::refused(answer.status, &answer.headers, &message, self.has_token, repository, what, now)
    }

    fn unreachable(&self, source: error::Source) -> GitHubError {
        let address = self.api_url.host_str().unwrap_or_default().to_owned();
        GitHubError::Unreachable { address, source }
    }
}

fn bearer(token: &SecretString) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).ok().context(
        "the GitHub token contains a character that no token has, such as a line break: write it anew",
    )?;
    value.set_sensitive(true);
    Ok(value)
}

fn redirect(from: &Url, status: StatusCode, headers: &HeaderMap) -> Option<Url> {
    let is_redirect = matches!(status.as_u16(), 301 | 302 | 307 | 308);
    let location = headers.get(LOCATION).filter(|_| is_redirect)?;
    from.join(location.to_str().ok()?).ok()
}

/// The cause inside octocrab's error, whose own text would only repeat it.
fn inner(error: octocrab::Error) -> error::Source {
    match error {
        octocrab::Error::Service { source, .. } => {
            source.downcast::<octocrab::Error>().map_or_else(|other| other, |error| inner(*error))
        }
        octocrab::Error::Reqwest { source, .. } => source.without_url().into(),
        other => other.into(),
    }
}
