//! What GitHub's answers mean: bytes and headers in, nouns out. Reads only the fields it needs and takes
//! every one of them as optional, since GitHub's own examples leave some out.

use chrono::DateTime;
use chrono::Utc;
use http::HeaderMap;
use serde::Deserialize;

use crate::clients::github::error;
use crate::clients::github::error::GitHubError;
use crate::clients::wait_hint;
use crate::event::Budget;
use crate::model::Bump;
use crate::model::Commit;
use crate::model::CommitSha;
use crate::model::Repository;
use crate::model::SkipMark;

/// The longest line that is taken over from a commit or an error message, in characters.
const LONGEST_LINE: usize = 200;

/// Where a branch stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// Still at the commit that was known.
    Unchanged,
    /// At this commit.
    At(CommitSha),
}

/// What GitHub said about a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadAnswer {
    /// Where the branch stands.
    pub head: Head,
    /// What is left of the request budget, if GitHub said so.
    pub budget: Option<Budget>,
    /// The repository's present name, if it was renamed or moved and the name could be found out.
    pub moved_to: Option<Repository>,
}

#[derive(Deserialize)]
struct CommitAnswer {
    sha: CommitSha,
    html_url: Option<String>,
    #[serde(default)]
    commit: CommitDetails,
    author: Option<Account>,
}

#[derive(Default, Deserialize)]
struct CommitDetails {
    message: Option<String>,
    author: Option<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Account {
    login: Option<String>,
}

#[derive(Deserialize)]
struct RepositoryAnswer {
    full_name: Repository,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    message: String,
}

/// Reads the answer to a poll: a bare commit id.
pub(super) fn head(body: &[u8], known: Option<&CommitSha>, what: &str) -> Result<Head, GitHubError> {
    let text = std::str::from_utf8(body).unwrap_or_default().trim();
    let sha: CommitSha = text.parse().map_err(|_| error::malformed(what, "is not a commit id"))?;
    Ok(if known == Some(&sha) { Head::Unchanged } else { Head::At(sha) })
}

/// Reads a commit, which must be the one that was asked for.
pub(super) fn commit(body: &[u8], asked: &CommitSha, what: &str) -> Result<Commit, GitHubError> {
    let answer: CommitAnswer = serde_json::from_slice(body)
        .map_err(|cause| error::malformed(what, &format!("is not a commit ({cause})")))?;
    if answer.sha != *asked {
        return Err(error::malformed(what, "is another commit"));
    }
    let name = answer.commit.author.and_then(|author| author.name).filter(|name| !name.trim().is_empty());
    let author = name.or_else(|| answer.author.and_then(|account| account.login));
    let message = answer.commit.message.unwrap_or_default();
    Ok(Commit {
        sha: answer.sha,
        subject: line(&message),
        author: line(&author.unwrap_or_default()),
        url: answer.html_url.filter(|url| url.starts_with("http")).map_or_else(String::new, |url| line(&url)),
        bump: Bump::marked_in(&message),
        skip: SkipMark::found_in(&message),
    })
}

/// Reads a repository's present name.
pub(super) fn full_name(body: &[u8]) -> Option<Repository> {
    serde_json::from_slice::<RepositoryAnswer>(body).ok().map(|answer| answer.full_name)
}

/// The sentence in which GitHub explains an error; empty if there is none.
pub(super) fn message(body: &[u8]) -> String {
    serde_json::from_slice::<ErrorAnswer>(body).map_or_else(|_| String::new(), |answer| line(&answer.message))
}

/// Reads what is left of the request budget.
pub(super) fn budget(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Budget> {
    let count = |name| wait_hint::number(headers, name).and_then(|number| u32::try_from(number).ok());
    Some(Budget {
        limit: count("x-ratelimit-limit")?,
        remaining: count("x-ratelimit-remaining")?,
        reset: wait_hint::limit_reset(headers, now)?,
    })
}

/// The first line, without control characters: anyone can write a commit message, and it ends up in mails
/// and on terminals.
fn line(text: &str) -> String {
    let first = text.trim_start().lines().next().unwrap_or_default().trim_end();
    first.chars().filter(|c| !c.is_control()).take(LONGEST_LINE).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    const SHA: &str = "6dcb09b5b57875f334f61aebed695e2e4193db5e";

    fn commit_of(json: &str) -> Result<Commit, GitHubError> {
        commit(json.as_bytes(), &SHA.parse().unwrap(), "commit 6dcb09b of `o/r`")
    }

    #[test]
    fn a_commit_with_almost_nothing_in_it_is_still_a_commit() {
        let commit = commit_of(&format!("{{\"sha\":\"{SHA}\",\"author\":null,\"files\":[{{}}]}}")).unwrap();
        assert_eq!((commit.subject.as_str(), commit.author.as_str(), commit.url.as_str()), ("", "", ""));
    }

    #[test]
    fn a_message_cannot_bring_terminal_escapes_or_a_second_line() {
        let message = r"Fix \u001b[31mred\u0007\r\n\r\nlong text";
        let commit =
            commit_of(&format!("{{\"sha\":\"{SHA}\",\"commit\":{{\"message\":\"{message}\"}}}}")).unwrap();
        assert_eq!(commit.subject, "Fix [31mred");
    }

    #[test]
    fn another_commit_or_a_web_page_is_malformed() {
        let other = SHA.replace('6', "7");
        for body in [format!("{{\"sha\":\"{other}\"}}"), "<html>".to_owned(), "{}".to_owned(), String::new()]
        {
            assert!(matches!(commit_of(&body), Err(GitHubError::Malformed { .. })), "{body}");
        }
    }
}
