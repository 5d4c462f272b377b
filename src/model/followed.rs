//! What of a repository is followed for new commits.

use std::fmt;

use crate::model::Branch;
use crate::model::Glob;

/// A branch, or tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// The head of this branch.
    Branch(Branch),
    /// The newest of the tags that match.
    Tags(Glob),
}

impl Followed {
    /// Whether a full name, such as `refs/heads/main`, is one of what is followed.
    pub fn has(&self, git_ref: &str) -> bool {
        match self {
            Self::Branch(branch) => git_ref.strip_prefix("refs/heads/") == Some(branch.as_str()),
            Self::Tags(glob) => git_ref.strip_prefix("refs/tags/").is_some_and(|tag| glob.matches(tag)),
        }
    }
}

impl fmt::Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(branch) => write!(f, "branch `{branch}`"),
            Self::Tags(glob) => write!(f, "tags `{glob}`"),
        }
    }
}
