//! The questions of [`ask_github`] where there is no token for GitHub's API but a deploy key: by git, over SSH. What a
//! commit changes is not known then, which speaks for running it.
//!
//! [`ask_github`]: crate::agent::ask::ask_github

use crate::agent::ask::Known;
use crate::agent::ask::chain;
use crate::clients::Clients;
use crate::clients::git::GitError;
use crate::config::settings::SourceSettings;
use crate::decide::newest_tag;
use crate::event::Again;
use crate::event::PollFailure;
use crate::model::Commit;
use crate::model::CommitPrefix;
use crate::model::CommitSha;
use crate::model::Followed;

/// The commit that what is followed has come to, unless it is known; and the tag, where tags are followed.
pub(super) async fn new_commit(
    clients: &Clients,
    source: &SourceSettings,
    known: &Known,
) -> Result<Option<(CommitSha, Option<String>)>, PollFailure> {
    let git = clients.git_for(source).await.map_err(failure)?;
    let repository = &source.repository;
    let newest = match &source.followed {
        Followed::Branch(branch) => {
            let head = git.head(repository, branch).await.map_err(failure)?;
            let missing = || PollFailure {
                again: Again::BySchedule,
                reason: format!(
                    "`{repository}` has no branch `{branch}`: look for a typing error in `branch`"
                ),
            };
            Some((head.ok_or_else(missing)?, None))
        }
        Followed::Tags(glob) => {
            let tags = git.tags(repository).await.map_err(failure)?;
            let names = tags.iter().map(|(name, _)| name.as_str()).filter(|name| glob.matches(name));
            let newest = newest_tag(names);
            let newest = newest.and_then(|newest| tags.iter().find(|(name, _)| name == newest));
            newest.map(|(name, sha)| (sha.clone(), Some(name.clone())))
        }
    };
    Ok(newest.filter(|(sha, _)| known.head.as_ref() != Some(sha)))
}

/// What a commit says.
pub(super) async fn commit(
    clients: &Clients,
    source: &SourceSettings,
    sha: &CommitSha,
) -> Result<Commit, PollFailure> {
    let git = clients.git_for(source).await.map_err(failure)?;
    git.commit(&source.repository, sha).await.map_err(failure)
}

/// The commit with this id. git finds none by its first digits.
pub(super) async fn find_commit(
    clients: &Clients,
    source: &SourceSettings,
    wanted: &CommitPrefix,
) -> Result<Option<CommitSha>, PollFailure> {
    let Ok(sha) = wanted.to_string().parse() else {
        let reason =
            "without `github.token` a commit is found by its whole id: give all 40 digits".to_owned();
        return Err(PollFailure { again: Again::BySchedule, reason });
    };
    commit(clients, source, &sha).await.map(|commit| Some(commit.sha))
}

fn failure(error: GitError) -> PollFailure {
    PollFailure { again: Again::BySchedule, reason: chain(error) }
}
