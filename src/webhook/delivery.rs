//! What a genuine delivery of GitHub's means for the watched branches. Takes the event's name, the content
//! type and the raw body; gives a [`Meaning`]. Pure, and lenient: GitHub's payloads have hundreds of fields
//! that come and go, and only three are read.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use url::form_urlencoded;

use crate::model::Followed;
use crate::model::Repository;

/// A branch, or tags, that some project follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The repository as it is written in the config.
    pub repository: Repository,
    /// What of it is followed.
    pub followed: Followed,
}

/// What is to be done about a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// GitHub tries out a new hook.
    Ping,
    /// These branches have a new head, or these tags a new one among them: all spellings of one repository that the config knows, at least one.
    Moved(Vec<Watched>),
    /// Nothing.
    Nothing(Unconcerned),
}

/// Why a delivery is none of our business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unconcerned {
    /// It is not about a push.
    OtherEvent(String),
    /// A tag, or another ref that is no branch.
    NotABranch(String),
    /// The branch is gone.
    Deleted(String),
    /// No project follows the repository, at least not under this name.
    OtherRepository(String),
    /// No project follows the branch.
    OtherBranch(String),
    /// No project follows the tag.
    OtherTag(String),
}

/// Why a genuine delivery could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Neither of the two content types that GitHub offers.
    #[error("content type `{0}` is not known here; choose application/json in the settings of the webhook")]
    ContentType(String),
    /// The body is not a push payload.
    #[error("the body is not the payload of a push: {0}")]
    Payload(String),
}

/// The part of a push payload that matters. The rest is a hint at most: the poll that follows asks GitHub.
#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    git_ref: String,
    #[serde(default)]
    deleted: bool,
    repository: PushedRepository,
}

#[derive(Deserialize)]
struct PushedRepository {
    full_name: String,
}

/// Says what a delivery means. Only the payload of a push is looked into.
pub fn interpret(
    event: &str,
    content_type: &str,
    body: &[u8],
    watched: &[Watched],
) -> Result<Meaning, Unreadable> {
    let payload = payload_of(content_type, body)?;
    match event {
        "ping" => Ok(Meaning::Ping),
        "push" => {
            let push = serde_json::from_slice(&payload).map_err(|e| Unreadable::Payload(e.to_string()))?;
            Ok(meaning_of(&push, watched))
        }
        other => Ok(Meaning::Nothing(Unconcerned::OtherEvent(other.to_owned()))),
    }
}

fn meaning_of(push: &Push, watched: &[Watched]) -> Meaning {
    // GitHub's names of owners and repositories ignore case, git's names of branches do not.
    let name = &push.repository.full_name;
    let of_repository: Vec<&Watched> =
        watched.iter().filter(|w| w.repository.as_str().eq_ignore_ascii_case(name)).collect();
    let follows_tags = of_repository.iter().any(|w| matches!(w.followed, Followed::Tags(_)));
    let git_ref = push.git_ref.as_str();
    let nothing = match (git_ref.strip_prefix("refs/heads/"), git_ref.strip_prefix("refs/tags/")) {
        (Some(branch), _) if push.deleted => {
            return Meaning::Nothing(Unconcerned::Deleted(branch.to_owned()));
        }
        (Some(branch), _) => Unconcerned::OtherBranch(branch.to_owned()),
        (None, Some(tag)) if follows_tags => Unconcerned::OtherTag(tag.to_owned()),
        (None, _) => return Meaning::Nothing(Unconcerned::NotABranch(git_ref.to_owned())),
    };
    let moved: Vec<Watched> =
        of_repository.iter().filter(|w| w.followed.has(git_ref)).map(|w| (*w).clone()).collect();
    if !moved.is_empty() {
        Meaning::Moved(moved)
    } else if of_repository.is_empty() {
        Meaning::Nothing(Unconcerned::OtherRepository(name.clone()))
    } else {
        Meaning::Nothing(nothing)
    }
}

/// The JSON inside a body of one of the two content types that GitHub lets the owner choose from.
fn payload_of<'a>(content_type: &str, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Unreadable> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(Cow::Borrowed(body)),
        "application/x-www-form-urlencoded" => form_urlencoded::parse(body)
            .find(|(key, _)| key == "payload")
            .map(|(_, json)| Cow::Owned(json.into_owned().into_bytes()))
            .ok_or_else(|| Unreadable::Payload("the form has no field `payload`".to_owned())),
        _ => Err(Unreadable::ContentType(essence)),
    }
}

impl fmt::Display for Unconcerned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherEvent(event) => write!(f, "event `{event}` is not needed here, `push` suffices"),
            Self::NotABranch(git_ref) => write!(f, "`{git_ref}` is not a branch"),
            Self::Deleted(branch) => write!(f, "branch `{branch}` was deleted"),
            Self::OtherRepository(name) => {
                write!(
                    f,
                    "no project follows repository `{name}`; if it was renamed, so must be `repository` in the config"
                )
            }
            Self::OtherTag(tag) => write!(f, "no project follows tag `{tag}`"),
            Self::OtherBranch(branch) => write!(f, "no project follows branch `{branch}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::Meaning;
    use super::Unconcerned;
    use super::Unreadable;
    use super::Watched;
    use super::interpret;
    use crate::model::Followed;
    use crate::model::Glob;

    fn watched(repository: &str, branch: &str) -> Watched {
        let followed = Followed::Branch(branch.parse().unwrap());
        Watched { repository: repository.parse().unwrap(), followed }
    }

    fn push(repository: &str, git_ref: &str, rest: &str) -> Vec<u8> {
        format!(r#"{{"ref":"{git_ref}"{rest},"repository":{{"full_name":"{repository}"}}}}"#).into_bytes()
    }

    fn meaning(body: &[u8]) -> Result<Meaning, Unreadable> {
        let ours = [watched("me/hello", "main"), watched("Me/Hello", "main"), watched("me/hello", "next")];
        interpret("push", "application/json", body, &ours)
    }

    #[test]
    fn a_push_to_a_watched_branch_moves_every_spelling_of_its_repository() {
        let both = Meaning::Moved(vec![watched("me/hello", "main"), watched("Me/Hello", "main")]);
        assert_eq!(meaning(&push("ME/HELLO", "refs/heads/main", "")), Ok(both));
    }

    #[test]
    fn branches_tell_case_apart() {
        let other = Meaning::Nothing(Unconcerned::OtherBranch("Main".to_owned()));
        assert_eq!(meaning(&push("me/hello", "refs/heads/Main", "")), Ok(other));
    }

    #[test]
    fn a_deleted_branch_a_tag_and_a_stranger_mean_nothing() {
        let sentence = |body: &[u8]| match meaning(body) {
            Ok(Meaning::Nothing(why)) => why.to_string(),
            other => panic!("{other:?}"),
        };
        insta::assert_snapshot!(sentence(&push("me/hello", "refs/heads/main", r#","deleted":true"#)), @"branch `main` was deleted");
        insta::assert_snapshot!(sentence(&push("me/hello", "refs/tags/main", "")), @"`refs/tags/main` is not a branch");
        insta::assert_snapshot!(sentence(&push("me/renamed", "refs/heads/main", "")), @"no project follows repository `me/renamed`; if it was renamed, so must be `repository` in the config");
    }

    #[test]
    fn a_tag_that_is_followed_moves_those_that_follow_it() {
        let followed = Followed::Tags(Glob::parse("v*").unwrap());
        let ours = [watched("me/hello", "v1"), Watched { repository: "me/hello".parse().unwrap(), followed }];
        let meaning = |git_ref| interpret("push", "application/json", &push("me/hello", git_ref, ""), &ours);
        assert_eq!(meaning("refs/tags/v1"), Ok(Meaning::Moved(vec![ours[1].clone()])));
        assert_eq!(meaning("refs/heads/v1"), Ok(Meaning::Moved(vec![ours[0].clone()])));
        let other = Meaning::Nothing(Unconcerned::OtherTag("latest".to_owned()));
        assert_eq!(meaning("refs/tags/latest"), Ok(other));
    }

    #[test]
    fn a_form_holds_the_payload_in_its_field() {
        let form = b"other=1&payload=%7B%22ref%22%3A%22refs%2Fheads%2Fnext%22%2C+%22repository%22%3A%7B%22full_name%22%3A%22me%2Fhello%22%7D%7D";
        let ours = [watched("me/hello", "next")];
        let form_type = "application/x-www-form-urlencoded; charset=utf-8";
        assert_eq!(interpret("push", form_type, form, &ours), Ok(Meaning::Moved(ours.to_vec())));
        assert!(matches!(interpret("push", form_type, b"a=b", &ours), Err(Unreadable::Payload(_))));
    }

    #[test]
    fn an_unknown_content_type_is_not_guessed_at() {
        for unknown in ["text/plain", "", "application/jsonx"] {
            assert!(matches!(interpret("push", unknown, b"{}", &[]), Err(Unreadable::ContentType(_))));
        }
        assert_eq!(interpret("ping", "Application/JSON;charset=UTF-8", b"", &[]), Ok(Meaning::Ping));
    }

    #[test]
    fn a_torn_payload_is_unreadable_and_an_unknown_event_is_not_even_opened() {
        assert!(matches!(meaning(br#"{"ref":"refs/heads/main""#), Err(Unreadable::Payload(_))));
        assert!(matches!(meaning(br#"{"ref":"refs/heads/main"}"#), Err(Unreadable::Payload(_))));
        let other = Meaning::Nothing(Unconcerned::OtherEvent("star".to_owned()));
        assert_eq!(interpret("star", "application/json", b"{", &[]), Ok(other));
    }
}
