//! Saying how it stands with a commit (`POST /repos/{owner}/{repo}/statuses/{sha}`).

use http::StatusCode;
use serde::Serialize;
use url::Url;

use crate::clients::github::GitHub;
use crate::clients::github::GitHubError;
use crate::clients::github::Question;
use crate::clients::github::answer;
use crate::clients::github::error;
use crate::fault_point::Effect;
use crate::model::CommitState;
use crate::model::CommitStatus;

#[derive(Serialize)]
struct Body<'a> {
    state: CommitState,
    description: &'a str,
    /// Two projects may build the same commit.
    context: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<&'a str>,
}

impl GitHub {
    /// Says how it stands with a commit, with a link if there is one. The newest word of a project counts.
    ///
    /// # Errors
    /// [`GitHubError::MayNotWrite`] if the token may not, [`GitHubError::Invalid`] if GitHub will not take it, and
    /// any other [`GitHubError`].
    pub async fn set_status(&self, status: &CommitStatus, target: Option<&Url>) -> Result<(), GitHubError> {
        let path = format!("/repos/{}/statuses/{}", status.repository, status.sha);
        let body = Body {
            state: status.state,
            description: &status.description,
            context: format!("homeport/{}", status.project),
            target_url: target.map(Url::as_str),
        };
        let what = format!("the status of commit {} of `{}`", status.sha.short(), status.repository);
        let body = serde_json::to_value(&body)
            .map_err(|_| error::malformed(&path, "cannot be asked for in JSON"))?;
        let effect = Effect::begin("github", "set-status");
        let answer = self.ask_in_time(&path, &Question::Post(&body)).await?;
        effect.end();
        match answer.status {
            StatusCode::CREATED | StatusCode::OK => Ok(()),
            StatusCode::UNPROCESSABLE_ENTITY => {
                let message = answer::message(&answer.body);
                Err(GitHubError::Invalid { what, message })
            }
            _ => Err(match self.refused(&answer, &status.repository, &what) {
                GitHubError::Forbidden { .. } | GitHubError::NotFound { .. } => {
                    GitHubError::MayNotWrite { message: answer::message(&answer.body) }
                }
                other => other,
            }),
        }
    }
}
