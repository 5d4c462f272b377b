//! What GitHub says of itself (`GET /meta`): the host keys of its git server.

use http::HeaderMap;
use http::StatusCode;
use serde::Deserialize;

use crate::clients::github::GitHub;
use crate::clients::github::GitHubError;
use crate::clients::github::Question;
use crate::clients::github::error;

const WHAT: &str = "GitHub's own description";

#[derive(Deserialize)]
struct MetaAnswer {
    #[serde(default)]
    ssh_keys: Vec<String>,
}

impl GitHub {
    /// The host keys of the git server behind SSH, each `KIND BASE64`; at least one.
    ///
    /// # Errors
    /// Any [`GitHubError`].
    pub async fn ssh_keys(&self) -> Result<Vec<String>, GitHubError> {
        let answer = self.ask_in_time("/meta", &Question::Get(&HeaderMap::new())).await?;
        if answer.status != StatusCode::OK {
            return Err(error::malformed(WHAT, &format!("was refused with status {}", answer.status)));
        }
        let meta: MetaAnswer = serde_json::from_slice(&answer.body)
            .map_err(|cause| error::malformed(WHAT, &format!("cannot be read ({cause})")))?;
        // Each becomes a line of a file.
        let is_key = |key: &String| key.split(' ').count() == 2 && !key.chars().any(char::is_control);
        let keys: Vec<String> = meta.ssh_keys.into_iter().filter(is_key).collect();
        match keys.is_empty() {
            false => Ok(keys),
            true => Err(error::malformed(WHAT, "names no host keys")),
        }
    }
}
