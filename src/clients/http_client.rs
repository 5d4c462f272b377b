//! What every HTTP client of this house has in common: the name by which we call, and time limits. Takes TLS, a
//! limit and what to do about redirects; gives reqwest's client, for the neighbouring files only.

use std::time::Duration;

use anyhow::Context;
use reqwest::Client;
use reqwest::redirect::Attempt;
use reqwest::redirect::Policy;

use crate::clients::tls;
use crate::clients::tls::Tls;

/// The name by which we call.
const USER_AGENT: &str = concat!("homeport/", env!("CARGO_PKG_VERSION"));
/// The most time a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The most redirects that are followed in a row.
const MAX_REDIRECTS: usize = 5;

/// What to do with an answer that points elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// Give it to the caller.
    Show,
    /// Follow it, unless it leaves the server; that one is given to the caller.
    FollowAtHome,
    /// Follow it.
    Follow,
}

/// A client whose requests must each be done, body and all, within `limit`.
///
/// # Errors
/// None that are known.
pub fn open(tls: &Tls, limit: Duration, redirects: Redirects) -> anyhow::Result<Client> {
    let policy = match redirects {
        Redirects::Show => Policy::none(),
        Redirects::FollowAtHome => Policy::custom(|attempt| {
            if is_at_home(&attempt) {
                Policy::limited(MAX_REDIRECTS).redirect(attempt)
            } else {
                attempt.stop()
            }
        }),
        Redirects::Follow => Policy::limited(MAX_REDIRECTS),
    };
    Client::builder()
        .tls_backend_preconfigured(tls.config())
        .user_agent(USER_AGENT)
        .connect_timeout(limit.min(CONNECT_LIMIT))
        .timeout(limit)
        .redirect(policy)
        .build()
        .context("prepare an HTTP client")
}

/// A client for a server on this machine: no proxy, no redirects, no certificates, and a new connection for
/// every request, as a stranger would come.
///
/// # Errors
/// None that are known.
pub fn open_local() -> anyhow::Result<Client> {
    tls::provide();
    Client::builder()
        .user_agent(USER_AGENT)
        .no_proxy()
        .http1_only()
        .redirect(Policy::none())
        .pool_max_idle_per_host(0)
        .tls_certs_only([])
        .build()
        .context("prepare the client for probes")
}

fn is_at_home(attempt: &Attempt<'_>) -> bool {
    attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin())
}
