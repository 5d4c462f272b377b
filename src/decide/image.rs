//! Is one of the listed images due for a deployment?
//!
//! Takes a listing of tags, what serves now and what is quarantined; gives an [`ImageDecision`]. Nothing in a
//! listing ever means "remove what serves": Docker Hub has listed nothing for repositories that were full.

use chrono::DateTime;
use chrono::Utc;

use crate::decide::listing::ImageDecision;
use crate::decide::listing::ImageQuestion;
use crate::decide::listing::Serving;
use crate::model::Digest;
use crate::model::ListedTag;
use crate::model::Release;
use crate::model::Tag;
use crate::platform;
use crate::tag;
use crate::tag::Rank;

/// Which listed image is due, if any.
pub fn image_due(question: &ImageQuestion<'_>) -> ImageDecision {
    if question.listed.is_empty() {
        return ImageDecision::EmptyListing;
    }
    match kept_and_gone(question) {
        Some(kept) => ImageDecision::Due {
            tag: kept.tag.clone(),
            digest: Some(kept.digest.clone()),
            reason: format!("{kept} was chosen by command, and it is not deployed any more"),
        },
        None => newest_due(question),
    }
}

/// What the owner chose, where nothing is deployed any more: a container that someone removed is made again, and not
/// that of the version that was put aside.
fn kept_and_gone<'a>(question: &ImageQuestion<'a>) -> Option<&'a Release> {
    let hold = question.hold.filter(|_| question.serving.is_none())?;
    (!question.quarantined.contains_key(&hold.kept.digest)).then_some(&hold.kept)
}

fn newest_due(question: &ImageQuestion<'_>) -> ImageDecision {
    let versions = versions_newest_first(question);
    if versions.is_empty() {
        let (count, expected) = (question.listed.len(), tag::description(question.scheme));
        return ImageDecision::Nothing { why: format!("none of the {count} listed tags is {expected}") };
    }
    let floor = floor(question, &versions);
    let mut passed_over: Vec<String> = Vec::new();
    let mut quarantined = None;
    for (_, candidate) in versions.iter().filter(|(rank, _)| floor.is_below(*rank)) {
        match obstacle(question, candidate) {
            None => return due(candidate, reason(question, floor, candidate, &passed_over)),
            Some(Obstacle::OtherPlatform(why)) => passed_over.push(why),
            Some(Obstacle::Quarantine(digest, why)) => {
                passed_over.push(why);
                quarantined.get_or_insert((&candidate.tag, digest));
                // An older version cannot be shown to be newer than what serves, so it is no better choice.
                if floor == Floor::Unknown {
                    break;
                }
            }
        }
    }
    match quarantined {
        Some((tag, digest)) => ImageDecision::Quarantined {
            tag: tag.clone(),
            digest: digest.clone(),
            why: passed_over.join("; "),
        },
        None if passed_over.is_empty() => ImageDecision::UpToDate { why: nothing_newer(question) },
        None => ImageDecision::Nothing { why: passed_over.join("; ") },
    }
}

/// Above which rank a version is newer than what serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Floor {
    /// Nothing serves: every version is newer.
    Nothing,
    /// What serves has this rank.
    At(Rank),
    /// What serves is no version and no listed version has its content: every version counts as newer.
    Unknown,
}

impl Floor {
    fn is_below(self, rank: Rank) -> bool {
        match self {
            Self::Nothing | Self::Unknown => true,
            Self::At(floor) => rank > floor,
        }
    }
}

/// What is due is newer than what serves, and than all that the owner put aside for it.
fn floor(question: &ImageQuestion<'_>, versions: &[(Rank, &ListedTag)]) -> Floor {
    let serving = question.serving.map(|serving| {
        let Release { tag, digest } = serving.release;
        rank_of(question, versions, (tag, Some(digest)), serving.since)
    });
    let put_aside = question.hold.into_iter().flat_map(|hold| &hold.put_aside);
    let put_aside = put_aside
        .filter_map(|aside| {
            rank_of(question, versions, (&aside.tag, aside.digest.as_ref()), Some(aside.since))
        })
        .max();
    match (serving.flatten().max(put_aside), question.serving) {
        (Some(rank), _) => Floor::At(rank),
        (None, None) => Floor::Nothing,
        (None, Some(_)) => Floor::Unknown,
    }
}

/// How new a release is. The same content under a higher version is as new as that version: going back to what
/// stands below it would undo it. `since` stands in for a push date that is not listed.
fn rank_of(
    question: &ImageQuestion<'_>,
    versions: &[(Rank, &ListedTag)],
    (tag, digest): (&Tag, Option<&Digest>),
    since: Option<DateTime<Utc>>,
) -> Option<Rank> {
    let listed = question.listed.iter().find(|listed| listed.tag == *tag);
    let pushed_at = listed.and_then(|listed| listed.pushed_at).or(since);
    let same_content =
        versions.iter().filter(|(_, listed)| digest.is_some() && listed.digest.as_ref() == digest);
    let by_content = same_content.map(|(rank, _)| *rank).max();
    tag::rank(question.scheme, tag, pushed_at).max(by_content)
}

fn versions_newest_first<'a>(question: &ImageQuestion<'a>) -> Vec<(Rank, &'a ListedTag)> {
    let ranked = |listed: &'a ListedTag| {
        tag::rank(question.scheme, &listed.tag, listed.pushed_at).map(|rank| (rank, listed))
    };
    let mut versions: Vec<_> = question.listed.iter().filter_map(ranked).collect();
    versions.sort_by(|(left, l), (right, r)| right.cmp(left).then_with(|| r.tag.cmp(&l.tag)));
    versions
}

/// Why a version is not deployed though it is newer, with the sentence that says so.
enum Obstacle<'a> {
    OtherPlatform(String),
    Quarantine(&'a Digest, String),
}

fn obstacle<'a>(question: &ImageQuestion<'a>, listed: &'a ListedTag) -> Option<Obstacle<'a>> {
    let ListedTag { tag, digest, platforms, .. } = listed;
    if !platforms.is_empty() && platform::best_match(question.platform, platforms).is_none() {
        let offered: Vec<String> = platforms.iter().map(ToString::to_string).collect();
        return Some(Obstacle::OtherPlatform(format!(
            "{tag} is passed over: it offers {}, not {} (its other platforms may not be pushed yet)",
            offered.join(", "),
            question.platform
        )));
    }
    let digest = digest.as_ref()?;
    let reason = question.quarantined.get(digest)?;
    let why =
        format!("{tag} ({}) is passed over: it failed before and is quarantined: {reason}", digest.short());
    Some(Obstacle::Quarantine(digest, why))
}

fn due(listed: &ListedTag, reason: String) -> ImageDecision {
    ImageDecision::Due { tag: listed.tag.clone(), digest: listed.digest.clone(), reason }
}

fn reason(
    question: &ImageQuestion<'_>,
    floor: Floor,
    candidate: &ListedTag,
    passed_over: &[String],
) -> String {
    let tag = &candidate.tag;
    let mut sentences = vec![match (question.serving, floor) {
        (None, _) => format!("{tag} is the newest version and nothing is deployed yet"),
        (Some(serving), Floor::At(_) | Floor::Nothing) => {
            format!("{tag} is newer than {}, which is deployed", serving.release)
        }
        (Some(serving), Floor::Unknown) => format!(
            "{tag} counts as newer than {}, which is deployed and not {}",
            serving.release,
            tag::description(question.scheme)
        ),
    }];
    sentences.extend_from_slice(passed_over);
    sentences.join("; ")
}

fn nothing_newer(question: &ImageQuestion<'_>) -> String {
    let Some(Serving { release, .. }) = question.serving else { return "nothing is deployed".to_owned() };
    if let Some(hold) = question.hold {
        let aside = hold.in_words();
        return format!(
            "{release} was chosen by command, and nothing newer than {aside}, put aside for it, is listed"
        );
    }
    let listed = question.listed.iter().find(|listed| listed.tag == release.tag);
    match listed.and_then(|listed| listed.digest.as_ref()) {
        Some(digest) if *digest != release.digest => format!(
            "{release} is deployed and nothing newer is listed; tag {} was moved to other content ({}), which is \
             not deployed: push it under a new version",
            release.tag,
            digest.short()
        ),
        Some(_) | None => format!("{release} is deployed and nothing newer is listed"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::collections::BTreeMap;

    use chrono::DateTime;
    use chrono::Utc;
    use proptest::prelude::any;
    use proptest::prelude::prop_assert;
    use proptest::proptest;

    use super::image_due;
    use crate::config::project::TagSchemeName;
    use crate::decide::ImageDecision;
    use crate::decide::ImageQuestion;
    use crate::decide::Serving;
    use crate::model::Digest;
    use crate::model::Hold;
    use crate::model::ListedTag;
    use crate::model::Platform;
    use crate::model::PutAside;
    use crate::model::Release;

    /// A board that runs linux/arm64 and follows the `counter` scheme, unless a story says otherwise.
    struct Board {
        listed: Vec<ListedTag>,
        scheme: TagSchemeName,
        platform: Platform,
        serving: Option<Release>,
        since: Option<DateTime<Utc>>,
        quarantined: BTreeMap<Digest, String>,
        hold: Option<Hold>,
    }

    impl Board {
        fn sees(listed: impl IntoIterator<Item = ListedTag>) -> Self {
            Self {
                listed: listed.into_iter().collect(),
                scheme: TagSchemeName::Counter,
                platform: "linux/arm64".parse().unwrap(),
                serving: None,
                since: None,
                quarantined: BTreeMap::new(),
                hold: None,
            }
        }

        fn serves(mut self, tag: &str, content: u8) -> Self {
            self.serving = Some(Release { tag: tag.parse().unwrap(), digest: digest(content) });
            self
        }

        fn quarantines(mut self, content: u8, reason: &str) -> Self {
            self.quarantined.insert(digest(content), reason.to_owned());
            self
        }

        /// The owner chose what serves instead of these.
        fn puts_aside(mut self, aside: &[(&str, u8)]) -> Self {
            let since = DateTime::from_timestamp(50, 0).unwrap();
            let put_aside = aside.iter().map(|(tag, content)| PutAside {
                tag: tag.parse().unwrap(),
                digest: Some(digest(*content)),
                since,
            });
            let kept = self.serving.clone().unwrap();
            self.hold = Some(Hold { kept, put_aside: put_aside.collect() });
            self
        }

        fn serves_nothing(mut self) -> Self {
            self.serving = None;
            self
        }

        fn counts_by(mut self, scheme: TagSchemeName) -> Self {
            self.scheme = scheme;
            self
        }

        fn decides(&self) -> ImageDecision {
            image_due(&ImageQuestion {
                listed: &self.listed,
                scheme: self.scheme,
                platform: &self.platform,
                serving: self.serving.as_ref().map(|release| Serving { release, since: self.since }),
                quarantined: &self.quarantined,
                hold: self.hold.as_ref(),
            })
        }

        /// The decision as one line: what follows, then why.
        fn says(&self) -> String {
            let decision = self.decides();
            let follows = match &decision {
                ImageDecision::EmptyListing => "empty".to_owned(),
                ImageDecision::UpToDate { .. } => "up to date".to_owned(),
                ImageDecision::Due { tag, .. } => format!("due {tag}"),
                ImageDecision::Quarantined { tag, .. } => format!("quarantined {tag}"),
                ImageDecision::Nothing { .. } => "nothing".to_owned(),
            };
            format!("{follows} | {decision}")
        }
    }

    fn digest(content: u8) -> Digest {
        format!("sha256:{}", format!("{content:02x}").repeat(32)).parse().unwrap()
    }

    fn listed(tag: &str, content: u8) -> ListedTag {
        ListedTag {
            tag: tag.parse().unwrap(),
            digest: Some(digest(content)),
            platforms: vec!["linux/arm64/v8".parse().unwrap()],
            pushed_at: None,
        }
    }

    fn offering(platforms: &[&str], listed: ListedTag) -> ListedTag {
        ListedTag { platforms: platforms.iter().map(|text| text.parse().unwrap()).collect(), ..listed }
    }

    fn pushed(second: i64, listed: ListedTag) -> ListedTag {
        ListedTag { pushed_at: DateTime::from_timestamp(second, 0), ..listed }
    }

    #[test]
    fn an_empty_listing_never_means_that_there_is_no_image() {
        let says = "empty | the listing is empty, which says nothing about the images: nothing is changed";
        assert_eq!(Board::sees([]).serves("5", 5).says(), says);
        assert_eq!(Board::sees([]).says(), says);
    }

    #[test]
    fn the_first_deployment_takes_the_newest_version_in_whatever_order_they_are_listed() {
        let board = Board::sees([listed("9", 9), listed("10", 10), listed("latest", 10), listed("2", 2)]);
        assert_eq!(board.says(), "due 10 | 10 is the newest version and nothing is deployed yet");
    }

    #[test]
    fn a_newer_version_is_due_with_its_digest() {
        let board = Board::sees([listed("5", 5), listed("7", 7), listed("6", 6)]).serves("5", 5);
        let reason = "7 is newer than 5 (050505050505), which is deployed".to_owned();
        let tag = "7".parse().unwrap();
        assert_eq!(board.decides(), ImageDecision::Due { tag, digest: Some(digest(7)), reason });
    }

    #[test]
    fn what_runs_is_not_deployed_again() {
        let board = Board::sees([listed("5", 5), listed("4", 4)]).serves("5", 5);
        assert_eq!(board.says(), "up to date | 5 (050505050505) is deployed and nothing newer is listed");
    }

    #[test]
    fn a_listing_that_is_behind_does_not_bring_an_older_version_back() {
        let board = Board::sees([listed("4", 4)]).serves("5", 5);
        assert!(board.says().starts_with("up to date"), "{}", board.says());
    }

    #[test]
    fn the_same_content_under_a_newer_version_is_up_to_date() {
        let board = Board::sees([listed("5", 5), listed("6", 6), listed("7", 5)]).serves("5", 5);
        assert!(board.says().starts_with("up to date"), "{}", board.says());
    }

    #[test]
    fn a_version_that_was_moved_to_other_content_is_not_deployed_and_the_answer_says_so() {
        let board = Board::sees([listed("5", 99)]).serves("5", 5);
        assert_eq!(
            board.says(),
            "up to date | 5 (050505050505) is deployed and nothing newer is listed; tag 5 was moved to other \
             content (636363636363), which is not deployed: push it under a new version"
        );
    }

    #[test]
    fn no_version_among_the_tags_is_said_with_what_was_expected() {
        let board = Board::sees([listed("latest", 1), listed("v2", 2)]);
        assert_eq!(
            board.says(),
            "nothing | none of the 2 listed tags is a version of the scheme `counter`, such as `42`"
        );
    }

    #[test]
    fn a_release_without_this_platform_gives_way_to_the_next_lower_one_above_what_runs() {
        let half = offering(&["linux/amd64", "linux/arm/v4"], listed("7", 7));
        let board = Board::sees([half.clone(), listed("6", 6), listed("5", 5)]).serves("5", 5);
        assert_eq!(
            board.says(),
            "due 6 | 6 is newer than 5 (050505050505), which is deployed; 7 is passed over: it offers \
             linux/amd64, linux/arm/v4, not linux/arm64 (its other platforms may not be pushed yet)"
        );
        let board = Board::sees([half, listed("6", 6)]).serves("6", 6);
        assert!(board.says().starts_with("nothing | 7 is passed over"), "{}", board.says());
    }

    #[test]
    fn a_listing_that_does_not_name_platforms_is_given_the_benefit_of_the_doubt() {
        let board = Board::sees([offering(&[], listed("6", 6))]).serves("5", 5);
        assert!(board.says().starts_with("due 6"), "{}", board.says());
    }

    #[test]
    fn a_quarantined_image_is_not_tried_again_and_nothing_older_than_what_runs_is() {
        let board = Board::sees([listed("6", 6), listed("5", 5), listed("4", 4)])
            .serves("5", 5)
            .quarantines(6, "GET / answered 500");
        assert_eq!(
            board.says(),
            "quarantined 6 | 6 (060606060606) is passed over: it failed before and is quarantined: \
             GET / answered 500"
        );
    }

    #[test]
    fn a_quarantined_image_gives_way_to_one_that_is_still_newer_than_what_runs() {
        let board = Board::sees([listed("7", 7), listed("6", 6)]).serves("5", 5).quarantines(7, "exited");
        assert!(board.says().starts_with("due 6 | 6 is newer than 5"), "{}", board.says());
        assert!(board.says().contains("7 (070707070707) is passed over"), "{}", board.says());
    }

    #[test]
    fn other_content_under_a_quarantined_tag_is_tried() {
        let board = Board::sees([listed("6", 66)]).serves("5", 5).quarantines(6, "exited");
        assert!(board.says().starts_with("due 6"), "{}", board.says());
    }

    #[test]
    fn an_adopted_container_of_no_version_gives_way_to_the_newest_version() {
        let board = Board::sees([listed("7", 7), listed("6", 6)]).serves("latest", 5);
        assert_eq!(
            board.says(),
            "due 7 | 7 counts as newer than latest (050505050505), which is deployed and not a version of the \
             scheme `counter`, such as `42`"
        );
    }

    #[test]
    fn an_adopted_container_whose_content_is_a_version_is_as_new_as_that_version() {
        let board = Board::sees([listed("7", 7), listed("6", 6)]);
        assert!(board.serves("latest", 7).says().starts_with("up to date"));
        let board = Board::sees([listed("7", 7), listed("6", 6)]).quarantines(7, "exited");
        assert!(board.serves("latest", 6).says().starts_with("quarantined 7"));
    }

    #[test]
    fn an_adopted_container_does_not_give_way_to_an_older_version_after_the_newest_failed() {
        let board =
            Board::sees([listed("7", 7), listed("6", 6)]).serves("latest", 5).quarantines(7, "exited");
        assert!(board.says().starts_with("quarantined 7"), "{}", board.says());
    }

    #[test]
    fn a_version_without_a_listed_digest_is_due_and_leaves_the_digest_to_the_registry() {
        let board = Board::sees([ListedTag { digest: None, ..listed("6", 6) }]).serves("5", 5);
        assert!(matches!(board.decides(), ImageDecision::Due { digest: None, .. }));
    }

    #[test]
    fn what_the_owner_went_back_from_is_not_deployed_again() {
        let board = Board::sees([listed("7", 7), listed("6", 6)]).serves("5", 5).puts_aside(&[("7", 7)]);
        assert_eq!(
            board.says(),
            "up to date | 5 (050505050505) was chosen by command, and nothing newer than 7, put aside for it, is listed"
        );
    }

    #[test]
    fn something_newer_ends_the_hold() {
        let board = Board::sees([listed("8", 8), listed("7", 7)]).serves("5", 5).puts_aside(&[("7", 7)]);
        assert!(board.says().starts_with("due 8"), "{}", board.says());
    }

    #[test]
    fn the_content_that_was_put_aside_is_nothing_newer_under_a_new_number() {
        let board = Board::sees([listed("8", 7), listed("7", 7)]).serves("5", 5).puts_aside(&[("7", 7)]);
        assert!(board.says().starts_with("up to date"), "{}", board.says());
    }

    #[test]
    fn a_tag_that_is_no_version_is_kept_until_something_newer_than_the_newest_of_then() {
        let board = || Board::sees([listed("7", 7), listed("stable", 4)]).serves("stable", 4);
        assert!(board().says().starts_with("due 7"), "{}", board().says());
        assert!(board().puts_aside(&[("7", 7)]).says().starts_with("up to date"));
    }

    #[test]
    fn what_the_owner_chose_is_made_again_when_it_is_gone_unless_it_failed() {
        let board = || Board::sees([listed("7", 7)]).serves("5", 5).puts_aside(&[("7", 7)]).serves_nothing();
        assert_eq!(
            board().says(),
            "due 5 | 5 (050505050505) was chosen by command, and it is not deployed any more"
        );
        assert!(board().quarantines(5, "exited").says().starts_with("up to date"));
    }

    #[test]
    fn of_commits_none_pushed_before_what_was_put_aside_is_due() {
        let tags = || vec![pushed(30, listed("cccccccccccc", 3)), pushed(20, listed("ffffffffffff", 2))];
        let says = |tags: Vec<ListedTag>| {
            let board = Board::sees(tags).counts_by(TagSchemeName::Commit).serves("ffffffffffff", 2);
            board.puts_aside(&[("cccccccccccc", 3)]).says()
        };
        assert!(says(tags()).starts_with("up to date"), "{}", says(tags()));
        let newer = || [tags(), vec![pushed(40, listed("eeeeeeeeeeee", 4))]].concat();
        assert!(says(newer()).starts_with("due eeeeeeeeeeee"), "{}", says(newer()));
        // No longer listed, it counts as pushed when it was put aside.
        let unlisted = || newer().into_iter().skip(1).collect();
        assert!(says(unlisted()).starts_with("up to date"), "{}", says(unlisted()));
    }

    #[test]
    fn of_commits_the_one_pushed_last_is_due() {
        let tags = [
            pushed(30, listed("cccccccccccc", 3)),
            pushed(20, listed("ffffffffffff", 2)),
            listed("dddddddddddd", 4),
        ];
        let board = Board::sees(tags).counts_by(TagSchemeName::Commit).serves("ffffffffffff", 2);
        assert!(board.says().starts_with("due cccccccccccc"), "{}", board.says());
    }

    #[test]
    fn of_commits_none_pushed_before_the_deployment_replaces_one_that_is_not_listed() {
        let older = pushed(20, listed("ffffffffffff", 2));
        let mut board = Board::sees([older]).counts_by(TagSchemeName::Commit).serves("cccccccccccc", 3);
        board.since = DateTime::from_timestamp(40, 0);
        assert!(board.says().starts_with("up to date"), "{}", board.says());
    }

    proptest! {
        #[test]
        fn what_is_due_is_newer_than_what_runs_runs_here_and_is_not_quarantined(
            tags in proptest::collection::vec((0_u8..12, 0_u8..12, any::<bool>()), 0..10),
            current in 0_u8..12,
            quarantined in proptest::collection::btree_set(0_u8..12, 0..4),
        ) {
            let platform = |ours| if ours { "linux/arm64" } else { "linux/amd64" };
            let tags = tags.iter().map(|(tag, content, ours)| {
                offering(&[platform(*ours)], listed(&tag.to_string(), *content))
            });
            let mut board = Board::sees(tags).serves(&current.to_string(), current);
            for content in &quarantined {
                board = board.quarantines(*content, "exited");
            }
            if let ImageDecision::Due { tag, digest: Some(due), .. } = board.decides() {
                prop_assert!(tag.as_str().parse::<u8>().unwrap() > current);
                prop_assert!(!board.quarantined.contains_key(&due));
                prop_assert!(due != digest(current));
                let is_due = |listed: &&ListedTag| listed.tag == tag && listed.digest.as_ref() == Some(&due);
                prop_assert!(board.listed.iter().filter(is_due).any(|l| l.platforms.contains(&board.platform)));
            }
        }
    }
}
