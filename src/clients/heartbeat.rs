//! The dead man's switch elsewhere: one GET per ping, through reqwest. Takes its address, which is a secret
//! (whoever knows it can keep the switch quiet), so no message names more of it than the host. Must not
//! repeat or schedule anything.

use std::time::Duration;

use anyhow::Context;
use anyhow::ensure;
use reqwest::Client;
use url::Url;

use crate::clients::http_client;
use crate::clients::http_client::Redirects;
use crate::clients::tls::Tls;

/// A dead man's switch.
pub struct Heartbeat {
    http: Client,
    url: Url,
}

impl std::fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Heartbeat")
    }
}

impl Heartbeat {
    /// A switch at `url`. A ping must be done within `limit`.
    ///
    /// # Errors
    /// None that are known.
    pub fn new(tls: &Tls, url: &Url, limit: Duration) -> anyhow::Result<Self> {
        Ok(Self { http: http_client::open(tls, limit, Redirects::Follow)?, url: url.clone() })
    }

    /// Says that we live.
    ///
    /// # Errors
    /// If that could not be said, or was not heard.
    pub async fn ping(&self) -> anyhow::Result<()> {
        let host = self.url.host_str().unwrap_or_default();
        let response = self.http.get(self.url.clone()).send().await;
        let status = response
            .map_err(reqwest::Error::without_url)
            .with_context(|| format!("ping the heartbeat at {host}"))?
            .status();
        ensure!(
            status.is_success(),
            "the heartbeat at {host} answered {}: check `heartbeat.url`",
            status.as_u16()
        );
        Ok(())
    }
}
