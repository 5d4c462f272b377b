//! What changed from one commit to a later one (`GET /repos/{owner}/{repo}/compare/{basehead}`).

use http::HeaderMap;
use http::HeaderValue;
use http::StatusCode;
use http::header::ACCEPT;
use serde::Deserialize;

use crate::clients::github::GitHub;
use crate::clients::github::GitHubError;
use crate::clients::github::Question;
use crate::clients::github::answer;
use crate::clients::github::error;
use crate::model::Changed;
use crate::model::CommitSha;
use crate::model::Repository;

/// GitHub names no more files than these in a comparison, and does not say that there are more.
const MOST_FILES: usize = 300;

#[derive(Deserialize)]
struct CompareAnswer {
    status: String,
    files: Option<Vec<File>>,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    /// Where it was, if it was moved.
    previous_filename: Option<String>,
}

impl GitHub {
    /// The files that changed from `base` to `head`. They are not known if `base` is gone, if `head` does not follow
    /// it, or if there are too many.
    ///
    /// # Errors
    /// Any [`GitHubError`] that says nothing about the two commits.
    pub async fn changed_files(
        &self,
        repository: &Repository,
        base: &CommitSha,
        head: &CommitSha,
    ) -> Result<Changed, GitHubError> {
        // All files stand on the first page, however few of the commits do.
        let path = format!("/repos/{repository}/compare/{base}...{head}?per_page=1");
        let what = format!("the changes from {} to {} of `{repository}`", base.short(), head.short());
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        let answer = match self.ask_in_time(&path, &Question::Get(&headers)).await {
            // It holds the changes themselves, which may be long.
            Err(GitHubError::TooLong { .. }) => return Ok(Changed::Unknown),
            answer => answer?,
        };
        match answer.status {
            StatusCode::OK => read(&answer.body, base, &what),
            StatusCode::NOT_FOUND => Ok(Changed::Unknown),
            _ if answer::message(&answer.body).contains("diff is taking too long") => Ok(Changed::Unknown),
            _ => Err(self.refused(&answer, repository, &what)),
        }
    }
}

fn read(body: &[u8], base: &CommitSha, what: &str) -> Result<Changed, GitHubError> {
    let answer: CompareAnswer = serde_json::from_slice(body)
        .map_err(|cause| error::malformed(what, &format!("is not a comparison ({cause})")))?;
    match answer.files {
        Some(files) if answer.status == "ahead" && files.len() < MOST_FILES => {
            let paths = files.into_iter().flat_map(|file| [Some(file.filename), file.previous_filename]);
            Ok(Changed::Files { since: base.clone(), paths: paths.flatten().collect() })
        }
        // Rewritten, or cut short.
        Some(_) | None => Ok(Changed::Unknown),
    }
}
