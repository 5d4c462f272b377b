//! Asking a repository by git alone, where GitHub's API has no token to know us by: where its branches and tags stand,
//! and what a commit says. Takes checked names; gives what GitHub would say, as far as git knows it.

use std::time::Duration;

use crate::clients::clock::Clock;
use crate::clients::git::Git;
use crate::clients::git::command::Ended;
use crate::clients::git::command::GitCommand;
use crate::clients::git::error::GitError;
use crate::clients::git::mirror;
use crate::model::Branch;
use crate::model::Bump;
use crate::model::Commit;
use crate::model::CommitSha;
use crate::model::Repository;
use crate::model::SkipMark;

/// The most time one question may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The most bytes of an answer.
const LONGEST_ANSWER: usize = 4 << 20;
/// The most characters of a subject or an author.
const LONGEST_LINE: usize = 300;

impl Git {
    /// Where a branch stands; `None` if there is none of that name.
    ///
    /// # Errors
    /// Any [`GitError`].
    pub async fn head(
        &self,
        repository: &Repository,
        branch: &Branch,
    ) -> Result<Option<CommitSha>, GitError> {
        let name = format!("refs/heads/{branch}");
        let listed = self.list(repository, &name).await?;
        Ok(listed.into_iter().find(|(listed, _)| *listed == name).map(|(_, sha)| sha))
    }

    /// The tags and the commits they stand for.
    ///
    /// # Errors
    /// Any [`GitError`].
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<(String, CommitSha)>, GitError> {
        let mut tags: Vec<(String, CommitSha)> = Vec::new();
        for (name, sha) in self.list(repository, "refs/tags/*").await? {
            let Some(name) = name.strip_prefix("refs/tags/") else { continue };
            // An annotated tag comes twice, first with the object that it is itself.
            match (name.strip_suffix("^{}"), tags.last_mut()) {
                (Some(name), Some(last)) if last.0 == name => last.1 = sha,
                (_, _) => tags.push((name.to_owned(), sha)),
            }
        }
        Ok(tags)
    }

    /// What a commit says; by its id alone if that is too long.
    ///
    /// # Errors
    /// Any [`GitError`].
    pub async fn commit(&self, repository: &Repository, sha: &CommitSha) -> Result<Commit, GitError> {
        let _alone = self.looking.lock().await;
        let place = self.mirrors.join(".look");
        mirror::remove(&place).await?;
        mirror::create(&self.mirrors).await?;
        let init = GitCommand::new(&["init", "--quiet", "--bare", "--template="]).path(&place);
        self.asked(repository, init).await?;
        // The commit without its files, from a server that can leave them out.
        let refspec = format!("+{sha}:refs/homeport/commit");
        let fetch = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-recurse-submodules",
            "--depth=1",
            "--filter=tree:0",
            "look",
            &refspec,
        ];
        let fetch = GitCommand::new(&fetch)
            .in_repository(&place)
            .with_settings(&["remote.look.promisor=true", "remote.look.partialclonefilter=tree:0"])
            .setting(format!("remote.look.url={}", self.source_url(repository)).into());
        self.asked(repository, self.talking(fetch)?).await?;
        let show = ["log", "-1", "--no-show-signature", "--format=%an%x00%B", sha.as_str()];
        let show = GitCommand::question(&show).in_repository(&place).keeping(LONGEST_ANSWER);
        let shown = self.asked(repository, show).await?;
        mirror::remove(&place).await?;
        let url = format!("{}/{repository}/commit/{sha}", self.clone_url.as_str().trim_end_matches('/'));
        Ok(match shown.stdout.split_once('\0') {
            Some((author, message)) if shown.stdout.len() < LONGEST_ANSWER => Commit {
                sha: sha.clone(),
                subject: line(message),
                author: line(author),
                url,
                bump: Bump::marked_in(message),
                skip: SkipMark::found_in(message),
            },
            _ => Commit { url, ..Commit::unknown(sha.clone()) },
        })
    }

    /// `NAME, COMMIT` of the references that match.
    async fn list(
        &self,
        repository: &Repository,
        pattern: &str,
    ) -> Result<Vec<(String, CommitSha)>, GitError> {
        let url = self.source_url(repository);
        let list = ["ls-remote", "--end-of-options", &url, pattern];
        let list = self.talking(GitCommand::question(&list).keeping(LONGEST_ANSWER))?;
        let listed = self.asked(repository, list).await?;
        let read = |line: &str| {
            let (sha, name) = line.split_once('\t')?;
            Some((name.to_owned(), sha.parse().ok()?))
        };
        Ok(listed.stdout.lines().filter_map(read).collect())
    }

    async fn asked(&self, repository: &Repository, command: GitCommand) -> Result<Ended, GitError> {
        let ended =
            Clock::within(LIMIT, command.run(&self.program, &|_| {})).await.unwrap_or_else(|slow| {
                Err(GitError::TimedOut { repository: repository.clone(), limit: slow.limit })
            })?;
        if ended.is_success() { Ok(ended) } else { Err(self.meaning(&ended, repository, &self.mirrors)) }
    }
}

/// The first line, without control characters: anyone can write a commit message.
fn line(text: &str) -> String {
    let first = text.trim_start().lines().next().unwrap_or_default().trim_end();
    first.chars().filter(|c| !c.is_control()).take(LONGEST_LINE).collect()
}
