//! What stays put aside when the owner chooses a release by command?
//!
//! Takes the choice, an earlier one, and what would otherwise be deployed; gives the hold that a poll has to keep.

use crate::config::project::TagSchemeName;
use crate::model::Hold;
use crate::model::ListedTag;
use crate::model::PutAside;
use crate::model::Release;
use crate::model::Tag;
use crate::tag;

/// The hold that follows from choosing `kept`; `None` if nothing that is known is newer.
///
/// An earlier hold goes on for what it put aside, until the owner chooses that itself. What is known to be older than
/// the choice is left out; without push dates, as of commits that are not listed, nothing is.
pub fn hold_for(
    kept: &Release,
    before: Option<&Hold>,
    instead_of: Vec<PutAside>,
    scheme: TagSchemeName,
    listed: &[ListedTag],
) -> Option<Hold> {
    let rank = |tag: &Tag| {
        let known = listed.iter().find(|listed| listed.tag == *tag);
        tag::rank(scheme, tag, known.and_then(|listed| listed.pushed_at))
    };
    let chosen = rank(&kept.tag);
    let is_newer = |aside: &PutAside| match (rank(&aside.tag), chosen) {
        (Some(aside), Some(chosen)) => aside > chosen,
        (None, _) | (_, None) => true,
    };
    let earlier = before.into_iter().flat_map(|hold| hold.put_aside.iter().cloned());
    let mut put_aside: Vec<PutAside> = Vec::new();
    for aside in earlier.chain(instead_of) {
        let is_kept = aside.digest.as_ref() == Some(&kept.digest);
        let is_known = put_aside.iter().any(|known| known.tag == aside.tag && known.digest == aside.digest);
        if !is_kept && !is_known && is_newer(&aside) {
            put_aside.push(aside);
        }
    }
    (!put_aside.is_empty()).then(|| Hold { kept: kept.clone(), put_aside })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use chrono::DateTime;

    use super::*;
    use crate::model::Digest;

    fn digest(tag: &str) -> Digest {
        format!("sha256:{}", tag.repeat(64).get(..64).unwrap()).parse().unwrap()
    }

    fn release(tag: &str) -> Release {
        Release { tag: tag.parse().unwrap(), digest: digest(tag) }
    }

    fn aside(tag: &str) -> PutAside {
        PutAside { tag: tag.parse().unwrap(), digest: Some(digest(tag)), since: DateTime::UNIX_EPOCH }
    }

    fn counted(kept: &str, before: Option<&Hold>, instead_of: &[&str]) -> Option<Hold> {
        let instead_of = instead_of.iter().map(|tag| aside(tag)).collect();
        hold_for(&release(kept), before, instead_of, TagSchemeName::Counter, &[])
    }

    #[test]
    fn going_back_puts_the_newer_one_aside() {
        assert_eq!(counted("6", None, &["7"]).unwrap().in_words(), "7");
    }

    #[test]
    fn going_back_twice_puts_both_aside() {
        let first = counted("6", None, &["7"]);
        assert_eq!(counted("5", first.as_ref(), &["6"]).unwrap().in_words(), "7, 6");
    }

    #[test]
    fn choosing_what_was_put_aside_ends_the_hold() {
        let first = counted("6", None, &["7"]);
        assert_eq!(counted("7", first.as_ref(), &["6"]), None);
    }

    #[test]
    fn going_forward_holds_nothing_back() {
        assert_eq!(counted("9", None, &["7"]), None);
    }

    #[test]
    fn of_commits_without_push_dates_none_is_taken_for_older() {
        let hold = |listed: &[ListedTag]| {
            let instead_of = vec![aside("cccccccccccc")];
            hold_for(&release("ffffffffffff"), None, instead_of, TagSchemeName::Commit, listed)
        };
        assert!(hold(&[]).is_some());
        let pushed = |tag: &str, second| ListedTag {
            tag: tag.parse().unwrap(),
            digest: None,
            platforms: Vec::new(),
            pushed_at: DateTime::from_timestamp(second, 0),
        };
        assert!(hold(&[pushed("ffffffffffff", 20), pushed("cccccccccccc", 10)]).is_none());
    }
}
