//! What is known of the login at Docker Hub: a value that ages. Takes outcomes of logins and the monotonic
//! time; says what to ask with, or that it is time to log in again. Sends nothing.

use std::time::Duration;

use secrecy::ExposeSecret;
use secrecy::SecretString;

use crate::clients::hub::error::HubError;

/// How long a login is used. Docker Hub's tokens last ten minutes; a clock may differ by one.
const SESSION: Duration = Duration::from_secs(9 * 60);
/// How long a refused login is not tried again. Wrong ones lock the user name for ten minutes, for everyone
/// who uses it (docker/hub-feedback#2201), and a locked name refuses the right secret too: so not soon, but
/// not never.
const REFUSAL: Duration = Duration::from_secs(3600);

/// What is known of the login.
#[derive(Default)]
pub(super) struct Session {
    state: State,
    /// On the monotonic clock.
    until: Duration,
}

#[derive(Default)]
enum State {
    #[default]
    Unknown,
    LoggedIn(SecretString),
    Refused(String),
    /// The server has no login at all.
    WithoutLogin,
}

impl Session {
    pub(super) fn logged_in(bearer: SecretString, now: Duration) -> Self {
        Self { state: State::LoggedIn(bearer), until: now + SESSION }
    }

    pub(super) fn refused(reason: String, now: Duration) -> Self {
        Self { state: State::Refused(reason), until: now + REFUSAL }
    }

    pub(super) fn without_login(now: Duration) -> Self {
        Self { state: State::WithoutLogin, until: now + SESSION }
    }

    /// What to ask with; `None` if a login is due.
    pub(super) fn bearer(
        &self,
        now: Duration,
        username: &str,
    ) -> Option<Result<Option<SecretString>, HubError>> {
        if now >= self.until {
            return None;
        }
        match &self.state {
            State::Unknown => None,
            State::LoggedIn(bearer) => Some(Ok(Some(bearer.clone()))),
            State::Refused(reason) => {
                Some(Err(HubError::LoginRefused { username: username.to_owned(), reason: reason.clone() }))
            }
            State::WithoutLogin => Some(Ok(None)),
        }
    }

    /// Ends the session if it is still the one of this token.
    pub(super) fn forget(&mut self, bearer: &SecretString) {
        if matches!(&self.state, State::LoggedIn(known) if known.expose_secret() == bearer.expose_secret()) {
            *self = Self::default();
        }
    }
}
