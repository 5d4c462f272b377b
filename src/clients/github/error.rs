//! What can go wrong with GitHub, told apart as far as a caller acts differently: status, headers and message
//! in, one [`GitHubError`] out, with the way out where there is one.

use std::time::Duration;

use chrono::DateTime;
use chrono::Utc;
use http::HeaderMap;
use http::StatusCode;

use crate::clients::wait_hint;
use crate::model::Repository;

/// What caused an error, without the type of the crate it came from.
pub(super) type Source = Box<dyn std::error::Error + Send + Sync>;

/// The wait after a secondary limit that names none (GitHub: "at least one minute").
const UNNAMED_WAIT: Duration = Duration::from_secs(60);

/// Why GitHub gave no useful answer.
#[derive(Debug, thiserror::Error)]
pub enum GitHubError {
    /// Too many requests; the next one makes sense only then.
    #[error("GitHub takes no more requests from us until {until}")]
    RateLimited {
        /// When to ask again.
        until: DateTime<Utc>,
    },
    /// The token is not accepted, or one is needed.
    #[error(
        "GitHub does not accept {credential}: make a new token in GitHub's developer settings and put it where `github.token` points"
    )]
    Unauthorized {
        /// What was or was not sent.
        credential: &'static str,
    },
    /// The token is good but may not do this. Asking again changes nothing.
    #[error("GitHub does not permit reading {what}: {message}")]
    Forbidden {
        /// What was asked for.
        what: String,
        /// GitHub's own sentence.
        message: String,
    },
    /// The token may not say how it stands with a commit.
    #[error("GitHub does not take commit statuses from this token: {message}")]
    MayNotWrite {
        /// GitHub's own sentence.
        message: String,
    },
    /// GitHub will never take what was sent.
    #[error("GitHub does not take {what}: {message}")]
    Invalid {
        /// What was sent.
        what: String,
        /// GitHub's own sentence.
        message: String,
    },
    /// There is no such thing, or not for us.
    #[error("{message}")]
    NotFound {
        /// What is missing, and what to do.
        message: String,
    },
    /// No connection, a broken one, or no answer in time.
    #[error("GitHub ({address}) cannot be reached")]
    Unreachable {
        /// The host.
        address: String,
        /// Why.
        source: Source,
    },
    /// An answer that is not GitHub's.
    #[error("GitHub's answer for {what} {reason}")]
    Malformed {
        /// What was asked for.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// An answer that is longer than anything that is read.
    #[error("GitHub's answer for {what} is far longer than it can be")]
    TooLong {
        /// What was asked for.
        what: String,
    },
    /// GitHub's own trouble, or a status that has no meaning here.
    #[error("GitHub answered {status} for {what}")]
    Server {
        /// The HTTP status.
        status: u16,
        /// What was asked for.
        what: String,
    },
}

impl GitHubError {
    /// When it may be asked again, if it said so.
    pub const fn not_before(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::RateLimited { until, .. } => Some(*until),
            _ => None,
        }
    }
}

pub(super) fn malformed(what: &str, reason: &str) -> GitHubError {
    GitHubError::Malformed { what: what.to_owned(), reason: reason.to_owned() }
}

/// What an answer that is neither 200 nor 304 means.
pub(super) fn refused(
    status: StatusCode,
    headers: &HeaderMap,
    message: &str,
    has_token: bool,
    repository: &Repository,
    what: &str,
    now: DateTime<Utc>,
) -> GitHubError {
    let what = what.to_owned();
    match status.as_u16() {
        401 if has_token => GitHubError::Unauthorized { credential: "the token" },
        401 => GitHubError::Unauthorized { credential: "requests without a token" },
        403 | 429 if status == StatusCode::TOO_MANY_REQUESTS || is_limit(headers, message) => {
            GitHubError::RateLimited { until: until(headers, now) }
        }
        403 | 451 => GitHubError::Forbidden { what, message: message.to_owned() },
        404 | 410 if has_token => GitHubError::NotFound {
            message: format!(
                "GitHub shows {what} to nobody with this token: look for a typing error in `repository`, or give the token read access to the repository's contents"
            ),
        },
        404 | 410 => GitHubError::NotFound {
            message: format!(
                "GitHub shows {what} to nobody without a token: look for a typing error in `repository`, or set `github.token` if it is private"
            ),
        },
        409 => GitHubError::NotFound { message: format!("`{repository}` is empty: push a first commit") },
        422 => GitHubError::NotFound {
            message: format!("there is no {what}: look for a typing error in `branch`, or push it"),
        },
        status => GitHubError::Server { status, what },
    }
}

/// Whether a 403 is a limit and not a lack of permission (GitHub's best practices for the REST API).
fn is_limit(headers: &HeaderMap, message: &str) -> bool {
    headers.contains_key("retry-after")
        || is_used_up(headers)
        || message.to_ascii_lowercase().contains("rate limit")
}

fn is_used_up(headers: &HeaderMap) -> bool {
    wait_hint::number(headers, "x-ratelimit-remaining") == Some(0)
}

fn until(headers: &HeaderMap, now: DateTime<Utc>) -> DateTime<Utc> {
    wait_hint::retry_after(headers, now)
        .or_else(|| wait_hint::limit_reset(headers, now).filter(|_| is_used_up(headers)))
        .unwrap_or(now + UNNAMED_WAIT)
}
