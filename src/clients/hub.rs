//! Docker Hub's tags API, through reqwest: which tags an image has, with their content and platforms. Takes
//! the API's address, a login if there is one, and an image's name; gives [`ListedTag`]s or a [`HubError`].
//! Must not choose among tags, and must never give an empty list: not found, not permitted, empty, limited
//! and garbled are different errors, none of which means that there is no image.

mod answer;
mod error;
mod session;

pub use error::HubError;

use std::collections::HashSet;
use std::time::Duration;

use http::HeaderMap;
use http::StatusCode;
use reqwest::Client;
use reqwest::RequestBuilder;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use serde_json::Value;
use serde_json::json;
use tokio::sync::Mutex;
use url::Url;

use crate::clients::clock::Clock;
use crate::clients::http_client;
use crate::clients::http_client::Redirects;
use crate::clients::hub::session::Session;
use crate::clients::tls::Tls;
use crate::clients::wait_hint;
use crate::config::settings::Login;
use crate::model::ImageName;
use crate::model::ListedTag;

/// The most pages that are read, of 100 tags each.
const MAX_PAGES: usize = 100;
/// The most that is read of one page. A hundred tags with thirty platforms each are under 2 MB.
const MAX_BODY: usize = 8 << 20;
/// The wait after a limit that names none: the length of Docker Hub's window.
const UNNAMED_WAIT: Duration = Duration::from_secs(60);

/// A client of Docker Hub's API. A change of the login needs a new one.
pub struct Hub {
    http: Client,
    api_url: Url,
    login: Option<Login>,
    clock: Clock,
    session: Mutex<Session>,
}

/// An answer of any status, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hub")
    }
}

impl Hub {
    /// A client of the API at `api_url`. Each request must be done within `limit`.
    ///
    /// # Errors
    /// None that are known.
    pub fn new(
        tls: &Tls,
        api_url: &Url,
        login: Option<Login>,
        limit: Duration,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let http = http_client::open(tls, limit, Redirects::FollowAtHome)?;
        Ok(Self { http, api_url: api_url.clone(), login, clock, session: Mutex::default() })
    }

    /// The tags of an image in Docker Hub's order, which is no order to rely on; each tag once. Reads page
    /// after page until there is none or `enough` says so of all tags read so far.
    ///
    /// # Errors
    /// Any [`HubError`]; an image without tags is [`HubError::Empty`], never an empty list.
    pub async fn tags(
        &self,
        image: &ImageName,
        enough: impl Fn(&[ListedTag]) -> bool + Send,
    ) -> Result<Vec<ListedTag>, HubError> {
        let mut url = self.first_page(image);
        let mut visited = HashSet::from([url.clone()]);
        let mut names = HashSet::new();
        let mut tags = Vec::new();
        loop {
            let answer = self.get(&url).await?;
            // Docker Hub answers 404 for a page behind the last one.
            if answer.status == StatusCode::NOT_FOUND && visited.len() > 1 {
                break;
            }
            let page = self.page(&answer, image)?;
            // A push between two pages moves tags from one to the next.
            tags.extend(page.tags.into_iter().filter(|tag| names.insert(tag.tag.clone())));
            let Some(next) = page.next else { break };
            if enough(&tags) {
                break;
            }
            url = self.next_page(&url, &next, image)?;
            if visited.len() == MAX_PAGES {
                return Err(HubError::TooManyTags { image: image.clone(), read: tags.len() });
            }
            if !visited.insert(url.clone()) {
                return Err(error::malformed(image.as_str(), "goes round in a circle of pages"));
            }
        }
        if tags.is_empty() { Err(HubError::Empty { image: image.clone() }) } else { Ok(tags) }
    }

    fn first_page(&self, image: &ImageName) -> Url {
        let namespace = if image.as_str().contains('/') { "" } else { "library/" };
        self.address(&format!("/v2/repositories/{namespace}{image}/tags"), Some("page_size=100"))
    }

    fn next_page(&self, current: &Url, next: &str, image: &ImageName) -> Result<Url, HubError> {
        let url = current.join(next);
        let url =
            url.map_err(|_| error::malformed(image.as_str(), "names a next page that is no address"))?;
        if url.origin() == self.api_url.origin() {
            Ok(url)
        } else {
            let host = url.host_str().unwrap_or("nowhere");
            Err(error::malformed(image.as_str(), &format!("names a next page on another server, {host}")))
        }
    }

    fn address(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.api_url.clone();
        url.set_path(&format!("{}{path}", self.api_url.path().trim_end_matches('/')));
        url.set_query(query);
        url
    }

    fn page(&self, answer: &Answer, image: &ImageName) -> Result<answer::Page, HubError> {
        if answer.status == StatusCode::OK {
            return answer::page(&answer.body).map_err(|reason| error::malformed(image.as_str(), &reason));
        }
        let has_login = self.login.is_some();
        Err(match answer.status.as_u16() {
            401 => HubError::Unauthorized { image: image.clone(), has_login },
            403 => HubError::Forbidden { image: image.clone(), message: answer::message(&answer.body) },
            404 => HubError::NotFound { image: image.clone(), has_login },
            429 => self.limited(&answer.headers),
            301..=308 => error::malformed(
                image.as_str(),
                "leads to another server: is this network behind a login page?",
            ),
            status => HubError::Server { status, what: format!("the tags of {image}") },
        })
    }

    /// Asks with the present session; one that is no longer accepted is renewed once.
    async fn get(&self, url: &Url) -> Result<Answer, HubError> {
        let bearer = self.bearer().await?;
        let answer = self.ask(url, bearer.as_ref()).await?;
        let Some(stale) = bearer.filter(|_| answer.status == StatusCode::UNAUTHORIZED) else {
            return Ok(answer);
        };
        self.session.lock().await.forget(&stale);
        let renewed = self.bearer().await?;
        self.ask(url, renewed.as_ref()).await
    }

    async fn ask(&self, url: &Url, bearer: Option<&SecretString>) -> Result<Answer, HubError> {
        let request = self.http.get(url.clone());
        self.send(match bearer {
            Some(bearer) => request.bearer_auth(bearer.expose_secret()),
            None => request,
        })
        .await
    }

    /// The token to ask with, after a login if need be; `None` to ask anonymously.
    async fn bearer(&self) -> Result<Option<SecretString>, HubError> {
        let Some(login) = &self.login else { return Ok(None) };
        let mut session = self.session.lock().await;
        if let Some(known) = session.bearer(self.clock.monotonic(), &login.username) {
            return known;
        }
        *session = self.log_in(login).await?;
        session.bearer(self.clock.monotonic(), &login.username).unwrap_or(Ok(None))
    }

    /// Logs in on the present path, else on the deprecated one, which other registries' fronts still have.
    async fn log_in(&self, login: &Login) -> Result<Session, HubError> {
        let (name, secret) = (&login.username, login.password.expose_secret());
        let now = self.clock.monotonic();
        for (path, body) in [
            ("/v2/auth/token", json!({ "identifier": name, "secret": secret })),
            ("/v2/users/login", json!({ "username": name, "password": secret })),
        ] {
            let answer = self.post(path, &body).await?;
            return match answer.status.as_u16() {
                404 | 405 => continue,
                200 => match answer::token(&answer.body) {
                    Some(bearer) => Ok(Session::logged_in(bearer, now)),
                    None => Err(error::malformed("the login", "holds no token")),
                },
                400 | 401 | 403 | 422 => Ok(Session::refused(answer::message(&answer.body), now)),
                429 => Err(self.limited(&answer.headers)),
                status => Err(HubError::Server { status, what: "the login".to_owned() }),
            };
        }
        Ok(Session::without_login(now))
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Answer, HubError> {
        self.send(self.http.post(self.address(path, None)).json(body)).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, HubError> {
        let mut response = request.send().await.map_err(|cause| self.unreachable(cause))?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(None) => return Ok(Answer { status, headers, body }),
                Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_BODY => body.extend_from_slice(&chunk),
                Ok(Some(_)) => return Err(error::malformed("a request", "is far longer than it can be")),
                Err(cause) if cause.is_timeout() => return Err(self.unreachable(cause)),
                Err(cause) => return Err(HubError::CutOff { source: cause.without_url().into() }),
            }
        }
    }

    fn limited(&self, headers: &HeaderMap) -> HubError {
        let now = self.clock.now();
        let until = wait_hint::retry_after(headers, now).or_else(|| wait_hint::limit_reset(headers, now));
        HubError::RateLimited { until: until.unwrap_or(now + UNNAMED_WAIT) }
    }

    fn unreachable(&self, cause: reqwest::Error) -> HubError {
        let address = self.api_url.host_str().unwrap_or_default().to_owned();
        HubError::Unreachable { address, source: cause.without_url().into() }
    }
}
