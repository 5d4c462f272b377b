//! Tag schemes: which tags are versions, which of two versions is newer, and what the next one is called.
//!
//! Takes tags, push dates, a commit and a date; gives ranks and tags. Only strict, canonical spellings are
//! versions, so that no two tags stand for the same version and `latest`, `v1.2.3` or `007` never count.
//! Must not ask what is listed or deployed: that is [`crate::decide`].

use chrono::DateTime;
use chrono::Datelike;
use chrono::NaiveDate;
use chrono::Utc;

use crate::config::project::BumpRule;
use crate::config::project::TagSchemeName;
use crate::model::Bump;
use crate::model::CommitSha;
use crate::model::Tag;

/// How many digits of a commit make a tag of the `commit` scheme.
const COMMIT_DIGITS: usize = 12;

/// The place of a version among the versions of the same scheme: the greater one is newer.
///
/// Ranks of different schemes must not be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(Place);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Version([u64; 3]),
    PushedAt(DateTime<Utc>),
}

/// A scheme has no number left above the highest tag that is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "name the next version: no number is left above tag `{highest}`; delete that tag or change `image.tag.scheme`"
)]
pub struct SchemeExhausted {
    /// The highest tag that is taken.
    pub highest: String,
}

/// The rank of a tag; `None` if it is no version of the scheme, or a commit whose push date is unknown.
pub fn rank(scheme: TagSchemeName, tag: &Tag, pushed_at: Option<DateTime<Utc>>) -> Option<Rank> {
    match scheme {
        TagSchemeName::Counter | TagSchemeName::Semver | TagSchemeName::Calver => {
            version(scheme, tag).map(|numbers| Rank(Place::Version(numbers)))
        }
        TagSchemeName::Commit => {
            pushed_at.filter(|_| is_commit_tag(tag.as_str())).map(|date| Rank(Place::PushedAt(date)))
        }
    }
}

/// The tag of the next version: above every version among `taken`, also when the clock that gave `today` is behind.
///
/// A tag of the `commit` scheme is the commit's own name: the same commit gets the same tag again. `bump` matters to
/// semantic versions alone.
pub fn next<'a>(
    scheme: TagSchemeName,
    bump: Bump,
    taken: impl IntoIterator<Item = &'a Tag>,
    commit: &CommitSha,
    today: NaiveDate,
) -> Result<Tag, SchemeExhausted> {
    let highest = taken.into_iter().filter_map(|tag| version(scheme, tag)).max();
    let numbers = match scheme {
        TagSchemeName::Counter => counter_after(highest),
        TagSchemeName::Semver => semver_after(highest, bump),
        TagSchemeName::Calver => calver_after(highest, today),
        TagSchemeName::Commit => return Ok(tag_of(&commit.as_str()[..COMMIT_DIGITS])),
    };
    match numbers {
        Some(numbers) => Ok(tag_of(&spelled(scheme, numbers))),
        None => Err(SchemeExhausted { highest: spelled(scheme, highest.unwrap_or_default()) }),
    }
}

/// What the owner's rule says about commits whose messages are `marked` so. While the major number is 0, anything may
/// change at any time (Semantic Versioning 2.0.0, 4): to leave that state is the owner's decision, never that of a mark
/// in a message.
pub fn bump<'a>(rule: BumpRule, marked: Bump, taken: impl IntoIterator<Item = &'a Tag>) -> Bump {
    match rule {
        BumpRule::Patch => Bump::Patch,
        BumpRule::Minor => Bump::Minor,
        BumpRule::Major => Bump::Major,
        BumpRule::Conventional => {
            let highest = taken.into_iter().filter_map(|tag| version(TagSchemeName::Semver, tag)).max();
            let is_stable = highest.is_some_and(|[major, _, _]| major > 0);
            if is_stable { marked } else { marked.min(Bump::Minor) }
        }
    }
}

/// What a version of the scheme looks like, as a noun phrase for messages.
pub const fn description(scheme: TagSchemeName) -> &'static str {
    match scheme {
        TagSchemeName::Counter => "a version of the scheme `counter`, such as `42`",
        TagSchemeName::Semver => "a version of the scheme `semver`, such as `1.2.3`",
        TagSchemeName::Calver => "a version of the scheme `calver`, such as `2026.11.3`",
        TagSchemeName::Commit => {
            "a version of the scheme `commit`, such as `0123456789ab`, with a known push date"
        }
    }
}

fn version(scheme: TagSchemeName, tag: &Tag) -> Option<[u64; 3]> {
    match scheme {
        TagSchemeName::Counter => number(tag.as_str()).map(|n| [0, 0, n]),
        TagSchemeName::Semver => triple(tag.as_str()),
        TagSchemeName::Calver => triple(tag.as_str())
            .filter(|[year, month, _]| (1000..=9999).contains(year) && (1..=12).contains(month)),
        TagSchemeName::Commit => None,
    }
}

fn triple(text: &str) -> Option<[u64; 3]> {
    let (first, rest) = text.split_once('.')?;
    let (second, third) = rest.split_once('.')?;
    Some([number(first)?, number(second)?, number(third)?])
}

/// A number in its one canonical spelling; `parse` alone would also take `+7` and `007`.
fn number(text: &str) -> Option<u64> {
    let is_canonical = text == "0" || !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_canonical)
}

fn is_commit_tag(text: &str) -> bool {
    text.len() == COMMIT_DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn counter_after(highest: Option<[u64; 3]>) -> Option<[u64; 3]> {
    let Some([_, _, n]) = highest else { return Some([0, 0, 1]) };
    Some([0, 0, n.checked_add(1)?])
}

fn semver_after(highest: Option<[u64; 3]>, bump: Bump) -> Option<[u64; 3]> {
    let Some([major, minor, patch]) = highest else { return Some([0, 1, 0]) };
    let next_patch = || patch.checked_add(1).map(|patch| [major, minor, patch]);
    let next_minor = || minor.checked_add(1).map(|minor| [major, minor, 0]);
    let next_major = || major.checked_add(1).map(|major| [major, 0, 0]);
    match bump {
        Bump::Patch => next_patch().or_else(next_minor).or_else(next_major),
        Bump::Minor => next_minor().or_else(next_major),
        Bump::Major => next_major(),
    }
}

fn calver_after(highest: Option<[u64; 3]>, today: NaiveDate) -> Option<[u64; 3]> {
    let this_year = u64::from(today.year().clamp(1000, 9999).unsigned_abs());
    let this_month = u64::from(today.month());
    match highest {
        // A board without a battery-backed clock may believe that it is an earlier month: go on from the highest.
        Some([year, month, n]) if (year, month) >= (this_year, this_month) => match n.checked_add(1) {
            Some(n) => Some([year, month, n]),
            None if month < 12 => Some([year, month + 1, 1]),
            None if year < 9999 => Some([year + 1, 1, 1]),
            None => None,
        },
        Some(_) | None => Some([this_year, this_month, 1]),
    }
}

fn spelled(scheme: TagSchemeName, [first, second, third]: [u64; 3]) -> String {
    match scheme {
        TagSchemeName::Counter | TagSchemeName::Commit => third.to_string(),
        TagSchemeName::Semver | TagSchemeName::Calver => format!("{first}.{second}.{third}"),
    }
}

#[expect(clippy::expect_used, reason = "digits, a-f and inner dots, at most 62 characters: always a tag")]
fn tag_of(text: &str) -> Tag {
    text.parse().expect("digits and dots make a tag")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use chrono::DateTime;
    use chrono::NaiveDate;
    use chrono::Utc;
    use proptest::prelude::Just;
    use proptest::prelude::Strategy;
    use proptest::prelude::any;
    use proptest::prelude::prop_assert;
    use proptest::prelude::prop_assert_eq;
    use proptest::prop_oneof;
    use proptest::proptest;

    use super::bump;
    use super::next;
    use super::rank;
    use crate::config::project::BumpRule;
    use crate::config::project::TagSchemeName;
    use crate::model::Bump;
    use crate::model::CommitSha;
    use crate::model::Tag;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    const NUMBERED: [TagSchemeName; 3] =
        [TagSchemeName::Counter, TagSchemeName::Semver, TagSchemeName::Calver];

    const BUMPS: [Bump; 3] = [Bump::Patch, Bump::Minor, Bump::Major];

    fn tags(texts: &[&str]) -> Vec<Tag> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn november() -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, 23).unwrap()
    }

    fn next_after(scheme: TagSchemeName, taken: &[&str]) -> String {
        let commit: CommitSha = COMMIT.parse().unwrap();
        match next(scheme, Bump::Patch, &tags(taken), &commit, november()) {
            Ok(tag) => tag.to_string(),
            Err(error) => error.to_string(),
        }
    }

    fn bumped(rule: BumpRule, marked: Bump, taken: &[&str]) -> String {
        let taken = tags(taken);
        let bump = bump(rule, marked, &taken);
        next(TagSchemeName::Semver, bump, &taken, &COMMIT.parse().unwrap(), november()).unwrap().to_string()
    }

    fn is_version(scheme: TagSchemeName, text: &str) -> bool {
        rank(scheme, &text.parse().unwrap(), Some(DateTime::UNIX_EPOCH)).is_some()
    }

    fn is_newer(scheme: TagSchemeName, newer: &str, older: &str) -> bool {
        let rank = |text: &str| rank(scheme, &text.parse().unwrap(), None).unwrap();
        rank(newer) > rank(older)
    }

    #[test]
    fn each_scheme_begins_with_its_first_version() {
        assert_eq!(next_after(TagSchemeName::Counter, &[]), "1");
        assert_eq!(next_after(TagSchemeName::Semver, &[]), "0.1.0");
        assert_eq!(next_after(TagSchemeName::Calver, &[]), "2026.11.1");
        assert_eq!(next_after(TagSchemeName::Commit, &[]), "0123456789ab");
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_newer(TagSchemeName::Counter, "10", "9"));
        assert!(is_newer(TagSchemeName::Semver, "1.10.0", "1.9.99"));
        assert!(is_newer(TagSchemeName::Calver, "2026.10.1", "2026.9.30"));
        assert!(is_newer(TagSchemeName::Calver, "2027.1.1", "2026.12.9"));
    }

    #[test]
    fn only_canonical_spellings_are_versions() {
        for text in ["latest", "007", "1.0", "1-arm64", "18446744073709551616", "v1", "1_000", "00"] {
            assert!(!is_version(TagSchemeName::Counter, text), "{text}");
        }
        for text in ["v1.2.3", "1.2", "1.2.3-rc1", "1.2.3.4", "1.02.3", "1..3", "1.2.", "1.2.x"] {
            assert!(!is_version(TagSchemeName::Semver, text), "{text}");
        }
        for text in ["2026.11", "2026.13.1", "2026.0.1", "2026.01.1", "26.11.1", "20266.1.1", "2026-11-1"] {
            assert!(!is_version(TagSchemeName::Calver, text), "{text}");
        }
        for text in ["0123456789a", "0123456789abc", "0123456789AB", "0123456789ag"] {
            assert!(!is_version(TagSchemeName::Commit, text), "{text}");
        }
        assert!(is_version(TagSchemeName::Counter, "0"));
        assert!(is_version(TagSchemeName::Counter, "18446744073709551615"));
    }

    #[test]
    fn of_two_commits_the_later_push_is_newer_and_without_a_date_there_is_no_rank() {
        let tag: Tag = "ffffffffffff".parse().unwrap();
        let other: Tag = "000000000000".parse().unwrap();
        let at = |seconds| DateTime::<Utc>::from_timestamp(seconds, 0);
        assert!(rank(TagSchemeName::Commit, &other, at(2)) > rank(TagSchemeName::Commit, &tag, at(1)));
        assert_eq!(rank(TagSchemeName::Commit, &tag, None), None);
    }

    #[test]
    fn the_next_version_goes_on_from_the_highest_and_leaves_gaps_alone() {
        assert_eq!(next_after(TagSchemeName::Counter, &["2", "latest", "40", "7"]), "41");
        assert_eq!(next_after(TagSchemeName::Semver, &["1.9.9", "1.10.3", "v2.0.0"]), "1.10.4");
        assert_eq!(
            next_after(TagSchemeName::Calver, &["2026.11.9", "2026.11.10", "2026.9.50"]),
            "2026.11.11"
        );
    }

    #[test]
    fn a_semantic_version_is_raised_by_the_owners_rule() {
        let taken = ["1.9.9", "1.10.3", "latest"];
        assert_eq!(bumped(BumpRule::Patch, Bump::Major, &taken), "1.10.4");
        assert_eq!(bumped(BumpRule::Minor, Bump::Patch, &taken), "1.11.0");
        assert_eq!(bumped(BumpRule::Major, Bump::Patch, &taken), "2.0.0");
        assert_eq!(bumped(BumpRule::Conventional, Bump::Patch, &taken), "1.10.4");
        assert_eq!(bumped(BumpRule::Conventional, Bump::Minor, &taken), "1.11.0");
        assert_eq!(bumped(BumpRule::Conventional, Bump::Major, &taken), "2.0.0");
    }

    #[test]
    fn no_mark_in_a_message_leads_out_of_version_zero() {
        assert_eq!(bumped(BumpRule::Conventional, Bump::Major, &["0.4.2"]), "0.5.0");
        assert_eq!(bumped(BumpRule::Conventional, Bump::Major, &[]), "0.1.0");
        assert_eq!(bumped(BumpRule::Major, Bump::Patch, &["0.4.2"]), "1.0.0");
    }

    #[test]
    fn a_new_month_counts_from_one() {
        assert_eq!(next_after(TagSchemeName::Calver, &["2026.10.44"]), "2026.11.1");
        assert_eq!(next_after(TagSchemeName::Calver, &["2025.12.3"]), "2026.11.1");
    }

    #[test]
    fn a_clock_that_is_behind_does_not_name_a_lower_version() {
        assert_eq!(next_after(TagSchemeName::Calver, &["2026.12.3"]), "2026.12.4");
        assert_eq!(next_after(TagSchemeName::Calver, &["2027.1.1"]), "2027.1.2");
    }

    #[test]
    fn the_same_commit_gets_the_same_tag_again() {
        assert_eq!(next_after(TagSchemeName::Commit, &["0123456789ab"]), "0123456789ab");
    }

    #[test]
    fn a_full_number_carries_over_where_the_scheme_allows_it() {
        let max = u64::MAX;
        assert_eq!(next_after(TagSchemeName::Semver, &[&format!("1.2.{max}")]), "1.3.0");
        assert_eq!(next_after(TagSchemeName::Semver, &[&format!("1.{max}.{max}")]), "2.0.0");
        assert_eq!(next_after(TagSchemeName::Calver, &[&format!("2026.11.{max}")]), "2026.12.1");
        assert_eq!(next_after(TagSchemeName::Calver, &[&format!("2026.12.{max}")]), "2027.1.1");
    }

    #[test]
    fn a_scheme_without_a_number_left_says_so_and_names_the_way_out() {
        assert_eq!(
            next_after(TagSchemeName::Counter, &["18446744073709551615"]),
            "name the next version: no number is left above tag `18446744073709551615`; \
             delete that tag or change `image.tag.scheme`"
        );
        let max = u64::MAX;
        assert!(next_after(TagSchemeName::Semver, &[&format!("{max}.{max}.{max}")]).contains("no number"));
        assert!(next_after(TagSchemeName::Calver, &[&format!("9999.12.{max}")]).contains("no number"));
    }

    fn any_number() -> impl Strategy<Value = u64> {
        prop_oneof![0_u64..20, Just(u64::MAX), Just(u64::MAX - 1), any::<u64>()]
    }

    fn any_tag() -> impl Strategy<Value = Tag> {
        let text = prop_oneof![
            any_number().prop_map(|n| n.to_string()),
            (any_number(), any_number(), any_number()).prop_map(|(a, b, c)| format!("{a}.{b}.{c}")),
            (1990_u32..2050, 1_u32..=12, any_number()).prop_map(|(y, m, n)| format!("{y}.{m}.{n}")),
            "[0-9a-z_][0-9a-z._-]{0,12}",
        ];
        text.prop_map(|text| text.parse().unwrap())
    }

    proptest! {
        #[test]
        fn the_next_version_is_above_everything_that_is_taken(
            taken in proptest::collection::vec(any_tag(), 0..12),
            year in -9999_i32..20000,
            month in 1_u32..=12,
        ) {
            let commit: CommitSha = COMMIT.parse().unwrap();
            let today = NaiveDate::from_ymd_opt(year, month, 1).unwrap();
            for (scheme, bump) in NUMBERED.into_iter().flat_map(|scheme| BUMPS.map(|bump| (scheme, bump))) {
                if let Ok(tag) = next(scheme, bump, &taken, &commit, today) {
                    let highest = taken.iter().filter_map(|tag| rank(scheme, tag, None)).max();
                    prop_assert!(rank(scheme, &tag, None) > highest, "{tag} after {taken:?}");
                    prop_assert!(!taken.contains(&tag));
                }
            }
        }

        #[test]
        fn no_two_spellings_are_the_same_version(left in any_tag(), right in any_tag()) {
            for scheme in NUMBERED {
                let ranks = (rank(scheme, &left, None), rank(scheme, &right, None));
                if ranks.0.is_some() && ranks.0 == ranks.1 {
                    prop_assert_eq!(&left, &right);
                }
            }
        }
    }
}
