//! By how much commits raise a semantic version, and how their messages say so.

use serde::Deserialize;
use serde::Serialize;

/// The part of a semantic version that a change raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bump {
    /// A repair.
    #[default]
    Patch,
    /// Something new.
    Minor,
    /// Something that breaks what its users rely on.
    Major,
}

impl Bump {
    /// What the messages of all commits that go into one version say together: the greatest change counts.
    pub fn marked_in_any<'a>(messages: impl IntoIterator<Item = &'a str>) -> Self {
        messages.into_iter().map(Self::marked_in).max().unwrap_or_default()
    }

    /// What the message of a commit says by the marks of Conventional Commits 1.0.0: `feat:` is something new;
    /// `!` before the colon, or a footer `BREAKING CHANGE:`, breaks something; all else is a repair.
    pub fn marked_in(message: &str) -> Self {
        let is_breaking_footer =
            |line: &str| line.starts_with("BREAKING CHANGE: ") || line.starts_with("BREAKING-CHANGE: ");
        let mut lines = message.lines();
        let header = lines.next().and_then(header);
        match header {
            Some((_, true)) => Self::Major,
            Some(_) if lines.any(is_breaking_footer) => Self::Major,
            Some((kind, false)) if kind.eq_ignore_ascii_case("feat") => Self::Minor,
            Some(_) | None => Self::Patch,
        }
    }
}

/// The type in a first line `TYPE(SCOPE)!: TEXT`, and whether it has the `!`.
fn header(line: &str) -> Option<(&str, bool)> {
    let (mark, text) = line.split_once(": ")?;
    let (mark, is_breaking) = mark.strip_suffix('!').map_or((mark, false), |mark| (mark, true));
    let kind = match mark.split_once('(') {
        Some((kind, scope)) => scope.strip_suffix(')').filter(|scope| !scope.is_empty()).map(|_| kind)?,
        None => mark,
    };
    let is_word = !kind.is_empty() && kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    (is_word && !text.trim().is_empty()).then_some((kind, is_breaking))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::Bump;

    #[test]
    fn a_message_says_by_its_marks_how_much_it_changes() {
        for (message, bump) in [
            ("fix: the light stays on", Bump::Patch),
            ("feat: a second light", Bump::Minor),
            ("feat(lights): a second light\n\nBody", Bump::Minor),
            ("Feat: a second light", Bump::Minor),
            ("feat!: lights have names", Bump::Major),
            ("refactor(api)!: lights have names", Bump::Major),
            ("fix: names\n\nBody.\n\nBREAKING CHANGE: numbers are gone", Bump::Major),
            ("chore: names\n\nBREAKING-CHANGE: numbers are gone", Bump::Major),
        ] {
            assert_eq!(Bump::marked_in(message), bump, "{message}");
        }
    }

    #[test]
    fn of_several_messages_the_greatest_change_counts_wherever_it_stands() {
        for (messages, bump) in [
            (&[][..], Bump::Patch),
            (&["fix: one", "a word of prose"], Bump::Patch),
            (&["feat: a light", "fix: the light"], Bump::Minor),
            (&["fix: one", "feat!: names", "feat: a light"], Bump::Major),
        ] {
            assert_eq!(Bump::marked_in_any(messages.iter().copied()), bump, "{messages:?}");
        }
    }

    #[test]
    fn what_only_looks_like_a_mark_is_a_repair() {
        for message in [
            "",
            "Add a feat",
            "feature: a light",
            "feat:no space",
            "feat: ",
            "feat(): a light",
            "feat(lights: a light",
            "new feat: a light",
            "Talk of BREAKING CHANGE: in prose\n\nBREAKING CHANGE: though it is no such commit",
        ] {
            assert_eq!(Bump::marked_in(message), Bump::Patch, "{message}");
        }
    }
}
