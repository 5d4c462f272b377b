//! What can go wrong between the agent and Docker, sorted by what a caller does next.
//!
//! Takes bollard's errors, gives ours, with the attempt, the address and the way out in the message. The engine
//! tells most causes only in words, so the words are known here and nowhere else.

use std::error::Error;
use std::io;
use std::time::Duration;

use bollard::errors::Error as Bollard;

/// A call to Docker that failed.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// No engine answers at the address, or the connection broke.
    #[error("{what}: Docker at {host} cannot be reached: {reason}")]
    Unreachable {
        /// What was attempted.
        what: String,
        /// The engine's address.
        host: String,
        /// Why, and the way out.
        reason: String,
    },
    /// The container, image or tag does not exist.
    #[error("{what}: {message}")]
    NotFound {
        /// What was attempted.
        what: String,
        /// Docker's own words.
        message: String,
    },
    /// A name or a port is taken, or the thing is in use.
    #[error("{what}: {message}")]
    Conflict {
        /// What was attempted.
        what: String,
        /// Docker's own words.
        message: String,
    },
    /// The registry wants a login, or does not accept this one.
    #[error("{what}: the registry denied it: {message}; check `docker_hub.username` and its token")]
    Denied {
        /// What was attempted.
        what: String,
        /// The registry's words.
        message: String,
    },
    /// The engine refused.
    #[error("{what}: Docker refused ({status}): {message}")]
    Refused {
        /// What was attempted.
        what: String,
        /// The HTTP status.
        status: u16,
        /// Docker's own words.
        message: String,
    },
    /// It failed in the middle, or its success could not be confirmed.
    #[error("{what}: {message}")]
    Stream {
        /// What was attempted.
        what: String,
        /// Docker's own words, or what was missing.
        message: String,
    },
    /// No answer in time.
    #[error("{what}: no answer from Docker within {after:?}")]
    TimedOut {
        /// What was attempted.
        what: String,
        /// How long it was waited for.
        after: Duration,
    },
}

impl DockerError {
    /// A container that was there a moment ago and no longer is.
    pub fn gone(what: &str) -> Self {
        Self::NotFound { what: what.to_owned(), message: "the container is gone".to_owned() }
    }

    /// Whether the image itself makes a start impossible: no such program in it, or one for another machine.
    pub fn is_unstartable_image(&self) -> bool {
        const SIGNS: [&str; 5] = [
            "executable file not found",
            "exec format error",
            "no such file or directory: unknown",
            "permission denied: unknown",
            "No command specified",
        ];
        match self {
            Self::Refused { message, .. } | Self::NotFound { message, .. } | Self::Stream { message, .. } => {
                SIGNS.iter().any(|sign| message.contains(sign))
            }
            Self::Unreachable { .. }
            | Self::Conflict { .. }
            | Self::Denied { .. }
            | Self::TimedOut { .. } => false,
        }
    }

    /// Whether the container is just being removed by someone else.
    pub fn is_vanishing(&self) -> bool {
        match self {
            Self::Conflict { message, .. } | Self::Refused { message, .. } | Self::Stream { message, .. } => {
                message.contains("marked for removal") || message.contains("is already in progress")
            }
            Self::Unreachable { .. }
            | Self::NotFound { .. }
            | Self::Denied { .. }
            | Self::TimedOut { .. } => false,
        }
    }

    /// Whether the registry has the image, but not for this machine.
    pub fn is_platform_mismatch(&self) -> bool {
        const SIGNS: [&str; 2] = ["no matching manifest", "does not match the specified platform"];
        match self {
            Self::NotFound { message, .. }
            | Self::Refused { message, .. }
            | Self::Stream { message, .. }
            | Self::Conflict { message, .. } => SIGNS.iter().any(|sign| message.contains(sign)),
            Self::Unreachable { .. } | Self::Denied { .. } | Self::TimedOut { .. } => false,
        }
    }
}

/// What is being attempted, for the message of a failure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    /// An imperative with its object: `stop container web`.
    pub(super) what: &'a str,
    /// The engine's address.
    pub(super) host: &'a str,
}

impl Attempt<'_> {
    /// Sorts one of bollard's errors.
    pub(super) fn failed(&self, error: Bollard) -> DockerError {
        match error {
            Bollard::DockerResponseServerError { status_code, message } => self.refused(status_code, message),
            Bollard::DockerStreamError { error } => self.broke_off(error),
            Bollard::RequestTimeoutError => self.timed_out(Duration::ZERO),
            Bollard::SocketNotFoundError(path) => self.unreachable(format!(
                "there is no socket at {path}; install Docker, or start it with `sudo systemctl start docker`"
            )),
            other => match connection_fault(&other) {
                Some(reason) => self.unreachable(reason),
                None => self.broke_off(chain(&other)),
            },
        }
    }

    /// The limit passed.
    pub(super) fn timed_out(&self, after: Duration) -> DockerError {
        DockerError::TimedOut { what: self.what.to_owned(), after }
    }

    /// It failed in the middle, or was not done although nothing said so.
    pub(super) fn broke_off(&self, message: impl Into<String>) -> DockerError {
        let (what, message) = (self.what.to_owned(), message.into());
        if is_denial(&message) {
            DockerError::Denied { what, message }
        } else {
            DockerError::Stream { what, message }
        }
    }

    fn refused(&self, status: u16, message: String) -> DockerError {
        let what = self.what.to_owned();
        let message = if message.is_empty() { "it gave no reason".to_owned() } else { message };
        match status {
            401 | 403 => DockerError::Denied { what, message },
            _ if is_denial(&message) => DockerError::Denied { what, message },
            404 => DockerError::NotFound { what, message },
            500 if is_unknown_manifest(&message) => DockerError::NotFound { what, message },
            409 => DockerError::Conflict { what, message },
            _ if is_taken_port(&message) => DockerError::Conflict { what, message },
            _ => DockerError::Refused { what, status, message },
        }
    }

    fn unreachable(&self, reason: String) -> DockerError {
        DockerError::Unreachable { what: self.what.to_owned(), host: self.host.to_owned(), reason }
    }
}

/// The registry's ways of saying that the login is missing, wrong or not enough. Docker Hub answers the same for
/// a repository that does not exist.
fn is_denial(message: &str) -> bool {
    const WORDS: [&str; 7] = [
        "unauthorized",
        "authentication required",
        "no basic auth credentials",
        "pull access denied",
        "access to the resource is denied",
        "insufficient_scope",
        ": denied: ",
    ];
    let message = message.to_ascii_lowercase();
    // Not any `denied:`, since `permission denied: unknown` is a file's business.
    message.starts_with("denied:") || WORDS.iter().any(|words| message.contains(words))
}

fn is_unknown_manifest(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("manifest unknown") || message.contains("name unknown")
}

fn is_taken_port(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("port is already allocated") || message.contains("address already in use")
}

/// Why there is no connection, if that is what an error means.
fn connection_fault(error: &Bollard) -> Option<String> {
    let is_transport = matches!(
        error,
        Bollard::HyperLegacyError { .. } | Bollard::HyperResponseError { .. } | Bollard::IOError { .. }
    );
    let words = chain(error).replace("Error in the hyper legacy client: ", "");
    // A body that ends in the middle of a line is a stream that broke off, whoever's fault it was.
    if !is_transport || words.contains("bytes remaining on stream") {
        return None;
    }
    Some(match io_kind(error) {
        Some(io::ErrorKind::PermissionDenied) => {
            "the agent's user may not use the socket; add it to the group \
             with `sudo usermod -aG docker USER` and start the agent again"
                .to_owned()
        }
        Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
            format!("{words}; start it with `sudo systemctl start docker`")
        }
        _ => words,
    })
}

fn io_kind(error: &Bollard) -> Option<io::ErrorKind> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = match error.downcast_ref::<Bollard>() {
            // `transparent` variants hide their own error and show only its cause.
            Some(Bollard::IOError { err }) => return Some(err.kind()),
            Some(Bollard::HyperLegacyError { err }) => err.source(),
            _ => error.source(),
        };
    }
    None
}

/// An error and its causes on one line, without repetitions.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    const ATTEMPT: Attempt<'_> = Attempt { what: "pull x", host: "unix:///run/docker.sock" };

    fn refused(status_code: u16, message: &str) -> DockerError {
        ATTEMPT.failed(Bollard::DockerResponseServerError { status_code, message: message.to_owned() })
    }

    #[test]
    fn a_refusal_is_sorted_by_what_follows_from_it() {
        for (status, message) in [
            (401, "Unauthorized"),
            (404, "pull access denied for x, repository does not exist or may require 'docker login'"),
            (500, "Get \"https://r/v2/\": no basic auth credentials"),
            (500, "unauthorized: incorrect username or password"),
        ] {
            assert!(matches!(refused(status, message), DockerError::Denied { .. }), "{message}");
        }
        for (status, message) in [(404, "No such container: x"), (500, "manifest unknown: manifest unknown")]
        {
            assert!(matches!(refused(status, message), DockerError::NotFound { .. }), "{message}");
        }
        let port = "driver failed programming external connectivity: Bind for 0.0.0.0:80 failed: port is already allocated";
        for (status, message) in [(409, "The container name \"/x\" is already in use"), (500, port)] {
            assert!(matches!(refused(status, message), DockerError::Conflict { .. }), "{message}");
        }
        let message = "OCI runtime create failed: exec: \"/app\": permission denied: unknown";
        assert!(matches!(refused(400, message), DockerError::Refused { .. }));
        let message = "toomanyrequests: You have reached your pull rate limit";
        assert!(matches!(refused(500, message), DockerError::Refused { status: 500, .. }));
    }

    #[test]
    fn a_socket_that_may_not_be_used_says_how_it_may() {
        let error = ATTEMPT.failed(io::Error::from(io::ErrorKind::PermissionDenied).into());
        assert!(matches!(error, DockerError::Unreachable { .. }));
        assert!(error.to_string().contains("usermod -aG docker"), "{error}");
    }

    #[test]
    fn a_stream_that_is_cut_is_not_an_absent_engine() {
        let error = ATTEMPT.failed(io::Error::other("bytes remaining on stream").into());
        assert!(matches!(error, DockerError::Stream { .. }), "{error}");
    }
}
