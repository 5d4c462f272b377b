//! The tags of a repository (`GET /repos/{owner}/{repo}/git/matching-refs/{ref}`), and the commits they stand for.

use http::HeaderMap;
use http::HeaderValue;
use http::StatusCode;
use http::header::ACCEPT;
use http::header::ETAG;
use http::header::IF_NONE_MATCH;
use http::header::LINK;
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;

use crate::clients::clock::Clock;
use crate::clients::github::GitHub;
use crate::clients::github::GitHubError;
use crate::clients::github::Head;
use crate::clients::github::Question;
use crate::clients::github::SHA_ALONE;
use crate::clients::github::UNRESERVED;
use crate::clients::github::answer;
use crate::clients::github::error;
use crate::event::Budget;
use crate::model::CommitSha;
use crate::model::Repository;

/// The most pages that are read.
const MOST_PAGES: u32 = 50;

/// The tags, as far as they are new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagsAnswer {
    /// The tags; `None` if they are those of the ETag.
    pub tags: Option<Vec<TagRef>>,
    /// What to ask with the next time; `None` if that would not tell.
    pub etag: Option<String>,
    /// What is left of the request budget, if GitHub said so.
    pub budget: Option<Budget>,
    /// The repository's present name, if it was renamed or moved and the name could be found out.
    pub moved_to: Option<Repository>,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRef {
    /// Its name.
    pub name: String,
    /// The commit it stands for; `None` for an annotated one, which names an object of its own.
    pub commit: Option<CommitSha>,
}

#[derive(Deserialize)]
struct RefAnswer {
    #[serde(rename = "ref")]
    full_name: String,
    object: ObjectAnswer,
}

#[derive(Deserialize)]
struct ObjectAnswer {
    #[serde(rename = "type")]
    kind: String,
    sha: CommitSha,
}

impl GitHub {
    /// The tags whose names begin so, unless they are those of the ETag.
    ///
    /// # Errors
    /// Any [`GitHubError`].
    pub async fn tags(
        &self,
        repository: &Repository,
        beginning: &str,
        etag: Option<&str>,
    ) -> Result<TagsAnswer, GitHubError> {
        Clock::within(self.limit, self.all_tags(repository, beginning, etag))
            .await
            .unwrap_or_else(|slow| Err(self.unreachable(slow.into())))
    }

    async fn all_tags(
        &self,
        repository: &Repository,
        beginning: &str,
        etag: Option<&str>,
    ) -> Result<TagsAnswer, GitHubError> {
        let what = format!("the tags of `{repository}`");
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        if let Some(etag) = etag.and_then(|etag| HeaderValue::try_from(etag).ok()) {
            headers.insert(IF_NONE_MATCH, etag);
        }
        let mut tags = Vec::new();
        for page in 1..=MOST_PAGES {
            let path = format!(
                "/repos/{repository}/git/matching-refs/tags/{}?per_page=100&page={page}",
                encoded(beginning)
            );
            let answer = self.ask(&path, &Question::Get(&headers)).await?;
            let budget = answer::budget(&answer.headers, self.clock.now());
            let moved_to = match &answer.moved_to {
                None => None,
                Some(url) => self.new_name(repository, url).await,
            };
            match answer.status {
                StatusCode::OK => tags.extend(read(&answer.body, &what)?),
                StatusCode::NOT_MODIFIED if headers.contains_key(IF_NONE_MATCH) => {
                    return Ok(TagsAnswer { tags: None, etag: etag.map(str::to_owned), budget, moved_to });
                }
                _ => return Err(self.refused(&answer, repository, &what)),
            }
            let text = |name| answer.headers.get(name).and_then(|value| value.to_str().ok());
            if text(LINK).is_none_or(|link| !link.contains("rel=\"next\"")) {
                // The ETag of one page says nothing of the others.
                let etag = text(ETAG).filter(|_| page == 1).map(str::to_owned);
                return Ok(TagsAnswer { tags: Some(tags), etag, budget, moved_to });
            }
            headers.remove(IF_NONE_MATCH);
        }
        Err(GitHubError::TooLong { what })
    }

    /// The commit that a tag stands for, however many objects are between them.
    ///
    /// # Errors
    /// Any [`GitHubError`].
    pub async fn commit_of_tag(&self, repository: &Repository, tag: &str) -> Result<CommitSha, GitHubError> {
        let path = format!("/repos/{repository}/commits/tags/{}", encoded(tag));
        let what = format!("tag `{tag}` of `{repository}`");
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(SHA_ALONE));
        let answer = self.ask_in_time(&path, &Question::Get(&headers)).await?;
        match answer.status {
            StatusCode::OK => match answer::head(&answer.body, None, &what)? {
                Head::At(sha) => Ok(sha),
                Head::Unchanged => Err(error::malformed(&what, "is no commit id")),
            },
            _ => Err(self.refused(&answer, repository, &what)),
        }
    }
}

fn encoded(name: &str) -> String {
    let segments = name.split('/').map(|part| utf8_percent_encode(part, &UNRESERVED).to_string());
    segments.collect::<Vec<_>>().join("/")
}

fn read(body: &[u8], what: &str) -> Result<Vec<TagRef>, GitHubError> {
    let refs: Vec<RefAnswer> = serde_json::from_slice(body)
        .map_err(|cause| error::malformed(what, &format!("is not a list of tags ({cause})")))?;
    let tag = |found: RefAnswer| {
        let name = found.full_name.strip_prefix("refs/tags/")?.to_owned();
        Some(TagRef { name, commit: (found.object.kind == "commit").then_some(found.object.sha) })
    };
    Ok(refs.into_iter().filter_map(tag).collect())
}
