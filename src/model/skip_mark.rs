//! How the message of a commit says that it is not to be run: GitHub's own marks.

use serde::Deserialize;
use serde::Serialize;

/// A mark in a commit's message, by which GitHub's own Actions leave it out too (GitHub Actions, "Skipping workflow
/// runs").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SkipMark {
    /// `[skip ci]`
    SkipCi,
    /// `[ci skip]`
    CiSkip,
    /// `[no ci]`
    NoCi,
    /// `[skip actions]`
    SkipActions,
    /// `[actions skip]`
    ActionsSkip,
    /// `skip-checks: true` as the last line.
    SkipChecks,
}

impl SkipMark {
    /// Those that may stand anywhere in a message.
    const ANYWHERE: [Self; 5] =
        [Self::SkipCi, Self::CiSkip, Self::NoCi, Self::SkipActions, Self::ActionsSkip];

    /// The mark that a whole message has, if it has one. Upper and lower case are the same.
    pub fn found_in(message: &str) -> Option<Self> {
        let message = message.to_ascii_lowercase();
        let bracketed = Self::ANYWHERE.into_iter().find(|mark| message.contains(mark.word()));
        let last = message.trim_end().lines().last().unwrap_or_default().trim_end();
        let is_trailer = matches!(last, "skip-checks: true" | "skip-checks:true");
        bracketed.or(is_trailer.then_some(Self::SkipChecks))
    }

    /// The mark as it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::SkipCi => "[skip ci]",
            Self::CiSkip => "[ci skip]",
            Self::NoCi => "[no ci]",
            Self::SkipActions => "[skip actions]",
            Self::ActionsSkip => "[actions skip]",
            Self::SkipChecks => "skip-checks: true",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::SkipMark;

    #[test]
    fn every_spelling_of_github_is_known_anywhere_in_the_message() {
        for mark in SkipMark::ANYWHERE {
            let word = mark.word();
            for message in [
                word.to_owned(),
                format!("Correct the text {word}"),
                format!("One\n\nTwo {word} three\nFour"),
            ] {
                assert_eq!(SkipMark::found_in(&message), Some(mark), "{message}");
            }
        }
        assert_eq!(SkipMark::found_in("Correct the text [Skip CI]"), Some(SkipMark::SkipCi));
    }

    #[test]
    fn the_trailer_counts_at_the_end_alone() {
        for message in ["Text\n\n\nskip-checks: true", "Text\n\nSigned-off-by: me\nskip-checks:true\n\n"] {
            assert_eq!(SkipMark::found_in(message), Some(SkipMark::SkipChecks), "{message}");
        }
        for message in ["Text\n\nskip-checks: true\nSigned-off-by: me", "Explain skip-checks: true", ""] {
            assert_eq!(SkipMark::found_in(message), None, "{message}");
        }
    }

    #[test]
    fn what_only_looks_like_a_mark_is_none() {
        for message in ["skip ci", "[skip-ci]", "[ skip ci ]", "[skip\nci]", "skip-checks: false"] {
            assert_eq!(SkipMark::found_in(message), None, "{message}");
        }
    }
}
