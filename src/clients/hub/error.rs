//! What can go wrong with Docker Hub, told apart as far as a caller acts differently. None of these means
//! that an image does not exist any more.

use chrono::DateTime;
use chrono::Utc;

use crate::model::ImageName;

/// Why Docker Hub gave no list of tags.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Too many requests; the next one makes sense only then.
    #[error("Docker Hub takes no more requests from us until {until}")]
    RateLimited {
        /// When to ask again.
        until: DateTime<Utc>,
    },
    /// The login is wrong. It is not tried again at once, since wrong logins lock the user name.
    #[error(
        "Docker Hub refuses the login of `{username}` ({reason}): make a new access token in Docker Hub's account settings, put it where `docker_hub.token` points, and reload; it is not tried again before"
    )]
    LoginRefused {
        /// Who.
        username: String,
        /// Docker Hub's own sentence.
        reason: String,
    },
    /// 401 for the tags themselves.
    #[error("Docker Hub wants a login to show the tags of `{image}`{}", if *.has_login { " and does not accept the one it gave us" } else { ": set `docker_hub.username` and `docker_hub.token`" })]
    Unauthorized {
        /// The image.
        image: ImageName,
        /// Whether one is configured.
        has_login: bool,
    },
    /// 403: the login is good but may not read this.
    #[error(
        "Docker Hub does not permit reading the tags of `{image}` ({message}): give the access token read access"
    )]
    Forbidden {
        /// The image.
        image: ImageName,
        /// Docker Hub's own sentence.
        message: String,
    },
    /// 404: also what a private image answers, and what a limited home address has been answered.
    #[error("Docker Hub shows no `{image}`: nothing was pushed yet, the name is wrong, or it is private{}", if *.has_login { " and this login may not read it" } else { " and `docker_hub.username` and `docker_hub.token` are not set" })]
    NotFound {
        /// The image.
        image: ImageName,
        /// Whether a login is configured.
        has_login: bool,
    },
    /// The list has no tags.
    #[error("Docker Hub lists no tags of `{image}`: nothing was pushed yet, or Docker Hub is in trouble")]
    Empty {
        /// The image.
        image: ImageName,
    },
    /// More pages than are read.
    #[error("`{image}` has more tags than are read (after {read}): delete old ones on Docker Hub")]
    TooManyTags {
        /// The image.
        image: ImageName,
        /// How many were read.
        read: usize,
    },
    /// No connection, or no answer in time.
    #[error("Docker Hub ({address}) cannot be reached")]
    Unreachable {
        /// The host.
        address: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke in the middle of an answer.
    #[error("Docker Hub's answer was cut off")]
    CutOff {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An answer that is not Docker Hub's.
    #[error("Docker Hub's answer for {what} {reason}")]
    Malformed {
        /// What was asked for.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// Docker Hub's own trouble, or a status that has no meaning here.
    #[error("Docker Hub answered {status} for {what}")]
    Server {
        /// The HTTP status.
        status: u16,
        /// What was asked for.
        what: String,
    },
}

impl HubError {
    /// When it may be asked again, if it said so.
    pub const fn not_before(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::RateLimited { until, .. } => Some(*until),
            _ => None,
        }
    }
}

pub(super) fn malformed(what: &str, reason: &str) -> HubError {
    HubError::Malformed { what: what.to_owned(), reason: reason.to_owned() }
}
