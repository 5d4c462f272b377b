//! What changed from one commit to a later one, and what the commits between say
//! (`GET /repos/{owner}/{repo}/compare/{basehead}`).

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

/// What commits say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// The messages, oldest first.
    pub read: Vec<String>,
    /// How many older commits there are beside them.
    pub left_out: usize,
}

#[derive(Deserialize)]
struct CompareAnswer {
    status: String,
    files: Option<Vec<File>>,
    #[serde(default)]
    commits: Vec<Listed>,
    #[serde(default)]
    total_commits: usize,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    commit: Details,
}

#[derive(Default, Deserialize)]
struct Details {
    message: Option<String>,
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
        let compared = self.compare(repository, base, head, "?per_page=1").await?;
        Ok(compared.map_or(Changed::Unknown, |answer| changed(answer, base)))
    }

    /// What the commits after `base`, up to `head`, say; the newest 250 of them. It is not known if `base` is gone, or
    /// if `head` does not follow it.
    ///
    /// # Errors
    /// Any [`GitHubError`] that says nothing about the two commits.
    pub async fn messages(
        &self,
        repository: &Repository,
        base: &CommitSha,
        head: &CommitSha,
    ) -> Result<Option<Messages>, GitHubError> {
        // Only without pages the newest commits are among those that are listed.
        let compared = self.compare(repository, base, head, "").await?;
        Ok(compared.filter(CompareAnswer::is_ahead).map(|answer| {
            let left_out = answer.total_commits.saturating_sub(answer.commits.len());
            let messages = answer.commits.into_iter().map(|listed| listed.commit.message.unwrap_or_default());
            Messages { read: messages.collect(), left_out }
        }))
    }

    /// Asks for the comparison; `None` if there can be none of these two.
    async fn compare(
        &self,
        repository: &Repository,
        base: &CommitSha,
        head: &CommitSha,
        query: &str,
    ) -> Result<Option<CompareAnswer>, GitHubError> {
        let path = format!("/repos/{repository}/compare/{base}...{head}{query}");
        let what = format!("the changes from {} to {} of `{repository}`", base.short(), head.short());
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        let answer = match self.ask_in_time(&path, &Question::Get(&headers)).await {
            // It holds the changes themselves, which may be long.
            Err(GitHubError::TooLong { .. }) => return Ok(None),
            answer => answer?,
        };
        match answer.status {
            StatusCode::OK => serde_json::from_slice(&answer.body)
                .map(Some)
                .map_err(|cause| error::malformed(&what, &format!("is not a comparison ({cause})"))),
            StatusCode::NOT_FOUND => Ok(None),
            _ if answer::message(&answer.body).contains("diff is taking too long") => Ok(None),
            _ => Err(self.refused(&answer, repository, &what)),
        }
    }
}

impl CompareAnswer {
    fn is_ahead(&self) -> bool {
        self.status == "ahead"
    }
}

fn changed(answer: CompareAnswer, base: &CommitSha) -> Changed {
    let is_ahead = answer.is_ahead();
    match answer.files {
        Some(files) if is_ahead && files.len() < MOST_FILES => {
            let paths = files.into_iter().flat_map(|file| [Some(file.filename), file.previous_filename]);
            Changed::Files { since: base.clone(), paths: paths.flatten().collect() }
        }
        // Rewritten, or cut short.
        Some(_) | None => Changed::Unknown,
    }
}
