//! What Docker Hub's answers mean: bytes in, nouns out. Reads only the fields it needs and takes nearly all of
//! them as optional, as they are in real answers whatever the specification says.

use chrono::DateTime;
use secrecy::SecretString;
use serde::Deserialize;

use crate::model::ListedTag;
use crate::model::Platform;

/// The longest message that is taken over, in characters.
const LONGEST_MESSAGE: usize = 200;

/// One page of a list.
pub(super) struct Page {
    pub(super) tags: Vec<ListedTag>,
    /// The address of the next page, as it was written.
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
struct PageAnswer {
    results: Vec<TagAnswer>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct TagAnswer {
    name: String,
    digest: Option<String>,
    images: Option<Vec<ImageAnswer>>,
    tag_last_pushed: Option<String>,
    last_updated: Option<String>,
}

#[derive(Deserialize)]
struct ImageAnswer {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(alias = "token")]
    access_token: SecretString,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    #[serde(alias = "message")]
    detail: String,
}

/// Reads a page; the error is a sentence without a subject.
pub(super) fn page(body: &[u8]) -> Result<Page, String> {
    let is_web_page = body.trim_ascii_start().starts_with(b"<");
    let answer: PageAnswer = serde_json::from_slice(body).map_err(|cause| match is_web_page {
        true => "is a web page: is this network behind a login page?".to_owned(),
        false => format!("is not a list of tags ({cause})"),
    })?;
    let next = answer.next.filter(|next| !next.is_empty());
    Ok(Page { tags: answer.results.into_iter().filter_map(tag).collect(), next })
}

/// Reads the token that a login gave.
pub(super) fn token(body: &[u8]) -> Option<SecretString> {
    serde_json::from_slice::<TokenAnswer>(body).ok().map(|answer| answer.access_token)
}

/// The sentence in which Docker Hub explains an error.
pub(super) fn message(body: &[u8]) -> String {
    let text = serde_json::from_slice::<ErrorAnswer>(body).map_or_else(|_| String::new(), |a| a.detail);
    let text: String = text.chars().filter(|c| !c.is_control()).take(LONGEST_MESSAGE).collect();
    if text.is_empty() { "no reason given".to_owned() } else { text }
}

/// A name that is no tag cannot be pulled either, so nothing is lost by leaving it out.
fn tag(answer: TagAnswer) -> Option<ListedTag> {
    let time = answer.tag_last_pushed.or(answer.last_updated);
    Some(ListedTag {
        tag: answer.name.parse().ok()?,
        digest: answer.digest.and_then(|digest| digest.parse().ok()),
        platforms: answer.images.unwrap_or_default().into_iter().filter_map(platform).collect(),
        pushed_at: time.and_then(|time| DateTime::parse_from_rfc3339(&time).ok()).map(|time| time.to_utc()),
    })
}

/// `unknown/unknown` is an attestation of BuildKit, not something that runs. An empty system is found on tags
/// from before there were others than Linux.
fn platform(answer: ImageAnswer) -> Option<Platform> {
    let os = answer.os.filter(|os| !os.is_empty()).unwrap_or_else(|| "linux".to_owned());
    let architecture = answer.architecture.filter(|name| !name.is_empty() && name != "unknown")?;
    Some(Platform { os, architecture, variant: answer.variant.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_tag_of_almost_nothing_is_still_a_tag_and_a_name_that_is_none_is_left_out() {
        let body = br#"{"results":[{"name":"1"},{"name":"-x"},{"name":"2","images":null,"digest":"","tag_last_pushed":"soon"}]}"#;
        let tags = page(body).unwrap().tags;
        assert_eq!(tags.iter().map(|tag| tag.tag.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        for tag in tags {
            assert_eq!((tag.digest, tag.platforms, tag.pushed_at), (None, vec![], None));
        }
    }

    #[test]
    fn times_have_between_no_and_nine_digits_behind_the_second() {
        for (text, nanos) in [
            ("2026-01-12T11:10:09Z", 0),
            ("2026-01-12T11:10:09.5Z", 500_000_000),
            ("2026-01-12T11:10:09.123456Z", 123_456_000),
            ("2026-01-12T11:10:09.123456789Z", 123_456_789),
        ] {
            let body = format!(r#"{{"results":[{{"name":"1","last_updated":"{text}"}}]}}"#);
            let pushed_at = page(body.as_bytes()).unwrap().tags[0].pushed_at.unwrap();
            assert_eq!((pushed_at.timestamp(), pushed_at.timestamp_subsec_nanos()), (1_768_216_209, nanos));
        }
    }

    #[test]
    fn what_is_no_list_says_so() {
        for (body, part) in [
            ("<!doctype html>", "is a web page"),
            ("", "is not a list of tags"),
            (r#"{"results":[{"name":"1"}"#, "is not a list of tags"),
            (r#"{"results":null}"#, "is not a list of tags"),
            (r#"{"detail":"Rate limit exceeded","error":false}"#, "missing field `results`"),
        ] {
            let reason = page(body.as_bytes()).err().unwrap();
            assert!(reason.contains(part), "{reason}");
        }
    }
}
