//! The question that a listing of tags poses, and the answers it can have. No rule stands here.

use std::collections::BTreeMap;
use std::fmt;

use chrono::DateTime;
use chrono::Utc;

use crate::config::project::TagSchemeName;
use crate::model::Digest;
use crate::model::Hold;
use crate::model::ListedTag;
use crate::model::Platform;
use crate::model::Release;
use crate::model::Tag;

/// What is deployed now.
#[derive(Debug, Clone, Copy)]
pub struct Serving<'a> {
    /// The release.
    pub release: &'a Release,
    /// When it was deployed, if homeport did it. Under the `commit` scheme it stands in for the push date when the
    /// tag is not listed, so that a listing that is behind does not bring an older image back.
    pub since: Option<DateTime<Utc>>,
}

/// Everything the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct ImageQuestion<'a> {
    /// The listed tags, in any order.
    pub listed: &'a [ListedTag],
    /// How versions are tagged.
    pub scheme: TagSchemeName,
    /// The configured platform, else the machine's own.
    pub platform: &'a Platform,
    /// What is deployed; `None` before the first deployment.
    pub serving: Option<Serving<'a>>,
    /// The digests that failed, each with its reason. Empty when a person asks for a deployment all the same.
    pub quarantined: &'a BTreeMap<Digest, String>,
    /// What the owner chose by command instead of something newer, if that is still what is on record. While it
    /// stands, only what is newer than everything that was put aside for it is due.
    pub hold: Option<&'a Hold>,
}

/// Whether the rest of a listing that is read page by page cannot matter: what was read so far stands in
/// the order of its pushes, newest first, without a doubt, and the tag that is deployed was among it. The order
/// is Docker Hub's default but no promise, so it is checked and not relied on.
pub fn nothing_newer_can_follow(read: &[ListedTag], deployed: &Tag) -> bool {
    let is_newest_first = read
        .is_sorted_by(|a, b| a.pushed_at.is_some() && b.pushed_at.is_some() && a.pushed_at >= b.pushed_at);
    is_newest_first && read.iter().any(|listed| listed.tag == *deployed)
}

/// What follows from a listing. Each sentence is for the first line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageDecision {
    /// The listing is empty, which says nothing about the images: nothing changes.
    EmptyListing,
    /// What is deployed is what should be.
    UpToDate {
        /// Why, a sentence.
        why: String,
    },
    /// A deployment is due.
    Due {
        /// What to deploy.
        tag: Tag,
        /// Its content; `None` if the listing does not say. Then whoever asks the registry for it must compare it
        /// with what is deployed and what is quarantined.
        digest: Option<Digest>,
        /// Why this one and why now, a sentence; also what was passed over for it.
        reason: String,
    },
    /// What would be due failed before, and nothing else is newer than what is deployed.
    Quarantined {
        /// The newest tag of that kind.
        tag: Tag,
        /// Its content.
        digest: Digest,
        /// Why, a sentence.
        why: String,
    },
    /// Nothing in the listing can be deployed here.
    Nothing {
        /// Why, a sentence.
        why: String,
    },
}

impl fmt::Display for ImageDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyListing => {
                f.write_str("the listing is empty, which says nothing about the images: nothing is changed")
            }
            Self::UpToDate { why: text }
            | Self::Due { reason: text, .. }
            | Self::Quarantined { why: text, .. }
            | Self::Nothing { why: text } => f.write_str(text),
        }
    }
}
