//! What GitHub shows beside a commit.

use serde::Deserialize;
use serde::Serialize;

use crate::model::CommitSha;
use crate::model::ProjectName;
use crate::model::Repository;

/// How it stands with a commit, in GitHub's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommitState {
    /// Its run goes on, or was cut off and is taken up again.
    Pending,
    /// Its image is in the registry.
    Success,
    /// It failed by its own fault.
    Failure,
    /// Its run failed by the world's fault, or made way for a newer commit.
    Error,
}

/// A word about a commit. Of all that a project says, the newest counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitStatus {
    /// The project that says it.
    pub project: ProjectName,
    /// Where the commit is.
    pub repository: Repository,
    /// The commit.
    pub sha: CommitSha,
    /// How it stands.
    pub state: CommitState,
    /// Why, on one line, secrets redacted.
    pub description: String,
}
